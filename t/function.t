# The contract of a function: its arguments, its results, and the ways in which it fails.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Test::Nginx::Socket;
use Platform;

use_platform(<<'END');
>>> app/gateway.lua
return {
    {"ANY", "/run/:what", "run"},
    {"ANY", "/show/:id", "show"},
    {"ANY", "/show", "show"},
    {"ANY", "/body", "body"},
    {"ANY", "/context", "context"},
    {"ANY", "/number", "number"},
    {"ANY", "/uses", "uses"},
    {"ANY", "/deep", "deep"},
    {"ANY", "/returns-a-number", "returns_a_number"},
    {"ANY", "/returns-nothing", "returns_nothing"},
    {"ANY", "/raises-when-loaded", "raises_when_loaded"},
}
>>> app/run.lua
local cases = {}
cases["nil"] = function() end
cases.null = function() return require("cjson").null end
cases.string = function() return 'a "quoted" string' end
cases.binary = function() return "\255\0\27" end
cases.number = function() return 1.5 end
cases.boolean = function() return false end
cases.table = function() return { 1, 2, { a = "b" } } end
cases.empty = function() return {} end
cases["nil-message"] = function() return nil, "no such user" end
cases["nil-table"] = function() return nil, { field = "name" } end
cases["value-message"] = function() return "value", "not a message" end
cases["false-message"] = function() return false, "not a message" end
cases.error = function(args, ctx) ctx.error("bad name") end
cases["error-404"] = function(args, ctx) ctx.error("no such page", 404) end
cases["error-table"] = function(args, ctx) ctx.error({ field = "name" }) end
cases["error-nil"] = function(args, ctx) ctx.error() end
cases["error-500"] = function(args, ctx) ctx.error("x", 500) end
cases.fatal = function(args, ctx) ctx.fatal("the database is away") end
cases["fatal-503"] = function(args, ctx) ctx.fatal("come back later", 503) end
cases["fatal-400"] = function(args, ctx) ctx.fatal("x", 400) end
cases.raise = function() error("oh no") end
cases["raise-table"] = function() error({ code = 7 }) end
cases["raise-nil"] = function() error(nil) end
cases["raise-number"] = function() error(42) end
cases["raise-function"] = function() error(print) end
cases["raise-object"] = function() error(setmetatable({}, { __tostring = function() return "an object" end })) end
cases["raise-broken-object"] = function() error(setmetatable({}, { __tostring = error })) end
cases["raise-in-coroutine"] = function() return coroutine.wrap(function() error("inside") end)() end
cases["error-in-coroutine"] = function(args, ctx) coroutine.wrap(function() ctx.error("inside", 409) end)() end
cases["index-nil"] = function(args) return args.a.b end
cases["stack-overflow"] = function() local function f() return 1 + f() end return f() end
cases.recursive = function() local t = {} t.t = t return t end
cases.deep = function() local t = {} for _ = 1, 2000 do t = { t } end return t end
cases.cdata = function() return require("ffi").new("int", 1) end
cases["cdata-inside"] = function() return { 1LL } end
cases["function"] = function() return print end
cases.thread = function() return coroutine.create(print) end
cases.nan = function() return 0 / 0 end
cases["sparse"] = function() return { [1] = 1, [1000000] = 2 } end
cases["key"] = function() return { [{}] = 1 } end
cases.sleep = function() ngx.sleep(0.01) return "slept" end
cases.say = function() ngx.header["Content-Type"] = "text/plain" ngx.status = 201 ngx.say("my own answer") end
cases["say-and-raise"] = function() ngx.header["Content-Length"] = 100 ngx.say("begun") ngx.flush(true) error("late") end
cases.exit = function() return ngx.exit(418) end
cases.header = function() ngx.header["X-Mine"] = "yes" return 1 end
cases.type = function() ngx.header["Content-Type"] = "application/vnd.api+json" return 1 end
cases.global = function() made_up = (made_up or 0) + 1 return made_up == rawget(_G, "made_up") end
return function(args, ctx)
    return cases[args.what](args, ctx)
