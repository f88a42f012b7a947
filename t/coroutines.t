# coroutine.*: a handler's own coroutines, which may wait like the handler itself.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: values go in and out of a coroutine
--- config
    location = /t {
        content_by_lua_block {
            local co = coroutine.create(function(a, b)
                local c, d = coroutine.yield(a + b, nil, "y")
                return c .. d, nil
            end)
            ngx.say(coroutine.status(co))
            ngx.say(coroutine.resume(co, 1, 2))
            ngx.say(coroutine.status(co))
            ngx.say(coroutine.resume(co, "c", "d"))
            ngx.say(coroutine.status(co))
            ngx.say(coroutine.resume(co))
            ngx.say(select("#", coroutine.resume(coroutine.create(function() end))))
        }
    }
--- request
GET /t
--- response_body
suspended
true3nily
suspended
truecdnil
dead
falsecannot resume dead coroutine
1

=== TEST 2: wrap makes an iterator
--- config
    location = /t {
        content_by_lua_block {
            local function range(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i, i * i) end end) end
            for i, square in range(4) do ngx.print(i, ":", square, " ") end
            ngx.say()
        }
    }
--- request
GET /t
--- response_body eval
"1:1 2:4 3:9 4:16 \n"

=== TEST 3: a coroutine can sleep, and its resumer goes on when it yields
--- config
    location = /t {
        content_by_lua_block {
            local co = coroutine.wrap(function()
                for i = 1, 3 do ngx.sleep(0.001) ngx.print("in", i, " ") coroutine.yield(i) end
                return "end"
            end)
            for _ = 1, 4 do ngx.print("out", co(), " ") end
            ngx.say()
        }
    }
--- request
GET /t
--- response_body eval
"in1 out1 in2 out2 in3 out3 outend \n"

=== TEST 4: coroutines in coroutines wait at every depth
--- config
    location = /t {
        content_by_lua_block {
            local function nest(n)
                if n == 0 then ngx.sleep(0.001) return "deep" end
                local ok, value = coroutine.resume(coroutine.create(nest), n - 1)
                ngx.sleep(0.001)
                return ok and n .. value or value
            end
            ngx.say(nest(10))
        }
    }
--- request
GET /t
--- response_body
10987654321deep

=== TEST 5: a capture, a body and a flush in a coroutine
--- config
    location = /t {
        content_by_lua_block {
            local co = coroutine.wrap(function()
                ngx.req.read_body()
                coroutine.yield(ngx.req.get_body_data())
                coroutine.yield(ngx.location.capture("/sub").body)
                ngx.print("flushed ")
                ngx.flush(true)
                return "end"
            end)
            ngx.print(co(), " ") ngx.print(co(), " ") ngx.say(co())
        }
    }
    location = /sub { content_by_lua_block { ngx.sleep(0.001) ngx.print("sub") } }
--- request
POST /t
body
--- response_body
body sub flushed end

=== TEST 6: an error in a coroutine is its resumer's result, of any type
--- config
    location = /t {
        content_by_lua_block {
            local function try(f) return coroutine.resume(coroutine.create(f)) end
            local ok, err = try(function() ngx.sleep(0.001) error("broken") end)
            ngx.say(ok, " ", err)
            ok, err = try(function() error({ code = 7 }) end)
            ngx.say(ok, " ", err.code)
            ok, err = try(function() error() end)
            ngx.say(ok, " ", err)
            ok, err = pcall(coroutine.wrap(function() ngx.sleep(0.001) error("wrapped") end))
            ngx.say(ok, " ", err)
        }
    }
--- request
GET /t
--- response_body_like chop
^false content_by_lua\(nginx\.conf:\d+\):3: broken
false 7
false nil
false .*wrapped$

=== TEST 7: an error in a wrapped coroutine that nobody catches is 500
--- config
    location = /t { content_by_lua_block { coroutine.wrap(function() ngx.sleep(0.001) error("uncaught") end)() } }
--- request
GET /t
--- error_code: 500
--- error_log
uncaught

=== TEST 8: waiting inside pcall and xpcall
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(pcall(function() ngx.sleep(0.001) return "slept" end))
            ngx.say((select(2, pcall(function() ngx.sleep(0.001) error("after", 0) end))))
            ngx.say(xpcall(function() ngx.sleep(0.001) error("x", 0) end, function(e) return "handled " .. e end))
            ngx.say(pcall(pcall, pcall, function() ngx.sleep(0.001) return 1 end))
        }
    }
--- request
GET /t
--- response_body
trueslept
after
falsehandled x
truetruetrue1

