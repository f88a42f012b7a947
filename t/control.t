# ngx.exit, ngx.exec and ngx.redirect: how a handler ends, with which status, and from where.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: exit ends the handler with the status and nginx's page for it
--- config
    location = /t { content_by_lua_block { ngx.exit(tonumber(ngx.var.arg_s)) ngx.log(ngx.ERR, "went on") } }
--- request eval
[map { "GET /t?s=$_" } 400, 401, 403, 404, 405, 410, 413, 429, 500, 502, 503, 504]
--- error_code eval
[400, 401, 403, 404, 405, 410, 413, 429, 500, 502, 503, 504]
--- response_body_like eval
[map { "<h1>$_ " } 400, 401, 403, 404, 405, 410, 413, 429, 500, 502, 503, 504]
--- no_error_log
went on

=== TEST 2: exit with 200, 201 and 204 has no page
--- config
    location = /t { content_by_lua_block { ngx.exit(tonumber(ngx.var.arg_s)) } }
--- request eval
["GET /t?s=200", "GET /t?s=201", "GET /t?s=204"]
--- error_code eval
[200, 201, 204]
--- response_body eval
["", "", ""]

=== TEST 3: exit(0) in content_by_lua keeps the output and the status
--- config
    location = /t {
        content_by_lua_block { ngx.status = 202 ngx.say("kept") ngx.exit(ngx.OK) ngx.say("lost") }
    }
--- request
GET /t
--- error_code: 202
--- response_body
kept

=== TEST 4: an error's own page is written before exit(0)
--- config
    location = /t {
        content_by_lua_block {
            ngx.status = ngx.HTTP_GONE
            ngx.header.content_type = "text/plain"
            ngx.say("mine")
            ngx.exit(ngx.HTTP_OK)
        }
    }
--- request
GET /t
--- error_code: 410
--- response_headers
Content-Type: text/plain
--- response_body
mine

=== TEST 5: error_page takes what exit gives
--- config
    location = /t { error_page 404 = @page; content_by_lua_block { ngx.exit(404) } }
    location @page { content_by_lua_block { ngx.status = 299 ngx.say("page for ", ngx.var.uri) } }
--- request
GET /t
--- error_code: 299
--- response_body
page for /t

=== TEST 6: exit with an error's status after output is logged, and the sent status stays
--- config
    location = /t { content_by_lua_block { ngx.say("out") ngx.exit(500) } }
--- request
GET /t
--- error_code: 200
--- response_body
out
--- error_log
attempt to set status 500 via ngx.exit after sending out the response status 200

=== TEST 7: exit(444) and exit(-1) close the connection without an answer
--- config
    location = /t { content_by_lua_block { ngx.exit(tonumber(ngx.var.arg_s)) } }
    location = /next { return 200 "lives\n"; }
--- request eval
["GET /t?s=444", "GET /next"]
--- ignore_response
--- no_error_log
[alert]

=== TEST 8: exit in rewrite_by_lua and access_by_lua: 0 goes on to the next phase, others end the request
--- config
    location = /rewrite {
        rewrite_by_lua_block { ngx.exit(tonumber(ngx.var.arg_s)) }
        content_by_lua_block { ngx.say("content") }
    }
    location = /access {
        access_by_lua_block { ngx.exit(tonumber(ngx.var.arg_s)) }
        content_by_lua_block { ngx.say("content") }
    }
--- request eval
["GET /rewrite?s=0", "GET /access?s=0", "GET /rewrite?s=403", "GET /access?s=403", "GET /rewrite?s=200", "GET /access?s=200"]
--- error_code eval
[200, 200, 403, 403, 200, 200]
--- response_body_like eval
["^content\n\$", "^content\n\$", "403 Forbidden", "403 Forbidden", "^\$", "^\$"]

=== TEST 9: exit after a sleep, from within functions, coroutines and pcall
--- config
    location = /t {
        content_by_lua_block {
            ngx.sleep(0.001)
            local way = ngx.var.arg_way
            if way == "pcall" then
                pcall(function() ngx.exit(403) end)
            elseif way == "coroutine" then
                coroutine.wrap(function() ngx.sleep(0.001) ngx.exit(403) end)()
            else
                local function deep(n) if n == 0 then ngx.exit(403) end deep(n - 1) return n end
                deep(50)
            end
            ngx.log(ngx.ERR, "went on")
        }
    }
