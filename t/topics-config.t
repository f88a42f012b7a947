# Topics: what config/application.yml declares, where the log is, and what is refused when nginx starts.

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

=== TEST 1: a project without topics has none to append to
--- user_files
>>> config/application.yml
spacerVersion: 1
>>> app/gateway.lua
return { {"ANY", "/append/:topic/:key", "append"} }
--- cases
GET /append/bills/a => 500 /no topics are declared in config.*application.yml/



=== TEST 2: an unknown key of application.yml is refused with file, line and column
--- user_files
>>> config/application.yml
spacerVersion: 1
topcs: [orders]
--- must_die
--- error_log eval
qr{\[emerg\] .*/config/application.yml:2:1: unknown field "topcs", expected one of "spacerVersion"}



=== TEST 3: a trigger's function must exist
--- user_files
>>> config/application.yml
spacerVersion: 1
topics: [orders]
events:
  orders: { APPEND: [nothing] }
--- must_die
--- error_log eval
qr{\[emerg\] .*/config/application.yml:4: function "nothing" of events of topic "orders": .*/app/nothing.lua does not exist}



=== TEST 4: a trigger of a topic that isn't declared is refused
--- user_files
>>> config/application.yml
spacerVersion: 1
topics: [orders]
events:
  order: { APPEND: [bill] }
--- must_die
--- error_log eval
qr{\[emerg\] .*/config/application.yml:4:3: .*"order"}



=== TEST 5: the environment chooses the store, and variables are put in
--- main_config
env EVENTS_FILE;
--- user_files
>>> config/application.yml
spacerVersion: 1
topics: [bills]
logStorage:
  production: { driver: sqlite, path: "data/${NOT_SET:-production-events}.db" }
  staging: { driver: sqlite, path: "${NOT_SET_EITHER}" }
>>> app/gateway.lua
return { {"ANY", "/append/:topic/:key", "append"}, {"ANY", "/file", "file"} }
>>> app/file.lua
return function()
    local file = io.open(ngx.config.prefix() .. "html/data/production-events.db")
    return file ~= nil
end
--- production
--- cases
GET /append/bills/a => 200 {"data":["ok",1]}
GET /file => 200 {"data":true}



=== TEST 6: an unset variable of the environment in use is an error that names it
--- user_files
>>> config/application.yml
spacerVersion: 1
topics: [bills]
logStorage:
  development: { driver: sqlite, path: "${SPACER_TEST_NOT_SET}" }
--- must_die
--- error_log eval
qr{\[emerg\] .*/config/application.yml:4:\d+: .*SPACER_TEST_NOT_SET}
