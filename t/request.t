# ngx.req: the request's line, arguments and headers, and what a handler changes of them.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: the method is read, and set_method changes it for what follows
--- config
    location = /t {
        content_by_lua_block {
            ngx.print(ngx.req.get_method(), " ", ngx.var.request_method)
            ngx.req.set_method(ngx.HTTP_PUT)
            ngx.say(" ", ngx.req.get_method(), " ", ngx.var.request_method)
        }
    }
--- request eval
["GET /t", "POST /t", "DELETE /t", "OPTIONS /t", "PATCH /t"]
--- response_body eval
[map { "$_ $_ PUT PUT\n" } qw(GET POST DELETE OPTIONS PATCH)]

=== TEST 2: set_method wants one of the constants
--- config
    location = /t {
        content_by_lua_block {
            ngx.say((select(2, pcall(ngx.req.set_method, 999999999))):match("unsupported.*"))
            ngx.say((pcall(ngx.req.set_method, "PUT")))
        }
    }
--- request
GET /t
--- response_body
unsupported HTTP method: 999999999
false

=== TEST 3: every method has its constant
--- config
    location = /t {
        content_by_lua_block {
            for _, m in ipairs { "GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "MKCOL", "COPY", "MOVE", "PROPFIND",
                                 "PROPPATCH", "LOCK", "UNLOCK", "PATCH", "TRACE" } do
                ngx.req.set_method(ngx["HTTP_" .. m])
                if ngx.req.get_method() ~= m then ngx.say("wrong: ", m) end
            end
            ngx.say("done")
        }
    }
--- request
GET /t
--- response_body
done

=== TEST 4: the HTTP version is a number
--- config
    location = /t { content_by_lua_block { ngx.say(ngx.req.http_version()) } }
--- request eval
["GET /t", "GET /t HTTP/1.0"]
--- response_body eval
["1.1\n", "1\n"]

=== TEST 5: start_time is when the request came
--- config
    location = /t {
        content_by_lua_block {
            ngx.sleep(0.05)
            ngx.update_time()
            local age = ngx.now() - ngx.req.start_time()
            ngx.say(age >= 0.04 and age < 5)
            ngx.say(ngx.req.is_internal())
        }
    }
--- request
GET /t
--- response_body
true
false

=== TEST 6: raw_header is what the client sent, with or without the request's line
--- config
    location = /t { content_by_lua_block { ngx.print(ngx.req.raw_header()) ngx.print("--", ngx.req.raw_header(true)) } }
--- raw_request eval
"GET /t?a=%20b HTTP/1.1\r\nHost: localhost\r\nX-a_b:   spaced \r\nConnection: close\r\n\r\n"
--- response_body eval
my $h = "Host: localhost\r\nX-a_b:   spaced \r\nConnection: close\r\n\r\n";
"GET /t?a=%20b HTTP/1.1\r\n$h--$h"

