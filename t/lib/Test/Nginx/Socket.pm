package Test::Nginx::Socket;

# Declarative tests for nginx: a test file says in sections how nginx is configured, what a client sends, and what
# must come back and stand in the logs.
#
#   use Test::Nginx::Socket;
#   plan tests => repeat_each() * 2 * blocks();
#   run_tests();
#
#   __DATA__
#
#   === TEST 1: a greeting
#   --- config
#       location = /t { return 200 "hello\n"; }
#   --- request
#   GET /t
#   --- response_body
#   hello
#
# The sections, the functions and the titles of the assertions are those of the Perl module of the same name on CPAN, so
# that a file runs on either. This module is the face: what it exports comes from Test::Nginx::Util, and run_tests()
# hands the blocks to Test::Nginx::Scaffold::Runner.

use strict;
use warnings;

# "-base", not "-Base": the latter would rewrite every function here into a method.
use Test::Base -base;
use Test::Nginx::Scaffold::Runner ();
use Test::Nginx::Util @Test::Nginx::Util::EXPORT_OK;

our $VERSION = '1.0';

our @EXPORT = (qw(run_tests plan), @Test::Nginx::Util::EXPORT_OK);

sub run_tests {
    # Before the blocks are read: their filters may ask for the version.
    Test::Nginx::Util::read_nginx_version();
    Test::Nginx::Scaffold::Runner::run(Test::Base::blocks());
}

1;
