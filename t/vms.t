# Locations with lua_code_cache on and off side by side: a request runs all of its code, always the right one, in the VM in which it began.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();

# step(NAME) adds to a trail that goes along with the request wherever it is sent: its headers. Only the shared VM has seen a worker start. In
# a VM of a request's own the steps are numbered.
our $HttpConfig = <<'END';
    init_by_lua_block {
        function step(name)
            local trail = ngx.req.get_headers()["x-trail"]
            steps = (steps or 0) + 1
            trail = (trail and trail .. " " or "") .. name .. (shared and "" or steps)
            ngx.req.set_header("X-Trail", trail)
            return trail
        end
        function vm() return shared and "shared" or "own" end
    }
    init_worker_by_lua_block { shared = true }
END

# What runs where the request comes to in the end, and says so.
our $Steps = <<'END';
        set_by_lua_block $set { return step("set") }
        rewrite_by_lua_block { step("rewrite") }
        access_by_lua_block { step("access") }
        content_by_lua_block { ngx.say(vm(), ": ", step("content")) }
        header_filter_by_lua_block { ngx.header.x_trail = vm() .. " " .. step("header") }
        body_filter_by_lua_block { if ngx.arg[1] ~= "" then ngx.arg[1] = ngx.arg[1] .. vm() .. ": body\n" step("body") end }
        log_by_lua_block { ngx.log(ngx.WARN, "logged ", vm(), ": ", step("log"), ".") }
END

# Locations that end, with the cache on, off, or as it is at a named location.
our $Ends = <<END;
    location = /on { lua_code_cache on; $Steps }
    location = /off { lua_code_cache off; $Steps }
    location \@on { lua_code_cache on; $Steps }
    location \@off { lua_code_cache off; $Steps }
END

# Locations from which a request gets to one of those with the cache the other way.
sub ways {
    my ($from, $to) = @_;
    my $cache = "lua_code_cache $from;";
    return <<END;
    location = /jump-$from { $cache rewrite_by_lua_block { step("jump") ngx.req.set_uri("/$to", true) } }
    location = /exec-$from { $cache content_by_lua_block { step("exec") ngx.exec("/$to") } }
    location = /exec-early-$from { $cache access_by_lua_block { step("exec") ngx.sleep(0) ngx.exec("/$to") } }
    location = /named-$from { $cache content_by_lua_block { step("named") ngx.exec("\@$to") } }
    location = /error-$from { $cache error_page 418 =200 /$to; content_by_lua_block { step("error") ngx.exit(418) } }
    location = /fails-$from { $cache error_page 500 =200 \@$to; access_by_lua_block { step("fails") error("on purpose") } }
    location = /nginx-$from { $cache rewrite_by_lua_block { step("nginx") } try_files /none /$to; }
    location = /sub-$from {
        $cache
        content_by_lua_block {
            step("sub")
            local res = ngx.location.capture("/$to")
            ngx.print(res.body, "sub: ", res.header["x-trail"], "\\n", vm(), "\\n")
        }
    }
END
}

our @Ways = qw(jump exec exec-early named error fails nginx sub);

