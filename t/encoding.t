# Escaping, argument lists, base64, quoting and digests.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: escape_uri has seven types, and that of a component by default
--- config
    location = /t {
        content_by_lua_block {
            local text = "a b?c=d&e#f+g/h%\"'ü"
            for kind = 0, 6 do ngx.say(kind, " ", ngx.escape_uri(text, kind)) end
            ngx.say(ngx.escape_uri(text) == ngx.escape_uri(text, 2), " ", ngx.escape_uri(text, 1.9) == ngx.escape_uri(text, 1))
            ngx.say("-", ngx.escape_uri(nil), ngx.escape_uri(false), ngx.escape_uri(""), "-", ngx.escape_uri(3.5), ngx.escape_uri(true))
        }
    }
--- request
GET /t
--- response_body
0 a%20b%3Fc=d&e%23f+g/h%25"'%C3%BC
1 a%20b%3Fc=d&e%23f%2Bg/h%25"'%C3%BC
2 a%20b%3Fc%3Dd%26e%23f%2Bg%2Fh%25%22'%C3%BC
3 a%20b?c=d&e%23f+g/h%25%22%27%C3%BC
4 a%20b?c=d&e#f+g/h%25%22%27%C3%BC
5 a%20b?c=d&e#f+g/h%25"'ü
6 a%20b?c=d&e#f+g/h%25"'ü
true true
--3.5true

=== TEST 2: escape_uri refuses what is no type
--- config
    location = /t {
        content_by_lua_block {
            local function try(kind) return select(2, pcall(function() return (ngx.escape_uri("a", kind)) end)) end
            for _, kind in ipairs { -1, 7, 8, 10, true, "2" } do ngx.say(try(kind)) end
        }
    }
--- request
GET /t
--- response_body
"type" -1 out of range
"type" 7 out of range
"type" 8 out of range
"type" 10 out of range
"type" is not a number
"type" is not a number

=== TEST 3: unescape_uri undoes escapes and leaves what is none
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(ngx.unescape_uri("a%20b+c%2B%c3%BC"), " ", ngx.unescape_uri("%ua%%20%au%2"), " ", #ngx.unescape_uri("%00"))
            ngx.say("-", ngx.unescape_uri(nil), ngx.unescape_uri(false), "-", ngx.unescape_uri(32))
        }
    }
--- request
GET /t
--- response_body
a b c+ü %ua% %au%2 1
--32

