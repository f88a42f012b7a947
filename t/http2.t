# HTTP/2: what it has in common with HTTP/3 (streams.blocks), and what is its own.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Streams;
use Test::Nginx::Socket 'no_plan';

no_long_string();
speak('h2');
run_tests();

__DATA__

=== the protocol is HTTP/2
--- config
location /t { content_by_lua_block { ngx.say(ngx.var.server_protocol, " ", ngx.req.http_version(), " ", ngx.var.host) } }
--- steps
get /t
wait
--- response_body
200 HTTP/2.0 2 localhost
--- no_error_log
[error]
