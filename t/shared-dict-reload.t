# Shared dictionaries when the configuration is read anew.

use strict;
use warnings;

BEGIN { $ENV{TEST_NGINX_USE_HUP} = 1 }

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: before
--- http_config
    lua_shared_dict dict 1m;
    lua_shared_dict other 1m;
--- config
    location = /t {
        content_by_lua_block {
            local dict = ngx.shared.dict
            dict:set("k", "before")
            dict:lpush("l", "item")
            ngx.shared.other:set("k", "other")
            ngx.say("stored")
        }
    }
--- request
GET /t
--- response_body
stored
--- no_error_log
[error]

=== TEST 2: contents stay, and init_by_lua sees them
--- http_config
    lua_shared_dict other 1m;
    lua_shared_dict dict 1m;
    init_by_lua_block { seen = ngx.shared.dict:get("k") ngx.shared.dict:set("init", "stored by the master") }
--- config
    location = /t {
        content_by_lua_block {
            local dict = ngx.shared.dict
            ngx.say(seen, " ", dict:get("k"), " ", dict:lpop("l"), " ", dict:get("init"), " ", ngx.shared.other:get("k"))
        }
    }
--- request
GET /t
--- response_body
before before item stored by the master other
--- no_error_log
[error]

=== TEST 3: when init_by_lua fails the workers go on, with what it changed
--- http_config
    lua_shared_dict dict 1m;
    lua_shared_dict other 1m;
    init_by_lua_block { ngx.shared.dict:set("k", "changed") error("not this one") }
--- config
    location = /t { content_by_lua_block { ngx.say("never") } }
--- request
GET /t
--- reload_fails
--- response_body
before changed nil stored by the master other
--- error_log
not this one

=== TEST 4: another size makes a new dictionary
--- http_config
    lua_shared_dict dict 2m;
    lua_shared_dict other 1m;
--- config
    location = /t { content_by_lua_block { ngx.say(ngx.shared.dict:get("init"), " ", ngx.shared.other:get("k")) } }
--- request
GET /t
--- response_body
nil other
--- no_error_log
[error]
