# ngx.shared.DICT and lua_shared_dict.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();

# What nginx says to a block's configuration with that option.
sub Test::Base::Filter::test_nginx {
    my ($option) = @_;
    my $root = $Test::Nginx::Util::ServRoot;
    return `'$Test::Nginx::Util::NginxBinary' $option -p '$root' -c '$root/conf/nginx.conf' 2>&1`;
}

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => 'lua_shared_dict dict 1m; lua_shared_dict small 40k;') if !defined $block->http_config;
    return if defined $block->must_die;
    $block->set_value(request => 'GET /t') if !defined $block->request;
    $block->set_value(no_error_log => "[error]\n[emerg]") if !defined $block->no_error_log;
});
run_tests();

__DATA__

=== TEST 1: every type comes back with its flags
--- config
    location = /t {
        content_by_lua_block {
            local dict = ngx.shared.dict
            local values = { "text", "", "a\0b", 42, -0.5, 1/0, true, false }
            for i, value in ipairs(values) do
                ngx.print(tostring(dict:set("k\0ey", value, 0, i == 1 and 0 or i)), " ")
                local got, flags = dict:get("k\0ey")
                ngx.say(got == value, " ", type(got), " ", flags)
            end
            dict:set("nan", 0/0)
            ngx.say(dict:get("nan") ~= dict:get("nan"))
            ngx.say(dict:set("k\0ey", nil), " ", dict:get("k\0ey"))
            ngx.say(dict:set(1.5, "of a number") and dict:get("1.5"), " ", dict:set(true, 1) and dict:get("true"))
        }
    }
--- response_body
true true string nil
true true string 2
true true string 3
true true number 4
true true number 5
true true number 6
true true boolean 7
true true boolean 8
true
true nil
of a number 1

=== TEST 2: add, replace and delete mind what is there
--- config
    location = /t {
        content_by_lua_block {
            local dict = ngx.shared.dict
            local function say(...)
                for i = 1, select("#", ...) do ngx.print(i > 1 and " " or "", tostring((select(i, ...)))) end
                ngx.say()
            end
            say(dict:replace("k", 1))
            say(dict:add("k", 1))
            say(dict:add("k", 2))
            say(dict:safe_add("k", 2))
            say(dict:replace("k", 3))
            say(dict:get("k"))
            say(dict:add("k", nil))
            say(dict:replace("k", nil))
            say(dict:delete("k"))
            say(dict:get("k"))
            say(dict:delete("k"))
            say(dict:safe_set("k", "v"))
        }
    }
--- response_body
false not found false
true nil false
false exists false
false exists false
true nil false
3
false attempt to add or replace nil values false
false attempt to add or replace nil values false
true nil false
nil
true nil false
true nil false

=== TEST 3: what expires is gone for get, and stale for get_stale
--- config
    location = /t {
        content_by_lua_block {
            local dict = ngx.shared.dict
            dict:set("k", "v", 0.05, 7)
            dict:set("flagless", true, 0.05)
            dict:set("tiny", 1, 1e-9)
            local ttl = dict:ttl("k")
            ngx.say((dict:get("k")), " ", ttl > 0 and ttl <= 0.05)
            ngx.say(dict:ttl("none"))
            ngx.say(dict:get_stale("k"))
            ngx.sleep(0.07)
            ngx.say(dict:get("k"), " ", dict:get("tiny"), " ", dict:ttl("k") < 0)
            ngx.say(dict:get_stale("k"))
            ngx.say(dict:get_stale("flagless"))
            ngx.say(dict:get_stale("none"))
            ngx.say(dict:expire("k", 10), " ", (dict:get("k")), " ", dict:ttl("k") > 9)
            ngx.say(dict:expire("k", 0), " ", dict:ttl("k"))
            ngx.say(dict:expire("none", 1))
            ngx.say(dict:expire("k", "10"), " ", dict:ttl("k") > 9, " ", (pcall(dict.expire, dict, "k", true)))
            dict:rpush("list", 1)
            dict:expire("list", 0.001)
            ngx.sleep(0.01)
            ngx.say(select("#", dict:get("list")), " ", select(2, dict:get_stale("list")))
        }
    }
