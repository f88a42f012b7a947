# gateway.lua as locations of nginx: which function a request reaches, and what a bad configuration is told.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Test::Nginx::Socket;
use Platform;

$ENV{TEST_NGINX_HTML_DIR} ||= html_dir();

use_platform(<<'END');
>>> app/gateway.lua
return {
    {"GET", "/", "say"},
    {"GET", "/users", "say"},
    {"POST", "/users", "say"},
    {"GET", "/users/me", "say"},
    {"GET", "/users/:id", "say"},
    {"PUT", "/users/:id", "say"},
    {"PATCH", "/users/:id", "say"},
    {"DELETE", "/users/:id", "say"},
    {"GET", "/users/:id/posts/:post", "say"},
    {"ANY", "/any", "say"},
    {"HEAD", "/head", "say"},
    {"OPTIONS", "/options", "say"},
    {"GET", "/files/*rest", "say"},
    {"GET", "/files/readme", "say"},
    {"GET", "/files/:name/raw", "controllers.files.raw"},
    {"GET", "/by-hand", "say"},
    {"GET", "/caf\195\169", "say"},
    {"GET", "/jump/:how", "jump"},
    {"POST", "/echo", "echo"},
}
>>> app/jump.lua
return function(args)
    if args.how == "exec" then return ngx.exec("/users/5", "a=b") end
    if args.how == "redirect" then return ngx.redirect("/users/5") end
    local answer = ngx.location.capture("/users/6")
    return answer.status .. " " .. answer.body
end
>>> app/echo.lua
return function(args, ctx) return args.text or ctx.body end
>>> app/say.lua
return function(args, ctx)
    return table.concat({ ctx.request.method, ctx.route, args.id or args.rest or "-", args.post }, " ")
end
>>> app/controllers/files/raw.lua
return function(args, ctx) return "raw " .. args.name end
END

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: a static route beats a parameter, and a parameter beats a wildcard
--- cases
GET / => 200 {"data":"GET / -"}
GET /users => 200 {"data":"GET /users -"}
GET /users/me => 200 {"data":"GET /users/me -"}
GET /users/7 => 200 {"data":"GET /users/:id 7"}
GET /users/7/posts/8 => 200 {"data":"GET /users/:id/posts/:post 7 8"}
GET /users/me/posts/8 => 200 {"data":"GET /users/:id/posts/:post me 8"}
GET /files/readme => 200 {"data":"GET /files/readme -"}
GET /files/readme/raw => 200 {"data":"raw readme"}
GET /files/a => 200 {"data":"GET /files/*rest a"}
GET /files/a/b/c.txt => 200 {"data":"GET /files/*rest a/b/c.txt"}
GET /files/a/raw/b => 200 {"data":"GET /files/*rest a/raw/b"}
--- no_error_log
[error]



=== TEST 2: every method reaches its own function, ANY takes all, HEAD is served by GET
--- cases
POST /users => 200 {"data":"POST /users -"}
PUT /users/1 => 200 {"data":"PUT /users/:id 1"}
PATCH /users/1 => 200 {"data":"PATCH /users/:id 1"}
DELETE /users/1 => 200 {"data":"DELETE /users/:id 1"}
HEAD /users/1 => 200
HEAD /head => 200
OPTIONS /options => 200 {"data":"OPTIONS /options -"}
GET /any => 200 {"data":"GET /any -"}
DELETE /any => 200 {"data":"DELETE /any -"}
OPTIONS /any => 200 {"data":"OPTIONS /any -"}
PROPFIND /any => 200 {"data":"PROPFIND /any -"}



=== TEST 3: an unknown path is 404, a known one with another method 405 with Allow, OPTIONS is answered by the table
--- request eval
["GET /nowhere", "GET /users/7/nothing", "DELETE /users", "GET /head", "PROPFIND /users/7", "OPTIONS /users/7", "POST /users/me", "GET /files/", "GET /private"]
--- error_code eval
[404, 404, 405, 405, 405, 204, 405, 404, 404]
--- response_headers eval
["Content-Type: application/json", "! Allow", "Allow: GET, HEAD, POST, OPTIONS\nContent-Type: application/json", "Allow: HEAD, OPTIONS",
 "Allow: GET, HEAD, PUT, PATCH, DELETE, OPTIONS", "Allow: GET, HEAD, PUT, PATCH, DELETE, OPTIONS\n! Content-Type", "Allow: GET, HEAD, OPTIONS",
 "Content-Type: application/json", "Content-Type: application/json"]
--- response_body eval
[("{\"error\":\"not found\"}\n") x 2, ("{\"error\":\"method not allowed\"}\n") x 3, "", "{\"error\":\"method not allowed\"}\n", ("{\"error\":\"not found\"}\n") x 2]



