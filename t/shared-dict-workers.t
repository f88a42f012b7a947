# Shared dictionaries of several workers, one of which dies.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
master_on();
workers(2);
run_tests();

__DATA__

=== TEST 1: what one worker stores the other reads
--- http_config
    lua_shared_dict dict 1m;
    init_worker_by_lua_block { ngx.shared.dict:set("worker" .. ngx.worker.id(), ngx.worker.pid()) }
--- config
    location = /t {
        content_by_lua_block {
            local dict = ngx.shared.dict
            local first, second
            repeat
                ngx.sleep(0.001)
                first, second = dict:get("worker0"), dict:get("worker1")
            until first and second
            ngx.say(first ~= second, " ", first == ngx.worker.pid() or second == ngx.worker.pid())
        }
    }
--- request
GET /t
--- response_body
true true
--- no_error_log
[error]

=== TEST 2: when a worker is killed in a change the other goes on with an empty dictionary, and says so
--- http_config
    lua_shared_dict hot 1m;
    lua_shared_dict live 1m;
    init_worker_by_lua_block {
        local hot, live = ngx.shared.hot, ngx.shared.live
        live:set("pid" .. ngx.worker.id(), ngx.worker.pid())
        ngx.timer.every(0.002, function()
            if live:get("victim") == ngx.worker.pid() then
                live:set("begun", true)
                local text = string.rep("x", 400)
                while true do
                    for key = 1, 50 do hot:set(key, text) hot:delete(key) end
                end
            end
        end)
    }
--- config
    location = /t {
        content_by_lua_block {
            local ffi = require "ffi"
            ffi.cdef "int kill(int pid, int signal);"
            local hot, live = ngx.shared.hot, ngx.shared.live
            local other = 1 - ngx.worker.id()
            local pid
            for round = 1, 60 do
                hot:set("mark", round)
                repeat
                    ngx.sleep(0.001)
                    pid = live:get("pid" .. other)
                until pid and pid ~= live:get("dead")
                live:set("victim", pid)
                repeat ngx.sleep(0.001) until live:get("begun")
                ngx.sleep(0.003)
                ffi.C.kill(pid, 9)
                live:set("dead", pid)
                live:delete("begun")
                live:delete("victim")
                -- The lock of a worker that died inside is free when the master has seen it.
                hot:set("after", round)
                if hot:get("after") ~= round then
                    return ngx.say("lost what was stored")
                elseif hot:get("mark") == nil then
                    return ngx.say("emptied, and works")
                elseif hot:get("mark") ~= round then
                    return ngx.say("neither whole nor emptied")
                end
            end
            ngx.say("no worker died in a change")
        }
    }
# At the level debug nginx writes lines while it has the lock, and that is where a worker would die.
--- log_level: notice
--- request
GET /t
--- timeout: 20
--- response_body
emptied, and works
--- error_log
lua_shared_dict "hot" was emptied: a process died while it changed it
