# The request's body: reading it, whether nginx has it in memory or in a file, and replacing it.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: read_body makes the body known, which it isn't before
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(ngx.req.get_body_data(), " ", ngx.req.get_body_file())
            ngx.req.read_body()
            ngx.say(ngx.req.get_body_data(), " ", ngx.req.get_body_file(), " ", ngx.var.request_body)
            ngx.req.read_body()
            ngx.say(ngx.req.get_body_data())
        }
    }
--- request
POST /t
hello, world
--- response_body
nil nil
hello, world nil hello, world
hello, world
--- no_error_log
[error]

=== TEST 2: a request without a body has none
--- config
    location = /t {
        content_by_lua_block { ngx.req.read_body() ngx.say(ngx.req.get_body_data(), " ", ngx.req.get_body_file()) }
    }
--- request eval
["GET /t", "POST /t"]
--- response_body eval
["nil nil\n", "nil nil\n"]

=== TEST 3: get_body_data takes a limit
--- config
    location = /t {
        content_by_lua_block {
            ngx.req.read_body()
            ngx.say(ngx.req.get_body_data(5), " ", #ngx.req.get_body_data(500))
        }
    }
--- request
POST /t
hello, world
--- response_body
hello 12

=== TEST 4: a body larger than its buffer is in a file
--- config
    client_body_buffer_size 1k;
    location = /t {
        content_by_lua_block {
            ngx.req.read_body()
            ngx.say(ngx.req.get_body_data())
            local name = ngx.req.get_body_file()
            local f = assert(io.open(name))
            local data = f:read("*a")
            f:close()
            ngx.say(#data, " ", data:sub(1, 8), " ", data:sub(-8))
        }
    }
--- request eval
"POST /t\n" . "01234567" x 16384
--- response_body
nil
131072 01234567 01234567

=== TEST 5: client_body_in_file_only puts every body in a file
--- config
    client_body_in_file_only clean;
    location = /t {
        content_by_lua_block {
            ngx.req.read_body()
            ngx.say(ngx.req.get_body_data(), " ", io.open(ngx.req.get_body_file()):read("*a"))
        }
    }
--- request
POST /t
hello
--- response_body
nil hello

=== TEST 6: a body that comes in several buffers is one string
--- config
    client_body_buffer_size 64k;
    location = /t {
        content_by_lua_block { ngx.req.read_body() local d = ngx.req.get_body_data() ngx.say(#d, " ", d:match("^a+b+c+$") == d) }
    }
--- raw_request eval
["POST /t HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 30000\r\n\r\n" . "a" x 10000,
 "b" x 10000, "c" x 10000]
--- raw_request_middle_delay: 0.05
--- response_body
30000 true

=== TEST 7: a chunked body is read whole
--- config
    location = /t { content_by_lua_block { ngx.req.read_body() ngx.say(ngx.req.get_body_data()) } }
--- raw_request eval
["POST /t HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
 "7\r\n, world\r\n", "0\r\n\r\n"]
--- raw_request_middle_delay: 0.02
--- response_body
hello, world

=== TEST 8: pipelined requests keep to their own bodies
--- config
    location = /t { content_by_lua_block { ngx.req.read_body() ngx.say("got ", ngx.req.get_body_data()) } }
--- pipelined_requests eval
["POST /t\nfirst", "POST /t\nsecond, longer", "GET /t", "POST /t\nlast"]
--- response_body eval
["got first\n", "got second, longer\n", "got nil\n", "got last\n"]

=== TEST 9: a body that the handler doesn't read doesn't spoil the next request
--- config
    location = /skip { content_by_lua_block { ngx.say("skipped") } }
    location = /discard { content_by_lua_block { ngx.req.discard_body() ngx.say("discarded") } }
    location = /t { content_by_lua_block { ngx.req.read_body() ngx.say("got ", ngx.req.get_body_data()) } }
--- pipelined_requests eval
["POST /skip\n" . "x" x 5000, "POST /discard\nGET /evil HTTP/1.1", "POST /t\nlast"]
--- response_body eval
["skipped\n", "discarded\n", "got last\n"]

=== TEST 10: lua_need_request_body reads the body before the code runs
--- config
    lua_need_request_body on;
    location = /content { content_by_lua_block { ngx.say("content ", ngx.req.get_body_data()) } }
    location = /access { access_by_lua_block { ngx.say("access ", ngx.req.get_body_data()) } }
    location = /rewrite { rewrite_by_lua_block { ngx.say("rewrite ", ngx.req.get_body_data()) } }
--- request eval
["POST /content\na", "POST /access\nb", "POST /rewrite\nc"]
--- response_body eval
["content a\n", "access b\n", "rewrite c\n"]

=== TEST 11: a body over client_max_body_size is 413 before the code runs
--- config
    location = /t {
        client_max_body_size 10;
        content_by_lua_block { ngx.req.read_body() ngx.say("reached") }
    }
--- request
POST /t
hello, world
--- error_code: 413
--- response_body_unlike: reached

=== TEST 12: a chunked body over client_max_body_size is 413 when it is read
--- config
    location = /t {
        client_max_body_size 10;
        content_by_lua_block { ngx.req.read_body() ngx.log(ngx.ERR, "went on") ngx.say("reached") }
    }
--- raw_request eval
"POST /t HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n01234567890123456789\r\n0\r\n\r\n"
--- error_code: 413
--- response_body_unlike: reached
--- no_error_log
went on

=== TEST 13: get_post_args decodes the body as a form does, with limits
--- config
    location = /t {
        content_by_lua_block {
            ngx.req.read_body()
            local args, err = ngx.req.get_post_args()
            ngx.say(args.a, " ", table.concat(args.b, "|"), " ", args.c, " ", args.none, " ", err)
            args, err = ngx.req.get_post_args(1)
            ngx.say(args.a, " ", args.b, " ", err)
        }
    }
--- request
POST /t
a=x%20y+z&b=1&b=2&c
--- response_body
x y z 1|2 true nil nil
x y z nil truncated

=== TEST 14: set_body_data replaces the body for Lua, variables and upstreams
--- config
    location = /t {
        rewrite_by_lua_block {
            ngx.req.read_body()
            ngx.req.set_body_data("replaced: " .. ngx.req.get_body_data())
            ngx.log(ngx.WARN, "now: ", ngx.req.get_body_data(), ", ", ngx.req.get_headers()["content-length"], ".")
        }
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/echo;
    }
    location = /echo {
        content_by_lua_block {
            ngx.req.read_body()
            ngx.say(ngx.var.http_content_length, " ", ngx.req.get_body_data())
        }
    }
--- request
POST /t
hello
--- response_body
15 replaced: hello
--- error_log
now: replaced: hello, 15.

=== TEST 15: set_body_data replaces a body in a file, and an empty one clears it
--- config
    client_body_in_file_only clean;
    location = /t {
        content_by_lua_block {
            ngx.req.read_body()
            ngx.req.set_body_data("new")
            ngx.say(ngx.req.get_body_data(), " ", ngx.req.get_body_file())
            ngx.req.set_body_data("")
            ngx.say(ngx.req.get_body_data(), " ", ngx.req.get_headers()["content-length"])
        }
    }
--- request
POST /t
hello
--- response_body
new nil
nil 0

=== TEST 16: replacing a body that wasn't read is an error that says so
--- config
    location = /t {
        content_by_lua_block {
            for _, call in ipairs { { "set_body_data", "x" }, { "set_body_file", "/dev/null" } } do
                ngx.say((select(2, pcall(ngx.req[call[1]], call[2]))))
            end
            ngx.req.read_body()
        }
    }
--- request
POST /t
hello
--- response_body_like chop
^\S*request body not read yet
\S*request body not read yet$

=== TEST 17: set_body_file makes a file the body, and removes it afterwards when asked
--- http_config
    init_by_lua_block {
        function file(name, content)
            local path = ngx.config.prefix() .. "html/" .. name
            if content then local f = assert(io.open(path, "w")) f:write(content) f:close() end
            return path
        end
    }
--- config
    location = /t {
        rewrite_by_lua_block {
            ngx.req.read_body()
            ngx.req.set_body_file(file("kept.txt", "kept"), false)
            ngx.req.set_body_file(file("cleaned.txt", "from the file"), true)
        }
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/echo;
    }
    location = /echo { content_by_lua_block { ngx.req.read_body() ngx.say(ngx.req.get_body_data()) } }
    location = /after {
        content_by_lua_block { ngx.say(io.open(file("cleaned.txt")), " ", io.open(file("kept.txt")) ~= nil) }
    }
--- request eval
["POST /t\nhello", "GET /after"]
--- response_body eval
["from the file\n", "nil true\n"]

=== TEST 18: set_body_file of a missing file is an error
--- config
    location = /t {
        content_by_lua_block { ngx.req.read_body() ngx.say((pcall(ngx.req.set_body_file, "/nonexistent/file"))) }
    }
--- request
POST /t
hello
--- response_body
false
--- error_log
/nonexistent/file

=== TEST 19: init_body, append_body and finish_body build a body in memory
--- config
    location = /t {
        rewrite_by_lua_block {
            ngx.req.read_body()
            ngx.req.init_body()
            for i = 1, 5 do ngx.req.append_body(i .. ",") end
            ngx.req.finish_body()
        }
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/echo;
    }
    location = /echo {
        content_by_lua_block {
            ngx.req.read_body()
            ngx.say(ngx.var.http_content_length, " ", ngx.req.get_body_data())
        }
    }
--- request
POST /t
hello
--- response_body
10 1,2,3,4,5,

=== TEST 20: a built body that outgrows its buffer goes to a file
--- config
    location = /t {
        content_by_lua_block {
            ngx.req.read_body()
            ngx.req.init_body(100)
            for i = 1, 1000 do ngx.req.append_body("0123456789") end
            ngx.req.finish_body()
            local data = io.open(ngx.req.get_body_file()):read("*a")
            ngx.say(ngx.req.get_body_data(), " ", #data, " ", data == ("0123456789"):rep(1000))
        }
    }
--- request
POST /t
hello
--- response_body
nil 10000 true

=== TEST 21: append_body without init_body is an error
--- config
    location = /t {
        content_by_lua_block {
            ngx.req.read_body()
            ngx.say((select(2, pcall(ngx.req.append_body, "x"))))
            ngx.say((pcall(ngx.req.finish_body)))
        }
    }
--- request
POST /t
hello
--- response_body_like chop
^\S*request_body not initialized
false$

=== TEST 22: the body survives an internal redirect, and the next location sees the changed one
--- config
    location = /t { content_by_lua_block { ngx.req.read_body() ngx.req.set_body_data("changed") ngx.exec("/next") } }
    location = /next { content_by_lua_block { ngx.req.read_body() ngx.say(ngx.req.get_body_data()) } }
--- request
POST /t
hello
--- response_body
changed

=== TEST 23: Expect: 100-continue is answered when the body is read
--- config
    location = /t { content_by_lua_block { ngx.req.read_body() ngx.say(ngx.req.get_body_data()) } }
--- raw_request eval
["POST /t HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", "hello"]
--- raw_request_middle_delay: 0.05
--- ignore_response
--- error_log
send 100 Continue
--- no_error_log
[error]

=== TEST 24: a client that goes away in the middle of its body leaves the worker serving
--- config
    location = /t { content_by_lua_block { ngx.req.read_body() ngx.log(ngx.ERR, "went on") } }
--- raw_request eval
"POST /t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhello"
--- timeout: 100ms
--- abort
--- ignore_response
--- no_error_log
went on
[alert]
