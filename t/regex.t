# ngx.re: matching, iterating, replacing, splitting, the patterns that stay compiled, and limits.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: match gives the whole and the groups by number and by name, false where one takes no part
--- config
    location = /t {
        content_by_lua_block {
            local function show(m)
                if not m then return ngx.say(m) end
                ngx.say(#m, " ", m[0], " ", m[1], " ", m[2], " ", m.year, " ", m.rest, " ", m.none)
            end
            for _, options in ipairs { "", "o", "jo", "joi" } do
                show(ngx.re.match("on 2024-05", [[(?<year>\d{4})-(?<rest>x)?(?:\d+)]], options))
                show(ngx.re.match("on 24-05", [[(?<year>\d{4})-(?<rest>x)?]], options))
            end
            show(ngx.re.match("on 2024-05", [[(?<year>\d{4})-(?<rest>\d+)]], "d"))
        }
    }
--- request
GET /t
--- response_body
2 2024-05 2024 false 2024 false nil
nil
2 2024-05 2024 false 2024 false nil
nil
2 2024-05 2024 false 2024 false nil
nil
2 2024-05 2024 false 2024 false nil
nil
0 2024-05 nil nil nil nil nil
--- no_error_log
[error]

=== TEST 2: groups of one name are a list with D, of those that take part
--- config
    location = /t {
        content_by_lua_block {
            for _, options in ipairs { "D", "Do", "jDo" } do
                local m = ngx.re.match("ac", "(?<n>a)(?<n>b)?(?<n>c)(?<m>d)?", options)
                ngx.say(#m, " ", table.concat(m.n, ","), " ", m.m)
            end
            ngx.say(ngx.re.match("ac", "(?<n>a)(?<n>c)"))
        }
    }
--- request
GET /t
--- response_body
4 a,c nil
4 a,c nil
4 a,c nil
nilpcre_compile() failed: two named subpatterns have the same name in "(?<n>a)(?<n>c)" at "c)"

=== TEST 3: more groups than a function is written for, and more names
--- config
    location = /t {
        content_by_lua_block {
            for _, n in ipairs { 0, 1, 39, 40, 41, 300 } do
                local parts = {}
                for i = 1, n do parts[i] = i % 2 == 0 and "(.)" or "(?<g" .. i .. ">.)" end
                for _, options in ipairs { "", "o" } do
                    local m = ngx.re.match(("abc"):rep(200), "^" .. table.concat(parts), options)
                    ngx.print(#m, m[0] == ("abc"):rep(200):sub(1, n), m[n], m["g" .. n], " ")
                end
            end
            ngx.say()
        }
    }
--- request
GET /t
--- response_body
0truenil 0truenil 1trueaa 1trueaa 39truecc 39truecc 40trueanil 40trueanil 41truebb 41truebb 300truecnil 300truecnil 
--- error_code: 200

=== TEST 4: a context says where to begin and is told where the match ended
--- config
    location = /t {
        content_by_lua_block {
            local ctx = {}
            for _ = 1, 4 do
                local m, err = ngx.re.match("a1b22", [[\d+]], "jo", ctx)
                ngx.say(m and m[0], " ", ctx.pos, " ", err)
            end
            for _, pos in ipairs { -3, 0, 1, 5, 6, 7 } do
                ctx = { pos = pos }
                ngx.say(ngx.re.find("a1b22", [[\d+]], "", ctx), " ", ctx.pos)
            end
            ngx.say(select(3, ngx.re.find("a", "a", "", { pos = 3 })))
        }
    }
--- request
GET /t
--- response_body
1 3 nil
22 6 nil
nil 6 nil
nil 6 nil
2 3
2 3
2 3
5 6
nil 6
nil 7
pcre_exec() failed: -24

=== TEST 5: a table that is given is filled, and what else is in it stays
--- config
    location = /t {
        content_by_lua_block {
            local t = { "x", "y", "z", more = 1 }
            for _, options in ipairs { "", "jo" } do
                local m = ngx.re.match("ab", "(a)(?<n>c)?", options, nil, t)
                ngx.say(m == t, " ", t[0], t[1], t[2], t[3], t.n, t.more)
            end
            ngx.say(pcall(ngx.re.match, "a", "a", "jo", nil, 1))
        }
    }
--- request
GET /t
--- response_body_like
^true aafalsezfalse1
true aafalsezfalse1
false.*attempt to index.*

=== TEST 6: find gives where the match or its nth group lies
--- config
    location = /t {
        content_by_lua_block {
            local find = ngx.re.find
            ngx.say(find("xabc", "a(b)(z)?", "jo"))
            for nth = -1, 3 do ngx.say(nth, " ", find("xabc", "a(b)(z)?", "jo", nil, nth)) end
            ngx.say(find("xabc", "$", "jo"))
            ngx.say(find("xabc", "y", ""))
            ngx.say(find("xabc", "a(b)", "d", nil, 1))
            ngx.say(find("xabc", "(", ""))
        }
    }
--- request
GET /t
--- response_body
23
-1 23
0 23
1 33
2 nilnil
3 nilnilnth out of bound
54
nil
nilnilnth out of bound
nilnilpcre_compile() failed: missing ) in "("

=== TEST 7: gmatch gives one match after the other, goes on by characters after empty ones, and ends for good
--- config
    location = /t {
        content_by_lua_block {
            local function all(...)
                local found, it = {}, assert(ngx.re.gmatch(...))
                while true do
                    local m, err = it()
                    if not m then
                        return ngx.say(#found, " [", table.concat(found, "|"), "] ", err, " ", it(), it())
                    end
                    found[#found + 1] = m[0]
                end
            end
            for _, options in ipairs { "", "jo" } do
                all("a1 b22", [[\d+]], options)
                all("abc", "", options)
                all("aab", "a*", options)
                all("", "x?", options)
                all("äö", "x?", "u" .. options)
                all("äö", ".", "U" .. options)
                all("\xff", ".", "u" .. options)
                all(12.5, ".", options)
            end
            ngx.say(ngx.re.gmatch("a", "["))
            for m in ngx.re.gmatch("k=v, x=y", [[(\w)=(\w)]], "jo") do ngx.print(m[1], m[2], ";") end
        }
    }
--- request
GET /t
--- response_body eval
my $all = <<'_';
2 [1|22] nil nilnil
4 [|||] nil nilnil
3 [aa||] nil nilnil
1 [] nil nilnil
3 [||] nil nilnil
2 [ä|ö] nil nilnil
0 [] pcre_exec() failed: -10 nilnil
4 [1|2|.|5] nil nilnil
_
$all . $all . "nilpcre_compile() failed: missing terminating ] for character class in \"[\"\nkv;xy;"

=== TEST 8: sub and gsub put groups where the template names them, and count
--- config
    location = /t {
        content_by_lua_block {
            for _, options in ipairs { "", "jo" } do
                ngx.say(ngx.re.sub("a1b2", [[([a-z])(\d)(x)?]], "$2$1", options))
                ngx.say(ngx.re.gsub("a1b2", [[([a-z])(\d)(x)?]], "<${2}0$$$0$3$9>", options))
                ngx.say(ngx.re.gsub("a1b2", "x", "y", options))
                ngx.say(ngx.re.gsub("äö", "", "-", "u" .. options))
                ngx.say(ngx.re.gsub(1213, 1, 4, options))
                ngx.say(ngx.re.gsub("a,b", ",", "", options))
            end
        }
    }
--- request
GET /t
--- response_body eval
<<'_' x 2
1ab21
<10$a1><20$b2>2
a1b20
-ä-ö-3
42432
ab1
_

=== TEST 9: what is no template is refused, and the log says why
--- config
    location = /t {
        content_by_lua_block {
            for _, template in ipairs { "$", "${1", "$name" } do
                ngx.say(ngx.re.sub("a", "b", template, "jo"))
            end
            ngx.say(ngx.re.gsub("a", "(", "$"))
        }
    }
--- request
GET /t
--- response_body
nilnilfailed to compile the replacement template
nilnilfailed to compile the replacement template
nilnilfailed to compile the replacement template
nilnilpcre_compile() failed: missing ) in "("
--- error_log
lua script: invalid capturing variable name found in "$"
the closing bracket in "1" variable is missing
attempt to use named capturing variable "name" (named captures not supported yet)

=== TEST 10: a function is given each match, and what it returns becomes text
--- config
    location = /t {
        content_by_lua_block {
            local function swap(m) return m[2] .. m[1] end
            for _, options in ipairs { "", "jo" } do
                ngx.say(ngx.re.sub("-a1-b2-", [[([a-z])(\d)]], swap, options))
                ngx.say(ngx.re.gsub("-a1-b2-", [[([a-z])(\d)]], swap, options))
                ngx.say(ngx.re.gsub("-a1-b2-", [[(?<l>[a-z])]], function(m) return "$1" .. m.l end, options))
                ngx.say(ngx.re.gsub("x", "y", swap, options))
                local values, n = { nil, 1.5, false, "", n = 4 }, 0
                ngx.say(ngx.re.gsub("abcd", ".", function() n = n + 1 return values[n] end, options))
                ngx.say(ngx.re.gsub("äb", "", function() return "." end, "u" .. options))
            end
            ngx.say(ngx.re.gsub("x", "(", swap))
            ngx.say(ngx.re.gsub("\xff", "x", swap, "u"))
        }
    }
--- request
GET /t
--- response_body eval
<<'_' x 2 . qq{nilnilpcre_compile() failed: missing ) in "("\nnilnilpcre_exec() failed: -10\n}
-1a-b2-1
-1a-2b-2
-$1a1-$1b2-2
x0
nil1.5false4
.ä.b.3
_

=== TEST 11: a function may replace in turn, wait, or fail, and the next substitution knows nothing of it
--- config
    location = /t {
        content_by_lua_block {
            local gsub = ngx.re.gsub
            local function deep(n)
                return function(m)
                    if n == 0 then return m[0]:upper() end
                    local text = gsub(m[0], "[a-z]", deep(n - 1), "jo")
                    return "(" .. text .. ")"
                end
            end
            ngx.say(gsub("ab", "[a-z]", deep(5), "jo"))

            local threads = {}
            for i = 1, 3 do
                threads[i] = ngx.thread.spawn(function()
                    return (gsub("a b c", [[\w]], function(m) ngx.sleep(0.001) return m[0] .. i end, "jo"))
                end)
            end
            for i = 1, 3 do ngx.say(select(2, ngx.thread.wait(threads[i]))) end

            for _ = 1, 3 do
                ngx.say(pcall(gsub, "a b", [[\w]], function(m) error("no " .. m[0], 0) end, "jo"))
                ngx.say(gsub("a b", [[\w]], "x", "jo"), gsub("a b", [[\w]], function() return "y" end, "jo"))
            end
        }
    }
--- request
GET /t
--- response_body
(((((A)))))(((((B)))))2
a1 b1 c1
a2 b2 c2
a3 b3 c3
falseno a
x xy y2
falseno a
x xy y2
falseno a
x xy y2

=== TEST 12: patterns stay up to the limit, those in use outlive their place, and the log says so once
--- http_config
    lua_regex_cache_max_entries 3;
--- config
    location = /t {
        content_by_lua_block {
            local it = ngx.re.gmatch("k1 k2 k3", "k(.)", "o")
            ngx.print(it()[1])
            local text = ngx.re.gsub("abc", "[abc]", function(m)
                for i = 1, 20 do
                    assert(ngx.re.match("x" .. i, "x" .. i .. "$", "jo"))
                    assert(ngx.re.find("x7", [[x\d]], "jo") == 1)
                end
                return m[0]:upper()
            end, "jo")
            collectgarbage()
            collectgarbage()
            ngx.say(it()[1], it()[1], it(), " ", text)
        }
    }
--- request
GET /t
--- response_body
123nil ABC
--- grep_error_log eval
qr/\[warn\].*lua exceeding regex cache max entries \(\d+\)|\[warn\]/
--- grep_error_log_out eval
qr/^\[warn\].*lua exceeding regex cache max entries \(3\)\n$/

=== TEST 13: with no place for any, everything works
--- http_config
    lua_regex_cache_max_entries 0;
--- config
    location = /t {
        content_by_lua_block {
            local n = 0
            for m in ngx.re.gmatch("a b c", [[\w]], "jo") do n = n + #m[0] end
            ngx.say(n, ngx.re.match("a1", "[0-9]", "jo")[0], ngx.re.gsub("aa", "a", "b", "jo"))
            ngx.say(ngx.re.gsub("aa", "a", function() return "c" end, "jo"))
            require("ngx.re").opt("jit_stack_size", 1)
        }
    }
--- request
GET /t
--- response_body
31bb2
cc2
--- no_error_log
[warn]
[error]

=== TEST 14: a pattern that explodes ends by the limit, whoever uses it
--- http_config
    lua_regex_match_limit 20000;
--- config
    location = /t {
        content_by_lua_block {
            local text, pattern = ("a"):rep(60) .. "!", "(a|a?)+$"
            for _, options in ipairs { "", "o", "jo" } do
                ngx.say(ngx.re.match(text, pattern, options))
                ngx.say(ngx.re.find(text, pattern, options))
                ngx.say(ngx.re.gmatch(text, pattern, options)())
                ngx.say(ngx.re.sub(text, pattern, "", options))
                ngx.say(ngx.re.gsub(text, pattern, function() return "" end, options))
                ngx.say(require("ngx.re").split(text, pattern, options))
                ngx.say(ngx.re.match(text, "a!", options)[0])
            end
        }
    }
--- request
GET /t
--- response_body eval
<<'_' x 3
nilpcre_exec() failed: -8
nilnilpcre_exec() failed: -8
nilpcre_exec() failed: -8
nilnilpcre_exec() failed: -8
nilnilpcre_exec() failed: -8
nilpcre_exec() failed: -8
a!
_

=== TEST 15: without a limit of the configuration's, PCRE2's own holds
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(ngx.re.match(("a"):rep(60) .. "!", "(a|a?)+$", "jo"))
        }
    }