--- response_body
v true
nilnot found
v7false
nil nil true
v7true
trueniltrue
nil
true v true
true 0
nilnot found
true true false
1 value is a list

=== TEST 4: times that are none, and those that are far away
--- config
    location = /t {
        content_by_lua_block {
            local dict = ngx.shared.dict
            for _, time in ipairs { -1, 0/0, "soon", -1/0 } do
                ngx.say("set: ", select(2, pcall(dict.set, dict, "k", 1, time)))
                ngx.say("incr: ", select(2, pcall(dict.incr, dict, "k", 1, 0, time)))
            end
            ngx.say(select(2, pcall(dict.expire, dict, "k")))
            ngx.say(select(2, pcall(dict.expire, dict, "k", 0/0)))
            for _, time in ipairs { 0, 1e300, 1/0, 2^53 } do
                dict:set("k", 1, time)
                ngx.print(dict:get("k"), dict:ttl("k") > 1e9 and " far " or " never ")
            end
            ngx.say()
        }
    }
--- response_body_like
^set: bad "exptime" argument
incr: bad "init_ttl" argument
set: bad "exptime" argument
incr: bad "init_ttl" argument
set: .*attempt to compare .*
incr: bad init_ttl arg: number expected, got string
set: bad "exptime" argument
incr: bad "init_ttl" argument
bad "exptime" argument
bad "exptime" argument
1 never 1 far 1 far 1 far 

=== TEST 5: counters
--- config
    location = /t {
        content_by_lua_block {
            local dict = ngx.shared.dict
            ngx.say(dict:incr("n", 1))
            ngx.say(dict:incr("n", 2, 10))
            ngx.say(dict:incr("n", 0.5))
            ngx.say(dict:incr("n", "4", 1))
            ngx.say((dict:incr("e", 1, 0, 0.02)), " ", dict:ttl("e") <= 0.02)
            ngx.sleep(0.04)
            ngx.say(dict:incr("e", 1))
            ngx.say((dict:incr("e", 5, 1)), " ", dict:ttl("e"))
            dict:set("s", "1")
            ngx.say(dict:incr("s", 1))
            ngx.say(pcall(dict.incr, dict, "n"))
            ngx.say(pcall(dict.incr, dict, "n", 1, {}))
            ngx.say(pcall(dict.incr, dict, "n", 1, nil, 5))
        }
    }
--- response_body
nilnot found
12nilfalse
12.5
16.5nilfalse
1 true
nilnot found
6 0
nilnot a number
falsecannot convert 'nil' to 'double'
falsebad init arg: number expected, got table
falsemust provide "init" when providing "init_ttl"

=== TEST 6: keys that are none, values that can't be kept, and objects that are no dictionary
--- config
    location = /t {
        content_by_lua_block {
            local dict = ngx.shared.dict
            local long = string.rep("k", 65536)
            local more = { set = { 1 }, add = { 1 }, incr = { 1 }, expire = { 1 }, lpush = { 1 } }
            for _, name in ipairs { "get", "get_stale", "set", "add", "delete", "incr", "ttl", "expire", "lpush", "rpop", "llen" } do
                local arguments = more[name] or {}
                for _, key in ipairs { false, "", long } do
                    local _, value, err = pcall(dict[name], dict, key or nil, unpack(arguments))
                    ngx.print(tostring(value), " ", err, "; ")
                end
                for _, object in ipairs { {}, { 1 }, "dict" } do
                    ngx.print((select(2, pcall(dict[name], object, "k", unpack(arguments)))), "; ")
                end
                ngx.say()
            end
            ngx.say(dict:set("k", {}))
            ngx.say(dict:set("k", ngx.null))
            ngx.say(dict:lpush("k", true))
            ngx.say(dict:set(string.sub(long, 2), "v") and dict:get(string.sub(long, 2)))
        }
    }
--- response_body eval
"nil nil key; nil empty key; nil key too long; bad \"zone\" argument; bad \"zone\" argument; bad \"zone\" argument; \n" x 11
. "nilbad value type\n" x 3 . "v\n"

=== TEST 7: lists
--- config
    location = /t {
        content_by_lua_block {
            local dict = ngx.shared.dict
            ngx.say(dict:llen("l"), " ", dict:lpop("l"))
            ngx.say(dict:rpush("l", 1), " ", dict:lpush("l", "two"), " ", dict:rpush("l", ""), " ", dict:llen("l"))
            ngx.say(dict:get("l"))
            ngx.say(dict:get_stale("l"))
            ngx.say(dict:incr("l", 1))
            ngx.say(dict:lpop("l"), " ", dict:lpop("l"), " [", dict:rpop("l"), "] ", dict:rpop("l"), " ", dict:llen("l"))
            dict:set("v", 1)
            ngx.say(dict:lpush("v", 1))
            ngx.say(dict:rpop("v"))
            ngx.say(dict:llen("v"))
            dict:lpush("l", "x")
            ngx.say(dict:set("l", "y") and dict:get("l"))
            ngx.say(pcall(dict.lpush, dict, "l"))
            ngx.say(pcall(dict.lpop, dict))
            ngx.say(pcall(dict.llen, dict, "l", 1))
            ngx.say(pcall(dict.rpush, dict, {}, 1))
        }
    }
--- response_body_like
^0 nil
1 2 3 3
nilvalue is a list
nilvalue is a list
nilnot a number
two 1 \[\] nil 0
nilvalue not a list
nilvalue not a list
nilvalue not a list
y
falseexpecting 3 arguments, but only seen 2
falseexpecting 2 arguments, but only seen 1
falseexpecting 2 arguments, but only seen 3
falsebad argument #1 to '\S+' \(string expected, got table\)$

=== TEST 8: flush_all, flush_expired, get_keys
--- config
    location = /t {
        content_by_lua_block {
            local dict = ngx.shared.dict
            for i = 1, 2000 do
                dict:set("k" .. i, i)
            end
            local keys = dict:get_keys()
            ngx.say(#keys, " ", keys[1], " ", keys[1024], " ", #dict:get_keys(3), " ", #dict:get_keys(0), " ", #dict:get_keys(-1))
            dict:flush_all()
            ngx.say(dict:get("k5"), " ", #dict:get_keys(0), " ", (select(3, dict:get_stale("k1000"))))
            dict:set("new", 1)
            local first = dict:flush_expired(500)
            local rest = dict:flush_expired()
            ngx.say(first, " ", rest > 1400 and rest <= 1500, " ", dict:flush_expired(), " ", dict:get_keys()[1])
            ngx.say(pcall(dict.get_keys, dict, 1, 2))
            ngx.say(pcall(dict.flush_expired))
            ngx.say(pcall(dict.get_keys, dict, "many"))
            ngx.say(pcall(dict.flush_all, nil))
        }
    }
--- response_body_like
^1024 k1 k1024 3 2000 2000
nil 0 true
500 true 0 new
falseexpecting 1 or 2 argument\(s\), but saw 3
falseexpecting 1 or 2 argument\(s\), but saw 0
falsebad argument #1 to '\S+' \(number expected, got string\)
falsebad "zone" argument$

=== TEST 9: when memory is short the oldest go, what was read stays, and safe_set fails
--- config
    location = /t {
        content_by_lua_block {
            local dict = ngx.shared.small
            local empty = dict:free_space()
            local n, ok, err = 0
            repeat
                n = n + 1
                ok, err = dict:safe_set("k" .. n, "some value")
            until not ok
            ngx.say(n > 100, " ", err, " ", dict:free_space(), " ", dict:capacity())
            dict:get("k1")
            ngx.say(dict:set("new1", "some value"))
            ngx.say(dict:set("new2", "some value"))
            ngx.say(dict:get("k1"), ", ", dict:get_stale("k2"), ", ", dict:get("new1"), ", ", dict:get("new2"))
            dict:flush_all()
            ngx.say(dict:flush_expired() > 100, " ", dict:free_space() == empty)
        }
    }
--- response_body
true no memory 0 40960
trueniltrue
trueniltrue
some value, nil, some value, some value
true true

=== TEST 10: a value that is larger than the dictionary leaves all but a few others
--- config
    location = /t {
        content_by_lua_block {
            local dict = ngx.shared.small
            for i = 1, 150 do
                dict:set("k" .. i, i)
            end
            local huge = string.rep("x", 10 * 1024 * 1024)
            ngx.say(dict:set("huge", huge))
            ngx.say(dict:safe_set("huge", huge))
            ngx.say(dict:lpush("huge", huge))
            ngx.say(#dict:get_keys(0), " ", dict:get("k150"))
            local large = string.rep("y", 20000)
            ngx.say(dict:set("large", large) and dict:get("large") == large)
        }
    }
--- response_body
falseno memorytrue
falseno memoryfalse
nilno memory
120 150
true

=== TEST 11: 100,000 keys
--- http_config
    lua_shared_dict dict 32m;
--- config
    location = /t {
        content_by_lua_block {
            local dict = ngx.shared.dict
            for i = 1, 100000 do
                local ok, err, forcible = dict:set("key" .. i, "value" .. i)
                if not ok or forcible then return ngx.say(i, err) end
            end
            for i = 1, 100000 do
                if dict:get("key" .. i) ~= "value" .. i then return ngx.say("key" .. i) end
            end
            local keys = dict:get_keys(0)
            ngx.say(#keys, " ", keys[1], " ", keys[100000])
            for i = 1, 100000, 2 do
                dict:delete("key" .. i)
            end
            ngx.say(#dict:get_keys(0), " ", dict:get("key1"), " ", dict:get("key2"))
        }
    }
--- timeout: 20
--- response_body
100000 key1 key100000
50000 nil value2

=== TEST 12: dictionaries work in every phase and in timers, with init_by_lua first
--- http_config
    lua_shared_dict dict 1m;
    lua_shared_dict other 1m;
    init_by_lua_block { ngx.shared.dict:set("trail", "init") ngx.shared.other:set("other", "other's") }
    init_worker_by_lua_block {
        local dict = ngx.shared.dict
        function note(what) dict:set("trail", dict:get("trail") .. " " .. what) end
        note("init_worker")
        ngx.timer.at(0, function() dict:set("timer", "ran") end)
    }
    exit_worker_by_lua_block { ngx.log(ngx.NOTICE, "at exit: ", ngx.shared.dict:get("trail"), ".") }
--- config
    server_rewrite_by_lua_block { note("server_rewrite") }
    location = /t {
        set_by_lua_block $unused { note("set") return 1 }
        rewrite_by_lua_block { while not ngx.shared.dict:get("timer") do ngx.sleep(0.001) end note("rewrite") }
        access_by_lua_block { note("access") }
        precontent_by_lua_block { note("precontent") }
        content_by_lua_block { note("content") ngx.say(ngx.shared.other:get("other"), " ", ngx.shared.dict:get("other")) }
        header_filter_by_lua_block { note("header") }
        body_filter_by_lua_block { if ngx.arg[2] then note("body") end }
        log_by_lua_block { note("log") }
    }
--- log_level: notice
--- response_body
other's nil
--- shutdown_error_log
at exit: init init_worker server_rewrite set rewrite access precontent content header body log.

=== TEST 13: init_by_lua runs once for all dictionaries, and its error keeps nginx from starting
--- http_config
    lua_shared_dict one 100k;
    lua_shared_dict two 100k;
    init_by_lua_block { error("seen " .. ngx.shared.one:incr("n", 1, 0) .. ngx.shared.two:incr("n", 1, 0)) }
--- config
--- must_die
--- error_log
seen 11

=== TEST 14: a process that only tests the configuration, or sends a signal, doesn't run init_by_lua
--- http_config
    lua_shared_dict dict 100k;
    init_by_lua_block { io.stderr:write("init ran\n") }
--- config
    location = /t { content_by_lua_block { ngx.say("served") } }
--- response_body_filters eval
sub { $_[0] . Test::Base::Filter::test_nginx('-t') . "reopened: " . Test::Base::Filter::test_nginx('-s reopen') }
--- response_body_like eval
qr/^served\n(?!.*init ran).*test is successful\nreopened: /s

=== TEST 15: nor does it without dictionaries
--- http_config
    init_by_lua_block { io.stderr:write("init ran\n") }
--- config
    location = /t { content_by_lua_block { ngx.say("served") } }
--- response_body_filters eval
sub { $_[0] . Test::Base::Filter::test_nginx('-t') . "reopened: " . Test::Base::Filter::test_nginx('-s reopen') }
--- response_body_like eval
qr/^served\n(?!.*init ran).*test is successful\nreopened: /s

=== TEST 16: without shared dictionaries ngx.shared is an empty table
--- http_config
--- config
    location = /t { content_by_lua_block { ngx.say(type(ngx.shared), " ", next(ngx.shared), " ", ngx.shared.dict) } }
--- response_body
table nil nil

=== TEST 17: with lua_code_cache off the contents stay from request to request
--- http_config
    lua_shared_dict dict 100k;
    lua_code_cache off;
    init_by_lua_block { ngx.shared.dict:incr("vms", 1, 0) }
--- config
    location = /t { content_by_lua_block { ngx.say((ngx.shared.dict:incr("n", 1, 0))) } }
    location = /vms { content_by_lua_block { ngx.say(ngx.shared.dict:get("vms") > 2) } }
--- request eval
["GET /t", "GET /t", "GET /vms"]
--- response_body eval
["1\n", "2\n", "true\n"]

=== TEST 18: a name that is taken
--- http_config
    lua_shared_dict dict 1m;
    lua_shared_dict dict 1m;
--- config
--- must_die
--- error_log
lua_shared_dict "dict" is already defined as "dict"

=== TEST 19: a name that is taken, of another size
--- http_config
    lua_shared_dict dict 1m;
    lua_shared_dict dict 2m;
--- config
--- must_die
--- error_log
the size 2097152 of shared memory zone "dict" conflicts with already declared size 1048576

=== TEST 20: a name that is empty
--- http_config
    lua_shared_dict "" 1m;
--- config
--- must_die
--- error_log
invalid lua shared dict name ""

=== TEST 21: a size that is too small
--- http_config
    lua_shared_dict dict 8191;
--- config
--- must_die
--- error_log
invalid lua shared dict size "8191"

=== TEST 22: a size that is no number
--- http_config
    lua_shared_dict dict large;
--- config
--- must_die
--- error_log
invalid lua shared dict size "large"

=== TEST 23: a size that nginx's own part of the zone uses up
--- http_config
    lua_shared_dict dict 8k;
--- config
--- must_die
--- error_log
lua_shared_dict "dict" is too small: 8192 bytes have no room for a page of values

=== TEST 24: the smallest that is large enough
--- http_config
    lua_shared_dict dict 12k;
--- config
    location = /t { content_by_lua_block { ngx.say(ngx.shared.dict:set("k", "v") and ngx.shared.dict:get("k")) } }
--- response_body
v

=== TEST 25: the directive belongs into http
--- config
    lua_shared_dict dict 1m;
--- must_die
--- error_log
"lua_shared_dict" directive is not allowed here
