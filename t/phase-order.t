# When code of a phase runs among what nginx's own modules do in it, and what it decides.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
no_long_string();
run_tests();

__DATA__

=== TEST 1: server_rewrite runs once, before the server's own rewrites
--- config
    set $seen "set";
    server_rewrite_by_lua_block {
        ngx.req.set_header("X-Count", (tonumber(ngx.var.http_x_count) or 0) + 1)
        ngx.req.set_header("X-Seen", ngx.var.seen .. " " .. ngx.get_phase())
        if ngx.var.uri == "/from" then ngx.req.set_uri("/to") end
    }
    location = /from { return 200 "from\n"; }
    location = /to { content_by_lua_block { ngx.say("to ", ngx.var.http_x_seen, " ", ngx.var.http_x_count) } }
    location = /jump { rewrite ^ /to last; }
--- request eval: ["GET /from", "GET /jump"]
--- response_body eval: ["to  server_rewrite 1\n", "to  server_rewrite 1\n"]

=== TEST 2: rewrite runs after the location's rewrites, which may send the request elsewhere first
--- config
    location = /a { set $v 1; rewrite_by_lua_block { ngx.ctx.v = ngx.var.v } set $v 2; content_by_lua_block { ngx.say(ngx.ctx.v) } }
    location = /b { rewrite ^ /c last; rewrite_by_lua_block { ngx.log(ngx.ALERT, "not here") } }
    location = /c { rewrite_by_lua_block { ngx.ctx.c = 1 } content_by_lua_block { ngx.say("c ", ngx.ctx.c) } }
    location = /d { return 403; rewrite_by_lua_block { ngx.log(ngx.ALERT, "not here") } }
--- request eval: ["GET /a", "GET /b", "GET /d"]
--- error_code eval: [200, 200, 403]
--- response_body_like eval: ["^2\$", "^c 1\$", "403"]
--- no_error_log
[alert]

=== TEST 3: with rewrite_by_lua_no_postpone it runs before them
--- http_config
    rewrite_by_lua_no_postpone on;
--- config
    location = /a { set $v 1; rewrite_by_lua_block { ngx.ctx.v = ngx.var.v ngx.var.v = "lua" } content_by_lua_block { ngx.say("[", ngx.ctx.v, "] ", ngx.var.v) } }
    location = /b { rewrite ^ /c last; rewrite_by_lua_block { ngx.req.set_header("X-First", ngx.var.uri) } }
    location = /c { return 200 "c after $http_x_first\n"; }
    location = /d { return 403; rewrite_by_lua_block { ngx.exit(444 - 40) } }
--- request eval: ["GET /a", "GET /b", "GET /d"]
--- error_code eval: [200, 200, 404]
--- response_body_like eval: ["^\\[\\] 1\$", "^c after /b\$", "404"]

=== TEST 4: access runs after allow, deny and auth_basic have let the request in
--- config
    location = /deny { deny all; access_by_lua_block { ngx.log(ngx.ALERT, "not here") } content_by_lua_block { ngx.say("in") } }
    location = /auth { auth_basic "x"; auth_basic_user_file /dev/null; access_by_lua_block { ngx.log(ngx.ALERT, "not here") } content_by_lua_block { ngx.say("in") } }
    location = /allow { allow all; access_by_lua_block { ngx.header.x = "access" } content_by_lua_block { ngx.say("in") } }
--- request eval: ["GET /deny", "GET /auth", "GET /allow"]
--- error_code eval: [403, 401, 200]
--- no_error_log
[alert]

=== TEST 5: with access_by_lua_no_postpone it runs before them
--- http_config
    access_by_lua_no_postpone on;
--- config
    location = /deny { deny all; access_by_lua_block { ngx.header.x = "ran first" } content_by_lua_block { ngx.say("in") } }
    location = /exit { deny all; access_by_lua_block { ngx.exit(410) } content_by_lua_block { ngx.say("in") } }
    # The status 200 is an answer, ngx.OK only lets the request pass.
    location = /pass { deny all; access_by_lua_block { ngx.exit(ngx.OK) } content_by_lua_block { ngx.say("in") } }
    location = /answer { deny all; access_by_lua_block { ngx.say("answer") ngx.exit(200) } content_by_lua_block { ngx.say("in") } }
--- request eval: ["GET /deny", "GET /exit", "GET /pass", "GET /answer"]
--- error_code eval: [403, 410, 403, 200]
--- response_body_like eval: ["403", "410", "403", "^answer\$"]
--- response_headers eval: ["x: ran first", "", "", ""]

