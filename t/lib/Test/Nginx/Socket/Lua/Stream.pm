package Test::Nginx::Socket::Lua::Stream;

# Test::Nginx::Socket::Lua under the name that suites of stream modules use. The sections for stream servers
# (stream_config, stream_server_config) are known to every block; see Test::Nginx::Scaffold::Conf.

use strict;
use warnings;

use Test::Nginx::Socket::Lua -base;

our $VERSION = '1.0';

1;
