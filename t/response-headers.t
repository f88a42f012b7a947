# ngx.header and ngx.resp.get_headers: what a handler sets, reads and removes of the answer's headers.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: underscores in a name stand for dashes, in reading too, and case doesn't matter
--- config
    location = /t {
        content_by_lua_block {
            ngx.header.x_one_two = "1"
            ngx.header["X-Three"] = 3
            ngx.say(ngx.header["X-One-Two"], ngx.header.X_ONE_TWO, ngx.header.x_three, type(ngx.header.x_three))
        }
    }
--- request
GET /t
--- response_headers
x-one-two: 1
X-Three: 3
--- response_body
113string

=== TEST 2: lua_transform_underscores_in_response_headers off keeps underscores
--- config
    lua_transform_underscores_in_response_headers off;
    location = /t { content_by_lua_block { ngx.header.x_one = "1" ngx.say(ngx.header["x-one"], ngx.header.x_one) } }
--- request
GET /t
--- raw_response_headers_like: x_one: 1\r\n
--- response_body
nil1

=== TEST 3: an array sets a header several times, and reads as an array
--- config
    location = /t {
        content_by_lua_block {
            ngx.header["Set-Cookie"] = { "a=1", "b=2", 3 }
            ngx.header["X-Many"] = { "x", "y" }
            ngx.say(table.concat(ngx.header.set_cookie, "|"), " ", table.concat(ngx.header.x_many, "|"))
        }
    }
--- request
GET /t
--- raw_response_headers_like: Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nSet-Cookie: 3\r\nX-Many: x\r\nX-Many: y\r\n
--- response_body
a=1|b=2|3 x|y

=== TEST 4: nil and an empty array remove a header, and a new value replaces all old ones
--- config
    location = /t {
        content_by_lua_block {
            ngx.header.x_a = { "1", "2" }
            ngx.header.x_a = nil
            ngx.header.x_b = "1"
            ngx.header.x_b = {}
            ngx.header.x_c = { "1", "2", "3" }
            ngx.header.x_c = "4"
            ngx.header.x_never = nil
            ngx.say(ngx.header.x_a, ngx.header.x_b, ngx.header.x_c, ngx.header.x_never)
        }
    }
--- request
GET /t
--- response_headers
! x-a
! x-b
x-c: 4
! x-never
--- response_body
nilnil4nil

=== TEST 5: the built-in headers are nginx's own
--- config
    location = /t {
        content_by_lua_block {
            ngx.header.content_type = "text/x; charset=utf-8"
            ngx.header.location = "/there"
            ngx.header.etag = '"abc"'
            ngx.header.last_modified = ngx.http_time(1000000000)
            ngx.header.server = "mine"
            ngx.header.cache_control = "no-store"
            ngx.say(ngx.header.content_type, " ", ngx.header.location, " ", ngx.header.etag, " ",
                    ngx.header.last_modified, " ", ngx.header.server, " ", ngx.header.cache_control)
        }
    }
--- request
GET /t
--- raw_response_headers_unlike: Server: nginx
--- response_headers
Content-Type: text/x; charset=utf-8
Server: mine
Location: /there
ETag: "abc"
Last-Modified: Sun, 09 Sep 2001 01:46:40 GMT
Cache-Control: no-store
--- response_body
text/x; charset=utf-8 /there "abc" Sun, 09 Sep 2001 01:46:40 GMT mine no-store

=== TEST 6: the content type is the location's default unless it is set or removed
--- config
    default_type text/default;
    location = /default { content_by_lua_block { ngx.say(ngx.header.content_type) } }
    location = /set { content_by_lua_block { ngx.header.content_type = "text/set" ngx.say("x") } }
    location = /removed { content_by_lua_block { ngx.header.content_type = nil ngx.say("x") } }
    location = /off { lua_use_default_type off; content_by_lua_block { ngx.say("x") } }
--- request eval
["GET /default", "GET /set", "GET /removed", "GET /off"]
--- raw_response_headers_like eval
["Content-Type: text/default\r\n", "Content-Type: text/set\r\n", "", ""]
--- raw_response_headers_unlike eval
["nothing of the sort", "text/default", "Content-Type", "Content-Type"]

=== TEST 7: a line break in a name or a value is escaped
--- config
    location = /t {
        content_by_lua_block {
            ngx.header.x_a = "one\r\nX-Evil: yes"
            ngx.header["x-b\r\nX-Evil"] = "yes"
            ngx.header.content_type = "a/b\r\nX-Evil: yes"
            ngx.header.x_z = "a\0b"
            ngx.say("ok")
        }
    }
