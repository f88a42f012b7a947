# Topics: appending, reading, triggers, retries and dead letters, the write proxy. Each block has an event log of its own.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Test::Nginx::Socket;
use Platform;

use_platform(<<'END');
>>> app/gateway.lua
return {
    {"ANY", "/append/:topic/:key", "append"},
    {"ANY", "/read/:topic", "read"},
    {"ANY", "/last/:topic/:key", "last"},
    {"ANY", "/offsets/:topic", "offsets"},
    {"ANY", "/wrong/:what", "wrong"},
    {"ANY", "/wait/:topic/:key", "wait"},
    {"ANY", "/seen", "seen"},
    {"ANY", "/plain", "plain"},
    {"ANY", "/caught", "caught"},
}
>>> config/application.yml
spacerVersion: 1
appName: shop
topics: [orders, bills, tries]
events:
  orders: { APPEND: [bill, note] }
  tries: { APPEND: [try] }
maxAttempts: 3
retryDelay: 20ms
>>> app/append.lua
local topics = require "topics"
return function(args)
    local entries = { [args.key] = args.value or { total = tonumber(args.total) or 1 } }
    if args.also then entries[args.also] = "also" end
    local ok, offsets = topics.append(args.topic, entries)
    return { ok, offsets[args.key], args.also and offsets[args.also] }
end
>>> app/read.lua
return function(args)
    local events, next = topics.read(args.topic, {
        from = tonumber(args.from), limit = tonumber(args.limit), key = args.key,
    })
    local found = {}
    for i, event in ipairs(events) do
        found[i] = event.offset .. ":" .. event.key
    end
    return { table.concat(found, " "), next }
end
>>> app/last.lua
return function(args)
    local event = topics.last(args.topic, args.key)
    if not event then return "none" end
    local age = ngx.now() - event.time
    return { event.offset, event.value, event.topic, age > -5 and age < 60 }
end
>>> app/offsets.lua
return function(args)
    local one = topics.offsets(args.topic)[1]
    local groups = {}
    for i, group in ipairs(one.groups) do groups[i] = { group.group, group.committed, group.lag } end
    return { one.partition, one.first, one.next, groups }
end
>>> app/wrong.lua
local cases = {
    topic = function() topics.append("nothing", { a = 1 }) end,
    dead = function() topics.append("bills.dead", { a = 1 }) end,
    empty = function() topics.append("bills", {}) end,
    key = function() topics.append("bills", { 1 }) end,
    value = function() topics.append("bills", { a = print }) end,
    utf8 = function() topics.append("bills", { ["\255"] = 1 }) end,
    large = function() topics.append("bills", { a = string.rep("x", 1024 * 1024) }) end,
    ["long-key"] = function() topics.append("bills", { [string.rep("k", 5000)] = 1 }) end,
    number = function() topics.append(1, { a = 1 }) end,
    entries = function() topics.append("bills") end,
    limit = function() topics.read("bills", { limit = 0 }) end,
    from = function() topics.read("bills", { from = -1 }) end,
    partition = function() topics.read("bills", { partition = 7 }) end,
    last = function() topics.last("bills") end,
    offsets = function() topics.offsets("nothing") end,
}
return function(args)
    local ok, message = pcall(cases[args.what])
    return { ok, message }
end
>>> app/wait.lua
return function(args)
    for _ = 1, 200 do
        local event = topics.last(args.topic, args.key)
        if event then
            return args.headers and event.headers or event.value
        end
        ngx.sleep(0.01)
    end
    return "nothing came"
end
>>> app/bill.lua
return function(args, ctx)
    local event = ctx.event
    topics.append("bills", { [event.key] = {
        total = args.total, offset = event.offset, attempt = event.attempt, topic = event.topic,
        phase = ngx.get_phase(), request = ctx.request == nil, trace = ctx.trace.id,
        parent = ctx.trace.parent_span_id, span = #ctx.trace.span_id,
    } })
    args.total = nil
end
>>> app/note.lua
return function(args, ctx)
    topics.append("bills", { ["note-" .. ctx.event.key] = args.total or "gone" })
end
>>> app/seen.lua
return function(args, ctx)
    return { ctx.trace.id, ctx.event == nil }
