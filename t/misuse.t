# What code may do by mistake, and what must not cost more than the request that does it.

use strict;
use warnings;

use Test::Nginx::Socket 'no_plan';

# Two in one packet: whatever is answered is the first one's.
our $Pipelined = "GET /t HTTP/1.1\r\nHost: localhost\r\n\r\nGET /next HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

no_long_string();
run_tests();

__DATA__

=== TEST 1: ngx.exit(ngx.OK) in a header filter ends the filter, not the response
--- config
    location = /static { return 200 "static\n"; header_filter_by_lua_block { ngx.header["X-Before"] = "yes" ngx.exit(ngx.OK) } }
    location = /said { content_by_lua_block { ngx.say("said") } header_filter_by_lua_block { ngx.exit(ngx.OK) } }
    location = /captured { content_by_lua_block { local answer = ngx.location.capture("/static") ngx.print(answer.status, " ", answer.body) } }
--- pipelined_requests eval: ["GET /static", "GET /said", "GET /captured"]
--- response_headers eval: ["X-Before: yes", "", ""]
--- response_body eval: ["static\n", "said\n", "200 static\n"]
--- no_error_log
[error]



=== TEST 2: a body can't be replaced while another light thread reads it
--- config
    location = /t {
        content_by_lua_block {
            local reader = ngx.thread.spawn(function() ngx.req.read_body() return ngx.req.get_body_data() end)
            ngx.sleep(0.02)
            for _, call in ipairs { "init_body", "set_body_data", "set_body_file" } do
                local ok, why = pcall(ngx.req[call], call ~= "init_body" and "/dev/null" or nil)
                ngx.log(ngx.WARN, call, ": ", ok, " ", why)
            end
            local _, body = ngx.thread.wait(reader)
            ngx.say(body)
        }
    }
--- raw_request eval: ["POST /t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nConnection: close\r\n\r\nfirst", "later"]
--- raw_request_middle_delay: 0.2
--- response_body
firstlater
--- error_log
init_body: false request body not read yet
set_body_data: false request body not read yet
set_body_file: false request body not read yet
--- no_error_log
[alert]



=== TEST 3: a finalizer that runs while its VM closes can't make a timer in another
--- config
    location = /t {
        lua_code_cache off;
        content_by_lua_block {
            local proxy = newproxy(true)
            getmetatable(proxy).__gc = function() pcall(ngx.timer.at, 0, function() end) end
            kept = proxy
            ngx.say("made")
        }
    }
--- pipelined_requests eval: ["GET /t", "GET /t"]
--- response_body eval: ["made\n", "made\n"]
--- no_error_log
[crit]
exited on signal



=== TEST 4: a sleep has a length
--- config
    location = /t {
        content_by_lua_block {
            for _, seconds in ipairs { -1, math.huge, 1e17, 0 / 0 } do
                local ok, why = pcall(ngx.sleep, seconds)
                ngx.say(ok, " ", (why:gsub("\".*", "")))
            end
        }
    }
--- request
GET /t
--- response_body eval
"false invalid sleep duration \n" x 4
--- no_error_log
[error]



=== TEST 5: a header without a name is none
--- config
    location = /t { content_by_lua_block { ngx.header[""] = "x" ngx.say("fine") } }
--- request
GET /t
--- raw_response_headers_unlike
\n: x
--- response_body
fine
--- no_error_log
[error]



=== TEST 6: responses that were captured and dropped don't stay until the request ends
--- config
    location = /big { content_by_lua_block { ngx.print(("x"):rep(1000000)) } }
    location = /t {
        content_by_lua_block {
            local function resident()
                for line in io.lines("/proc/self/status") do
                    local kib = line:match("^VmRSS:%s+(%d+)")
                    if kib then return tonumber(kib) end
                end
            end
            local function capture(n)
                for _ = 1, n do
                    assert(#ngx.location.capture("/big").body == 1000000)
                end
                collectgarbage()
            end
            capture(5)
            local before = resident()
            capture(40)
            ngx.say((resident() - before) < 100000 and "bounded" or resident() - before)
        }
    }
--- request
GET /t
--- response_body
bounded
--- no_error_log
[error]



=== TEST 7: ngx.exit(ngx.DECLINED) in content, after a wait, leaves the request to nginx's next handler
--- config
    location = /later { content_by_lua_block { ngx.sleep(0.001) ngx.exit(ngx.DECLINED) } }
    location = /next { return 200 "next\n"; }
--- pipelined_requests eval: ["GET /later", "GET /next"]
--- error_code eval: [404, 200]
--- response_body_like eval: ["404 Not Found", "next"]
--- no_error_log
[alert]



=== TEST 8: at once it answers nothing, and no other answer stands for it
--- config
    location = /t { content_by_lua_block { ngx.exit(ngx.DECLINED) } }
    location = /next { return 200 "next\n"; }
--- raw_request eval: $::Pipelined
--- error_code:
--- response_body
--- no_error_log
[alert]



=== TEST 9: a request whose header can't be made ends with its connection
--- config
    location = /t {
        content_by_lua_block { ngx.say("one") ngx.sleep(0.001) ngx.say("two") }
        header_filter_by_lua_block { error("no header") }
    }
    location = /next { return 200 "next\n"; }
--- raw_request eval: $::Pipelined
--- error_code:
--- response_body
--- error_log
no header
--- no_error_log
[alert]



=== TEST 10: at the first print too
--- config
    location = /t {
        content_by_lua_block { ngx.say("one") }
        header_filter_by_lua_block { error("no header") }
    }
    location = /next { return 200 "next\n"; }
--- raw_request eval: $::Pipelined
--- error_code:
--- response_body
--- error_log
no header
--- no_error_log
[alert]



=== TEST 11: and before the content
--- config
    location = /t {
        access_by_lua_block { ngx.say("one") }
        content_by_lua_block { ngx.say("two") }
        header_filter_by_lua_block { error("no header") }
    }
    location = /next { return 200 "next\n"; }
--- raw_request eval: $::Pipelined
--- error_code:
--- response_body
--- error_log
no header
--- no_error_log
[alert]



=== TEST 12: many who wait for a semaphore and give up leave it usable
--- config
    location = /t {
        content_by_lua_block {
            local semaphore = require("ngx.semaphore").new()
            local threads = {}
            for i = 1, 3000 do
                threads[i] = ngx.thread.spawn(function()
                    local ok, why = semaphore:wait(i % 3 == 0 and 5 or 0.01)
                    return ok or why
                end)
            end
            ngx.sleep(0.1)
            local waiting = semaphore:count()
            semaphore:post(1000)
            local woken = 0
            for i = 1, 3000 do
                local _, what = ngx.thread.wait(threads[i])
                if what == true then woken = woken + 1 end
            end
            ngx.say(waiting, " ", woken, " ", semaphore:count())
        }
    }
--- request
GET /t
--- response_body
-1000 1000 0
--- no_error_log
[error]
