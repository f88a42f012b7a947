# Where a phase's code stands, and for what requests it runs: levels of the configuration, if blocks, named and internal locations,
# subrequests, error pages; and the phases of a worker.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
no_long_string();
run_tests();

__DATA__

=== TEST 1: code of http is every location's, until a server or a location has its own; each phase by itself
--- http_config
    rewrite_by_lua_block { ngx.ctx.rewrite = "http" }
    access_by_lua_block { ngx.ctx.access = "http" }
    precontent_by_lua_block { ngx.ctx.precontent = "http" }
    header_filter_by_lua_block { ngx.header.x_where = (ngx.ctx.rewrite or "-") .. " " .. (ngx.ctx.access or "-") .. " " .. (ngx.ctx.precontent or "-") .. " http" }
    body_filter_by_lua_block { ngx.arg[1] = ngx.arg[1]:gsub("body", "http") }
    log_by_lua_block { ngx.log(ngx.WARN, "logged in http: ", ngx.var.uri, ".") }
--- config
    access_by_lua_block { ngx.ctx.access = "server" }
    location = /none { content_by_lua_block { ngx.say("body") } }
    location = /own {
        rewrite_by_lua_block { ngx.ctx.rewrite = "location" }
        body_filter_by_lua_block { ngx.arg[1] = ngx.arg[1]:gsub("body", "location") }
        content_by_lua_block { ngx.say("body") }
    }
    location /outer/ {
        rewrite_by_lua_block { ngx.ctx.rewrite = "outer" }
        precontent_by_lua_block { ngx.ctx.precontent = "outer" }
        location = /outer/inner { precontent_by_lua_block { ngx.ctx.precontent = "inner" } content_by_lua_block { ngx.say("body") } }
    }
--- request eval: ["GET /none", "GET /own", "GET /outer/inner"]
--- response_headers eval: ["x-where: http server http http", "x-where: location server http http", "x-where: outer server inner http"]
--- response_body eval: ["http\n", "location\n", "http\n"]
--- error_log eval
[qr{logged in http: (?:/none|/own|/outer/inner)\.}]

=== TEST 2: server_rewrite of http and of a server
--- http_config
    server_rewrite_by_lua_block { ngx.ctx.where = "http" }
    server { listen unix:$TEST_NGINX_SERVER_ROOT/other.sock; location / { content_by_lua_block { ngx.say(ngx.ctx.where) } } }
