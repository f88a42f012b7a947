# nginx is started by root, and its workers are somebody else: whose files the event log's are, and what is said where
# the workers can't use them.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempdir);

my ($USER, $GROUP);

BEGIN {
    $USER = 'nobody';
    my $gid = (getpwnam $USER)[3];
    $GROUP = getgrgid $gid if defined $gid;
    $ENV{TEST_NGINX_WORKER_USER} = "$USER $GROUP" if defined $GROUP;
}

use Test::Nginx::Socket;

if ($> != 0 || !defined $GROUP) {
    plan(skip_all => "only root can start workers as $USER");
}

# Where the suites' own folder is, the workers' user may not be let in.
my $dir = tempdir(CLEANUP => 1);
chmod 0755, $dir or die "chmod $dir: $!";
$ENV{TEST_NGINX_SHOP} = "$dir/shop";
# Neither root nor the workers' user.
my $OTHER = getpwnam('bin') // 2;

my %FILES = (
    'app/gateway.lua' => <<'END',
return { {"ANY", "/append/:key", "append"}, {"ANY", "/owners", "owners"}, {"ANY", "/plain", "plain"} }
END
    'app/append.lua' => <<'END',
local topics = require "topics"
return function(args)
    local ok, offsets = topics.append("orders", { [args.key] = 1 })
    return { ok, offsets[args.key] }
end
END
    'app/owners.lua' => <<'END',
return function(args)
    local list = assert(io.popen("cd " .. args.dir .. " && stat -c '%n %U' data data/* data/*/*"))
    local owners = {}
    for name, owner in list:read("*a"):gmatch("(%S+) (%S+)\n") do
        owners[#owners + 1] = name:gsub("wake/.*", "wake/FIFO") .. " " .. owner
    end
    list:close()
    return owners
end
END
    'app/plain.lua' => qq{return function() return "plain" end\n},
    'config/application.yml' => "spacerVersion: 1\nappendTimeout: 300ms\ntopics: [orders]\n",
);

sub write_file {
    my ($file, $text) = @_;
    open my $out, '>', $file or die "can't write $file: $!";
    print $out $text;
    close $out;
}

# Makes the shop anew, all of it root's, and runs what --- files says in its folder, where nothing is the workers'.
sub make_shop {
    my ($more) = @_;
    my $shop = "$dir/shop";
    remove_tree($shop, "$dir/events", "$dir/etc", "$dir/precious");
    make_path("$shop/app", "$shop/config");
    write_file("$shop/$_", $FILES{$_}) for keys %FILES;
    system('sh', '-euc', "umask 022; cd '$shop'; $more") == 0 or die "--- files: $more";
}

# Only a master has workers of another user.
master_process_enabled(1);
# Filters are run in a package of Test::Base's.
sub Test::Base::Filter::said {
    open my $in, '<', server_root() . '/logs/error.log' or die "no error log: $!";
    local $/;
    return scalar <$in>;
}

sub Test::Base::Filter::reload_without_log {
    chown $OTHER, -1, glob "$dir/shop/data $dir/shop/data/*";
    open my $in, '<', server_root() . '/logs/nginx.pid' or die "no pid file: $!";
    chomp(my $pid = <$in>);
    kill HUP => $pid;
    for (1 .. 100) {
        select undef, undef, undef, 0.05;
        return if Test::Base::Filter::said() =~ /production.db: user/;
    }
}

sub Test::Base::Filter::test_nginx {
    chown $OTHER, -1, "$dir/shop/data";
    my $root = server_root();
    my $said = `'$Test::Nginx::Util::NginxBinary' -t -p '$root' -c '$root/conf/nginx.conf' 2>&1`;
    my ($status, $owner) = ($? >> 8, (stat "$dir/shop/data")[4]);
    return "status $status, owner " . ($owner == $OTHER ? 'kept' : 'changed') . ": $said";
}

no_root_location();
add_block_preprocessor(sub {
    my ($block) = @_;
    my $env = defined $block->development ? 'development' : 'production';
    $block->set_value(http_config => "spacer_project $dir/shop; spacer_env $env;");
    $block->set_value(config => "spacer_gateway app/gateway.lua;");
    our %files;
    $files{$block->name} = $block->files // '';
    $block->set_value(post_setup_server_root => 'make_shop($main::files{q{' . $block->name . '}})');
});

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: the log of a fresh project is the workers'
--- request eval
["GET /append/a", "GET /owners?dir=$ENV{TEST_NGINX_SHOP}"]
--- response_body eval
["{\"data\":[\"ok\",1]}\n", qr/\{"data":\["data nobody","data\/production.db nobody","data\/production.db-shm nobody","data\/production.db-wake nobody","data\/production.db-wal nobody","data\/production.db-wake\/FIFO nobody"\]\}/]
--- no_error_log
[error]



=== TEST 2: what root has made before becomes theirs
--- files
mkdir -m 700 data data/production.db-wake; touch data/production.db data/production.db-wal data/production.db-shm; touch data/other.txt
chmod 600 data/production.db*; chmod 700 data/production.db-wake; mkfifo data/production.db-wake/1
--- request eval
["GET /append/a", "GET /owners?dir=$ENV{TEST_NGINX_SHOP}"]
--- response_body eval
["{\"data\":[\"ok\",1]}\n", qr/\{"data":\["data nobody","data\/other.txt root","data\/production.db nobody","data\/production.db-shm nobody","data\/production.db-wake nobody","data\/production.db-wal nobody","data\/production.db-wake\/FIFO nobody"/]
--- no_error_log
[error]



=== TEST 3: what belongs to somebody else isn't taken away: nginx says which folder it is, and doesn't start
--- files
mkdir data; chown bin data
--- must_die
--- error_log eval
qr{\[emerg\] .*event log \S+/shop/data/production.db: user nobody can't make files in \S+/shop/data \(of bin, mode 755\): Permission denied: chown nobody \S+/shop/data, or run as its owner}



=== TEST 4: or which file
--- files
mkdir data; touch data/production.db; chown -R bin data; chmod 777 data
--- must_die
--- error_log eval
qr{user nobody can't write \S+/shop/data/production.db \(of bin, mode 644\): Permission denied}



=== TEST 5: or which folder on the way there
--- files
chmod 700 .
--- must_die
--- error_log eval
qr{user nobody can't enter \S+/shop \(of root, mode 700\): Permission denied: let nobody in}



=== TEST 6: a folder outside of the project is neither made nor given
--- files
mkdir ../events; chmod 755 ../events
printf 'logStorage: {production: {driver: sqlite, path: ../events/shop/1.db}}\n' >>config/application.yml
--- must_die
--- error_log eval
qr{user nobody can't make a folder in \S+/events \(of root, mode 755\)}



=== TEST 7: a log in the project's own folder doesn't make that the workers'
--- files
printf 'logStorage: {production: {driver: sqlite, path: events.db}}\n' >>config/application.yml; touch events.db
--- must_die
--- error_log eval
qr{user nobody can't make files in \S+/shop \(of root, mode 755\)}



=== TEST 8: a file with another name, and a link, are nobody's to give
--- files
mkdir data; chmod 777 data; touch ../precious; ln -f ../precious data/production.db
--- must_die
--- error_log eval
qr{user nobody can't write \S+/shop/data/production.db \(of root, mode 644\)}



=== TEST 9: a link is not followed
--- files
mkdir data; touch ../precious; chmod 644 ../precious; ln -s ../../precious data/production.db
--- must_die
--- error_log eval
qr{user nobody can't write \S+/shop/data/production.db \(of root, mode 644\)}



=== TEST 10: what a folder of pipes leads to isn't given either
--- files
mkdir data ../etc; chown nobody data; chmod 777 ../etc; touch ../etc/shadow; chmod 600 ../etc/shadow
ln -s ../../etc data/production.db-wake
--- request
GET /plain
--- response_body_filters eval
[sub { $_[0] . CORE::join ' ', 'owners', map { (stat "$ENV{TEST_NGINX_SHOP}/../etc$_")[4] } '', '/shadow' }]
--- response_body_like: owners 0 0$



=== TEST 11: nor anything but a pipe in it
--- files
mkdir -p data/production.db-wake; touch data/production.db-wake/shadow; chown nobody data data/production.db-wake
--- request
GET /plain
--- response_body_filters eval
[sub { $_[0] . 'owner ' . (stat "$ENV{TEST_NGINX_SHOP}/data/production.db-wake/shadow")[4] }]
--- response_body_like: owner 0$



=== TEST 12: nor a folder on the way that isn't one
--- files
mkdir data ../etc; chown nobody data; ln -s ../../etc data/log
printf 'logStorage: {production: {driver: sqlite, path: data/log/new/1.db}}\n' >>config/application.yml
--- must_die
--- error_log
user nobody can't make a folder in



=== TEST 13: the folders of a path are made for them
--- files
printf 'logStorage: {production: {driver: sqlite, path: data/log/1.db}}\n' >>config/application.yml
--- request eval
["GET /append/a", "GET /owners?dir=$ENV{TEST_NGINX_SHOP}"]
--- response_body eval
["{\"data\":[\"ok\",1]}\n", qr/\{"data":\["data nobody","data\/log nobody","data\/log\/1.db nobody"/]
--- no_error_log
[error]



=== TEST 14: in development nginx starts; the log and the answer say what is wrong
--- development
--- files
mkdir data; chown bin data
--- request
GET /append/a
--- error_code: 503
--- response_body_like: user nobody can't make files in .*shop.*data \(of bin, mode 755\): Permission denied: chown nobody
--- error_log eval
qr{\[error\] .*event log \S+/shop/data/development.db is unavailable: user nobody can't make files in \S+/shop/data \(of bin, mode 755\)}



=== TEST 15: nginx -t finds it too, and changes nothing
--- request
GET /plain
--- response_body_filters eval
[sub { $_[0] . test_nginx() }]
--- response_body_like: status 1, owner kept: .*\[emerg\] .*user nobody can't make files in



=== TEST 16: a reload goes on without the log, and says so
--- request eval
["GET /plain", "GET /plain", "GET /append/a"]
--- response_body_filters eval
[sub { reload_without_log() if !$::reloaded++; $_[0] . said() }]
--- error_code eval
[200, 200, 503]
--- response_body_like eval
["plain", qr{\[error\] .*event log \S+/shop/data/production.db: user nobody can't make files in}, "service unavailable"]



=== TEST 17: a function that workers can't read is no missing one
--- files
chmod 700 app
--- request
GET /plain
--- error_code: 500
--- error_log eval
qr{app/plain.lua can't be read: \S+/shop/app/plain.lua: Permission denied}
