package Test::Nginx::Scaffold::Curl;

# HTTP/2 over plain TCP, spoken by curl: for blocks with --- http2, and for all that can do without HTTP/1.1's bytes
# when TEST_NGINX_USE_HTTP2 is set. What comes back looks like an HTTP/1.1 response and is judged as one.

use strict;
use warnings;

use Exporter qw(import);
use File::Temp ();
use Test::Nginx::Scaffold::Text qw(section);
use Test::Nginx::Util ();

our @EXPORT_OK = qw(exchange_http2 speaks_http2);

sub speaks_http2 {
    my ($block) = @_;
    return 0 if defined section($block, 'no_http2');
    return 1 if defined section($block, 'http2');
    return 0 if !$Test::Nginx::Util::UseHttp2;
    return 0 if defined section($block, 'raw_request') || defined section($block, 'pipelined_requests');
    my $request = section($block, 'request');
    return defined $request && (ref $request || $request !~ m{HTTP/1\.0});
}

# Takes the bytes of an HTTP/1.1 request, and --- curl_options; returns the response's.
sub exchange_http2 {
    my ($block, $bytes, $timeout) = @_;
    my ($head, $body) = split /\r\n\r\n/, $bytes, 2;
    my ($line, @headers) = split /\r\n/, $head;
    my ($method, $uri) = split ' ', $line;

    my @command = qw(curl --http2-prior-knowledge --path-as-is --globoff -sS -i);
    push @command, '--max-time', $timeout, $method eq 'HEAD' ? '--head' : ('--request', $method);
    # These belong to HTTP/1.1's framing.
    push @command, map { ('--header', $_) } grep { !/\A(?:Connection|Content-Length|Transfer-Encoding):/i } @headers;
    push @command, split ' ', section($block, 'curl_options') // '';
    my $upload = File::Temp->new;
    if (length($body // '')) {
        print $upload $body;
        close $upload;
        push @command, '--data-binary', "\@$upload";
        push @command, '--header', 'Content-Type:' if !grep { /\AContent-Type:/i } @headers;
    }
    push @command, "http://$Test::Nginx::Util::ServerAddr:$Test::Nginx::Util::ServerPortForClient$uri";

    open my $curl, '-|', @command or die "--- http2 needs curl, which can't be run: $!\n";
    binmode $curl;
    local $/;
    my $response = <$curl> // '';
    close $curl;
    return $response;
}

1;
