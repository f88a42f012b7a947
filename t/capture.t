# ngx.location.capture and capture_multi: subrequests, what they are given and what they give back.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: a capture has the subrequest's status, headers and body
--- config
    location = /t {
        content_by_lua_block {
            local r = ngx.location.capture("/sub?a=1")
            ngx.say(r.status, " ", r.header["X-Sub"], " ", table.concat(r.header["X-Many"], "|"), " ", r.header["Content-Type"],
                    " ", r.truncated, " ", r.body)
        }
    }
    location = /sub {
        content_by_lua_block {
            ngx.status = 201
            ngx.header["X-Sub"] = "here"
            ngx.header["X-Many"] = { "1", "2" }
            ngx.header["Content-Type"] = "text/sub"
            ngx.print(ngx.var.args, " ", ngx.is_subrequest, " ", ngx.req.is_internal())
        }
    }
--- request
GET /t
--- response_headers
! X-Sub
--- response_body
201 here 1|2 text/sub false a=1 true true
--- no_error_log
[error]

=== TEST 2: a subrequest's 404, 500 and redirect are statuses, not errors
--- config
    location = /t {
        content_by_lua_block {
            for _, uri in ipairs { "/none", "/exit", "/return", "/redirect", "/fails", "/static.txt" } do
                local r = ngx.location.capture(uri)
                ngx.say(uri, " ", r.status, " ", r.header.Location)
            end
        }
    }
    location = /exit { content_by_lua_block { ngx.exit(503) } }
    location = /return { return 410; }
    location = /redirect { content_by_lua_block { ngx.redirect("/there", 301) } }
    location = /fails { content_by_lua_block { error("on purpose") } }
--- user_files
>>> static.txt
static
--- request
GET /t
--- response_body
/none 404 nil
/exit 503 nil
/return 410 nil
/redirect 301 /there
/fails 500 nil
/static.txt 200 nil

=== TEST 3: the method, body and arguments of a subrequest
--- config
    location = /t {
        content_by_lua_block {
            local function show(uri, options) ngx.print(ngx.location.capture(uri, options).body) end
            show("/echo")
            show("/echo?a=1", { method = ngx.HTTP_POST, body = "posted" })
            show("/echo", { method = ngx.HTTP_PUT, body = 42 })
            show("/echo", { method = ngx.HTTP_DELETE })
            show("/echo", { args = "x=%20" })
            show("/echo", { args = { ["a b"] = "c&" } })
            show("/echo?a=1", { args = { b = 2 } })
            show("/echo", { body = "on a get" })
        }
    }
    location = /echo {
        content_by_lua_block {
            ngx.req.read_body()
            ngx.say(ngx.req.get_method(), " ", ngx.var.args, " ", ngx.req.get_body_data(), " ", ngx.var.http_content_length)
        }
    }
--- request
GET /t
--- response_body
GET nil nil nil
POST a=1 posted 6
PUT nil 42 2
DELETE nil nil nil
GET x=%20 nil nil
GET a%20b=c%26 nil nil
GET a=1&b=2 nil nil
GET nil on a get 8

=== TEST 4: PUT and POST forward the request's own body, other methods only when asked
--- config
    location = /t {
        content_by_lua_block {
            ngx.req.read_body()
            for _, options in ipairs { { method = ngx.HTTP_GET }, { method = ngx.HTTP_POST }, { method = ngx.HTTP_PUT },
                                       { method = ngx.HTTP_GET, always_forward_body = true } } do
                ngx.print(ngx.location.capture("/echo", options).body)
            end
            ngx.say("still ", ngx.req.get_body_data())
        }
    }
    location = /echo { content_by_lua_block { ngx.req.read_body() ngx.say(ngx.req.get_method(), " ", ngx.req.get_body_data()) } }
--- request
POST /t
mine
--- response_body
GET nil
POST mine
PUT mine
GET mine
still mine

=== TEST 5: the request's headers are the subrequest's too
--- config
    location = /t {
        content_by_lua_block {
            ngx.req.set_header("X-Set", "set")
            ngx.print(ngx.location.capture("/sub").body)
        }
    }
    location = /sub { content_by_lua_block { ngx.say(ngx.var.http_x_from, " ", ngx.var.http_x_set) } }
--- more_headers
X-From: client
--- request
GET /t
--- response_body
client set

