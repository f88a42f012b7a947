# What is wrong with functions and environments before any request comes: nginx doesn't start with it.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Test::Nginx::Socket;
use Platform;

use_platform(<<'END');
>>> app/gateway.lua
return {
    {"GET", "/good", "good"},
    {"GET", "/shell", "shell"},
    {"GET", "/broken", "deep/broken"},
}
>>> app/good.lua
return function() return "good" end
>>> app/shell.lua
#!/usr/bin/env lua
return function() return 1LL and "not run" end
>>> app/deep/broken.lua
return function()
    return 1 +
end
END

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: a route's function that does not compile
--- production
--- must_die
--- error_log eval
qr{\[emerg\].* /\S+/html/app/deep/broken.lua:3: unexpected symbol near 'end'}



=== TEST 2: nor does nginx start where no environment is named
--- http_config
    spacer_project html;
--- must_die
--- error_log
app/deep/broken.lua:3: unexpected symbol near 'end'



=== TEST 3: development serves it, and shows what is wrong on the request
--- cases
GET /good => 200 {"data":"good"}
GET /shell => 200 {"data":"not run"}
GET /broken => 500 {"error":"app/deep/broken.lua:3: unexpected symbol near 'end'"}



=== TEST 4: what counts is the environment where the function is served
--- http_config
    spacer_project html;
    spacer_env production;
--- config
    spacer_gateway app/gateway.lua;
    spacer_env development;
--- cases
GET /broken => 500 {"error":"app/deep/broken.lua:3: unexpected symbol near 'end'"}



=== TEST 5: and the other way round
--- http_config
    spacer_project html;
    spacer_env development;
--- config
    spacer_gateway app/gateway.lua;
    spacer_env production;
--- must_die
--- error_log
app/deep/broken.lua:3: unexpected symbol near 'end'



=== TEST 6: the function of a location written by hand
--- production
--- config
    location = /hand { spacer_function deep.broken; }
--- must_die
--- error_log
app/deep/broken.lua:3: unexpected symbol near 'end'



=== TEST 7: the function of an event
--- production
--- config
    location = /hand { spacer_function good; }
--- user_files
>>> config/application.yml
spacerVersion: 1
topics: [orders]
events:
  orders: { APPEND: [good, deep/broken] }
--- must_die
--- error_log eval
qr{html/config/application.yml:4: function "deep/broken" of events of topic "orders": app/deep/broken.lua:3: unexpected symbol}



=== TEST 8: functions are compiled, not run, and one that raises when it is loaded answers 500
--- production
--- user_files
>>> app/deep/broken.lua
error("it was run")
--- cases
GET /good => 200 {"data":"good"}
GET /broken => 500 {"error":"Internal Server Error"}



=== TEST 9: an environment that the project does not have
--- http_config
    spacer_project html;
    spacer_env prodution;
--- config
    location = /hand { spacer_function good; }
--- user_files
>>> config/application.yml
spacerVersion: 1
logStorage: { staging: { driver: memory } }
--- must_die
--- error_log
html/config/application.yml: there is no environment "prodution", there are development, test, production, staging: correct the name, or add it to logStorage



=== TEST 10: in a server
--- config
    location = /hand { spacer_function good; }
    spacer_env prodution;
--- must_die
--- error_log
there is no environment "prodution", there are development, test, production: correct the name, or add it to logStorage



=== TEST 11: one that logStorage names
--- http_config
    spacer_project html;
    spacer_env staging;
--- config
    location = /hand { spacer_function good; }
--- user_files
>>> config/application.yml
spacerVersion: 1
logStorage: { staging: { driver: memory } }
--- cases
GET /hand => 200 {"data":"good"}