=== TEST 4: parameters are percent-decoded one by one, and slashes at the end don't count
--- cases
GET /users/ => 200 {"data":"GET /users -"}
GET /users/me/ => 200 {"data":"GET /users/me -"}
GET /users/7/ => 200 {"data":"GET /users/:id 7"}
GET //users//7// => 200 {"data":"GET /users/:id 7"}
GET /users/a%20b+c => 200 {"data":"GET /users/:id a b+c"}
GET /users/a%2Fb => 200 {"data":"GET /users/:id a/b"}
GET /users/a%2fb/posts/%3F => 200 {"data":"GET /users/:id/posts/:post a/b ?"}
GET /users/%6De => 200 {"data":"GET /users/me -"}
GET /users/%ff => 200 {"data":"GET /users/:id \xff"}
GET /files/a%2Fb/c => 200 {"data":"GET /files/*rest a/b/c"}
GET /caf%C3%A9 => 200 {"data":"GET /caf\xc3\xa9 -"}
GET /users/7?x=/y => 200 {"data":"GET /users/:id 7"}
GET /users/../users/7 => 200 {"data":"GET /users/:id 7"}
GET /users/x%2f..%2f..%2fany => 200 {"data":"GET /any -"}
GET /users/%00 => 400 /400 Bad Request/
GET /users/..%2f..%2fany => 400 /400 Bad Request/
GET /../any => 400 /400 Bad Request/



=== TEST 5: a location written above spacer_gateway wins, directives of the server apply to those it makes
--- config
    location = /by-hand { return 200 "by hand\n"; }
    location /users/ { return 200 "prefix by hand\n"; }
    add_header X-Server yes;
    spacer_gateway app/gateway.lua;
--- request eval
["GET /by-hand", "GET /users/7", "GET /any"]
--- response_headers eval
["X-Server: yes", "X-Server: yes", "X-Server: yes"]
--- response_body eval
["by hand\n", "prefix by hand\n", "{\"data\":\"GET /any -\"}\n"]
--- error_code eval
[200, 200, 200]



=== TEST 6: a function is reached by its name below /private/
--- cases
GET /private/controllers/files/raw?name=x => 200 {"data":"raw x"}
GET /private/controllers.files.raw/?name=x => 200 {"data":"raw x"}
POST /private/controllers/files/raw {"name":"y"} => 200 {"data":"raw y"}
GET /private/nothing => 404 /"function \\"nothing\\" not found: app/nothing.lua does not exist"/
GET /private/ => 404 {"error":"not found"}
GET /private/../any => 200 {"data":"GET /any -"}
GET /private/..%2f..%2fetc => 400 /400 Bad Request/
GET /private/x..%2fsay => 404 {"error":"not found"}
GET /private/say.lua => 404 {"error":"not found"}
GET /private/a%20b => 404 {"error":"not found"}



=== TEST 7: two servers with two projects keep their modules apart
--- http_config
    spacer_project html;
    spacer_env production;
    server {
        listen unix:$TEST_NGINX_HTML_DIR/other.sock;
        spacer_project html/other;
        spacer_gateway app/gateway.lua;
    }
