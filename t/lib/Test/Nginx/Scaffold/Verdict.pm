package Test::Nginx::Scaffold::Verdict;

# The assertions of one block. Usually each is checked; but where nginx has no such directive they are all skipped,
# and where nginx doesn't start they all fail. Either way a block reports as many results as its sections
# ask for, so that the file's plan comes out right.

use strict;
use warnings;

use Test::More ();
use Test::Nginx::Util ();

# name    the block's title, the head of every assertion's
# skip    why nothing can be checked, or undef
# broken  why everything fails, or undef
sub new {
    my ($class, %self) = @_;
    return bless {%self}, $class;
}

sub name   { return $_[0]{name} }
sub is_dry { return defined $_[0]{skip} || defined $_[0]{broken} }

sub break {
    my ($self, $reason) = @_;
    chomp $reason;
    $self->{broken} //= $reason;
}

# The reason is told with the first assertion only: it's the same for all.
sub settled {
    my ($self, $title) = @_;
    if (defined $self->{skip}) {
        Test::More->builder->skip("$self->{name} - tests skipped due to $self->{skip}");
        return 1;
    }
    if (defined $self->{broken}) {
        local $Test::Builder::Level = $Test::Builder::Level + 2;
        Test::More::fail("$self->{name} - $title");
        Test::More::diag($self->{broken}) if !$self->{told}++;
        return 1;
    }
    return 0;
}

sub is {
    my ($self, $got, $expected, $title) = @_;
    return if $self->settled($title);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return Test::More::is($got, $expected, "$self->{name} - $title");
}

sub isnt {
    my ($self, $got, $expected, $title) = @_;
    return if $self->settled($title);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return Test::More::isnt($got, $expected, "$self->{name} - $title");
}

# Equal text, or a match where a regex is expected.
sub is_text {
    my ($self, $got, $expected, $title) = @_;
    return if $self->settled($title);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return Test::Nginx::Util::is_str($got, $expected, "$self->{name} - $title");
}

sub like {
    my ($self, $got, $pattern, $title) = @_;
    return if $self->settled($title);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return Test::More::like($got, $pattern, "$self->{name} - $title");
}

sub unlike {
    my ($self, $got, $pattern, $title) = @_;
    return if $self->settled($title);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return Test::More::unlike($got, $pattern, "$self->{name} - $title");
}

sub pass {
    my ($self, $title) = @_;
    return if $self->settled($title);
    return Test::More::pass("$self->{name} - $title");
}

sub fail {
    my ($self, $title) = @_;
    return if $self->settled($title);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return Test::More::fail("$self->{name} - $title");
}

# A failure that no section asked for (a client timeout, a failed nginx assertion): it comes on top of the plan.
sub fail_extra {
    my ($self, $title) = @_;
    return if $self->is_dry;
    Test::More->builder->no_ending(1);
    return Test::More::fail($title);
}

1;