=== TEST 6: satisfy any: the first that lets the request in decides, whichever it is; refusals are kept until all have refused
--- config
    location /any/ {
        satisfy any;
        location = /any/lua { deny all; access_by_lua_block { } return 200 ""; content_by_lua_block { ngx.say("in") } }
        location = /any/returns { deny all; access_by_lua_block { ngx.ctx.x = 1 } content_by_lua_block { ngx.say("in") } }
        location = /any/exits { deny all; access_by_lua_block { ngx.exit(ngx.OK) } content_by_lua_block { ngx.say("in") } }
        location = /any/declines { deny all; access_by_lua_block { ngx.exit(ngx.DECLINED) } content_by_lua_block { ngx.say("in") } }
        location = /any/both { deny all; access_by_lua_block { ngx.exit(403) } content_by_lua_block { ngx.say("in") } }
        location = /any/401 { deny all; access_by_lua_block { ngx.exit(401) } content_by_lua_block { ngx.say("in") } }
        location = /any/allow { allow all; access_by_lua_block { ngx.log(ngx.ALERT, "not asked") } content_by_lua_block { ngx.say("in") } }
        location = /any/other { deny all; access_by_lua_block { ngx.exit(410) } content_by_lua_block { ngx.say("in") } }
        location = /any/waits { deny all; access_by_lua_block { ngx.sleep(0.001) } content_by_lua_block { ngx.say("in") } }
        location = /any/error { deny all; access_by_lua_block { error("broken") } content_by_lua_block { ngx.say("in") } }
    }
--- request eval: [map { "GET /any/$_" } qw(returns exits declines both 401 allow other waits error)]
--- error_code eval: [200, 200, 403, 403, 401, 200, 410, 200, 500]
--- no_error_log
not asked

=== TEST 7: satisfy all: each has to let it in
--- config
    location = /lua { allow all; access_by_lua_block { ngx.exit(403) } content_by_lua_block { ngx.say("in") } }
    location = /deny { deny all; access_by_lua_block { ngx.exit(ngx.OK) } content_by_lua_block { ngx.say("in") } }
    location = /both { allow all; access_by_lua_block { ngx.exit(ngx.OK) } content_by_lua_block { ngx.say("in") } }
    location = /401 { allow all; access_by_lua_block { ngx.header.www_authenticate = "Basic" ngx.exit(401) } content_by_lua_block { ngx.say("in") } }
--- request eval: ["GET /lua", "GET /deny", "GET /both", "GET /401"]
--- error_code eval: [403, 403, 200, 401]

=== TEST 8: precontent runs after access and after try_files, and before the content
--- config
    location = /t {
        access_by_lua_block { ngx.ctx.trail = "access" }
        precontent_by_lua_block { ngx.sleep(0.001) ngx.ctx.trail = ngx.ctx.trail .. " " .. ngx.get_phase() }
        content_by_lua_block { ngx.say(ngx.ctx.trail) }
    }
    location = /found { try_files /file.txt =404; precontent_by_lua_block { ngx.log(ngx.WARN, "uri ", ngx.var.uri, ".") } }
    location = /elsewhere { try_files /none.txt /t; precontent_by_lua_block { ngx.log(ngx.ALERT, "not here") } }
    location = /none { try_files /none.txt =404; precontent_by_lua_block { ngx.log(ngx.ALERT, "not here") } }
--- user_files
>>> file.txt
file
--- request eval: ["GET /t", "GET /found", "GET /elsewhere", "GET /none"]
--- error_code eval: [200, 200, 200, 404]
--- response_body_like eval: ["^access precontent\$", "^file\$", "^access precontent\$", "404"]
--- no_error_log
[alert]

=== TEST 9: with precontent_by_lua_no_postpone it runs before try_files
--- http_config
    precontent_by_lua_no_postpone on;
--- config
    location = /found { try_files /file.txt =404; precontent_by_lua_block { ngx.header.x_uri = ngx.var.uri } }
    location = /none { try_files /none.txt =404; precontent_by_lua_block { ngx.exit(410) } }
--- user_files
>>> file.txt
file
--- request eval: ["GET /found", "GET /none"]
--- error_code eval: [200, 410]
--- response_headers eval: ["x-uri: /found", ""]

