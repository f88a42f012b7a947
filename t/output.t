# What ngx.say, ngx.print, ngx.flush, ngx.eof and ngx.send_headers put on the wire.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: print and say write strings, numbers, booleans, nil and null, and say ends the line
--- config
    location = /t {
        content_by_lua_block {
            ngx.print("a", 1, -2, 3.5, true, false, nil, ngx.null)
            ngx.say()
            ngx.say("b", "", "\0c", nil)
            ngx.say(nil)
            ngx.print()
            ngx.say(1e15, " ", 1e100, " ", 0.1, " ", -0.0, " ", 1/0, " ", 123456789012)
        }
    }
--- request
GET /t
--- response_body eval
"a1-23.5truefalsenilnull\nb\0cnil\nnil\n1e+15 1e+100 0.1 -0 inf 123456789012\n"
--- no_error_log
[error]

=== TEST 2: arrays are written element by element, however deep
--- config
    location = /t {
        content_by_lua_block {
            ngx.say({ "a", 1, { "b", { { true } }, {} }, false, ngx.null }, {}, { "end" })
            ngx.say({ [1] = "x", [3] = "z" })
        }
    }
--- request
GET /t
--- response_body
a1btruefalsenullend
xnilz

=== TEST 3: what can't be written is refused by an error that says what it is, and nothing of the call is sent
--- config
    location = /t {
        content_by_lua_block {
            local function try(f, ...)
                local ok, err = pcall(f, ...)
                ngx.say(ok, ": ", err)
            end
            try(ngx.say, "lost", print)
            try(ngx.print, coroutine.create(print))
            try(ngx.say, { "lost", { a = 1 } })
            try(ngx.say, { 1, { print } })
            try(ngx.say, 1, 2, 3, 4, 5, io.stdout)
        }
    }
--- request
GET /t
--- response_body_like chop
^false: bad argument #2 to '\S+' \(string, number, boolean, nil, ngx\.null, or array table expected, but got function\)
false: bad argument #1 to '\S+' \(string, number, boolean, nil, ngx\.null, or array table expected, but got thread\)
false: bad argument #1 to '\S+' \(non-array table found\)
false: bad argument #1 to '\S+' \(bad data type function found\)
false: bad argument #6 to '\S+' \(string, number, boolean, nil, ngx\.null, or array table expected, but got userdata\)$

=== TEST 4: output calls return 1
--- config
    location = /t {
        content_by_lua_block {
            local a, b, c, d, e = ngx.send_headers(), ngx.print("x"), ngx.say("y"), ngx.flush(), ngx.flush(true)
            ngx.say(a, b, c, d, e)
            ngx.log(ngx.WARN, "eof: ", (ngx.eof()))
        }
    }
--- request
GET /t
--- response_body
xy
11111
--- error_log
eof: 1

=== TEST 5: after eof, say and print return nil and "seen eof", and the code goes on
--- config
    location = /t {
        content_by_lua_block {
            ngx.say("sent")
            ngx.eof()
            for _, name in ipairs { "say", "print" } do
                local ok, err = ngx[name]("lost")
                ngx.log(ngx.WARN, name, " after eof: ", ok, ", ", err)
            end
            ngx.sleep(0.01)
            ngx.log(ngx.WARN, "still running")
        }
    }
--- request
GET /t
--- response_body
sent
--- wait: 0.1
--- error_log
say after eof: nil, seen eof
print after eof: nil, seen eof
still running

=== TEST 6: flush takes a boolean, eof takes nothing
--- config
    location = /t {
        content_by_lua_block {
            ngx.say((select(2, pcall(ngx.eof, 1))))
            ngx.say(pcall(ngx.flush, "true") == false)
            ngx.say(pcall(ngx.flush, nil))
        }
    }
--- request
GET /t
--- response_body
no argument is expected
true
true1

=== TEST 7: the answer to HEAD has the headers and no body
--- config
    location = /t { content_by_lua_block { ngx.header.X_A = "b"; ngx.say("hello") ngx.flush(true) ngx.say("again") } }
