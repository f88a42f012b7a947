# The chunked encoding of what Lua prints, alone and with nginx's filters in between. The scaffold decodes chunks
# strictly, and requests in one connection show that each answer ends where it says.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: answers of all sizes are chunked right, in one connection
--- config
    location = /t {
        content_by_lua_block { ngx.print(("x"):rep(tonumber(ngx.var.arg_n))) }
    }
--- pipelined_requests eval
[map { "GET /t?n=$_" } 0, 1, 9, 10, 15, 16, 255, 256, 4095, 4096, 8191, 8192, 65535, 65536, 1048577, 1]
--- response_body eval
[map { "x" x $_ } 0, 1, 9, 10, 15, 16, 255, 256, 4095, 4096, 8191, 8192, 65535, 65536, 1048577, 1]
--- no_error_log
[alert]

=== TEST 2: pieces that are sent one by one, each longer or shorter than the one before
--- config
    location = /t {
        content_by_lua_block {
            for _, n in ipairs { 1, 5000, 3, 20000, 0, 1, 9000, 100000, 2 } do
                ngx.print(("x"):rep(n))
                ngx.flush(true)
            end
        }
    }
--- pipelined_requests eval
["GET /t", "GET /t"]
--- response_body eval
["x" x 134007, "x" x 134007]
--- no_error_log
[alert]

=== TEST 3: an answer without a byte, and one that ends with eof
--- config
    location = /t { content_by_lua_block { ngx.flush() ngx.send_headers() ngx.flush(true) } }
    location = /eof { content_by_lua_block { ngx.say("a") ngx.flush() ngx.eof() ngx.sleep(0) } }
--- pipelined_requests eval
["GET /t", "GET /eof", "GET /t", "GET /eof"]
--- response_body eval
["", "a\n", "", "a\n"]
--- no_error_log
[alert]

=== TEST 4: trailers follow the last chunk
--- config
    location = /t {
        add_header Trailer X-End;
        add_trailer X-End done;
        content_by_lua_block { ngx.say("hello") }
    }
--- pipelined_requests eval
["GET /t", "GET /t"]
--- response_headers eval
["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"]
--- response_body eval
["hello\n", "hello\n"]

=== TEST 5: what an SSI page is made of, before, between and after a subrequest of Lua
--- config
    location = /t {
        ssi on;
        ssi_types *;
        default_type text/html;
        content_by_lua_block {
            ngx.print("before <!--#include virtual=\"/part?n=1\" -->, ")
            ngx.flush()
            ngx.print("between <!--#include virtual=\"/part?n=2\" -->")
            ngx.flush()
            ngx.print(" after")
        }
    }
    location = /part {
        content_by_lua_block { ngx.print("part ") ngx.sleep(0.01) ngx.flush() ngx.print(ngx.var.arg_n) }
    }
--- pipelined_requests eval
["GET /t", "GET /t"]
--- response_body eval
["before part 1, between part 2 after", "before part 1, between part 2 after"]
--- no_error_log
[alert]

=== TEST 6: sub_filter cuts a buffer into several
--- config
    location = /t {
        sub_filter x "[y]";
        sub_filter_once off;
        sub_filter_types *;
        content_by_lua_block {
            ngx.print("x first x") ngx.flush(true)
            ngx.print("second ") ngx.flush(true)
            ngx.print("x") ngx.flush(true)
            ngx.print("last")
        }
    }
--- pipelined_requests eval
["GET /t", "GET /t"]
--- response_body eval
["[y] first [y]second [y]last", "[y] first [y]second [y]last"]
--- no_error_log
[alert]

=== TEST 7: a Lua body filter that changes, drops and adds
--- config
    location = /t {
        content_by_lua_block {
            for i = 1, 4 do ngx.print("piece ", i, " ") ngx.flush(true) end
        }
        body_filter_by_lua_block {
            if ngx.arg[1]:find("2") then ngx.arg[1] = "" end
            if ngx.arg[1]:find("3") then ngx.arg[1] = "three " end
            if ngx.arg[2] then ngx.arg[1] = ngx.arg[1] .. "end" end
        }
    }
--- pipelined_requests eval
["GET /t", "GET /t"]
--- response_body eval
["piece 1 three piece 4 end", "piece 1 three piece 4 end"]
--- no_error_log
[alert]

=== TEST 8: an addition before and after
--- config
    location = /t {
        add_before_body /before;
        add_after_body /after;
        addition_types *;
        content_by_lua_block { ngx.print("page ") }
    }
    location = /before { content_by_lua_block { ngx.print("before ") } }
    location = /after { content_by_lua_block { ngx.print("after") } }
--- pipelined_requests eval
["GET /t", "GET /t"]
--- response_body eval
["before page after", "before page after"]
--- no_error_log
[alert]

=== TEST 9: gzip packs what is printed, and another connection's answer is not packed
--- http_config
    gzip on;
    gzip_min_length 1;
    gzip_types *;
    gzip_proxied any;
    gunzip on;
--- config
    location = /packed {
        content_by_lua_block { for _ = 1, 3 do ngx.print(("x"):rep(5000)) ngx.flush(true) end }
    }
    location = /t {
        content_by_lua_block {
            local packed = ngx.location.capture("/packed")
            ngx.say(#packed.body)
        }
    }
    location = /through {
        proxy_http_version 1.1;
        proxy_set_header Accept-Encoding gzip;
        proxy_pass http://127.0.0.1:$server_port/packed;
    }
--- pipelined_requests eval
["GET /t", "GET /through", "GET /packed"]
--- response_body eval
["15000\n", "x" x 15000, "x" x 15000]
--- no_error_log
[alert]

=== TEST 10: a rate limit, which takes an answer apart
--- config
    location = /t {
        limit_rate 60k;
        content_by_lua_block { ngx.print(("x"):rep(70000)) }
    }
--- request
GET /t
--- response_body eval
"x" x 70000
--- timeout: 5
--- no_error_log
[alert]

=== TEST 11: HTTP/1.0 gets no chunks
--- config
    location = /t { lua_http10_buffering off; content_by_lua_block { ngx.say("hello") ngx.flush(true) ngx.say("you") } }
--- request
GET /t HTTP/1.0
--- response_headers
! Transfer-Encoding
--- response_body
hello
you
