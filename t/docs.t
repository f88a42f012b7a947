# What the documentation shows works: each ```lua block that begins with a file's name is such a file, and each $ line of a
# ```console block is a request that is answered with the line below it.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Test::Nginx::Socket;
use Platform;

my (%files, %cases);

sub case {
    my ($command, $answer) = @_;
    my ($method, $body, $headers) = ('GET', '', '');
    my ($url) = $command =~ m{localhost:3000(/[^\s']*)} or die "no URL: $command";
    $headers = " [$1]" if $command =~ /-H '([^']*)'/;
    if ($command =~ /-d '([^']*)'/) {
        ($method, $body) = ('POST', " $1");
        $headers ||= ' [Content-Type: application/x-www-form-urlencoded]';
    }
    my $status = $answer =~ /"no such/ ? 404 : $answer =~ /^\{"error"/ ? 400 : 200;
    return "$method $url$headers$body => $status $answer\n";
}

for my $page ('README.md', 'docs/functions.md') {
    open my $in, '<', "$FindBin::Bin/../$page" or die "can't read $page: $!";
    my $text = do { local $/; <$in> };
    $files{$page} = join '', map { />?\A-- (app\/\S+\.lua)\n(.*)/s ? ">>> $1\n$2" : () } $text =~ /^```lua\n(.*?)^```$/gms;
    for my $block ($text =~ /^```console\n(.*?)^```$/gms) {
        $cases{$page} .= case($1, $2) while $block =~ /^\$ (.*)\n(.*)\n/mg;
    }
}

use_platform('');
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($page) = $block->name =~ /: (\S+) shows/ or die 'no page in the title';
    $block->set_value(user_files => $files{$page});
    $block->set_value(cases => $cases{$page});
});

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: README.md shows what works



=== TEST 2: docs/functions.md shows what works
