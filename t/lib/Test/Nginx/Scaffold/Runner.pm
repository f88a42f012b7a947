package Test::Nginx::Scaffold::Runner;

# The run of a test file: block after block, each with a server configured for it, its requests sent and its
# expectations checked, as often as repeat_each() says. A block that can't run fails, and the next one has its turn.

use strict;
use warnings;

use Exporter qw(import);
use List::Util qw(shuffle);
use POSIX ();
use Test::More ();
use Test::Nginx::Scaffold::Check qw(check_response);
use Test::Nginx::Scaffold::Client qw(exchange);
use Test::Nginx::Scaffold::Conditions qw(opted_out);
use Test::Nginx::Scaffold::Conf qw(make_root remove_root write_conf write_user_files);
use Test::Nginx::Scaffold::Curl qw(exchange_http2 speaks_http2);
use Test::Nginx::Scaffold::Log qw(check_access_log check_error_log check_shutdown_log rewind);
use Test::Nginx::Scaffold::Peer ();
use Test::Nginx::Scaffold::Request qw(connections);
use Test::Nginx::Scaffold::Response ();
use Test::Nginx::Scaffold::Server qw(is_up launch reload start stop);
use Test::Nginx::Scaffold::Text qw(expand forget_ports parse_time section);
use Test::Nginx::Scaffold::Verdict ();
use Test::Nginx::Util ();
use Time::HiRes qw(sleep);

our @EXPORT_OK = qw(run);

# Children of ours leave through POSIX::_exit, but a test file may fork as well: only this process cleans up.
my $owner = $$;
my ($started, $running_config, $unchecked_shutdown, @peers);

sub run {
    my (@blocks) = @_;
    $started = 1;
    # PIPE as well: it's what ends us when prove is gone.
    $SIG{$_} = \&interrupted for qw(INT TERM HUP PIPE);
    die_with_parent();
    $ENV{TEST_NGINX_SERVER_PORT} = $Test::Nginx::Util::ServerPort;
    $ENV{TEST_NGINX_RESOLVER} //= '127.0.0.1';

    for my $block ($Test::Nginx::Util::NoShuffle ? @blocks : shuffle @blocks) {
        $_->($block) for @Test::Nginx::Util::BlockPreprocessors;
        $block->set_value(name => "$0 " . $block->name);
        run_block($block);
        $_->($block) for @Test::Nginx::Util::TestCleanupHandlers;
    }
    finish();
    $started = 0;
}

sub run_block {
    my ($block) = @_;
    # local, because a block's sections must not outlive it.
    local $Test::Nginx::Util::UseValgrind = defined section($block, 'must_die') ? '' : $Test::Nginx::Util::UseValgrind;
    local $Test::Nginx::Util::UseHup = defined section($block, 'must_die') ? 0 : $Test::Nginx::Util::UseHup;
    my $verdict = Test::Nginx::Scaffold::Verdict->new(name => $block->name);
    forget_ports();

    my $out = attempt($verdict, sub { opted_out($block) });
    if ($out && !$verdict->is_dry) {
        for my $repeat (1 .. $Test::Nginx::Util::RepeatEach) {
            my $how = $out->{kind} eq 'todo' ? 'todo_skip' : 'skip';
            Test::More->builder->$how($block->name . " - $out->{reason}") for 1 .. $out->{count};
        }
        return;
    }

    attempt($verdict, sub { prepare($block, $verdict) });
    return must_die($block, $verdict) if defined section($block, 'must_die');

    attempt($verdict, sub { run_code($block, 'init') }) if !$verdict->is_dry;
    rewind();
    for my $repeat (0 .. $Test::Nginx::Util::RepeatEach - 1) {
        repetition($block, $verdict, $repeat);
    }
    keep_error_log($block);
    stop_server() if $Test::Nginx::Util::UseValgrind && !$Test::Nginx::Util::UseHup;
}

# What dies inside says what is wrong with the block, which fails for that reason.
sub attempt {
    my ($verdict, $code) = @_;
    my $result;
    # Test::Base takes any die for the end of the file.
    local $SIG{__DIE__};
    eval { $result = $code->(); 1 } or $verdict->break($@);
    return $result;
}

sub run_code {
    my ($block, $name) = @_;
    my $code = section($block, $name);
    return if !defined $code || $code eq '';
    eval "package main; $code";
    die "--- $name: $@" if $@;
}

