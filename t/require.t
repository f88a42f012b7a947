# `require` in handlers: what is loaded is given at once, everything else is Lua's own.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: a module is loaded once, and each call gives what it has returned
--- http_config
    lua_package_path "$prefix/html/?.lua;;";
--- user_files
>>> counted.lua
loads = (loads or 0) + 1
return { name = ... }
--- config
    location = /t {
        content_by_lua_block {
            local counted = require "counted"
            assert(require "counted" == counted and require("counted") == package.loaded.counted)
            ngx.say(counted.name)
        }
    }
--- pipelined_requests eval
["GET /t", "GET /t"]
--- response_body eval
["counted\n", "counted\n"]

=== TEST 2: a module that gives nothing, one that gives false, and one taken out are as in Lua
--- http_config
    lua_package_path "$prefix/html/?.lua;;";
--- user_files
>>> nothing.lua
local loads = ngx.shared_loads or {}
ngx.shared_loads = loads
loads[#loads + 1] = ...
>>> no.lua
local loads = ngx.shared_loads or {}
ngx.shared_loads = loads
loads[#loads + 1] = ...
return false
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(require "nothing", " ", require "nothing")
            ngx.say(require "no", " ", require "no")
            package.loaded.nothing = nil
            ngx.say(require "nothing")
            ngx.say(table.concat(ngx.shared_loads, " "))
        }
    }
--- request
GET /t
--- response_body
true true
false false
true
nothing no no nothing

=== TEST 3: a module that can't be found, one that asks for itself, and no name
--- http_config
    lua_package_path "$prefix/html/?.lua;";
    lua_package_cpath "$prefix/html/?.so";
--- user_files
>>> circle.lua
return require "circle"
--- config
    location = /t {
        content_by_lua_block {
            for _ = 1, 2 do
                ngx.say((select(2, pcall(require, "missing")):gsub("\n.*", "")))
                ngx.say((select(2, pcall(require, "circle")):gsub("^.-: ", "")))
            end
            ngx.say(select(2, pcall(function() local _ = require() end)))
            ngx.say(select(2, pcall(function() require(nil) end)))
        }
    }
--- request
GET /t
--- response_body_like chop
^module 'missing' not found:
loop or previous error loading module 'circle'
module 'missing' not found:
loop or previous error loading module 'circle'
content_by_lua\(nginx\.conf:\d+\):\d+: bad argument #1 to 'require' \(string expected, got nil\)
content_by_lua\(nginx\.conf:\d+\):\d+: bad argument #1 to 'require' \(string expected, got nil\)
$

=== TEST 4: an error in a handler that can't find its module names the handler's line
--- config
    location = /t {
        content_by_lua_block {
            local missing = require "missing"
        }
    }
--- request
GET /t
--- error_code: 500
--- response_body_like: 500 Internal Server Error
--- error_log eval
qr/runtime error: content_by_lua\(nginx\.conf:\d+\):2: module 'missing' not found/