end
>>> app/try.lua
local tried = {}
return function(args, ctx)
    local key = ctx.event.key
    tried[#tried + 1] = key .. ctx.event.attempt
    if args == "forever" or (args == "once" and ctx.event.attempt == 1) then error("no luck with " .. key) end
    if args == "nil" then return nil, "not today" end
    if args == "error" then ctx.error("not like this") end
    if args == "say" then ngx.say("hello") end
    if args == "var" then return ngx.var.uri end
    if args == "capture" then ngx.location.capture("/plain") end
    if args == "exit" then ngx.exit(200) end
    if args == "sleep" then ngx.sleep(0.01) end
    topics.append("bills", { ["tried-" .. key] = table.concat(tried, " ") })
end
>>> app/plain.lua
return function() return "plain" end
>>> app/caught.lua
return function()
    local ok, message = pcall(topics.append, "bills", { a = 1 })
    return { ok, (message:gsub("^.-event log", "event log")) }
end
END

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: an append answers with the offsets of its events, which grow
--- cases
GET /append/bills/a => 200 {"data":["ok",1]}
GET /append/bills/b => 200 {"data":["ok",2]}
GET /append/bills/a?total=7 => 200 {"data":["ok",3]}
GET /read/bills => 200 {"data":["1:a 2:b 3:a",4]}
GET /last/bills/a => 200 {"data":[3,{"total":7},"bills",true]}
GET /last/bills/nobody => 200 {"data":"none"}
--- no_error_log
[error]



=== TEST 2: events of one append follow each other
--- cases
GET /append/bills/a?also=b => 200 /^\{"data":\["ok",[12],[12]\]\}/
GET /offsets/bills => 200 {"data":[0,1,3,{}]}



=== TEST 3: a read chooses by offset, number and key
--- cases
GET /append/bills/a => 200 {"data":["ok",1]}
GET /append/bills/b => 200 {"data":["ok",2]}
GET /append/bills/a => 200 {"data":["ok",3]}
GET /append/bills/c => 200 {"data":["ok",4]}
GET /read/bills?from=2 => 200 {"data":["2:b 3:a 4:c",5]}
GET /read/bills?from=2&limit=1 => 200 {"data":["2:b",3]}
GET /read/bills?key=a => 200 {"data":["1:a 3:a",4]}
GET /read/bills?from=9 => 200 {"data":["",9]}



=== TEST 4: what can't be appended or read is refused with the reason
--- cases
GET /wrong/topic => 200 /topic \\"nothing\\" is not declared in config.*application.yml/
GET /wrong/dead => 200 /topic \\"bills.dead\\" is not declared/
GET /wrong/empty => 200 /an append needs at least one event/
GET /wrong/key => 200 /the key of an event must be a string, got a number/
GET /wrong/value => 200 /the value of key \\"a\\" can't be JSON: .*function/
GET /wrong/utf8 => 200 /key .* is not UTF-8/
GET /wrong/large => 200 /event of \d+ bytes in topic \\"bills\\", key \\"a\\": at most 1048576 are allowed/
GET /wrong/long-key => 200 /key of 5000 bytes in topic \\"bills\\": at most 4096 are allowed/
GET /wrong/number => 200 /bad argument #1 to 'topics.append' \(string expected, got number\)/
GET /wrong/entries => 200 /bad argument #2 to 'topics.append' \(table expected, got nil\)/
GET /wrong/limit => 200 /limit must be an integer from 1 to 10000/
GET /wrong/from => 200 /from must be an integer/
GET /wrong/partition => 200 /partition 7 of topic \\"bills\\" does not exist/
GET /wrong/last => 200 /bad argument #2 to 'topics.last'/
GET /wrong/offsets => 200 /topic \\"nothing\\" is not declared/
GET /read/bills => 200 {"data":["",0]}



=== TEST 5: an event's functions run in order, each with the value as its arguments and the event in ctx
--- cases
GET /append/orders/o-1?total=12 => 200 {"data":["ok",1]}
GET /wait/bills/note-o-1 => 200 {"data":12}
GET /wait/bills/o-1 => 200 /"total":12/
GET /wait/bills/o-1 => 200 /"offset":1[,}]/
GET /wait/bills/o-1 => 200 /"attempt":1/
GET /wait/bills/o-1 => 200 /"topic":"orders"/
GET /wait/bills/o-1 => 200 /"phase":"timer"/
GET /wait/bills/o-1 => 200 /"span":32/
--- no_error_log
[error]



