# Loading the module beside others.

use strict;
use warnings;

use Test::Nginx::Socket;

our $Folder = '/usr/lib/nginx/modules';
our @Peer = map {"$Folder/$_.so"} qw(ndk_http_module ngx_http_lua_module);
my $binary = $ENV{TEST_NGINX_BINARY} || 'nginx';

# Debian's modules only load into Debian's nginx.
if (my ($missing) = grep { !-e } @Peer) {
    plan skip_all => "$missing isn't installed";
}
elsif (`$binary -V 2>&1` !~ m{--modules-path=\Q$Folder\E\b}) {
    plan skip_all => "$binary isn't Debian's nginx";
}
elsif (($ENV{TEST_NGINX_LOAD_MODULES} || '') !~ /ngx_http_spacer_module/) {
    plan skip_all => 'TEST_NGINX_LOAD_MODULES has no ngx_http_spacer_module';
}
plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: beside the lua module it is refused, with what to do
--- main_config eval: CORE::join('', map {"load_module $_;\n"} @::Peer)
--- config
    location = /t { return 200; }
--- must_die
--- error_log
ngx_http_spacer_module takes the place of ngx_http_lua_module: remove the load_module of one of the two

=== TEST 2: beside the development kit alone it works
--- main_config eval: "load_module $::Peer[0];\n"
--- config
    location = /t { content_by_lua_block { ngx.say("works") } }
--- request
GET /t
--- response_body
works
