# HTTP/2: what it has in common with HTTP/3 (streams.blocks), and what is its own.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Streams;
use Test::Nginx::Socket 'no_plan';

no_long_string();
speak('h2');
run_tests();

__DATA__

=== the protocol is HTTP/2
--- config
location /t { content_by_lua_block { ngx.say(ngx.var.server_protocol, " ", ngx.req.http_version(), " ", ngx.var.host) } }
--- steps
get /t
wait
--- response_body
200 HTTP/2.0 2 localhost
--- no_error_log
[error]



=== a connection that is lost with output in its queue is noticed, though nginx tells of it by a write event alone
--- config
lua_check_client_abort on;
location /sleeping {
    content_by_lua_block {
        assert(ngx.on_abort(function() ngx.log(ngx.WARN, "left while it slept") ngx.sleep(0.001) ngx.exit(499) end))
        ngx.print(("x"):rep(8000000))
        ngx.sleep($long)
        ngx.log(ngx.ALERT, "lived on")
    }
}
location /flushing {
    content_by_lua_block {
        assert(ngx.on_abort(function() ngx.log(ngx.WARN, "left while it flushed") ngx.exit(499) end))
        ngx.print(("x"):rep(8000000))
        ngx.flush(true)
        ngx.sleep($long)
        ngx.log(ngx.ALERT, "lived on")
    }
}
location /checked {
    content_by_lua_block { ngx.print(("x"):rep(8000000)) ngx.sleep($long) ngx.log(ngx.ALERT, "lived on") }
    log_by_lua_block { ngx.log(ngx.WARN, "ended without a callback") }
}
location /reading {
    client_body_timeout 10s;
    lua_check_client_abort off;
    content_by_lua_block { ngx.print(("x"):rep(8000000)) ngx.req.read_body() ngx.log(ngx.ALERT, "lived on") }
    log_by_lua_block { ngx.log(ngx.WARN, "ended while it read") }
}
--- steps
wide
get /sleeping
pause 0.05
leave
get /flushing
pause 0.05
leave
get /checked
pause 0.05
leave
post /reading
send 10 bytes
pause 0.05
leave
pause $longer
get /nothing
wait
--- response_body
200
--- grep_error_log eval: qr{left while it \w+|ended (?:without a callback|while it read)}
--- grep_error_log_out
left while it slept
left while it flushed
ended without a callback
ended while it read
--- no_error_log
[alert]



=== the callback of on_abort runs when the connection goes
--- config
lua_check_client_abort on;
location /t {
    content_by_lua_block {
        assert(ngx.on_abort(function() ngx.log(ngx.WARN, "left") ngx.exit(499) end))
        ngx.sleep($long)
        ngx.log(ngx.ALERT, "lived on")
    }
    log_by_lua_block { ngx.log(ngx.WARN, "ended with ", ngx.status) }
}
--- steps
get /t
get /t
pause 0.02
leave
get /t
pause 0.02
bye
pause $longer
get /nothing
wait
--- response_body
200
--- grep_error_log eval: qr{left|ended with \d+}
--- grep_error_log_out
left
ended with 499
left
ended with 499
left
ended with 499
--- no_error_log
[alert]



=== curl posts a body and is answered from it, and from a capture
--- config
location /t {
    client_body_buffer_size 16k;
    content_by_lua_block {
        ngx.req.read_body()
        ngx.say(ngx.req.get_method(), " ", #ngx.req.get_body_data(), " ", ngx.location.capture("/sub").body)
    }
}
location /sub { content_by_lua_block { ngx.print(ngx.var.server_protocol) } }
--- http2
--- request eval
"POST /t\n" . "x" x 9000
--- response_body
POST 9000 HTTP/2.0
--- no_error_log
[error]



=== nghttp multiplexes requests
--- config
location /t { content_by_lua_block { ngx.sleep(0.001) ngx.say(ngx.location.capture("/sub").body) } }
location /sub { content_by_lua_block { ngx.print("captured") } }
--- nghttp: -m 20
--- response_body eval
"captured\n" x 20
--- no_error_log
[error]
