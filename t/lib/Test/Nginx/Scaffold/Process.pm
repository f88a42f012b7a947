package Test::Nginx::Scaffold::Process;

# Processes that we started, or that an interrupted run left: whether they live, and how they are made to end.

use strict;
use warnings;

use Exporter qw(import);
use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(children_of command_of is_running stop_process wait_for);

# True once the condition holds, false after so many seconds without. Short waits first: most things are fast.
sub wait_for {
    my ($seconds, $condition) = @_;
    my $deadline = time + $seconds;
    my $pause = 0.001;
    until ($condition->()) {
        return 0 if time > $deadline;
        sleep $pause;
        $pause *= 1.4 if $pause < 0.02;
    }
    return 1;
}

# A zombie has ended, but kill(0) still finds it; where nobody reaps daemons they stay for ever.
sub is_running {
    my ($pid) = @_;
    waitpid $pid, WNOHANG;
    return 0 if !kill 0, $pid;
    my ($state) = stat_of($pid);
    return !defined $state || $state ne 'Z' && $state ne 'X';
}

# The state and the parent from /proc/PID/stat; nothing where there is no /proc.
sub stat_of {
    my ($pid) = @_;
    open my $in, '<', "/proc/$pid/stat" or return;
    my $line = <$in> // return;
    return $line =~ /\A.*\) (\S) (\d+)/s;
}

sub command_of {
    my ($pid) = @_;
    open my $in, '<', "/proc/$pid/cmdline" or return '';
    return <$in> // '';
}

sub children_of {
    my ($parent) = @_;
    return grep { ((stat_of($_))[1] // 0) == $parent } map { m{(\d+)\z} } glob '/proc/[0-9]*';
}

# Asks with a signal, then insists; after that neither the process nor its children are left. Says so if it had to.
sub stop_process {
    my ($pid, $signal, $seconds) = @_;
    return 1 if !is_running($pid);
    my @children = children_of($pid);
    kill $signal, $pid;
    return 1 if wait_for($seconds, sub { !is_running($pid) });
    warn "WARNING: process $pid didn't end within $seconds seconds of SIG$signal\n";
    kill 'TERM', $pid;
    wait_for(1, sub { !is_running($pid) });
    my @left = grep { is_running($_) } $pid, @children;
    kill 'KILL', @left;
    wait_for(2, sub { !grep { is_running($_) } @left });
    return 0;
}

1;
