package Test::Nginx::Scaffold::Conf;

# What nginx reads: its folder, the files a block brings along, and nginx.conf. Tests look at line numbers of that
# file ("content_by_lua(nginx.conf:40)"), so its layout is part of the interface: without sections of their own,
# main_config stands on line 16, http_config on line 25 and config on line 39.

use strict;
use warnings;

use Exporter qw(import);
use File::Find qw(find);
use File::Path qw(make_path remove_tree);
use Test::Nginx::Scaffold::Curl qw(speaks_http2);
use Test::Nginx::Scaffold::Text qw(expand section);
use Test::Nginx::Util ();

our @EXPORT_OK = qw(make_root remove_root write_user_files write_conf);

# What we or nginx make below the server root. Nothing else is removed: TEST_NGINX_SERVROOT may name any folder.
my @OURS = qw(conf html logs cache *_temp *_cache);

# keep_running leaves what a running nginx holds open: its pid file, and sockets.
sub make_root {
    my (%how) = @_;
    my @paths = grep { -e } map { glob "$Test::Nginx::Util::ServRoot/$_" } @OURS;
    if ($how{keep_running}) {
        find({ no_chdir => 1, wanted => sub { unlink if -f && !/nginx\.pid\z/ } }, @paths) if @paths;
    }
    else {
        remove_tree(@paths);
    }
    make_path($Test::Nginx::Util::ConfDir, $Test::Nginx::Util::HtmlDir, $Test::Nginx::Util::LogDir);
    write_file("$Test::Nginx::Util::HtmlDir/index.html",
        '<html><head><title>It works!</title></head><body>It works!</body></html>');
}

# A folder named by its random port is ours as a whole.
sub remove_root {
    remove_tree($Test::Nginx::Util::ServRoot) if $Test::Nginx::Util::Randomize;
}

sub write_file {
    my ($path, $content) = @_;
    open my $out, '>:raw', $path or die "can't write $path: $!\n";
    print $out $content;
    close $out or die "can't write $path: $!\n";
}