# Brings up the server that the block wants, or says on the verdict why there is none.
sub prepare {
    my ($block, $verdict) = @_;
    return if $Test::Nginx::Util::NoNginxManager;
    my $config = expand(section($block, 'config'));
    if (!defined $config) {
        die "there is no --- config section, nor a block before this one to take it from\n" if !defined $running_config;
        return if is_up();
        $config = $running_config;
    }
    my $unchanged = defined $running_config && $config eq $running_config;
    return if $unchanged && !$Test::Nginx::Util::ForceRestartOnTest && is_up();

    # The first block never reloads: what is up then was left by another run.
    my $reloads = $Test::Nginx::Util::UseHup && defined $running_config && is_up();
    $Test::Nginx::Util::MasterProcessEnabled = 'on' if $Test::Nginx::Util::UseHup;
    my $version = $Test::Nginx::Util::UseHup ? join '-', $$, int rand 1e9 : undef;

    stop_server() if !$reloads;
    $running_config = $config;
    make_root(keep_running => $reloads);
    run_code($block, 'post_setup_server_root');
    write_user_files($block);
    write_conf($block, $config, $version);
    return if defined section($block, 'must_die');

    if ($reloads) {
        my $fails = defined section($block, 'reload_fails');
        reload($fails ? undef : $version) or die "nginx doesn't answer with the configuration it was told to reload\n";
        check_previous_shutdown();
    }
    else {
        start_server($block, $verdict);
    }
    $unchecked_shutdown = $block;
}

sub start_server {
    my ($block, $verdict) = @_;
    # Which block valgrind's reports below belong to.
    warn $block->name, "\n" if $Test::Nginx::Util::UseValgrind;
    my ($problem, $text) = start();
    return if !$problem;
    return $verdict->break($text) if $problem ne 'missing';
    return $verdict->break("nginx doesn't start: unknown directive \"$text\"") if !$Test::Nginx::Util::IgnoreMissing;
    $verdict->{skip} = "the lack of directive $text";
}

# --- must_die: nginx has to refuse the configuration (with that exit code, if one is given).
sub must_die {
    my ($block, $verdict) = @_;
    rewind();
    my $wanted = section($block, 'must_die');
    for my $repeat (0 .. $Test::Nginx::Util::RepeatEach - 1) {
        my $status = $verdict->is_dry ? undef : launch();
        if (!$verdict->is_dry && (!defined $status || $status & 127)) {
            $verdict->fail(defined $status ? 'nginx died of signal ' . ($status & 127) : 'nginx neither dies nor starts');
        }
        elsif ($wanted =~ /\A\d+\z/) {
            $verdict->is(defined $status ? $status >> 8 : undef, $wanted, 'die with the expected exit code');
        }
        else {
            $verdict->isnt($status, 0, 'die as expected');
        }
        check_error_log($block, $verdict, $repeat);
        stop() if defined $status && $status == 0;
    }
    keep_error_log($block);
}

sub repetition {
    my ($block, $verdict, $repeat) = @_;
    # Peers that aren't started still owe their assertions.
    @peers = Test::Nginx::Scaffold::Peer->all($block);
    if (!$verdict->is_dry) {
        # A repetition starts from the same files, whatever the one before did to them.
        attempt($verdict, sub { write_user_files($block) }) if $repeat > 0;
        attempt($verdict, sub { $_->start for @peers });
    }
    my $was_dry = $verdict->is_dry;
    attempt($verdict, sub { requests($block, $verdict, $repeat) });
    # What stopped it halfway is worth a failure of its own, as the assertions made so far may all have passed.
    Test::More::fail($block->name . " - $verdict->{broken}") if !$was_dry && $verdict->is_dry;
    $_->check($verdict) for @peers;
    $_->stop for splice @peers;
}

sub requests {
    my ($block, $verdict, $repeat) = @_;
    my @connections = connections($block);
    my $pipelined = section($block, 'pipelined_requests');
    my $responses = $pipelined ? @$pipelined : 1;
    my $many = $pipelined || @connections > 1;
    my $total = @connections * $responses;
    my $index = 0;

    for my $packets (@connections) {
        my $is_head = join('', map { $_->{value} } @$packets) =~ /\A\s*HEAD\s/;
        my $bytes = $verdict->is_dry ? '' : send_packets($block, $verdict, $packets);

        for my $answer (1 .. $responses) {
            if (!defined section($block, 'ignore_response')) {
                my $response = read_response($block, $verdict, $bytes, $is_head, $answer == $responses);
                $bytes = $response->{rest};
                check_response(
                    block => $block, verdict => $verdict, response => $response,
                    index => $index, many => $many, repeat => $repeat,
                );
            }
            $index++;
            my $wait = parse_time(section($block, 'wait'));
            sleep $wait if $wait && !$verdict->is_dry;
            skip_stap($block) if $index == $total;
            check_error_log($block, $verdict, $repeat);
            check_access_log($block, $verdict, $repeat) if !defined section($block, 'ignore_response');
        }
    }
}

