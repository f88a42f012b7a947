# Modules of lua-resty-core that libraries load: `resty.core.base` by itself, the others as names of what is there.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: libraries find buffers, and functions of nginx take the request
--- config
    location = /t {
        content_by_lua_block {
            local ffi = require "ffi"
            local base = require "resty.core.base"
            -- nginx's own, which its executable exports.
            ffi.cdef [[
                intptr_t ngx_http_arg(ngx_http_request_t *r, const char *name, size_t len, void *value);
            ]]
            local value = ffi.new "struct { size_t len; const char *data; }"
            ngx.say(ffi.C.ngx_http_arg(base.get_request(), "name", 4, value) == base.FFI_OK, " ", ffi.string(value.data, value.len))
            ngx.say(ffi.C.ngx_http_arg(base.get_request(), "none", 4, value) == base.FFI_DECLINED)
            local buffer = base.get_string_buf(10)
            ngx.say(ffi.sizeof(buffer), " ", buffer == base.get_string_buf(4096), " ", buffer == base.get_string_buf(10, true))
            ngx.say(ffi.sizeof(base.get_string_buf(5000)), " ", base.get_string_buf_size())
            base.set_string_buf_size(5000.5)
            ngx.say(ffi.sizeof(base.get_string_buf(5000)), " ", ffi.istype("size_t[1]", base.get_size_ptr()), " ", ffi.istype("char *[1]", base.get_errmsg_ptr()))
            local kept = {}
            ngx.say(base.ref_in_table(kept, "a"), base.ref_in_table(kept, "b"), base.ref_in_table(kept, nil))
            kept[1], kept[0] = kept[0] or 0, 1
            ngx.say(base.ref_in_table(kept, "c"), base.ref_in_table(kept, "d"), " ", table.concat(kept))
            base.allows_subsystem("stream", "http")
            ngx.say(select(2, pcall(base.allows_subsystem, "stream")))
            ngx.say(next(base.clear_tab { 1, a = 2 } or {}), " ", type(base.new_tab(1, 1)))
        }
    }
--- http_config
    init_by_lua_block { assert(require("resty.core.base").get_request() == nil) }
--- request
GET /t?name=nginx
--- response_body
true nginx
true
4096 true false
5000 4096
5001 true true
12-1
13 cbd
unsupported subsystem: http
nil table
--- no_error_log
[error]

=== TEST 2: the others can be loaded
--- config
    location = /t {
        content_by_lua_block {
            for name in ("base base64 exit hash phase shdict uri var worker"):gmatch "%S+" do
                ngx.print(name, ":", type(require("resty.core." .. name).version), " ")
            end
        }
    }
--- request
GET /t
--- response_body eval
"base:string base64:string exit:string hash:string phase:string shdict:string uri:string var:string worker:string "
--- no_error_log
[error]
