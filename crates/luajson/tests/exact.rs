//! The module whose numbers read back as they were.

mod common;

const OPEN: &str = r#"
local exact = require "exact"
"#;

fn run(chunk: &str) {
    let lua = common::lua();
    // SAFETY: a Lua C function that pushes one table.
    let open = unsafe { lua.create_c_function(luajson::luaopen_exact) }.unwrap();
    lua.preload_module("exact", open).unwrap();
    lua.load(format!("{}{OPEN}{chunk}", common::PRELUDE))
        .exec()
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn numbers_and_slashes_are_written_as_they_are() {
    run(r#"
        is(exact.encode({ 123456789012345, 1234567890123456, 0.1, 2 ^ 53, -2 ^ 53, 1 / 3 }),
           "[123456789012345,1234567890123456,0.1,9007199254740992,-9007199254740992,0.3333333333333333]")
        is(exact.encode({ [1234567890123456] = "a/b" }), '{"1234567890123456":"a/b"}')
        is(exact.encode({ ["a/b"] = 1 }), '{"a/b":1}')
        is(exact.encode(-0), "-0")
    "#);
}

#[test]
fn what_is_written_is_read_back() {
    run(r#"
        math.randomseed(7)
        for _ = 1, 50000 do
            local number = (math.random() - 0.5) * 10 ^ math.random(-300, 300)
            is(exact.decode(exact.encode({ number }))[1], number)
            is(cjson.decode(exact.encode({ number }))[1], number)
            local integer = math.random(-2 ^ 53, 2 ^ 53)
            is(exact.encode(integer), ("%d"):format(integer))
        end
        is(1 / exact.decode(exact.encode(-0)), -1 / 0)
    "#);
}

#[test]
fn numbers_that_json_lacks_are_errors() {
    run(r#"
        for _, number in ipairs { 1 / 0, -1 / 0, 0 / 0 } do
            raises("Cannot serialise number: must not be NaN or Infinity", exact.encode, number)
            raises("Cannot serialise number: must not be NaN or Infinity", exact.encode, { number })
        end
    "#);
}

#[test]
fn cjson_keeps_its_defaults_beside_it() {
    run(r#"
        is(cjson.encode({ 123456789012345, "a/b" }), [=[[1.2345678901234e+14,"a\/b"]]=])
        is(exact.null, cjson.null)
        is(exact.encode({ cjson.empty_array, cjson.null, setmetatable({}, cjson.array_mt) }), "[[],null,[]]")
        cjson.encode_number_precision(3)
        is(exact.encode(1234.5), "1234.5")
        is(exact.new().encode("/"), '"/"')
        is(exact.new().encode_number_precision(5), 5)
        raises("bad argument #1 to '?' (expected integer between 1 and 16)", cjson.encode_number_precision, 17)
    "#);
}