--- request
HEAD /t
--- response_headers
X-A: b
--- response_body
--- no_error_log
[error]

=== TEST 8: an HTTP/1.0 answer is gathered, and has a Content-Length
--- config
    location = /t { content_by_lua_block { ngx.say("hello") ngx.flush(true) ngx.sleep(0.01) ngx.print("world") } }
--- request
GET /t HTTP/1.0
--- response_headers
Content-Length: 11
! Transfer-Encoding
--- response_body chop
hello
world

=== TEST 9: a Content-Length that the handler sets is kept, and the answer isn't chunked
--- config
    location = /t { content_by_lua_block { ngx.header.content_length = 6 ngx.print("hello\n") } }
--- request
GET /t
--- response_headers
Content-Length: 6
! Transfer-Encoding
--- response_body
hello

=== TEST 10: an HTTP/1.1 answer without a length is chunked
--- config
    location = /t { content_by_lua_block { ngx.say("hello") } }
--- request
GET /t
--- response_headers
Transfer-Encoding: chunked
! Content-Length
--- response_body
hello

=== TEST 11: a handler that writes nothing answers 200 with an empty body
--- config
    location = /t { content_by_lua_block { local _ = 1 } }
--- request
GET /t
--- error_code: 200
--- response_body

=== TEST 12: send_headers sends them once, and what is written to ngx.header later is refused
--- config
    location = /t {
        content_by_lua_block {
            ngx.header.x_a = "1"
            ngx.say(ngx.headers_sent)
            ngx.say(ngx.headers_sent)
            ngx.send_headers()
            ngx.header.x_b = "2"
            ngx.status = 404
            ngx.say("status ", ngx.status)
        }
    }
--- request
GET /t
--- response_headers
x-a: 1
! x-b
--- response_body
false
true
status 200
--- error_log
attempt to set ngx.header.HEADER after sending out response headers
attempt to set ngx.status after sending out response headers

=== TEST 13: a body of 1 MiB in one call
--- config
    location = /t { content_by_lua_block { ngx.print(("0123456789abcdef"):rep(65536)) } }
--- request
GET /t
--- response_body eval
"0123456789abcdef" x 65536

=== TEST 14: a body of 1 MiB in many small calls
--- config
    location = /t { content_by_lua_block { for i = 1, 65536 do ngx.print("0123456789", "abcdef") end } }
--- request
GET /t
--- response_body eval
"0123456789abcdef" x 65536

=== TEST 15: a body of 1 MiB as one array
--- config
    location = /t {
        content_by_lua_block {
            local t = {}
            for i = 1, 65536 do t[i] = "0123456789abcdef" end
            ngx.print(t)
        }
    }
--- request
GET /t
--- response_body eval
"0123456789abcdef" x 65536

=== TEST 16: flush(true) waits for a client that reads slowly, and all of the body arrives
--- config
    postpone_output 1;
    location = /t {
        limit_rate 200k;
        content_by_lua_block {
            local piece = ("x"):rep(10000)
            for i = 1, 10 do
                ngx.print(piece)
                local ok, err = ngx.flush(true)
                if not ok then ngx.log(ngx.ERR, "flush: ", err) end
            end
        }
    }
    location = /main {
        content_by_lua_block {
            ngx.update_time()
            local start = ngx.now()
            local piece = ("x"):rep(10000)
            for i = 1, 10 do ngx.print(piece) ngx.flush(true) end
            ngx.eof()
            ngx.update_time()
            ngx.log(ngx.WARN, "took ", ngx.now() - start >= 0.2 and "long" or "no time")
        }
        limit_rate 100k;
    }
--- request eval
["GET /t", "GET /main"]
--- timeout: 10
--- response_body eval
["x" x 100000, "x" x 100000]
--- no_error_log
[error]
flush: 
took no time

