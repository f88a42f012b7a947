# Light threads: several coroutines of a request that wait at once.
use Test::Nginx::Socket 'no_plan';

log_level 'debug';
no_long_string();
run_tests();

__DATA__

=== TEST 1: a thread runs at once, until it waits; its parent goes on then
--- config
location /t {
    content_by_lua_block {
        local t = ngx.thread.spawn(function(name)
            ngx.say("begins: ", name)
            ngx.sleep(0.001)
            ngx.say("ends")
            return "a", nil, "c"
        end, "first")
        ngx.say("spawned: ", coroutine.status(t))
        local n = select("#", ngx.thread.wait(t))
        ngx.say("results: ", n, ", ", coroutine.status(t))
    }
}
--- request
GET /t
--- response_body
begins: first
spawned: running
ends
results: 4, dead
--- no_error_log
[error]



=== TEST 2: who waits for several goes on with the first that ends
--- config
location /t {
    content_by_lua_block {
        local function after(seconds)
            return ngx.thread.spawn(function()
                ngx.sleep(seconds)
                return seconds
            end)
        end
        local slow, fast = after(0.05), after(0.01)
        ngx.say(select(2, ngx.thread.wait(slow, fast)))
        ngx.say(select(2, ngx.thread.wait(fast, slow)))
        ngx.say(ngx.thread.wait(fast, slow))
    }
}
--- request
GET /t
--- response_body
0.01
0.05
nilalready waited or killed
--- no_error_log
[error]



=== TEST 3: the request ends with its last thread, not with its entry
--- config
location /t {
    content_by_lua_block {
        ngx.thread.spawn(function()
            ngx.sleep(0.01)
            ngx.say("thread")
        end)
        ngx.say("entry")
    }
}
--- request
GET /t
--- response_body
entry
thread
--- no_error_log
[error]



