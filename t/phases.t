# The phases that Lua runs in: their order, what each may do, and what they share through ngx.ctx.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: a request passes the phases in nginx's order, and get_phase names each
--- http_config
    init_by_lua_block { trail = ngx.get_phase() }
    init_worker_by_lua_block { trail = trail .. " " .. ngx.get_phase() }
--- config
    location = /t {
        log_by_lua_block { ngx.log(ngx.WARN, "trail: ", ngx.ctx.trail, " ", ngx.get_phase(), ".") }
        body_filter_by_lua_block { if ngx.arg[2] then ngx.ctx.trail = ngx.ctx.trail .. " " .. ngx.get_phase() end }
        header_filter_by_lua_block { ngx.ctx.trail = ngx.ctx.trail .. " " .. ngx.get_phase() }
        content_by_lua_block { ngx.ctx.trail = ngx.ctx.trail .. " " .. ngx.get_phase() ngx.say("ok") }
        access_by_lua_block { ngx.ctx.trail = ngx.ctx.trail .. " " .. ngx.get_phase() }
        rewrite_by_lua_block { ngx.ctx.trail = trail .. " " .. ngx.get_phase() }
    }
--- request
GET /t
--- response_body
ok
--- error_log
trail: init init_worker rewrite access content header_filter body_filter log.

=== TEST 2: a global of init_by_lua is every request's, a handler's own global doesn't outlive it
--- http_config
    init_by_lua_block { shared = { n = 0 } }
--- config
    location = /t {
        content_by_lua_block { shared.n = shared.n + 1 ngx.say(shared.n, " ", type(shared)) }
    }
--- pipelined_requests eval
["GET /t", "GET /t", "GET /t"]
--- response_body eval
["1 table\n", "2 table\n", "3 table\n"]

=== TEST 3: an error in init_by_lua keeps nginx from starting
--- http_config
    init_by_lua_block {
        error("can't go on")
    }
--- config
--- must_die
--- error_log
can't go on

=== TEST 4: an error in init_worker_by_lua is logged, and the worker serves
--- http_config
    init_worker_by_lua_block { error("can't prepare") }
--- config
    location = /t { content_by_lua_block { ngx.say("ok") } }
--- request
GET /t
--- response_body
ok
--- error_log
can't prepare

=== TEST 5: init_by_lua and init_worker_by_lua from a string and a file
--- http_config
    init_by_lua 'a = "string"';
    init_worker_by_lua_file html/worker.lua;
--- config
    location = /t { content_by_lua_block { ngx.say(a, " ", b) } }
--- user_files
>>> worker.lua
b = "file " .. ngx.worker.id()
--- request
GET /t
--- response_body
string file 0

=== TEST 6: rewrite, access and content from a string and a file, with variables in its path
--- config
    location = /t {
        set $name access;
        rewrite_by_lua 'ngx.ctx.trail = "rewrite"';
        access_by_lua_file html/$name.lua;
        content_by_lua_file $document_root/content.lua;
    }
--- user_files
>>> access.lua
ngx.ctx.trail = ngx.ctx.trail .. " access"
>>> content.lua
ngx.say(ngx.ctx.trail, " content")
--- request
GET /t
--- response_body
rewrite access content

=== TEST 7: rewrite_by_lua runs after nginx's own rewrites, which a location inherits it in
--- config
    rewrite_by_lua_block { ngx.ctx.outer = ngx.var.v }
    location = /inherits { set $v "set"; content_by_lua_block { ngx.say("outer ", ngx.ctx.outer) } }
    location = /own { rewrite_by_lua_block { ngx.ctx.own = true } content_by_lua_block { ngx.say(ngx.ctx.outer, " ", ngx.ctx.own) } }
--- request eval
["GET /inherits", "GET /own"]
--- response_body eval
["outer set\n", "nil true\n"]

=== TEST 8: output in rewrite or access is the answer, and the later handlers don't run
--- config
    location = /rewrite { rewrite_by_lua_block { ngx.say("rewrite") } content_by_lua_block { ngx.log(ngx.ERR, "content ran") } }
    location = /access { access_by_lua_block { ngx.say("access") } content_by_lua_block { ngx.log(ngx.ERR, "content ran") } }
--- request eval
["GET /rewrite", "GET /access"]
--- response_body eval
["rewrite\n", "access\n"]
--- no_error_log
content ran

=== TEST 9: access_by_lua runs after allow and deny
--- config
    location = /t { deny all; access_by_lua_block { ngx.log(ngx.ERR, "access ran") } content_by_lua_block { ngx.say("in") } }
--- request
GET /t
--- error_code: 403
--- no_error_log
access ran

