# Topics: appending and reading from functions and other Lua, and what is refused.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Test::Nginx::Socket;
use Topics;

use_shop();

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: an append answers with the offsets of its events, which grow
--- cases
GET /append/bills/a => 200 {"data":["ok",1]}
GET /append/bills/b => 200 {"data":["ok",2]}
GET /append/bills/a?total=7 => 200 {"data":["ok",3]}
GET /read/bills => 200 {"data":["1:a 2:b 3:a",4]}
GET /last/bills/a => 200 {"data":[3,{"total":7},"bills",true]}
GET /last/bills/nobody => 200 {"data":"none"}
--- no_error_log
[error]



=== TEST 2: events of one append follow each other
--- cases
GET /append/bills/a?also=b => 200 /^\{"data":\["ok",[12],[12]\]\}/
GET /offsets/bills => 200 {"data":[0,1,3,{}]}



=== TEST 3: a read chooses by offset, number and key
--- cases
GET /append/bills/a => 200 {"data":["ok",1]}
GET /append/bills/b => 200 {"data":["ok",2]}
GET /append/bills/a => 200 {"data":["ok",3]}
GET /append/bills/c => 200 {"data":["ok",4]}
GET /read/bills?from=2 => 200 {"data":["2:b 3:a 4:c",5]}
GET /read/bills?from=2&limit=1 => 200 {"data":["2:b",3]}
GET /read/bills?key=a => 200 {"data":["1:a 3:a",4]}
GET /read/bills?from=9 => 200 {"data":["",9]}



=== TEST 4: what can't be appended or read is refused with the reason
--- cases
GET /wrong/topic => 200 /topic \\"nothing\\" is not declared in config.*application.yml/
GET /wrong/dead => 200 /topic \\"bills.dead\\" is not declared/
GET /wrong/empty => 200 /an append needs at least one event/
GET /wrong/key => 200 /the key of an event must be a string, got a number/
GET /wrong/value => 200 /the value of key \\"a\\" can't be JSON: .*function/
GET /wrong/utf8 => 200 /key .* is not UTF-8/
GET /wrong/large => 200 /event of \d+ bytes in topic \\"bills\\", key \\"a\\": at most 1048576 are allowed/
GET /wrong/long-key => 200 /key of 5000 bytes in topic \\"bills\\": at most 4096 are allowed/
GET /wrong/number => 200 /bad argument #1 to 'topics.append' \(string expected, got number\)/
GET /wrong/entries => 200 /bad argument #2 to 'topics.append' \(table expected, got nil\)/
GET /wrong/limit => 200 /limit must be an integer from 1 to 10000/
GET /wrong/from => 200 /from must be an integer/
GET /wrong/partition => 200 /partition 7 of topic \\"bills\\" does not exist/
GET /wrong/last => 200 /bad argument #2 to 'topics.last'/
GET /wrong/offsets => 200 /topic \\"nothing\\" is not declared/
GET /read/bills => 200 {"data":["",0]}



=== TEST 5: other Lua of the project's server reaches its topics too
--- config
location /content {
    content_by_lua_block {
        local topics = require "spacer.topics"
        ngx.say(topics.append("bills", { content = 1 }) .. " " .. topics.last("bills", "content").offset)
    }
}
location /access {
    access_by_lua_block { require("spacer.topics").append("bills", { access = 1 }) }
    content_by_lua_block { ngx.say(require("spacer.topics").last("bills", "access").offset) }
}
location /filter {
    return 200 "filtered\n";
    header_filter_by_lua_block {
        local ok, message = pcall(require("spacer.topics").append, "bills", { a = 1 })
        ngx.header["X-Message"] = message
    }
}
--- cases
GET /content => 200 ok 1
GET /access => 200 2
GET /filter => 200 filtered
--- response_headers eval
["", "", "X-Message: topics.append: API disabled in the context of header_filter_by_lua*"]



=== TEST 6: while the store is away an append fails in time, in a function with 503, and others work
--- user_files
>>> config/application.yml
spacerVersion: 1
topics: [bills]
appendTimeout: 200ms
logStorage:
  development: { driver: sqlite, path: app/plain.lua/events.db }
>>> app/gateway.lua
return { {"ANY", "/append/:topic/:key", "append"}, {"ANY", "/plain", "plain"}, {"ANY", "/caught", "caught"} }
--- config
location = /append { spacer_append; }
spacer_gateway app/gateway.lua;
--- cases
GET /plain => 200 {"data":"plain"}
GET /append/bills/a => 503 /event log .*is unavailable/
POST /append {"topic":"bills","entries":{"a":1}} => 503 /event log .*is unavailable/
GET /caught => 200 /\[false,"event log .* is unavailable/
GET /plain => 200 {"data":"plain"}
GET /log => 200 /\A(?:(?!is unavailable).)*\[error\] \S+ event log [^\n]* is unavailable: (?:(?!is unavailable).)*\z/