--- request
GET /t
--- response_body
nilpcre_exec() failed: -8
--- timeout: 20

=== TEST 16: nginx names the file and the line of a limit that is no number
--- http_config
    lua_regex_match_limit -1;
--- config
    location = /t { return 200; }
--- must_die
--- error_log eval
qr/\[emerg\] .*?invalid number in .*?nginx\.conf:\d+/

=== TEST 17: nginx names the file and the line of a number of entries that is given twice
--- http_config
    lua_regex_cache_max_entries 5;
    lua_regex_cache_max_entries 6;
--- config
    location = /t { return 200; }
--- must_die
--- error_log eval
qr/\[emerg\] .*?"lua_regex_cache_max_entries" directive is duplicate in .*?nginx\.conf:\d+/

=== TEST 18: an unknown letter and what is no text are errors of the caller's line
--- config
    location = /t {
        content_by_lua_block {
            local function try(f, ...)
                local args = { ... }
                local _, err = pcall(function()
                    local _ = f(unpack(args, 1, 5))
                end)
                ngx.say((err:gsub(":%d+%)", ")")))
            end
            try(ngx.re.match, "a", "a", "joZ")
            try(ngx.re.find, "a", "a", "joZ")
            try(ngx.re.gmatch, "a", "a", "joZ")
            try(ngx.re.sub, "a", "a", "b", "joZ")
            try(ngx.re.gsub, "a", "a", function() end, "joZ")
            try(require("ngx.re").split, "a", "a", "joZ")
            try(ngx.re.match, "a", {})
            try(ngx.re.match, "a", nil)
            try(ngx.re.match, "a", "a", true)
            ngx.say(ngx.re.match(nil, "nil")[0], ngx.re.match(true, "ru")[0])
        }
    }