=== TEST 9: output inside callbacks of C functions works
--- config
    location = /t {
        content_by_lua_block {
            ngx.print((("abc"):gsub(".", function(c) ngx.print("<", c, ">") return c:upper() end)), " ")
            local t = { 3, 1, 2 }
            table.sort(t, function(a, b) ngx.print(".") return a < b end)
            ngx.print(" ", t, " ")
            for k in pairs(setmetatable({}, { __index = function() return 1 end })) do ngx.print(k) end
            ngx.say(tostring(setmetatable({}, { __tostring = function() ngx.print("in tostring ") return "T" end })))
            ngx.flush(true)
            ngx.say("end")
        }
    }
--- request
GET /t
--- response_body_like chop
^<a><b><c>ABC \.+ 123 in tostring T
end$

=== TEST 10: a lot of output inside a callback of a C function
--- config
    location = /t {
        content_by_lua_block {
            local piece = ("x"):rep(1000);
            (("y"):rep(300)):gsub("y", function() ngx.print(piece) end)
            ngx.print("end")
        }
    }
--- request
GET /t
--- response_body eval
"x" x 300000 . "end"

=== TEST 11: waiting inside a callback of a C function is an error that can be caught, and the handler goes on
--- config
    location = /t {
        content_by_lua_block {
            local ok, err = pcall(string.gsub, "a", ".", function() ngx.sleep(0.001) end)
            ngx.say(ok, " ", err:match("attempt to yield across C%-call boundary"))
            ok, err = pcall(table.sort, { 2, 1 }, function(a, b) ngx.sleep(0.001) return a < b end)
            ngx.say(ok, " ", err:match("attempt to yield across C%-call boundary"))
            ngx.sleep(0.001)
            ngx.say("goes on")
        }
    }
--- request
GET /t
--- response_body
false attempt to yield across C-call boundary
false attempt to yield across C-call boundary
goes on
--- no_error_log
[alert]

=== TEST 12: iterators and metamethods in Lua can wait
--- config
    location = /t {
        content_by_lua_block {
            local lazy = setmetatable({}, { __index = function(_, k) ngx.sleep(0.001) return k .. "!" end,
                                            __add = function() ngx.sleep(0.001) return "sum" end })
            ngx.print(lazy.a, " ", lazy + 1, " ")
            local function iterate(_, i) ngx.sleep(0.001) if i < 3 then return i + 1 end end
            for i in iterate, nil, 0 do ngx.print(i) end
            ngx.say()
        }
    }
--- request
GET /t
--- response_body
a! sum 123

=== TEST 13: running, and yielding outside of any coroutine of one's own
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(type(coroutine.running()))
            local co
            co = coroutine.create(function() ngx.say(coroutine.running() == co, " ", coroutine.status(co)) end)
            coroutine.resume(co)
            ngx.say(coroutine.resume(coroutine.running()))
            ngx.say((pcall(coroutine.create, 1)), (pcall(coroutine.resume, 1)), (pcall(coroutine.status, {})))
        }
    }
--- request
GET /t
--- response_body_like chop
^thread
true running
falsecannot resume .*
falsefalsefalse$

=== TEST 14: a coroutine left unfinished is collected with its request
--- config
    location = /t {
        content_by_lua_block {
            for i = 1, 100 do
                local co = coroutine.wrap(function() ngx.sleep(0) coroutine.yield(i) ngx.sleep(10) end)
                co()
            end
            collectgarbage() collectgarbage()
            ngx.say("done")
        }
    }
--- pipelined_requests eval
["GET /t", "GET /t"]
--- response_body eval
["done\n", "done\n"]

=== TEST 15: requests that wait at the same time keep to themselves
--- config
    location = /t {
        content_by_lua_block {
            local requests = {}
            for i = 1, 20 do requests[i] = { "/co?n=" .. i } end
            for i, r in ipairs({ ngx.location.capture_multi(requests) }) do
                if r.body ~= i .. " " .. i .. " " .. i then ngx.say("wrong: ", i, " ", r.body) end
            end
            ngx.say("done")
        }
    }
    location = /co {
        content_by_lua_block {
            ngx.ctx.n = ngx.var.arg_n
            local co = coroutine.wrap(function() for _ = 1, 3 do ngx.sleep(math.random() / 200) coroutine.yield(ngx.ctx.n) end end)
            ngx.print(co(), " ", co(), " ", co())
        }
    }
--- request
GET /t
--- response_body
done



=== what is printed in a C callback is sent where the location has a Lua filter too
--- config
    location = /t {
        header_filter_by_lua_block { ngx.header.x = "filtered" }
        content_by_lua_block {
            ("abc"):gsub(".", function(c) ngx.print(c, ".") end)
            ngx.say("done")
        }
    }
--- request
GET /t
--- response_headers
x: filtered
--- response_body
a.b.c.done
--- no_error_log
[error]