add_block_preprocessor(sub {
    my $block = shift;
    $block->set_value(http_config => $main::HttpConfig . ($block->http_config // ''));
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: what is asked for directly runs in the shared VM, or in one of its own
--- config eval: $::Ends
--- request eval: [("GET /on", "GET /off") x 3]
--- response_body eval
[("shared: set rewrite access content\nshared: body\n", "own: set1 rewrite2 access3 content4\nown: body\n") x 3]
--- response_headers eval
[("X-Trail: shared set rewrite access content header", "X-Trail: own set1 rewrite2 access3 content4 header5") x 3]
--- error_log eval
[qr/logged (shared: set rewrite access content header body log\.|own: set1 rewrite2 access3 content4 header5 body6 log7\.)/]

=== TEST 2: one that began with the cache off stays in its VM, wherever it is sent
--- config eval: $::Ends . main::ways("off", "on")
--- request eval: [map { ("GET /$_-off", "GET /on") } @::Ways]
--- response_body eval
my $on = "shared: set rewrite access content\nshared: body\n";
my $own = sub { "own: $_[0]1 set2 rewrite3 access4 content5\nown: body\n" };
[
    $own->("jump"), $on, $own->("exec"), $on, $own->("exec"), $on,
    $own->("named"), $on, $own->("error"), $on, $own->("fails"), $on, $own->("nginx"), $on,
    # nginx has no access phase for subrequests.
    "own: sub1 set2 rewrite3 content4\nown: body\nsub: own sub1 set2 rewrite3 content4 header5\nown\n", $on,
]
--- error_log eval
[qr/logged (?:own: \w+1 set2 rewrite3 access4 content5 header6 body7 log8\.|shared: set rewrite access content header body log\.)|on purpose|subrequest/]

=== TEST 3: one that began with the cache on stays in the shared one
--- config eval: $::Ends . main::ways("on", "off")
--- request eval: [map { ("GET /$_-on", "GET /off") } @::Ways]
--- response_body eval
my $off = "own: set1 rewrite2 access3 content4\nown: body\n";
my $shared = sub { "shared: $_[0] set rewrite access content\nshared: body\n" };
[
    $shared->("jump"), $off, $shared->("exec"), $off, $shared->("exec"), $off,
    $shared->("named"), $off, $shared->("error"), $off, $shared->("fails"), $off, $shared->("nginx"), $off,
    "shared: sub set rewrite content\nshared: body\nsub: shared sub set rewrite content header\nshared\n", $off,
]

=== TEST 4: no code is skipped or mistaken after a request has come from the other kind of VM, for the worker's life
--- config eval
$::Ends . main::ways("off", "on") . main::ways("on", "off") . <<'END';
    location = /guarded { access_by_lua_block { ngx.exit(403) } content_by_lua_block { ngx.log(ngx.ALERT, "not guarded") } }
    location = /to-guarded { lua_code_cache off; rewrite_by_lua_block { ngx.req.set_uri("/guarded", true) } }
    location = /first { lua_code_cache off; access_by_lua_block { first = 1 } content_by_lua_block { ngx.exec("/guarded") } }
    location = /file-on { content_by_lua_file html/a.lua; }
    location = /file-off { lua_code_cache off; rewrite_by_lua_block { ngx.req.set_uri("/file-on", true) } }
END
--- user_files
>>> a.lua
ngx.say(vm(), " a")
--- request eval
[("GET /to-guarded", "GET /guarded", "GET /first", "GET /jump-off", "GET /jump-on", "GET /file-off", "GET /file-on") x 3]
--- error_code eval
[(403, 403, 403, 200, 200, 200, 200) x 3]
--- response_body_like eval
[("403 Forbidden", "403 Forbidden", "403 Forbidden", "^own: jump1 set2 ", "^shared: jump set ", "^own a\$", "^shared a\$") x 3]
--- no_error_log
not guarded

=== TEST 5: only the filters and the log of a location have the cache off: each response has a VM of its own for them
--- config
    location = /t {
        lua_code_cache off;
        header_filter_by_lua_block { ngx.header.x = vm() .. step("header") }
        body_filter_by_lua_block { step("body") }
        log_by_lua_block { ngx.log(ngx.WARN, "logged ", vm(), ": ", step("log"), ".") }
        return 200 "t";
    }
--- request eval: ["GET /t", "GET /t"]
--- response_headers eval: ["x: ownheader1", "x: ownheader1"]
--- error_log
logged own: header1 body2 log3.

=== TEST 6: timers and light threads keep the VM of the request that made them
--- config
    location = /t {
        lua_code_cache off;
        content_by_lua_block {
            mark = ngx.var.arg_mark
            ngx.timer.at(0.01, function() ngx.log(ngx.WARN, "timer ", mark, " ", vm(), ".") end)
            ngx.thread.wait(ngx.thread.spawn(function() ngx.sleep(0.001) ngx.say(mark, " ", vm()) end))
        }
    }
--- request eval: ["GET /t?mark=a", "GET /t?mark=b"]
--- response_body eval: ["a own\n", "b own\n"]
--- wait: 0.1
--- error_log eval
[qr/timer [ab] own\./]

=== TEST 7: a subrequest has the ngx.ctx that it was given, and no other's, whatever the cache
--- config
    location = /outer {
        content_by_lua_block {
            ngx.ctx.secret = "the outer request's"
            for _, path in ipairs { "/off", "/on", "/mixed" } do
                ngx.print(ngx.location.capture("/proxy" .. path).body)
            end
            ngx.say(ngx.ctx.secret)
        }
    }
    location /proxy/ { proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/; }
    location = /off { lua_code_cache off; content_by_lua_file html/parent.lua; }
    location = /on { content_by_lua_file html/parent.lua; }
    location = /mixed { lua_code_cache off; content_by_lua_file html/mixed.lua; }
    location = /child-off { lua_code_cache off; content_by_lua_file html/child.lua; }
    location = /child-on { content_by_lua_file html/child.lua; log_by_lua_block { ngx.ctx.logged = true } }
--- user_files
>>> parent.lua
local t = { n = 1 }
for i = 1, 3 do
    local res = ngx.location.capture("/child-" .. (i % 2 == 0 and "on" or "off"), { ctx = t })
    ngx.print(res.body)
end
ngx.say(vm(), " ", t.n, " ", t.secret, " ", ngx.ctx.n)
>>> mixed.lua
ngx.ctx.own = "own"
local a, b = { n = 10 }, { n = 20 }
local x, y, z = ngx.location.capture_multi { { "/child-on", { ctx = a } }, { "/child-off", { ctx = b } }, { "/child-on", { ctx = ngx.ctx } } }
ngx.print(x.body, y.body, z.body)
ngx.say(a.n, " ", b.n, " ", ngx.ctx.n, " ", ngx.ctx.own)
>>> child.lua
ngx.ctx.n = (ngx.ctx.n or 0) + 1
ngx.say(vm(), " ", ngx.ctx.n, " ", ngx.ctx.secret, " ", ngx.ctx.own)
--- request
GET /outer
--- response_body
own 2 nil nil
own 3 nil nil
own 4 nil nil
own 4 nil nil
shared 2 nil nil
shared 3 nil nil
shared 4 nil nil
shared 4 nil nil
own 11 nil nil
own 21 nil nil
own 1 nil own
11 21 1 own
the outer request's
--- no_error_log
[error]

=== TEST 8: tables given to subrequests are let go with the request, whether or not there was a subrequest
--- config
    location = /t {
        content_by_lua_block {
            local function rounds(n)
                for i = 1, n do
                    assert(ngx.location.capture("/proxy", { args = { n = i } }).status == 200)
                    if i % 10 == 0 then ngx.sleep(0) end
                end
                collectgarbage() collectgarbage()
                return collectgarbage("count")
            end
            rounds(20)
            local before = rounds(20)
            local grown = rounds(120) - before
            ngx.say(grown < 200 and "nothing is left" or "left: " .. grown .. " KiB")
        }
    }
    location = /proxy { proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/shares; }
    location = /shares {
        content_by_lua_block {
            local function shares(uri, options)
                -- 8 KiB each.
                local t = {}
                for i = 1, 512 do t[i] = i end
                options.ctx = t
                return pcall(ngx.location.capture, uri, options)
            end
            -- Refused before, while and after the table is given.
            assert(not shares("/child", { body = {} }))
            assert(not shares("/child", { method = 12345 }))
            assert(not shares("/child", { vars = { [1] = "x" } }))
            assert(not shares("/child", { vars = { none = "x" } }))
            assert(not shares("/child", { vars = { x = {} } }))
            assert(not shares("/../..", {}))
            assert(shares("/child", {}))
            assert(not pcall(ngx.location.capture_multi, { { "/child", { ctx = { 1 } } }, { "/child", 5 } }))
            ngx.say("ok")
        }
    }
    location = /child { error_log /dev/null; content_by_lua_block { ngx.ctx[1] = 0 } }
--- timeout: 30
--- request
GET /t
--- response_body
nothing is left