=== TEST 4: a thread that fails says why to who waits, and to the log; the others go on
--- config
location /t {
    content_by_lua_block {
        local t = ngx.thread.spawn(function() error("no luck") end)
        ngx.say(coroutine.status(t))
        ngx.say((ngx.thread.wait(t)))
        local value = ngx.thread.spawn(function() error({ code = 7 }) end)
        local ok, thrown = ngx.thread.wait(value)
        ngx.say(ok, " ", thrown.code)
    }
}
--- request
GET /t
--- response_body
zombie
false
false 7
--- error_log
lua user thread aborted: runtime error: content_by_lua(



=== TEST 5: killing drops what a thread waits for
--- config
location /t {
    content_by_lua_block {
        local t = ngx.thread.spawn(function()
            ngx.sleep(10)
            ngx.say("never")
        end)
        ngx.say(ngx.thread.kill(t))
        ngx.say(ngx.thread.kill(t))
        ngx.say(coroutine.status(t), " ", select(2, coroutine.resume(t)))
    }
}
--- request
GET /t
--- response_body
1
nilalready waited or killed
dead cannot resume dead coroutine
--- error_log
lua clean up the timer for pending ngx.sleep
--- no_error_log
[error]



=== TEST 6: only the coroutine that spawned a thread may wait for it or kill it
--- config
location /t {
    content_by_lua_block {
        local t = ngx.thread.spawn(function() ngx.sleep(0.01) end)
        local other = ngx.thread.spawn(function()
            ngx.say(ngx.thread.kill(t))
            return pcall(ngx.thread.wait, t)
        end)
        ngx.say(select(3, ngx.thread.wait(other)))
        ngx.say(select(2, pcall(ngx.thread.wait, coroutine.create(function() end))))
        ngx.say(select(2, pcall(ngx.thread.wait, 7)))
    }
}
--- request
GET /t
--- response_body
nilkiller not parent
only the parent coroutine can wait on the thread
attempt to wait on a coroutine that is not a user thread
bad argument #1 to '?' (lua thread expected)
--- no_error_log
[error]



=== TEST 7: ngx.exit in a thread ends them all
--- config
location /t {
    content_by_lua_block {
        ngx.thread.spawn(function()
            ngx.sleep(0.01)
            ngx.say("bye")
            ngx.exit(ngx.OK)
        end)
        ngx.sleep(5)
        ngx.say("never")
    }
}
--- request
GET /t
--- response_body
bye
--- no_error_log
[error]



=== TEST 8: ngx.exec and ngx.redirect in a thread take the request elsewhere
--- config
location /exec {
    rewrite_by_lua_block {
        ngx.thread.spawn(function() ngx.exec("/there") end)
        ngx.sleep(5)
    }
    content_by_lua_block { ngx.exit(500) }
}
location /redirect {
    access_by_lua_block {
        ngx.thread.spawn(function()
            ngx.sleep(0.001)
            ngx.redirect("/there")
        end)
        ngx.sleep(5)
    }
    content_by_lua_block { ngx.exit(500) }
}
location /there { content_by_lua_block { ngx.say("there") } }
--- request eval
["GET /exec", "GET /redirect"]
--- error_code eval
[200, 302]
--- response_body_like eval
["there", "302 Found"]
--- no_error_log
[error]



=== TEST 9: a coroutine of the user's own that waits is seen to run, and nobody else resumes it
--- config
location /t {
    content_by_lua_block {
        local co = coroutine.create(function()
            ngx.sleep(0.01)
            coroutine.yield("yielded")
        end)
        local entry = coroutine.running()
        ngx.thread.spawn(function()
            ngx.sleep(0.001)
            ngx.say(coroutine.status(co), " ", coroutine.status(entry))
            ngx.say(select(2, coroutine.resume(co)))
            ngx.say(select(2, coroutine.resume(entry)))
        end)
        ngx.say(coroutine.resume(co))
        ngx.say(coroutine.status(co), " ", coroutine.status(entry))
    }
}
--- request
GET /t
--- response_body
running normal
cannot resume running coroutine
cannot resume normal coroutine
trueyielded
suspended running
--- no_error_log
[error]



=== TEST 10: a coroutine of the user's own spawns and waits
--- config
location /t {
    content_by_lua_block {
        local co = coroutine.wrap(function()
            local t = ngx.thread.spawn(function()
                ngx.sleep(0.001)
                return "from the thread"
            end)
            coroutine.yield(select(2, ngx.thread.wait(t)))
            return "done"
        end)
        ngx.say(co())
        ngx.say(co())
    }
}
--- request
GET /t
--- response_body
from the thread
done
--- no_error_log
[error]



=== TEST 11: several threads capture at once, each its own
--- config
location /t {
    content_by_lua_block {
        local threads = {}
        for i = 1, 5 do
            threads[i] = ngx.thread.spawn(function()
                local first = ngx.location.capture("/sub?" .. i)
                local second = ngx.location.capture("/sub?" .. first.body)
                return second.body
            end)
        end
        ngx.say(ngx.thread.kill(threads[1]))
        for i = 1, 5 do
            ngx.say(select(2, ngx.thread.wait(threads[i])))
        end
    }
}
location /sub {
    content_by_lua_block {
        ngx.sleep(0.001)
        ngx.print(ngx.var.args, "!")
    }
}
--- request
GET /t
--- response_body
nilpending subrequests
1!!
2!!
3!!
4!!
5!!
--- no_error_log
[error]



=== TEST 12: a thread that is killed while it reads the body leaves the request to its end
--- config
location /t {
    content_by_lua_block {
        local t = ngx.thread.spawn(function() ngx.req.read_body() end)
        ngx.sleep(0.01)
        ngx.say(ngx.thread.kill(t))
    }
}
--- raw_request eval
["POST /t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", "hello"]
--- raw_request_middle_delay
0.1
--- response_body
1
--- no_error_log
[error]



=== TEST 13: a semaphore wakes who waits, in turn, and times out
--- config
location /t {
    content_by_lua_block {
        local semaphore = require "ngx.semaphore"
        local sem = semaphore.new()
        local function waiter(name)
            return ngx.thread.spawn(function()
                local ok, err = sem:wait(1)
                ngx.say(name, ": ", ok, " ", err)
            end)
        end
        local a, b, killed = waiter("a"), waiter("b"), waiter("killed")
        ngx.say(sem:count())
        ngx.thread.kill(killed)
        sem:post(3)
        ngx.thread.wait(a)
        ngx.thread.wait(b)
        ngx.say(sem:count(), " ", sem:wait(0))
        ngx.say(sem:wait(0))
        ngx.say(sem:wait(0.001))
    }
}
--- request
GET /t
--- response_body
-3
a: true nil
b: true nil
1 true
niltimeout
niltimeout
--- no_error_log
[error]



=== TEST 14: a thread that has resumed the coroutine which spawned it, and is killed by that, goes when it stops
--- config
location /t {
    content_by_lua_block {
        local parent
        parent = coroutine.create(function()
            local t = ngx.thread.spawn(function()
                ngx.sleep(0.001)
                ngx.say(select(2, coroutine.resume(parent)))
                ngx.sleep(0)
                ngx.say("never")
            end)
            coroutine.yield()
            coroutine.yield(ngx.thread.kill(t))
        end)
        coroutine.resume(parent)
        ngx.sleep(0.01)
        ngx.say("done")
    }
}
--- request
GET /t
--- response_body
1
done
--- no_error_log
[error]



=== TEST 15: ten thousand threads that are waited for leave nothing behind
--- config
location /t {
    content_by_lua_block {
        local function round()
            for _ = 1, 10000 do
                ngx.thread.wait(ngx.thread.spawn(function() return 1 end))
            end
            collectgarbage()
            collectgarbage()
            return collectgarbage("count")
        end
        local before = round()
        ngx.say(round() - before < 16)
    }
}
--- request
GET /t
--- response_body
true
--- no_error_log
[error]
--- log_level: warn



=== TEST 16: over HTTP/2 a body is read by any number of threads, and all go on
--- http2
--- config
location /t {
    content_by_lua_block {
        local threads = {}
        for i = 1, 3 do
            threads[i] = ngx.thread.spawn(function()
                ngx.req.read_body()
                return #ngx.req.get_body_data()
            end)
        end
        for i = 1, 3 do
            ngx.say(select(2, ngx.thread.wait(threads[i])))
        end
    }
}
--- request eval
"POST /t\n" . "x" x 5000
--- response_body
5000
5000
5000
--- no_error_log
[error]



=== TEST 17: a thread of another request's is refused with an error
--- config
location /keep {
    content_by_lua_block {
        require "shared".thread = ngx.thread.spawn(function() ngx.sleep(0.01) ngx.say("ended by itself") end)
        ngx.print(ngx.location.capture("/t").body)
    }
}
location /t {
    content_by_lua_block {
        local other = require "shared".thread
        ngx.say(pcall(ngx.thread.kill, other))
        ngx.say(pcall(ngx.thread.wait, other))
        ngx.say(coroutine.status(other))
    }
}
--- http_config
init_by_lua_block { package.loaded.shared = {} }
--- request
GET /keep
--- response_body
falseno co ctx found
falseno co ctx found
running
ended by itself
--- no_error_log
[error]



=== TEST 18: a finalizer that uses a semaphore while the VM closes finds it, or that it is gone
--- http_config
    lua_code_cache off;
--- config
    location = /t {
        content_by_lua_block {
            local ffi = require "ffi"
            local semaphore = require "ngx.semaphore"
            for i = 1, 100 do
                local one = semaphore.new(i)
                local function use()
                    one:post(1)
                    assert(one:count() == 0 or one:count() > i)
                    assert(one:count() > i or not pcall(one.wait, one, 0))
                end
                ngx.ctx[i] = { one, ffi.gc(ffi.new("int[1]"), use) }
                local proxy = newproxy(true)
                getmetatable(proxy).__gc = use
                ngx.ctx[-i] = proxy
            end
            ngx.say("made")
        }
    }
--- pipelined_requests eval: ["GET /t", "GET /t", "GET /t"]
--- response_body eval: ["made\n", "made\n", "made\n"]
--- no_error_log
[error]
[crit]
exited on signal



=== TEST 19: what a semaphore gave to one who is gone is given to the next
--- config
location /t {
    content_by_lua_block {
        local sem = require("ngx.semaphore").new()
        local function take(name)
            local ok, err = sem:wait(0.5)
            ngx.say(name, " ", ok, " ", err)
        end
        local first, second = ngx.thread.spawn(take, "first"), ngx.thread.spawn(take, "second")
        sem:post()
        ngx.say(ngx.thread.kill(first), " ", sem:count())
        ngx.thread.wait(second)
        ngx.say(sem:count())
    }
}
--- request
GET /t
--- response_body
1 0
second true nil
0
--- no_error_log
[error]