--- config
    server_rewrite_by_lua_file html/server.lua;
    location = /t { content_by_lua_block { ngx.say(ngx.ctx.where) } }
    location = /other { proxy_pass http://unix:$TEST_NGINX_SERVER_ROOT/other.sock:/; }
--- user_files
>>> server.lua
ngx.ctx.where = "server"
--- request eval: ["GET /t", "GET /other"]
--- response_body eval: ["server\n", "http\n"]

=== TEST 3: a second of a phase in one place is refused
--- config
    location = /t { access_by_lua_block { } access_by_lua_file a.lua; }
--- must_die
--- error_log
"access_by_lua_file" directive is duplicate

=== TEST 4: directives are refused where their phase has no place
--- config
    content_by_lua_block { }
--- must_die
--- error_log
"content_by_lua_block" directive is not allowed here

=== TEST 5: so is server_rewrite in a location
--- config
    location = /t { server_rewrite_by_lua_block { } }
--- must_die
--- error_log
"server_rewrite_by_lua_block" directive is not allowed here

=== TEST 6: and init in a server
--- config
    init_by_lua_block { }
--- must_die
--- error_log
"init_by_lua_block" directive is not allowed here

=== TEST 7: every phase from a string, a block and a file, whose path may have variables
--- http_config
    init_by_lua_file html/init.lua;
    init_worker_by_lua 'worker = init .. " init_worker"';
--- config
    location = /strings {
        set $dir html;
        rewrite_by_lua 'ngx.ctx.t = "rewrite"';
        access_by_lua "ngx.ctx.t = ngx.ctx.t .. ' access'";
        content_by_lua 'ngx.say(worker, " ", ngx.ctx.t, " content")';
        header_filter_by_lua 'ngx.header.x = ngx.get_phase()';
        body_filter_by_lua 'ngx.arg[1] = ngx.arg[1]:upper()';
        log_by_lua 'ngx.log(ngx.WARN, "logged by a string.")';
    }
    location = /files {
        set $dir html;
        set $phase "";
        rewrite_by_lua_file $dir/trail.lua;
        access_by_lua_file html/trail.lua;
        precontent_by_lua_file $document_root/trail.lua;
        content_by_lua_file $dir/content.lua;
        header_filter_by_lua_file $dir/header.lua;
        body_filter_by_lua_file html/body.lua;
        log_by_lua_file $dir/log.lua;
    }
--- user_files
>>> init.lua
init = "init"
>>> trail.lua
ngx.ctx.t = (ngx.ctx.t and ngx.ctx.t .. " " or "") .. ngx.get_phase()
>>> content.lua
ngx.say(ngx.ctx.t, " ", ngx.get_phase())
>>> header.lua
ngx.header.x = ngx.get_phase()
>>> body.lua
ngx.arg[1] = ngx.arg[1]:upper()
>>> log.lua
ngx.log(ngx.WARN, "logged by a file.")
--- request eval: ["GET /strings", "GET /files"]
--- response_body eval: ["INIT INIT_WORKER REWRITE ACCESS CONTENT\n", "REWRITE ACCESS PRECONTENT CONTENT\n"]
--- response_headers eval: [("x: header_filter") x 2]
--- error_log eval: qr/logged by a (?:string|file)\./

=== TEST 8: an if block has the code around it but for what it has itself, and its own handler
--- config
    location = /t {
        rewrite_by_lua_block { ngx.ctx.rewrite = "location" }
        access_by_lua_block { ngx.ctx.access = "location" }
        header_filter_by_lua_block { ngx.header.x = (ngx.ctx.rewrite or "-") .. " " .. (ngx.ctx.access or "-") .. " " .. (ngx.ctx.content or "-") }
        content_by_lua_block { ngx.ctx.content = "location" ngx.say("location") }
        if ($arg_a) { access_by_lua_block { ngx.ctx.access = "if" } }
        if ($arg_b) { content_by_lua_block { ngx.ctx.content = "if" ngx.say("if") } }
        if ($arg_c) { rewrite_by_lua_block { ngx.ctx.rewrite = "if" } set $c 1; }
    }
--- request eval: ["GET /t", "GET /t?a=1", "GET /t?b=1", "GET /t?c=1"]
--- response_headers eval
["x: location location location", "x: location if location", "x: location location if", "x: if location location"]

=== TEST 9: internal locations are reached by ngx.exec, captures, error pages and jumps, not by clients
--- config
    location = /i { internal; rewrite_by_lua_block { ngx.ctx.i = 1 } access_by_lua_block { ngx.ctx.a = 1 } content_by_lua_block { ngx.say("internal ", ngx.req.is_internal(), " ", ngx.ctx.i, " ", ngx.ctx.a) } }
    location = /exec { content_by_lua_block { ngx.exec("/i") } }
    location = /capture { content_by_lua_block { ngx.print(ngx.location.capture("/i").body) } }
    location = /jump { rewrite_by_lua_block { ngx.req.set_uri("/i", true) } }
    location = /error { error_page 410 =200 /i; return 410; }
--- request eval: ["GET /i", "GET /exec", "GET /capture", "GET /jump", "GET /error"]
--- error_code eval: [404, 200, 200, 200, 200]
--- response_body_like eval: ["404", "^internal true 1 1\$", "^internal true 1 nil\$", "^internal true 1 1\$", "^internal true 1 1\$"]

=== TEST 10: a named location runs rewrite, access, precontent, content, filters and log of its own, server_rewrite not again
--- config
    server_rewrite_by_lua_block { ngx.req.set_header("X-Trail", (ngx.var.http_x_trail or "") .. "s") }
    location = /t { rewrite_by_lua_block { ngx.req.set_header("X-Trail", ngx.var.http_x_trail .. "r") } content_by_lua_block { ngx.exec("@named") } }
    location = /try { try_files /none @named; }
    location = /page { error_page 410 =200 @named; return 410; }
    location @named {
        rewrite_by_lua_block { ngx.req.set_header("X-Trail", ngx.var.http_x_trail .. "R") }
        access_by_lua_block { ngx.req.set_header("X-Trail", ngx.var.http_x_trail .. "A") }
        precontent_by_lua_block { ngx.req.set_header("X-Trail", ngx.var.http_x_trail .. "P") }
        content_by_lua_block { ngx.say(ngx.var.uri, " ", ngx.var.http_x_trail) }
        header_filter_by_lua_block { ngx.header.x = "named" }
        log_by_lua_block { ngx.log(ngx.WARN, "logged by the named location.") }
    }
--- request eval: ["GET /t", "GET /try", "GET /page"]
--- response_body eval: ["/t srRAP\n", "/try sRAP\n", "/page sRAP\n"]
--- response_headers eval: [("x: named") x 3]
--- error_log
logged by the named location.

=== TEST 11: subrequests run their location's phases but access, and no log unless they are logged
--- config
    server_rewrite_by_lua_block { ngx.ctx.server = ngx.is_subrequest }
    access_by_lua_block { ngx.ctx.access = ngx.is_subrequest }
    log_by_lua_block { ngx.log(ngx.WARN, "logged ", ngx.var.uri, ".") }
    location = /t { content_by_lua_block { local r = ngx.location.capture("/sub") ngx.print(r.status, " ", r.header["x-filter"], " ", r.body) } }
    location = /sub {
        rewrite_by_lua_block { ngx.ctx.rewrite = ngx.is_subrequest }
        precontent_by_lua_block { ngx.ctx.precontent = ngx.is_subrequest }
        content_by_lua_block { ngx.status = 201 ngx.say(ngx.ctx.server, ngx.ctx.rewrite, ngx.ctx.access, ngx.ctx.precontent, ngx.is_subrequest) }
        header_filter_by_lua_block { ngx.header.x_filter = "seen" }
        body_filter_by_lua_block { ngx.arg[1] = ngx.arg[1]:gsub("true", "t") }
    }
--- request
GET /t
--- response_body
201 seen ttniltt
--- error_log
logged /t.
--- no_error_log
logged /sub

=== TEST 12: with log_subrequest they are
--- config
    log_subrequest on;
    location = /t { content_by_lua_block { ngx.location.capture("/sub") ngx.say("ok") } log_by_lua_block { ngx.log(ngx.WARN, "main logged.") } }
    location = /sub { content_by_lua_block { ngx.say("sub") } log_by_lua_block { ngx.log(ngx.WARN, "sub logged ", ngx.is_subrequest, ".") } }
--- request
GET /t
--- response_body
ok
--- error_log
sub logged true.
main logged.

=== TEST 13: an error page in Lua knows the status, runs all phases, and may answer with another
--- config
    location = /fails { error_page 500 /page; content_by_lua_block { error("on purpose") } }
    location = /refused { error_page 403 /page; access_by_lua_block { ngx.exit(403) } }
    location = /changed { error_page 404 =200 /page; content_by_lua_block { ngx.exit(404) } }
    location = /late { error_page 502 @late; rewrite_by_lua_block { ngx.sleep(0.001) ngx.exit(502) } }
    location @late { content_by_lua_block { ngx.status = 299 ngx.say("late ", ngx.var.status) } }
    location = /page {
        internal;
        rewrite_by_lua_block { ngx.ctx.t = "r" }
        access_by_lua_block { ngx.sleep(0) ngx.ctx.t = ngx.ctx.t .. "a" }
        content_by_lua_block { ngx.say(ngx.ctx.t, " ", ngx.status, " ", ngx.var.request_uri) }
    }
--- request eval: ["GET /fails", "GET /refused", "GET /changed", "GET /late"]
--- error_code eval: [500, 403, 200, 299]
--- response_body eval: ["ra 500 /fails\n", "ra 403 /refused\n", "ra 200 /changed\n", "late 299\n"]

=== TEST 14: filters and log of a location that refuses see nginx's own page
--- config
    location = /t {
        deny all;
        header_filter_by_lua_block { ngx.header.x = ngx.status ngx.header.content_length = nil }
        body_filter_by_lua_block { if ngx.arg[2] then ngx.arg[1] = "mine\n" else ngx.arg[1] = nil end }
        log_by_lua_block { ngx.log(ngx.WARN, "logged ", ngx.status, ".") }
    }
--- request
GET /t
--- error_code: 403
--- response_headers
x: 403
--- response_body
mine
--- error_log
logged 403.

=== TEST 15: exit_worker runs when a worker ends, in its VM, and an error in it is logged
--- http_config
    init_worker_by_lua_block { started = "by init_worker" }
    exit_worker_by_lua_block {
        local ok, err = pcall(ngx.timer.at, 0, function() end)
        ngx.log(ngx.WARN, "exits ", started, " ", ngx.get_phase(), " ", err, " ", (pcall(ngx.say, "x")))
        error("on purpose")
    }
--- config
    location = /t { content_by_lua_block { ngx.say(started) } }
--- request
GET /t
--- response_body
by init_worker
--- shutdown_error_log
exits by init_worker exit_worker API disabled in the context of exit_worker_by_lua* false
on purpose

=== TEST 16: exit_worker from a file
--- http_config
    exit_worker_by_lua_file html/exit.lua;
--- config
    location = /t { return 200 "ok"; }
--- user_files
>>> exit.lua
ngx.log(ngx.WARN, "exits by a file")
--- request
GET /t
--- shutdown_error_log
exits by a file

=== TEST 17: init_by_lua's file that isn't there keeps nginx from starting
--- http_config
    init_by_lua_file html/none.lua;
--- config
--- must_die
--- error_log eval
qr/init_by_lua error: .*html\/none\.lua/

=== TEST 18: header filters may exit for another answer, log may not
--- config
    location = /t { header_filter_by_lua_block { if ngx.var.arg_bad then ngx.exit(400) end } content_by_lua_block { ngx.say("t") } }
    location = /log { log_by_lua_block { ngx.log(ngx.WARN, (select(2, pcall(ngx.exit, 1)))) } return 200 "log\n"; }
--- request eval: ["GET /t", "GET /t?bad=1", "GET /log"]
--- error_code eval: [200, 400, 200]
--- response_body_like eval: ["^t\$", "400 Bad Request", "^log\$"]

=== TEST 19: ngx.ctx is kept from phase to phase, and is new behind an internal redirect
--- config
    location = /t {
        rewrite_by_lua_block { ngx.ctx.n = 1 }
        access_by_lua_block { ngx.ctx.n = ngx.ctx.n + 1 }
        content_by_lua_block { ngx.exec("/u", "n=" .. ngx.ctx.n) }
        log_by_lua_block { ngx.log(ngx.ALERT, "not here") }
    }
    location = /u { content_by_lua_block { ngx.say(ngx.var.arg_n, " ", ngx.ctx.n) } }
--- request
GET /t
--- response_body
2 nil
--- no_error_log
[alert]
