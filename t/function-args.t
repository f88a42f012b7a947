# How many arguments a function takes from a query and from a form, and what a long one leaves behind.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Test::Nginx::Socket;
use Platform;

$ENV{TEST_NGINX_HTML_DIR} ||= html_dir();

our $FORM = 'Content-Type: application/x-www-form-urlencoded';

use_platform(<<'END');
>>> app/gateway.lua
return { {"ANY", "/count", "count"}, {"ANY", "/show", "show"}, {"ANY", "/count/:a", "count"}, {"GET", "/memory", "memory"} }
>>> app/count.lua
return function(args)
    local count = 0
    for _, value in pairs(args) do count = count + (type(value) == "table" and #value or 1) end
    return count
end
>>> app/show.lua
return function(args)
    local all = {}
    for i = 1, 400 do
        local value = args["k" .. i]
        if value ~= nil and value ~= "v " .. i then return "k" .. i .. " is " .. tostring(value) end
        if value ~= nil then all[#all + 1] = i end
    end
    local is_in_order = true
    for i, value in ipairs(args.all or {}) do is_in_order = is_in_order and value == tostring(i) end
    return { #all, all[1], all[#all], is_in_order and #(args.all or {}) }
end
>>> app/memory.lua
-- What this process has of its own, in KB, beside what the collector would free.
local function used()
    for _ = 1, 8 do collectgarbage() end
    local anonymous
    for line in io.lines("/proc/self/status") do
        anonymous = anonymous or tonumber(line:match("^RssAnon:%s*(%d+)"))
    end
    return anonymous
end
local before
return function()
    local now = used()
    before = before or now
    return now - before < 6000 or "grew by " .. now - before .. " KB"
end
END

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: a query may have a hundred arguments, and one more is refused
--- request eval
my $args = sub { CORE::join '&', map "k$_=$_", 1 .. shift };
map "GET /count?$_", $args->(100), $args->(101), 'a&' x 99 . 'a', 'a&' x 100 . 'a', 'a=1&' x 200, ''
--- error_code eval
[200, 400, 200, 400, 400, 200]
--- response_body eval
my $refused = "{\"error\":\"the query has more than 100 arguments\"}\n";
["{\"data\":100}\n", $refused, "{\"data\":100}\n", $refused, $refused, "{\"data\":0}\n"]



=== TEST 2: so may a form, beside the query's and the route's
--- more_headers eval: $::FORM
--- request eval
my $args = sub { my ($from, $to) = @_; CORE::join '&', map "k$_=$_", $from .. $to };
["POST /count\n" . $args->(1, 100), "POST /count\n" . $args->(1, 101), "POST /count?" . $args->(101, 200) . "\n" . $args->(1, 100),
 "POST /count/x?" . $args->(101, 200) . "\n" . $args->(1, 100), "POST /count?" . $args->(101, 201) . "\n" . $args->(1, 100)]
--- error_code eval
[200, 400, 200, 200, 400]
--- response_body eval
["{\"data\":100}\n", "{\"error\":\"the form has more than 100 arguments\"}\n", "{\"data\":200}\n", "{\"data\":201}\n",
 "{\"error\":\"the query has more than 100 arguments\"}\n"]



=== TEST 3: JSON is no form
--- request eval
"POST /count\n{" . CORE::join(',', map "\"k$_\":$_", 1 .. 300) . "}"
--- response_body eval
"{\"data\":300}\n"



=== TEST 4: spacer_max_args sets another number, or none, at each level
--- http_config
spacer_project html;
spacer_max_args 3;
server {
    listen unix:$TEST_NGINX_HTML_DIR/http.sock;
    spacer_gateway app/gateway.lua;
}
server {
    listen unix:$TEST_NGINX_HTML_DIR/server.sock;
    spacer_max_args 2;
    location = /named { spacer_function count; }
    location = /one { spacer_max_args 1; spacer_function count; }
    location = /all { spacer_max_args 0; spacer_function count; }
    spacer_gateway app/gateway.lua;
}
--- config
location /http/ { proxy_pass http://unix:$TEST_NGINX_HTML_DIR/http.sock:/; }
location /server/ { proxy_pass http://unix:$TEST_NGINX_HTML_DIR/server.sock:/; }
--- more_headers eval: $::FORM
--- request eval
["GET /http/count?a&b&c", "GET /http/count?a&b&c&d", "GET /server/count?a&b", "GET /server/count?a&b&c", "GET /server/named?a&b&c",
 "GET /server/one?a", "GET /server/one?a&b", "GET /server/all?" . "a&" x 1000 . "a", "POST /server/all\n" . "a=1&" x 200_000 . "a=1"]
--- error_code eval
[200, 400, 200, 400, 400, 200, 400, 200, 200]
--- response_body eval
my $refused = sub { "{\"error\":\"the query has more than $_[0] arguments\"}\n" };
["{\"data\":3}\n", $refused->(3), "{\"data\":2}\n", $refused->(2), $refused->(2), "{\"data\":1}\n", $refused->(1),
 "{\"data\":1001}\n", "{\"data\":200001}\n"]



=== TEST 5: a long query is decoded in full and in order, whatever is beside its arguments
--- config
spacer_max_args 0;
spacer_gateway app/gateway.lua;
--- more_headers eval: $::FORM
--- request eval
my @parts = map "k$_=v+$_&all=$_", 1 .. 300;
["POST /show\n" . CORE::join('&', @parts), "POST /show\n&&=x&" . CORE::join('&&%3D&=&', @parts) . '&&', "GET /show?k7=v%207&k9"]
--- response_body eval
["{\"data\":[300,1,300,300]}\n", "{\"data\":[300,1,300,300]}\n", "{\"data\":\"k9 is true\"}\n"]



=== TEST 6: spacer_max_args takes a number
--- config
spacer_max_args many;
--- must_die
--- error_log
invalid number



=== TEST 7: a form of megabytes leaves no memory taken, taken apart or refused
--- skip_eval: 18: $ENV{ASAN_OPTIONS}
--- config
client_body_buffer_size 4m;
location = /refused { spacer_function count; }
location = /taken { spacer_max_args 0; spacer_function count; }
location = /args {
    content_by_lua_block {
        ngx.req.read_body()
        local count = 0
        for _, values in pairs(ngx.req.get_post_args(0)) do count = count + #values end
        ngx.say(count)
    }
}
spacer_gateway app/gateway.lua;
--- more_headers eval: $::FORM
--- request eval
my $form = "\n" . 'a&' x 1_400_000 . 'a';
['GET /memory', "POST /refused$form", 'GET /memory', "POST /taken$form", 'GET /memory', "POST /args$form", 'GET /memory', "POST /taken\na=" . 'x' x 2_800_000, 'GET /memory']
--- error_code eval
[200, 400, (200) x 7]
--- response_body eval
["{\"data\":true}\n", "{\"error\":\"the form has more than 100 arguments\"}\n", "{\"data\":true}\n", "{\"data\":1400001}\n", "{\"data\":true}\n",
 "1400001\n", "{\"data\":true}\n", "{\"data\":1}\n", "{\"data\":true}\n"]
--- timeout: 20



=== TEST 8: ngx.decode_args takes its number of arguments exactly, be it above what is decoded at a time
--- config
location /decode {
    content_by_lua_block {
        local query = ("a=%20&"):rep(299) .. "a"
        for _, max in ipairs { 0, 1, 127, 128, 129, 256, 257, 299, 300, 301, 128.5, 1/0 } do
            local args, truncated = ngx.decode_args(query, max)
            local a = args.a
            ngx.say(max, " ", type(a) == "table" and #a or 1, " ", tostring(truncated), " ", tostring(type(a) == "table" and a[#a]))
        end
        ngx.say(next(ngx.decode_args("&&=1&", 0)) == nil, " ", select(2, ngx.decode_args("a&", 1)), " ", ngx.decode_args("", 1).a == nil)
    }
}
--- request
GET /decode
--- response_body eval
"0 300 nil true
1 1 truncated false
127 127 truncated  \n128 128 truncated  \n129 129 truncated  \n256 256 truncated  \n257 257 truncated  \n299 299 truncated  \n300 300 nil true
301 300 nil true
128.5 128 truncated  \ninf 300 nil true
true truncated true
"
