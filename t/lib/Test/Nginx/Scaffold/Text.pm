package Test::Nginx::Scaffold::Text;

# The small languages inside sections: $TEST_NGINX_... variables, times with units, lists of patterns, lists of
# headers. Pure functions, but for the ports behind $TEST_NGINX_RAND_PORT_n, which live as long as a block.

use strict;
use warnings;

use Exporter qw(import);
use Test::Nginx::Scaffold::Ports ();
use Test::Nginx::Util ();

our @EXPORT_OK = qw(section expand expand_ports forget_ports one_line parse_headers parse_time patterns matches);

# A section's value, or undef where the block has none; '' where it's there without a value.
sub section {
    my ($block, $name) = @_;
    my $values = $block->{$name};
    return $values ? $values->[0] : undef;
}

my %rand_port;

sub forget_ports { %rand_port = () }

# Dies with the variable's name if the environment doesn't have it.
sub expand {
    my ($text) = @_;
    return $text if !defined $text || ref $text;
    $text =~ s{\$(TEST_NGINX_[_A-Z0-9]+)}{ variable($1) }ge;
    return $text;
}

sub variable {
    my ($name) = @_;
    if ($name =~ /\ATEST_NGINX_RAND_PORT_\d+\z/) {
        return $rand_port{$name} //= Test::Nginx::Scaffold::Ports::reserve();
    }
    return $ENV{$name} // die "the environment has no $name\n";
}

# $ServerPort in expectations: the port can differ from run to run.
sub expand_ports {
    my ($text) = @_;
    return $text if !defined $text || ref $text;
    $text =~ s/\$ServerPort\b/$Test::Nginx::Util::ServerPort/g;
    $text =~ s/\$ServerPortForClient\b/$Test::Nginx::Util::ServerPortForClient/g;
    return $text;
}

# Seconds: "2", "2s", "50ms".
sub parse_time {
    my ($time) = @_;
    return undef if !defined $time || $time eq '';
    return $1 / 1000 if $time =~ /\A([\d.]+)\s*ms\z/;
    return $1 if $time =~ /\A([\d.]+)\s*s\z/;
    return $time;
}

# A pattern section is text (a substring on each line), one regex, or an array of either.
sub patterns {
    my ($value) = @_;
    return () if !defined $value;
    return grep { defined } @$value if ref $value eq 'ARRAY';
    return ($value) if ref $value;
    return grep { length } split /\n+/, $value;
}

sub matches {
    my ($line, $pattern) = @_;
    return ref $pattern ? $line =~ $pattern : index($line, $pattern) >= 0;
}

# [name, value] in the order of the section; "! name" gives an undefined value. A repeated name keeps its last value.
sub parse_headers {
    my ($text) = @_;
    my (@names, %value);
    for my $line (split /\n/, $text) {
        $line =~ s/\A\s+|\s+\z//g;
        next if $line eq '';
        my ($name, $value) = $line =~ /\A!\s*(.*)/s ? ($1, undef) : split /\s*:\s*/, $line, 2;
        push @names, $name if !exists $value{$name};
        $value{$name} = $value;
    }
    return map { [$_, $value{$_}] } @names;
}

sub one_line {
    my ($text) = @_;
    chomp $text;
    $text =~ s/"/\\"/g;
    $text =~ s/\r/\\r/g;
    $text =~ s/\n/\\n/g;
    return $text;
}

1;
