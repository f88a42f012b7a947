# What an answer is made of, whoever makes it: its status, its length and its body, over each version of HTTP.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Test::Nginx::Socket;
use Platform;

use_platform(<<'END');
>>> app/gateway.lua
return {
    {"ANY", "/run/:what", "run"},
}
>>> app/run.lua
local cases = {}
function cases.say() ngx.status = 201 ngx.say("one") ngx.say("two") end
cases["say-and-return"] = function() ngx.say("mine") return "not this" end
cases["say-and-nil"] = function() ngx.say("mine") return nil, "not this" end
function cases.created() ngx.status = 201 return { id = 7 } end
function cases.missing() ngx.status = 404 return "nothing" end
cases["status-and-error"] = function(_, ctx) ngx.status = 201 ctx.error("bad", 409) end
cases["status-and-message"] = function() ngx.status = 201 return nil, "bad" end
cases["status-and-raise"] = function() ngx.status = 201 error("oh no") end
cases["switch-and-error"] = function(_, ctx) ngx.status = 101 ctx.error("bad") end
cases["no-content"] = function() ngx.status = 204 return "dropped" end
cases["no-content-nil"] = function() ngx.status = 204 end
cases["no-content-say"] = function() ngx.status = 204 ngx.say("dropped") end
cases["no-content-late"] = function() ngx.say("dropped") ngx.status = 204 end
cases["not-modified"] = function() ngx.status = 304 return "dropped" end
cases["not-modified-say"] = function() ngx.status = 304 ngx.say("dropped") end
cases["not-modified-late"] = function() ngx.say("dropped") ngx.status = 304 end
cases["not-modified-error"] = function(_, ctx) ngx.status = 304 ctx.error("bad") end
cases["length"] = function() ngx.header["Content-Length"] = 4 ngx.print("four") end
cases["length-and-return"] = function() ngx.header["Content-Length"] = 400 return 1 end
cases["length-and-no-content"] = function() ngx.header["Content-Length"] = 400 ngx.status = 204 end
cases["length-and-not-modified"] = function() ngx.header["Content-Length"] = 400 ngx.status = 304 return 1 end
cases["exit"] = function() ngx.status = 201 ngx.header["Content-Length"] = 400 ngx.header["X-Mine"] = "yes" ngx.exit(204) end
cases["exit-late"] = function() ngx.status = 201 ngx.say("kept") ngx.exit(204) end
cases["say-and-raise"] = function() ngx.header["Content-Type"] = "text/plain" ngx.say("begun") error("late") end
cases["say-and-error"] = function(_, ctx) ngx.header["Content-Type"] = "text/plain" ngx.say("begun") ngx.flush() ctx.error("late") end
local function live(what) ngx.thread.spawn(function() ngx.sleep(0.02) if what then what() end end) end
cases["thread"] = function() live() return "early" end
cases["thread-slept"] = function() live() ngx.sleep(0.001) return "early" end
cases["thread-error"] = function(_, ctx) live() ctx.error("bad", 409) end
cases["thread-raise"] = function() live() error("oh no") end
cases["thread-nil"] = function() live() end
cases["thread-says"] = function()
    live(function() local ok, why = ngx.say("late") ngx.log(ngx.WARN, "said: ", ok, " ", why) end)
    return "early"
end
return function(args, ctx)
    return cases[args.what](args, ctx)
end
END

# Each --- answers line is a request and what its answer must be: "METHOD WHAT => STATUS LENGTH BODY", a LENGTH of - being
# none. --- version is that of HTTP, 1.1 unless it says otherwise.
add_block_preprocessor(sub {
    my ($block) = @_;
    return if !defined $block->answers;
    my $version = $block->version // '1.1';
    my (@requests, @codes, @headers, @bodies);
    for my $line (split /\n/, $block->answers) {
        my ($method, $what, $code, $length, $body) = $line =~ /^(\S+) (\S+) => (\d+) (\S+) ?(.*)$/ or die "--- answers: $line";
        push @requests, "$method /run/$what" . ($version eq '1.1' ? '' : " HTTP/$version");
        push @codes, $code;
        push @headers, $length eq '-' ? "! Content-Length\n! Transfer-Encoding" : $length eq 'chunked' ? "! Content-Length"
            : "Content-Length: $length";
        push @bodies, $body =~ s/\\n/\n/gr;
    }
    $block->set_value(request => \@requests);
    $block->set_value(error_code => \@codes);
    $block->set_value(response_headers => \@headers);
    $block->set_value(response_body => \@bodies);
});

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: a function that prints makes the response itself, with the status that it set
--- answers
GET say => 201 chunked one\ntwo\n
GET say-and-return => 200 chunked mine\n
GET say-and-nil => 200 chunked mine\n
GET length => 200 4 four
HEAD say => 201 -
HEAD length => 200 4



=== TEST 2: over HTTP/1.0 as well, where the answer gets its length
--- version: 1.0
--- answers
GET say => 201 8 one\ntwo\n
GET say-and-return => 200 5 mine\n
GET say-and-nil => 200 5 mine\n
GET length => 200 4 four
GET exit-late => 201 5 kept\n
HEAD say => 201 -
HEAD length => 200 4
--- no_error_log
[error]



=== TEST 3: over HTTP/2 as well
--- http2
--- answers
GET say => 201 - one\ntwo\n
GET say-and-return => 200 - mine\n
GET length => 200 4 four
HEAD say => 201 -
HEAD length => 200 4



=== TEST 4: what is returned has the status that was set, and a length of its own
--- answers
GET created => 201 18 {"data":{"id":7}}\n
GET missing => 404 19 {"data":"nothing"}\n
GET length-and-return => 200 11 {"data":1}\n
HEAD created => 201 18
HEAD length-and-return => 200 11