end
>>> app/show.lua
local function show(value)
    if type(value) ~= "table" then
        return (tostring(value):gsub("%z", "<NUL>"))
    end
    local keys, parts = {}, {}
    for key in pairs(value) do keys[#keys + 1] = tostring(key) end
    table.sort(keys)
    for i, key in ipairs(keys) do parts[i] = key .. "=" .. show(value[key] or value[tonumber(key)]) end
    return "(" .. table.concat(parts, " ") .. ")"
end
return function(args, ctx)
    return show(args) .. (ctx.body == nil and "" or " body " .. type(ctx.body) .. " " .. show(ctx.body))
end
>>> app/body.lua
return function(args, ctx)
    local file = ngx.req.get_body_file()
    local body = ctx.body or args.text or ""
    return #body .. (file and " from a file" or "")
end
>>> app/context.lua
return function(args, ctx)
    local r = ctx.request
    if args.of == "request" then
        return table.concat({ r.method, r.path, r.headers["x-test"] or "-", r.headers["X-Test"] or "-", r.remote_addr }, " ")
    elseif args.of == "route" then
        return ctx.route
    elseif args.of == "same" then
        return ctx.trace == ctx.trace and ctx.request == r and ctx.nothing == nil
    end
    local t = ctx.trace
    if args.of == "new" then
        return #t.id == 32 and t.id == t.span_id and t.parent_span_id == nil and t.id:find("^%x+$") == 1
    end
    return table.concat({ t.id, t.parent_span_id or "-", t.span_id }, " ")
end
>>> app/number.lua
return function(args) return args.n end
>>> app/returns_a_number.lua
return 42
>>> app/returns_nothing.lua
local x = 1
>>> app/raises_when_loaded.lua
local x = 1
error("can't start")
>>> app/deep.lua
return function(args)
    local depth, t = 0, args.t
    while type(t) == "table" do depth, t = depth + 1, t[1] end
    return depth
end
>>> app/uses.lua
local slash, dot = require "models/user", require "models.user"
local helper, init = require "helper", require "pack"
local cjson = require "cjson"
return function()
    return { tostring(slash == dot), slash.name, helper, init, type(cjson.encode), tostring(package.loaded["models.user"]) }
end
>>> app/models/user.lua
return { name = "a user" }
>>> app/helper.lua
return "from app"
>>> lib/helper.lua
return "from lib"
>>> lib/pack/init.lua
return "a package"
END

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: what a function returns is the data of the answer
--- cases
GET /run/nil => 200 {"data":null}
GET /run/null => 200 {"data":null}
GET /run/string => 200 {"data":"a \"quoted\" string"}
GET /run/binary => 200 {"data":"\xff\u0000\u001b"}
GET /run/number => 200 {"data":1.5}
GET /run/boolean => 200 {"data":false}
GET /run/table => 200 {"data":[1,2,{"a":"b"}]}
GET /run/empty => 200 {"data":{}}
GET /run/value-message => 200 {"data":"value"}
GET /run/false-message => 200 {"data":false}
GET /run/sleep => 200 {"data":"slept"}
--- no_error_log
[error]



=== TEST 2: an answer is JSON of a known length, and HEAD gets the same header
--- request eval
["GET /run/string", "HEAD /run/string", "GET /run/error"]
--- error_code eval
[200, 200, 400]
--- response_headers eval
["Content-Type: application/json\nContent-Length: 31\n! Transfer-Encoding",
 "Content-Type: application/json\nContent-Length: 31\n! Transfer-Encoding",
 "Content-Type: application/json\nContent-Length: 21\n! Transfer-Encoding"]
--- response_body eval
["{\"data\":\"a \\\"quoted\\\" string\"}\n", "", "{\"error\":\"bad name\"}\n"]



=== TEST 3: nil and a message is a 400, ctx.error a 4xx, ctx.fatal a 5xx, and raising a 500
--- cases
GET /run/nil-message => 400 {"error":"no such user"}
GET /run/nil-table => 400 {"error":{"field":"name"}}
GET /run/error => 400 {"error":"bad name"}
GET /run/error-404 => 404 {"error":"no such page"}
GET /run/error-table => 400 {"error":{"field":"name"}}
GET /run/error-nil => 400 {"error":"unknown error"}
GET /run/error-in-coroutine => 409 {"error":"inside"}
GET /run/fatal => 500 {"error":"the database is away"}
GET /run/fatal-503 => 503 {"error":"come back later"}
GET /run/error-500 => 500 /app/run.lua:\d+: the status must be a number from 400 to 499/
GET /run/fatal-400 => 500 /app/run.lua:\d+: the status must be a number from 500 to 599/
GET /run/raise => 500 /^\{"error":"app/run.lua:\d+: oh no"\}$/



=== TEST 4: whatever is raised is named
--- cases
GET /run/raise-table => 500 {"error":"raised a table: {\"code\":7}"}
GET /run/raise-nil => 500 {"error":"raised nil"}
GET /run/raise-number => 500 /^\{"error":"app/run.lua:\d+: 42"\}$/
GET /run/raise-function => 500 {"error":"raised a function"}
GET /run/raise-object => 500 {"error":"an object"}
GET /run/raise-broken-object => 500 {"error":"raised a table: {}"}
GET /run/raise-in-coroutine => 500 /run.lua:\d+: inside/
GET /run/index-nil => 500 /attempt to index field 'a' \(a nil value\)/
GET /run/stack-overflow => 500 /stack overflow/



=== TEST 5: a result that JSON can't carry is a 500 that names the value
--- cases
GET /run/recursive => 500 /returned a table that JSON can't carry: .*nest/
GET /run/deep => 500 /returned a table that JSON can't carry: .*nest/
GET /run/cdata => 500 {"error":"returned a cdata, which JSON can't carry"}
GET /run/cdata-inside => 500 /returned a table that JSON can't carry: .*cdata/
GET /run/function => 500 {"error":"returned a function, which JSON can't carry"}
GET /run/thread => 500 {"error":"returned a thread, which JSON can't carry"}
GET /run/nan => 500 /returned a number that JSON can't carry: /
GET /run/sparse => 500 /returned a table that JSON can't carry: .*sparse/
GET /run/key => 500 /returned a table that JSON can't carry: .*key/



=== TEST 6: production hides what is inside, and logs it with a traceback
--- production
--- cases
GET /run/raise => 500 {"error":"Internal Server Error"}
GET /run/fatal => 500 {"error":"Internal Server Error"}
GET /run/fatal-503 => 503 {"error":"Internal Server Error"}
GET /run/recursive => 500 {"error":"Internal Server Error"}
GET /returns-a-number => 500 {"error":"Internal Server Error"}
GET /run/error => 400 {"error":"bad name"}
GET /run/nil-message => 400 {"error":"no such user"}
GET /log => 200 /(?s)function "run": app.run.lua:\d+: oh no\nstack traceback:\n.*app.run.lua:\d+: in function .*function "run": the database is away.*function "run": come back later.*function "run": returned a table that JSON can't carry.*function "returns_a_number": app.returns_a_number.lua must return a function/



=== TEST 7: a module that returns no function is an error that says so
--- cases
GET /returns-a-number => 500 {"error":"app/returns_a_number.lua must return a function, but returned a number"}
GET /returns-nothing => 500 {"error":"app/returns_nothing.lua must return a function, but returned nothing"}
GET /raises-when-loaded => 500 {"error":"app/raises_when_loaded.lua:2: can't start"}



=== TEST 8: where names collide, the route beats the query and the query beats the body
--- cases
GET /show => 200 {"data":"()"}
GET /show/7 => 200 {"data":"(id=7)"}
GET /show/7?id=8&a=1 => 200 {"data":"(a=1 id=7)"}
POST /show/7?id=8&a=1 [Content-Type: application/json] {"id":9,"a":2,"b":3} => 200 {"data":"(a=1 b=3 id=7)"}
POST /show/7?id=8&a=1 [Content-Type: application/x-www-form-urlencoded] id=9&a=2&b=3 => 200 {"data":"(a=1 b=3 id=7)"}
GET /show/7?id=8&id=9 => 200 {"data":"(id=7)"}
GET /show?a=1&a=2&b&c=&=x => 200 {"data":"(a=(1=1 2=2) b=true c=)"}
GET /show?a%20b=%2F+%00x => 200 {"data":"(a b=/ <NUL>x)"}



=== TEST 9: a body that is an object gives arguments, any other is ctx.body
--- cases
POST /show [Content-Type: application/json] {"a":{"b":[1]},"c":null} => 200 {"data":"(a=(b=(1=1)) c=userdata: NULL)"}
POST /show [Content-Type: application/json; charset=utf-8] {"a":1} => 200 {"data":"(a=1)"}
POST /show [Content-Type: application/vnd.api+json] {"a":1} => 200 {"data":"(a=1)"}
POST /show [Content-Type: application/json] \n {"a":1}\n => 200 {"data":"(a=1)"}
POST /show [Content-Type: application/json] {} => 200 {"data":"()"}
POST /show [Content-Type: application/json] [1,2] => 200 {"data":"() body table (1=1 2=2)"}
POST /show [Content-Type: application/json] 7 => 200 {"data":"() body number 7"}
POST /show [Content-Type: application/json] "x" => 200 {"data":"() body string x"}
POST /show [Content-Type: application/json] false => 200 {"data":"() body boolean false"}
POST /show [Content-Type: application/json] null => 200 {"data":"() body userdata userdata: NULL"}
POST /show [Content-Type: application/x-www-form-urlencoded] a=1&a=2&b=%26 => 200 {"data":"(a=(1=1 2=2) b=&)"}
POST /show [Content-Type: application/x-www-form-urlencoded] {"a":1} => 200 {"data":"(a=1)"}
POST /show {"a":1} => 200 {"data":"(a=1)"}
POST /show hello => 200 {"data":"() body string hello"}
POST /show [Content-Type: text/plain] {"a":1} => 200 {"data":"() body string {\"a\":1}"}
POST /show [Content-Type: application/octet-stream] a\x00b\xff => 200 {"data":"() body string a<NUL>b\xff"}
POST /show [Content-Type: application/json] {"a":"\xff\xfe"} => 200 {"data":"(a=\xff\xfe)"}
POST /show [Content-Type: application/json] {"a":"\u0000"} => 200 {"data":"(a=<NUL>)"}
PUT /show [Content-Type: application/json] {"a":1} => 200 {"data":"(a=1)"}
DELETE /show [Content-Type: application/json] {"a":1} => 200 {"data":"(a=1)"}
POST /show [Content-Type: application/json; Content-Length: 0] => 200 {"data":"()"}
POST /show => 200 {"data":"()"}



=== TEST 10: a body that isn't the JSON it says it is, is a 400
--- cases
POST /show [Content-Type: application/json] {"a": => 400 /^\{"error":"the body is not JSON: Expected value but found T_END at character 6"\}$/
POST /show [Content-Type: application/json] hello => 400 /the body is not JSON/
POST /show [Content-Type: application/json] {"a":1}x => 400 /the body is not JSON/
POST /show [Content-Type: application/json]   => 400 /the body is not JSON/
POST /show [Content-Type: application/json] {"a":"\x00"} => 400 /the body is not JSON/
--- no_error_log
[error]



=== TEST 11: JSON nested 2,000 deep is a 400, 900 deep is read
--- request eval
["POST /deep\n{\"t\":" . "[" x 2000 . "]" x 2000 . "}", "POST /deep\n{\"t\":" . "[" x 900 . "]" x 900 . "}"]
--- more_headers
Content-Type: application/json
--- error_code eval
[400, 200]
--- response_body eval
[qr/the body is not JSON: .*nest/, "{\"data\":900}\n"]



=== TEST 12: a chunked body, one that goes into a file, and one in pieces are read alike
--- config
client_body_buffer_size 1k;
spacer_gateway app/gateway.lua;
--- request eval
["POST /body\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n", "POST /body\n" . "x" x 5000, ["POST /body\nhel", { value => "lo", delay_before => 0.05 }],
 "POST /body\n{\"text\":\"" . "y" x 100000 . "\"}"]
--- more_headers eval
["Transfer-Encoding: chunked", "Content-Type: text/plain", "Content-Type: text/plain", "Content-Type: application/json"]
--- error_code eval
[200, 200, 200, 200]
--- response_body eval
["{\"data\":\"8\"}\n", "{\"data\":\"5000 from a file\"}\n", "{\"data\":\"5\"}\n", "{\"data\":\"100000 from a file\"}\n"]



=== TEST 13: a body over client_max_body_size is a 413 in JSON
--- config
    location = /body { client_max_body_size 10; spacer_function body; }
--- request eval
["POST /body\n0123456789", "POST /body\n0123456789x", "POST /body\nb\r\n0123456789x\r\n0\r\n\r\n"]
--- more_headers eval
["", "", "Transfer-Encoding: chunked"]
--- error_code eval
[200, 413, 413]
--- response_headers eval
["Content-Type: application/json", "Content-Type: application/json", "Content-Type: application/json"]
--- response_body eval
["{\"data\":\"10\"}\n", ("{\"error\":\"the body is larger than client_max_body_size\"}\n") x 2]



=== TEST 14: ctx tells of the request, the route and the trace
--- cases
GET /context?of=request [X-Test: here] => 200 {"data":"GET /context here here 127.0.0.1"}
POST /context/?of=request => 200 {"data":"POST /context/ - - 127.0.0.1"}
GET /context?of=route => 200 {"data":"/context"}
GET /context?of=same => 200 {"data":true}
GET /context?of=new => 200 {"data":true}
GET /context [X-SPACER-TRACE-ID: t; X-SPACER-PARENT-SPAN-ID: p; X-SPACER-SPAN-ID: s] => 200 {"data":"t p s"}
GET /context [X-Spacer-Span-Id: root] => 200 {"data":"root - root"}
GET /context [X-SPACER-TRACE-ID: t; X-SPACER-PARENT-SPAN-ID: p] => 200 /^\{"data":"t p [0-9a-f]{32}"\}$/
GET /context?of=new [X-SPACER-TRACE-ID: a/b%; X-SPACER-SPAN-ID: a b] => 200 {"data":true}



=== TEST 15: the access log has the function and its trace
--- http_config
    log_format trace '$spacer_function $spacer_trace_id/$spacer_parent_span_id/$spacer_span_id';
--- config
    access_log logs/trace.log trace;
    location = /traces {
        access_log off;
        content_by_lua_block {
            for line in io.lines(ngx.config.prefix() .. "logs/trace.log") do
                ngx.say((line:gsub("^(%S+) (%x+)/%-/(%x+)$", function(f, t, s) return f .. " new " .. #t .. tostring(t == s) end)))
            end
        }
    }
    location = /plain { return 200 "plain\n"; }
    spacer_gateway app/gateway.lua;
--- request eval
["GET /show", "GET /plain", "GET /context", "GET /nowhere", "GET /traces"]
--- more_headers eval
["", "", "X-SPACER-TRACE-ID: t\nX-SPACER-PARENT-SPAN-ID: p\nX-SPACER-SPAN-ID: s", "", ""]
--- error_code eval
[200, 200, 200, 404, 200]
--- response_body eval
[qr/data/, "plain\n", qr/data/, qr/error/, "show new 32true\n- -/-/-\ncontext t/p/s\n- -/-/-\n"]



=== TEST 16: a function may set headers, or make the response itself
--- request eval
["GET /run/header", "GET /run/type", "GET /run/say", "GET /run/exit"]
--- error_code eval
[200, 200, 201, 418]
--- response_headers eval
["X-Mine: yes\nContent-Type: application/json", "Content-Type: application/vnd.api+json", "Content-Type: text/plain", ""]
--- response_body eval
["{\"data\":1}\n", "{\"data\":1}\n", "my own answer\n", qr//]



=== TEST 17: an error after the response has begun closes the connection
--- request
GET /run/say-and-raise
--- response_body
begun
--- error_log eval
qr/function "run": app\/run.lua:\d+: late/



=== TEST 18: modules are found in app/ before lib/, by either spelling
--- cases
GET /uses => 200 {"data":["true","a user","from app","a package","function","nil"]}



=== TEST 19: a global of one project is not one of the worker's
--- cases
GET /run/global => 200 {"data":true}
--- config
    location = /t { content_by_lua_block { ngx.say(tostring(rawget(_G, "made_up"))) } }
    spacer_gateway app/gateway.lua;



=== TEST 20: spacer_function serves one function at a location written by hand
--- config
    location = /hand { spacer_function number; }
    location /hands/ { spacer_function models.show; }
--- user_files
>>> app/models/show.lua
return function(args, ctx) return ctx.request.path .. " " .. tostring(ctx.route) .. " " .. tostring(args.n) end
--- cases
GET /hand?n=5 => 200 {"data":"5"}
POST /hand {"n":6} => 200 {"data":6}
GET /hands/a/b?n=1 => 200 {"data":"/hands/a/b nil 1"}
HEAD /hand => 200



=== TEST 21: nginx's own error pages are JSON where functions are served, unless an error_page leads elsewhere
--- config
    location = /denied { deny all; spacer_function number; }
    location = /large { client_max_body_size 10; error_page 413 = /too-large; spacer_function body; }
    location = /too-large { return 200 "my own page\n"; }
    location = /html { deny all; }
    spacer_gateway app/gateway.lua;
--- cases
GET /denied => 403 {"error":"forbidden"}
HEAD /denied => 403
POST /large 0123456789x => 200 my own page
GET /html => 403 /<html>.*403 Forbidden/
GET /run/exit => 418 {"error":"status 418"}



=== TEST 22: a function's file that can't be read is a 500 that says why
--- user_files
>>> app/folder.lua/file
--- cases
GET /private/folder => 500 /^\{"error":"app/folder.lua can't be read: .*Is a directory"\}$/
