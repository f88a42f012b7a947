//! The error texts, word for word.

mod common;
use common::run;

#[test]
fn syntax_errors_name_what_was_expected_and_found() {
    run(r#"
        for text, message in pairs {
            [""] = "value but found T_END at character 1",
            ["x"] = "value but found invalid token at character 1",
            ["[1"] = "comma or array end but found T_END at character 3",
            ["[1 2]"] = "comma or array end but found T_INTEGER at character 4",
            ["[1 2.0]"] = "comma or array end but found T_NUMBER at character 4",
            ["[1,]"] = "value but found T_ARR_END at character 4",
            ["{1:2}"] = "object key string but found T_INTEGER at character 2",
            ['{"a":1,}'] = "object key string but found T_OBJ_END at character 8",
            ['{"a" 1}'] = "colon but found T_INTEGER at character 6",
            ['{"a":1 "b"'] = "comma or object end but found T_STRING at character 8",
            ["1 true"] = "the end but found T_BOOLEAN at character 3",
            ["null{"] = "the end but found T_OBJ_BEGIN at character 5",
            ["-"] = "value but found invalid number at character 1",
            ['"abc'] = "value but found unexpected end of string at character 5",
            [ [["a\x"]] ] = "value but found invalid escape code at character 3",
            [ [["\uD800"]] ] = "value but found invalid unicode escape code at character 2",
            [ [[{"\u12"]] ] = "object key string but found invalid unicode escape code at character 3",
        } do
            raises("Expected " .. message, cjson.decode, text)
            local value, found = safe.decode(text)
            is(value, nil)
            is(found, "Expected " .. message)
        end
    "#);
}

#[test]
fn nesting_has_its_limit() {
    run(r#"
        raises("Found too many nested data structures (1001) at character 1001",
            cjson.decode, ("["):rep(1001))
        local deep = {}
        for _ = 1, 1000 do deep = { deep } end
        raises("Cannot serialise, excessive nesting (1001)", cjson.encode, deep)
        local cycle = {}
        cycle[1] = cycle
        raises("Cannot serialise, excessive nesting (1001)", cjson.encode, cycle)
        cjson.decode_max_depth(100000)
        assert(not pcall(cjson.decode, ("["):rep(100000)))
        cjson.encode_max_depth(100000)
        assert(not pcall(cjson.encode, cycle))
    "#);
}

#[test]
fn unserialisable_values_are_named() {
    run(r#"
        raises("Cannot serialise function: type not supported", cjson.encode, print)
        raises("Cannot serialise thread: type not supported", cjson.encode, { coroutine.create(print) })
        raises("Cannot serialise userdata: type not supported", cjson.encode, { newproxy() })
        raises("Cannot serialise boolean: table key must be a number or string", cjson.encode, { [true] = 1 })
        raises("Cannot serialise number: must not be NaN or Infinity", cjson.encode, { 0 / 0 })
        is(select(2, safe.encode(print)), "Cannot serialise function: type not supported")
        is(cjson.encode({ 1 }), "[1]")
    "#);
}

#[test]
fn bad_arguments_are_named() {
    run(r#"
        local function fails(call, message)
            local ok, found = pcall(loadstring("local cjson, safe = ... " .. call, "=call"), cjson, safe)
            is(ok, false)
            is(found, "call:1: " .. message)
        end
        fails("cjson.encode()", "bad argument #1 to 'encode' (expected 1 argument)")
        fails("cjson.encode(1, 2)", "bad argument #1 to 'encode' (expected 1 argument)")
        fails("cjson.decode()", "bad argument #1 to 'decode' (expected 1 argument)")
        fails("cjson.decode(nil)", "bad argument #1 to 'decode' (string expected, got nil)")
        fails("cjson.decode({})", "bad argument #1 to 'decode' (string expected, got table)")
        fails("safe.decode()", "bad argument #1 to 'decode' (expected 1 argument)")
        fails("cjson.encode_max_depth(0)",
            "bad argument #1 to 'encode_max_depth' (expected integer between 1 and 2147483647)")
        fails("cjson.encode_max_depth('x')",
            "bad argument #1 to 'encode_max_depth' (number expected, got string)")
        fails("cjson.encode_number_precision(17)",
            "bad argument #1 to 'encode_number_precision' (expected integer between 1 and 16)")
        fails("cjson.encode_max_depth(1, 2)",
            "bad argument #2 to 'encode_max_depth' (found too many arguments)")
        fails("cjson.encode_invalid_numbers('maybe')",
            "bad argument #1 to 'encode_invalid_numbers' (invalid option 'maybe')")
        fails("cjson.encode_sparse_array(1, 2, 3, 4)",
            "bad argument #4 to 'encode_sparse_array' (found too many arguments)")
    "#);
}
