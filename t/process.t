# ngx.process and ngx.worker.pids: the processes of nginx.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
master_on();
workers(2);
run_tests();

__DATA__

=== TEST 1: each worker knows all of them, and the master
--- http_config
    lua_shared_dict dict 100k;
    init_by_lua_block {
        local process = require "ngx.process"
        ngx.shared.dict:set("init", process.type() .. " " .. select(2, ngx.worker.pids()))
        ngx.shared.dict:set("agent", select(2, process.enable_privileged_agent()))
    }
    init_worker_by_lua_block {
        local process = require "ngx.process"
        ngx.shared.dict:set(ngx.worker.pid(), true)
        ngx.shared.dict:incr("there", 1, 0)
        ngx.shared.dict:set("init_worker", process.type() .. " " .. select(2, ngx.worker.pids()))
    }
--- config
    location = /t {
        content_by_lua_block {
            local process = require "ngx.process"
            local dict = ngx.shared.dict
            while dict:get("there") < 2 do ngx.sleep(0.001) end
            ngx.say("init: ", dict:get("init"))
            ngx.say("init: ", dict:get("agent"))
            ngx.say("init_worker: ", dict:get("init_worker"))
            ngx.say("content: ", process.type(), " ", select(2, process.enable_privileged_agent()))
            local pids = ngx.worker.pids()
            ngx.say(#pids, " ", dict:get(pids[1]), " ", dict:get(pids[2]), " ", pids[1] ~= pids[2])
            local f = io.open("/proc/self/stat")
            ngx.say(f:read("*a"):match("%) %S (%d+)") == tostring(process.get_master_pid()))
            f:close()
        }
    }
--- request
GET /t
--- response_body
init: master API disabled in the current context
init: missing privileged agent process patch in the nginx core
init_worker: worker API disabled in the current context
content: worker API disabled in the current context
2 true true true
true
--- no_error_log
[error]

=== TEST 2: a worker that was killed isn't among them, but the one that was started in its place
--- http_config
    lua_shared_dict dict 100k;
    init_worker_by_lua_block {
        ngx.shared.dict:set(ngx.worker.id(), ngx.worker.pid())
        ngx.shared.dict:incr("there", 1, 0)
    }
--- config
    location = /t {
        content_by_lua_block {
            local ffi = require "ffi"
            ffi.cdef "int kill(int pid, int signal);"
            local dict = ngx.shared.dict
            local function wait(n)
                while dict:get("there") < n do ngx.sleep(0.001) end
            end
            wait(2)
            local id = 1 - ngx.worker.id()
            local victim = dict:get(id)
            ffi.C.kill(victim, 9)
            wait(3)
            -- The master tells of it when it has started it.
            local pids
            repeat
                ngx.sleep(0.001)
                pids = ngx.worker.pids()
            until #pids == 2 and pids[1] ~= victim and pids[2] ~= victim
            ngx.say(pids[id + 1] == dict:get(id), " ", pids[2 - id] == ngx.worker.pid())
        }
    }
--- request
GET /t
--- response_body
true true

=== TEST 3: a worker that is to exit does, and the one in its place knows itself
--- http_config
    lua_shared_dict dict 100k;
    init_worker_by_lua_block {
        local dict, pid = ngx.shared.dict, ngx.worker.pid()
        dict:set(ngx.worker.id(), pid)
        dict:incr("there", 1, 0)
        ngx.timer.every(0.002, function()
            local own = 0
            for _, other in ipairs(ngx.worker.pids()) do own = own + (other == pid and 1 or 0) end
            dict:set("own" .. pid, own)
            if dict:get("quit") == pid then
                require("ngx.process").signal_graceful_exit()
            end
        end)
    }
--- config
    location = /t {
        content_by_lua_block {
            local dict = ngx.shared.dict
            while dict:get("there") < 2 do ngx.sleep(0.001) end
            local id = 1 - ngx.worker.id()
            dict:set("quit", dict:get(id))
            while dict:get("there") < 3 do ngx.sleep(0.001) end
            local own
            repeat
                ngx.sleep(0.001)
                own = dict:get("own" .. dict:get(id))
            until own
            ngx.say(own, " ", dict:get(id) ~= dict:get("quit"))
        }
    }
--- request
GET /t
--- response_body
1 true

=== TEST 4: init_by_lua asks for the new configuration's processes, with no dictionary to wait for
--- http_config
    init_by_lua_block { asked = require("ngx.process").type() .. " " .. ngx.worker.count() }
--- config
    location = /t { content_by_lua_block { ngx.say(asked) } }
--- request
GET /t
--- response_body
master 2
