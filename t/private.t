# Who reaches private functions, spacer_trigger and the write proxy, and who doesn't.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Test::Nginx::Socket;
use Topics;

my $TOKEN = 'k3y-of_22+characters/x';
# Another way into the server under test, for requests that a proxy passes on.
$ENV{TEST_NGINX_NEXT_PORT} = server_port() + 1;

$ENV{TEST_NGINX_HTML_DIR} ||= html_dir();

# What is freed is written over, so that nothing can be read there any more.
$ENV{MALLOC_PERTURB_} = 165;

use_shop();

# $TOKEN in cases is the secret. A block with --- next_port is asked at that port; --- token is
# a Perl expression for another secret.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $port = 'server_port()' . (defined $block->next_port ? ' + 1' : '');
    my $token = defined $block->token ? $block->token : "'$TOKEN'";
    $block->set_value(init => "server_port_for_client($port)");
    # nginx is started after this.
    $block->set_value(post_setup_server_root => "\$ENV{SPACER_PRIVATE_TOKEN} = $token");
});

sub Test::Base::Filter::secret {
    my (undef, $text) = @_;
    $text =~ s/\$TOKEN/$TOKEN/g;
    return $text;
}
filters { cases => 'secret', user_files => 'secret' };

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: outside of development nobody reaches a private function by where he comes from
--- production
--- config
location = /trigger { spacer_trigger; }
spacer_gateway app/gateway.lua;
--- cases
GET /plain => 200 {"data":"plain"}
GET /private/plain => 403 {"error":"forbidden"}
GET /private/nothing => 403 {"error":"forbidden"}
POST /private/plain {} => 403 {"error":"forbidden"}
POST /trigger {"topic":"orders","function":"plain","key":"k","offset":7,"time":1000,"value":1} => 403 {"error":"forbidden"}
GET /trigger => 403 {"error":"forbidden"}
GET /log => 200 /access to \/private\/plain refused: outside of development it takes .*spacer_private/
--- no_error_log
[error]



=== TEST 2: nor does an environment that isn't named
--- http_config
spacer_project html;
--- cases
GET /private/plain => 403 {"error":"forbidden"}



