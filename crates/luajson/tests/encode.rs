//! What `encode` makes of each kind of Lua value.

mod common;
use common::run;

#[test]
fn scalars_become_json() {
    run(r#"
        is(cjson.encode(nil), "null")
        is(cjson.encode(cjson.null), "null")
        is(cjson.encode(true), "true")
        is(cjson.encode(12), "12")
        is(cjson.encode(-0.5), "-0.5")
        is(cjson.encode(1e14), "1e+14")
        is(cjson.encode(1 / 3), "0.33333333333333")
        is(cjson.encode("a/b\"\\\n\1\127\195\169"), [["a\/b\"\\\n\u0001\u007f]] .. "\195\169\"")
    "#);
}

#[test]
fn tables_are_arrays_by_their_keys() {
    run(r#"
        is(cjson.encode({}), "{}")
        is(cjson.encode({ 1, "2", { 3 } }), '[1,"2",[3]]')
        is(cjson.encode({ [3] = 3 }), "[null,null,3]")
        is(cjson.encode({ [0] = 1 }), '{"0":1}')
        is(cjson.encode({ [1.5] = 1 }), '{"1.5":1}')
        is(cjson.encode({ 1, 2, [-1] = 3 }), '{"1":1,"2":2,"-1":3}')
        is(cjson.encode({ 1, { 2 }, x = 3 }), '{"1":1,"2":[2],"x":3}')
        is(cjson.encode({ [2 ^ 40] = 1 }), '{"1099511627776":1}')
    "#);
}

#[test]
fn a_wrong_guess_leaves_nothing_behind() {
    run(r#"
        local mixed = {}
        for i = 1, 100 do mixed[i] = "element " .. i end
        mixed.x = true
        local text = cjson.encode(mixed)
        is(text:sub(1, 1), "{")
        is(cjson.decode(text)["100"], "element 100")
        raises("Cannot serialise table: excessively sparse array", cjson.encode,
            { "a", "b", function() end, [1000] = 1 })
    "#);
}

#[test]
fn metatables_mark_arrays() {
    run(r#"
        is(cjson.encode(setmetatable({}, cjson.empty_array_mt)), "[]")
        is(cjson.encode(setmetatable({}, cjson.array_mt)), "[]")
        is(cjson.encode(setmetatable({ 1, 2, x = 3 }, cjson.array_mt)), "[1,2]")
        is(cjson.encode(setmetatable({ 1, 2 }, cjson.empty_array_mt)), "[1,2]")
        is(cjson.encode({ cjson.empty_array }), "[[]]")
        is(cjson.encode(setmetatable({}, {})), "{}")
        is(cjson.array_mt, cjson.new().array_mt)
        is(cjson.empty_array_mt, safe.empty_array_mt)
    "#);
}

#[test]
fn metamethods_give_length_and_elements() {
    run(r#"
        local proxy = setmetatable({}, {
            __len = function() return 3 end,
            __index = function(_, i) return cjson.encode({ i * 10 }) end,
        })
        is(cjson.encode({ "before", proxy, "after" }), '["before",["[10]","[20]","[30]"],"after"]')
        local failing = setmetatable({}, { __len = function() error("no length", 0) end })
        for _ = 1, 10 do
            raises("no length", cjson.encode, { "x", failing })
            is(cjson.encode({ 1 }), "[1]")
        end
    "#);
}

#[test]
fn unsupported_values_are_refused_or_left_out() {
    run(r#"
        local value = { 1, print, 2, print }
        raises("Cannot serialise function: type not supported", cjson.encode, value)
        is(cjson.encode_skip_unsupported_value_types(true), true)
        is(cjson.encode(value), "[1,2]")
        is(cjson.encode({ print, print }), "[]")
        is(cjson.encode({ a = print }), "{}")
        is(cjson.encode(print), "")
    "#);
}

#[test]
fn indentation_is_as_asked_for() {
    run(r#"
        is(cjson.encode_indent(), "")
        is(cjson.encode_indent("  "), "  ")
        collectgarbage()
        is(cjson.encode({ 1, { a = { 2 } }, {} }),
            '[\n  1,\n  {\n    "a": [\n      2\n    ]\n  },\n  {}\n]')
        is(cjson.encode_indent(""), "")
        is(cjson.encode({ 1 }), "[1]")
    "#);
}

#[test]
fn what_is_decoded_encodes_to_itself() {
    run(r#"
        for _, text in ipairs { '[1,2.5,"x",null,true,[],{"a":{"b":[0]}}]', "[]", '"\\"\\\\"' } do
            cjson.encode_empty_table_as_object(false)
            is(cjson.encode(cjson.decode(text)), text)
        end
    "#);
}