=== TEST 6: a trigger goes on with the trace of the call that appended its event
--- cases
GET /append/orders/o-1 [X-SPACER-TRACE-ID: abc; X-SPACER-SPAN-ID: def] => 200 {"data":["ok",1]}
GET /wait/bills/o-1 => 200 /"trace":"abc"/
GET /wait/bills/o-1 => 200 /"parent":"def"/
GET /wait/bills/o-1?headers=1 => 200 /"x-spacer-trace-id":"abc"/
GET /seen => 200 /^\{"data":\["[0-9a-f]{32}",true\]\}/



=== TEST 7: the position follows the events whose functions have finished
--- cases
GET /append/orders/o-1 => 200 {"data":["ok",1]}
GET /append/orders/o-2 => 200 {"data":["ok",2]}
GET /wait/bills/note-o-1 => 200 {"data":1}
GET /wait/bills/note-o-2 => 200 {"data":1}
GET /settled => 200 {"data":[["spacer-shop",3,0]]}
--- user_files
>>> app/settled.lua
return function()
    local groups
    for _ = 1, 200 do
        local one = topics.offsets("orders")[1]
        groups = {}
        for i, group in ipairs(one.groups) do groups[i] = { group.group, group.committed, group.lag } end
        if groups[1] and groups[1][3] == 0 then break end
        ngx.sleep(0.01)
    end
    return groups
end
--- config
location = /settled { spacer_function settled; }
spacer_gateway app/gateway.lua;



=== TEST 8: a function that fails is called again, and its key waits while others go on
--- config
location = /append { spacer_append; }
spacer_gateway app/gateway.lua;
--- cases
POST /append {"topic":"tries","entries":{"a":"once"}} => 200 {"data":"ok"}
POST /append {"topic":"tries","entries":{"b":"well"}} => 200 {"data":"ok"}
GET /wait/bills/tried-a => 200 /a1 .*a2/
GET /wait/bills/tried-b => 200 /b1/
GET /log => 200 /\[warn\] .* event 1 of topic "tries", key "a": attempt 1 of 3 failed, it is tried again in 20 ms: function "try": app.try.lua:\d+: no luck with a\nstack traceback:/



=== TEST 9: after the last attempt the event is kept in the dead-letter topic with the error
--- config
location = /append { spacer_append; }
spacer_gateway app/gateway.lua;
--- cases
POST /append {"topic":"tries","entries":{"a":"forever"}} => 200 {"data":"ok"}
GET /wait/tries.dead/a => 200 {"data":"forever"}
GET /wait/tries.dead/a?headers=1 => 200 /"spacer-dead-error":"function \\"try\\": app.*no luck with a/
GET /wait/tries.dead/a?headers=1 => 200 /"spacer-dead-attempts":"3"/
GET /wait/tries.dead/a?headers=1 => 200 /"spacer-dead-topic":"tries"/
GET /log => 200 /\[error\] .* event 1 of topic "tries", key "a": attempt 3 of 3 failed, it goes to topic "tries.dead": function "try": app.try.lua:\d+: no luck/



=== TEST 10: after a dead event its key goes on
--- config
location = /append { spacer_append; }
spacer_gateway app/gateway.lua;
--- cases
POST /append {"topic":"tries","entries":{"a":"forever"}} => 200 {"data":"ok"}
POST /append {"topic":"tries","entries":{"a":"well"}} => 200 {"data":"ok"}
GET /wait/bills/tried-a => 200 {"data":"a1 a2 a3 a1"}



