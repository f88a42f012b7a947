package Test::Nginx::Scaffold::Ports;

# Ports that no other test file on this machine takes. A port is ours while we hold the lock on its file, so that
# two files which start in the same moment can't choose the same one; binding it once tells us that nobody
# outside the scaffold listens there.

use strict;
use warnings;

use Fcntl qw(:flock);
use File::Spec ();
use IO::Socket::INET ();

# Below Linux's ephemeral range (from 32768), where outgoing connections would get in the way, and above the
# numbers that suites write into their configurations.
use constant { FIRST => 20_000, LAST => 31_996 };

# Test files add small numbers to the server's port, for listeners of their own; so a lock covers a group.
use constant GROUP => 4;

my %held;

sub reserve {
    my $folder = File::Spec->catdir(File::Spec->tmpdir, "test-nginx-ports-$>");
    mkdir $folder, 0700;
    for my $try (1 .. 1000) {
        my $port = FIRST + GROUP * int rand((LAST - FIRST) / GROUP);
        next if $held{$port};
        open my $lock, '>>', "$folder/$port" or die "can't open $folder/$port: $!\n";
        next if !flock $lock, LOCK_EX | LOCK_NB;
        next if grep { !is_free($port + $_) } 0 .. GROUP - 1;
        $held{$port} = $lock;
        return $port;
    }
    die "no free port between ${\FIRST} and ${\LAST}\n";
}

sub is_free {
    my ($port) = @_;
    return IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => $port, Proto => 'tcp', Listen => 1, ReuseAddr => 1);
}

1;
