//! The functions that read and change settings, and instances with settings of their own.

mod common;
use common::run;

#[test]
fn defaults_are_lua_cjsons() {
    run(r#"
        local convert, ratio, safe_index = cjson.encode_sparse_array()
        is(convert, false)
        is(ratio, 2)
        is(safe_index, 10)
        is(cjson.encode_max_depth(), 1000)
        is(cjson.decode_max_depth(), 1000)
        is(cjson.encode_number_precision(), 14)
        is(cjson.encode_keep_buffer(), true)
        is(cjson.encode_invalid_numbers(), false)
        is(cjson.decode_invalid_numbers(), true)
        is(cjson.encode_empty_table_as_object(), true)
        is(cjson.decode_array_with_array_mt(), false)
        is(cjson.decode_allow_comment(), false)
        is(cjson.encode_escape_forward_slash(), true)
        is(cjson.encode_skip_unsupported_value_types(), false)
        is(cjson._NAME, "cjson")
        is(type(cjson._VERSION), "string")
    "#);
}

#[test]
fn each_setting_changes_what_it_names() {
    run(r#"
        is(cjson.encode_empty_table_as_object("off"), false)
        is(cjson.encode({}), "[]")
        cjson.decode_array_with_array_mt(true)
        is(getmetatable(cjson.decode("[]")), cjson.array_mt)
        is(getmetatable(cjson.decode("[[1]]")[1]), cjson.array_mt)
        is(cjson.encode_escape_forward_slash(false), false)
        is(cjson.encode("a/b"), '"a/b"')
        is(cjson.encode_number_precision(3), 3)
        is(cjson.encode(1 / 3), "0.333")
        is(cjson.encode_invalid_numbers("null"), "null")
        is(cjson.encode({ 1 / 0, 0 / 0 }), "[null,null]")
        is(cjson.encode_invalid_numbers(true), true)
        is(cjson.encode({ 1 / 0, -1 / 0, 0 / 0 }), "[Infinity,-Infinity,NaN]")
        is(cjson.decode_invalid_numbers(false), false)
        raises("Expected value but found invalid number at character 2", cjson.decode, "[0x10]")
        raises("Expected value but found invalid token at character 1", cjson.decode, "nan")
        is(cjson.encode_keep_buffer(false), false)
        is(cjson.encode({ 1 }), "[1]")
        is(cjson.encode({ 2 }), "[2]")
    "#);
}

#[test]
fn sparse_arrays_become_objects_or_errors() {
    run(r#"
        is(cjson.encode({ [10] = 1 }), "[null,null,null,null,null,null,null,null,null,1]")
        raises("Cannot serialise table: excessively sparse array", cjson.encode, { [11] = 1 })
        cjson.encode_sparse_array(true)
        is(cjson.encode({ [11] = 1 }), '{"11":1}')
        cjson.encode_sparse_array(true, 2, 3)
        is(cjson.encode({ [4] = 1 }), '{"4":1}')
        cjson.encode_sparse_array(false, 0)
        is(cjson.encode({ [20] = 1 }), "[" .. ("null,"):rep(19) .. "1]")
    "#);
}

#[test]
fn instances_have_settings_of_their_own() {
    run(r#"
        local other, other_safe = cjson.new(), safe.new()
        other.encode_max_depth(1)
        raises("Cannot serialise, excessive nesting (2)", other.encode, { {} })
        is(cjson.encode({ {} }), "[{}]")
        is(select(2, other_safe.decode("[")), "Expected value but found T_END at character 2")
        is(require "cjson.safe".encode_max_depth(), 1000)
    "#);
}
