# How { Lua } blocks are read from the configuration: where they end, and what is said when they don't.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: braces in strings, long brackets and comments don't count
--- config
    location = /t {
        content_by_lua_block {
            local s = "}" .. '}' .. "\"}" .. '\'}' .. [[}]] .. [==[ ]] } ]=] ]==] -- }
            --[[ } ]]
            --[==[ } ]]
              } ]==]
            -- [[ }
            local t = { { "{" }, ['{'] = "}" } --}
            ngx.say(s, " ", t[1][1], t["{"])
        }
    }
--- request
GET /t
--- response_body
}}"}'}} ]] } ]=]  {}

=== TEST 2: nested tables and functions on one line
--- config
    location = /t { content_by_lua_block { local t = {{}, {{{}}}, f = function() return {} end} ngx.say(#t, type(t.f())) } }
--- request
GET /t
--- response_body
2table

=== TEST 3: nginx's own signs have no meaning inside: $, ;, # and quotes in comments
--- config
    location = /t {
        content_by_lua_block {
            -- don't stop at this quote, or at "that
            local a, b = "$uri", '#'; -- ; }
            ngx.say(a, b, #a, 7 - - -3, type[[b]] == "string");
        }
    }
--- request
GET /t
--- response_body
$uri#44true

=== TEST 4: an empty block, and one of a comment
--- config
    location = /empty { content_by_lua_block { } }
    location = /comment { content_by_lua_block { -- nothing
    } }
    location = /tight { content_by_lua_block {ngx.say("tight")} }
--- request eval
["GET /empty", "GET /comment", "GET /tight"]
--- response_body eval
["", "", "tight\n"]

=== TEST 5: a block that isn't closed is refused with its line
--- config
    location = /t {
        content_by_lua_block {
            local t = {{{{{{{{ 1, 2
        }
    }
--- must_die
--- error_log eval
qr/unexpected end of file.*lua code block.* in .*nginx\.conf:\d+/

=== TEST 6: a brace too many ends the block early, and nginx says what it doesn't understand
--- config
    location = /t {
        content_by_lua_block {
            ngx.say("a") }
        }
        }
    }
    location = /next { return 200; }
--- must_die
--- error_log eval
qr/"location" directive is not allowed here in .*nginx\.conf:\d+/

=== TEST 7: a long bracket that isn't closed is refused
--- config
    location = /t {
        content_by_lua_block {
            local s = [==[ never closed ]]
        }
    }
--- must_die
--- error_log eval
qr/Lua code block missing the closing long bracket "\]==\]".* in .*nginx\.conf:\d+/

=== TEST 8: a long comment that isn't closed is refused
--- config
    location = /t {
        content_by_lua_block {
            --[[ never closed }
        }
    }
--- must_die
--- error_log eval
qr/Lua code block missing the closing long bracket "\]\]".* in .*nginx\.conf:\d+/

=== TEST 9: a block over 4 KiB, with tokens on every boundary
--- config eval
"location = /t { content_by_lua_block {\n local n = 0\n" .
CORE::join("", map { "n = n + #'}$_' + #[=[ ]] } ]=] --[[ } ]] -- }\n" } 1 .. 300) . "ngx.say(n) } }"
--- request
GET /t
--- response_body eval
my $n = 0; $n += 1 + length($_) + 6 for 1 .. 300; "$n\n"

=== TEST 10: a block over 64 KiB
--- config eval
"location = /t { content_by_lua_block {\n local t = {}\n" .
CORE::join("", map { "t[$_] = '}' .. \"{\" .. [[}]]\n" } 1 .. 4000) . "ngx.say(#table.concat(t)) } }"
--- request
GET /t
--- response_body
12000

=== TEST 11: a long string over 64 KiB in a block
--- config eval
"location = /t { content_by_lua_block { ngx.print([[" . "}{" x 50000 . "]]) } }"
--- request
GET /t
--- response_body eval
"}{" x 50000

=== TEST 12: lines that end in CR LF
--- config eval
"location = /t {\r\n content_by_lua_block {\r\n -- } comment\r\n local s = [[a\r\nb]]\r\n ngx.say(#s, ' }')\r\n }\r\n}\r\n"
--- request
GET /t
--- response_body
3 }

=== TEST 13: an error's line counts from the block's first line, in several blocks
--- config
    location = /a {
        content_by_lua_block {

            error("in a")
        }
    }
    location = /b { content_by_lua_block { error("in b") } }
--- request eval
["GET /a", "GET /b"]
--- error_code eval
[500, 500]
--- error_log eval
qr/content_by_lua\(nginx\.conf:40\):3: in a|content_by_lua\(nginx\.conf:45\):1: in b/

=== TEST 14: a block in an included file reports that file
--- config
    include ../html/part.conf;
--- user_files
>>> part.conf
location = /t {
    content_by_lua_block {
        error("in part")
    }
}
--- request
GET /t
--- error_code: 500
--- error_log eval
qr/content_by_lua\(\S*part\.conf:2\):2: in part/

=== TEST 15: a directive's string has nginx's escapes, and a variable in it stays as it is
--- config
    location = /t { content_by_lua 'ngx.say("a\\tb", " ", \'$uri\')'; }
--- request
GET /t
--- response_body eval
"a\tb \$uri\n"

=== TEST 16: a block with NUL bytes, high bytes and a byte order mark in strings
--- config eval
"location = /t { content_by_lua_block { ngx.say('\xef\xbb\xbf\xff}', #'\xc3\xa9') } }"
--- request
GET /t
--- response_body eval
"\xef\xbb\xbf\xff}2\n"

=== TEST 17: a block where text is wanted, and text where a block is wanted, are refused
--- config
    location = /t { content_by_lua_block 'ngx.say("x")'; }
--- must_die
--- error_log eval
qr/\[emerg\].*nginx\.conf:\d+/

=== TEST 18: a long bracket that isn't closed is reported on its own line
--- config
    location = /t {
        content_by_lua_block {
            local s = "}"
            local t = --[[ closed ]] [==[ open
        }
    }
--- must_die
--- error_log eval
qr/missing the closing long bracket "\]==\]", the inlined Lua code may be too long in \S*nginx\.conf:42\b/

=== TEST 19: a block that isn't closed is reported on the line of its brace
--- config
    location = /t {
        content_by_lua_block {
            local t = {{{{{{{{ 1,

        }
--- must_die
--- error_log eval
qr/unexpected end of file.* starts at line 40 in \S*nginx\.conf:40\b/

=== TEST 20: text that would only be Lua inside a function is refused
--- config
    location = /text { content_by_lua 'ngx.say("ran") end, function() ngx.say("ran")'; }
    location = /block { content_by_lua_block { ngx.say("ran") end) x = (function() } }
    location = /file { content_by_lua_file html/end.lua; }
--- user_files
>>> end.lua
ngx.say("ran")
end if true then
--- request eval
["GET /text", "GET /block", "GET /file"]
--- error_code eval
[500, 500, 500]
--- error_log eval
qr/(content_by_lua\(nginx\.conf:(39|40)\):1|end\.lua:2): '<eof>' expected near 'end'/

=== TEST 21: a file may begin with a mark of UTF-8 and a line for the shell
--- config
    location = /mark { content_by_lua_file html/mark.lua; }
    location = /shell { content_by_lua_file html/shell.lua; }
    location = /both { content_by_lua_file html/both.lua; }
--- user_files eval
">>> mark.lua\n\xef\xbb\xbfngx.say('mark')\n" .
">>> shell.lua\n#!/usr/bin/lua\r\nngx.say('shell')\n" .
">>> both.lua\n\xef\xbb\xbf#!/usr/bin/lua\nngx.say('both')\n"
--- request eval
["GET /mark", "GET /shell", "GET /both"]
--- response_body eval
["mark\n", "shell\n", "both\n"]

=== TEST 22: a vertical tab and a line end skipped in a string, and a comment that a carriage return ends
--- config eval
"location = /t { content_by_lua_block { local s = 'a\\z\x0b\n }b' -- }\r ngx.say(s) } }"
--- request
GET /t
--- response_body
a}b
