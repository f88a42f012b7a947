package Test::Nginx::Util;

# The settings of a test file: what the environment says, what the functions called above run_tests() change,
# and the paths that follow from both. They are package variables, under the names that suites look up
# ($Test::Nginx::Util::NginxVersion and so on), and every other part of the scaffold reads them here.

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use File::Spec ();
use Test::LongString ();
use Test::More ();
use Test::Nginx::Scaffold::Ports ();

our @EXPORT_OK = qw(
    add_block_preprocessor add_cleanup_handler add_response_body_check add_test_cleanup_handler bail_out
    check_accum_error_log config_preamble env_to_nginx html_dir is_str is_string log_level master_off master_on
    master_process_enabled no_long_string no_nginx_manager no_root_location no_shuffle repeat_each server_addr
    server_name server_port server_port_for_client server_root set_http_config_filter shuffle timeout use_http2 use_hup
    worker_connections workers
);

# A mismatch between two long bodies is reported at its first differing character; looking for their longest
# common substring as well takes minutes on a megabyte.
$Test::LongString::LCSS = 0;

sub env_or {
    my ($name, $default) = @_;
    my $value = $ENV{"TEST_NGINX_$name"};
    return defined $value && length $value ? $value : $default;
}

our $NginxBinary          = env_or(BINARY => 'nginx');
our $LoadModules          = env_or(LOAD_MODULES => '');
our $Verbose              = env_or(VERBOSE => 0);
our $NoClean              = env_or(NO_CLEAN => 0);
our $NoNginxManager       = env_or(NO_NGINX_MANAGER => 0);
our $NoShuffle            = env_or(NO_SHUFFLE => 0);
our $UseHup               = env_or(USE_HUP => 0);
our $UseHttp2             = env_or(USE_HTTP2 => 0);
our $UseValgrind          = env_or(USE_VALGRIND => '');
our $FastShutdown         = env_or(FAST_SHUTDOWN => 0);
our $ForceRestartOnTest   = env_or(FORCE_RESTART_ON_TEST => 1);
our $IgnoreMissing        = env_or(IGNORE_MISSING_DIRECTIVES => 0);
our $Randomize            = env_or(RANDOMIZE => 0);
our $TestNginxSleep       = env_or(SLEEP => 0.015);
our $Timeout              = env_or(TIMEOUT => 3);
our $AccumulatedErrorLog  = env_or(ERROR_LOG => '');
our $CheckAccumErrLog     = env_or(CHECK_ACCUM_ERR_LOG => 0);
our $LogLevel             = env_or(LOG_LEVEL => 'debug');
our $MasterProcessEnabled = env_or(MASTER_PROCESS => 'off');
our $EventType            = env_or(EVENT_TYPE => '');
our $ReusePort            = env_or(REUSE_PORT => 0);
our $WorkerUser           = env_or(WORKER_USER => $> == 0 ? 'root' : '');
our $ServerPort           = env_or(SERVER_PORT => env_or(PORT => 1984));
our $ServerPortForClient  = env_or(CLIENT_PORT => $ServerPort);
our $ServRoot             = File::Spec->rel2abs(env_or(SERVROOT => 't/servroot'));

our $ServerAddr        = '127.0.0.1';
our $ServerName        = 'localhost';
our $Workers           = 1;
our $WorkerConnections = 64;
our $RepeatEach        = 1;
our $NoRootLocation    = 0;
our $NoLongString      = 0;
our $ConfigPreamble    = '';
our @EnvToNginx;
our $FilterHttpConfig;
our @BlockPreprocessors;
our @ResponseBodyChecks;
our @CleanupHandlers;
our @TestCleanupHandlers;

if ($Randomize) {
    $ServerPort = $ServerPortForClient = Test::Nginx::Scaffold::Ports::reserve();
    $ServRoot = File::Spec->rel2abs("t/servroot_$ServerPort");
}

our $LogDir     = "$ServRoot/logs";
our $ErrLogFile = "$LogDir/error.log";
our $AccLogFile = "$LogDir/access.log";
our $HtmlDir    = "$ServRoot/html";
our $ConfDir    = "$ServRoot/conf";
our $ConfFile   = "$ConfDir/nginx.conf";
our $PidFile    = "$LogDir/nginx.pid";

