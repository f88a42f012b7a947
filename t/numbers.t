# Numbers and slashes in answers and events: what is written reads back as it was. `cjson` writes what lua-cjson writes.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Test::Nginx::Socket;
use Platform;

use_platform(<<'END');
>>> app/gateway.lua
return {
    {"GET", "/number/:name", "number"},
    {"GET", "/slash", "slash"},
    {"GET", "/cjson", "cjson_encodes"},
    {"GET", "/settings", "settings"},
    {"GET", "/fail", "fail"},
    {"POST", "/echo", "echo"},
    {"POST", "/put/:topic", "put"},
    {"GET", "/wait/:topic", "wait"},
}
>>> config/application.yml
spacerVersion: 1
appName: numbers
topics: [orders, copies, broken]
events:
  orders: { APPEND: [copy] }
  broken: { APPEND: [fail] }
maxAttempts: 1
>>> app/number.lua
local numbers = {
    int15 = 123456789012345, int16 = 1234567890123456, negative = -1234567890123456, amount = 19.99,
    tenth = 0.1, sum = 0.1 + 0.2, third = 1 / 3, small = 1e-7, large = 1.5e300,
    below = 2 ^ 53 - 1, edge = 2 ^ 53, beyond = 2 ^ 53 + 2, int64 = 2 ^ 63, zero = 0, minus_zero = -0,
    nan = 0 / 0, infinity = 1 / 0,
}
return function(args) return numbers[args.name] end
>>> app/slash.lua
return function() return { ["a/b"] = "c/d" } end
>>> app/cjson_encodes.lua
local cjson = require "cjson"
return function() return cjson.encode { 1234567890123456, "c/d" } end
>>> app/settings.lua
local cjson = require "cjson"
return function()
    cjson.encode_number_precision(3)
    cjson.encode_empty_table_as_object(false)
    return { number = 1234567, empty = {} }
end
>>> app/echo.lua
return function(args, ctx) return ctx.body or args end
>>> app/put.lua
return function(args)
    return (topics.append(args.topic, { k = args.value }))
end
>>> app/copy.lua
return function(args) topics.append("copies", { k = args }) end
>>> app/fail.lua
return function(args, ctx) ctx.error(args.n and { n = args.n } or { n = 1234567890123456, path = "/a/b" }) end
>>> app/wait.lua
return function(args)
    for _ = 1, 200 do
        local events = topics.read(args.topic)
        if events[1] then return events[1].value end
        ngx.sleep(0.01)
    end
    return "nothing came"
end
END

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: a number in an answer is the shortest text that reads back as the same double
--- cases
GET /number/int15 => 200 {"data":123456789012345}
GET /number/int16 => 200 {"data":1234567890123456}
GET /number/negative => 200 {"data":-1234567890123456}
GET /number/amount => 200 {"data":19.99}
GET /number/tenth => 200 {"data":0.1}
GET /number/sum => 200 {"data":0.30000000000000004}
GET /number/third => 200 {"data":0.3333333333333333}
GET /number/small => 200 {"data":1e-7}
GET /number/large => 200 {"data":1.5e+300}
GET /number/below => 200 {"data":9007199254740991}
GET /number/edge => 200 {"data":9007199254740992}
GET /number/beyond => 200 {"data":9007199254740994}
GET /number/int64 => 200 {"data":9223372036854776000}
GET /number/zero => 200 {"data":0}
GET /number/minus_zero => 200 {"data":-0}
GET /number/nan => 500 /must not be NaN or Infinity/
GET /number/infinity => 500 /must not be NaN or Infinity/
POST /echo {"id":1234567890123456} => 200 {"data":{"id":1234567890123456}}



=== TEST 2: an answer's slashes are as they are, in errors as well
--- cases
GET /slash => 200 {"data":{"a/b":"c/d"}}
GET /fail => 400 /"path":"\/a\/b"/
GET /fail => 400 /"n":1234567890123456[,}]/



=== TEST 3: cjson writes 14 digits and escapes slashes
--- cases
GET /cjson => 200 {"data":"[1.2345678901235e+15,\"c\\/d\"]"}



=== TEST 4: what a project sets of cjson doesn't change its answers
--- cases
GET /settings => 200 /"number":1234567[,}]/
GET /settings => 200 /"empty":\{\}/
GET /number/sum => 200 {"data":0.30000000000000004}



=== TEST 5: an event keeps its numbers from the append through its trigger to the copy
--- cases
POST /put/orders {"value":[123456789012345,1234567890123456,0.30000000000000004,9007199254740991,"a/b"]} => 200 {"data":"ok"}
GET /wait/orders => 200 {"data":[123456789012345,1234567890123456,0.30000000000000004,9007199254740991,"a/b"]}
GET /wait/copies => 200 {"data":[123456789012345,1234567890123456,0.30000000000000004,9007199254740991,"a/b"]}
--- no_error_log
[error]



=== TEST 6: so does a dead letter
--- cases
POST /put/broken {"value":{"n":1234567890123456}} => 200 {"data":"ok"}
GET /wait/broken.dead => 200 {"data":{"n":1234567890123456}}
GET /log => 200 /event 1 of topic "broken", key "k": attempt 1 of 1 failed.*"n":1234567890123456/



=== TEST 7: so do events of the write proxy and of a replay
--- config
location = /append { spacer_append; }
location = /trigger { spacer_trigger; }
spacer_gateway app/gateway.lua;
--- cases
POST /append {"topic":"orders","entries":{"k":[1234567890123456,0.1]}} => 200 {"data":"ok"}
GET /wait/copies => 200 {"data":[1234567890123456,0.1]}
POST /trigger {"topic":"orders","function":"echo","key":"k","offset":1,"time":1000,"value":[1234567890123456,0.1]} => 200 {"data":[1234567890123456,0.1]}
