package Test::Nginx::Scaffold::Check;

# What a block expects of one response: status, headers, body. The titles of the assertions are Test::Nginx's,
# because runs on either scaffold are compared by them.

use strict;
use warnings;

use Exporter qw(import);
use Test::Nginx::Scaffold::Text qw(expand expand_ports parse_headers section);
use Test::Nginx::Util ();

our @EXPORT_OK = qw(check_response);

# block     the block; its expectations are arrays if it makes several requests
# verdict   where assertions go
# response  a Test::Nginx::Scaffold::Response
# index     which of the block's requests this answers
# many      whether the block makes several
# repeat    which repetition of the block this is
sub check_response {
    my (%at) = @_;
    check_status(\%at);
    check_raw_headers(\%at);
    check_headers(\%at);
    $at{response}{body} = filtered_body(\%at) if defined $at{response}{body} && !$at{verdict}->is_dry;
    check_body(\%at);
    for my $check (@Test::Nginx::Util::ResponseBodyChecks) {
        # The check decides for itself how many assertions it makes; told to stay dry, it skips them.
        $check->($at{block}, $at{response}{body}, $at{index}, $at{repeat}, dry_reason($at{verdict}));
    }
}

sub dry_reason {
    my ($verdict) = @_;
    return $verdict->{skip} // ($verdict->{broken} ? 'nginx not running' : 0);
}

# The section's value for this request.
sub expected {
    my ($at, $name) = @_;
    my $value = section($at->{block}, $name);
    return $value if !defined $value;
    return $value->[ $at->{index} ] if ref $value eq 'ARRAY';
    return $value if !$at->{many};
    die "--- $name must be an array, an element for each of the block's requests\n";
}

sub check_status {
    my ($at) = @_;
    my $code = $at->{response}{code} // '';
    if (defined section($at->{block}, 'error_code_like')) {
        my $pattern = expected($at, 'error_code_like');
        return $at->{verdict}->like($code, qr/$pattern/sm, 'status code ok');
    }
    my $wanted = defined section($at->{block}, 'error_code') ? expected($at, 'error_code') : 200;
    return $at->{verdict}->is($code, $wanted, 'status code ok');
}

sub check_raw_headers {
    my ($at) = @_;
    for my $kind (qw(like unlike)) {
        next if !defined section($at->{block}, "raw_response_headers_$kind");
        my $pattern = expected($at, "raw_response_headers_$kind");
        $at->{verdict}->$kind($at->{response}{head}, qr/$pattern/s, "raw resp headers $kind");
    }
}

sub check_headers {
    my ($at) = @_;
    my ($response, $verdict) = @$at{qw(response verdict)};

    if (defined section($at->{block}, 'response_headers')) {
        for my $header (parse_headers(expected($at, 'response_headers'))) {
            my ($name, $value) = @$header;
            if (defined $value) {
                $verdict->is($response->header($name) // '', expand_ports($value), "header $name ok");
            }
            else {
                $verdict->unlike($response->{head}, qr/^\s*\Q$name\E\s*:/m, "header $name not present in the raw headers");
            }
        }
    }
    elsif (defined section($at->{block}, 'response_headers_like')) {
        for my $header (parse_headers(expected($at, 'response_headers_like'))) {
            my ($name, $pattern) = @$header;
            $pattern //= '';
            $verdict->like($response->header($name) // '', qr/^$pattern$/, "header $name like ok");
        }
    }
}

my %filter = (
    md5_hex  => sub { require Digest::MD5; return Digest::MD5::md5_hex($_[0]) },
    sha1_hex => sub { require Digest::SHA; return Digest::SHA::sha1_hex($_[0]) },
    length   => sub { return length $_[0] },
    uc       => sub { return uc $_[0] },
    lc       => sub { return lc $_[0] },
    ucfirst  => sub { return ucfirst $_[0] },
    lcfirst  => sub { return lcfirst $_[0] },
);

# --- response_body_filters: names, a function, an array of either, or an array of such arrays, one for each request.
sub filtered_body {
    my ($at) = @_;
    my $filters = section($at->{block}, 'response_body_filters');
    my $body = $at->{response}{body};
    return $body if !defined $filters;

    if (ref $filters eq 'ARRAY' && ref $filters->[0] eq 'ARRAY') {
        $filters = $filters->[ $at->{index} ] // die "--- response_body_filters has no element for request $at->{index}\n";
    }
    for my $name (ref $filters eq 'ARRAY' ? @$filters : ref $filters ? $filters : split ' ', $filters) {
        my $code = ref $name eq 'CODE' ? $name : $filter{$name};
        die "--- response_body_filters: there is no filter $name\n" if !$code;
        $body = $code->($body);
    }
    return $body;
}

sub check_body {
    my ($at) = @_;
    my ($block, $verdict, $body) = ($at->{block}, $at->{verdict}, $at->{response}{body});

    if (defined section($block, 'response_body') || defined section($block, 'response_body_eval')) {
        my $wanted = expected($at, 'response_body');
        if (!defined $wanted && defined section($block, 'response_body_eval')) {
            $wanted = eval 'package main; ' . expected($at, 'response_body_eval');
            die "--- response_body_eval: $@" if $@;
        }
        $wanted = expand(expand_ports($wanted));
        $body = sort_json($body) if defined section($block, 'response_body_json_sort');
        my $what = ref $wanted ? 'like' : 'response is expected';
        $verdict->is_text($body, $wanted, "response_body - $what (repeated req $at->{repeat}, req $at->{index})");
        return;
    }

    for my $kind (qw(like unlike)) {
        next if !defined section($block, "response_body_$kind");
        my $pattern = expand_ports(expected($at, "response_body_$kind"));
        my $title = 'response_body_' . $kind . ' - response is expected (' . summary($body) . ')';
        return $verdict->$kind($body, qr/$pattern/s, $title);
    }
}

# The body on one line, for a title.
sub summary {
    my ($body) = @_;
    my $summary = $body // '';
    $summary =~ s/\A\s+|\s+\z//g;
    $summary =~ s/\n/ /g;
    $summary =~ s/\s{2,}/ /g;
    return $summary;
}

# The order of an object's keys is not part of what a test says.
sub sort_json {
    my ($body) = @_;
    require JSON::PP;
    my $json = JSON::PP->new->canonical(1)->loose(1);
    my $value = eval { $json->decode($body) };
    return defined $value ? $json->encode($value) . "\n" : $body;
}

1;