=== TEST 7: raw_header of a request that took large buffers
--- config
    client_header_buffer_size 128;
    large_client_header_buffers 8 512;
    location = /t {
        content_by_lua_block {
            local h = ngx.req.raw_header()
            ngx.say(#h, " ", h:sub(1, 15), " ", select(2, h:gsub("X%-%d: x+\r\n", "")), " ", h:sub(-4) == "\r\n\r\n")
        }
    }
--- raw_request eval
"GET /t HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" . CORE::join("", map { "X-$_: " . "x" x 300 . "\r\n" } 1 .. 5) . "\r\n"
--- response_body
1590 GET /t HTTP/1.1 5 true

=== TEST 8: raw_header of pipelined requests, each its own, whatever was set since
--- config
    location = /t {
        content_by_lua_block {
            ngx.req.set_header("X-A", "changed")
            ngx.req.clear_header("X-C")
            ngx.say((ngx.req.raw_header():gsub("\r\n", "|")))
        }
    }
--- pipelined_requests eval
["GET /t?1", "GET /t?2", "GET /t?3"]
--- more_headers
X-A: a
x-b:
X-C:c
--- response_body eval
my $rest = "X-A: a|x-b: |X-C: c||";
[map { "GET /t?$_ HTTP/1.1|Host: localhost|Connection: " . ($_ < 3 ? "keep-alive" : "close") . "|$rest\n" } 1 .. 3]

=== TEST 9: get_uri_args decodes, repeats give arrays, and an argument without a value is true
--- config
    location = /t {
        content_by_lua_block {
            local args, err = ngx.req.get_uri_args()
            local names = {}
            for name in pairs(args) do names[#names + 1] = name end
            table.sort(names)
            for _, name in ipairs(names) do
                local v = args[name]
                ngx.say("[", name, "] ", type(v), " ", type(v) == "table" and #v or "", " ", type(v) == "table" and v or { v })
            end
            ngx.say(err)
        }
    }
--- request
GET /t?a=1&b=x%20y+z&a=2&c&d=&a&%65%3D=%26&=lost&&e=a=b
--- response_body
[a] table 3 12true
[b] string  x y z
[c] boolean  true
[d] string  
[e] string  a=b
[e=] string  &
nil

=== TEST 10: get_uri_args stops at its limit and says "truncated"
--- config
    location = /t {
        content_by_lua_block {
            local function count(...)
                local args, err = ngx.req.get_uri_args(...)
                local n = 0
                for _ in pairs(args) do n = n + 1 end
                ngx.say(n, " ", err)
            end
            count() count(2) count(150) count(0)
        }
    }
--- request eval
"GET /t?" . CORE::join("&", map { "a$_=$_" } 1 .. 150)
--- response_body
100 truncated
2 truncated
150 nil
150 nil

=== TEST 11: set_uri_args takes a string, a number or a table
--- config
    location = /t {
        content_by_lua_block {
            local function show() ngx.say(ngx.var.args, " ", ngx.var.is_args) end
            ngx.req.set_uri_args("a=3&b=hello%20world") show()
            ngx.req.set_uri_args(42) show()
            ngx.req.set_uri_args({ ["a b"] = "c&d=" }) show()
            ngx.req.set_uri_args({ a = { 1, "x", true } }) show()
            ngx.req.set_uri_args({ flag = true, gone = false }) show()
            ngx.req.set_uri_args({}) show()
            ngx.say(ngx.req.get_uri_args().a)
            ngx.say((pcall(ngx.req.set_uri_args)), (pcall(ngx.req.set_uri_args, true)))
        }
    }
--- request
GET /t?old=1
--- response_body
a=3&b=hello%20world ?
42 ?
a%20b=c%26d%3D ?
a=1&a=x&a ?
flag ?
 
nil
falsefalse

=== TEST 12: encode_args and decode_args are each other's opposite
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(ngx.encode_args({ ["a &"] = "=?/ü" }))
            local t = ngx.decode_args("a%20%26=%3D%3F%2F%C3%BC&b=1&b=2&c")
            ngx.say(t["a &"], " ", t.b[1], t.b[2], " ", t.c)
            ngx.say((pcall(ngx.encode_args, { a = print })))
            ngx.say(pcall(ngx.encode_args, { [{}] = 1 }) and "no error" or "error")
        }
    }
--- request
GET /t
--- response_body
a%20%26=%3D%3F%2F%C3%BC
=?/ü 12 true
false
error

=== TEST 13: get_headers finds names in any case and with underscores, and gives arrays for repeated ones
--- config
    location = /t {
        content_by_lua_block {
            local h, err = ngx.req.get_headers()
            ngx.say(h["X-Foo-Bar"], " ", h.x_foo_bar, " ", h.X_FOO_BAR, " ", table.concat(h.x_m, "|"), " ", h.none, " ", err)
            local raw = ngx.req.get_headers(nil, true)
            ngx.say(raw["X-Foo-Bar"], " ", raw["x-foo-bar"], " ", raw.x_foo_bar)
            for name in pairs(h) do if name ~= name:lower() then ngx.say("not in lower case: ", name) end end
        }
    }
--- more_headers
X-Foo-Bar: 1
x-m: a
X-M: b
--- request
GET /t
--- response_body
1 1 1 a|b nil nil
1 nil nil

=== TEST 14: get_headers stops at its limit and says "truncated"
--- config
    location = /t {
        content_by_lua_block {
            local function count(...)
                local headers, err = ngx.req.get_headers(...)
                local n = 0
                for _ in pairs(headers) do n = n + 1 end
                ngx.say(n, " ", err)
            end
            count() count(3) count(200) count(0)
        }
    }
--- more_headers eval
CORE::join("", map { "X-$_: $_\n" } 1 .. 148)
--- request
GET /t
--- response_body
100 truncated
3 truncated
150 nil
150 nil

=== TEST 15: set_header replaces, an array repeats, nil and an empty array remove
--- config
    location = /t {
        content_by_lua_block {
            local function show(name)
                local v = ngx.req.get_headers()[name]
                ngx.say(name, ": ", type(v) == "table" and table.concat(v, "|") or v, " ", ngx.var["http_" .. name:gsub("-", "_")])
            end
            ngx.req.set_header("X-Old", "new") show("x-old")
            ngx.req.set_header("X-New", 5) show("x-new")
            ngx.req.set_header("X-Many", { "a", "b" })
            ngx.say(table.concat(ngx.req.get_headers()["x-many"], "|"))
            ngx.req.set_header("X-Many", "c") show("x-many")
            ngx.req.set_header("X-New", nil) show("x-new")
            ngx.req.set_header("X-Old", {}) show("x-old")
            ngx.req.clear_header("X-Never")
        }
    }
--- more_headers
X-Old: old
--- request
GET /t
--- response_body
x-old: new new
x-new: 5 5
a|b
x-many: c c
x-new: nil nil
x-old: nil nil

=== TEST 16: the headers that nginx itself keeps follow set_header
--- config
    location = /t {
        content_by_lua_block {
            ngx.req.set_header("Host", "example.org:8080")
            ngx.req.set_header("User-Agent", "Mine/1.0")
            ngx.req.set_header("Cookie", "a=1; b=2")
            ngx.req.set_header("Referer", "r")
            ngx.req.set_header("X-Forwarded-For", "1.2.3.4")
            ngx.say(ngx.var.host, " ", ngx.var.http_host, " ", ngx.var.http_user_agent, " ", ngx.var.cookie_b, " ",
                    ngx.var.http_referer, " ", ngx.var.http_x_forwarded_for)
            ngx.req.clear_header("Cookie")
            ngx.req.clear_header("User-Agent")
            ngx.say(ngx.var.cookie_b, " ", ngx.req.get_headers().user_agent)
        }
    }
--- request
GET /t
--- response_body
example.org example.org:8080 Mine/1.0 2 r 1.2.3.4
nil nil

=== TEST 17: what a line break would smuggle into a request's header is escaped
--- config
    location = /t {
        rewrite_by_lua_block { ngx.req.set_header("X-A", "one\r\nX-Evil: yes") ngx.req.set_header("X-B\r\nX-Evil", "yes") }
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/echo;
    }
    location = /echo { content_by_lua_block { ngx.say(ngx.var.http_x_evil, " ", ngx.var.http_x_a) } }
--- request
GET /t
--- response_body
nil one%0D%0AX-Evil: yes

=== TEST 18: changed headers reach the upstream
--- config
    location = /t {
        access_by_lua_block {
            ngx.req.set_header("X-A", { "1", "2" })
            ngx.req.clear_header("X-B")
            ngx.req.set_header("Host", "up.example")
            ngx.req.set_uri_args("q=2")
        }
        proxy_set_header Host $http_host;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT;
        rewrite ^ /echo break;
    }
    location = /echo {
        content_by_lua_block {
            local h = ngx.req.get_headers()
            ngx.say(table.concat(h.x_a, "|"), " ", h.x_b, " ", h.host, " ", ngx.var.args)
        }
    }
--- more_headers
X-B: here
--- request
GET /t?q=1
--- response_body
1|2 nil up.example q=2

=== TEST 19: set_uri changes the URI without leaving the location
--- config
    location = /t {
        rewrite_by_lua_block { ngx.req.set_uri("/else", false) ngx.req.set_uri_args({ a = 1 }) }
        content_by_lua_block { ngx.say(ngx.var.uri, " ", ngx.var.request_uri, " ", ngx.var.args) }
    }
    location = /else { return 500; }
--- request
GET /t?x=2
--- response_body
/else /t?x=2 a=1

=== TEST 20: set_uri with a jump finds the location anew, and what stands after it doesn't run
--- config
    location = /t {
        rewrite_by_lua_block { ngx.req.set_uri("/else", true) ngx.log(ngx.ERR, "not reached") }
        content_by_lua_block { ngx.exit(500) }
    }
    location = /else { content_by_lua_block { ngx.say(ngx.var.uri, " ", ngx.var.args) } }
--- request
GET /t?x=2
--- response_body
/else x=2
--- no_error_log
not reached
[error]

=== TEST 21: set_uri with a jump is for rewrite_by_lua only
--- config
    location = /content { content_by_lua_block { ngx.say((select(2, pcall(ngx.req.set_uri, "/x", true))):match("API.*")) } }
    location = /access { access_by_lua_block { ngx.say((select(2, pcall(ngx.req.set_uri, "/x", true))):match("API.*")) } }
--- request eval
["GET /content", "GET /access"]
--- response_body eval
["API disabled in the context of content_by_lua*\n", "API disabled in the context of access_by_lua*\n"]

=== TEST 22: set_uri refuses an empty URI and unsafe bytes
--- config
    location = /t {
        content_by_lua_block {
            for _, uri in ipairs { "", "/a b", "/a\r\nb", "/ok" } do
                local ok, err = pcall(ngx.req.set_uri, uri)
                ngx.say(ok, " ", err)
            end
        }
    }
--- request
GET /t
--- response_body_like chop
^false .*attempt to use zero-length uri
true nil
false .*unsafe byte "0x0d" in uri .*
true nil$

=== TEST 23: a loop of jumps ends in 500
--- config
    location = /t { rewrite_by_lua_block { ngx.req.set_uri("/t", true) } }
--- request
GET /t
--- error_code: 500
--- error_log
rewrite or internal redirection cycle

=== TEST 24: more headers than nginx keeps in one piece are cleared, and others set
--- config
    location = /t {
        content_by_lua_block {
            ngx.req.clear_header("X-Many")
            for i = 1, 30 do ngx.req.set_header("X-New-" .. i, "value " .. i) end
            local headers = ngx.req.get_headers(0)
            local n = 0
            for i = 1, 30 do if headers["X-New-" .. i] == "value " .. i then n = n + 1 end end
            ngx.say(n, " ", headers["X-Many"])
        }
    }
--- raw_request eval
"GET /t HTTP/1.0\r\n" . join('', map { "X-Many: $_\r\n" } 1 .. 25) . "\r\n"
--- response_body
30 nil
