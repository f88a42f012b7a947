# Topics: the functions that events trigger, their retries, and dead letters.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Test::Nginx::Socket;
use Topics;

use_shop();

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: an event's functions run in order, each with the value as its arguments and the event in ctx
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



=== TEST 2: a trigger goes on with the trace of the call that appended its event
--- cases
GET /append/orders/o-1 [X-SPACER-TRACE-ID: abc; X-SPACER-SPAN-ID: def] => 200 {"data":["ok",1]}
GET /wait/bills/o-1 => 200 /"trace":"abc"/
GET /wait/bills/o-1 => 200 /"parent":"def"/
GET /wait/bills/o-1?headers=1 => 200 /"x-spacer-trace-id":"abc"/
GET /seen => 200 /^\{"data":\["[0-9a-f]{32}",true\]\}/



=== TEST 3: the position follows the events whose functions have finished
--- cases
GET /append/orders/o-1 => 200 {"data":["ok",1]}
GET /append/orders/o-2 => 200 {"data":["ok",2]}
GET /wait/bills/note-o-1 => 200 {"data":1}
GET /wait/bills/note-o-2 => 200 {"data":1}
GET /settled => 200 {"data":[["spacer-shop:bill",3,0],["spacer-shop:note",3,0]]}
--- user_files
>>> app/settled.lua
return function()
    local groups
    for _ = 1, 200 do
        local one = topics.offsets("orders")[1]
        groups = {}
        for i, group in ipairs(one.groups) do groups[i] = { group.group, group.committed, group.lag } end
        if groups[2] and groups[1][3] + groups[2][3] == 0 then break end
        ngx.sleep(0.01)
    end
    return groups
end
--- config
location = /settled { spacer_function settled; }
spacer_gateway app/gateway.lua;



=== TEST 4: a function that fails is called again, and its key waits while others go on
--- config
location = /append { spacer_append; }
spacer_gateway app/gateway.lua;
--- cases
POST /append {"topic":"tries","entries":{"a":"once"}} => 200 {"data":"ok"}
POST /append {"topic":"tries","entries":{"b":"well"}} => 200 {"data":"ok"}
GET /wait/bills/tried-a => 200 /a1 .*a2/
GET /wait/bills/tried-b => 200 /b1/
GET /log => 200 /\[warn\] .* event 1 of topic "tries", key "a": attempt 1 of 3 failed, it is tried again in 20 ms: function "try": app.try.lua:\d+: no luck with a\nstack traceback:/



=== TEST 5: after the last attempt the event is kept in the dead-letter topic with the error
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



=== TEST 6: after a dead event its key goes on
--- config
location = /append { spacer_append; }
spacer_gateway app/gateway.lua;
--- cases
POST /append {"topic":"tries","entries":{"a":"forever"}} => 200 {"data":"ok"}
POST /append {"topic":"tries","entries":{"a":"well"}} => 200 {"data":"ok"}
GET /wait/bills/tried-a => 200 {"data":"a1 a2 a3 a1"}



=== TEST 7: returning nil and a message, ctx.error, and what needs a client are failures like others
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



=== TEST 8: spacer_triggers off leaves the events to others
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



=== TEST 9: a function of its own doesn't wait for one that fails, and a chain is resumed with the one that failed
--- config
location = /append { spacer_append; }
spacer_gateway app/gateway.lua;
--- user_files
>>> config/application.yml
spacerVersion: 1
appName: shop
topics: [orders, bills, tries]
events:
  tries: { APPEND: [[first, second, third], other] }
maxAttempts: 4
retryDelay: 20ms
>>> app/steps.lua
local seen = {}
return {
    add = function(step) seen[#seen + 1] = step end,
    all = function() return table.concat(seen, " ") end,
}
>>> app/first.lua
local steps = require "steps"
return function() steps.add("first") end
>>> app/second.lua
local steps = require "steps"
return function(_, ctx)
    steps.add("second" .. ctx.event.attempt)
    if ctx.event.attempt < 3 then error("not yet") end
end
>>> app/third.lua
local steps = require "steps"
return function()
    steps.add("third")
    topics.append("bills", { steps = steps.all() })
end
>>> app/other.lua
return function(_, ctx) topics.append("bills", { other = ctx.event.attempt }) end
--- cases
POST /append {"topic":"tries","entries":{"a":"chain"}} => 200 {"data":"ok"}
GET /wait/bills/steps => 200 {"data":"first second1 second2 second3 third"}
GET /wait/bills/other => 200 {"data":1}



=== TEST 10: a function begins where it says
--- config
location = /append { spacer_append; }
spacer_gateway app/gateway.lua;
--- user_files
>>> config/application.yml
spacerVersion: 1
appName: shop
topics: [orders, bills, tries]
events:
  tries:
    APPEND: [note, {function: bill, from: 2}]
>>> app/note.lua
local n = 0
return function(_, ctx)
    n = n + 1
    topics.append("bills", { note = ctx.event.key .. n })
end
>>> app/bill.lua
local seen = {}
return function(_, ctx)
    seen[#seen + 1] = ctx.event.key
    topics.append("bills", { seen = table.concat(seen, " ") })
    if ctx.event.key == "c" then topics.append("bills", { done = seen }) end
end
--- cases
POST /append {"topic":"tries","entries":{"a":1,"b":1,"c":1}} => 200 {"data":"ok"}
GET /wait/bills/done => 200 {"data":["b","c"]}



=== TEST 11: an event's token grows with each attempt and from one event of a key to the next
--- config
location = /append { spacer_append; }
spacer_gateway app/gateway.lua;
--- user_files
>>> app/try.lua
local tokens = {}
return function(args, ctx)
    tokens[#tokens + 1] = ctx.event.token
    if args == "fail" and ctx.event.attempt < 3 then error("again") end
    if args ~= "last" then return end
    local grows = true
    for i = 2, #tokens do grows = grows and tokens[i] > tokens[i - 1] end
    topics.append("bills", { tokens = { #tokens, grows } })
end
--- cases
POST /append {"topic":"tries","entries":{"a":"fail"}} => 200 {"data":"ok"}
POST /append {"topic":"tries","entries":{"a":"last"}} => 200 {"data":"ok"}
GET /wait/bills/tokens => 200 {"data":[4,true]}
