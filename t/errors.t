# What becomes of a handler that fails, and what the log says of it.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: a runtime error is 500, and the log has its place and a traceback
--- config
    location = /t {
        content_by_lua_block {
            local function inner() local t = nil; return t.field end
            local function outer() inner() return 1 end
            outer()
        }
    }
--- request
GET /t
--- error_code: 500
--- response_body_like: 500 Internal Server Error
--- error_log eval
[qr/\[error\] .*lua entry thread aborted: runtime error: content_by_lua\(nginx\.conf:\d+\):2: attempt to index local 't' \(a nil value\)/,
 "stack traceback:", "in function 'inner'", "in function 'outer'"]

=== TEST 2: error() with a table, nil, a number or an object that shows itself
--- config
    location = /t {
        content_by_lua_block {
            local kind = ngx.var.arg_kind
            if kind == "table" then error({}) end
            if kind == "nil" then error() end
            if kind == "number" then error(42) end
            error(setmetatable({}, { __tostring = function() return "I am shown" end }))
        }
    }
    location = /next { content_by_lua_block { ngx.say("lives") } }
--- request eval
["GET /t?kind=table", "GET /t?kind=nil", "GET /t?kind=number", "GET /t?kind=object", "GET /next"]
--- error_code eval
[500, 500, 500, 500, 200]
--- no_error_log
[alert]

=== TEST 3: an error's string is in the log, whatever made it
--- config
    location = /t { content_by_lua_block { error("first line\nsecond line", 0) } }
--- request
GET /t
--- error_code: 500
--- error_log
lua entry thread aborted: runtime error: first line
second line

=== TEST 4: a syntax error is 500 with file and line, and the other locations serve
--- config
    location = /t {
        content_by_lua_block {
            ngx.say("a")
            local = 5
        }
    }
    location = /good { content_by_lua_block { ngx.say("good") } }
--- request
GET /t
--- error_code: 500
--- error_log eval
qr/\[error\] .*failed to load inlined Lua code: content_by_lua\(nginx\.conf:40\):3: /

=== TEST 5: a syntax error in a file names the file
--- config
    location = /t { content_by_lua_file html/broken.lua; }
--- user_files
>>> broken.lua
ngx.say("a")
if x then
--- request
GET /t
--- error_code: 500
--- error_log eval
qr/failed to load external Lua file ".*html\/broken\.lua": .*broken\.lua:\d: 'end' expected/

=== TEST 6: a file that isn't there is 404
--- config
    location = /t { content_by_lua_file html/none.lua; }
--- request
GET /t
--- error_code: 404
--- error_log eval
qr/failed to load external Lua file ".*html\/none\.lua": cannot open .*No such file or directory/

=== TEST 7: an error after the header was sent ends the answer there
--- config
    location = /t { content_by_lua_block { ngx.say("begun") ngx.flush(true) error("too late") } }
--- raw_request eval
"GET /t HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
--- ignore_response
--- error_log
too late
--- no_error_log
[alert]

=== TEST 8: an error after a wait, with what was waiting given up
--- config
    location = /t { content_by_lua_block { ngx.sleep(0.001) error("after a sleep") } }
--- request
GET /t
--- error_code: 500
--- error_log eval
qr/runtime error: content_by_lua\(nginx\.conf:\d+\):1: after a sleep/

=== TEST 9: the worker lives through a thousand errors
--- config
    location = /t {
        content_by_lua_block {
            for i = 1, 1000 do ngx.location.capture("/fails", { args = { n = i } }) if i % 100 == 0 then ngx.sleep(0) end end
            ngx.say(ngx.location.capture("/fails").status)
        }
    }
    location = /fails { access_log off; error_log /dev/null; content_by_lua_block { error("again") } }
--- timeout: 10
--- request
GET /t
--- response_body
500
--- no_error_log
[alert]

=== TEST 10: a stack overflow is an error like others
--- config
    location = /t { content_by_lua_block { local function f() return 1 + f() end f() } }
    location = /next { content_by_lua_block { ngx.say("lives") } }
--- request eval
["GET /t", "GET /next"]
--- error_code eval
[500, 200]
--- no_error_log
[alert]

=== TEST 11: a module that isn't there, or fails, is an error that says where it was looked for
--- config
    location = /none { content_by_lua_block { require "no.such.module" } }
    location = /fails { content_by_lua_block { require "failing" } }
--- http_config
    lua_package_path '$prefix/html/?.lua;;';
--- user_files
>>> failing.lua
error("the module failed")
--- request eval
["GET /none", "GET /fails"]
--- error_code eval
[500, 500]
--- error_log eval
qr{module 'no\.such\.module' not found:|error loading module 'failing'|failing\.lua:1: the module failed}

=== TEST 12: an error in log_by_lua doesn't touch the answer
--- config
    location = /log { content_by_lua_block { ngx.say("ok") } log_by_lua_block { error("log failed") } }
--- request eval
["GET /log", "GET /log"]
--- response_body eval
["ok\n", "ok\n"]
--- error_log
log failed
--- no_error_log
[alert]

=== TEST 13: error_page sees a failed handler's 500
--- config
    location = /t { error_page 500 /page; content_by_lua_block { error("x") } }
    location = /page { content_by_lua_block { ngx.say("sorry, ", ngx.status) } }
--- request
GET /t
--- error_code: 500
--- response_body
sorry, 500

=== TEST 14: a traceback has 22 frames
--- config
    location = /t {
        content_by_lua_block {
            local code = { "local function f1() error('deep down') end " }
            for n = 2, 40 do code[n] = ("local function f%d() f%d() return 1 end "):format(n, n - 1) end
            assert(loadstring(table.concat(code) .. "f40()"))()
        }
    }
--- request
GET /t
--- error_code: 500
--- error_log eval
["in function 'f21'", qr/^\t\.\.\.,/]
--- no_error_log
in function 'f22'

=== TEST 15: a traceback has the wrapped coroutines that the error came through, not those that had the same and were caught
--- config
    location = /t {
        content_by_lua_block {
            local function fails() error("the same", 0) end
            for _ = 1, 3 do pcall(coroutine.wrap(fails)) end
            coroutine.wrap(function()
                for _ = 1, 3 do pcall(coroutine.wrap(fails)) end
                coroutine.wrap(fails)()
            end)()
        }
    }
--- request
GET /t
--- error_code: 500
--- error_log eval
["coroutine 0:", "coroutine 1:", "coroutine 2:"]
--- no_error_log
coroutine 3:

=== TEST 16: nor those that had another
--- config
    location = /t {
        content_by_lua_block {
            pcall(coroutine.wrap(function() error("caught", 0) end))
            error("plain", 0)
        }
    }
--- request
GET /t
--- error_code: 500
--- error_log
coroutine 0:
--- no_error_log
coroutine 1:
