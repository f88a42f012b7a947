# The scaffold's own suite, on directives that every nginx has. The blocks prove that each section sees what it should;
# the files generated at the end, run by a prove of their own, prove that a wrong expectation does fail.

use strict;
use warnings;

use Test::Nginx::Socket;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);

my $generated_tests = 17;

plan tests => 72 + $generated_tests;

no_shuffle();

# A generated test file's results, as [ok or not, title].
sub results_of {
    my ($source, %env) = @_;
    my $folder = tempdir(CLEANUP => 1);
    mkdir "$folder/t";
    open my $out, '>', "$folder/t/generated.t" or die "can't write $folder/t/generated.t: $!\n";
    print $out $source;
    close $out;

    my $lib = abs_path(dirname($INC{'Test/Nginx/Socket.pm'}) . '/../..');
    # Of the environment only what says which nginx is tested; the suite's own port and folder are taken.
    local @ENV{grep { /^TEST_NGINX_/ && !/BINARY|LOAD_MODULES/ || /^HARNESS_/ } keys %ENV};
    local $ENV{TEST_NGINX_RANDOMIZE} = 1;
    local @ENV{keys %env} = values %env;
    my $tap = `cd $folder && prove -v -I$lib t/generated.t 2>&1`;
    my @left = glob "$folder/t/servroot*";
    return { tap => $tap, left => \@left, results => [map { /^(ok|not ok) \d+ - (.*)/ ? [$1, $2] : () } split /\n/, $tap] };
}

# Whether the one result whose title contains the text is "ok" or "not ok"; "absent" if there is none.
sub outcome {
    my ($run, $text) = @_;
    my ($found) = grep { index($_->[1], $text) >= 0 } @{ $run->{results} };
    return $found ? $found->[0] : 'absent';
}

run_tests();

my $head = "use Test::Nginx::Socket;\nno_shuffle();\n";
my $block = "--- config\n    location = /t { add_header X-Is here; return 200 \"hello\\n\"; }\n--- request\nGET /t\n";

my $wrong = results_of("${head}plan tests => 13;\nrun_tests();\n__DATA__\n"
    . "=== TEST 1: body\n$block--- response_body\nbye\n--- response_headers\nX-Is: there\n! X-Is\n--- error_code: 201\n"
    . "=== TEST 2: log\n$block--- error_log\nno such line\n--- no_error_log\nhttp request line\n"
    . "--- grep_error_log: http request line\n--- grep_error_log_out\nanother line\n"
    . "=== TEST 3: pattern\n$block--- response_body_like: ^bye\n--- raw_response_headers_unlike: X-Is\n"
    . "=== TEST 4: lives\n$block--- must_die\n");
is(outcome($wrong, 'TEST 1: body - status code ok'), 'not ok', 'a wrong status fails');
is(outcome($wrong, 'TEST 1: body - response_body - response is expected'), 'not ok', 'a wrong body fails');
is(outcome($wrong, 'header X-Is not present'), 'not ok', 'an unwanted header fails');
is(outcome($wrong, 'should match a line in error.log'), 'not ok', 'a missing log line fails');
is(outcome($wrong, 'should not match any line in error.log'), 'not ok', 'an unwanted log line fails');
is(outcome($wrong, 'grep_error_log_out (req 0)'), 'not ok', 'wrong text picked from the log fails');
is(outcome($wrong, 'TEST 2: log - status code ok'), 'ok', 'what is right beside it passes');
is(outcome($wrong, 'TEST 3: pattern - response_body_like'), 'not ok', 'a body unlike the pattern fails');
is(outcome($wrong, 'raw resp headers unlike'), 'not ok', 'headers like the unwanted pattern fail');
is(outcome($wrong, 'die as expected'), 'not ok', 'an nginx that lives fails must_die');
is(scalar @{ $wrong->{left} }, 0, "a file's folder is gone when it ends");

my $refused = results_of("${head}plan tests => repeat_each(2) * 4;\nrun_tests();\n__DATA__\n"
    . "=== TEST 1: bad\n--- config\n    no_such_directive;\n--- request\nGET /t\n--- response_body\nhello\n"
    . "=== TEST 2: good\n$block--- response_body\nhello\n");