=== TEST 6: capture_multi answers in the order of its requests, whichever ends first
--- config
    location = /t {
        content_by_lua_block {
            ngx.update_time()
            local start = ngx.now()
            local a, b, c = ngx.location.capture_multi {
                { "/sleep?s=0.3&n=a" }, { "/sleep?s=0.1&n=b", { method = ngx.HTTP_POST } }, { "/sleep?s=0.2&n=c" },
            }
            ngx.update_time()
            local took = ngx.now() - start
            ngx.say(a.body, b.body, c.body, " ", took >= 0.29 and took < 0.55 and "at once" or "took " .. took)
        }
    }
    location = /sleep { content_by_lua_block { ngx.sleep(ngx.var.arg_s) ngx.print(ngx.var.arg_n) } }
--- request
GET /t
--- response_body
abc at once

=== TEST 7: fifty subrequests at once
--- config
    location = /t {
        content_by_lua_block {
            local requests = {}
            for i = 1, 50 do requests[i] = { "/sub", { args = { n = i } } } end
            local responses = { ngx.location.capture_multi(requests) }
            local sum = 0
            for i, r in ipairs(responses) do
                if tonumber(r.body) ~= i then ngx.say("wrong at ", i) end
                sum = sum + r.body
            end
            ngx.say(#responses, " ", sum)
        }
    }
    location = /sub { content_by_lua_block { ngx.sleep(ngx.var.arg_n % 5 / 1000) ngx.print(ngx.var.arg_n) } }
--- request
GET /t
--- response_body
50 1275

=== TEST 8: 150 captures one after the other
--- config
    location = /t {
        content_by_lua_block {
            local n = 0
            for i = 1, 150 do n = n + ngx.location.capture("/sub").body end
            ngx.say(n)
        }
    }
    location = /sub { content_by_lua_block { ngx.print(2) } }
--- request
GET /t
--- response_body
300

=== TEST 9: captures nest
--- config
    location = /t {
        content_by_lua_block {
            local n = tonumber(ngx.var.arg_n)
            if n == 0 then return ngx.print("end") end
            local a, b = ngx.location.capture_multi { { "/t?n=" .. n - 1 }, { "/leaf" } }
            ngx.print(n, "(", a.body, b.body, ")")
        }
    }
    location = /leaf { content_by_lua_block { ngx.sleep(0.001) ngx.print("*") } }
--- request
GET /t?n=5
--- response_body chop
5(4(3(2(1(end*)*)*)*)*)

=== TEST 10: a body of 1 MiB is captured whole, from Lua, a file and an upstream
--- config
    location = /t {
        content_by_lua_block {
            for _, uri in ipairs { "/lua", "/big.txt", "/proxy" } do
                local r = ngx.location.capture(uri)
                ngx.say(uri, " ", r.status, " ", #r.body, " ", r.body == ("0123456789abcdef"):rep(65536), " ", r.truncated)
            end
        }
    }
    location = /lua { content_by_lua_block { for i = 1, 64 do ngx.print(("0123456789abcdef"):rep(1024)) ngx.flush() end } }
    location = /proxy { proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/big.txt; }
--- user_files eval
[["big.txt" => "0123456789abcdef" x 65536]]
--- request
GET /t
--- response_body
/lua 200 1048576 true false
/big.txt 200 1048576 true false
/proxy 200 1048576 true false

=== TEST 11: a capture of proxy_pass passes method, body and arguments to the upstream
--- config
    location = /t {
        content_by_lua_block {
            local r = ngx.location.capture("/proxy", { method = ngx.HTTP_POST, body = "posted", args = { a = 1 } })
            ngx.print(r.status, " ", r.header["X-Up"], " ", r.body)
        }
    }
    location = /proxy { proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/echo; }
    location = /echo {
        content_by_lua_block {
            ngx.req.read_body()
            ngx.header["X-Up"] = "up"
            ngx.say(ngx.req.get_method(), " ", ngx.var.args, " ", ngx.req.get_body_data())
        }
    }
--- request
GET /t
--- response_body
200 up POST a=1 posted

=== TEST 12: an upstream that can't be reached is 502, one that breaks off is truncated
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(ngx.location.capture("/refused").status)
            local r = ngx.location.capture("/short")
            ngx.say(r.status, " ", r.truncated, " ", r.body)
        }
    }
    location = /refused { proxy_pass http://127.0.0.1:1/; }
    location = /short { proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1/; }
--- tcp_listen: $TEST_NGINX_RAND_PORT_1
--- tcp_reply eval
"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"
--- request
GET /t
--- response_body
502
200 true hello
--- error_log
upstream prematurely closed connection

=== TEST 13: vars sets variables of the subrequest only
--- config
    location = /t {
        set $dog "mine";
        content_by_lua_block {
            ngx.say(ngx.location.capture("/sub", { vars = { dog = "its", cat = 32 } }).body, " ", ngx.var.dog)
        }
    }
    location = /sub {
        set $cat "";
        content_by_lua_block { ngx.print(ngx.var.dog) }
    }
--- request
GET /t
--- response_body
its mine

=== TEST 14: share_all_vars shares variables both ways, copy_all_vars only there
--- config
    location = /t {
        set $dog "first";
        content_by_lua_block {
            ngx.print(ngx.location.capture("/sub?v=none").body, " ", ngx.var.dog, "; ")
            ngx.print(ngx.location.capture("/sub?v=copied", { copy_all_vars = true }).body, " ", ngx.var.dog, "; ")
            ngx.say(ngx.location.capture("/sub?v=shared", { share_all_vars = true }).body, " ", ngx.var.dog)
        }
    }
    location = /sub { content_by_lua_block { ngx.print("had '", ngx.var.dog, "'") ngx.var.dog = ngx.var.arg_v } }
--- request
GET /t
--- response_body
had '' first; had 'first' first; had 'first' shared

=== TEST 15: the ctx option gives the subrequest that table as its ngx.ctx
--- config
    location = /t {
        content_by_lua_block {
            ngx.ctx.own = "parent"
            local given = { from = "parent" }
            ngx.print(ngx.location.capture("/sub", { ctx = given }).body)
            ngx.say(" ", given.answer, " ", ngx.ctx.answer)
            ngx.location.capture("/sub", { ctx = ngx.ctx })
            ngx.say(ngx.ctx.answer, " ", ngx.location.capture("/sub").body)
        }
    }
    location = /sub { content_by_lua_block { ngx.print(ngx.ctx.from, " ", ngx.ctx.own) ngx.ctx.answer = 42 } }
--- request
GET /t
--- response_body
parent nil 42 nil
42 nil nil

=== TEST 16: captures work in rewrite_by_lua and access_by_lua
--- config
    location = /t {
        set $seen "";
        rewrite_by_lua_block { ngx.var.seen = ngx.location.capture("/sub?rewrite").body }
        access_by_lua_block { ngx.var.seen = ngx.var.seen .. ngx.location.capture("/sub?access").body }
        content_by_lua_block { ngx.say(ngx.var.seen, ngx.location.capture("/sub?content").body) }
    }
    location = /sub { content_by_lua_block { ngx.print(ngx.var.args, " ") } }
--- request
GET /t
--- response_body eval
"rewrite access content \n"

=== TEST 17: access rules by subrequest
--- config
    location /t {
        access_by_lua_block {
            local r = ngx.location.capture("/auth", { args = { who = ngx.var.arg_who } })
            if r.status ~= 200 then ngx.exit(r.status) end
        }
        content_by_lua_block { ngx.say("welcome") }
    }
    location = /auth { content_by_lua_block { ngx.exit(ngx.var.arg_who == "me" and 200 or 403) } }
--- request eval
["GET /t?who=me", "GET /t?who=you"]
--- error_code eval
[200, 403]
--- response_body_like eval
["^welcome\n\$", "403 Forbidden"]

=== TEST 18: captures before and after output, with flushes between
--- config
    location = /t {
        content_by_lua_block {
            ngx.print("a")
            ngx.print(ngx.location.capture("/sub").body)
            ngx.flush(true)
            ngx.print(ngx.location.capture("/sub").body)
            ngx.flush()
            ngx.say("c")
        }
    }
    location = /sub { content_by_lua_block { ngx.sleep(0.01) ngx.print("b") } }
--- request
GET /t
--- response_body
abbc

=== TEST 19: HEAD captures have no body, and a HEAD request may capture
--- config
    location = /t {
        content_by_lua_block {
            ngx.header.x_length = #ngx.location.capture("/sub").body .. " " ..
                                  #ngx.location.capture("/sub", { method = ngx.HTTP_HEAD }).body
            ngx.say("x")
        }
    }
    location = /sub { content_by_lua_block { ngx.print("hello") } }
--- request eval
["GET /t", "HEAD /t"]
--- response_headers eval
["x-length: 5 0", "x-length: 5 0"]

=== TEST 20: an internal redirect inside a subrequest
--- config
    location = /t { content_by_lua_block { ngx.print(ngx.location.capture("/sub").body) } }
    location = /sub { content_by_lua_block { ngx.exec("@next", "a=1") } }
    location @next { content_by_lua_block { ngx.say("next ", ngx.var.uri) } }
--- request
GET /t
--- response_body
next /sub

=== TEST 21: what is wrong with the arguments is an error that names it
--- config
    location = /t {
        content_by_lua_block {
            local function try(f, ...) ngx.say((tostring(select(2, pcall(f, ...))))) end
            local capture, multi = ngx.location.capture, ngx.location.capture_multi
            try(capture)
            try(capture, "/x", 1)
            try(capture, "/x", { method = "POST" })
            try(capture, "/x", { body = {} })
            try(capture, "/x", { args = true })
            try(capture, "/x", { ctx = 1 })
            try(multi, {})
            try(multi, 1)
            try(capture, "/../../etc/passwd")
            try(function() local r = capture("/x", 1) end)
            try(function() local r = capture("/../x") end)
        }
    }
--- request
GET /t
--- response_body_like chop
^\S*expecting one or two arguments
\S*expecting table as the 2nd argument for subrequest 0, but got number
\S*Bad http request method
\S*Bad http request body
\S*Bad args option value
\S*Bad ctx option value type number, expected a Lua table
\S*at least one subrequest should be specified
\S*bad argument #1 to '\S+' \(table expected, got number\)
\S*unsafe uri in argument #1: /\.\./\.\./etc/passwd
content_by_lua\(nginx\.conf:\d+\):13: expecting table as the 2nd argument for subrequest 0, but got number
content_by_lua\(nginx\.conf:\d+\):14: unsafe uri in argument #1: /\.\./x$

=== TEST 22: the phases that can't wait refuse captures
--- config
    location = /t {
        content_by_lua_block { ngx.say("ok") }
        log_by_lua_block { ngx.log(ngx.WARN, (select(2, pcall(ngx.location.capture, "/sub")))) }
        header_filter_by_lua_block { ngx.log(ngx.WARN, (select(2, pcall(ngx.location.capture, "/sub")))) }
    }
    location = /sub { return 200; }
--- request
GET /t
--- response_body
ok
--- error_log
API disabled in the context of log_by_lua*
API disabled in the context of header_filter_by_lua*

=== TEST 23: filters run in a subrequest's location, and their body is what is captured
--- config
    location = /t { content_by_lua_block { local r = ngx.location.capture("/sub") ngx.say(r.header["X-F"], r.body) } }
    location = /sub {
        content_by_lua_block { ngx.print("hello") }
        header_filter_by_lua_block { ngx.header["X-F"] = "f:" }
        body_filter_by_lua_block { ngx.arg[1] = ngx.arg[1]:upper() }
    }
--- request
GET /t
--- response_body
f:HELLO

=== TEST 24: a client that goes away while a subrequest sleeps
--- config
    location = /t { content_by_lua_block { ngx.location.capture("/sub") ngx.say("late") } }
    location = /sub { content_by_lua_block { ngx.sleep(0.3) ngx.print("x") } }
--- request
GET /t
--- timeout: 100ms
--- abort
--- ignore_response
--- wait: 0.4
--- no_error_log
[error]
[alert]

=== TEST 25: of several that end together, who waited for the first goes on first
--- config
    location = /t {
        content_by_lua_block {
            local function capture(name) ngx.say(name, " ", ngx.location.capture("/sub").body) end
            local threads = {}
            for i, name in ipairs { "first", "second", "third" } do threads[i] = ngx.thread.spawn(capture, name) end
            for _, thread in ipairs(threads) do ngx.thread.wait(thread) end
        }
    }
    location = /sub { return 200 sub; }
--- request
GET /t
--- response_body
first sub
second sub
third sub
--- no_error_log
[error]

=== TEST 26: a chunked request's subrequest has no chunked body
--- config
    location = /t {
        content_by_lua_block {
            ngx.req.read_body()
            ngx.say(ngx.location.capture("/gone", { method = ngx.HTTP_DELETE }).status)
        }
    }
    location = /gone { dav_methods DELETE; }
--- raw_request eval
"POST /t HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
--- response_body
404