# --- user_files: text in which ">>> NAME [TIME]" heads each file, or an array of [name, content, time].
sub write_user_files {
    my ($block) = @_;
    my $files = section($block, 'user_files');
    return if !defined $files || $files eq '';
    for my $file (ref $files ? @$files : split_files($files)) {
        my ($name, $content, $time) = @$file;
        my $path = $name =~ m{\A/} ? $name : "$Test::Nginx::Util::HtmlDir/$name";
        make_path($1) if $path =~ m{(.*)/};
        write_file($path, expand($content // ''));
        if (defined $time) {
            local $ENV{TZ} = 'GMT';
            system('touch', '-t', $time, $path) == 0 or die "--- user_files: touch -t $time $path fails\n";
        }
    }
}

sub split_files {
    my ($text) = @_;
    my @files;
    for my $line (split /^/, $text) {
        # Not only at the line's start: a quoted text may begin before it.
        if ($line =~ />>> (\S+)(?:[ \t]+(\S+))?/) {
            push @files, [$1, '', $2];
        }
        elsif (@files) {
            $files[-1][1] .= $line;
        }
    }
    return @files;
}

# config is the block's --- config with its variables expanded, or the previous block's; version is what the server
# "Test-Nginx" answers at /ver, so that a reload can be told from the configuration before it.
sub write_conf {
    my ($block, $config, $version) = @_;

    my %text = map { $_ => expand(section($block, $_) // '') } qw(main_config http_config post_main_config error_log_file);
    my $http = $text{http_config};
    $http = $Test::Nginx::Util::FilterHttpConfig->($http) if $Test::Nginx::Util::FilterHttpConfig;

    my $conf = head($text{error_log_file} || $Test::Nginx::Util::ErrLogFile, section($block, 'log_level'));
    $conf .= join(' ', map({ "load_module $_;" } split ' ', expand($Test::Nginx::Util::LoadModules)), $text{main_config});
    $conf .= "\n\n" . http_head($http) . "$http\n" . server_head($block) . "$config\n    # the block's config ends here\n\n";
    $conf .= root_location() if !$Test::Nginx::Util::NoRootLocation;
    $conf .= "    }\n";
    $conf .= version_server($version) if defined $version;
    $conf .= "}\n\n" . stream($block) . "$text{post_main_config}\n" . tail();
    write_file($Test::Nginx::Util::ConfFile, $conf);
}

# Variables that debuggers, sanitizers and system call wrappers need; nginx drops all others from its environment.
my @PRELOAD_ENV = qw(
    MOCKEAGAIN_VERBOSE MOCKEAGAIN MOCKEAGAIN_WRITE_TIMEOUT_PATTERN LD_PRELOAD LD_LIBRARY_PATH DYLD_INSERT_LIBRARIES
    DYLD_FORCE_FLAT_NAMESPACE
);
my @SANITIZER_ENV = qw(ASAN_OPTIONS MOCKNOEAGAIN_VERBOSE MOCKNOEAGAIN);

sub head {
    my ($error_log, $level) = @_;
    $level = $Test::Nginx::Util::LogLevel if !defined $level || $level eq '';
    my $daemon = $Test::Nginx::Util::UseValgrind ? 'off' : 'on';
    my @env = map { /\s/ ? "'$_'" : $_ } @Test::Nginx::Util::EnvToNginx;
    return join '', map { "$_\n" } (
        "worker_processes $Test::Nginx::Util::Workers;",
        "daemon $daemon;",
        "master_process $Test::Nginx::Util::MasterProcessEnabled;",
        "error_log $error_log $level;",
        "pid $Test::Nginx::Util::PidFile;",
        map({ "env $_;" } @PRELOAD_ENV, @env),
        ('') x 3,
    );
}

sub http_head {
    my ($http) = @_;
    my $root = $Test::Nginx::Util::ServRoot;
    my @temp_paths;
    for my $name (qw(client_body proxy fastcgi scgi uwsgi)) {
        next if $Test::Nginx::Util::NginxBuild =~ /--without-http_${name}_module/ || $http =~ /\b${name}_temp_path\b/;
        push @temp_paths, "${name}_temp_path $root/${name}_temp;";
    }
    return join '', map { "$_\n" } (
        'http {',
        "    access_log $Test::Nginx::Util::AccLogFile;",
        "    @temp_paths",
        '',
        '    default_type text/plain;',
        '    keepalive_timeout 68s;',
        '',
    );
}

sub server_head {
    my ($block) = @_;
    my $name = section($block, 'server_name') // $Test::Nginx::Util::ServerName;
    $name =~ s/([\\'])/\\$1/g;
    return join '', map { "$_\n" } (
        '    server {',
        '        ' . listen_line($block),
        "        server_name '$name';",
        '        client_max_body_size 30M;',
        ('') x 5,
        "        # what config_preamble() gave:",
        $Test::Nginx::Util::ConfigPreamble,
        '',
        "        # the block's config:",
    );
}

sub listen_line {
    my ($block) = @_;
    my $options = $Test::Nginx::Util::ReusePort ? ' reuseport' : '';
    return "listen $Test::Nginx::Util::ServerPort$options;" if !speaks_http2($block);
    my $has_directive = $Test::Nginx::Util::NginxVersion >= 1.025001;
    return "listen $Test::Nginx::Util::ServerPort$options" . ($has_directive ? '; http2 on;' : ' http2;');
}

sub root_location {
    return join '', map { "        $_\n" } (
        'location / {', "    root $Test::Nginx::Util::HtmlDir;", '    index index.html index.htm;', '}',
    );
}

sub version_server {
    my ($version) = @_;
    return join '', map { "    $_\n" } (
        'server {', "    listen $Test::Nginx::Util::ServerPort;", "    server_name 'Test-Nginx';",
        "    location = /ver { return 200 '$version'; }", '}',
    );
}

# --- stream_server_config stands in a server one port up, stream_server_config2 two ports up, and so on.
sub stream {
    my ($block) = @_;
    my $stream = expand(section($block, 'stream_config') // '');
    for my $up (1 .. 3) {
        my $server = section($block, 'stream_server_config' . ($up == 1 ? '' : $up)) // next;
        my $port = $Test::Nginx::Util::ServerPort + $up;
        $stream .= "    server {\n        listen $port;\n" . expand($server) . "    }\n";
    }
    return $stream eq '' ? '' : "stream {\n$stream}\n";
}

sub tail {
    my $use = $Test::Nginx::Util::EventType ? "use $Test::Nginx::Util::EventType; " : '';
    my $user = $Test::Nginx::Util::WorkerUser;
    return join '', map { "$_\n" } (
        "events { ${use}accept_mutex off; worker_connections $Test::Nginx::Util::WorkerConnections; }",
        map({ "env $_;" } @SANITIZER_ENV),
        $user ? "user $user;" : (),
    );
}

1;