--- request
GET /t
--- response_body
content_by_lua(nginx.conf):5: unknown flag "Z" (flags "joZ")
content_by_lua(nginx.conf):5: unknown flag "Z" (flags "joZ")
content_by_lua(nginx.conf):5: unknown flag "Z" (flags "joZ")
content_by_lua(nginx.conf):5: unknown flag "Z" (flags "joZ")
content_by_lua(nginx.conf):5: unknown flag "Z" (flags "joZ")
content_by_lua(nginx.conf):5: unknown flag "Z" (flags "joZ")
content_by_lua(nginx.conf):5: bad argument #2 (string expected, got table)
content_by_lua(nginx.conf):5: bad argument #2 (string expected, got nil)
content_by_lua(nginx.conf):5: bad argument #3 (string expected, got boolean)
nilru

=== TEST 19: split gives what lies between the matches
--- config
    location = /t {
        content_by_lua_block {
            local split = require("ngx.re").split
            local function show(...)
                local res, err = split(...)
                ngx.say(err or #res .. " " .. table.concat(res, "|"))
            end
            for _, options in ipairs { "", "jo" } do
                show("a,b,,c,,", ",", options)
                show("a,b,,c,,", ",", options, nil, 3)
                show("a,b,,c,,", ",", options, nil, 9)
                show(",,", ",", options)
                show("a1b2c", [[(\d)]], options)
                show("a1b;c", [[(\d)|;]], options)
                show("abc", "", options)
                show("äö", "", "u" .. options)
                show("abc", "", options, nil, 2)
                show("", ",", options)
                show("abc", "x", options)
                show(1213, 2, options)
                show("abc", "abc", options)
                show("a, b", ",| |x?", options)
                show("abc", "(", options)
                show("\xff", ".", "u" .. options)
            end
        }
    }
--- request
GET /t
--- response_body eval
<<'_' x 2
4 a|b||c
3 a|b|,c,,
6 a|b||c||
0 
5 a|1|b|2|c
4 a|1|b|c
3 a|b|c
2 ä|ö
2 a|bc
0 
1 abc
2 1|13
0 
3 a||b
pcre_compile() failed: missing ) in "("
pcre_exec() failed: -10
_