--- request eval
["GET /t?way=deep", "GET /t?way=pcall", "GET /t?way=coroutine"]
--- error_code eval
[403, 403, 403]
--- no_error_log
went on

=== TEST 10: exit in header_filter_by_lua puts that status's page in the place of the answer
--- config
    location = /t {
        content_by_lua_block { ngx.say("ok") }
        header_filter_by_lua_block { if ngx.status == 200 then ngx.exit(503) end }
        log_by_lua_block { ngx.log(ngx.WARN, "sent ", ngx.var.body_bytes_sent - ngx.var.sent_http_content_length, " too many.") }
    }
--- request
GET /t
--- error_code: 503
--- response_body_like: 503 Service
--- error_log
sent 0 too many.

=== TEST 11: exit takes a number
--- config
    location = /t {
        content_by_lua_block {
            ngx.say((pcall(ngx.exit)), (pcall(ngx.exit, "x")), (pcall(ngx.exit, {})))
            ngx.say((pcall(ngx.exit, ngx.AGAIN)), (pcall(ngx.exit, ngx.DONE)))
        }
    }
--- request
GET /t
--- response_body
falsefalsefalse
falsefalse

=== TEST 12: exit from log_by_lua is refused
--- config
    location = /t { content_by_lua_block { ngx.say("ok") } log_by_lua_block { ngx.exit(500) } }
--- request
GET /t
--- response_body
ok
--- error_log
API disabled in the context of log_by_lua*

=== TEST 13: redirect answers 302 or the status it is given
--- config
    location = /t {
        content_by_lua_block {
            local s = tonumber(ngx.var.arg_s)
            if s then ngx.redirect("/there?a=1", s) else ngx.redirect("/there?a=1") end
            ngx.log(ngx.ERR, "went on")
        }
    }
--- request eval
["GET /t", map { "GET /t?s=$_" } 301, 302, 303, 307, 308]
--- error_code eval
[302, 301, 302, 303, 307, 308]
--- response_headers eval
["Location: /there?a=1", "Location: /there?a=1", "Location: /there?a=1", "Location: /there?a=1", "Location: /there?a=1", "Location: /there?a=1"]
--- no_error_log
went on

=== TEST 14: redirect refuses other statuses, unsafe bytes and missing arguments
--- config
    location = /t {
        content_by_lua_block {
            local _, unsafe = pcall(ngx.redirect, "/x\r\nX-Evil: yes")
            ngx.say((pcall(ngx.redirect, "/x", 404)), (pcall(ngx.redirect, "/x", 200)), (pcall(ngx.redirect)))
            ngx.say((unsafe:match("unsafe byte.*")))
        }
    }
--- request
GET /t
--- raw_response_headers_unlike: X-Evil|Location
--- response_body
falsefalsefalse
unsafe byte "0x0d" in redirect uri "/x\x0D\x0AX-Evil: yes"

=== TEST 15: redirect in rewrite_by_lua and access_by_lua ends the request
--- config
    location = /rewrite { rewrite_by_lua_block { ngx.redirect("/there", 301) } content_by_lua_block { ngx.say("content") } }
    location = /access { access_by_lua_block { ngx.redirect("http://example.org/") } content_by_lua_block { ngx.say("content") } }
--- request eval
["GET /rewrite", "GET /access"]
--- error_code eval
[301, 302]
--- response_headers eval
["Location: /there", "Location: http://example.org/"]

=== TEST 16: exec and redirect after the headers were sent are errors
--- config
    location = /t {
        content_by_lua_block {
            ngx.say("out")
            ngx.say((select(2, pcall(ngx.exec, "/else"))):match("attempt.*"))
            ngx.say((select(2, pcall(ngx.redirect, "/else"))):match("attempt.*"))
        }
    }
--- request
GET /t
--- response_body
out
attempt to call ngx.exec after sending out response headers
attempt to call ngx.redirect after sending out the headers