=== TEST 4: encode_args takes strings, numbers, booleans and lists of them
--- config
    location = /t {
        content_by_lua_block {
            for _, args in ipairs {
                {}, { a = "b c" }, { a = 1.5 }, { a = true }, { a = false }, { a = {} }, { a = { 1, "x y", true, false, "" } },
                { ["&="] = "=&" }, { [""] = "x" }, { a = { [3] = "hole" } },
            } do
                ngx.say("<", ngx.encode_args(args), ">")
            end
            ngx.say(#ngx.encode_args({ a = ("ü"):rep(50000) }), " ", ngx.encode_args({ a = 1 }))
        }
    }
--- request
GET /t
--- response_body
<>
<a=b%20c>
<a=1.5>
<a>
<>
<>
<a=1&a=x%20y&a&a=>
<%26%3D=%3D%26>
<=x>
<a=hole>
300002 a=1

=== TEST 5: encode_args and decode_args say what they don't take, where they were called
--- config
    location = /t {
        content_by_lua_block {
            local function try(f, ...)
                local ok, message = pcall(f, ...)
                ngx.say(ok, " ", message)
            end
            try(function() ngx.encode_args() end)
            try(function() ngx.encode_args({}, 1) end)
            try(function() local x = ngx.encode_args(nil) end)
            try(function() local x = ngx.encode_args("a") end)
            try(function() local x = ngx.encode_args({ a = print }) end)
            try(function() local x = ngx.encode_args({ a = { ngx.null } }) end)
            try(function() local x = ngx.encode_args({ "a" }) end)
            try(function() ngx.decode_args() end)
            try(function() ngx.decode_args("a", 1, 2) end)
            try(function() local x = ngx.decode_args(nil) end)
            try(function() local x = ngx.decode_args("a", nil) end)
            try(function() local x = ngx.decode_args("a", "x") end)
        }
    }
--- request
GET /t
--- response_body
false content_by_lua(nginx.conf:40):6: expecting 1 argument but seen 0
false content_by_lua(nginx.conf:40):7: expecting 1 argument but seen 2
false content_by_lua(nginx.conf:40):8: bad argument #1 to 'encode_args' (table expected, got nil)
false content_by_lua(nginx.conf:40):9: bad argument #1 to 'encode_args' (table expected, got string)
false content_by_lua(nginx.conf:40):10: attempt to use function as query arg value
false content_by_lua(nginx.conf:40):11: attempt to use userdata as query arg value
false content_by_lua(nginx.conf:40):12: attempt to use a non-string key in the "args" option table
false content_by_lua(nginx.conf:40):13: expecting 1 or 2 arguments but seen 0
false content_by_lua(nginx.conf:40):14: expecting 1 or 2 arguments but seen 3
false content_by_lua(nginx.conf:40):15: bad argument #1 to 'decode_args' (string expected, got nil)
false content_by_lua(nginx.conf:40):16: bad argument #2 to 'decode_args' (number expected, got nil)
false content_by_lua(nginx.conf:40):17: bad argument #2 to 'decode_args' (number expected, got string)

=== TEST 6: decode_args stops at its limit, which may be a number in a string, and has none at 0
--- config
    location = /t {
        content_by_lua_block {
            local function show(...)
                local args, truncated = ngx.decode_args(...)
                local names = {}
                for name, value in pairs(args) do names[#names + 1] = name .. "=" .. tostring(value) end
                table.sort(names)
                ngx.say(table.concat(names, " "), " ", truncated)
            end
            show("a=1&b=&=x&c", 4)
            show("a=1&b=&=x&c", 3)
            show("a=1&b", "1")
            show("a&b&c", 2.9)
            show(1)
            show("", 1)
            local function count(...)
                local args, truncated = ngx.decode_args(...)
                local n = 0
                for _ in pairs(args) do n = n + 1 end
                ngx.say(n, " ", truncated)
            end
            local many = {}
            for i = 1, 300 do many[i] = "k" .. i end
            many = table.concat(many, "&")
            count(many) count(many, 0) count(many, -1) count(many, 299)
        }
    }
--- request
GET /t
--- response_body
a=1 b= c=true nil
a=1 b= truncated
a=1 truncated
a=true b=true truncated
1=true nil
 nil
100 truncated
300 nil
300 nil
299 truncated

=== TEST 7: base64 with and without padding, and what is none
--- config
    location = /t {
        content_by_lua_block {
            for _, text in ipairs { "", "f", "fo", "foo", "\0\255\254\253" } do
                local padded, plain = ngx.encode_base64(text), ngx.encode_base64(text, true)
                ngx.say(padded, " ", plain, " ", ngx.decode_base64(padded) == text, " ", ngx.decode_base64(plain) == text)
            end
            ngx.say("-", ngx.encode_base64(nil), ngx.encode_base64(false), "-", ngx.encode_base64(32), " ", ngx.encode_base64("f", false), " ", ngx.encode_base64("f", nil))
            ngx.say(ngx.decode_base64("Zg=x"), " ", ngx.decode_base64("Z"), " ", ngx.decode_base64("Zm9-"), " ", ngx.decode_base64("Zm 9v"))
            ngx.say(select("#", ngx.decode_base64("-")), " ", #ngx.decode_base64(ngx.encode_base64(("x"):rep(100000))))
            ngx.say(ngx.decode_base64mime("Zm9v\r\n YmF-y\r\n"), " ", ngx.decode_base64mime("Z\n"))
        }
    }
--- request
GET /t
--- response_body
  true true
Zg== Zg true true
Zm8= Zm8 true true
Zm9v Zm9v true true
AP/+/Q== AP/+/Q true true
--MzI= Zg== Zg==
f nil nil nil
1 100000
foobar nil

=== TEST 8: base64 says what it doesn't take, where it was called
--- config
    location = /t {
        content_by_lua_block {
            local function try(f, ...)
                local ok, message = pcall(f, ...)
                ngx.say(ok, " ", message)
            end
            try(function() local x = ngx.encode_base64("a", 0) end)
            try(function() local x = ngx.decode_base64(nil) end)
            try(function() local x = ngx.decode_base64(32) end)
            try(function() local x = ngx.decode_base64mime() end)
        }
    }
--- request
GET /t
--- response_body
false content_by_lua(nginx.conf:40):6: bad no_padding: boolean expected, got number
false content_by_lua(nginx.conf:40):7: string argument only
false content_by_lua(nginx.conf:40):8: string argument only
false content_by_lua(nginx.conf:40):9: string argument only

=== TEST 9: ngx.base64 has the alphabet of URLs
--- config
    location = /t {
        content_by_lua_block {
            local base64 = require "ngx.base64"
            local text = "\251\255\254\255"
            local encoded = base64.encode_base64url(text)
            ngx.say(encoded, " ", base64.decode_base64url(encoded) == text, " ", base64.decode_base64url(encoded .. "==") == text)
            ngx.say(base64.decode_base64url("+//+/w"))
            ngx.say(base64.decode_base64url("A"))
            ngx.say(base64.decode_base64url(32))
            ngx.say(base64.encode_base64url(nil))
            ngx.say("<", base64.encode_base64url(""), base64.decode_base64url(""), ">")
        }
    }
--- request
GET /t
--- response_body
-__-_w true true
nilinvalid input
nilinvalid input
nilmust provide a string
nilmust provide a string
<>

=== TEST 10: digests
--- config
    location = /t {
        content_by_lua_block {
            local function hex(bytes) return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end
            ngx.say(ngx.md5("hello"), " ", hex(ngx.md5_bin("hello")) == ngx.md5("hello"))
            ngx.say(hex(ngx.sha1_bin("hello")))
            ngx.say(hex(ngx.hmac_sha1("thisisverysecretstuff", "some string we want to sign")))
            ngx.say(ngx.crc32_short("hello, world"), " ", ngx.crc32_long("hello, world"), " ", ngx.crc32_long(("\255"):rep(9)))
            ngx.say(ngx.md5(nil) == ngx.md5(""), " ", ngx.md5(45), " ", ngx.md5(false) == ngx.md5(""), " ", hex(ngx.sha1_bin(nil)))
            ngx.say(ngx.crc32_short(nil), " ", ngx.crc32_long(12) == ngx.crc32_short("12"), " ", hex(ngx.hmac_sha1("k", 1)) == hex(ngx.hmac_sha1("k", "1")))
        }
    }
--- request
GET /t
--- response_body
5d41402abc4b2a76b9719d911017c592 true
aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d
47fa6fc731c2e0d2ed8fb4be917160fcd78f4e69
4289425978 4289425978 3944749200
true 6c8349cc7260ae62e3b1396831a8398f true da39a3ee5e6b4b0d3255bfef95601890afd80709
0 true true

=== TEST 11: hmac_sha1 and quote_sql_str want their arguments
--- config
    location = /t {
        content_by_lua_block {
            local function try(f, ...)
                local ok, message = pcall(f, ...)
                ngx.say(ok, " ", message)
            end
            try(function() ngx.hmac_sha1("k") end)
            try(function() ngx.hmac_sha1("k", "t", 1) end)
            try(function() local x = ngx.hmac_sha1(nil, "t") end)
            try(function() local x = ngx.hmac_sha1("k", {}) end)
            try(function() ngx.quote_sql_str() end)
            try(function() local x = ngx.quote_sql_str(nil) end)
            ngx.say(ngx.quote_sql_str(""), ngx.quote_sql_str(12), ngx.quote_sql_str("a'\\\"\0\n\r\t\b\026ü"))
        }
    }
--- request
GET /t
--- response_body
false content_by_lua(nginx.conf:40):6: expecting 2 arguments, but got 1
false content_by_lua(nginx.conf:40):7: expecting 2 arguments, but got 3
false content_by_lua(nginx.conf:40):8: bad argument #1 to 'hmac_sha1' (string expected, got nil)
false content_by_lua(nginx.conf:40):9: bad argument #2 to 'hmac_sha1' (string expected, got table)
false content_by_lua(nginx.conf:40):10: expecting one argument
false content_by_lua(nginx.conf:40):11: bad argument #1 to 'quote_sql_str' (string expected, got nil)
'''12''a\'\\\"\0\n\r\t\b\Zü'

=== TEST 12: all of it works in every phase, and without a request
--- http_config
    init_by_lua_block {
        function all()
            local base64 = require "ngx.base64"
            return table.concat({
                ngx.escape_uri("a b"), ngx.unescape_uri("a%20b"), ngx.encode_args({ a = "b c" }), ngx.decode_args("a=b+c").a,
                ngx.quote_sql_str("a'"), ngx.encode_base64("a"), ngx.decode_base64("YQ"), ngx.decode_base64mime("Y Q"),
                base64.encode_base64url("a"), base64.decode_base64url("YQ"), ngx.md5("a"), #ngx.md5_bin("a"), #ngx.sha1_bin("a"),
                #ngx.hmac_sha1("a", "b"), ngx.crc32_short("a"), ngx.crc32_long("a"),
            }, " ")
        end
        seen = { init = all() }
    }
    init_worker_by_lua_block { seen.init_worker = all() }
--- config
    location = /t {
        rewrite_by_lua_block { seen.rewrite = all() }
        access_by_lua_block { seen.access = all() }
        content_by_lua_block { seen.content = all() ngx.say("done") }
        header_filter_by_lua_block { seen.header_filter = all() }
        body_filter_by_lua_block { seen.body_filter = all() }
        log_by_lua_block { seen.log = all() }
    }
    location = /seen {
        content_by_lua_block {
            local names = {}
            for name, value in pairs(seen) do
                names[#names + 1] = name
                if value ~= seen.init then ngx.say(name, ": ", value) end
            end
            table.sort(names)
            ngx.say(table.concat(names, " "))
            ngx.say(seen.init)
        }
    }
--- request eval
["GET /t", "GET /seen"]
--- response_body eval
["done\n", "access body_filter content header_filter init init_worker log rewrite\n" .
"a%20b a b a=b%20c b c 'a\\'' YQ== a a YQ a 0cc175b9c0f1b6a831c399e269772661 16 20 20 3904355907 3904355907\n"]

=== TEST 13: the modules that bring it elsewhere can be required
--- config
    location = /t {
        content_by_lua_block {
            for _, name in ipairs { "base64", "hash", "uri" } do
                ngx.say(name, " ", require("resty.core." .. name).version == require("resty.core").version)
            end
        }
    }
--- request
GET /t
--- response_body
base64 true
hash true
uri true

=== TEST 14: what a line break in a query would smuggle into a request is escaped
--- config
    location = /t {
        rewrite_by_lua_block { ngx.req.set_uri_args("a=%20 b\r\nX-Evil: 1\0\127ü") }
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/echo;
    }
    location = /echo { content_by_lua_block { ngx.say(ngx.var.request_uri, " ", ngx.req.get_headers()["X-Evil"]) } }
--- request
GET /t
--- response_body
/echo?a=%20%20b%0D%0AX-Evil:%201%00%7Fü nil
