package Test::Nginx::Scaffold::Conditions;

# Sections by which a block opts out: skip_nginx, skip_nginx2, skip_openssl, skip_eval, todo, todo_nginx.

use strict;
use warnings;

use Exporter qw(import);
use Test::Nginx::Scaffold::Text qw(section);
use Test::Nginx::Util ();

our @EXPORT_OK = qw(opted_out);

my $VERSION = qr/([<>]=?)\s*(\d+)\.(\d+)\.(\d+)([a-z])?/;
my $COUNT = qr/\A\s*(\d+)\s*:\s*/;
my $REASON = qr/(?:\s*:\s*(.*?))?\s*\z/s;

# Returns { kind => 'skip' or 'todo', count => assertions, reason => text }, or undef if the block runs.
sub opted_out {
    my ($block) = @_;
    return skip_eval($block) // skip_nginx($block) // skip_openssl($block) // todo($block);
}

sub holds {
    my ($have, $operator, @version) = @_;
    my $wanted = Test::Nginx::Util::canon_version(@version);
    return $operator eq '<' ? $have < $wanted
        : $operator eq '<=' ? $have <= $wanted
        : $operator eq '>'  ? $have > $wanted
        :                     $have >= $wanted;
}

sub skip {
    my ($count, $reason) = @_;
    return { kind => 'skip', count => $count, reason => $reason };
}

# --- skip_eval: COUNT: PERL
sub skip_eval {
    my ($block) = @_;
    my $text = section($block, 'skip_eval') // return undef;
    my ($count, $code) = $text =~ /$COUNT(.*)/s or die "--- skip_eval isn't \"COUNT: PERL\": $text\n";
    my $result = eval "package Test::Nginx::Util; no strict; $code";
    die "--- skip_eval: $@" if $@;
    return $result ? skip($count, 'skip_eval') : undef;
}

# --- skip_nginx: COUNT: < VERSION [: REASON];  --- skip_nginx2 joins two conditions by "and" or "or".
sub skip_nginx {
    my ($block) = @_;
    my $have = $Test::Nginx::Util::NginxVersion;
    if (defined(my $text = section($block, 'skip_nginx'))) {
        my ($count, $operator, @rest) = $text =~ /$COUNT$VERSION$REASON/ or die "--- skip_nginx can't be read: $text\n";
        my ($major, $minor, $patch, undef, $reason) = @rest;
        return undef if !holds($have, $operator, $major, $minor, $patch);
        return skip($count, $reason // "nginx version $operator $major.$minor.$patch");
    }
    if (defined(my $text = section($block, 'skip_nginx2'))) {
        my @parts = $text =~ /$COUNT$VERSION\s+(and|or)\s+$VERSION$REASON/ or die "--- skip_nginx2 can't be read: $text\n";
        my ($count, @first) = splice @parts, 0, 5;
        my (undef, $join, @second) = splice @parts, 0, 6;
        my ($one, $two) = (holds($have, @first), holds($have, @second));
        return undef if !($join eq 'and' ? $one && $two : $one || $two);
        return skip($count, $parts[1] // 'nginx version');
    }
    return undef;
}

# --- skip_openssl: COUNT: < VERSION [: REASON], which also skips where nginx has no OpenSSL.
sub skip_openssl {
    my ($block) = @_;
    my $text = section($block, 'skip_openssl') // return undef;
    my ($count, $operator, @version) = $text =~ /$COUNT$VERSION$REASON/ or die "--- skip_openssl can't be read: $text\n";
    my $reason = pop @version;
    my $have = $Test::Nginx::Util::OpenSSLVersion;
    return skip($count, $reason // 'nginx is built without OpenSSL') if !defined $have;
    return undef if !holds($have, $operator, @version);
    return skip($count, $reason // "OpenSSL version $operator " . join('.', @version[0 .. 2]) . ($version[3] // ''));
}

# --- todo: COUNT: REASON;  --- todo_nginx: < VERSION [: REASON]
sub todo {
    my ($block) = @_;
    if (defined(my $text = section($block, 'todo'))) {
        my ($count, $reason) = $text =~ /$COUNT(.*)/s or die "--- todo isn't \"COUNT: REASON\": $text\n";
        return { kind => 'todo', count => $count, reason => $reason };
    }
    my $text = section($block, 'todo_nginx') // return undef;
    my ($operator, @version) = $text =~ /\A\s*$VERSION$REASON/ or die "--- todo_nginx can't be read: $text\n";
    my $reason = pop @version;
    return undef if !holds($Test::Nginx::Util::NginxVersion, $operator, @version[0 .. 2]);
    return { kind => 'todo', count => 1, reason => $reason // "nginx version $operator " . join('.', @version[0 .. 2]) };
}

1;
