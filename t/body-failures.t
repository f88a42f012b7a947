# Bodies that can't be read, and bodies that nobody waits for any more: the client is answered, and the request ends.

use strict;
use warnings;

use IO::Socket::INET;
use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();

our %PACKET = (
    good  => "2\r\nok\r\n0\r\n\r\n",
    bad   => "ZZ\r\n",
    large => "80\r\n" . "x" x 128 . "\r\n",
    leave => undef,
);

# Posts a body whose second packet is of that kind; returns the status of the answer.
sub post {
    my ($uri, $kind) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => server_port(), Timeout => 3) or return "no connection";
    local $SIG{PIPE} = 'IGNORE';
    print $socket "POST $uri HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    $socket->flush;
    select undef, undef, undef, 0.001;
    my $packet = $PACKET{$kind};
    return "left" if !defined $packet;
    print $socket $packet;
    $socket->flush;
    my ($answer, $piece) = ("", "");
    local $SIG{ALRM} = sub { die "timeout\n" };
    my $complete = eval {
        alarm 3;
        while (sysread $socket, $piece, 65536) { $answer .= $piece; last if $answer =~ m{(?:\r\n0\r\n\r\n|</html>\r\n(?:\r\n)?)\z} }
        alarm 0;
        1;
    };
    alarm 0;
    return "not answered" if !$complete;
    return $answer =~ m{^HTTP/1\.1 (\d+)} ? $1 : "no answer";
}

# Descriptors and resident kilobytes of the process.
sub usage {
    my ($pid) = @_;
    opendir my $folder, "/proc/$pid/fd" or die "$pid: $!";
    my $descriptors = () = readdir $folder;
    open my $status, '<', "/proc/$pid/status" or die "$pid: $!";
    my ($resident) = map { /^VmRSS:\s+(\d+)/ ? $1 : () } <$status>;
    return ($descriptors, $resident);
}

# A filter of the worker's pid: posts that many of each kind, after a warm-up, and tells what they were answered and what is left behind.
sub attack {
    my ($uri, $n, @kinds) = @_;
    return sub {
        my ($pid) = @_;
        chomp $pid;
        my @lines;
        for my $kind (@kinds) {
            post($uri, $kind) for 1 .. 5;
            select undef, undef, undef, 0.05;
            my ($descriptors, $resident) = usage($pid);
            my %answers;
            $answers{ post($uri, $kind) }++ for 1 .. $n;
            my $more = 1;
            for (1 .. 40) {
                $more = (usage($pid))[0] - $descriptors;
                last if $more <= 0;
                select undef, undef, undef, 0.05;
            }
            # The address sanitizer keeps what is freed for a while.
            my $grown = (usage($pid))[1] - $resident;
            push @lines, join " ", $kind, (map { "$_:$answers{$_}" } sort keys %answers),
                ($more > 0 ? "$more descriptors more" : ()), ($grown > 1024 + $n && !$ENV{ASAN_OPTIONS} ? "$grown KiB more" : ());
        }
        return join("\n", @lines) . "\n";
    };
}

add_block_preprocessor(sub {
    my $block = shift;
    $block->set_value(request => "GET /pid") if !defined $block->request;
    $block->set_value(timeout => 60);
    $block->set_value(http_config => "client_body_timeout 2s;\n" . ($block->http_config // ''));
    # The scaffold's server has a limit of its own.
    my $config = $block->config =~ s/(location = \S+ \{)/$1 client_max_body_size 100;/gr;
    $block->set_value(config => $config . "location = /pid { content_by_lua_block { ngx.say(ngx.worker.pid()) } }\n");
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: read_body answers a broken body with 400, one that is too large with 413, and hundreds of each leave nothing behind
--- config
    location = /t { content_by_lua_block { ngx.req.read_body() ngx.print("ok") } }
--- response_body_filters eval
main::attack("/t", 300, qw(bad large leave))
--- response_body
bad 400:300
large 413:300
leave left:300
--- no_error_log
[alert]

=== TEST 2: so does lua_need_request_body, before rewrite
--- config
    location = /t { lua_need_request_body on; rewrite_by_lua_block { ngx.ctx.x = 1 } content_by_lua_block { ngx.print("ok") } }
--- response_body_filters eval
main::attack("/t", 20, qw(good bad large leave))
--- response_body
good 200:20
bad 400:20
large 413:20
leave left:20
--- no_error_log
[alert]

=== TEST 3: before access
--- config
    location = /t { lua_need_request_body on; access_by_lua_block { ngx.ctx.x = 1 } content_by_lua_block { ngx.print("ok") } }
--- response_body_filters eval
main::attack("/t", 20, qw(bad large leave))
--- response_body
bad 400:20
large 413:20
leave left:20
--- no_error_log
[alert]

=== TEST 4: before content
--- config
    location = /t { lua_need_request_body on; content_by_lua_block { ngx.print("ok") } }
--- response_body_filters eval
main::attack("/t", 20, qw(bad large leave))
--- response_body
bad 400:20
large 413:20
leave left:20
--- no_error_log
[alert]

=== TEST 5: light threads that sleep, capture and read the body end with the request
--- config
    location = /t {
        content_by_lua_block {
            ngx.thread.spawn(function() ngx.sleep(60) ngx.log(ngx.ALERT, "lived on") end)
            ngx.thread.spawn(function() ngx.location.capture("/sub") end)
            ngx.thread.spawn(function() ngx.req.read_body() end)
            ngx.req.read_body()
        }
    }
    location = /sub { content_by_lua_block { ngx.sleep(0.01) ngx.print("sub") } }
--- response_body_filters eval
main::attack("/t", 20, qw(bad large leave))
--- response_body
bad 400:20
large 413:20
leave left:20
--- no_error_log
[alert]

=== TEST 6: error_page shows a location's Lua instead, which may wait and finds no body
--- config
    location = /t { error_page 400 413 /page; content_by_lua_block { ngx.req.read_body() ngx.print("ok") } }
    location = /page { content_by_lua_block { ngx.sleep(0.001) ngx.req.read_body() ngx.print("page ", ngx.status) } }
--- response_body_filters eval
main::attack("/t", 20, qw(bad large leave))
--- response_body
bad 400:20
large 413:20
leave left:20
--- no_error_log
[alert]