# Suites interpolate these into their sections, so they have to be there before the first block is read.
$ENV{TEST_NGINX_SERVER_PORT} = $ServerPort;
$ENV{TEST_NGINX_SERVER_ROOT} = $ServRoot;
$ENV{TEST_NGINX_HTML_DIR} = $HtmlDir if !defined $ENV{TEST_NGINX_HTML_DIR};

our ($NginxVersion, $OpenSSLVersion, $NginxBuild);

# Versions compare as numbers: 1.22.1 is 1.022001, OpenSSL's letter adds three more digits.
sub canon_version {
    my ($major, $minor, $patch, $letter) = @_;
    my $version = sprintf '%d.%03d%03d', $major, $minor, $patch;
    $version .= sprintf '%03d', ord($letter) - ord('a') if defined $letter;
    return $version;
}

sub read_nginx_version {
    return if defined $NginxBuild;
    $NginxBuild = `$NginxBinary -V 2>&1`;
    if (!defined $NginxBuild || $?) {
        bail_out("$NginxBinary -V fails: " . ($NginxBuild // $!) . '; set TEST_NGINX_BINARY to the nginx to test');
    }
    $NginxBuild =~ m{\w+/(\d+)\.(\d+)\.(\d+)} or bail_out("$NginxBinary -V names no version: $NginxBuild");
    $NginxVersion = canon_version($1, $2, $3);
    if ($NginxBuild =~ /OpenSSL (\d+)\.(\d+)\.(\d+)([a-z])?/) {
        $OpenSSLVersion = canon_version($1, $2, $3, $4);
    }
}

# Functions that a test file calls above run_tests(); those with a value return it when called without one.

sub accessor {
    my ($variable) = @_;
    return sub {
        $$variable = shift if @_;
        return $$variable;
    };
}

{
    no warnings 'once';
    *repeat_each            = accessor(\$RepeatEach);
    *workers                = accessor(\$Workers);
    *worker_connections     = accessor(\$WorkerConnections);
    *log_level              = accessor(\$LogLevel);
    *timeout                = accessor(\$Timeout);
    *server_addr            = accessor(\$ServerAddr);
    *server_name            = accessor(\$ServerName);
    *server_port_for_client = accessor(\$ServerPortForClient);
    *config_preamble        = accessor(\$ConfigPreamble);
    *set_http_config_filter = accessor(\$FilterHttpConfig);
}

sub server_port {
    $ENV{TEST_NGINX_SERVER_PORT} = $ServerPort = shift if @_;
    return $ServerPort;
}

sub master_process_enabled {
    $MasterProcessEnabled = $_[0] ? 'on' : 'off' if @_;
    return $MasterProcessEnabled;
}

sub master_on             { $MasterProcessEnabled = 'on' }
sub master_off            { $MasterProcessEnabled = 'off' }
sub no_shuffle            { $NoShuffle = 1 }
sub shuffle               { $NoShuffle = 0 }
sub no_long_string        { $NoLongString = 1 }
sub no_root_location      { $NoRootLocation = 1 }
sub no_nginx_manager      { $NoNginxManager = 1 }
sub check_accum_error_log { $CheckAccumErrLog = 1 }
sub use_hup               { $UseHup = 1 }
sub use_http2             { $UseHttp2 = 1 }
sub html_dir              { return $HtmlDir }
sub server_root           { return $ServRoot }

sub env_to_nginx {
    croak 'env_to_nginx: name at least one variable' if !@_;
    for my $variable (@_) {
        croak "env_to_nginx: not a variable: $variable" if $variable !~ /\A[A-Za-z_][^\n]*\z/;
        push @EnvToNginx, $variable;
    }
}

# The prototype lets a file write add_block_preprocessor { ... }; and add_block_preprocessor(sub { ... });
sub add_block_preprocessor(&) { unshift @BlockPreprocessors, shift }
sub add_response_body_check   { push @ResponseBodyChecks, shift }
sub add_cleanup_handler       { unshift @CleanupHandlers, shift }
sub add_test_cleanup_handler  { unshift @TestCleanupHandlers, shift }

{
    no warnings 'once';
    *is_string = \&Test::LongString::is_string;
}

sub is_str {
    my ($got, $expected, $title) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return Test::More::like($got, $expected, $title) if ref $expected eq 'Regexp';
    return Test::More::is($got, $expected, $title) if $NoLongString;
    return Test::LongString::is_string($got, $expected, $title);
}

# The server is stopped by the END block of the runner, which BAIL_OUT's exit reaches.
sub bail_out {
    Test::More::BAIL_OUT(join '', @_);
}

1;
