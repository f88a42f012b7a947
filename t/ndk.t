# ndk.set_var: what directives of other modules compute, called from Lua, where the Nginx Development Kit is loaded.

use strict;
use warnings;

use Test::Nginx::Socket;

our $Folder = "/usr/lib/nginx/modules";
our @Modules = map {"$Folder/$_.so"} qw(ndk_http_module ngx_http_set_misc_module);

my $binary = $ENV{TEST_NGINX_BINARY} || 'nginx';
if (my ($missing) = grep { !-e } @Modules) {
    plan skip_all => "$missing isn't installed";
}
elsif (`$binary -V 2>&1` !~ m{--modules-path=\Q$Folder\E\b}) {
    plan skip_all => "$binary isn't Debian's nginx";
}
plan 'no_plan';
no_shuffle();

add_block_preprocessor(sub {
    my $block = shift;
    return if defined $block->alone;
    $block->set_value(main_config => CORE::join '', map {"load_module $_;\n"} @main::Modules);
});

run_tests();

__DATA__

=== TEST 1: a directive's name is a function of its argument
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(ndk.set_var.set_escape_uri("a/b c"))
            ngx.say(ndk.set_var.set_unescape_uri("a%2fb"))
            ngx.say(ndk.set_var.set_quote_sql_str("it's"))
            ngx.say(ndk.set_var.set_encode_hex("abc"))
            ngx.say(ndk.set_var.set_decode_base64(ndk.set_var.set_encode_base64("abc")))
            local escape = ndk.set_var.set_escape_uri
            ngx.say(escape(12.5), " ", escape(nil), " ", escape(true), " [", escape(""), "]")
            ngx.say(require "ndk" == ndk, " ", ndk.set_var.set_escape_uri == escape)
        }
    }
--- request
GET /t
--- response_body
a%2Fb%20c
a/b
'it\'s'
616263
abc
12.5 nil true []
true true
--- no_error_log
[error]

=== TEST 2: what isn't a directive, or not one that takes a value and sets a variable, is an error at the caller
--- config
    location = /t {
        content_by_lua_block {
            for _, name in ipairs { "set_blah", "set_if_empty", "proxy_pass", "set", "", 5 } do
                local ok, err = pcall(function() return ndk.set_var[name] end)
                ngx.say(ok, " ", (err:gsub("^content_by_lua%b():%d+: ", "")))
            end
            ngx.say((select(2, pcall(function() ndk.set_var.x = 1 end)):gsub("^content_by_lua%b():%d+: ", "")))
        }
    }
--- request
GET /t
--- response_body
false ndk.set_var: directive "set_blah" not found or does not use ndk_set_var_value
false ndk.set_var: directive "set_if_empty" not found or does not use ndk_set_var_value
false ndk.set_var: directive "proxy_pass" not found or does not use ndk_set_var_value
false ndk.set_var: directive "set" not found or does not use ndk_set_var_value
false ndk.set_var: directive "" not found or does not use ndk_set_var_value
false ndk.set_var: directive "5" not found or does not use ndk_set_var_value
not allowed

=== TEST 3: a directive that refuses is an error with its code
--- config
    location = /t { content_by_lua_block { ngx.say(select(2, pcall(function() return ndk.set_var.set_decode_base64("?") end))) ngx.say("on") } }
--- request
GET /t
--- response_body_like
calling directive set_decode_base64 failed with code -1
on

=== TEST 4: in every phase that has a request, timers too
--- config
    location = /t {
        set_by_lua_block $set { return ndk.set_var.set_escape_uri("set/") }
        rewrite_by_lua_block { ngx.ctx.trail = ngx.var.set .. ndk.set_var.set_escape_uri("rewrite/") }
        access_by_lua_block { ngx.ctx.trail = ngx.ctx.trail .. ndk.set_var.set_escape_uri("access/") }
        content_by_lua_block { ngx.say(ngx.ctx.trail) ngx.timer.at(0, function() ngx.log(ngx.WARN, ndk.set_var.set_escape_uri("timer/"), ".") end) ngx.sleep(0.01) }
        header_filter_by_lua_block { ngx.header.x = ndk.set_var.set_escape_uri("header/") }
        body_filter_by_lua_block { ngx.arg[1] = ngx.arg[1] .. ndk.set_var.set_escape_uri("body/") }
        log_by_lua_block { ngx.log(ngx.WARN, ndk.set_var.set_escape_uri("log/"), ".") }
    }
--- request
GET /t
--- response_body eval
"set%2Frewrite%2Faccess%2F\nbody%2Fbody%2F"
--- response_headers
x: header%2F
--- error_log
timer%2F.
log%2F.

=== TEST 5: without a request it says so
--- http_config
    init_worker_by_lua_block { escape = ndk.set_var.set_escape_uri message = select(2, pcall(escape, "x")) }
--- config
    location = /t { content_by_lua_block { ngx.say(message:match("no request found")) ngx.say(escape("/")) } }
--- request
GET /t
--- response_body
no request found
%2F

=== TEST 6: where the kit isn't loaded there is no ndk, and nothing is missed
--- alone: 1
--- config
    location = /t { content_by_lua_block { ngx.say(ndk, " ", package.loaded.ndk, " ", (pcall(require, "ndk"))) } }
--- request
GET /t
--- response_body
nil nil false
