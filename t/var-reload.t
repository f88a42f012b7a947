# nginx's variables when one process reads its configuration anew: what is found by a name changes with it.

use strict;
use warnings;

BEGIN { $ENV{TEST_NGINX_USE_HUP} = 1 }

use Test::Nginx::Socket;

plan 'no_plan';
master_off();
no_shuffle();
run_tests();

__DATA__

=== TEST 1: before
--- config
    set $first 1;
    set $second 2;
    location = /t { content_by_lua_block { ngx.say(ngx.var.first, " ", ngx.var.second, " ", ngx.var.third) } }
--- request
GET /t
--- response_body
1 2 nil

=== TEST 2: in another order, and with others before
--- config
    set $third three;
    set $second two;
    set $first one;
    location = /t { content_by_lua_block { ngx.say(ngx.var.first, " ", ngx.var.second, " ", ngx.var.third) } }
--- request
GET /t
--- response_body
one two three

=== TEST 3: and one of them gone
--- config
    set $second 2;
    location = /t { content_by_lua_block { ngx.say(ngx.var.first, " ", ngx.var.second, " ", ngx.var.third) } }
--- request
GET /t
--- response_body
nil 2 nil