=== TEST 17: a flush(true) makes what was written so far arrive before the handler goes on
--- config
    location = /t {
        content_by_lua_block {
            ngx.print("early ")
            ngx.flush(true)
            ngx.sleep(2)
            ngx.print("late")
        }
    }
--- raw_request eval
"GET /t HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
--- timeout: 300ms
--- abort
--- ignore_response
--- no_error_log
[error]

=== TEST 18: what a handler sees as written before a wait reaches the client in order
--- config
    location = /t {
        content_by_lua_block {
            for i = 1, 20 do
                ngx.print(i, " ")
                if i % 3 == 0 then ngx.sleep(0.001) end
                if i % 5 == 0 then ngx.flush() end
                if i % 7 == 0 then ngx.flush(true) end
            end
        }
    }
--- request
GET /t
--- response_body eval
CORE::join("", map {"$_ "} 1 .. 20)

=== TEST 19: the status is set before the first output
--- config
    location = /t { content_by_lua_block { ngx.status = 201 ngx.say(ngx.status) } }
    location = /text { content_by_lua_block { ngx.status = "202" ngx.say(type(ngx.status)) } }
    location = /odd { content_by_lua_block { ngx.status = 799 ngx.say("odd") } }
--- request eval
["GET /t", "GET /text", "GET /odd"]
--- error_code eval
[201, 202, 799]
--- response_body eval
["201\n", "number\n", "odd\n"]

=== TEST 20: print writes to the error log at notice level
--- config
    location = /t {
        content_by_lua_block {
            print("one", 2, nil, true)
            ngx.log(ngx.WARN, "level ", ngx.WARN, " ", { } ~= nil)
            ngx.say("ok")
        }
    }
--- request
GET /t
--- response_body
ok
--- error_log eval
[qr/\[notice\] .*? \[lua\] content_by_lua\(nginx\.conf:\d+\):2: one2niltrue/, qr/\[warn\] .*?:3: level 5 true/]

=== TEST 21: a subtable that contains itself fails rather than hanging the worker
--- config
    location = /t {
        content_by_lua_block {
            local t = { "a" }
            t[2] = t
            ngx.say(pcall(ngx.say, t) == false)
        }
    }
    location = /again { content_by_lua_block { ngx.say("lives") } }
--- request eval
["GET /t", "GET /again"]
--- response_body eval
["true\n", "lives\n"]

=== TEST 22: a flush(true) goes on when a rate limit has let enough time pass
--- config
    postpone_output 1;
    location = /t {
        limit_rate 40k;
        content_by_lua_block {
            local piece = ("x"):rep(10000)
            for _ = 1, 6 do ngx.print(piece) ngx.flush(true) end
            ngx.log(ngx.WARN, "went on to the end")
        }
    }
--- request
GET /t
--- timeout: 5
--- response_body eval
"x" x 60000
--- error_log
went on to the end
--- no_error_log
[error]

=== TEST 23: over HTTP/1.0 what is collected before an ngx.exit is the answer, with its length
--- config
    location = /t { content_by_lua_block { ngx.say("hello") ngx.exit(ngx.var.arg_status + 0) } }
--- request eval
["GET /t?status=403 HTTP/1.0", "GET /t?status=200 HTTP/1.0", "GET /t?status=0 HTTP/1.0"]
--- error_code eval
[200, 200, 200]
--- response_headers eval
["Content-Length: 6", "Content-Length: 6", "Content-Length: 6"]
--- response_body eval
["hello\n", "hello\n", "hello\n"]

=== TEST 24: a number is written with 14 digits, whole or not
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(99999999999999, " ", -99999999999999, " ", 1e14, " ", 123456789012345, " ", -123456789012345, " ", 1e15)
            ngx.say(99999999999999.5, " ", 0, " ", -0.0, " ", 0.1)
        }
    }
--- request
GET /t
--- response_body
99999999999999 -99999999999999 1e+14 1.2345678901234e+14 -1.2345678901234e+14 1e+15
1e+14 0 -0 0.1
