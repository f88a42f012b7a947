# Connections in every state: kept alive, pipelined, and broken off by the client.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: 200 pipelined requests of four kinds in one connection, each with its own answer
--- http_config
    keepalive_requests 1000;
--- config
    location = /say { content_by_lua_block { ngx.say("say ", ngx.var.arg_n) } }
    location = /sleep { content_by_lua_block { ngx.sleep(0.001) ngx.say("slept ", ngx.var.arg_n) } }
    location = /body { content_by_lua_block { ngx.req.read_body() ngx.print(ngx.req.get_body_data()) } }
    location = /capture { content_by_lua_block { ngx.print("captured ", ngx.location.capture("/sleep?n=" .. ngx.var.arg_n).body) } }
--- pipelined_requests eval
[map { ("GET /say?n=$_", "GET /sleep?n=$_", "POST /body\nbody " . "x" x $_, "GET /capture?n=$_") } 1 .. 50]
--- timeout: 20
--- response_body eval
[map { ("say $_\n", "slept $_\n", "body " . "x" x $_, "captured slept $_\n") } 1 .. 50]
--- no_error_log
[error]

=== TEST 2: requests that end with an error leave the kept connection and its neighbours as they were
--- config
    location = /say { content_by_lua_block { ngx.ctx.n = (ngx.ctx.n or 0) + 1 ngx.say(ngx.ctx.n) } }
    location = /exit { content_by_lua_block { ngx.exit(404) } }
    location = /fail { content_by_lua_block { ngx.req.read_body() ngx.exec("/exit") } }
--- pipelined_requests eval
[map { ("GET /say", "GET /exit", "GET /say", "GET /fail") } 1 .. 10]
--- error_code eval
[map { (200, 404, 200, 404) } 1 .. 10]
--- response_body_like eval
[map { ("^1\n\$", "404", "^1\n\$", "404") } 1 .. 10]

=== TEST 3: a client that goes away while the handler sleeps
--- config
    location = /t { content_by_lua_block { ngx.sleep(0.3) ngx.say("x") ngx.flush(true) ngx.log(ngx.WARN, "ended by itself") } }
--- request
GET /t
--- timeout: 50ms
--- abort
--- ignore_response
--- wait: 0.5
--- no_error_log
[alert]
[emerg]

=== TEST 4: a client that goes away while a coroutine in a capture sleeps
--- config
    location = /t { content_by_lua_block { ngx.location.capture_multi { { "/sub" }, { "/sub" } } ngx.say("x") } }
    location = /sub { content_by_lua_block { coroutine.wrap(function() ngx.sleep(0.2) ngx.print("y") end)() } }
--- request
GET /t
--- timeout: 50ms
--- abort
--- ignore_response
--- wait: 0.4
--- no_error_log
[alert]
[error]

=== TEST 5: a client that goes away in the middle of a large answer
--- config
    location = /t {
        content_by_lua_block {
            local piece = ("x"):rep(100000)
            for i = 1, 200 do
                if not ngx.print(piece) then break end
                local ok = ngx.flush(true)
                if not ok then break end
                ngx.sleep(0.005)
            end
            ngx.log(ngx.WARN, "handler left its loop")
        }
    }
--- request
GET /t
--- timeout: 50ms
--- abort
--- ignore_response
--- wait: 0.5
--- no_error_log
[alert]
[emerg]

=== TEST 6: a client that goes away in the middle of its body, in a content handler that waits for it
--- config
    client_body_timeout 1s;
    location = /t { content_by_lua_block { ngx.req.read_body() ngx.log(ngx.ERR, "got a whole body") } }
--- raw_request eval
"POST /t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhello"
--- timeout: 50ms
--- abort
--- ignore_response
--- wait: 0.2
--- no_error_log
[alert]
got a whole body

=== TEST 7: the worker serves on after a client of it, here a proxy that won't wait, broke off
--- config
    proxy_read_timeout 50ms;
    location = /cut { proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/slow; }
    location = /slow { content_by_lua_block { ngx.sleep(0.15) ngx.say("slow") ngx.flush(true) ngx.say("end") } }
    location = /pid { content_by_lua_block { ngx.print(ngx.worker.pid()) } }
    location = /t {
        content_by_lua_block {
            for _ = 1, 3 do ngx.print(ngx.location.capture("/cut").status, " ") end
            ngx.sleep(0.3)
            ngx.say(ngx.location.capture("/pid").body == tostring(ngx.worker.pid()))
        }
    }
--- request
GET /t
--- response_body
504 504 504 true
--- no_error_log
[alert]

=== TEST 8: two hundred handlers that sleep at once
--- config
    location = /t {
        content_by_lua_block {
            local n = 0
            for _ = 1, 4 do
                local requests = {}
                for i = 1, 50 do requests[i] = { "/sleep?n=" .. i } end
                for _, r in ipairs({ ngx.location.capture_multi(requests) }) do n = n + r.body end
            end
            ngx.say(n)
        }
    }
    location = /sleep { content_by_lua_block { ngx.sleep(0.05) ngx.print(ngx.var.arg_n) } }
--- request
GET /t
--- response_body
5100