--- config
    location = /other { proxy_pass http://unix:$TEST_NGINX_HTML_DIR/other.sock:/name; }
    location = /hand { spacer_function name; }
    spacer_gateway app/gateway.lua;
--- user_files
>>> app/name.lua
return function() return require "models/name" end
>>> app/models/name.lua
shared = (shared or "") .. "one"
return shared
>>> other/app/name.lua
return function() return require "models.name" end
>>> other/lib/models/name.lua
shared = (shared or "") .. "two"
return shared
>>> other/app/gateway.lua
return { {"GET", "/name", "name"} }
--- cases
GET /hand => 200 {"data":"one"}
GET /other => 200 {"data":"two"}
GET /hand => 200 {"data":"one"}



=== TEST 8: a gateway file with a syntax error is refused with file and line
--- user_files
>>> app/gateway.lua
return {
    {"GET", "/a" "say"},
}
--- must_die
--- error_log eval
qr{\[emerg\] .*app/gateway.lua:2: .* near '"say"' in .*/nginx.conf:\d+}



=== TEST 9: an unknown function is refused
--- user_files
>>> app/gateway.lua
return {
    {"GET", "/a", "say"},

    {"GET", "/b", "nothing"},
}
--- must_die
--- error_log
app/gateway.lua:4: function "nothing" not found: app/nothing.lua does not exist



=== TEST 10: a function outside of the project is refused
--- user_files
>>> app/gateway.lua
return { {"GET", "/b", "../../etc/passwd"} }
--- must_die
--- error_log
app/gateway.lua:1: bad function "../../etc/passwd": the name contains ".."



=== TEST 11: a duplicate route is refused
--- user_files
>>> app/gateway.lua
return {
    {"GET", "/a/:id", "say"},
    {"POST", "/a/:id", "say"},
    {"GET", "/a/:id/", "say"},
}
--- must_die
--- error_log
app/gateway.lua:4: duplicate route: GET /a/:id is already defined at line 2



=== TEST 12: conflicting routes are refused
--- user_files
>>> app/gateway.lua
return {
    {"GET", "/a/:id", "say"},
    {"POST", "/a/:name", "say"},
}
--- must_die
--- error_log
app/gateway.lua:3: conflicting patterns: /a/:name matches the same requests as /a/:id at line 2



=== TEST 13: a bad method is refused
--- user_files
>>> app/gateway.lua
return {
    {"FETCH", "/a", "say"},
}
--- must_die
--- error_log
app/gateway.lua:2: unknown method "FETCH": use



=== TEST 14: a gateway file that returns no table is refused
--- user_files
>>> app/gateway.lua
return "say"
--- must_die
--- error_log
app/gateway.lua: the file returns the string "say", not an array of {METHOD, PATH, FUNCTION}



=== TEST 15: a gateway file that raises is refused
--- user_files
>>> app/gateway.lua
local routes = {}
routes.a.b = 1
return routes
--- must_die
--- error_log
app/gateway.lua:2: attempt to index field 'a' (a nil value)



=== TEST 16: a gateway file that never ends is refused
--- user_files
>>> app/gateway.lua
while true do end
--- must_die
--- error_log
app/gateway.lua: the file ran for more than 5 s
--- timeout: 10



=== TEST 17: a missing project is refused
--- http_config
    spacer_project html/nothing;
--- must_die
--- error_log eval
qr{\[emerg\] .*spacer_project: .*/html/nothing: No such file or directory .* in .*nginx.conf:\d+}



=== TEST 18: a missing gateway file is refused
--- config
    spacer_gateway app/routes.lua;
--- must_die
--- error_log
app/routes.lua: the gateway file does not exist



=== TEST 19: a gateway file that can't be read is refused
--- config
    spacer_gateway app;
--- must_die
--- error_log
app: the gateway file can't be read: Is a directory



=== TEST 20: spacer_gateway without a project is refused
--- http_config
    # no spacer_project
--- must_die
--- error_log eval
qr{\[emerg\] .*"spacer_gateway" needs a "spacer_project" above it in .*nginx.conf:\d+}



=== TEST 21: spacer_function without its function is refused
--- config
    location / { spacer_function nothing; }
--- must_die
--- error_log eval
qr{spacer_function "nothing": .*/html/app/nothing.lua does not exist in .*nginx.conf:\d+}



=== TEST 22: spacer_function with a name that leads out of the project is refused
--- config
    location / { spacer_function ../say; }
--- must_die
--- error_log
spacer_function "../say": the name contains ".."



=== TEST 23: two gateways in one server are refused
--- config
    spacer_gateway app/gateway.lua;
    spacer_gateway app/gateway.lua;
--- must_die
--- error_log
"spacer_gateway" directive is duplicate



=== TEST 24: routes are reached by internal redirects, rewrites and subrequests as well
--- config
    location = /capture {
        content_by_lua_block {
            local got = ngx.location.capture("/users/a%20b/posts/1")
            ngx.say(got.status, " ", got.header["Content-Type"], " ", got.body)
            got = ngx.location.capture("/echo", { method = ngx.HTTP_POST, body = '{"text":"hello"}' })
            ngx.say(got.status, " ", got.body)
            got = ngx.location.capture("/nowhere")
            ngx.say(got.status, " ", got.body)
        }
    }
    rewrite ^/old/(.*) /users/$1 last;
    spacer_gateway app/gateway.lua;
--- cases
GET /capture => 200 200 application/json {"data":"GET /users/:id/posts/:post a b 1"}\n\n200 {"data":"hello"}\n\n404 {"error":"not found"}\n
GET /old/a%2520b => 200 {"data":"GET /users/:id a%20b"}
GET /jump/exec => 200 {"data":"GET /users/:id 5"}
GET /jump/redirect => 302 /302 Found/
GET /jump/capture => 200 {"data":"200 {\"data\":\"GET /users/:id 6\"}\x5cn"}
--- no_error_log
[error]



=== TEST 25: lua_code_cache off makes a VM for each request
--- production
--- config
    lua_code_cache off;
    spacer_gateway app/gateway.lua;
--- cases
GET /users/7 => 200 {"data":"GET /users/:id 7"}
GET /jump/capture => 200 {"data":"200 {\"data\":\"GET /users/:id 6\"}\x5cn"}
POST /echo {"text":"hello"} => 200 {"data":"hello"}
GET /users/8 => 200 {"data":"GET /users/:id 8"}
