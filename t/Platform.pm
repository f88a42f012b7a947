package Platform;

# What the platform's suites share: a project in nginx's html folder as the default configuration, and --- cases, a line
# for each request with what it must be answered:
#
#   METHOD URI [Header: value; Header: value] BODY => STATUS ANSWER
#
# Headers and body may be missing. An ANSWER of /pattern/ is matched, any other is the whole answer without its newline;
# \xHH, \r and \n stand for bytes in BODY and ANSWER. A block that has user_files of its own has them beside $FILES.

use strict;
use warnings;

use Test::Nginx::Socket -Base;

our @EXPORT = qw(use_platform);

my $ARRAYS = '--- cases take the place of request, more_headers, error_code and response_body';

sub bytes($) {
    my ($text) = @_;
    $text =~ s/\\x([0-9a-fA-F]{2})|\\([rn])/defined $1 ? chr hex $1 : $2 eq 'r' ? "\r" : "\n"/ge;
    return $text;
}

sub set_cases($) {
    my ($block) = @_;
    my (@requests, @headers, @codes, @answers);
    for my $line (grep { /\S/ && !/^#/ } split /\n/, $block->cases) {
        my ($method, $uri, $headers, $body, $code, $answer) =
            $line =~ m{\A(\S+) (\S+)(?: \[(.*?)\])?(?: (.*?))? => (\d+)(?: (.*))?\z} or die "--- cases: $line\n";
        $body = bytes($body // '');
        $headers = join "\n", split /; /, $headers // '';
        # A body of white space would be trimmed.
        $headers .= "\nContent-Length: " . length $body if $body =~ /\A\s|\s\z/ && $headers !~ /chunked/;
        push @requests, "$method $uri\n" . $body;
        push @headers, $headers;
        push @codes, $code;
        $answer //= '';
        push @answers, $answer =~ m{\A/(.*)/\z} ? qr/$1/s : $answer eq '' || $method eq 'HEAD' ? '' : bytes($answer) . "\n";
    }
    die "$ARRAYS\n" if defined $block->request;
    $block->set_value(request => \@requests);
    $block->set_value(more_headers => \@headers);
    $block->set_value(error_code => \@codes);
    $block->set_value(response_body => \@answers);
}

# Makes every block of the suite serve the project `files`, in development unless it says --- production, and at /log the
# error log, since --- error_log is held against each of a block's requests.
sub use_platform($) {
    my ($files) = @_;
    no_root_location();
    add_block_preprocessor(sub {
        my ($block) = @_;
        my $own = defined $block->user_files ? $block->user_files : '';
        $block->set_value(user_files => "$files\n$own");
        my $env = defined $block->production ? 'production' : 'development';
        my $http = defined $block->http_config ? $block->http_config : '';
        $block->set_value(http_config => "spacer_project html; spacer_env $env;\n$http") if $http !~ /spacer_project/;
        my $config = defined $block->config ? $block->config : "spacer_gateway app/gateway.lua;\n";
        $block->set_value(config => $config . 'location = /log { root logs; rewrite ^ /error.log break; }');
        set_cases($block) if defined $block->cases;
    });
}

1;