=== TEST 20: split begins where a context says, and fills a table that is given
--- config
    location = /t {
        content_by_lua_block {
            local split = require("ngx.re").split
            local t = { 1, 2, 3, 4, 5, 6 }
            ngx.say(split("a,b,c", ",", "jo", { pos = 3 }, nil, t) == t, " ", t[1], t[2], t[3], t[4])
            ngx.say(#split("a,b", ",", "jo", { pos = 9 }), #split("a,b", ",", "jo", { pos = -9 }), #split("a,b", ",", "jo", {}))
            ngx.say(split("a,b", ",", nil, { pos = 9 }, nil, t)[1])
            ngx.say(select(2, pcall(split, "a,b", ",", nil, nil, nil, "t")))
        }
    }
--- request
GET /t
--- response_body_like
^true bcnil4
022
nil
.*res is not a table

=== TEST 21: the stack of patterns with j is enlarged before any stays, by the configuration
--- http_config
    init_by_lua_block {
        require("ngx.re").opt("jit_stack_size", 8 * 1024 * 1024)
    }
--- config
    location = /t {
        content_by_lua_block {
            local opt = require("ngx.re").opt
            ngx.say(ngx.re.find(("x"):rep(4000) .. "!", "(?:(.)|(..))*!", "jo"))
            ngx.say(select(2, pcall(opt, "jit_stack_size", 1024)))
            ngx.say(select(2, pcall(opt, "jit", 1024)))
        }
    }
--- request
GET /t
--- response_body_like
^14001
.*changing jit stack size is not allowed when some regexs have already been compiled and cached
.*unrecognized option name

=== TEST 22: a stack that is too small is an error
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(ngx.re.find(("x"):rep(4000) .. "!", "(?:(.)|(..))*!", "jo"))
            ngx.say(ngx.re.find(("x"):rep(4000) .. "!", "(?:(.)|(..))*!", "o"))
        }
    }