is(outcome($refused, 'TEST 1: bad - status code ok'), 'not ok', 'a block whose nginx does not start fails');
is(outcome($refused, 'TEST 2: good - response_body'), 'ok', 'and the block after it runs');
is(scalar @{ $refused->{results} }, 8, 'both report as many results as planned');
like($refused->{tap}, qr/unknown directive "no_such_directive"/, "with nginx's reason");

my $skipped = results_of("${head}plan tests => 2;\nrun_tests();\n__DATA__\n"
    . "=== TEST 1: bad\n--- config\n    no_such_directive;\n--- request\nGET /t\n--- response_body\nhello\n",
    TEST_NGINX_IGNORE_MISSING_DIRECTIVES => 1);
like($skipped->{tap}, qr/^ok 2 # skip .*the lack of directive no_such_directive/m, 'missing directives can be skipped');

my $slow = results_of("${head}plan tests => 2;\nrun_tests();\n__DATA__\n=== TEST 1: slow\n--- config\n    limit_rate 1;\n"
    . "--- user_files eval\n[['big.txt' => 'x' x 100]]\n--- request\nGET /big.txt\n--- timeout: 100ms\n--- ignore_response\n");
is(outcome($slow, 'ERROR: client socket timed out'), 'not ok', 'a response that takes too long fails');

__DATA__

=== TEST 1: a response's body and status
--- config
    location = /t { return 200 "hello\n"; }
--- request
GET /t
--- response_body
hello



=== TEST 2: bodies by pattern
--- config
    location = /t { return 200 "hello, $request_method\n"; }
--- request
POST /t
--- response_body_like: ^hello, P..T$



=== TEST 3: bodies that must not match
--- config
    location = /t { return 200 "hello\n"; }
--- request
GET /t
--- response_body_unlike: bye



=== TEST 4: headers, present and absent
--- config
    location = /t { add_header X-One 1; add_header X-Two two; return 200; }
--- request
GET /t
--- response_headers
X-One: 1
x-two: two
! X-Three
--- raw_response_headers_like: X-One: 1\r\nX-Two: two\r\n
--- raw_response_headers_unlike: X-Three



=== TEST 5: headers by pattern
--- config
    location = /t { add_header X-Time $msec; return 200; }
--- request
GET /t
--- response_headers_like
X-Time: \d+\.\d{3}



=== TEST 6: another status than 200
--- config
    location = /t { return 418; }
--- request
GET /t
--- error_code: 418



=== TEST 7: a status by pattern
--- config
    location = /t { return 503; }
--- request
GET /t
--- error_code_like: ^50\d$



=== TEST 8: several requests, a connection each
--- config
    location = /one { return 200 "1\n"; }
    location = /two { return 404 "2\n"; }
--- request eval
["GET /one", "GET /two"]
--- error_code eval
[200, 404]
--- response_body eval
["1\n", "2\n"]



=== TEST 9: pipelined requests, one connection for all
--- config
    location = /t { return 200 "$connection_requests $http_x_name\n"; }
--- pipelined_requests eval
["GET /t", "GET /t", "GET /t"]
--- more_headers eval
["X-Name: a", "X-Name: b", "X-Name: c"]
--- response_body eval
["1 a\n", "2 b\n", "3 c\n"]



=== TEST 10: a body is sent with its length
--- config
    location = /t { return 200 "$content_length $http_x_name\n"; }
--- more_headers
X-Name: value
--- request
# a comment before the request
POST /t
hello, world
--- response_body
12 value



=== TEST 11: a request in packets
--- config
    location = /t { return 200 "$uri $content_length\n"; }
--- request eval
[["POST /t\nhel", {value => "lo", delay_before => 0.05}]]
--- response_body
/t 5



=== TEST 12: raw bytes
--- config
    location = /t { return 200 "$server_protocol $http_user_agent\n"; }
--- raw_request eval
"GET /t HTTP/1.0\r\nHost: localhost\r\nUser-Agent: raw\r\n\r\n"
--- response_body
HTTP/1.0 raw



=== TEST 13: raw packets with a pause between them
--- config
    location = /t { return 200 "$request_time\n"; }
--- raw_request eval
["GET /t HTTP/1.0\r\n", "Host: localhost\r\n\r\n"]
--- raw_request_middle_delay: 0.1
--- response_body_like: ^0\.(?:0[5-9]|[1-9])



=== TEST 14: files for the server, and a chunked response
--- config
    ssi on;
    ssi_types text/plain;
--- user_files
>>> one.txt
one: <!--# include virtual="/two.txt" -->
>>> two.txt 199801171935.33
two
--- request
GET /one.txt
--- response_headers
Transfer-Encoding: chunked
--- response_body eval: "one: two\n\n"



=== TEST 15: a configuration that nginx must refuse
--- config
    location = /t { return a b c; }
--- request
GET /t
--- must_die
--- error_log
invalid number of arguments in "return" directive
--- no_error_log
[crit]



=== TEST 16: an expected exit code
--- config
    location = /t { return a b c; }
--- must_die: 1



=== TEST 17: lines that must stand in the error log
--- config
    # the folder of user files answers below /
--- request
GET /missing.txt
--- error_code: 404
--- error_log eval
["missing.txt\" failed", qr/\[error\] .*? open\(\)/]
--- no_error_log
[alert]



=== TEST 18: text picked from the error log
--- config
    # the folder of user files answers below /
--- request
GET /missing.txt
--- error_code: 404
--- grep_error_log eval: qr/request: "[^"]+"/
--- grep_error_log_out
request: "GET /missing.txt HTTP/1.1"



