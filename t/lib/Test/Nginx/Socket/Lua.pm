package Test::Nginx::Socket::Lua;

# Test::Nginx::Socket for Lua modules. TEST_NGINX_INIT_BY_LUA holds Lua code that runs before each block's own
# init_by_lua, to load a library or to switch something on for a whole suite.

use strict;
use warnings;

use Test::Nginx::Socket -base;

our $VERSION = '1.0';

sub add_init_by_lua {
    my ($lua, $http) = @_;
    return $http if $http =~ /^\s*init_by_lua_file\b/m;
    return $http if $http =~ s/^(\s*init_by_lua_block\s*\{)/$1 $lua /m;
    (my $quoted = $lua) =~ s/([\\'"])/\\$1/g;
    return $http if $http =~ s/^(\s*init_by_lua\s+['"])/$1$quoted /m;
    return "${http}init_by_lua_block { $lua }";
}

if (defined(my $lua = $ENV{TEST_NGINX_INIT_BY_LUA})) {
    Test::Nginx::Util::set_http_config_filter(sub { add_init_by_lua($lua, $_[0]) });
}

1;
