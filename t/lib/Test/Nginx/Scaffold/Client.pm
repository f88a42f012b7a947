package Test::Nginx::Scaffold::Client;

# A client that speaks bytes, not HTTP: it writes the packets of a request one by one, and reads until the server
# closes or nothing happens for the block's timeout. What it got is left to others to judge.

use strict;
use warnings;

use Errno qw(EAGAIN EINTR EWOULDBLOCK);
use Exporter qw(import);
use IO::Select ();
use IO::Socket::INET ();
use Test::Nginx::Util ();
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(exchange);

# How long a server may take to listen: nginx under valgrind is slow to start.
use constant { CONNECT_SECONDS => 5, CONNECT_SECONDS_VALGRIND => 60 };

# packets       [{ value => bytes, delay_before => seconds }, ...]
# address       the server's, default server_addr()
# timeout       seconds without an event after which we close
# middle_delay  seconds before each packet but the first, where the packet doesn't say
# shutdown      what shutdown(2) is called with once everything is written, or undef
# patient       whether it's worth trying again where nobody listens: a function
#
# Returns { bytes => what came, timed_out => 1 or 0, error => text or undef }.
sub exchange {
    my (%how) = @_;
    my @packets = @{ $how{packets} };
    my $result = { bytes => '', timed_out => 0 };

    my $socket = connect_to($how{address}, $how{timeout}, $how{patient});
    if (!$socket) {
        my $address = $how{address} // $Test::Nginx::Util::ServerAddr;
        $result->{error} = "Can't connect to $address:$Test::Nginx::Util::ServerPortForClient: $!";
        return $result;
    }

    # A server that closes early is an answer, not a reason to die.
    local $SIG{PIPE} = 'IGNORE';
    my $readable = IO::Select->new($socket);
    my $writable = IO::Select->new($socket);
    my $out = (shift @packets)->{value};

    while (1) {
        my ($can_read, $can_write) = IO::Select->select($readable, $writable, undef, $how{timeout});
        if (!$can_read) {
            next if $! == EINTR;
            $result->{timed_out} = 1;
            last;
        }
        last if @$can_read && !read_all($socket, $result);
        next if !@$can_write;

        while (1) {
            my $written = length $out ? syswrite $socket, $out : 0;
            if (!defined $written) {
                last if would_block();
                # Bytes that came before the reset may still be there to read.
                $writable->remove($socket);
                last;
            }
            substr $out, 0, $written, '';
            next if length $out;
            my $next = shift @packets;
            if (!$next) {
                $writable->remove($socket);
                shutdown $socket, $how{shutdown} if defined $how{shutdown};
                last;
            }
            my $delay = $next->{delay_before} // $how{middle_delay};
            sleep $delay if $delay;
            $out = $next->{value};
        }
    }
    close $socket;
    return $result;
}

# False at the end of the stream.
sub read_all {
    my ($socket, $result) = @_;
    while (1) {
        my $read = sysread $socket, $result->{bytes}, 65536, length $result->{bytes};
        return defined $read ? 0 : would_block() if !$read;
    }
}

sub would_block {
    return $! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR;
}

# A non-blocking socket, or undef with the reason in $!.
sub connect_to {
    my ($address, $timeout, $patient) = @_;
    my $patience = $Test::Nginx::Util::UseValgrind ? CONNECT_SECONDS_VALGRIND : CONNECT_SECONDS;
    my $deadline = time + $patience;
    my $pause = 0.002;
    while (1) {
        my $socket = IO::Socket::INET->new(
            PeerAddr => $address // $Test::Nginx::Util::ServerAddr,
            PeerPort => $Test::Nginx::Util::ServerPortForClient,
            Proto    => 'tcp',
            Timeout  => $timeout,
        );
        if ($socket) {
            $socket->blocking(0);
            return $socket;
        }
        my $error = $!;
        if (time > $deadline || !$patient->()) {
            $! = $error;
            return undef;
        }
        sleep $pause;
        $pause *= 1.3 if $pause < 0.1;
    }
}

1;
