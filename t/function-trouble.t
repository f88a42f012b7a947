# What a function can do to its worker, and what becomes of the worker's other requests.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Test::Nginx::Socket;
use Platform;

master_on();
workers(1);

use_platform(<<'END');
>>> app/gateway.lua
return {
    {"GET", "/loop", "loop"},
    {"GET", "/sleep", "sleep"},
    {"GET", "/pid", "pid"},
    {"GET", "/memory", "memory"},
    {"GET", "/answer/:size", "answer"},
    {"GET", "/stream", "stream"},
    {"GET", "/late", "late"},
}
>>> app/loop.lua
return function(args)
    ngx.update_time()
    local till = ngx.now() + args.seconds
    repeat ngx.update_time() until ngx.now() >= till
    return "done"
end
>>> app/sleep.lua
return function() ngx.sleep(0.3) return "slept" end
>>> app/pid.lua
return function() return ngx.worker.pid() end
>>> app/memory.lua
-- More than a string can hold, which is the same error as when there is none left.
return function() return string.rep("x", 2 ^ 31 - 10) end
>>> app/answer.lua
return function(args) return ("x"):rep(args.size) end
>>> app/late.lua
return function()
    ngx.sleep(0.2)
    local ok, message
    for _ = 1, 100 do
        ok, message = ngx.print(("x"):rep(10000))
        if not ok then break end
    end
    ngx.log(ngx.NOTICE, "late: at its end, print: ", ok, " ", message)
end
>>> app/stream.lua
return function()
    for _ = 1, 100 do
        if not ngx.say(("x"):rep(10000)) then return end
        ngx.flush(true)
        ngx.sleep(0.001)
    end
end
END

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: the log names a function that ran long without a pause
--- config
    spacer_slow_function 100ms;
    spacer_gateway app/gateway.lua;
--- cases
GET /loop?seconds=0.3 => 200 {"data":"done"}
--- error_log eval
qr/\[warn\] .* function "loop" ran for (29\d|[3-9]\d\d|\d{4}) ms without a pause, while the worker's other requests waited/



=== TEST 2: one that waits is not named, nor is one that runs for less than the limit, nor any with a limit of 0
--- config
    spacer_slow_function 0;
    location = /hand { spacer_slow_function 10s; spacer_function loop; }
    location = /sleep { spacer_slow_function 250ms; spacer_function sleep; }
    spacer_gateway app/gateway.lua;
--- cases
GET /sleep => 200 {"data":"slept"}
GET /hand?seconds=0.1 => 200 {"data":"done"}
GET /loop?seconds=0.3 => 200 {"data":"done"}
--- no_error_log
without a pause



=== TEST 3: a function that runs out of memory is a 500, and its worker makes room for another
--- init
$::pid = undef;
--- request eval
["GET /pid", "GET /memory", "GET /pid", "GET /log"]
--- error_code eval
[200, 500, 200, 200]
--- response_body eval
[qr/data/, "{\"error\":\"not enough memory\"}\n", qr/data/,
 qr/\[alert\] .*\[lua\] memory allocation error, restarting the worker.*\[error\] .*function "memory": not enough memory/s]
--- response_body_filters eval
sub {
    my ($body) = @_;
    select undef, undef, undef, 0.3;
    if ($body =~ /"data":(\d+)/) {
        return "the same worker\n" if defined $::pid && $::pid == $1;
        $::pid = $1;
    }
    return $body;
}



=== TEST 4: a worker lives on when clients go in mid-answer
--- request eval
["GET /pid", "GET /answer/5000000", "GET /stream", "GET /pid"]
--- init
$::pid = undef;
use IO::Socket::INET;
for my $uri ('/answer/5000000', '/stream', '/sleep', '/answer/100') {
    my $client = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => server_port()) or die "can't connect: $!";
    print $client "GET $uri HTTP/1.1\r\nHost: localhost\r\n\r\n";
    $client->sysread(my $start, 100) if $uri ne '/sleep';
    $client->setsockopt(SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0);
    close $client;
}
--- response_body_filters eval
sub {
    my ($body) = @_;
    return length $body if $body !~ /^\{"data":(\d+)\}$/;
    my $same = !defined $::pid || $::pid == $1;
    $::pid = $1;
    return $same ? "the same worker\n" : "another worker\n";
}
--- error_code eval
[200, 200, 200, 200]
--- response_body eval
["the same worker\n", 5000012, 1000100, "the same worker\n"]
--- no_error_log
[alert]
[crit]



=== TEST 5: no request fails while the configuration is reloaded under load
--- request eval
["GET /pid", "GET /load", "GET /pid"]
--- config
    location = /load { root html; rewrite ^ /load.txt break; }
    spacer_gateway app/gateway.lua;
--- init
use IO::Socket::INET;
use Time::HiRes;
my $folder = html_dir();
my @pids;
for my $client (1 .. 4) {
    my $pid = fork;
    if (!$pid) {
        my ($good, $bad, $socket) = (0, '');
        my $until = Time::HiRes::time() + 2;
        while (Time::HiRes::time() < $until) {
            # A connection each: nginx may close an idle one at a reload, which is no failed request.
            $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => server_port(), Timeout => 2);
            if (!$socket) { $bad = "connect: $!"; last }
            print $socket "GET /answer/1000 HTTP/1.0\r\n\r\n";
            my $answer = do { local $/; <$socket> };
            if (defined $answer && $answer =~ m{^HTTP/1.1 200 .*"x{1000}"\}\n\z}s) { $good++ } else { $bad = $answer // 'nothing'; last }
        }
        open my $out, '>', "$folder/load.$client";
        print $out $bad ? "bad: $bad\n" : $good > 20 ? "good\n" : "few: $good\n";
        close $out;
        require POSIX;
        POSIX::_exit(0);
    }
    push @pids, $pid;
}
open my $in, '<', server_root() . '/logs/nginx.pid' or die "no pid file: $!";
chomp(my $master = <$in>);
for (1 .. 8) {
    Time::HiRes::sleep(0.2);
    kill HUP => $master;
}
waitpid $_, 0 for @pids;
open my $out, '>', "$folder/load.txt";
for my $client (1 .. 4) {
    open my $in, '<', "$folder/load.$client";
    print {$out} <$in>;
}
close $out;
--- error_code eval
[200, 200, 200]
--- response_body eval
[qr/data/, "good\ngood\ngood\ngood\n", qr/data/]
--- no_error_log
[alert]
[emerg]
--- timeout: 10



=== TEST 6: a function whose client has gone runs to its end
--- request eval
["GET /sleep", "GET /log"]
--- init
use IO::Socket::INET;
my $client = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => server_port()) or die "can't connect: $!";
print $client "GET /late HTTP/1.1\r\nHost: localhost\r\n\r\n";
select undef, undef, undef, 0.05;
$client->setsockopt(SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0);
close $client;
--- response_body eval
["{\"data\":\"slept\"}\n", qr/late: at its end, print: nil .*output filter error/s]
