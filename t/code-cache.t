# lua_code_cache: when a changed file or module takes effect. And where modules are looked for.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();

# Handlers change files with write(NAME, CONTENT), and read with the module that is tested.
our $HttpConfig = <<'END';
    lua_package_path '$prefix/html/?.lua;;';
    init_by_lua_block {
        function write(name, content)
            local f = assert(io.open(ngx.config.prefix() .. "html/" .. name, "w"))
            f:write(content)
            f:close()
        end
    }
END

run_tests();

__DATA__

=== TEST 1: with the cache off, a changed file takes effect on the next request
--- http_config
    lua_code_cache off;
--- config
    location = /write {
        content_by_lua_block {
            local f = assert(io.open(ngx.config.prefix() .. "html/page.lua", "w"))
            f:write("ngx.say('second')")
            f:close()
            ngx.say("written")
        }
    }
    location = /page { content_by_lua_file html/page.lua; }
--- user_files
>>> page.lua
ngx.say("first")
--- request eval
["GET /page", "GET /write", "GET /page"]
--- response_body eval
["first\n", "written\n", "second\n"]

=== TEST 2: with the cache off, a changed module takes effect on the next request, and no state stays
--- http_config
    lua_code_cache off;
    lua_package_path '$prefix/html/?.lua;;';
--- config
    location = /write {
        content_by_lua_block {
            local f = assert(io.open(ngx.config.prefix() .. "html/mod.lua", "w"))
            f:write("return { name = 'second', n = 0 }")
            f:close()
            ngx.say("written")
        }
    }
    location = /mod { content_by_lua_block { local m = require "mod" m.n = m.n + 1 ngx.say(m.name, m.n) } }
--- user_files
>>> mod.lua
return { name = "first", n = 0 }
--- request eval
["GET /mod", "GET /mod", "GET /write", "GET /mod"]
--- response_body eval
["first1\n", "first1\n", "written\n", "second1\n"]

=== TEST 3: with the cache on, files and modules are read once, and a module's state stays
--- http_config eval: $::HttpConfig
--- config
    location = /write {
        content_by_lua_block {
            write("page.lua", "ngx.say('second')")
            write("mod.lua", "return { name = 'second', n = 0 }")
            ngx.say("written")
        }
    }
    location = /page { content_by_lua_file html/page.lua; }
    location = /mod { content_by_lua_block { local m = require "mod" m.n = m.n + 1 ngx.say(m.name, m.n) } }
--- user_files
>>> page.lua
ngx.say("first")
>>> mod.lua
return { name = "first", n = 0 }
--- request eval
["GET /page", "GET /mod", "GET /write", "GET /page", "GET /mod"]
--- response_body eval
["first\n", "first1\n", "written\n", "first\n", "first2\n"]

=== TEST 4: with the cache on, a file that is broken stays an error until it is read anew, one that was missing is found
--- http_config eval: $::HttpConfig
--- config
    location = /write { content_by_lua_block { write("late.lua", "ngx.say('there')") ngx.say("written") } }
    location = /late { content_by_lua_file html/late.lua; }
--- request eval
["GET /late", "GET /write", "GET /late"]
--- error_code eval
[404, 200, 200]
--- response_body_like eval
["404 Not Found", "^written\n\$", "^there\n\$"]

=== TEST 5: the cache can be off in one location only
--- http_config eval: $::HttpConfig
--- config
    location = /write { content_by_lua_block { write("page.lua", "ngx.say('second')") ngx.say("written") } }
    location = /on { content_by_lua_file html/page.lua; }
    location = /off { lua_code_cache off; content_by_lua_file html/page.lua; }
--- user_files
>>> page.lua
ngx.say("first")
--- request eval
["GET /on", "GET /off", "GET /write", "GET /on", "GET /off"]
--- response_body eval
["first\n", "first\n", "written\n", "first\n", "second\n"]

=== TEST 6: two locations of the same file share what was compiled, but not their locals
--- http_config eval: $::HttpConfig
--- config
    location = /a { content_by_lua_file html/counter.lua; }
    location = /b { content_by_lua_file html/counter.lua; }
--- user_files
>>> counter.lua
local n = 0
n = n + 1
ngx.say(n)
--- request eval
["GET /a", "GET /b", "GET /a"]
--- response_body eval
["1\n", "1\n", "1\n"]

=== TEST 7: $prefix stands for nginx's folder, and ;; for the default path
--- http_config
    lua_package_path '$prefix/html/?.lua;/elsewhere/?.lua;;';
    lua_package_cpath '/elsewhere/?.so;;';
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(package.path:sub(1, #ngx.config.prefix()) == ngx.config.prefix(), " ", package.path:find("$prefix", 1, true))
            ngx.say(package.path:find("/html/?.lua;/elsewhere/?.lua;", 1, true) ~= nil, " ", package.path:find("/usr/share/lua/5.1/?.lua", 1, true) ~= nil)
            ngx.say(package.cpath:find("/elsewhere/?.so;", 1, true), " ", #package.cpath > #"/elsewhere/?.so;", " ", package.path:find(";;", 1, true))
        }
    }
--- request
GET /t
--- response_body
true nil
true true
1 true nil

=== TEST 8: without ;; the path is what is given, and nothing else
--- http_config
    lua_package_path '/only/?.lua';
--- config
    location = /t { content_by_lua_block { ngx.say(package.path:sub(-#"/only/?.lua")) ngx.say((pcall(require, "none"))) } }
--- request
GET /t
--- response_body
/only/?.lua
false
