# What the documentation shows works. Of each page and of the example's README:
#
# - a ```lua block that begins with a file's name is such a file, and a ```yaml block is the config/application.yml of the
#   blocks behind it;
# - each $ line of a ```console block is typed, and answered with the lines below it. localhost:3000 is the project, and
#   localhost:9065 its write proxy. Times and rates aren't compared;
# - each line of a ```sh block is typed, and succeeds; a ```json block is what the block in front of it prints.
#
# The commands are typed while nginx serves the project, and what differs is fetched from it.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use File::Basename qw(dirname);
use File::Path qw(make_path);
use JSON::PP ();
use Test::Nginx::Socket;
use Test::Nginx::Util ();
use Time::HiRes qw(sleep time);
use Platform;

my $top = dirname $FindBin::Bin;

# How many seconds an event may take to be handled.
our $PATIENCE = 10;

sub slurp {
    my ($file) = @_;
    open my $in, '<', $file or die "can't read $file: $!";
    local $/;
    return scalar <$in>;
}

sub page { return slurp("$top/$_[0]") }

# The fenced blocks of a text: [LANGUAGE, TEXT]. Those in a list are indented.
sub fences {
    my ($text) = @_;
    my @blocks;
    while ($text =~ /^( *)```(\w+)\n(.*?)^\1```$/gms) {
        my ($indent, $language, $content) = ($1, $2, $3);
        $content =~ s/^$indent//gm;
        push @blocks, [$language, $content];
    }
    return @blocks;
}

# The files that a text shows.
sub files {
    my ($text) = @_;
    my %files;
    for my $block (fences($text)) {
        my ($language, $content) = @$block;
        $files{$1} = $content if $language eq 'lua' && $content =~ /\A-- (app\/\S+\.lua)\n/;
    }
    return join '', map { ">>> $_\n$files{$_}" } sort keys %files;
}

# From a heading to another, or to the end.
sub part {
    my ($text, $from, $to) = @_;
    $text =~ s/\A.*?(?=^\Q$from\E\n)//ms or die "no $from";
    $text =~ s/^\Q$to\E\n.*//ms or die "no $to" if defined $to;
    return $text;
}

# The built command: beside the module, or where `make build` leaves it.
sub command {
    my ($module) = grep { /spacer_module/ } split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';
    die "no Spacer module is loaded\n" if !defined $module;
    my ($spacer) = grep { -x } map { "$_/spacer" } dirname($module), "$top/build";
    die "the command isn't built\n" if !defined $spacer;
    return ($spacer, $module);
}