=== TEST 19: the access log
--- config
    location = /t { return 200; }
--- request
GET /t
--- access_log
GET /t HTTP/1.1
--- no_access_log
GET /other



=== TEST 20: filters on the body
--- config
    location = /t { return 200 "hello"; }
--- request
GET /t
--- response_body_filters
uc md5_hex
--- response_body: eb61eead90e3b899c6bcbe27ac581660



=== TEST 21: text for the http and main blocks
--- main_config
    env SCAFFOLD;
--- http_config
    map $arg_a $answer { default "none"; 1 "one"; }
--- config
    location = /t { return 200 "$answer\n"; }
--- request
GET /t?a=1
--- response_body
one



=== TEST 22: variables of the environment, and code before the requests
--- config
    location = /t { return 200 "$TEST_NGINX_SERVER_PORT"; }
--- init
$main::initialized = server_port();
--- request
GET /t
--- response_body eval: ::server_port()



=== TEST 23: blocks that don't apply
--- config
    location = /t { return 200; }
--- request
GET /t
--- skip_nginx: 2: > 0.0.1
--- error_code: 500
--- error_log
never there



=== TEST 24: a client that doesn't wait
--- config
    limit_rate 1;
--- user_files eval
[["big.txt" => "x" x 100]]
--- request
GET /big.txt
--- timeout: 50ms
--- abort
--- ignore_response
--- no_error_log
[error]



=== TEST 25: a TCP server to talk to
--- config
    location = /t { proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1; }
--- tcp_listen: $TEST_NGINX_RAND_PORT_1
--- tcp_query eval: qr{\AGET /t HTTP/1\.0\r\n}
--- tcp_reply eval: "HTTP/1.0 200 OK\r\n\r\nfrom the peer\n"
--- request
GET /t
--- response_body
from the peer



=== TEST 26: a UDP server to talk to
--- config
    location = /t { access_log syslog:server=127.0.0.1:$TEST_NGINX_RAND_PORT_1; return 200; }
--- udp_listen: $TEST_NGINX_RAND_PORT_1
--- udp_reply: unused
--- udp_query eval: qr{GET /t HTTP/1\.1}
--- request
GET /t
--- wait: 0.05



=== TEST 27: HTTP/0.9
--- config
    location = /t { return 200 "bare\n"; }
--- raw_request eval: "GET /t\r\n"
--- http09
--- response_body
bare



=== TEST 28: what nginx logs on its way out
--- log_level: notice
--- config
    location = /t { return 200; }
--- request
GET /t
--- shutdown_error_log
exit
--- no_shutdown_error_log
[alert]



=== TEST 29: HEAD has no body
--- config
    location = /t { return 200 "hello"; }
--- request
HEAD /t
--- response_headers
Content-Length: 5
--- response_body:
