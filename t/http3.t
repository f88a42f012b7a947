# HTTP/3: what it has in common with HTTP/2 (streams.blocks), and what is its own.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Streams;
use Test::Nginx::Socket;

nginx_has('http_v3_module') ? plan 'no_plan' : plan skip_all => "this nginx was built without HTTP/3";

no_long_string();
speak('h3');
run_tests();

__DATA__

=== the protocol is HTTP/3
--- config
location /t { content_by_lua_block { ngx.say(ngx.var.server_protocol, " ", ngx.req.http_version(), " ", ngx.var.host) } }
--- steps
get /t
wait
--- response_body
200 HTTP/3.0 3 localhost
--- no_error_log
[error]



=== a client that wants no response any more has left, even where its request goes on
--- config
lua_check_client_abort on;
log_by_lua_block { if ngx.ctx.watched then ngx.log(ngx.WARN, "ended with ", ngx.status) end }
location /t {
    content_by_lua_block {
        ngx.ctx.watched = true
        assert(ngx.on_abort(function() ngx.log(ngx.WARN, "left while it slept") ngx.sleep(0.001) ngx.exit(499) end))
        ngx.sleep($long)
        ngx.log(ngx.ALERT, "lived on")
    }
}
location /flushing {
    content_by_lua_block {
        ngx.ctx.watched = true
        assert(ngx.on_abort(function() ngx.log(ngx.WARN, "left while it flushed") ngx.exit(499) end))
        ngx.print(("x"):rep(500000))
        ngx.flush(true)
        ngx.sleep($long)
        ngx.log(ngx.ALERT, "lived on")
    }
}
--- steps
get /t
pause 0.02
stop
get /flushing
pause 0.05
stop
post /t
send 10 bytes
pause 0.02
stop
pause $longer
get /nothing
wait
--- response_body
200
--- grep_error_log eval: qr{left while it \w+|ended with \d+}
--- grep_error_log_out
left while it slept
ended with 499
left while it flushed
ended with 200
left while it slept
ended with 499
--- no_error_log
[alert]



=== nginx ends the requests of a connection that is closed, whatever their Lua does, and calls nobody back
--- config
location /t {
    content_by_lua_block {
        assert(ngx.on_abort(function() ngx.log(ngx.ALERT, "called back") end))
        ngx.thread.spawn(function() ngx.sleep($long) ngx.log(ngx.ALERT, "lived on") end)
        ngx.sleep($long)
        ngx.log(ngx.ALERT, "lived on")
    }
    lua_check_client_abort on;
    log_by_lua_block { ngx.log(ngx.WARN, "ended") }
}
location /unchecked {
    content_by_lua_block { ngx.sleep($long) ngx.log(ngx.ALERT, "lived on") }
    log_by_lua_block { ngx.log(ngx.WARN, "ended") }
}
--- steps
get /t
get /unchecked
pause 0.02
bye
pause $longer
get /nothing
wait
--- response_body
200
--- grep_error_log eval: qr{ended\b}
--- grep_error_log_out
ended
ended
--- no_error_log
[alert]
