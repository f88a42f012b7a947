# ngx.var: nginx's variables, read and written.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: variables read as strings, unknown ones as nil
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(ngx.var.uri, " ", ngx.var.request_method, " ", ngx.var.arg_a, " ", ngx.var.arg_none, " ", ngx.var.http_x_h, " ",
                    ngx.var.cookie_c, " ", ngx.var.none, " ", ngx.var.server_port == ngx.var.server_port, " ", type(ngx.var.server_port))
        }
    }
--- more_headers
X-H: h
Cookie: b=1; c=2
--- request
GET /t?a=1%20&b
--- response_body
/t GET 1%20 nil h 2 nil true string

=== TEST 2: a variable that the configuration sets is written, and read by nginx
--- config
    location = /t {
        set $dog "old";
        rewrite_by_lua_block { ngx.var.dog = "new" ngx.var.number = 42 }
        set $number 0;
        add_header X-Dog $dog;
        content_by_lua_block { ngx.say(ngx.var.dog, " ", ngx.var.number, " ", type(ngx.var.number)) }
    }
--- request
GET /t
--- response_headers
X-Dog: new
--- response_body
new 42 string

=== TEST 3: nil makes a variable unset
--- config
    location = /t {
        set $dog "old";
        content_by_lua_block { ngx.var.dog = nil ngx.say("[", ngx.var.dog, "]") }
    }
--- request
GET /t
--- response_body
[nil]

=== TEST 4: only defined, changeable variables can be written
--- config
    location = /t {
        content_by_lua_block {
            local function try(name, value)
                ngx.say((select(2, pcall(function() ngx.var[name] = value end))):match("variable.*"))
            end
            try("never_defined", "x")
            try("request_method", "x")
            try("remote_addr", "x")
        }
    }
--- request
GET /t
--- response_body
variable "never_defined" not found for writing; maybe it is a built-in variable that is not changeable or you forgot to use "set $never_defined '';" in the config file to define it first
variable "request_method" not changeable
variable "remote_addr" not changeable

=== TEST 5: args is changeable, and the arguments follow
--- config
    location = /t {
        content_by_lua_block {
            ngx.var.args = "b=2"
            ngx.say(ngx.var.arg_a, " ", ngx.var.arg_b, " ", ngx.req.get_uri_args().b, " ", ngx.var.query_string)
        }
    }
--- request
GET /t?a=1
--- response_body
nil 2 2 b=2

=== TEST 6: a regular expression's captures are variables by number
--- config
    location ~ ^/t/(\w+)/(?<name>\w+)$ {
        content_by_lua_block { ngx.say(ngx.var[1], " ", ngx.var[2], " ", ngx.var.name, " ", ngx.var[3]) }
    }
--- request
GET /t/one/two
--- response_body
one two two nil

=== TEST 7: values of map, geo and other modules are computed when they are read
--- http_config
    map $arg_a $mapped { default "none"; 1 "one"; ~^x "starts with x"; }
    map $mapped $again { default "<$mapped>"; }
--- config
    location = /t { content_by_lua_block { ngx.say(ngx.var.mapped, " ", ngx.var.again) } }
--- request eval
["GET /t?a=1", "GET /t?a=xyz", "GET /t"]
--- response_body eval
["one <one>\n", "starts with x <starts with x>\n", "none <none>\n"]

=== TEST 8: values are bytes, of any kind and length
--- config
    location = /t {
        set $v "";
        content_by_lua_block {
            local long = ("x"):rep(100000)
            for _, value in ipairs { "", "a\0b", "\255\254", long } do
                ngx.var.v = value
                ngx.print(ngx.var.v == value, " ")
            end
        }
    }
--- request
GET /t
--- response_body eval
"true true true true "

=== TEST 9: names are looked up in any case
--- config
    location = /t { set $MixedCase "m"; content_by_lua_block { ngx.say(ngx.var.mixedcase, " ", ngx.var.MixedCase, " ", ngx.var.MIXEDCASE, " ", ngx.var.URI) } }
--- request
GET /t
--- response_body
m m m /t

=== TEST 10: a name that isn't a string or number, and a value that isn't a string or number
--- config
    location = /t {
        set $v "";
        content_by_lua_block {
            ngx.say((select(2, pcall(function() return ngx.var[{}] end))):match("bad variable name"))
            ngx.say((select(2, pcall(function() ngx.var[{}] = 1 end))):match("bad variable name"))
        }
    }
--- request
GET /t
--- response_body
bad variable name
bad variable name

=== TEST 11: every request has its own values
--- config
    location = /t {
        set $v "fresh";
        content_by_lua_block { ngx.print(ngx.var.v, " ") ngx.var.v = "used" ngx.sleep(0.001) ngx.say(ngx.var.v) }
    }
--- pipelined_requests eval
["GET /t", "GET /t", "GET /t"]
--- response_body eval
["fresh used\n", "fresh used\n", "fresh used\n"]

=== TEST 12: init_by_lua and init_worker_by_lua have no variables
--- http_config
    init_by_lua_block { init_error = select(2, pcall(function() return ngx.var.uri end)) }
    init_worker_by_lua_block { worker_error = select(2, pcall(function() return ngx.var.uri end)) }
--- config
    location = /t { content_by_lua_block { ngx.say(init_error) ngx.say(worker_error) } }
--- request
GET /t
--- response_body_like chop
^.*(?:no request found|API disabled in the .*context.*)
.*(?:no request found|API disabled in the .*context.*)$

=== TEST 13: a written limit_rate and a read status are live
--- config
    location = /t {
        content_by_lua_block {
            ngx.var.limit_rate = 100000
            ngx.status = 201
            ngx.say(ngx.var.limit_rate, " ", ngx.var.status)
        }
    }
--- request
GET /t
--- error_code: 201
--- response_body
100000 201

=== TEST 14: variables are there in every phase of a request
--- config
    location = /t {
        set $trail "set";
        rewrite_by_lua_block { ngx.var.trail = ngx.var.trail .. " rewrite" }
        access_by_lua_block { ngx.var.trail = ngx.var.trail .. " access" }
        content_by_lua_block { ngx.var.trail = ngx.var.trail .. " content" ngx.say(ngx.var.uri) }
        header_filter_by_lua_block { ngx.var.trail = ngx.var.trail .. " header" }
        body_filter_by_lua_block { if ngx.arg[2] then ngx.var.trail = ngx.var.trail .. " body" end }
        log_by_lua_block { ngx.log(ngx.WARN, "trail: ", ngx.var.trail, " ", ngx.var.status, ".") }
    }
--- request
GET /t
--- response_body
/t
--- error_log
trail: set rewrite access content header body 200.