--- request
GET /t
--- response_body
nilnilpcre_exec() failed: -27
14001

=== TEST 23: it works in every phase
--- http_config
    init_by_lua_block { text = ngx.re.gsub("init", "i", "I", "jo") }
    init_worker_by_lua_block { ngx.log(ngx.NOTICE, "worker ", ngx.re.match("a1", [[\d]], "jo")[0]) }
--- config
    location = /t {
        set_by_lua_block $set { return ngx.re.match("set 2", [[\d]], "jo")[0] }
        rewrite_by_lua_block { ngx.ctx.rewrite = ngx.re.match("3", [[\d]], "jo")[0] }
        access_by_lua_block { ngx.ctx.access = ngx.re.match("4", [[\d]], "jo")[0] }
        content_by_lua_block {
            ngx.timer.at(0, function() ngx.log(ngx.NOTICE, "timer ", ngx.re.match("8", [[\d]], "jo")[0]) end)
            ngx.say(text, ngx.var.set, ngx.ctx.rewrite, ngx.ctx.access)
        }
        header_filter_by_lua_block { ngx.header.X = ngx.re.match("5", [[\d]], "jo")[0] }
        body_filter_by_lua_block { ngx.arg[1] = ngx.re.gsub(ngx.arg[1], "t", "T", "jo") }
        log_by_lua_block { ngx.log(ngx.NOTICE, "log ", ngx.re.match("7", [[\d]], "jo")[0]) }
    }
