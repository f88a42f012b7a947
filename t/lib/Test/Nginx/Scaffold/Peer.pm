package Test::Nginx::Scaffold::Peer;

# A server for nginx to talk to, with one answer: --- tcp_listen or --- udp_listen name a port or a socket file,
# --- tcp_reply or --- udp_reply what it says to the first client. It runs in a child process for one repetition of
# a block and passes on what it was asked, for --- tcp_query, --- tcp_query_len and --- udp_query.

use strict;
use warnings;

use Errno qw(EADDRINUSE);
use IO::Select ();
use IO::Socket::INET ();
use IO::Socket::UNIX ();
use POSIX ();
use Socket qw(SOCK_DGRAM SOCK_STREAM);
use Test::Nginx::Scaffold::Text qw(expand parse_time section);
use Time::HiRes qw(sleep time);

# Another test file may hold the port that both have written down.
use constant BIND_SECONDS => 30;

# How long a query may take to reach us once nginx has answered its client.
use constant QUERY_SECONDS => 0.3;

# The peers that the block asks for, not started yet.
sub all {
    my ($class, $block) = @_;
    my @kinds = grep { defined section($block, "${_}_listen") } qw(tcp udp);
    return map { bless { block => $block, kind => $_, query => '' }, $class } @kinds;
}

sub start {
    my ($self) = @_;
    $self->{address} = expand(section($self->{block}, "$self->{kind}_listen"));
    $self->{socket} = $self->listen;

    pipe $self->{queries}, my $to_parent or die "can't make a pipe: $!\n";
    $self->{pid} = fork // die "can't fork: $!\n";
    return if $self->{pid};

    # The child must leave nothing of the test behind it: no results, no END blocks.
    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP PIPE);
    $SIG{PIPE} = 'IGNORE';
    $self->{to_parent} = $to_parent;
    eval { $self->{kind} eq 'tcp' ? $self->serve_tcp : $self->serve_udp; 1 } or warn "WARNING: $self->{kind} peer: $@";
    POSIX::_exit(0);
}

sub option {
    my ($self, $name) = @_;
    return section($self->{block}, "$self->{kind}_$name");
}

sub listen {
    my ($self) = @_;
    my $deadline = time + BIND_SECONDS;
    while (1) {
        my $socket = $self->bind;
        return $socket if $socket;
        die "can't listen on $self->{address}: $!\n" if $! != EADDRINUSE || time > $deadline;
        sleep 0.2;
    }
}

sub bind {
    my ($self) = @_;
    my $address = $self->{address};
    my $is_tcp = $self->{kind} eq 'tcp';
    if ($address =~ /\A\d+\z/) {
        my @at = (LocalAddr => '127.0.0.1', LocalPort => $address);
        return IO::Socket::INET->new(@at, Proto => 'tcp', Listen => 5, ReuseAddr => 1) if $is_tcp;
        return IO::Socket::INET->new(@at, Proto => 'udp');
    }
    die "$address is neither a port nor a .sock file\n" if $address !~ /\.sock\z/;
    unlink $address;
    return IO::Socket::UNIX->new(Local => $address, Type => $is_tcp ? SOCK_STREAM : SOCK_DGRAM, $is_tcp ? (Listen => 5) : ());
}

# A query may come in pieces, and the test may look before the last.
sub tell_parent {
    my ($self, $bytes) = @_;
    syswrite $self->{to_parent}, $bytes;
}

sub serve_tcp {
    my ($self) = @_;
    my $client = $self->{socket}->accept or die "accept: $!\n";

    my ($reads, $writes) = (1, 1);
    my $shutdown = $self->option('shutdown');
    if (defined $shutdown) {
        sleep($self->option('shutdown_delay') || 0);
        shutdown $client, $shutdown;
        ($reads, $writes) = $shutdown == 0 || $shutdown == 2 ? (0, 1) : (1, 0);
    }

    my $query = $reads ? $self->read_query($client) : '';
    sleep(parse_time($self->option('reply_delay')) // 0);
    if ($writes) {
        defined syswrite($client, $_) or warn "WARNING: tcp peer can't reply: $!\n" for $self->replies($query);
    }
    sleep 60 while defined $self->option('no_close');
    close $client;
}

# One read, unless the block says how long the query is, or how long a pause ends it.
sub read_query {
    my ($self, $client) = @_;
    my $length = $self->option('query_len');
    my $expected = $self->option('query');
    $length = length $expected if !defined $length && defined $expected && !ref $expected;
    my $pause = $self->option('query_auto_timeout');
    $pause ||= 0.1 if defined $pause;

    my $query = '';
    my $select = IO::Select->new($client);
    while (!defined $pause || $select->can_read($pause)) {
        my $read = sysread $client, my $bytes, 4096;
        last if !$read;
        $self->tell_parent($bytes);
        $query .= $bytes;
        last if !defined $pause && length $query >= ($length || 1);
    }
    return $query;
}

sub serve_udp {
    my ($self) = @_;
    my $client = $self->{socket}->recv(my $query, 65536);
    die "recv: $!\n" if !defined $client;
    $self->tell_parent($query);
    sleep(parse_time($self->option('reply_delay')) // 0);
    for my $reply ($self->replies($query)) {
        defined $self->{socket}->send($reply, 0, $client) or warn "WARNING: udp peer can't reply: $!\n";
    }
}

# Text, an array of texts to send one by one, or a function of the query that returns either.
sub replies {
    my ($self, $query) = @_;
    my $reply = $self->option('reply');
    $reply = $reply->($query) if ref $reply eq 'CODE';
    return () if !defined $reply;
    return ref $reply ? @$reply : $reply;
}

# Asserts what the peer was asked.
sub check {
    my ($self, $verdict) = @_;
    my ($query, $length) = ($self->option('query'), $self->option('query_len'));
    return if !defined $query && !defined $length;
    $length //= ref $query ? 1 : length $query;
    $self->collect($length) if !$verdict->is_dry;

    my $title = $self->{kind} . '_query ok';
    $verdict->is_text($self->{query}, $query, $title) if defined $query;
    if (defined $self->option('query_len')) {
        $verdict->is(length $self->{query}, $length, uc($self->{kind}) . ' query length ok');
    }
}

sub collect {
    my ($self, $length) = @_;
    my $select = IO::Select->new($self->{queries});
    my $deadline = time + QUERY_SECONDS;
    while (1) {
        # Past the expected length only what is already there counts: a query that is too long must show.
        my $patience = length $self->{query} < $length ? $deadline - time : 0;
        last if !$select->can_read($patience > 0 ? $patience : 0);
        last if !sysread $self->{queries}, $self->{query}, 65536, length $self->{query};
    }
}

# The listening socket is kept until here, so that a second connection waits instead of being refused.
sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;
    kill 'KILL', $pid;
    waitpid $pid, 0;
    close $self->{socket};
    unlink $self->{address} if $self->{address} =~ /\.sock\z/;
}

1;
