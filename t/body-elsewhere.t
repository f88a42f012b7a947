# A request that goes elsewhere while its body is on the way takes the whole body along; and bodies that turn out bad when the answer has begun.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();

our $Location = <<'END';
    location = /next { content_by_lua_block { ngx.req.read_body() ngx.say(ngx.req.get_body_data()) } }
    location = /proxy { proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/next; }
    location @named { content_by_lua_block { ngx.req.read_body() ngx.say("named ", ngx.req.get_body_data()) } }
END

our $Halves = [
    "POST /t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nConnection: close\r\n\r\nfirst",
    "later",
];

add_block_preprocessor(sub {
    my $block = shift;
    $block->set_value(config => $block->config . $main::Location);
    $block->set_value(raw_request_middle_delay => $ENV{TEST_NGINX_USE_VALGRIND} ? 2 : 0.1) if defined $block->raw_request;
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: ngx.exec while another thread reads the body: the next location has all of it
--- config
    location = /t {
        content_by_lua_block {
            ngx.thread.spawn(function() ngx.req.read_body() ngx.log(ngx.ERR, "read by who left") end)
            ngx.sleep(0.01)
            ngx.exec("/next")
        }
    }
--- raw_request eval: $::Halves
--- response_body
firstlater
--- no_error_log
[error]

=== TEST 2: so has an upstream, after ngx.exec in access
--- config
    location = /t {
        access_by_lua_block {
            ngx.thread.spawn(function() ngx.req.read_body() end)
            ngx.sleep(0.01)
            ngx.exec("/proxy")
        }
    }
--- raw_request eval: $::Halves
--- response_body
firstlater
--- no_error_log
[error]

=== TEST 3: and a named location
--- config
    location = /t {
        rewrite_by_lua_block {
            ngx.thread.spawn(function() ngx.req.read_body() end)
            ngx.exec("@named")
        }
    }
--- raw_request eval: $::Halves
--- response_body
named firstlater
--- no_error_log
[error]

=== TEST 4: and where ngx.req.set_uri jumps to
--- config
    location = /t {
        rewrite_by_lua_block {
            ngx.thread.spawn(function() ngx.req.read_body() end)
            ngx.req.set_uri("/proxy", true)
        }
    }
--- raw_request eval: $::Halves
--- response_body
firstlater
--- no_error_log
[error]

=== TEST 5: a phase that gave the body up and returns, or exits to let the request pass, is followed by the next with all of it
--- config
    location = /t {
        rewrite_by_lua_block {
            local t = ngx.thread.spawn(function() ngx.req.read_body() end)
            ngx.sleep(0.001)
            ngx.thread.kill(t)
            local ended = ngx.thread.spawn(function() ngx.req.read_body() end)
            ngx.exit(ngx.OK)
        }
        access_by_lua_block { ngx.ctx.length = #ngx.req.get_body_data() }
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/next;
        header_filter_by_lua_block { ngx.header.x_length = ngx.ctx.length }
    }
--- raw_request eval: $::Halves
--- response_body
firstlater
--- response_headers
x-length: 10
--- no_error_log
[error]

=== TEST 6: the rest of a body that is bad is answered with 400, and the next location does not run
--- config
    location = /t {
        content_by_lua_block {
            ngx.thread.spawn(function() ngx.req.read_body() end)
            ngx.exec("/after")
        }
    }
    location = /after { content_by_lua_block { ngx.log(ngx.ERR, "went on") } }
--- raw_request eval
["POST /t HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n", "ZZ\r\n"]
--- error_code: 400
--- no_error_log
went on
[alert]

=== TEST 7: an answer ends a request whose body is on the way without waiting for that
--- config
    location = /t {
        content_by_lua_block {
            ngx.thread.spawn(function() ngx.req.read_body() end)
            ngx.exit(403)
        }
    }
--- raw_request eval: [$::Halves->[0]]
--- error_code: 403
--- response_body_like: 403 Forbidden
--- no_error_log
[error]

=== TEST 8: a body that turns out bad after a flush ends the connection, without a second header
--- config
    location = /t { content_by_lua_block { ngx.print("begun") ngx.flush(true) ngx.req.read_body() ngx.log(ngx.ERR, "went on") } }
--- raw_request eval
["POST /t HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n", "ZZ\r\n"]
--- ignore_response
--- error_log
client sent invalid chunked body
--- no_error_log
went on
header already sent
[alert]

=== TEST 9: one that turns out good is read after a flush, and the next is too
--- config
    location = /t { content_by_lua_block { ngx.print("begun ") ngx.flush(true) ngx.req.read_body() ngx.say(ngx.req.get_body_data()) } }
--- raw_request eval
["POST /t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15\r\nConnection: close\r\n\r\nfirst", "-then", "-last"]
--- response_body
begun first-then-last
--- no_error_log
[alert]

=== TEST 10: over HTTP/2 one is read after a flush, and taken along
--- http2
--- config
    location = /t { client_body_buffer_size 1m; content_by_lua_block { ngx.print("begun ") ngx.flush(true) ngx.req.read_body() ngx.say(#ngx.req.get_body_data()) } }
    location = /u {
        client_body_buffer_size 1m;
        access_by_lua_block {
            ngx.thread.spawn(function() ngx.req.read_body() end)
            ngx.sleep(0)
            ngx.exec("/length")
        }
    }
    location = /length { content_by_lua_block { ngx.req.read_body() ngx.say(#ngx.req.get_body_data()) } }
--- request eval
["POST /t\n" . "x" x 300000, "POST /u\n" . "x" x 300000]
--- response_body eval
["begun 300000\n", "300000\n"]
--- no_error_log
[error]


=== TEST 11: an error page of Lua reads the whole of a body that a light thread had begun to read
--- config
    location = /t {
        error_page 503 = /next;
        content_by_lua_block {
            ngx.thread.spawn(function() ngx.req.read_body() ngx.log(ngx.ERR, "read by who left") end)
            ngx.sleep(0.01)
            ngx.exit(503)
        }
    }
--- raw_request eval: $::Halves
--- error_code: 503
--- response_body
firstlater
--- no_error_log
[error]



=== TEST 12: and so it does when the request failed before it had waited
--- config
    location = /t {
        error_page 500 = /next;
        content_by_lua_block {
            ngx.thread.spawn(function() ngx.req.read_body() end)
            error("fails")
        }
    }
--- raw_request eval: $::Halves
--- response_body
firstlater
--- error_log
fails
--- no_error_log
[alert]