=== TEST 10: satisfy any lets either of access_by_lua and deny decide
--- config
    satisfy any;
    location = /lua_lets { deny all; access_by_lua_block { ngx.exit(ngx.OK) } content_by_lua_block { ngx.say("in") } }
    location = /both_refuse { deny all; access_by_lua_block { ngx.exit(403) } content_by_lua_block { ngx.say("in") } }
    location = /allow_lets { allow all; access_by_lua_block { ngx.exit(403) } content_by_lua_block { ngx.say("in") } }
    location = /after_sleep { deny all; access_by_lua_block { ngx.sleep(0.001) ngx.exit(ngx.OK) } content_by_lua_block { ngx.say("in") } }
--- request eval
["GET /lua_lets", "GET /both_refuse", "GET /allow_lets", "GET /after_sleep"]
--- error_code eval
[200, 403, 200, 200]

=== TEST 11: rewrite_by_lua and access_by_lua can wait, before a static file
--- config
    location /file.txt {
        rewrite_by_lua_block { ngx.sleep(0.005) ngx.req.read_body() }
        access_by_lua_block { ngx.sleep(0.005) ngx.ctx.ready = true }
        header_filter_by_lua_block { ngx.header.x_ready = ngx.ctx.ready }
    }
--- user_files
>>> file.txt
hello
--- request
GET /file.txt
--- response_headers
x-ready: true
--- response_body
hello

=== TEST 12: a location has its own handler, and none of the one around it
--- config
    location /t {
        location /t/inner { content_by_lua_block { ngx.say("inner") } }
        location /t/static { root html; }
        content_by_lua_block { ngx.say("outer ", ngx.var.uri) }
    }
--- request eval
["GET /t/other", "GET /t/inner", "GET /t/static"]
--- error_code eval
[200, 200, 404]
--- response_body_like eval
["^outer /t/other\n\$", "^inner\n\$", "404 Not Found"]

=== TEST 13: header_filter_by_lua changes status and headers of any handler's answer
--- config
    location = /t {
        return 200 "hello\n";
        header_filter_by_lua_block { ngx.status = 299 ngx.header.content_length = nil ngx.header.x_was = ngx.var.uri }
    }
--- request
GET /t
--- error_code: 299
--- response_headers
x-was: /t
! Content-Length
--- response_body
hello

=== TEST 14: an error in header_filter_by_lua is logged, and the client gets no good answer
--- config
    location = /t { return 200 "hello\n"; header_filter_by_lua_block { error("broken filter") } }
    location = /next { return 200 "lives\n"; }
--- raw_request eval
"GET /t HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
--- ignore_response
--- error_log
broken filter

=== TEST 15: body_filter_by_lua sees every piece and the end, and changes, drops and adds
--- config
    location = /upper { content_by_lua_block { ngx.print("a") ngx.flush(true) ngx.print("b") } body_filter_by_lua_block { ngx.arg[1] = ngx.arg[1]:upper() } }
    location = /drop { content_by_lua_block { ngx.print("a") ngx.flush(true) ngx.print("b") } body_filter_by_lua_block { if ngx.arg[1] == "a" then ngx.arg[1] = nil end } }
    location = /add { content_by_lua_block { ngx.print("a") } body_filter_by_lua_block { if ngx.arg[2] then ngx.arg[1] = ngx.arg[1] .. "+end" end } }
    location = /cut { content_by_lua_block { ngx.print("a") ngx.flush(true) ngx.print("b") } body_filter_by_lua_block { if ngx.arg[1] == "a" then ngx.arg[2] = true end } }
    location = /table { content_by_lua_block { ngx.print("a") } body_filter_by_lua_block { if ngx.arg[1] ~= "" then ngx.arg[1] = { "<", { ngx.arg[1], 1 }, ">" } end } }
--- request eval
["GET /upper", "GET /drop", "GET /add", "GET /cut", "GET /table"]
--- response_body eval
["AB", "b", "a+end", "a", "<a1>"]

=== TEST 16: body_filter_by_lua gets the body of a static file and of an upstream
--- config
    location /big.txt { header_filter_by_lua_block { ngx.header.content_length = nil } body_filter_by_lua_block { ngx.arg[1] = ngx.arg[1]:gsub("x", "y") } }
    location = /proxy { proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/big.txt; header_filter_by_lua_block { ngx.header.content_length = nil } body_filter_by_lua_block { ngx.arg[1] = ngx.arg[1]:gsub("y", "z") } }
--- user_files eval
[["big.txt" => "x" x 200000]]
--- request eval
["GET /big.txt", "GET /proxy"]
--- response_body eval
["y" x 200000, "z" x 200000]

=== TEST 17: log_by_lua runs after the answer, for errors and aborted handlers too
--- config
    log_by_lua_block { ngx.log(ngx.WARN, "logged ", ngx.var.uri, " ", ngx.status, ".") }
    location = /fails { content_by_lua_block { error("x") } }
    location = /exits { access_by_lua_block { ngx.exit(403) } }
    location = /static { return 204; }
--- request eval
["GET /fails", "GET /exits", "GET /static", "GET /none"]
--- error_code eval
[500, 403, 204, 404]
--- error_log eval
qr{logged (?:/fails 500|/exits 403|/static 204|/none 404)\.}

=== TEST 18: ngx.ctx starts empty in each request, and can be replaced whole
--- config
    location = /t {
        rewrite_by_lua_block { if ngx.ctx.seen then ngx.log(ngx.ERR, "not fresh") end ngx.ctx = { seen = 1 } }
        content_by_lua_block { local ctx = ngx.ctx ngx.say(ctx.seen, " ", ctx == ngx.ctx) ctx.seen = 2 }
        log_by_lua_block { ngx.log(ngx.WARN, "seen ", ngx.ctx.seen, ".") }
    }
--- request eval
["GET /t", "GET /t"]
--- response_body eval
["1 true\n", "1 true\n"]
--- error_log
seen 2.
--- no_error_log
not fresh

=== TEST 19: an internal redirect starts with a new ngx.ctx
--- config
    location = /t { content_by_lua_block { ngx.ctx.from = "t" ngx.exec("/next") } }
    location = /next { content_by_lua_block { ngx.say(ngx.ctx.from) ngx.ctx.from = "next" } log_by_lua_block { ngx.log(ngx.WARN, "from ", ngx.ctx.from, ".") } }
--- request
GET /t
--- response_body
nil
--- error_log
from next.

=== TEST 20: ngx.ctx is refused a value that isn't a table
--- config
    location = /t { content_by_lua_block { ngx.say((pcall(function() ngx.ctx = 1 end))) } }
--- request
GET /t
--- response_body
false

=== TEST 21: functions that a phase can't have say so with its name
--- http_config
    init_by_lua_block { init_say = select(2, pcall(ngx.say, "x")) init_sleep = select(2, pcall(ngx.sleep, 0)) }
--- config
    location = /t {
        content_by_lua_block { ngx.say(init_say) ngx.say(init_sleep) }
        header_filter_by_lua_block {
            for _, f in ipairs { "say", "print", "flush", "eof", "sleep", "exec", "redirect" } do
                ngx.log(ngx.WARN, "header ", f, ": ", (select(2, pcall(ngx[f]))))
            end
        }
        body_filter_by_lua_block { ngx.log(ngx.WARN, "body: ", (select(2, pcall(ngx.say, "x")))) ngx.log(ngx.WARN, "body: ", (select(2, pcall(ngx.sleep, 0)))) }
        log_by_lua_block { ngx.log(ngx.WARN, "log: ", (select(2, pcall(ngx.say, "x")))) ngx.log(ngx.WARN, "log: ", (select(2, pcall(ngx.sleep, 0)))) }
    }
--- request
GET /t
--- response_body_like chop
^.*(?:no request (?:object )?found|API disabled.*)
.*(?:no request found|API disabled.*)$
--- error_log
header say: API disabled in the context of header_filter_by_lua*
header print: API disabled in the context of header_filter_by_lua*
header flush: API disabled in the context of header_filter_by_lua*
body: API disabled in the context of body_filter_by_lua*
log: API disabled in the context of log_by_lua*

=== TEST 22: an error in rewrite_by_lua or access_by_lua is 500, and later phases don't run
--- config
    location = /rewrite { rewrite_by_lua_block { error("rewrite broke") } content_by_lua_block { ngx.log(ngx.ERR, "content ran") } }
    location = /access { access_by_lua_block { error("access broke") } content_by_lua_block { ngx.log(ngx.ERR, "content ran") } }
--- request eval
["GET /rewrite", "GET /access"]
--- error_code eval
[500, 500]
--- error_log eval
[qr/rewrite_by_lua\(nginx\.conf:\d+\):1: rewrite broke|access_by_lua\(nginx\.conf:\d+\):1: access broke/]
--- no_error_log
content ran

=== TEST 23: an if block in a location has its own handlers
--- config
    location = /t {
        if ($arg_a) { content_by_lua_block { ngx.say("with a") } }
        content_by_lua_block { ngx.say("without") }
    }
--- request eval
["GET /t?a=1", "GET /t"]
--- response_body eval
["with a\n", "without\n"]
