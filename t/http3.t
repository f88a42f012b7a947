# HTTP/3: what it has in common with HTTP/2 (streams.blocks), and what is its own.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Streams;
use Test::Nginx::Socket;

nginx_has('http_v3_module') ? plan 'no_plan' : plan skip_all => "this nginx was built without HTTP/3";

no_long_string();
speak('h3');
run_tests();

__DATA__

=== the protocol is HTTP/3
--- config
location /t { content_by_lua_block { ngx.say(ngx.var.server_protocol, " ", ngx.req.http_version(), " ", ngx.var.host) } }
--- steps
get /t
wait
--- response_body
200 HTTP/3.0 3 localhost
--- no_error_log
[error]
