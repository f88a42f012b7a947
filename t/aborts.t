# Clients that leave before they are answered.
use Test::Nginx::Socket 'no_plan';

no_long_string();
run_tests();

__DATA__

=== TEST 1: without a check the code runs to its end
--- config
location /t {
    content_by_lua_block {
        ngx.sleep(0.3)
        ngx.log(ngx.WARN, "ran to its end")
    }
}
--- request
GET /t
--- timeout: 0.1
--- abort
--- wait: 0.5
--- ignore_response
--- error_log
ran to its end
--- no_error_log
[error]



=== TEST 2: with the check it ends where it waits
--- config
location /t {
    lua_check_client_abort on;
    content_by_lua_block {
        ngx.thread.spawn(function() ngx.sleep(0.3) ngx.log(ngx.WARN, "ran to its end") end)
        ngx.sleep(0.3)
        ngx.log(ngx.WARN, "ran to its end")
    }
    log_by_lua_block { ngx.log(ngx.WARN, "logged with status ", ngx.status) }
}
--- request
GET /t
--- timeout: 0.1
--- abort
--- wait: 0.5
--- ignore_response
--- error_log
logged with status 499
--- no_error_log
ran to its end



=== TEST 3: a callback runs beside what runs already, and may end the request
--- config
location /t {
    lua_check_client_abort on;
    access_by_lua_block {
        ngx.say(ngx.on_abort(function()
            ngx.log(ngx.WARN, "the client has left")
            ngx.sleep(0.01)
            ngx.exit(499)
        end))
        ngx.say(ngx.on_abort(function() end))
        ngx.sleep(0.3)
        ngx.log(ngx.WARN, "ran to its end")
    }
    content_by_lua_block { return }
}
--- request
GET /t
--- timeout: 0.1
--- abort
--- wait: 0.5
--- ignore_response
--- error_log
the client has left
--- no_error_log
ran to its end



=== TEST 4: the client is watched behind a body that was read, too
--- config
location /t {
    lua_check_client_abort on;
    content_by_lua_block {
        ngx.req.read_body()
        ngx.sleep(0.3)
        ngx.log(ngx.WARN, "ran to its end")
    }
    log_by_lua_block { ngx.log(ngx.WARN, "logged with status ", ngx.status) }
}
--- request
POST /t
hello
--- timeout: 0.1
--- abort
--- wait: 0.5
--- ignore_response
--- error_log
logged with status 499
--- no_error_log
ran to its end



=== TEST 5: a callback needs the check
--- config
location /t { content_by_lua_block { ngx.say(ngx.on_abort(function() end)) } }
--- request
GET /t
--- response_body
nillua_check_client_abort is off
--- no_error_log
[error]
