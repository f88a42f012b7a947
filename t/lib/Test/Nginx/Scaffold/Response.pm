package Test::Nginx::Scaffold::Response;

# One HTTP response cut from the bytes that the client read. Lenient about what a server may send (a test may
# provoke anything), strict about chunked framing, which is what tests of output are often about.

use strict;
use warnings;

# Returns a response with
#   code      the status, or undef if there was no status line
#   head      the raw header lines
#   body      the body, decoded if chunked; undef if its framing is broken
#   problems  what is wrong with the framing, in words
#   rest      the bytes after it: the next response of a pipeline
sub parse {
    my ($class, $bytes, $is_head_request) = @_;
    $bytes //= '';
    my $self = bless { head => '', fields => {}, problems => [], rest => '' }, $class;

    $self->{head} = $1 if $bytes =~ /\A(.*?\r\n)\r\n/s;
    $self->{code} = $1 if $bytes =~ /\A\S+[ \t]+(\d+)(?:\s|\z)/;
    $bytes =~ /\A[^\n]*\n?/gc;
    $self->read_fields(\$bytes);
    $self->{body} = substr $bytes, pos($bytes) // 0;
    return $self if ($self->{code} // 0) == 304 || ($self->{code} // 0) == 101;

    my $length = $self->header('Content-Length');
    if (($self->header('Transfer-Encoding') // '') eq 'chunked') {
        $self->decode_chunks;
    }
    elsif (defined $length && $length =~ /\A\d+\z/) {
        my $got = length $self->{body};
        if ($got > $length) {
            $self->{rest} = substr $self->{body}, $length;
            substr($self->{body}, $length) = '';
        }
        elsif ($got < $length && !$is_head_request) {
            push @{ $self->{warnings} }, "response body truncated: $length expected, but got $got";
        }
    }
    return $self;
}

# HTTP/0.9 has no head: everything is body.
sub parse_http09 {
    my ($class, $bytes) = @_;
    return bless { code => 200, head => '', fields => {}, problems => [], rest => '', body => $bytes }, $class;
}

# Takes header lines from the bytes' position on; the first line that isn't one ends the head, and is dropped if empty.
sub read_fields {
    my ($self, $bytes) = @_;
    my $last;
    while (1) {
        if ($$bytes =~ /\G([^\s:]+)[ \t]*: ?([^\n]*)\n?/gc) {
            my ($name, $value) = ($1, $2);
            $value =~ s/\r\z//;
            $last = $self->{fields}{ key($name) } //= [];
            push @$last, $value;
        }
        elsif ($last && $$bytes =~ /\G([ \t][^\n]*)\n?/gc) {
            (my $more = $1) =~ s/\r\z//;
            $last->[-1] .= "\n$more";
        }
        else {
            $$bytes =~ /\G\r?\n/gc;
            return;
        }
    }
}

# Names compare without regard to case, "_" and "-" being the same.
sub key {
    my ($name) = @_;
    (my $key = lc $name) =~ tr/_/-/;
    return $key;
}

# All values of a field, joined; undef if it's absent.
sub header {
    my ($self, $name) = @_;
    my $values = $self->{fields}{ key($name) };
    return $values ? join(', ', @$values) : undef;
}

sub decode_chunks {
    my ($self) = @_;
    my $raw = $self->{body};
    my $body = '';
    pos($raw) = 0;
    while (1) {
        if ($raw =~ /\G[ \t]*([0-9A-Fa-f]+)[ \t]*\r\n/gc) {
            my $size = hex $1;
            last if $size == 0;
            my $start = pos $raw;
            return $self->broken('not enough octets for the data section') if length($raw) - $start < $size;
            $body .= substr $raw, $start, $size;
            pos($raw) = $start + $size;
            return $self->broken('expected CRLF') if $raw !~ /\G\r\n/gc;
        }
        else {
            my $found = substr $raw, pos $raw;
            return $self->broken(length $found ? "invalid chunked body received: $found" : 'no last chunk found');
        }
    }
    # Trailers, each a line, then the empty line that ends the message.
    1 while defined $self->header('Trailer') && $raw =~ /\G[^\s:]+: [^\n]*\r\n/gc;
    return $self->broken('expected CRLF') if $raw !~ /\G\r\n/gc;
    $self->{rest} = substr $raw, pos $raw;
    $self->{body} = $body;
}

sub broken {
    my ($self, $problem) = @_;
    push @{ $self->{problems} }, "invalid chunked data received ($problem)";
    $self->{body} = undef;
    $self->{code} = undef;
}

1;