=== TEST 17: exec goes to a location with arguments from the URI, a string or a table
--- config
    location = /t {
        content_by_lua_block {
            local way = ngx.var.arg_way
            if way == "uri" then ngx.exec("/next?b=2")
            elseif way == "string" then ngx.exec("/next", "c=3")
            elseif way == "table" then ngx.exec("/next", { d = "4 5" })
            elseif way == "both" then ngx.exec("/next?b=2", { d = 4 })
            else ngx.exec("/next") end
            ngx.log(ngx.ERR, "went on")
        }
    }
    location = /next { content_by_lua_block { ngx.say(ngx.var.uri, " [", ngx.var.args, "] ", ngx.var.request_uri, " ", ngx.req.is_internal()) } }
--- request eval
["GET /t?way=uri", "GET /t?way=string", "GET /t?way=table", "GET /t?way=both", "GET /t?x"]
--- response_body eval
["/next [b=2] /t?way=uri true\n", "/next [c=3] /t?way=string true\n", "/next [d=4%205] /t?way=table true\n",
 "/next [b=2&d=4] /t?way=both true\n", "/next [nil] /t?x true\n"]
--- no_error_log
went on

=== TEST 18: exec to a named location keeps the URI and the arguments
--- config
    location = /t { content_by_lua_block { ngx.exec("@named") } }
    location @named { content_by_lua_block { ngx.say("named ", ngx.var.uri, " ", ngx.var.args) } }
--- request
GET /t?a=1
--- response_body
named /t a=1

=== TEST 19: exec to internal and static locations, and to one that isn't there
--- config
    location = /t { content_by_lua_block { ngx.exec(ngx.var.arg_to) } }
    location = /internal { internal; return 200 "internal\n"; }
--- user_files
>>> file.txt
file
--- request eval
["GET /t?to=/internal", "GET /internal", "GET /t?to=/file.txt", "GET /t?to=/nothing"]
--- error_code eval
[200, 404, 200, 404]
--- response_body_like eval
["^internal\n\$", "404", "^file\n\$", "404"]

=== TEST 20: exec refuses unsafe and empty URIs
--- config
    location = /t {
        content_by_lua_block {
            ngx.say((select(2, pcall(ngx.exec, "/../../etc/passwd"))):match("unsafe uri"))
            ngx.say((select(2, pcall(ngx.exec, ""))):match("The uri argument is empty"))
            ngx.say((pcall(ngx.exec)), (pcall(ngx.exec, {})), (pcall(ngx.exec, "/x", true)))
        }
    }
--- request
GET /t
--- response_body
unsafe uri
The uri argument is empty
falsefalsefalse
--- error_log
unsafe URI "/../../etc/passwd" was detected

=== TEST 21: exec from rewrite_by_lua and access_by_lua, after a sleep
--- config
    location = /rewrite { rewrite_by_lua_block { ngx.sleep(0.001) ngx.exec("/next", "from=rewrite") } content_by_lua_block { ngx.exit(500) } }
    location = /access { access_by_lua_block { ngx.sleep(0.001) ngx.exec("@named") } content_by_lua_block { ngx.exit(500) } }
    location = /next { content_by_lua_block { ngx.log(ngx.WARN, "ran once") ngx.say("next ", ngx.var.arg_from) } }
    location @named { content_by_lua_block { ngx.log(ngx.WARN, "ran once") ngx.say("named") } }
--- request eval
["GET /rewrite", "GET /access"]
--- response_body eval
["next rewrite\n", "named\n"]
--- grep_error_log: ran once
--- grep_error_log_out eval
["ran once\n", "ran once\n"]

=== TEST 22: a loop of execs ends in 500
--- config
    location = /t { content_by_lua_block { ngx.exec("/t") } }
--- request
GET /t
--- error_code: 500
--- error_log
rewrite or internal redirection cycle

=== TEST 23: log_by_lua sees the status that exit left
--- config
    location = /t {
        content_by_lua_block {
            ngx.print("a")
            ngx.exit(200)
        }
        log_by_lua_block { ngx.log(ngx.WARN, "status ", ngx.status) }
    }
--- request
GET /t
--- response_body chop
a
--- error_log
status 200
--- no_error_log
[error]