sub send_packets {
    my ($block, $verdict, $packets) = @_;
    my $timeout = parse_time(section($block, 'timeout')) // $Test::Nginx::Util::Timeout;
    # Under valgrind all takes its time.
    $timeout *= 10 if $Test::Nginx::Util::UseValgrind;
    return exchange_http2($block, join('', map { $_->{value} } @$packets), $timeout) if speaks_http2($block);

    my $shutdown = section($block, 'shutdown');
    $shutdown = 1 if defined $shutdown && $shutdown !~ /\A\d\z/;
    my $result = exchange(
        packets      => $packets,
        address      => section($block, 'server_addr_for_client'),
        timeout      => $timeout,
        middle_delay => section($block, 'raw_request_middle_delay'),
        shutdown     => $shutdown,
        patient      => sub { $Test::Nginx::Util::NoNginxManager || is_up() },
    );
    $verdict->fail_extra($block->name . " - $result->{error}") if $result->{error};
    if ($result->{timed_out} && !defined section($block, 'abort')) {
        $verdict->fail_extra('ERROR: client socket timed out - ' . $block->name);
    }
    Test::More::note("response: $result->{bytes}") if $Test::Nginx::Util::Verbose;
    return $result->{bytes};
}

sub read_response {
    my ($block, $verdict, $bytes, $is_head, $is_last) = @_;
    if (defined section($block, 'http09')) {
        return Test::Nginx::Scaffold::Response->parse_http09($bytes);
    }
    my $response = Test::Nginx::Scaffold::Response->parse($bytes, $is_head);
    $verdict->fail_extra($block->name . " - $_") for @{ $response->{problems} };
    if (!$verdict->is_dry) {
        warn 'WARNING: ', $block->name, " - $_\n" for @{ $response->{warnings} || [] };
        if ($is_last && length $response->{rest}) {
            warn 'WARNING: ', $block->name, ' - unexpected extra bytes after the response: "',
                Test::Nginx::Scaffold::Text::one_line($response->{rest}), "\"\n";
        }
    }
    return $response;
}

# SystemTap is not supported; a block that uses it counts one assertion for its output.
sub skip_stap {
    my ($block) = @_;
    return if !defined section($block, 'stap');
    Test::More->builder->skip($block->name . ' - stap_out - tests skipped due to env TEST_NGINX_USE_STAP is not set');
}

# The server of the block before has ended: now its last words can be judged.
sub check_previous_shutdown {
    my $block = $unchecked_shutdown or return;
    undef $unchecked_shutdown;
    my $keeps_running = $Test::Nginx::Util::UseHup || $Test::Nginx::Util::NoClean;
    my $reason = $keeps_running ? 'nginx not being shut down' : undef;
    check_shutdown_log($block, Test::Nginx::Scaffold::Verdict->new(name => $block->name, skip => $reason));
}

sub stop_server {
    stop();
    check_previous_shutdown();
}

# TEST_NGINX_ERROR_LOG collects the error logs of all blocks.
sub keep_error_log {
    my ($block) = @_;
    my $file = $Test::Nginx::Util::AccumulatedErrorLog or return;
    open my $in, '<', $Test::Nginx::Util::ErrLogFile or return;
    open my $out, '>>', $file or die "can't append to TEST_NGINX_ERROR_LOG $file: $!\n";
    print $out "\n=== ", $block->name, "\n", <$in>;
}

sub finish {
    $_->() for splice @Test::Nginx::Util::CleanupHandlers;
    $_->stop for splice @peers;
    if ($Test::Nginx::Util::NoClean) {
        check_previous_shutdown();
        return;
    }
    return if $Test::Nginx::Util::NoNginxManager;
    stop_server();
    remove_root();
}

# A prove that is killed doesn't pass the signal on; Linux can, by prctl(PR_SET_PDEATHSIG, SIGTERM).
sub die_with_parent {
    my %prctl = (x86_64 => 157, aarch64 => 167);
    my $number = $^O eq 'linux' ? $prctl{ (POSIX::uname())[4] } : undef;
    syscall $number, 1, 15, 0, 0, 0 if defined $number;
}

# Leaving through exit() runs the END block below.
sub interrupted {
    my ($signal) = @_;
    POSIX::_exit(1) if $$ != $owner;
    exit 130;
}

END {
    if ($started && $$ == $owner) {
        # The exit code is Test::Builder's to decide.
        local $?;
        undef $unchecked_shutdown;
        finish();
    }
}

1;
