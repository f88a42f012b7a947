# cjson and cjson.safe, inside nginx.

use strict;
use warnings;

use Test::Nginx::Socket;

plan 'no_plan';
no_shuffle();
run_tests();

__DATA__

=== TEST 1: cjson is there without installation, and encodes what it decodes
--- config
    location = /t {
        content_by_lua_block {
            local cjson = require "cjson"
            for _, text in ipairs { '{"a":1}', '[1,2.5,-3e+20]', '"x\\u0000\\n\\"\\\\"', "true", "null", '[[],[[1]]]', '{"a":{"b":[null]}}' } do
                ngx.say(cjson.encode(cjson.decode(text)))
            end
        }
    }
--- request
GET /t
--- response_body
{"a":1}
[1,2.5,-3e+20]
"x\u0000\n\"\\"
true
null
[{},[[1]]]
{"a":{"b":[null]}}

=== TEST 2: null is ngx.null and cjson.null, in both directions
--- config
    location = /t {
        content_by_lua_block {
            local cjson = require "cjson"
            local t = cjson.decode('{"a":null,"b":[null,1]}')
            ngx.say(t.a == ngx.null, t.a == cjson.null, t.b[1] == ngx.null, tostring(t.a))
            ngx.say(cjson.encode({ ngx.null, cjson.null }))
            ngx.say(t.a)
        }
    }
--- request
GET /t
--- response_body
truetruetrueuserdata: NULL
[null,null]
null

=== TEST 3: empty_array, array_mt and empty_array_mt make arrays of empty tables
--- config
    location = /t {
        content_by_lua_block {
            local cjson = require "cjson"
            ngx.say(cjson.encode({}), cjson.encode(cjson.empty_array), cjson.encode(setmetatable({}, cjson.empty_array_mt)),
                    cjson.encode(setmetatable({}, cjson.array_mt)))
            cjson.decode_array_with_array_mt(true)
            ngx.say(cjson.encode(cjson.decode("[[],{}]")))
            cjson.decode_array_with_array_mt(false)
        }
    }
--- request
GET /t
--- response_body
{}[][][]
[[],{}]

=== TEST 4: cjson raises errors with the character's position, cjson.safe returns them
--- config
    location = /t {
        content_by_lua_block {
            local cjson, safe = require "cjson", require "cjson.safe"
            local ok, err = pcall(cjson.decode, '{"a":}')
            ngx.say(ok, " ", err)
            ngx.say(safe.decode('[1,2'))
            ngx.say(safe.decode(''))
            ngx.say(safe.decode('{"a":1} x'))
            ngx.say((pcall(cjson.encode, { print })), " ", (pcall(cjson.encode, { [{}] = 1 })))
            ngx.say(safe.encode({ print }))
            ngx.say(safe.encode(0 / 0))
        }
    }
--- request
GET /t
--- response_body
false Expected value but found T_OBJ_END at character 6
nilExpected comma or array end but found T_END at character 5
nilExpected value but found T_END at character 1
nilExpected the end but found invalid token at character 9
false false
nilCannot serialise function: type not supported
nilCannot serialise number: must not be NaN or Infinity

=== TEST 5: nesting has a limit in both directions, and a table in itself is an error
--- config
    location = /t {
        content_by_lua_block {
            local safe = require "cjson.safe"
            ngx.say((select(2, safe.decode(("["):rep(2000) .. ("]"):rep(2000)))))
            local t = {}
            t.t = t
            ngx.say((select(2, safe.encode(t))))
            ngx.say(type(safe.decode(("["):rep(1000) .. ("]"):rep(1000))))
        }
    }
--- request
GET /t
--- response_body
Found too many nested data structures (1001) at character 1001
Cannot serialise, excessive nesting (1001)
table

=== TEST 6: sparse arrays, number keys and precision follow the settings
--- config
    location = /t {
        content_by_lua_block {
            local cjson = require("cjson").new()
            ngx.say(cjson.encode({ [1] = "a", [3] = "c" }), " ", (pcall(cjson.encode, { [1] = 1, [100] = 2 })))
            cjson.encode_sparse_array(true)
            ngx.say(cjson.encode({ [1000] = 2 }))
            cjson.encode_number_precision(3)
            ngx.say(cjson.encode({ math.pi, 1 / 3 }), " ", require("cjson").encode(0.1))
        }
    }
--- request
GET /t
--- response_body
["a",null,"c"] false
{"1000":2}
[3.14,0.333] 0.1

=== TEST 7: a request's JSON body to a changed answer
--- config
    location = /t {
        content_by_lua_block {
            local cjson = require "cjson.safe"
            ngx.req.read_body()
            local body, err = cjson.decode(ngx.req.get_body_data())
            if not body then
                ngx.status = 400
                return ngx.say(cjson.encode({ error = err }))
            end
            body.items[#body.items + 1] = "Grüße \u{1F600}"
            ngx.say(cjson.encode(body.items))
        }
    }
--- request eval
["POST /t\n{\"items\":[\"\\u00fc\",\"a/b\"]}", "POST /t\n{broken"]
--- error_code eval
[200, 400]
--- response_body eval
["[\"\xc3\xbc\",\"a\\/b\",\"Gr\xc3\xbc\xc3\x9fe \xf0\x9f\x98\x80\"]\n",
 "{\"error\":\"Expected object key string but found invalid token at character 2\"}\n"]

=== TEST 8: a megabyte there and back
--- config
    location = /t {
        content_by_lua_block {
            local cjson = require "cjson"
            local t = {}
            for i = 1, 20000 do t[i] = { id = i, name = "name " .. i, tags = { "a", "b" } } end
            local text = cjson.encode(t)
            local back = cjson.decode(text)
            ngx.say(#text > 900000, " ", #back, " ", back[20000].name, " ", back[777].tags[2])
        }
    }
--- request
GET /t
--- response_body
true 20000 name 20000 b