=== TEST 3: the secret opens it, all of it and nothing else
--- production
--- config
location = /trigger { spacer_trigger; }
spacer_gateway app/gateway.lua;
--- cases
GET /private/plain [X-Spacer-Private-Token: $TOKEN] => 200 {"data":"plain"}
GET /private/nothing [X-Spacer-Private-Token: $TOKEN] => 404 {"error":"not found"}
GET /private/plain [X-Spacer-Private-Token: $TOKEN; X-Forwarded-For: 192.0.2.1] => 200 {"data":"plain"}
GET /private/plain [x-spacer-private-token: no; X-Spacer-Private-Token: $TOKEN] => 200 {"data":"plain"}
POST /trigger [X-Spacer-Private-Token: $TOKEN] {"topic":"orders","function":"plain","key":"k","offset":7,"time":1000,"value":1} => 200 /data/
GET /trigger [X-Spacer-Private-Token: $TOKEN] => 405 {"error":"method not allowed"}
GET /private/plain [X-Spacer-Private-Token: $TOKENx] => 403 {"error":"forbidden"}
GET /private/plain [X-Spacer-Private-Token: k3y-of_22+characters/] => 403 {"error":"forbidden"}
GET /private/plain [X-Spacer-Private-Token: k3y-of_22+characters/y] => 403 {"error":"forbidden"}
GET /private/plain [X-Spacer-Private-Token: K3Y-OF_22+CHARACTERS/X] => 403 {"error":"forbidden"}
GET /private/plain [X-Spacer-Private-Token: ] => 403 {"error":"forbidden"}
GET /private/plain [X-Spacer-Private-Token: $TOKEN; Origin: http://evil.example] => 403 {"error":"forbidden"}
GET /private/plain [X-Spacer-Private-Token: $TOKEN; Host: any.example] => 200 {"data":"plain"}
--- log_level: info
--- no_error_log eval
qr/k3y-of_22/



=== TEST 4: the secret is not in the environment of functions
--- production
--- user_files
>>> app/plain.lua
return function() return tostring(os.getenv("SPACER_PRIVATE_TOKEN")) end
--- cases
GET /private/plain [X-Spacer-Private-Token: $TOKEN] => 200 {"data":"nil"}



=== TEST 5: a server with spacer_private lets all of its connections in, under its own names
--- production
--- config
spacer_private;
location = /trigger { spacer_trigger; }
--- cases
GET /private/plain => 200 {"data":"plain"}
GET /private/plain [Host: localhost:9066] => 200 {"data":"plain"}
GET /private/plain [Host: 127.0.0.1] => 200 {"data":"plain"}
GET /private/plain [Host: [::1]:9066] => 200 {"data":"plain"}
POST /trigger {"topic":"orders","function":"plain","key":"k","offset":7,"time":1000,"value":1} => 200 /data/
GET /private/plain [X-Forwarded-For: 192.0.2.1] => 200 {"data":"plain"}
GET /private/plain [Host: evil.example] => 403 {"error":"forbidden"}
GET /private/plain [Host: 192.0.2.1] => 403 {"error":"forbidden"}
POST /trigger [Host: evil.example] {"topic":"orders","function":"plain","key":"k","offset":7,"time":1000,"value":1} => 403 {"error":"forbidden"}
GET /private/plain [Origin: http://evil.example] => 403 {"error":"forbidden"}
GET /private/plain [Sec-Fetch-Site: cross-site] => 403 {"error":"forbidden"}
GET /plain => 404 /404 Not Found/



=== TEST 6: a server's name may be a pattern
--- production
--- server_name: .shop.test
--- config
spacer_private;
--- cases
GET /private/plain [Host: shop.test] => 200 {"data":"plain"}
GET /private/plain [Host: A.SHOP.test:80] => 200 {"data":"plain"}
GET /private/plain [Host: evilshop.test] => 403 {"error":"forbidden"}



=== TEST 7: in development this machine is let in, by the connection and not by what a header makes of it
--- config
set_real_ip_from 127.0.0.1;
real_ip_header X-Client-Ip;
location = /address { return 200 "$remote_addr\n"; }
spacer_gateway app/gateway.lua;
--- cases
GET /address [X-Client-Ip: 192.0.2.1] => 200 192.0.2.1
GET /private/plain => 200 {"data":"plain"}
GET /private/plain [X-Client-Ip: 192.0.2.1] => 200 {"data":"plain"}
GET /private/plain [X-Client-Ip: ::1] => 200 {"data":"plain"}



=== TEST 8: in development what came through a proxy is not
--- config
location = /trigger { spacer_trigger; }
spacer_gateway app/gateway.lua;
--- cases
GET /private/plain [X-Forwarded-For: 127.0.0.1] => 403 {"error":"forbidden"}
GET /private/plain [x-forwarded-for: ] => 403 {"error":"forbidden"}
GET /private/plain [Forwarded: for=127.0.0.1] => 403 {"error":"forbidden"}
GET /private/plain [X-Real-IP: 127.0.0.1] => 403 {"error":"forbidden"}
GET /private/plain [Via: 1.1 proxy] => 403 {"error":"forbidden"}
POST /trigger [Via: 1.1 proxy] {"topic":"orders","function":"plain","key":"k","offset":7,"time":1000,"value":1} => 403 {"error":"forbidden"}
GET /private/plain [X-Forwarded: no] => 200 {"data":"plain"}
GET /log => 200 /access to \/private\/plain refused: it came through a proxy/



=== TEST 9: a forged X-Forwarded-For that realip believes opens nothing
--- config
set_real_ip_from 127.0.0.1;
set_real_ip_from 192.0.2.0/24;
real_ip_header X-Forwarded-For;
real_ip_recursive on;
spacer_gateway app/gateway.lua;
--- cases
GET /private/plain [X-Forwarded-For: 127.0.0.1, 192.0.2.1] => 403 {"error":"forbidden"}
GET /private/plain [X-Forwarded-For: ::1] => 403 {"error":"forbidden"}



=== TEST 10: in development neither a page of another site is let in, nor one whose name is made to lead here
--- config
location = /trigger { spacer_trigger; }
spacer_gateway app/gateway.lua;
--- cases
GET /private/plain [Host: localhost:3000; Origin: http://localhost:3000] => 200 {"data":"plain"}
GET /private/plain [Host: 127.0.0.1:3000; Origin: http://127.0.0.1:3000; Sec-Fetch-Site: same-origin] => 200 {"data":"plain"}
GET /private/plain [Sec-Fetch-Site: none] => 200 {"data":"plain"}
GET /private/plain [Host: localhost:3000; Origin: http://localhost:4000] => 403 {"error":"forbidden"}
GET /private/plain [Host: localhost:3000; Origin: http://127.0.0.1:3000] => 403 {"error":"forbidden"}
GET /private/plain [Origin: null] => 403 {"error":"forbidden"}
GET /private/plain [Origin: http://localhost; Origin: http://evil.example] => 403 {"error":"forbidden"}
GET /private/plain [Sec-Fetch-Site: cross-site] => 403 {"error":"forbidden"}
GET /private/plain [Sec-Fetch-Site: same-site] => 403 {"error":"forbidden"}
POST /private/plain [Origin: http://evil.example] {} => 403 {"error":"forbidden"}
POST /trigger [Origin: http://evil.example] {"topic":"orders","function":"plain","key":"k","offset":7,"time":1000,"value":1} => 403 {"error":"forbidden"}
GET /private/plain [Host: evil.example] => 403 {"error":"forbidden"}
GET /private/plain [Host: localhost.evil.example] => 403 {"error":"forbidden"}
GET /private/plain [Host: evil.example; Origin: http://evil.example] => 403 {"error":"forbidden"}
GET /plain [Host: evil.example; Origin: http://other.example; Via: 1.1 proxy] => 200 {"data":"plain"}



=== TEST 11: the write proxy takes nothing from a page of another site
--- production
--- config
location = /append { spacer_append; }
spacer_gateway app/gateway.lua;
--- cases
POST /append [Host: localhost:9065; Origin: http://localhost:9065] {"topic":"bills","entries":{"a":1}} => 200 {"data":"ok"}
POST /append [X-Forwarded-For: 192.0.2.1] {"topic":"bills","entries":{"b":1}} => 200 {"data":"ok"}
POST /append [Origin: http://evil.example; Content-Type: text/plain] {"topic":"bills","entries":{"c":1}} => 403 {"error":"forbidden"}
POST /append [Origin: null] {"topic":"bills","entries":{"c":1}} => 403 {"error":"forbidden"}
POST /append [Sec-Fetch-Site: cross-site] {"topic":"bills","entries":{"c":1}} => 403 {"error":"forbidden"}
POST /append [Host: evil.example; Origin: http://evil.example] {"topic":"bills","entries":{"c":1}} => 403 {"error":"forbidden"}
POST /append [Host: evil.example] {"topic":"bills","entries":{"c":1}} => 403 {"error":"forbidden"}
GET /last/bills/c => 200 {"data":"none"}



=== TEST 12: a stream of HTTP/2 is judged by its connection and its authority
--- http2
--- config
set_real_ip_from 127.0.0.1;
real_ip_header X-Client-Ip;
spacer_gateway app/gateway.lua;
--- cases
GET /private/plain [X-Client-Ip: 192.0.2.1] => 200 {"data":"plain"}
GET /private/plain [Host: localhost:3000; Origin: http://localhost:3000] => 200 {"data":"plain"}
GET /private/plain [Host: evil.example] => 403 {"error":"forbidden"}
GET /private/plain [Origin: http://evil.example] => 403 {"error":"forbidden"}
GET /private/plain [X-Forwarded-For: 127.0.0.1] => 403 {"error":"forbidden"}



=== TEST 13: a connection that a proxy describes is not of this machine
--- next_port
--- config
listen 127.0.0.1:$TEST_NGINX_NEXT_PORT proxy_protocol;
spacer_gateway app/gateway.lua;
--- raw_request eval
"PROXY TCP4 127.0.0.1 127.0.0.1 1000 80\r\nGET /private/plain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
--- error_code: 403
--- response_body
{"error":"forbidden"}



=== TEST 14: a subrequest and a rewritten request are judged like the client's own
--- production
--- user_files
>>> app/seen.lua
return function() return ngx.location.capture("/private/plain").status end
--- config
location = /rewritten { rewrite ^ /private/plain last; }
spacer_gateway app/gateway.lua;
--- cases
GET /seen => 200 {"data":403}
GET /rewritten => 403 {"error":"forbidden"}
GET /seen [X-Spacer-Private-Token: $TOKEN] => 200 {"data":200}
GET /rewritten [X-Spacer-Private-Token: $TOKEN] => 200 {"data":"plain"}



=== TEST 15: a server with spacer_private shares its address with no other
--- http_config
spacer_project html;
server {
    listen 127.0.0.1:$TEST_NGINX_NEXT_PORT;
    server_name private;
    spacer_private;
}
server {
    listen 127.0.0.1:$TEST_NGINX_NEXT_PORT;
    server_name public;
}
--- must_die
--- error_log eval
qr/the server with "spacer_private" in \S+nginx.conf:\d+ can be reached at 127.0.0.1:\d+ like the one in \S+nginx.conf:\d+: give it an address and port of its own/



=== TEST 16: nor its port with one that has all addresses
--- http_config
spacer_project html;
server {
    listen 127.0.0.1:$TEST_NGINX_NEXT_PORT;
    spacer_private;
}
server {
    listen $TEST_NGINX_NEXT_PORT;
}
--- must_die
--- error_log
the server with "spacer_private" in



=== TEST 17: servers with other ports and sockets don't matter to it
--- http_config
spacer_project html;
server {
    listen 127.0.0.1:$TEST_NGINX_NEXT_PORT;
    listen unix:$TEST_NGINX_HTML_DIR/private.sock;
    spacer_private;
}
server {
    listen unix:$TEST_NGINX_HTML_DIR/other.sock;
}
--- config
location /pass/ { proxy_pass http://unix:$TEST_NGINX_HTML_DIR/private.sock:/; }
--- request
GET /pass/private/plain
--- response_body
{"data":"plain"}



=== TEST 18: spacer_private needs a project
--- http_config
# spacer_project is missing
--- config
spacer_private;
--- must_die
--- error_log
"spacer_private" needs a "spacer_project" above it



=== TEST 19: spacer_private stands in a server once
--- config
spacer_private;
spacer_private;
--- must_die
--- error_log
"spacer_private" directive is duplicate



=== TEST 20: an empty secret opens nothing
--- production
--- token: ""
--- cases
GET /private/plain [X-Spacer-Private-Token: ] => 403 {"error":"forbidden"}
GET /private/plain => 403 {"error":"forbidden"}



=== TEST 21: a secret that no header can bring is refused, and not shown
--- token: "s3cret\n"
--- config
location = /t { return 200; }
--- must_die
--- error_log
the environment variable SPACER_PRIVATE_TOKEN holds white space or bytes beyond ASCII
--- no_error_log
s3cret



=== TEST 22: nonsense in privateListen is refused with its place
--- user_files
>>> config/application.yml
spacerVersion: 1
privateListen: nonsense
--- must_die
--- error_log
/config/application.yml:2:16: privateListen "nonsense": use PORT, ADDRESS:PORT with one address
