# Gateways of many routes, and of long and deep ones: nginx's rules for locations hold as for a few.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Test::Nginx::Socket;
use Platform;

$ENV{TEST_NGINX_HTML_DIR} ||= html_dir();

use_platform(<<'END');
>>> app/gateway.lua
local routes = {
    {"GET", ("/deep"):rep(400) .. "/:id", "say"},
    {"GET", ("/deep"):rep(400), "say"},
    {"GET", "/" .. ("x"):rep(700), "say"},
    {"GET", "/" .. ("x"):rep(600) .. "/:id", "say"},
    {"GET", "/private/:id", "say"},
}
for i = 1, 25000 do
    routes[#routes + 1] = {"GET", "/items/item" .. i, "say"}
    routes[#routes + 1] = {"GET", "/groups/group" .. i .. "/:id", "say"}
end
return routes
>>> app/say.lua
return function(args, ctx) return #ctx.route < 40 and ctx.route or #ctx.route end
END

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: fifty thousand routes are found, and nothing beside them
--- cases
GET /items/item1 => 200 {"data":"/items/item1"}
GET /items/item25000 => 200 {"data":"/items/item25000"}
GET /items/item12345/ => 200 {"data":"/items/item12345"}
GET /items/%69tem12345 => 200 {"data":"/items/item12345"}
GET /items/item25001 => 404 {"error":"not found"}
POST /items/item1 => 405 {"error":"method not allowed"}
GET /groups/group1/a => 200 {"data":"/groups/group1/:id"}
GET /groups/group25000/a%2Fb => 200 {"data":"/groups/group25000/:id"}
GET /groups/group25000 => 404 {"error":"not found"}
GET /private/say => 200 {"data":"/private/:id"}
--- no_error_log
[error]



=== TEST 2: locations above spacer_gateway win where nginx's rules say so
--- config
    location ~ a$ { return 200 "regex\n"; }
    location = /items/item5 { return 200 "exact by hand\n"; }
    location /items/item5 { return 200 "prefix by hand\n"; }
    location /groups/group7/ { return 200 "group by hand\n"; }
    location ^~ /groups/group8/b { return 200 "no regex\n"; }
    location /it { return 200 "short prefix\n"; }
    spacer_gateway app/gateway.lua;
    location /below { return 200 "below\n"; }
--- cases
GET /items/item5 => 200 exact by hand
GET /items/item5/ => 200 {"data":"/items/item5"}
GET /items/item51 => 200 {"data":"/items/item51"}
GET /items/item51b => 200 prefix by hand
GET /items/item4 => 200 {"data":"/items/item4"}
GET /items/item4/b => 200 short prefix
GET /items/item4/a => 200 regex
GET /groups/group7/b => 200 group by hand
GET /groups/group7/a => 200 regex
GET /groups/group8/ba => 200 no regex
GET /groups/group8/b => 200 no regex
GET /groups/group8/c => 200 {"data":"/groups/group8/:id"}
GET /groups/group8/a => 200 regex
GET /below/b => 200 below
GET /nowhere => 404 {"error":"not found"}
GET /banana => 200 regex



=== TEST 3: where every prefix is written by hand, exact locations are the gateway's nonetheless
--- config
    location / { return 200 "root by hand\n"; }
    location /private/ { return 200 "private by hand\n"; }
    spacer_gateway app/gateway.lua;
--- cases
GET /items/item5 => 200 {"data":"/items/item5"}
GET /groups/group5/a => 200 {"data":"/groups/group5/:id"}
GET /private/say => 200 private by hand
GET /nowhere => 200 root by hand



=== TEST 4: a location below that is one of the gateway's is a duplicate, with its line
--- config
    spacer_gateway app/gateway.lua;
    location = /items/item5 { return 200 "by hand\n"; }
--- must_die
--- error_log eval
qr{\[emerg\] .*duplicate location "/items/item5" in .*/nginx.conf:\d+}



=== TEST 5: so is one that is a prefix
--- config
    spacer_gateway app/gateway.lua;
    location /groups/group5/ { return 200 "by hand\n"; }
--- must_die
--- error_log eval
qr{\[emerg\] .*duplicate location "/groups/group5/" in .*/nginx.conf:\d+}



=== TEST 6: and one that takes what no route has
--- config
    spacer_gateway app/gateway.lua;
    location / { return 200 "by hand\n"; }
--- must_die
--- error_log eval
qr{\[emerg\] .*duplicate location "/" in .*/nginx.conf:\d+}



=== TEST 7: a path may be long, and deep
--- config
    location ~ 1$ { return 200 "regex\n"; }
    location = /long/by/hand { return 200 "by hand\n"; }
    spacer_gateway app/gateway.lua;
--- request eval
my ($deep, $x) = ('/deep' x 400, 'x' x 600);
["GET $deep", "GET $deep/", "GET $deep/7", "GET $deep/1", "GET $deep/7/7", "GET /deep/deep", 'GET /' . 'x' x 700, 'GET /' . 'x' x 701,
 'GET /' . 'x' x 255, "GET /$x/7", "GET /$x/1", "GET /$x", 'GET /' . 'x' x 700 . '/1', "GET /long/by/hand"]
--- error_code eval
[200, 200, 200, 200, 404, 404, 200, 404, 404, 200, 200, 404, 200, 200]
--- response_body eval
my $none = "{\"error\":\"not found\"}\n";
["{\"data\":2000}\n", "{\"data\":2000}\n", "{\"data\":2004}\n", "regex\n", $none, $none, "{\"data\":701}\n", $none,
 $none, "{\"data\":605}\n", "regex\n", $none, "regex\n", "by hand\n"]



=== TEST 8: directives of the server apply to all of them
--- config
    add_header X-Server yes;
    if ($arg_stop) { return 200 "stopped\n"; }
    spacer_gateway app/gateway.lua;
--- request eval
["GET /items/item5", "GET /groups/group5/b", "GET /private/say", "GET /items/item5?stop=1"]
--- response_headers eval
[("X-Server: yes") x 4]
--- response_body eval
["{\"data\":\"/items/item5\"}\n", "{\"data\":\"/groups/group5/:id\"}\n", "{\"data\":\"/private/:id\"}\n", "stopped\n"]



=== TEST 9: two servers have locations of their own
--- http_config
    spacer_project html;
    server {
        listen unix:$TEST_NGINX_HTML_DIR/other.sock;
        location ~ item7 { return 200 "other regex\n"; }
        spacer_gateway app/gateway.lua;
    }
    server {
        listen unix:$TEST_NGINX_HTML_DIR/third.sock;
        location / { return 200 "third\n"; }
    }
--- config
    location = /other { proxy_pass http://unix:$TEST_NGINX_HTML_DIR/other.sock:/items/item9; }
    location = /other-group { proxy_pass http://unix:$TEST_NGINX_HTML_DIR/other.sock:/groups/group9/item7; }
    location = /third { proxy_pass http://unix:$TEST_NGINX_HTML_DIR/third.sock:/items/item9; }
    spacer_gateway app/gateway.lua;
--- cases
GET /items/item9 => 200 {"data":"/items/item9"}
GET /other => 200 {"data":"/items/item9"}
GET /other-group => 200 other regex
GET /third => 200 third



=== TEST 10: the last of ten thousand routes is refused with file and line
--- user_files eval
">>> app/gateway.lua\nreturn {\n" . CORE::join('', map "  {'GET', '/things/$_', 'say'},\n", 1 .. 9999) . "  {'GET', '/last', 'nothing'},\n}\n"
--- must_die
--- error_log eval
qr{\[emerg\] .*app/gateway.lua:10001: function "nothing" not found: app/nothing.lua does not exist in .*/nginx.conf:\d+}
