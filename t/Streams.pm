package Streams;

# What the suites of HTTP/2 and HTTP/3 share. A block's steps are a script for streams.py, whose output is its response_body; --- nghttp
# has options for that client. nginx speaks the suite's protocol at the port behind that of HTTP/1.1.

use strict;
use warnings;

use Exporter 'import';
use File::Temp ();
use FindBin ();
use IPC::Open2 ();
use Test::Nginx::Socket;
use Test::Nginx::Util ();

our @EXPORT = qw(speak nginx_has steps);

my $PYTHON = "$FindBin::Bin/../build/clients/bin/python";
# How long something sleeps that must be over before, and how long is waited to see that it is. valgrind is slow.
my %TIMES = $ENV{TEST_NGINX_USE_VALGRIND} ? (long => 4, longer => 6) : (long => 0.5, longer => 0.7);

my $protocol;
my $folder;

# The version of nginx, and what it was built with.
sub about_nginx {
    my $nginx = $ENV{TEST_NGINX_BINARY} || 'nginx';
    return scalar `$nginx -V 2>&1`;
}

sub nginx_has {
    my ($module) = @_;
    return about_nginx() =~ /--with-\Q$module\E\b/;
}

sub listeners {
    my $address = '127.0.0.1:' . (server_port() + 1);
    if ($protocol eq 'h2') {
        my ($minor) = about_nginx() =~ m{nginx/1\.(\d+)};
        return $minor < 25 ? "listen $address http2;" : "listen $address; http2 on;";
    }
    if (!$folder) {
        $folder = File::Temp->newdir;
        chmod 0755, $folder;
        system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
                . " -keyout $folder/key.pem -out $folder/certificate.pem 2>$folder/log") == 0
            or die "openssl makes no certificate\n";
    }
    return "listen $address quic; ssl_certificate $folder/certificate.pem; ssl_certificate_key $folder/key.pem;";
}

# Runs a script; returns what it prints.
sub steps {
    my ($script) = @_;
    my $pid = IPC::Open2::open2(my $out, my $in, $PYTHON, "$FindBin::Bin/streams.py", $protocol, server_port() + 1);
    print $in $script;
    close $in;
    my $text = do { local $/; <$out> } // '';
    waitpid $pid, 0;
    return $text;
}

# Asks nghttp for /t with these options; returns what it prints.
sub nghttp {
    my ($options) = @_;
    my $url = 'http://127.0.0.1:' . (server_port() + 1) . '/t';
    return scalar `nghttp $options $url`;
}

# Has the suite's blocks, and those that both have, spoken to over h2 or h3.
sub speak {
    ($protocol) = @_;
    -x $PYTHON or die "$PYTHON isn't there: run make setup\n";
    open my $shared, '<', "$FindBin::Bin/streams.blocks" or die "streams.blocks: $!\n";
    local $/;
    spec_string(<$shared> . "\n\n" . do { no strict 'refs'; readline *{"main::DATA"} });
    add_block_preprocessor(sub {
        my $block = shift;
        my $script = $block->steps;
        $block->set_value(http_config => 'lua_package_path "$prefix/html/?.lua;;";' . ($block->http_config // ''));
        my %values = (server_port_of_http1 => server_port(), %TIMES);
        my $names = CORE::join '|', keys %values;
        my $config = ($block->config // '') =~ s/\$($names)\b/$values{$1}/gr;
        $script =~ s/\$($names)\b/$values{$1}/g if defined $script;
        # The scaffold's server has a limit of its own.
        my $limit = $block->max_body;
        $config =~ s/^(location \S+ \{)/$1 client_max_body_size $limit;/gm if defined $limit;
        # The scaffold's own client of HTTP/2 has its own listener.
        my $listeners = defined $block->http2 ? '' : listeners();
        $block->set_value(config => $listeners . "\n" . $config . "\nlocation = /nothing { return 200; }\n");
        my $nghttp = $block->nghttp;
        return if !defined $script && !defined $nghttp;
        $block->set_value(request => 'GET /nothing');
        $block->set_value(timeout => 30);
        $block->set_value(response_body_filters => sub { defined $script ? steps($script) : nghttp($nghttp) });
    });
}

1;