--- request
GET /t
--- response_body
InIT234
--- response_headers
X: 5
--- wait: 0.1
--- error_log
worker 1
log 7
timer 8

=== TEST 24: without a code cache, limits hold and patterns work
--- http_config
    lua_code_cache off;
    lua_regex_match_limit 20000;
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(ngx.re.match(("a"):rep(60) .. "!", "(a|a?)+$", "jo"))
            ngx.say(ngx.re.gsub("abc", [[\w]], function(m) return m[0] .. "." end, "jo"))
        }
    }
--- request eval
["GET /t", "GET /t"]
--- response_body eval
["nilpcre_exec() failed: -8\na.b.c.3\n", "nilpcre_exec() failed: -8\na.b.c.3\n"]

=== TEST 25: libraries compile and match by themselves
--- config
    location = /t {
        content_by_lua_block {
            local core = require "resty.core.regex"
            local C = require("ffi").C
            local function try(pattern, options, text)
                local regex, once, flags = core.re_match_compile(pattern, options)
                if not regex then return ngx.say(regex, " ", once) end
                local count = C.ngx_http_lua_ffi_exec_regex(regex, flags, text, #text, 0)
                ngx.print(once, " ", count, " ", regex.ncaptures, regex.name_count)
                if count > 0 then
                    local m = core.collect_captures(regex, count, text, flags, nil)
                    ngx.print(" ", m[0], m[1], m[2], " ", type(m.n) == "table" and table.concat(m.n, ",") or m.n)
                end
                ngx.say()
                if not once then core.destroy_compiled_regex(regex) end
            end
            try("(?<n>a)(b)?", "jo", "xa")
            try("(?<n>a)(b)?", "jo", "xb")
            try("(?<n>a)(?<n>b)", "D", "ab")
            try("a|ab", "d", "ab")
            try("(.)", "u", "\xff")
            try("(", "jo")
            ngx.say(core.is_regex_cache_empty())
            ngx.say(pcall(core.re_match_compile, "a", "Z"))
        }
    }
--- request
GET /t
--- response_body_like
^true 2 21 aafalse a
true -1 21
false 3 22 abab a,b
false 1 00 abnilnil nil
false -10 10
nil pcre_compile\(\) failed: missing \) in "\("
false
false.*unknown flag "Z" \(flags "Z"\)

