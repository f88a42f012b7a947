# A panic at each kind of entry ends a request, or is a line in the log. The worker lives, and nothing is left behind. For a module that was
# built with the feature `panics`.

use strict;
use warnings;

use IO::Socket::INET;
use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();

# How many times each is provoked.
our $TIMES = 30;

# Sends the packets, and returns the status, or what came instead; "cut" says that the body has no end.
sub ask {
    my (@packets) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => server_port(), Timeout => 3) or return "no connection";
    local $SIG{PIPE} = 'IGNORE';
    for my $packet (@packets) {
        if (!defined $packet) {
            select undef, undef, undef, 0.005;
            return "left";
        }
        print $socket $packet;
        $socket->flush;
        # The body is asked for when nginx begins to read it.
        sysread $socket, my $continue, 25 if $packet =~ /100-continue/;
    }
    my ($answer, $piece) = ("", "");
    local $SIG{ALRM} = sub { die "timeout\n" };
    my $ended = eval {
        alarm 3;
        $answer .= $piece while sysread $socket, $piece, 65536;
        alarm 0;
        1;
    };
    alarm 0;
    return "not answered" if !$ended;
    return "closed" if $answer !~ m{^HTTP/1\.1 (\d+)};
    my $status = $1;
    return "$status cut" if $answer =~ /Transfer-Encoding: chunked/i && $answer !~ /\r\n0\r\n\r\n\z/;
    return $status;
}

sub get { return "GET $_[0] HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" }

our @POST = ("POST /t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n", "abcdef");

# Descriptors of the process.
sub descriptors {
    my ($pid) = @_;
    opendir my $folder, "/proc/$pid/fd" or return 0;
    return scalar(() = readdir $folder);
}

# A filter of the worker's pid: has the place panic that has been passed so many times, many times over, and tells what the clients were
# answered, what is left behind, and what the worker says afterwards.
sub provoked {
    my ($point, $after, @packets) = @_;
    @packets = (get("/t")) if !@packets;
    return sub {
        my ($pid) = @_;
        chomp $pid;
        ask(get("/t")) for 1 .. 2;
        my $before = descriptors($pid);
        my %answers;
        for (1 .. $TIMES) {
            my $armed = ask(get("/arm?point=$point&after=$after"));
            return "arm: $armed\n" if $armed ne "200";
            $answers{ ask(@packets) }++;
        }
        my $more = 1;
        for (1 .. 40) {
            $more = descriptors($pid) - $before;
            last if $more <= 0;
            select undef, undef, undef, 0.05;
        }
        select undef, undef, undef, 0.05;
        my $lives = ask(get("/lives"));
        return join(" ", (map { "$_:$answers{$_}" } sort keys %answers), ($more > 0 ? "$more descriptors more" : ()), "lives:$lives") . "\n";
    };
}

our $HttpConfig = <<'END';
    init_by_lua_block {
        local ffi = require "ffi"
        ffi.cdef "void spacer_provoke(const char *point, unsigned after);"
        function provoke(point, after) ffi.C.spacer_provoke(point, after or 0) end
    }
END

our $Config = <<'END';
    location = /pid { content_by_lua_block { ngx.say(ngx.worker.pid()) } }
    location = /arm { content_by_lua_block { provoke(ngx.var.arg_point, tonumber(ngx.var.arg_after)) } }
    location = /lives {
        content_by_lua_block {
            -- What an error has left on the stack, or in a table of the runtime's, would show here.
            ngx.sleep(0)
            assert(ngx.thread.wait(ngx.thread.spawn(function() return true end)))
            assert(ngx.timer.running_count() == 0 and ngx.timer.pending_count() == 0, "timers are left")
            assert(ngx.location.capture("/pid").status == 200)
            ngx.say("lives")
        }
    }
END