=== TEST 10: precontent answers, refuses, redirects and fails like the phases before it
--- config
    location = /says { precontent_by_lua_block { ngx.say("precontent") } content_by_lua_block { ngx.log(ngx.ALERT, "not here") } }
    location = /exits { precontent_by_lua_block { ngx.exit(403) } content_by_lua_block { ngx.log(ngx.ALERT, "not here") } }
    location = /execs { precontent_by_lua_block { ngx.exec("/says") } content_by_lua_block { ngx.log(ngx.ALERT, "not here") } }
    location = /redirects { precontent_by_lua_block { ngx.redirect("/says") } content_by_lua_block { ngx.log(ngx.ALERT, "not here") } }
    location = /fails { precontent_by_lua_block { error("broken") } content_by_lua_block { ngx.log(ngx.ALERT, "not here") } }
    location = /passes { precontent_by_lua_block { ngx.exit(ngx.OK) } content_by_lua_block { ngx.say("passed") } }
    location = /captures { precontent_by_lua_block { ngx.ctx.sub = ngx.location.capture("/says").body } content_by_lua_block { ngx.print(ngx.ctx.sub) } }
--- request eval: [map { "GET /$_" } qw(says exits execs redirects fails passes captures)]
--- error_code eval: [200, 403, 200, 302, 500, 200, 200]
--- response_body_like eval: ["^precontent\$", "403", "^precontent\$", "302", "500", "^passed\$", "^precontent\$"]
--- no_error_log
[alert]

=== TEST 11: log runs after access_log has the request, the filters see what every handler answers
--- config
    location = /t {
        return 200 "nginx\n";
        header_filter_by_lua_block { ngx.header.x_length = ngx.header.content_length ngx.header.content_length = nil }
        body_filter_by_lua_block { ngx.arg[1] = ngx.arg[1]:upper() }
        log_by_lua_block { ngx.log(ngx.WARN, "sent ", ngx.var.body_bytes_sent, " ", ngx.header.x_length, ".") }
    }
--- request
GET /t
--- response_body
NGINX
--- response_headers
x-length: 6
--- error_log eval: qr/sent \d+ 6\./

=== TEST 12: ngx.exit in rewrite: ngx.OK goes on, a status answers, ngx.ERROR closes
--- config
    location = /ok { rewrite_by_lua_block { ngx.exit(ngx.OK) } content_by_lua_block { ngx.say("went on") } }
    location = /declined { rewrite_by_lua_block { ngx.exit(ngx.DECLINED) } content_by_lua_block { ngx.say("went on") } }
    location = /204 { rewrite_by_lua_block { ngx.exit(204) } content_by_lua_block { ngx.log(ngx.ALERT, "not here") } }
    location = /200 { rewrite_by_lua_block { ngx.exit(200) } content_by_lua_block { ngx.log(ngx.ALERT, "not here") } }
    location = /500 { rewrite_by_lua_block { ngx.exit(500) } content_by_lua_block { ngx.log(ngx.ALERT, "not here") } }
--- request eval: ["GET /ok", "GET /declined", "GET /204", "GET /200", "GET /500"]
--- error_code eval: [200, 200, 204, 200, 500]
--- response_body_like eval: ["^went on\$", "^went on\$", "^\$", "^\$", "500"]
--- no_error_log
[alert]

=== TEST 13: a phase that nginx has with patches only is refused by name
--- config
    location = /t { proxy_ssl_verify_by_lua_block { return } return 200; }
--- must_die
--- error_log eval
qr/\[emerg\] .*"proxy_ssl_verify_by_lua_block" is for a phase that nginx\/[\d.]+ doesn't have: it needs OpenResty's patches in .*nginx\.conf:\d+/

=== TEST 14: ngx.req.set_uri jumps in server_rewrite and rewrite, and is refused later
--- config
    server_rewrite_by_lua_block { if ngx.var.uri == "/a" then ngx.req.set_uri_args("q=server") ngx.req.set_uri("/end", true) ngx.log(ngx.ALERT, "went on") end }
    location = /a { return 500; }
    location = /b { rewrite_by_lua_block { ngx.req.set_uri_args("q=location") ngx.req.set_uri("/end", true) ngx.log(ngx.ALERT, "went on") } content_by_lua_block { ngx.exit(500) } }
    location = /b2 { rewrite_by_lua_block { ngx.req.set_uri("/b", true) } }
    location = /end { content_by_lua_block { ngx.say(ngx.var.uri, " ", ngx.var.args) } }
    location = /loop { rewrite_by_lua_block { ngx.req.set_uri("/loop", true) } }
    location = /late { access_by_lua_block { ngx.header.x = select(2, pcall(ngx.req.set_uri, "/end", true)) } content_by_lua_block { ngx.say("late") } }
--- request eval: ["GET /a", "GET /b2", "GET /loop", "GET /late"]
--- error_code eval: [200, 200, 500, 200]
--- response_body_like eval: ["^/end q=server\$", "^/end q=location\$", "500", "^late\$"]
--- response_headers eval: ["", "", "", "x: API disabled in the context of access_by_lua*"]
--- no_error_log
[alert]
