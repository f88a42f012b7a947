# set_by_lua*: a variable's value from Lua, among the directives of nginx's rewrite module.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
no_long_string();
run_tests();

__DATA__

=== TEST 1: the value is what the code returns: the first of several, as text; nil and nothing are empty
--- config
    location = /t {
        set_by_lua $text 'return "text"';
        set_by_lua_block $number { return 12 }
        set_by_lua_block $fraction { return 0.5 }
        set_by_lua_block $many { return "first", "second" }
        set_by_lua_block $nil { return nil }
        set_by_lua_block $nothing { local a = 1 }
        set_by_lua_block $bytes { return "a\0b" }
        return 200 "$text $number $fraction $many [$nil] [$nothing] $bytes\n";
    }
--- request
GET /t
--- response_body eval
"text 12 0.5 first [] [] a\0b\n"
--- no_error_log
[error]

=== TEST 2: arguments are ngx.arg, with variables in them resolved, and the code's own arguments
--- config
    location = /t {
        set $a "from set";
        set_by_lua $b 'return ngx.arg[1] .. "|" .. ngx.arg[2] .. "|" .. ngx.arg[3]' $a "$arg_q and more" '';
        set_by_lua $c 'local a, b = ... return tostring(ngx.arg[0]) .. tostring(ngx.arg[3]) .. tostring(ngx.arg[1.5]) .. tostring(ngx.arg.x) .. " " .. a .. b .. select("#", ...)' x y;
        set_by_lua_file $d html/join.lua $b 3;
        return 200 "$b\n$c\n$d\n";
    }
--- user_files
>>> join.lua
return ngx.arg[1] .. " " .. ngx.arg[2] + 1
--- request
GET /t?q=Q
--- response_body
from set|Q and more|
nilnilxnil xy2
from set|Q and more| 4

=== TEST 3: they run where they stand: before and after set, if, and rewrite
--- config
    location = /t {
        set $n 1;
        set_by_lua_block $n { return ngx.var.n + 1 }
        set $m "$n$n";
        set_by_lua_block $m { return ngx.var.m * 2 }
        if ($m = 44) { set_by_lua_block $in_if { return "in if " .. ngx.var.m } }
        set_by_lua_block $to { return "/end/" .. ngx.var.m }
        rewrite ^ $to?x=$in_if break;
        return 200 "never\n";
    }
    location /end { return 200 "end\n"; }
    location = /u {
        set_by_lua_block $to { return "/end" }
        rewrite ^ $to last;
    }
    location = /v {
        set_by_lua_block $v { ngx.ctx.n = (ngx.ctx.n or 0) + 1 return ngx.ctx.n }
        if ($v = 1) { return 201; }
        set_by_lua_block $v { ngx.log(ngx.ALERT, "after return") }
        content_by_lua_block { ngx.say("never") }
    }
    location = /w {
        set_by_lua_block $m { return 44 }
        if ($m = 44) { set_by_lua_block $in_if { return "in if " .. ngx.var.m } }
        content_by_lua_block { ngx.say(ngx.var.in_if) }
    }
--- request eval: ["GET /u", "GET /v", "GET /w"]
--- error_code eval: [200, 201, 200]
--- response_body eval: ["end\n", "", "in if 44\n"]
--- no_error_log
after return

=== TEST 4: in a server, and in its if, before locations are searched
--- config
    set_by_lua_block $where { return ngx.var.uri == "/a" and "/b" or "" }
    if ($arg_x) { set_by_lua_block $where { return "/x" .. ngx.var.arg_x } }
    if ($where) { rewrite ^ $where last; }
    location /b { return 200 "b\n"; }
    location /x { return 200 "$uri\n"; }
    location /c { return 200 "c $where\n"; }
--- request eval: ["GET /a", "GET /c", "GET /c?x=1"]
--- response_body eval: ["b\n", "c \n", "/x1\n"]

=== TEST 5: an error in it is 500, with its place in the log, and nothing after it runs
--- config
    location = /t {
        set_by_lua_block $a { error("on purpose") }
        set_by_lua_block $b { ngx.log(ngx.ALERT, "went on") }
        content_by_lua_block { ngx.log(ngx.ALERT, "went on") }
    }
    location = /syntax { set_by_lua_block $a { local = 1 } return 200 "never"; }
    location = /file { set_by_lua_file $a html/none.lua; return 200 "never"; }
--- request eval: ["GET /t", "GET /syntax", "GET /file"]
--- error_code eval: [500, 500, 500]
--- no_error_log
went on
--- error_log eval
[qr/failed to run set_by_lua\*: set_by_lua\(nginx\.conf:\d+\):1: on purpose|failed to load inlined Lua code: set_by_lua\(nginx\.conf:\d+\):1: |failed to load external Lua file ".*none\.lua": cannot open/]

=== TEST 6: what waits, answers or redirects is refused, what reads and changes the request works
--- config
    location = /t {
        set_by_lua_block $a {
            local refused = {}
            local calls = { say = { 1 }, print = { 1 }, flush = { true }, eof = {}, sleep = { 0 }, exec = { "/u" }, redirect = { "/u" }, exit = { 0 } }
            for _, name in ipairs { "say", "print", "flush", "eof", "sleep", "exec", "redirect", "exit" } do
                local ok, err = pcall(ngx[name], unpack(calls[name]))
                refused[#refused + 1] = (ok and name .. " runs" or err:match("API disabled in the context of set_by_lua%*") and name or name .. ": " .. err)
            end
            for name, f in pairs { capture = ngx.location.capture, spawn = ngx.thread.spawn, wait = ngx.thread.wait, read_body = function() ngx.req.read_body() end } do
                local ok, err = pcall(f, "/u")
                if ok or not err:find("API disabled in the context of set_by_lua*", 1, true) then
                    refused[#refused + 1] = name .. ": " .. tostring(err)
                end
            end
            ngx.req.set_header("X-Set", "set")
            ngx.ctx.set = ngx.get_phase()
            return table.concat(refused, " ")
        }
        content_by_lua_block { ngx.say(ngx.var.a) ngx.say(ngx.var.http_x_set, " ", ngx.ctx.set, " ", ngx.get_phase()) }
    }
--- request
GET /t
--- response_body
say print flush eof sleep exec redirect exit
set set content
--- no_error_log
[error]

=== TEST 7: they are not inherited, and run again in a subrequest and after an internal redirect
--- config
    set_by_lua_block $n { return (tonumber(ngx.var.http_x_n) or 0) + 1 }
    location = /t {
        content_by_lua_block {
            local res = ngx.location.capture("/sub")
            ngx.req.set_header("X-N", 10)
            ngx.say(ngx.var.n, " ", res.body)
            ngx.say(ngx.location.capture("/sub", { share_all_vars = true }).body, " ", ngx.var.n)
        }
    }
    location = /sub { return 200 $n; }
    location = /exec { content_by_lua_block { ngx.req.set_header("X-N", 5) ngx.exec("/sub") } }
--- request eval: ["GET /t", "GET /exec"]
--- response_body eval: ["1 1\n11 11\n", "6"]

=== TEST 8: what can't be a variable, or has no code, is refused with its line
--- config
    location = /t { set_by_lua_block a { return 1 } }
--- must_die
--- error_log
invalid variable name "a"

=== TEST 9: a variable that nginx has may not be set
--- config
    location = /t { set_by_lua_block $request_method { return 1 } }
--- must_die
--- error_log
the duplicate "request_method" variable

=== TEST 10: an empty text is no code
--- config
    location = /t { set_by_lua $a ''; }
--- must_die
--- error_log
no runnable Lua code

=== TEST 11: one that an if reads first is empty, and the log says so
--- config
    location = /t {
        if ($late = "") { return 200 "empty\n"; }
        set_by_lua_block $late { return "late" }
    }
--- request
GET /t
--- response_body
empty
--- error_log
using uninitialized "late" variable