add_block_preprocessor(sub {
    my $block = shift;
    $ENV{SPACER_PROVOKE} = $block->provoke // '';
    if (!defined $block->must_die) {
        $block->set_value(http_config => ($block->http_config // '') . $main::HttpConfig) if ($block->http_config // '') !~ /spacer_provoke/;
        $block->set_value(config => $block->config . $main::Config);
        $block->set_value(request => "GET /pid") if !defined $block->request;
        $block->set_value(timeout => 30);
    }
    # So written, what is expected isn't shown as a warning too.
    my @expected = map { /^panic: / ? qr/\[alert\] .*\Q$_\E/ : $_ } split /\n/, $block->error_log // '';
    $block->set_value(error_log => \@expected) if @expected;
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: in server_rewrite
--- config
    server_rewrite_by_lua_block { ngx.ctx.x = ngx.var.uri }
    location = /t { content_by_lua_block { ngx.say("t") } }
--- response_body_filters eval: main::provoked("server_rewrite", 0)
--- response_body
500:30 lives:200
--- error_log
panic: provoked at server_rewrite

=== TEST 2: in rewrite
--- config
    location = /t { rewrite_by_lua_block { ngx.sleep(0) } content_by_lua_block { ngx.say("t") } }
--- response_body_filters eval: main::provoked("rewrite", 0)
--- response_body
500:30 lives:200
--- error_log
panic: provoked at rewrite

=== TEST 3: in access
--- config
    location = /t { access_by_lua_block { ngx.sleep(0) } content_by_lua_block { ngx.say("t") } }
--- response_body_filters eval: main::provoked("access", 0)
--- response_body
500:30 lives:200
--- error_log
panic: provoked at access

=== TEST 4: in precontent
--- config
    location = /t { precontent_by_lua_block { ngx.sleep(0) } return 200 "t"; }
    location = /u { precontent_by_lua_block { ngx.sleep(0) } content_by_lua_block { ngx.say("u") } }
--- response_body_filters eval: main::provoked("precontent", 0, main::get("/u"))
--- response_body
500:30 lives:200
--- error_log
panic: provoked at precontent

=== TEST 5: in content, before and after its Lua has run
--- config
    location = /t { content_by_lua_block { ngx.say("t") } }
--- response_body_filters eval: main::provoked("content", 0)
--- response_body
500:30 lives:200
--- error_log
panic: provoked at content

=== TEST 6: in set_by_lua
--- config
    location = /t { set_by_lua_block $a { return "a" } content_by_lua_block { ngx.say(ngx.var.a) } }
--- response_body_filters eval: main::provoked("set", 0)
--- response_body
500:30 lives:200
--- error_log
panic: provoked at set

=== TEST 7: in a header filter there is no answer
--- config
    location = /t { header_filter_by_lua_block { ngx.header.x = "x" } content_by_lua_block { ngx.say("t") } }
--- response_body_filters eval: main::provoked("header_filter", 0)
--- response_body
closed:30 lives:200
--- error_log
panic: provoked at header_filter

=== TEST 8: in a body filter, before anything was sent
--- config
    location = /t { body_filter_by_lua_block { ngx.arg[1] = ngx.arg[1]:upper() } content_by_lua_block { ngx.say("t") } }
--- response_body_filters eval: main::provoked("body_filter", 0)
--- response_body
closed:30 lives:200
--- error_log
panic: provoked at body_filter

=== TEST 9: in the log phase
--- config
    location = /t { log_by_lua_block { ngx.ctx.x = 1 } content_by_lua_block { ngx.say("t") } }
--- response_body_filters eval: main::provoked("log", 0)
--- response_body
200:30 lives:200
--- error_log
panic: provoked at log

=== TEST 10: in a function that Lua calls by FFI it is an error of Lua's
--- config
    location = /t { content_by_lua_block { ngx.say(ngx.var.uri) } }
    location = /caught { content_by_lua_block { provoke("boundary") ngx.say(select(2, pcall(ngx.say, "x"))) ngx.say("and on") } }
    location = /filter { content_by_lua_block { ngx.say("f") } header_filter_by_lua_block { provoke("boundary") local ok, err = pcall(function() return ngx.var.uri end) ngx.header.x_err = err } }
--- request eval: ["GET /pid", "GET /caught", "GET /filter"]
--- response_body_filters eval: my $n = 0; sub { $n++ ? $_[0] : main::provoked("boundary", 0)->($_[0]) }
--- response_body eval
["500:30 lives:200\n", "internal error: provoked at boundary\nand on\n", "f\n"]

=== TEST 11: so it is in a C function of Lua's
--- config
    location = /t { content_by_lua_block { ngx.thread.wait(ngx.thread.spawn(function() ngx.sleep(0) end)) ngx.say("t") } }
    location = /caught {
        content_by_lua_block {
            for _, f in ipairs { "spawn", "wait", "kill", "at", "sleep" } do
                local thread = ngx.thread.spawn(function() ngx.sleep(0.001) end)
                local call = ({
                    spawn = function() return ngx.thread.spawn(function() end) end,
                    wait = function() return ngx.thread.wait(thread) end,
                    kill = function() return ngx.thread.kill(thread) end,
                    at = function() return ngx.timer.at(0, function() end) end,
                    sleep = function() return ngx.sleep(0) end,
                })[f]
                provoke("c_function")
                ngx.say(f, ": ", select(2, pcall(call)))
                ngx.thread.wait(thread)
            end
        }
    }
--- request eval: ["GET /pid", "GET /caught"]
--- response_body_filters eval: my $n = 0; sub { $n++ ? $_[0] : main::provoked("c_function", 0)->($_[0]) }
--- response_body eval
["500:30 lives:200\n", CORE::join "", map { "$_: internal error: provoked at c_function\n" } qw(spawn wait kill at sleep)]

=== TEST 12: and in one that only gives a text, or a list
--- config
    location = /t { content_by_lua_block { ngx.say((ngx.escape_uri("a b"))) } }
    location = /caught {
        content_by_lua_block {
            local calls = {
                { "text", ngx.escape_uri, "a b" }, { "text", ngx.md5, "x" }, { "text", ngx.decode_base64, "YQ==" }, { "text", ngx.encode_args, { a = 1 } },
                { "boundary", ngx.decode_args, "a=1&b=2" }, { "text", ngx.http_time, 0 }, { "text", ngx.cookie_time, 0 }, { "text", ngx.today },
                { "boundary", ngx.re.match, "x", "x", "i" },
            }
            for _, call in ipairs(calls) do
                provoke(call[1])
                local ok, err = pcall(call[2], unpack(call, 3))
                ngx.say(ok, " ", type(err))
            end
            -- One that has neither is as if it had not been called.
            provoke("without_status")
            ngx.log(ngx.WARN, "lost")
            ngx.say(ngx.escape_uri("a b"), " ", ngx.decode_args("a=1").a)
        }
    }
--- request eval: ["GET /pid", "GET /caught"]
--- response_body_filters eval: my $n = 0; sub { $n++ ? $_[0] : main::provoked("text", 0)->($_[0]) }
--- response_body eval
["500:30 lives:200\n", "false string\n" x 9 . "a%20b 1\n"]

=== TEST 13: when a task is woken, which drops the others
--- config
    location = /t {
        content_by_lua_block {
            ngx.thread.spawn(function() ngx.sleep(10) end)
            ngx.thread.spawn(function() ngx.location.capture("/slow") end)
            ngx.sleep(0.001)
            ngx.say("t")
        }
    }
    location = /slow { content_by_lua_block { ngx.sleep(0.01) } }
    location = /u { access_by_lua_block { ngx.sleep(0.001) } content_by_lua_block { ngx.say("u") } }
--- response_body_filters eval: main::provoked("woken", 0, main::get("/u"))
--- response_body
500:30 lives:200
--- error_log
panic: provoked at woken

=== TEST 14: when the end of a phase is settled
--- config
    location = /t { content_by_lua_block { ngx.sleep(0.001) ngx.ctx.x = 1 } }
--- response_body_filters eval: main::provoked("settle", 0)
--- response_body
500:30 lives:200
--- error_log
panic: provoked at settle

=== TEST 15: before content, too
--- config
    location = /t { rewrite_by_lua_block { ngx.sleep(0.001) } content_by_lua_block { ngx.say("t") } }
--- response_body_filters eval: main::provoked("settle", 0)
--- response_body
500:30 lives:200
--- error_log
panic: provoked at settle

=== TEST 16: when a subrequest ends its parent hears of it
--- config
    location = /t { content_by_lua_block { local res = ngx.location.capture("/sub") ngx.exit(res.status == 500 and 299 or 200) } }
    location = /sub { content_by_lua_block { ngx.print("sub") } }
--- response_body_filters eval: main::provoked("subrequest_end", 0)
--- response_body
299:30 lives:200
--- error_log
panic: provoked at subrequest_end

=== TEST 17: so it does when a subrequest's response is taken
--- config
    location = /t { content_by_lua_block { local res = ngx.location.capture("/sub") ngx.exit(res.truncated and 299 or 200) } }
    location = /sub { return 200 "sub"; }
--- response_body_filters eval: main::provoked("capture_body", 0)
--- response_body
299:30 lives:200
--- error_log
panic: provoked at capture_body

=== TEST 18: when a body has been read
--- config
    location = /t { content_by_lua_block { ngx.req.read_body() ngx.say(ngx.req.get_body_data()) } }
--- response_body_filters eval: main::provoked("body_read", 0, @main::POST)
--- response_body
500:30 lives:200
--- error_log
panic: provoked at body_read

=== TEST 19: while it is read
--- config
    location = /t { content_by_lua_block { ngx.req.read_body() ngx.say(ngx.req.get_body_data()) } }
--- response_body_filters eval: main::provoked("body_event", 0, @main::POST)
--- response_body
500:30 lives:200
--- error_log
panic: provoked at body_event

=== TEST 20: before a phase that needs it
--- config
    location = /t { lua_need_request_body on; rewrite_by_lua_block { ngx.ctx.x = 1 } content_by_lua_block { ngx.say("t") } }
--- response_body_filters eval: main::provoked("body_read", 0, @main::POST)
--- response_body
500:30 lives:200
--- error_log
panic: provoked at body_read

=== TEST 21: when a request's memory is freed
--- config
    location = /t { content_by_lua_block { ngx.ctx.x = 1 ngx.say("t") } log_by_lua_block { ngx.ctx.y = 1 } }
--- response_body_filters eval: main::provoked("cleanup", 1)
--- response_body
200:30 lives:200
--- error_log
panic: provoked at cleanup

=== TEST 22: when a request that waits may send, or a subrequest of its has ended
--- config
    location = /t { content_by_lua_block { ngx.location.capture("/sub") ngx.say("t") } }
    location = /sub { return 200 "sub"; }
--- response_body_filters eval: main::provoked("write", 0)
--- response_body
500:30 lives:200
--- error_log
panic: provoked at write

=== TEST 23: when a client has left
--- config
    location = /t { lua_check_client_abort on; content_by_lua_block { ngx.on_abort(function() ngx.exit(499) end) ngx.sleep(0.05) ngx.say("t") } }
--- response_body_filters eval: main::provoked("abort", 0, main::get("/t"), undef)
--- response_body
left:30 lives:200
--- error_log
panic: provoked at abort

=== TEST 24: when a timer expires
--- config
    location = /t { content_by_lua_block { ngx.timer.at(0, function() ngx.log(ngx.WARN, "ran") end) ngx.say("t") } }
--- response_body_filters eval: main::provoked("timer_expired", 0)
--- response_body
200:30 lives:200
--- error_log
panic: provoked at timer_expired

=== TEST 25: when its function begins, and when it goes on
--- config
    location = /t { content_by_lua_block { ngx.timer.at(0, function() ngx.sleep(0.001) end) ngx.say("t") } }
--- response_body_filters eval: my @f = (main::provoked("timer", 0), main::provoked("woken", 0)); sub { my $pid = shift; CORE::join "", map { $_->($pid) } @f }
--- response_body
200:30 lives:200
200:30 lives:200
--- error_log
panic: provoked at timer
panic: provoked at woken

=== TEST 26: where chunks are made nginx makes them instead
--- config
    location = /t { content_by_lua_block { ngx.say("t") } }
--- response_body_filters eval: main::provoked("chunked", 0)
--- response_body
200:30 lives:200
--- error_log
panic: provoked at chunked

=== TEST 27: when a worker starts it serves all the same
--- http_config
    init_by_lua_block {
        local ffi = require "ffi"
        ffi.cdef "void spacer_provoke(const char *point, unsigned after);"
        ffi.C.spacer_provoke("init_worker", 0)
        provoke = function() end
    }
    init_worker_by_lua_block { ngx.log(ngx.ERR, "never") }
--- config
--- request
GET /lives
--- response_body
lives
--- error_log
panic: provoked at init_worker
--- no_error_log
never

=== TEST 28: a directive's refuses the configuration
--- provoke: directive
--- config
    location = /t { content_by_lua_block { ngx.say("t") } }
--- must_die
--- error_log
panic: provoked at directive

=== TEST 29: so does one in init_by_lua's place
--- provoke: init
--- http_config
    init_by_lua_block { x = 1 }
--- config
--- must_die
--- error_log
panic: provoked at init
