# Topics: the write proxy, and the endpoint that a replay sends events to.

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

=== TEST 1: the write proxy takes events over HTTP
--- config
location = /append { spacer_append; }
spacer_gateway app/gateway.lua;
--- cases
POST /append {"topic":"bills","entries":{"a":{"x":1}}} => 200 {"data":"ok"}
POST /append {"topic":"nothing","entries":{"a":1}} => 400 /topic \\"nothing\\" is not declared/
POST /append {"topic":"bills","entries":{}} => 400 /an append needs at least one event/
POST /append {"topic":"bills","entries":[1]} => 400 /expected an object of keys and values/
POST /append {"topic":"bills"} => 400 /missing field `entries`/
POST /append {"entries":{"a":1}} => 400 /missing field `topic`/
POST /append [X-Array: yes] [1] => 400 /the body must be \{\\"topic\\"/
POST /append [X-Array: yes] ["bills",{"a":1}] => 400 /it is an array/
POST /append {"topic": => 400 /EOF while parsing/
POST /append {"topic":"bills","entries":{"a":{"x":}}} => 400 /expected value at line 1 column/
POST /append {"topic":1,"entries":{"a":1}} => 400 /invalid type: integer `1`, expected a string/
POST /append => 400 /the body is empty/
GET /append => 405 {"error":"method not allowed"}
GET /last/bills/a => 200 {"data":[1,{"x":1},"bills",true]}
--- no_error_log
[error]



=== TEST 2: it takes events as `spacer topics tail --json` prints them, with their headers, all of them or none
--- config
location = /append { spacer_append; }
spacer_gateway app/gateway.lua;
--- cases
POST /append {"topic":"bills","partition":3,"offset":9,"key":"a","time":5,"headers":{"from":"afar"},"value":null} => 200 {"data":"ok"}
POST /append {"topic":"bills","key":"b","headers":{},"value":{"x":1.50}}\n{"topic":"tries","key":"c","value":2}\n{"topic":"bills","entries":{"d":4,"e":5}}\n => 200 {"data":"ok"}
GET /last/bills/a => 200 {"data":[1,null,"bills",true]}
GET /wait/bills/a?headers=1 => 200 {"data":{"from":"afar"}}
GET /last/bills/b => 200 {"data":[2,{"x":1.5},"bills",true]}
GET /last/tries/c => 200 {"data":[1,2,"tries",true]}
GET /last/bills/e => 200 {"data":[4,5,"bills",true]}
POST /append {"topic":"bills","key":"no","value":1}\n{"topic":"nothing","key":"no","value":1} => 400 /topic \\"nothing\\" is not declared/
POST /append {"topic":"bills","key":"no","value":1}\n{"topic":"bills","key":"no"} => 400 /missing field `value`/
POST /append {"topic":"bills","key":"no","value":1}\n["bills"] => 400 /it is an array/
POST /append {"topic":"bills","key":"no","value":1}\n7 => 400 /invalid type: integer `7`, expected an object at line 2/
POST /append {"topic":"bills","key":"no","value":1}\n{"topic": => 400 /EOF while parsing.*line 2/
POST /append {"topic":"bills","key":"no","entries":{"no":1}} => 400 /it has both `entries` and `key`/
POST /append {"topic":"bills","key":"no","value":1,"headers":{"spacer-dead-ended":"dropped"}} => 400 /header \\"spacer-dead-ended\\" is kept for dead letters/
POST /append {"topic":"bills","key":"no","value":1,"header":{}} => 400 /unknown field `header`/
POST /append {"topic":"bills","entrys":{"no":1}} => 400 /unknown field `entrys`/
POST /append {"topic":"orders.dead","key":"no","value":1} => 400 /topic \\"orders.dead\\" is not declared/
GET /last/bills/no => 200 {"data":"none"}
--- no_error_log
[error]



=== TEST 3: an event of a replay comes with the request
--- config
location = /trigger { spacer_trigger; }
spacer_gateway app/gateway.lua;
--- cases
POST /trigger {"topic":"orders","function":"bill","key":"k","offset":7,"time":1000,"attempt":2,"value":{"total":5}} => 200 {"data":null}
GET /wait/bills/k => 200 /"total":5/
GET /wait/bills/k => 200 /"offset":7[,}]/
POST /trigger {"topic":"tries","function":"try","key":"k","offset":7,"time":1000,"attempt":1,"value":"once"} => 500 /no luck with k/
POST /trigger {"topic":"orders","function":"nothing","key":"k","offset":7,"time":1000,"value":1} => 500 /app.*nothing.lua does not exist/
POST /trigger {"topic":"orders","function":"../x","key":"k","offset":7,"time":1000,"value":1} => 400 /function/
POST /trigger {"topic":"orders","key":"k"} => 400 /must be strings/
POST /trigger {"topic":"orders","function":"bill","key":"k"} => 400 /must be numbers/
GET /trigger => 405 {"error":"method not allowed"}



=== TEST 4: the endpoints need a project
--- http_config
# spacer_project is missing
--- config
location = /append { spacer_append; }
--- must_die
--- error_log
"spacer_append" needs a "spacer_project" above it



=== TEST 5: who doesn't know the project's token appends nothing
--- config
location = /append { spacer_append; }
spacer_gateway app/gateway.lua;
--- user_files
>>> config/application.yml
spacerVersion: 1
appName: shop
topics: [orders, bills, tries]
writeProxyToken: knock-knock
--- cases
POST /append {"topic":"bills","key":"no","value":1} => 401 /Authorization must be Bearer/
POST /append [Authorization: Bearer knock-knoc] {"topic":"bills","key":"no","value":1} => 401 /Authorization/
POST /append [Authorization: knock-knock] {"topic":"bills","key":"no","value":1} => 401 /Authorization/
POST /append [Authorization: Bearer knock-knock] {"topic":"bills","key":"yes","value":1} => 200 {"data":"ok"}
GET /last/bills/no => 200 {"data":"none"}