=== TEST 11: returning nil and a message, ctx.error, and what needs a client are failures like others
--- config
location = /append { spacer_append; }
spacer_gateway app/gateway.lua;
--- cases
POST /append {"topic":"tries","entries":{"n":"nil","e":"error","s":"say","v":"var","c":"capture","x":"exit"}} => 200 {"data":"ok"}
GET /wait/tries.dead/n?headers=1 => 200 /"spacer-dead-error":"function \\"try\\": not today"/
GET /wait/tries.dead/e?headers=1 => 200 /"spacer-dead-error":"function \\"try\\": not like this"/
GET /wait/tries.dead/s?headers=1 => 200 /API disabled in the context of ngx.timer/
GET /wait/tries.dead/v?headers=1 => 200 /API disabled in the context of ngx.timer/
GET /wait/tries.dead/c?headers=1 => 200 /API disabled in the context of ngx.timer/
GET /wait/tries.dead/x?headers=1 => 200 /API disabled in the context of ngx.timer/
GET /plain => 200 {"data":"plain"}



=== TEST 12: the write proxy takes events over HTTP
--- config
location = /append { spacer_append; }
spacer_gateway app/gateway.lua;
--- cases
POST /append {"topic":"bills","entries":{"a":{"x":1}}} => 200 {"data":"ok"}
POST /append {"topic":"nothing","entries":{"a":1}} => 400 /topic \\"nothing\\" is not declared/
POST /append {"topic":"bills","entries":{}} => 400 /an append needs at least one event/
POST /append {"topic":"bills","entries":[1]} => 400 /expected an object of keys and values/
POST /append {"topic":"bills"} => 400 /missing field `entries`/
POST /append {"entries":{"a":1}} => 400 /missing field `topic`/
POST /append [X-Array: yes] [1] => 400 /the body must be \{\\"topic\\"/
POST /append [X-Array: yes] ["bills",{"a":1}] => 400 /it is an array/
POST /append {"topic": => 400 /EOF while parsing/
POST /append {"topic":"bills","entries":{"a":{"x":}}} => 400 /expected value at line 1 column/
POST /append {"topic":1,"entries":{"a":1}} => 400 /invalid type: integer `1`, expected a string/
POST /append => 400 /the body is empty/
GET /append => 405 {"error":"method not allowed"}
GET /last/bills/a => 200 {"data":[1,{"x":1},"bills",true]}
--- no_error_log
[error]



=== TEST 13: an event of a replay comes with the request, from this machine only
--- config
location = /trigger { spacer_trigger; }
spacer_gateway app/gateway.lua;
--- cases
POST /trigger {"topic":"orders","function":"bill","key":"k","offset":7,"time":1000,"attempt":2,"value":{"total":5}} => 200 {"data":null}
GET /wait/bills/k => 200 /"total":5/
GET /wait/bills/k => 200 /"offset":7[,}]/
POST /trigger {"topic":"tries","function":"try","key":"k","offset":7,"time":1000,"attempt":1,"value":"once"} => 500 /no luck with k/
POST /trigger {"topic":"orders","function":"nothing","key":"k","offset":7,"time":1000,"value":1} => 500 /app.*nothing.lua does not exist/
POST /trigger {"topic":"orders","function":"../x","key":"k","offset":7,"time":1000,"value":1} => 400 /function/
POST /trigger {"topic":"orders","key":"k"} => 400 /must be strings/
POST /trigger {"topic":"orders","function":"bill","key":"k"} => 400 /must be numbers/
GET /trigger => 405 {"error":"method not allowed"}



=== TEST 14: other Lua of the project's server reaches its topics too
--- config
location /content {
    content_by_lua_block {
        local topics = require "spacer.topics"
        ngx.say(topics.append("bills", { content = 1 }) .. " " .. topics.last("bills", "content").offset)
    }
}
location /access {
    access_by_lua_block { require("spacer.topics").append("bills", { access = 1 }) }
    content_by_lua_block { ngx.say(require("spacer.topics").last("bills", "access").offset) }
}
location /filter {
    return 200 "filtered\n";
    header_filter_by_lua_block {
        local ok, message = pcall(require("spacer.topics").append, "bills", { a = 1 })
        ngx.header["X-Message"] = message
    }
}
--- cases
GET /content => 200 ok 1
GET /access => 200 2
GET /filter => 200 filtered
--- response_headers eval
["", "", "X-Message: topics.append: API disabled in the context of header_filter_by_lua*"]



=== TEST 15: while the store is away an append fails in time, in a function with 503, and others work
--- user_files
>>> config/application.yml
spacerVersion: 1
topics: [bills]
appendTimeout: 200ms
logStorage:
  development: { driver: sqlite, path: app/plain.lua/events.db }
>>> app/gateway.lua
return { {"ANY", "/append/:topic/:key", "append"}, {"ANY", "/plain", "plain"}, {"ANY", "/caught", "caught"} }
--- config
location = /append { spacer_append; }
spacer_gateway app/gateway.lua;
--- cases
GET /plain => 200 {"data":"plain"}
GET /append/bills/a => 503 /event log .*is unavailable/
POST /append {"topic":"bills","entries":{"a":1}} => 503 /event log .*is unavailable/
GET /caught => 200 /\[false,"event log .* is unavailable/
GET /plain => 200 {"data":"plain"}
GET /log => 200 /\A(?:(?!is unavailable).)*\[error\] \S+ event log [^\n]* is unavailable: (?:(?!is unavailable).)*\z/



=== TEST 16: a project without topics has none to append to
--- user_files
>>> config/application.yml
spacerVersion: 1
>>> app/gateway.lua
return { {"ANY", "/append/:topic/:key", "append"} }
--- cases
GET /append/bills/a => 500 /no topics are declared in config.*application.yml/



=== TEST 17: an unknown key of application.yml is refused with file, line and column
--- user_files
>>> config/application.yml
spacerVersion: 1
topcs: [orders]
--- must_die
--- error_log eval
qr{\[emerg\] .*/config/application.yml:2:1: unknown field "topcs", expected one of "spacerVersion"}



=== TEST 18: a trigger's function must exist
--- user_files
>>> config/application.yml
spacerVersion: 1
topics: [orders]
events:
  orders: { APPEND: [nothing] }
--- must_die
--- error_log eval
qr{\[emerg\] .*/config/application.yml:4: function "nothing" of events of topic "orders": .*/app/nothing.lua does not exist}



=== TEST 19: a trigger of a topic that isn't declared is refused
--- user_files
>>> config/application.yml
spacerVersion: 1
topics: [orders]
events:
  order: { APPEND: [bill] }
--- must_die
--- error_log eval
qr{\[emerg\] .*/config/application.yml:4:3: .*"order"}



=== TEST 20: the environment chooses the store, and variables are put in
--- main_config
env EVENTS_FILE;
--- user_files
>>> config/application.yml
spacerVersion: 1
topics: [bills]
logStorage:
  production: { driver: sqlite, path: "data/${NOT_SET:-production-events}.db" }
  staging: { driver: sqlite, path: "${NOT_SET_EITHER}" }
>>> app/gateway.lua
return { {"ANY", "/append/:topic/:key", "append"}, {"ANY", "/file", "file"} }
>>> app/file.lua
return function()
    local file = io.open(ngx.config.prefix() .. "html/data/production-events.db")
    return file ~= nil
end
--- production
--- cases
GET /append/bills/a => 200 {"data":["ok",1]}
GET /file => 200 {"data":true}



=== TEST 21: an unset variable of the environment in use is an error that names it
--- user_files
>>> config/application.yml
spacerVersion: 1
topics: [bills]
logStorage:
  development: { driver: sqlite, path: "${SPACER_TEST_NOT_SET}" }
--- must_die
--- error_log eval
qr{\[emerg\] .*/config/application.yml:4:\d+: .*SPACER_TEST_NOT_SET}



=== TEST 22: the endpoints need a project
--- http_config
# spacer_project is missing
--- config
location = /append { spacer_append; }
--- must_die
--- error_log
"spacer_append" needs a "spacer_project" above it



=== TEST 23: spacer_triggers off leaves the events to others
--- http_config
spacer_project html; spacer_env development; spacer_triggers off;
--- config
spacer_gateway app/gateway.lua;
location /pause { content_by_lua_block { ngx.sleep(0.5) ngx.say("paused") } }
--- cases
GET /append/orders/o-1 => 200 {"data":["ok",1]}
GET /pause => 200 paused
GET /last/bills/note-o-1 => 200 {"data":"none"}
GET /offsets/orders => 200 {"data":[0,1,2,{}]}
