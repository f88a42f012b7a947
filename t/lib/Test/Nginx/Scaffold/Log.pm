package Test::Nginx::Scaffold::Log;

# What a block expects of the logs. A request's share of the error log is what was written since the last look;
# check_accum_error_log() widens it to everything since nginx started.

use strict;
use warnings;

use Exporter qw(import);
use Test::Nginx::Scaffold::Text qw(expand matches one_line patterns section);
use Test::Nginx::Util ();
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(rewind check_error_log check_access_log check_shutdown_log missing_directive);

# nginx closes the connection before it runs the log phase, so a line may appear a little after the response:
# look after three base units, and where an expected line is missing, keep looking for a while.
use constant { SETTLE_UNITS => 3, PATIENCE_UNITS => 40 };

my $position = 0;

# The next look starts at the beginning of the file.
sub rewind { $position = 0 }

sub read_from {
    my ($file, $offset) = @_;
    open my $in, '<', $file or return [];
    seek $in, $offset, 0;
    my @lines = <$in>;
    return \@lines;
}

sub error_lines {
    my ($awaited) = @_;
    my $unit = $Test::Nginx::Util::TestNginxSleep;
    my $from = $Test::Nginx::Util::CheckAccumErrLog ? 0 : $position;
    sleep SETTLE_UNITS * $unit;
    my $deadline = time + PATIENCE_UNITS * $unit;
    my $lines;
    while (1) {
        $lines = read_from($Test::Nginx::Util::ErrLogFile, $from);
        last if !grep { my $wanted = $_; !grep { matches($_, $wanted) } @$lines } @$awaited;
        last if time > $deadline;
        sleep 2 * $unit;
    }
    $position = $from;
    $position += length for @$lines;
    return $lines;
}

# repeat is the number of the repetition: a line's title carries it, and grep sections can be arrays over it.
sub check_error_log {
    my ($block, $verdict, $repeat) = @_;
    my @wanted = patterns(section($block, 'error_log'));
    my @unwanted = patterns(section($block, 'no_error_log'));
    my $lines = $verdict->is_dry ? [] : error_lines(\@wanted);

    check_grep($block, $verdict, $lines, $repeat);
    check_present($verdict, \@wanted, $lines, 'error.log', " (req $repeat)");
    check_absent($verdict, \@unwanted, $lines, 'error.log', " (req $repeat)");
    return if $verdict->is_dry;

    push @wanted, '[emerg]' if defined section($block, 'must_die');
    warn_of_severe($verdict->name, $lines, @wanted, @unwanted);
    for my $line (grep { /\bAssertion .*?failed\b/ } @$lines) {
        chomp $line;
        $verdict->fail_extra($verdict->name . " - $line");
    }
}

sub check_access_log {
    my ($block, $verdict, $repeat) = @_;
    my @wanted = patterns(section($block, 'access_log'));
    my @unwanted = patterns(section($block, 'no_access_log'));
    return if !@wanted && !@unwanted;
    sleep SETTLE_UNITS * $Test::Nginx::Util::TestNginxSleep;
    my $lines = read_from($Test::Nginx::Util::AccLogFile, 0);
    check_present($verdict, \@wanted, $lines, 'access.log', " (req $repeat)");
    check_absent($verdict, \@unwanted, $lines, 'access.log', " (req $repeat)");
}

# After nginx has exited: everything it wrote counts.
sub check_shutdown_log {
    my ($block, $verdict) = @_;
    my $lines = $verdict->is_dry ? [] : read_from($Test::Nginx::Util::ErrLogFile, 0);
    check_present($verdict, [patterns(section($block, 'shutdown_error_log'))], $lines, 'error.log', '');
    check_absent($verdict, [patterns(section($block, 'no_shutdown_error_log'))], $lines, 'error.log', '');
}

# --- grep_error_log picks text out of the log, a line each; --- grep_error_log_out says what that must be.
sub check_grep {
    my ($block, $verdict, $lines, $repeat) = @_;
    my ($grep, $wanted) = (section($block, 'grep_error_log'), section($block, 'grep_error_log_out'));
    $grep = $grep->[$repeat] if ref $grep eq 'ARRAY';
    if (!defined $grep) {
        die "--- grep_error_log_out needs --- grep_error_log\n" if defined $wanted;
        return;
    }
    die "--- grep_error_log needs --- grep_error_log_out\n" if !defined $wanted;
    $wanted = $wanted->[$repeat] if ref $wanted eq 'ARRAY';

    my $pattern = ref $grep ? $grep : qr/\Q$grep\E/;
    my @found;
    for my $line (@$lines) {
        next if $line !~ $pattern;
        my $match = substr $line, $-[0], $+[0] - $-[0];
        push @found, "$match\n" if index($match, "\n") < 0;
    }
    $verdict->is_text(join('', @found), expand($wanted), "grep_error_log_out (req $repeat)");
}

sub check_present {
    my ($verdict, $patterns, $lines, $file, $suffix) = @_;
    for my $pattern (@$patterns) {
        if ($verdict->is_dry || !grep { matches($_, $pattern) } @$lines) {
            $verdict->fail("pattern \"$pattern\" should match a line in $file$suffix");
        }
        else {
            $verdict->pass("pattern \"$pattern\" matches a line in $file$suffix");
        }
    }
}

# One result for each pattern, however many lines match: the first is in the title, with what followed it.
sub check_absent {
    my ($verdict, $patterns, $lines, $file, $suffix) = @_;
    for my $pattern (@$patterns) {
        my $shown = one_line($pattern);
        my ($first) = grep { matches($lines->[$_], $pattern) } 0 .. $#$lines;
        if (!defined $first) {
            $verdict->pass("pattern \"$shown\" does not match a line in $file$suffix");
            next;
        }
        my $line = one_line($lines->[$first]);
        $verdict->fail("pattern \"$shown\" should not match any line in $file but matches line \"$line\"$suffix");
        my $last = $first + 9 < $#$lines ? $first + 9 : $#$lines;
        Test::More::diag(join '', @$lines[$first + 1 .. $last]) if $last > $first;
    }
}

# Lines that deserve a look whatever the test is about, unless it is about them.
sub warn_of_severe {
    my ($name, $lines, @patterns) = @_;
    for my $mark ('[alert', '[crit', '[emerg', 'writing a global lua variable') {
        next if grep { index("$_", $mark) >= 0 || index("$_", quotemeta $mark) >= 0 } @patterns;
        warn "WARNING: $name - ", one_line($_), "\n" for grep { index($_, $mark) >= 0 } @$lines;
    }
}

# The directive that the configuration names and no module has, if that's why nginx didn't start.
sub missing_directive {
    for my $line (@{ read_from($Test::Nginx::Util::ErrLogFile, 0) }) {
        return $1 if $line =~ /\[emerg\] \S+?: unknown directive "([^"]+)"/;
    }
    return undef;
}

1;