--- request
GET /t
--- raw_response_headers_like: x-a: one%0D%0AX-Evil: yes\r\n
--- raw_response_headers_unlike: \nX-Evil
--- response_body
ok

=== TEST 8: get_headers has them all, finds them in any case, and gives arrays for repeated ones
--- config
    location = /t {
        content_by_lua_block {
            ngx.header.x_a = "1"
            ngx.header.x_m = { "2", "3" }
            ngx.header.content_type = "text/x"
            local h, err = ngx.resp.get_headers()
            ngx.say(h.x_a, " ", h["X-A"], " ", table.concat(h.X_M, "|"), " ", h.content_type, " ", h.x_none, " ", err)
            local raw = ngx.resp.get_headers(0, true)
            ngx.say(raw["x-a"], " ", raw["X-A"], " ", getmetatable(raw))
        }
    }
--- request
GET /t
--- response_body
1 1 2|3 text/x nil nil
1 nil nil

=== TEST 9: get_headers stops at its limit and says "truncated"
--- config
    location = /t {
        content_by_lua_block {
            for i = 1, 120 do ngx.header["X-" .. i] = i end
            local function count(...)
                local h, err = ngx.resp.get_headers(...)
                local n = 0
                for _ in pairs(h) do n = n + 1 end
                return n, " ", err
            end
            ngx.say(count())
            ngx.say(count(10))
            ngx.say((count(0)) >= 120, " ", select(3, count(0)))
        }
    }
--- request
GET /t
--- response_body
100 truncated
10 truncated
true nil

=== TEST 10: the headers of the static module are seen and changed in header_filter_by_lua
--- config
    location /file.txt {
        header_filter_by_lua_block {
            ngx.header.x_length = ngx.header.content_length
            ngx.header.x_type = ngx.header.content_type
            ngx.header.last_modified = nil
            ngx.header.etag = nil
        }
    }
--- user_files
>>> file.txt
hello
--- request
GET /file.txt
--- response_headers
x-length: 6
x-type: text/plain
! Last-Modified
! ETag
--- response_body
hello

=== TEST 11: setting a header after the headers were sent is an error in the log, and the body goes on
--- config
    location = /t { content_by_lua_block { ngx.say("a") ngx.flush(true) ngx.header.x_late = "1" ngx.say("b") } }
--- request
GET /t
--- response_headers
! x-late
--- response_body
a
b
--- error_log
attempt to set ngx.header.HEADER after sending out response headers

=== TEST 12: a value is turned into text like tostring does
--- config
    location = /t {
        content_by_lua_block {
            ngx.header.x_number = 1.5
            ngx.header.x_true = true
            ngx.header.x_object = setmetatable({ "plain" }, { __tostring = function() return "shown" end })
            ngx.header.x_empty = ""
            ngx.say("ok")
        }
    }
--- request
GET /t
--- response_headers
x-number: 1.5
x-true: true
x-empty: 
--- response_body
ok

=== TEST 13: a hundred values of one name can be set and read
--- config
    location = /t {
        content_by_lua_block {
            local t = {}
            for i = 1, 100 do t[i] = i end
            ngx.header.x_many = t
            local seen = ngx.header.x_many
            ngx.say(#seen, " ", seen[1], " ", seen[#seen], " ", #ngx.resp.get_headers(0)["x-many"])
        }
    }
--- request
GET /t
--- response_body
100 1 100 100



=== TEST 14: a Content-Length is digits only
--- config
location /t {
    content_by_lua_block {
        local refused = {}
        for i, length in ipairs { "+5", "-5", "5 ", "0x5", "5.0" } do
            refused[i] = tostring((pcall(function() ngx.header["Content-Length"] = length end)))
        end
        ngx.header["Content-Length"] = nil
        ngx.say(table.concat(refused, " "))
    }
}
--- request
GET /t
--- response_body
false false false false false



=== TEST 15: nginx changes the value that Cache-Control or Link was set to last
--- config
location = /t {
    expires 1h;
    add_header X-Sent $sent_http_link;
    content_by_lua_block {
        for _, name in ipairs { "Cache-Control", "Link" } do
            ngx.header[name] = "first"
            ngx.header[name] = { "second", "third" }
            ngx.header[name] = "last"
        end
        ngx.say("ok")
    }
}
--- request
GET /t
--- response_headers
Cache-Control: max-age=3600
Link: last
X-Sent: last
