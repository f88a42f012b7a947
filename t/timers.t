# ngx.timer: functions that run later, without the request that asked for them.
use Test::Nginx::Socket 'no_plan';

no_long_string();
run_tests();

__DATA__

=== TEST 1: a timer runs after its time, with its arguments
--- config
location /t {
    content_by_lua_block {
        local semaphore = require "ngx.semaphore"
        local sem = semaphore.new()
        local seen
        ngx.say(ngx.timer.at(0.001, function(...)
            seen = { ngx.get_phase(), select("#", ...), ... }
            ngx.sleep(0.001)
            sem:post()
        end, "a", nil, "c"))
        ngx.say(ngx.timer.pending_count(), " ", ngx.timer.running_count())
        ngx.say(sem:wait(2))
        ngx.say(seen[1], " ", seen[2], " ", tostring(seen[3]), " ", seen[4], " ", tostring(seen[5]), " ", seen[6])
        ngx.sleep(0)
        ngx.say(ngx.timer.pending_count(), " ", ngx.timer.running_count())
    }
}
--- request
GET /t
--- response_body
1
1 0
true
timer 4 false a nil c
0 0
--- no_error_log
[error]



=== TEST 2: one that comes again does so with the same arguments, until the worker leaves
--- config
location /t {
    content_by_lua_block {
        local sem = require("ngx.semaphore").new()
        local n = 0
        ngx.timer.every(0.005, function(premature, by)
            if not premature then
                n = n + by
                sem:post()
            end
        end, 2)
        for _ = 1, 3 do
            sem:wait(1)
        end
        ngx.say(n)
        ngx.say(select(2, pcall(ngx.timer.every, 0, function() end)))
    }
}
--- request
GET /t
--- response_body
6
delay cannot be zero
--- no_error_log
[error]



=== TEST 3: what is no delay and no function is refused
--- config
location /t {
    content_by_lua_block {
        for _, arguments in ipairs { {}, { 1 }, { "x", print }, { 0, 7 }, { 0, tostring } } do
            ngx.say((select(2, pcall(ngx.timer.at, unpack(arguments)))))
        end
    }
}
--- request
GET /t
--- response_body
expecting at least 2 arguments but got 0
expecting at least 2 arguments but got 1
bad argument #1 to '?' (number expected, got string)
bad argument #2 to '?' (Lua function expected)
bad argument #2 to '?' (Lua function expected)
--- no_error_log
[error]



=== TEST 4: there are limits to how many wait and how many run
--- http_config
lua_max_pending_timers 3;
lua_max_running_timers 1;
--- config
location /t {
    content_by_lua_block {
        local function nap() ngx.sleep(0.05) end
        for _ = 1, 4 do
            ngx.say(ngx.timer.at(0, nap))
        end
        ngx.sleep(0.02)
        ngx.say(ngx.timer.running_count())
    }
}
--- request
GET /t
--- response_body
1
1
1
niltoo many pending timers
1
--- error_log
1 lua_max_running_timers are not enough
lua failed to run timer with function defined at =content_by_lua(



=== TEST 5: an error in a timer is logged with whose it was, and the worker lives
--- config
location /t {
    content_by_lua_block {
        ngx.timer.at(0, function() error("oh no") end)
        ngx.sleep(0.02)
        ngx.say("alive")
    }
}
--- request
GET /t
--- response_body
alive
--- error_log eval
[qr/lua entry thread aborted: runtime error: content_by_lua\(nginx.conf:\d+\):2: oh no/, qr/, context: ngx\.timer, client: 127\.0\.0\.1, server: /]



=== TEST 6: what needs a client is refused in a timer
--- config
location /t {
    content_by_lua_block {
        local results = {}
        ngx.timer.at(0, function()
            for i, f in ipairs { function() ngx.say("x") end, function() return ngx.var.uri end, ngx.req.read_body,
                function() ngx.location.capture("/t") end, function() ngx.redirect("/") end } do
                results[i] = select(2, pcall(f))
            end
        end)
        ngx.sleep(0.02)
        for _, result in ipairs(results) do
            ngx.say(result:match("API disabled in the context of ngx.timer"))
        end
    }
}
--- request
GET /t
--- response_body
API disabled in the context of ngx.timer
API disabled in the context of ngx.timer
API disabled in the context of ngx.timer
API disabled in the context of ngx.timer
API disabled in the context of ngx.timer
--- no_error_log
[error]



=== TEST 7: timers begin in every phase, and light threads run in them
--- http_config
init_worker_by_lua_block {
    log = {}
    ngx.timer.at(0, function() table.insert(log, "init_worker") end)
}
--- config
location /t {
    set_by_lua_block $x {
        ngx.timer.at(0, function() table.insert(log, "set") end)
        return 1
    }
    header_filter_by_lua_block { ngx.timer.at(0, function() table.insert(log, "header_filter") end) }
    log_by_lua_block {
        ngx.timer.at(0, function()
            ngx.thread.wait(ngx.thread.spawn(function()
                ngx.sleep(0.001)
                table.insert(log, "log")
            end))
        end)
    }
    content_by_lua_block { ngx.say("ok") }
}
location /log {
    content_by_lua_block {
        ngx.sleep(0.02)
        ngx.say(table.concat(log, " "))
    }
}
--- request eval
["GET /t", "GET /log"]
--- response_body eval
["ok\n", "init_worker set header_filter log\n"]
--- no_error_log
[error]



=== TEST 8: a timer outlives the VM of its request where the code isn't cached
--- config
location /t {
    lua_code_cache off;
    content_by_lua_block {
        local t = { "kept" }
        ngx.timer.at(0.02, function()
            collectgarbage()
            ngx.log(ngx.WARN, "the table is ", t[1])
        end)
        ngx.say("ok")
    }
}
--- request
GET /t
--- response_body
ok
--- wait: 0.1
--- error_log
the table is kept
--- no_error_log
[error]
