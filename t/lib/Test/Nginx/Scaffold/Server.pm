package Test::Nginx::Scaffold::Server;

# The nginx under test: started afresh for a block, reloaded for it, or stopped. It runs as a daemon, as in production,
# and is found again by its pid file; under valgrind it stays our child.

use strict;
use warnings;

use Exporter qw(import);
use IO::Socket::INET ();
use POSIX ();
use Test::Nginx::Scaffold::Log qw(missing_directive);
use Test::Nginx::Scaffold::Process qw(children_of command_of is_running stop_process wait_for);
use Test::Nginx::Util ();
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(launch start stop is_up reload);

# How long nginx may take to read its configuration, and to say its version after a reload.
use constant { START_SECONDS => 30, RELOAD_SECONDS => 10 };

# The ports of the server before may still be in use for a moment.
use constant BIND_SECONDS => 10;

my $valgrind_pid;

sub pid {
    open my $in, '<', $Test::Nginx::Util::PidFile or return undef;
    my $pid = <$in>;
    return defined $pid && $pid =~ /\A(\d+)/ ? $1 : undef;
}

# Only an nginx counts: a pid file left by a killed run may name any process by now.
sub is_up {
    my $pid = pid();
    return $pid && is_running($pid) && ($valgrind_pid || command_of($pid) =~ /nginx/) ? $pid : undef;
}

sub stderr_file { return "$Test::Nginx::Util::LogDir/stderr.log" }

sub command {
    my @nginx = ($Test::Nginx::Util::NginxBinary);
    push @nginx, '-e', $Test::Nginx::Util::ErrLogFile if $Test::Nginx::Util::NginxVersion >= 1.019005;
    push @nginx, '-p', "$Test::Nginx::Util::ServRoot/", '-c', $Test::Nginx::Util::ConfFile;
    return @nginx if !$Test::Nginx::Util::UseValgrind;

    my $options = $Test::Nginx::Util::UseValgrind;
    if ($options =~ /\A\d+\z/) {
        $options = '--num-callers=100 --tool=memcheck --leak-check=full --keep-debuginfo=yes --show-possibly-lost=no'
            . ' --gen-suppressions=all';
        $options .= ' --suppressions=valgrind.suppress' if -f 'valgrind.suppress';
    }
    return ('valgrind', '-q', split(' ', $options), @nginx);
}

sub run {
    my $preload = $ENV{TEST_NGINX_LD_PRELOAD};
    my $pid = fork // die "can't fork: $!\n";
    return $pid if $pid;

    setpgrp if $Test::Nginx::Util::UseValgrind;
    $ENV{LD_PRELOAD} = join ' ', grep { defined } $preload, $ENV{LD_PRELOAD} if defined $preload;
    open STDOUT, '>', '/dev/null';
    # Valgrind reports on its stderr what there is to see.
    open STDERR, '>', stderr_file() if !$Test::Nginx::Util::UseValgrind;
    { exec { (command())[0] } command() }
    POSIX::_exit(127);
}

# Runs the command until it has ended, or become a daemon; returns its wait status, or undef if it did neither in time.
sub launch {
    my $pid = run();
    my $status;
    return $status if wait_for(START_SECONDS, sub { waitpid($pid, POSIX::WNOHANG()) == $pid && defined($status = $?) });
    stop_process($pid, 'TERM', 1);
    return undef;
}

# Starts nginx on the configuration as written. Returns nothing if it's up, or (what, text): "missing" and a directive
# that no module has, or "failed" and nginx's own words.
sub start {
    if ($Test::Nginx::Util::UseValgrind) {
        $valgrind_pid = run();
        return if wait_for(START_SECONDS, sub { pid() || !is_running($valgrind_pid) }) && is_running($valgrind_pid);
        my $directive = missing_directive();
        return defined $directive ? (missing => $directive) : (failed => "nginx doesn't start under valgrind\n" . words());
    }

    my $deadline = time + BIND_SECONDS;
    while (1) {
        my $status = launch();
        if (defined $status && $status == 0) {
            wait_for(2, sub { pid() });
            # Workers have an init phase of their own before they answer.
            sleep $Test::Nginx::Util::TestNginxSleep;
            return;
        }
        my $directive = missing_directive();
        return (missing => $directive) if defined $directive;
        my $words = words();
        if ($words !~ /Address already in use/ || time > $deadline) {
            my $how = !defined $status ? 'it takes too long' : $status & 127 ? 'signal ' . ($status & 127) : 'exit code ' . ($status >> 8);
            return (failed => "nginx doesn't start ($how)\n$words");
        }
        sleep 0.2;
    }
}

# What nginx had to say, from its stderr or, where that says nothing, from the error log's end.
sub words {
    for my $file (stderr_file(), $Test::Nginx::Util::ErrLogFile) {
        open my $in, '<', $file or next;
        my @lines = grep { /\S/ && !/\[debug\]|\[notice\]/ } <$in>;
        splice @lines, 0, @lines - 20 if @lines > 20;
        return join '', @lines if @lines;
    }
    return '';
}

# True if a server ran, which has ended.
sub stop {
    my $pid = is_up();
    my $signal = $Test::Nginx::Util::FastShutdown ? 'TERM' : 'QUIT';
    my $seconds = $Test::Nginx::Util::Timeout * ($valgrind_pid ? 10 : 1);
    stop_process($pid, $signal, $seconds) if $pid;
    if ($valgrind_pid) {
        stop_process($valgrind_pid, 'TERM', $seconds);
        undef $valgrind_pid;
    }
    unlink $Test::Nginx::Util::PidFile;
    return $pid;
}

# Makes the running master read the configuration again; true once only new workers answer. Where the reload is meant
# to fail (version undefined), it just gets its time.
sub reload {
    my ($version) = @_;
    my $pid = is_up() or return 0;
    my @old_workers = children_of($pid);
    kill 'USR1', $pid;
    sleep $Test::Nginx::Util::TestNginxSleep;
    kill 'HUP', $pid;
    if (!defined $version) {
        sleep 0.3;
        return 1;
    }
    # Old workers go on accepting for a tenth of a second beside the new ones.
    return wait_for(RELOAD_SECONDS, sub {
        return 0 if grep { is_running($_) && command_of($_) !~ /shutting down/ } @old_workers;
        return (answered_version() // '') eq $version;
    });
}

sub answered_version {
    my $socket = IO::Socket::INET->new(
        PeerAddr => $Test::Nginx::Util::ServerAddr, PeerPort => $Test::Nginx::Util::ServerPort, Proto => 'tcp', Timeout => 1,
    ) or return undef;
    local $SIG{PIPE} = 'IGNORE';
    print $socket "GET /ver HTTP/1.0\r\nHost: Test-Nginx\r\n\r\n";
    my $answer = join '', <$socket>;
    return $answer =~ /\r\n\r\n(.*)\z/s ? $1 : undef;
}

1;