=== TEST 26: patterns are those of years: needless escapes and hyphens behind a class
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(ngx.re.match("me@my-site.org!", [[[\w-.]+\@[\w-.]+\_?]], "jo")[0])
            ngx.say(ngx.re.match("aib", [[a\ib]], "jo")[0])
        }
    }
--- request
GET /t
--- response_body
me@my-site.org
aib

=== TEST 27: at debug the log says whether a pattern with j became machine code
--- config
    location = /t {
        content_by_lua_block {
            ngx.re.match("a", "a", "j")
            ngx.re.match("a", "a")
            ngx.re.match("ä", [[\C\C]], "ju")
            ngx.say("ok")
        }
    }
--- request
GET /t
--- response_body
ok
--- grep_error_log eval
qr/pcre JIT compiling result: \d/
--- grep_error_log_out
pcre JIT compiling result: 1
pcre JIT compiling result: 0
--- log_level: debug

=== TEST 28: a finalizer that matches while a table is filled changes nothing in it
--- config
    location = /t {
        content_by_lua_block {
            local match, wrong, ran = ngx.re.match, 0, 0
            local function leave()
                local proxy = newproxy(true)
                getmetatable(proxy).__gc = function()
                    ran = ran + 1
                    match("zzzzzzzzzz", "z(z)(z)(z)", "jo", { pos = 5 })
                end
            end
            jit.off()
            for i = 1, 5000 do
                local text = "a" .. i .. "b" .. i .. "c" .. i
                leave()
                local m = match(text, [[a(\d+)b(?<n>\d+)c(\d+)]], "jo")
                if m[0] ~= text or m[1] ~= m[2] or m[3] ~= tostring(i) or m.n ~= m[1] then wrong = wrong + 1 end
            end
            jit.on()
            ngx.say(wrong, " ", ran > 100)
        }
    }
--- request
GET /t
--- response_body
0 true
--- timeout: 20

=== TEST 29: finalizers that run when a VM closes match nothing, and harm nothing
--- http_config
    lua_code_cache off;
--- config
    location = /t {
        content_by_lua_block {
            local proxy, state = newproxy(true), {}
            local it = ngx.re.gmatch("aaa", "a", "")
            getmetatable(proxy).__gc = function()
                local m, err = ngx.re.match("abc", "b", "jo")
                print("match ", m, " ", err)
                print("sub ", ngx.re.gsub("abc", "b", "x", "jo"))
                print("function ", ngx.re.gsub("abc", "b", function() return "x" end, "jo"))
                print("iterator ", it())
                print("fresh ", ngx.re.match("abc", "c")[0])
            end
            state.proxy = proxy
            package.loaded.state = state
            ngx.say(ngx.re.match("abc", "b", "jo")[0], ngx.re.gsub("abc", "b", function() return "x" end, "jo"))
        }
    }
--- request
GET /t
--- response_body
baxc1
--- wait: 0.1
--- error_log
match nil the Lua VM is closing
sub nilnilthe Lua VM is closing
function nilnilthe Lua VM is closing
iterator nilthe Lua VM is closing
fresh c
--- no_error_log
signal

=== TEST 30: a pattern whose matches begin before where the last one ended comes to an end
--- config
    location = /t {
        content_by_lua_block {
            local pattern, n = [[(?(DEFINE)(\Kb))(?<=(?1))]], 0
            for m in ngx.re.gmatch("bab", pattern, "jo") do
                n = n + 1
                if n > 9 then break end
            end
            ngx.say(n, " ", #require("ngx.re").split("bab", pattern, "jo"))
            ngx.say(ngx.re.gsub("bab", pattern, "-", "jo"), " ", ngx.re.gsub("bab", pattern, function() return "+" end, "jo"))
        }
    }
--- request
GET /t
--- response_body
4 3
--a-- ++a++4