# Types a command in a project's folder; gives what it prints and its exit status.
sub typed {
    my ($line) = @_;
    my ($spacer, $module) = command();
    my $port = server_port();
    $line =~ s{(?:localhost|127\.0\.0\.1):9065(/?)}{127.0.0.1:$port/append}g;
    $line =~ s{localhost:3000}{127.0.0.1:$port}g;
    $line =~ s{\bcurl }{curl -s }g;
    local $ENV{SPACER_MODULE} = $module;
    local $ENV{SPACER_NGINX} = $ENV{TEST_NGINX_BINARY} if ($ENV{TEST_NGINX_BINARY} // '') =~ m{/};
    my $folder = html_dir();
    open my $out, '-|', 'bash', '-c', "set -o pipefail; exec 2>&1; cd '$folder'; spacer() { '$spacer' \"\$@\"; }; $line"
        or die "can't run bash: $!";
    my $printed = do { local $/; <$out> } // '';
    close $out;
    return ($printed, $? >> 8);
}

# Without what no two runs have in common.
sub timeless {
    my ($text) = @_;
    $text =~ s/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/TIME/g;
    $text =~ s{in [\d.]+ s \(\d+/s\)}{in TIME}g;
    $text =~ s/ +$//gm;
    # The members of an object have no order.
    my $json = JSON::PP->new->canonical->allow_nonref;
    $text =~ s/^(\{.*)$/eval { $json->encode($json->decode($1)) } || $1/gme;
    return $text;
}

# Types a command until it prints what is expected, if it only looks: what it looks at may take its time. Gives what is
# wrong.
sub differs {
    my ($line, $expected) = @_;
    my $looks = $line =~ /^spacer topics (?:list|lag|tail|dead list)|^curl (?!.*-d )/;
    my $until = time + ($looks ? $PATIENCE : 0);
    while (1) {
        my ($printed) = typed($line);
        return '' if timeless($printed) eq timeless($expected);
        return "\$ $line\n$printed--- instead of\n$expected" if time > $until;
        sleep 0.05;
    }
}

sub fails {
    my ($line) = @_;
    my ($printed, $status) = typed($line);
    return $status ? "\$ $line\n$printed--- exit status $status\n" : '';
}

# Plays the blocks of a text. Gives what is wrong.
sub play {
    my ($text) = @_;
    my ($wrong, @lines) = ('');
    for my $block (fences($text)) {
        my ($language, $content) = @$block;
        if ($language eq 'console') {
            while ($content =~ /^\$ (.*)\n((?:(?!\$ ).*\n)*)/mg) {
                $wrong .= differs($1, $2);
            }
        }
        elsif ($language eq 'json') {
            my @expected = split /\n/, $content;
            my @asking = grep { /^curl / } @lines;
            $wrong .= differs($asking[$_], "$expected[$_]\n") for 0 .. $#expected;
        }
        @lines = $language eq 'sh' ? split /\n/, $content : ();
        if ($language eq 'sh') {
            # What a json block shows is typed with it.
            my $shown = $text =~ /```sh\n\Q$content\E```\n\n```json/;
            $wrong .= fails($_) for grep { !($shown && /^curl /) && !/^spacer dev / } @lines;
        }
    }
    return $wrong;
}

# Says what is wrong, where /wrong is fetched from.
sub report {
    my ($wrong) = @_;
    print STDERR $wrong =~ s/^/# /gmr if $wrong ne '';
    open my $out, '>', html_dir() . '/wrong.txt' or die "can't write: $!";
    print $out $wrong;
    close $out;
}

sub write_file {
    my ($name, $text) = @_;
    my $file = html_dir() . "/$name";
    make_path(dirname $file);
    open my $out, '>', $file or die "can't write $file: $!";
    print $out $text;
    close $out;
}

# A project's application.yml as a page shows it, whole.
sub application {
    my ($yaml) = @_;
    $yaml = "spacerVersion: 1\nappName: shop\n$yaml" if $yaml !~ /^spacerVersion/m;
    return $yaml;
}

# A function that does nothing.
sub idle { return "return function() end\n" }

# The files of a project in this repository.
sub project {
    my ($folder, @names) = @_;
    my @found = map { glob "$top/$folder/$_" } @names;
    return CORE::join '', map { ">>> " . s{^\Q$top/$folder/\E}{}r . "\n" . slurp($_) } @found;
}

# The first yaml block of a text.
sub yaml {
    my ($text) = @_;
    return (map { $_->[1] } grep { $_->[0] eq 'yaml' } fences($text))[0];
}

use_platform('');
add_block_preprocessor(sub {
    my ($block) = @_;
    my $config = $block->config // '';
    $block->set_value(config => <<END . $config);
location = /wrong { root html; rewrite ^ /wrong.txt break; }
location = /append { spacer_append; }
END
    $block->set_value(request => 'GET /wrong') if !defined $block->request;
    $block->set_value(response_body => '') if !defined $block->response_body;
});

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: README.md, the smallest project
--- user_files eval: main::files(main::page('README.md'))
--- config
spacer_gateway app/gateway.lua;
--- init
report(play(page('README.md')));



=== TEST 2: README.md, the list of commands
--- config
--- user_files
>>> app/gateway.lua
return {}
--- init
my ($list) = page('README.md') =~ /^((?:    spacer .*\n)+)/m or die 'no list';
my @commands = map { /^    (spacer .*?\w)(?:  +| prints | serves )/ ? $1 : die "no command: $_" } split /\n/, $list;
# What serves and follows doesn't end, and topics are in docs/topics.md.
my @ending = grep { !/ (?:dev|start|topics|replay) / } @commands;
die "too few: @ending" if @ending < 3;
report(CORE::join '', map { fails($_) } @ending);



=== TEST 3: README.md, in an nginx of your own
--- http_config eval
my ($nginx) = map { $_->[1] } grep { $_->[0] eq 'nginx' } main::fences(main::page('README.md'));
my ($http, $server) = $nginx =~ /^http \{\n(.*?)^    server \{\n(.*?)^    \}/ms or die 'no http';
$http =~ s{/srv/blog}{html}g;
$http
--- config eval
my ($nginx) = map { $_->[1] } grep { $_->[0] eq 'nginx' } main::fences(main::page('README.md'));
my ($http, $server) = $nginx =~ /^http \{\n(.*?)^    server \{\n(.*?)^    \}/ms or die 'no http';
$server =~ s{/srv/blog}{html}g;
$server =~ s{^\s*listen .*\n}{}m;
$server
--- user_files eval: main::files(main::page('README.md')) . ">>> static/a.txt\nstatic"
--- request eval
["GET /static/a.txt", "GET /time", "GET /hello/Ada"]
--- response_body eval
["static", qr/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/, "{\"data\":\"Hello, Ada!\"}\n"]



=== TEST 4: docs/functions.md
--- user_files eval: main::files(main::page('docs/functions.md'))
--- config
spacer_gateway app/gateway.lua;
--- init
report(play(page('docs/functions.md')));



=== TEST 5: docs/gateway.md, with the functions that it names
--- user_files eval
main::files(main::page('docs/gateway.md'))
. CORE::join '', map { ">>> app/$_.lua\n" . main::idle() } qw(users/list users/create users/me users/get files)
--- config
spacer_gateway app/gateway.lua;
--- init
my $page = page('docs/gateway.md');
my $good = slurp(html_dir() . '/app/gateway.lua');
my $wrong = fails('spacer routes');
my @rows = $page =~ /^\| `(\{.*?\},)` \| `(app\/gateway.*)` \|$/mg;
die "too few rows" if @rows < 10;
while (my ($route, $message) = splice @rows, 0, 2) {
    write_file('app/gateway.lua', $good =~ s/^\}/  $route\n}/mr);
    my ($printed) = typed('spacer routes');
    $wrong .= "$route\n$printed--- instead of\n$message\n" if $printed ne "spacer: $message\n";
}
write_file('app/gateway.lua', $good);
report($wrong);



=== TEST 6: docs/topics.md, appending and the write proxy
--- user_files eval
my $part = main::part(main::page('docs/topics.md'), '# Topics', '## Configuration');
main::files($part) . ">>> app/models/totals.lua\n" . main::idle()
. ">>> config/application.yml\n" . main::application(main::yaml($part))
--- config
spacer_gateway app/gateway.lua;
--- init
my $part = part(page('docs/topics.md'), '# Topics', '## Configuration');
my $wrong = play($part);
# One order, one through the write proxy, and both again through the move.
$wrong .= differs('spacer topics list', "TOPIC   EVENTS  OFFSETS  DEAD  FUNCTIONS\norders       4      1-4     0  models/totals\ntotals       0        -     0\n");
report($wrong);



=== TEST 7: docs/topics.md, each store's configuration
--- user_files
>>> app/gateway.lua
return {}
--- init
my $wrong = '';
my @yaml = map { $_->[1] } grep { $_->[0] eq 'yaml' } map { fences(page($_)) } qw(docs/topics.md docs/postgres.md);
die "too few" if @yaml < 3;
write_file("app/$_.lua", idle()) for qw(models/totals bill stock/count);
for my $yaml (@yaml) {
    write_file('config/application.yml', application($yaml));
    for my $environment ('development', $yaml =~ /^  (production):/m) {
        local @ENV{qw(DB_PASSWORD KAFKA_PASSWORD)} = ('secret', 'secret');
        $wrong .= "$yaml\n" . fails("spacer nginx-config --env $environment >/dev/null");
    }
    $wrong =~ s/\Q$yaml\E\n\z//;
}
report($wrong =~ /--- exit status/ ? $wrong : '');



=== TEST 8: docs/topics.md, the command
--- user_files eval
my $part = main::part(main::page('docs/topics.md'), '## Configuration');
<<END . main::application(main::yaml($part)) . "retryDelay: 1ms\nmaxRetryDelay: 1ms\n"
>>> app/gateway.lua
return {}
>>> app/stock/count.lua
return function() end
>>> app/totals.lua
return function() end
>>> app/bill.lua
return function(order)
    -- o-6 has no total.
    return order.total * 1.2
end
>>> config/application.yml
END
--- config
--- init
my $part = part(page('docs/topics.md'), '## The command');
my $wrong = fails(q(spacer topics append orders o-5 '{"total": 3}')) . fails(q(spacer topics append orders o-6 '{}'));
my ($list, $until) = ('', time + $main::PATIENCE);
($list) = typed('spacer topics dead list') until $list =~ /o-6/ || time > $until;
report($wrong . play($part));



=== TEST 9: docs/topics.md, what is wrong with a configuration
--- user_files
>>> app/gateway.lua
return {}
--- init
my $part = part(page('docs/topics.md'), '## Configuration');
my $yaml = yaml($part);
my ($message) = $part =~ /^    (config\/application\.yml:\d.*)$/m or die 'no message';
write_file('config/application.yml', $yaml =~ s/^  orders:/  order:/mr);
my ($printed) = typed('spacer topics list');
report($printed eq "spacer: $message\n" ? '' : "$printed--- instead of\n$message\n");



=== TEST 10: the shop's README.md
--- user_files eval: main::project('examples/shop', 'app/*.lua', 'app/*/*.lua', 'config/*')
--- config
spacer_gateway app/gateway.lua;
--- init
report(play(page('examples/shop/README.md') =~ s/ --dir examples\/shop//gr));



=== TEST 11: what `spacer init` makes takes any name
--- user_files eval: main::project('crates/spacer/skeleton', 'app/*.lua')
--- config
spacer_gateway app/gateway.lua;
--- init
report('');
--- request eval
["GET /hello", "GET /hello/Ada", "GET /hello?name", "GET /hello?name=a&name=b", "GET /hello?name=" . "x" x 101]
--- error_code eval
[200, 200, 400, 400, 400]
--- response_body eval
["{\"data\":\"Hello, Spacer!\"}\n", "{\"data\":\"Hello, Ada!\"}\n", ("{\"error\":\"one name of at most 100 bytes, please\"}\n") x 3]
