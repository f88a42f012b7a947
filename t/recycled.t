# What the module keeps of a request is used again for the next one on the worker, which finds nothing of it there.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: that Lua has set a header: lengths are left alone only in that request
--- config
    location = /set { content_by_lua_block { ngx.header.x_set = "1" ngx.exec("/set2") } }
    location = /set2 { content_by_lua_block { ngx.header.x_set = "2" ngx.print("set") } }
    location = /length { content_by_lua_block { ngx.header.content_length = 3 ngx.exec("/plain") } }
    location = /plain { content_by_lua_block { ngx.print("hello") } }
--- pipelined_requests eval
["GET /set", "GET /length", "GET /plain"]
--- response_body eval
["set", "hello", "hello"]
--- no_error_log
[error]

=== TEST 2: the status of an ngx.exit: a header filter may exit with the same
--- config
    location = /exit { content_by_lua_block { ngx.exit(403) } }
    location = /filter {
        content_by_lua_block { ngx.print("hello") }
        header_filter_by_lua_block { return ngx.exit(403) }
    }
--- request eval
["GET /exit", "GET /filter"]
--- error_code eval
[403, 403]
--- response_body_unlike eval
["hello", "hello"]

=== TEST 3: a body that was begun and not finished
--- config
    location = /begin {
        content_by_lua_block {
            ngx.req.read_body()
            ngx.req.init_body()
            ngx.req.append_body("begun ")
            ngx.say("begun")
        }
    }
    location = /go-on {
        content_by_lua_block {
            ngx.req.read_body()
            ngx.say((pcall(ngx.req.append_body, "and gone on with")))
            ngx.say((pcall(ngx.req.finish_body)))
        }
    }
--- request eval
["GET /begin", "GET /go-on"]
--- response_body eval
["begun\n", "false\nfalse\n"]
--- no_error_log
[alert]

=== TEST 4: what waited, what ended it and what a filter saw
--- config
    location = /leave {
        access_by_lua_block {
            ngx.thread.spawn(function() ngx.sleep(10) end)
            ngx.sleep(0.001)
            ngx.exit(ngx.var.arg_status + 0)
        }
        body_filter_by_lua_block { ngx.arg[2] = true }
        content_by_lua_block { ngx.print("content") }
    }
--- request eval
["GET /leave?status=403", "GET /leave?status=0", "GET /leave?status=404", "GET /leave?status=0"]
--- error_code eval
[403, 200, 404, 200]
--- response_body_like eval
["403", "^content\$", "404", "^content\$"]
--- no_error_log
[alert]