=== TEST 5: an error has its own
--- answers
GET status-and-error => 409 16 {"error":"bad"}\n
GET status-and-message => 400 16 {"error":"bad"}\n
GET status-and-raise => 500 33 {"error":"app/run.lua:9: oh no"}\n
GET switch-and-error => 400 16 {"error":"bad"}\n
GET not-modified-error => 400 16 {"error":"bad"}\n



=== TEST 6: over HTTP/1.0 as well
--- version: 1.0
--- answers
GET created => 201 18 {"data":{"id":7}}\n
GET missing => 404 19 {"data":"nothing"}\n
GET length-and-return => 200 11 {"data":1}\n
GET status-and-error => 409 16 {"error":"bad"}\n
GET switch-and-error => 400 16 {"error":"bad"}\n
HEAD created => 201 18



=== TEST 7: over HTTP/2 as well
--- http2
--- answers
GET created => 201 18 {"data":{"id":7}}\n
GET length-and-return => 200 11 {"data":1}\n
GET status-and-error => 409 16 {"error":"bad"}\n
HEAD created => 201 18



=== TEST 8: 204 and 304 have neither a body nor a length
--- answers
GET no-content => 204 -
GET no-content-nil => 204 -
GET no-content-say => 204 -
GET length-and-no-content => 204 -
GET exit => 204 -
GET not-modified => 304 -
GET not-modified-say => 304 -
GET length-and-not-modified => 304 -
HEAD no-content => 204 -
HEAD not-modified => 304 -
--- no_error_log
[error]



=== TEST 9: over HTTP/1.0 as well, where the status may be set as late as the end
--- version: 1.0
--- answers
GET no-content => 204 -
GET no-content-nil => 204 -
GET no-content-say => 204 -
GET no-content-late => 204 -
GET length-and-no-content => 204 -
GET exit => 204 -
GET not-modified => 304 -
GET not-modified-say => 304 -
GET not-modified-late => 304 -
GET length-and-not-modified => 304 -
HEAD no-content => 204 -
HEAD not-modified => 304 -
--- no_error_log
[error]



=== TEST 10: over HTTP/2 as well
--- http2
--- answers
GET no-content => 204 -
GET no-content-say => 204 -
GET exit => 204 -
GET not-modified => 304 -
GET not-modified-say => 304 -



=== TEST 11: a connection of HTTP/1.0 that is kept alive is in step after each kind of answer
--- config
    location = /bytes { root html; rewrite ^ /bytes.txt break; }
    spacer_gateway app/gateway.lua;
--- init
use IO::Socket::INET;
my $client = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => server_port()) or die "can't connect: $!";
for my $what (qw(say no-content no-content-late not-modified-say not-modified-late exit created)) {
    print $client "GET /run/$what HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
}
print $client "GET /run/say HTTP/1.0\r\n\r\n";
my $bytes = do { local $/; <$client> };
# Of each header only the status line is of interest.
$bytes =~ s{(HTTP/1\.1 [^\r]+\r\n)(?:[^\r]+\r\n)*\r\n}{$1}g;
open my $out, '>', html_dir() . '/bytes.txt' or die "can't write: $!";
print $out $bytes;
close $out;
--- request
GET /bytes
--- response_body eval
"HTTP/1.1 201 Created\r\none\ntwo\n" . ("HTTP/1.1 204 No Content\r\n" x 2) . ("HTTP/1.1 304 Not Modified\r\n" x 2)
. "HTTP/1.1 204 No Content\r\nHTTP/1.1 201 Created\r\n{\"data\":{\"id\":7}}\nHTTP/1.1 201 Created\r\none\ntwo\n"



=== TEST 12: a response that was begun and not sent, over HTTP/1.0, gives way to the error
--- request eval
["GET /run/say-and-raise HTTP/1.0", "GET /run/say-and-error HTTP/1.0", "GET /log"]
--- error_code eval
[500, 400, 200]
--- response_headers eval
["Content-Type: application/json", "Content-Type: application/json", ""]
--- response_body eval
[qr/^\{"error":"app\/run.lua:\d+: late"\}\n$/, "{\"error\":\"late\"}\n", qr/function "run": app\/run.lua:\d+: late/]



=== TEST 13: one that is sent breaks off, and the log says why
--- request
GET /run/say-and-error
--- response_headers
Content-Type: text/plain
--- ignore_response
--- error_log
function "run": late



=== TEST 14: what a function returns while its light threads live on is sent behind its header, and nothing after it
--- answers
GET thread => 200 17 {"data":"early"}\n
GET thread-slept => 200 17 {"data":"early"}\n
HEAD thread => 200 17
GET thread-error => 409 16 {"error":"bad"}\n
GET thread-nil => 200 14 {"data":null}\n
GET thread-says => 200 17 {"data":"early"}\n
--- no_error_log
[alert]



=== TEST 15: over HTTP/1.0 too
--- version: 1.0
--- answers
GET thread => 200 17 {"data":"early"}\n
GET thread-slept => 200 17 {"data":"early"}\n
HEAD thread => 200 17
GET thread-error => 409 16 {"error":"bad"}\n
GET thread-nil => 200 14 {"data":null}\n
GET thread-says => 200 17 {"data":"early"}\n
--- no_error_log
[alert]



=== TEST 16: and a light thread that prints after it is told so
--- answers
GET thread-says => 200 17 {"data":"early"}\n
--- error_log
said: nil seen eof
--- no_error_log
[alert]
