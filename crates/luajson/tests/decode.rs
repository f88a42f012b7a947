//! What `decode` makes of each kind of JSON text.

mod common;
use common::run;

#[test]
fn scalars_become_lua_values() {
    run(r#"
        is(cjson.decode("12"), 12)
        is(cjson.decode("-1.5e2"), -150)
        is(cjson.decode("true"), true)
        is(cjson.decode(" false "), false)
        is(cjson.decode("null"), cjson.null)
        is(cjson.decode('"text"'), "text")
        is(type(cjson.null), "userdata")
        is(cjson.decode(12), 12)
    "#);
}

#[test]
fn integers_out_of_range_keep_their_magnitude() {
    run(r#"
        is(cjson.decode("99999999999999999999"), 1e20)
        is(cjson.decode("-9223372036854775809"), -2 ^ 63)
        is(1 / cjson.decode("-0"), -1 / 0)
    "#);
}

#[test]
fn escapes_become_utf8() {
    run(r#"
        is(cjson.decode([["\"\\\/\b\f\n\r\t"]]), "\"\\/\b\f\n\r\t")
        is(cjson.decode([["\u0000\u0041\u00e9\u20AC\uD83D\uDE00"]]), "\0A\195\169\226\130\172\240\159\152\128")
        is(cjson.decode('"\255\1"'), "\255\1")
    "#);
}

#[test]
fn containers_of_every_size_are_complete() {
    run(r#"
        for _, n in ipairs { 0, 1, 2, 31, 32, 33, 63, 64, 65, 1000, 5000 } do
            local elements, fields = {}, {}
            for i = 1, n do
                elements[i] = ('{"n":%d}'):format(i)
                fields[i] = ('"k%d":[%d]'):format(i, i)
            end
            local array = cjson.decode("[" .. table.concat(elements, " , ") .. "]")
            local object = cjson.decode("{" .. table.concat(fields, " , ") .. "}")
            is(#array, n)
            local count = 0
            for _ in pairs(object) do count = count + 1 end
            is(count, n)
            for i = 1, n do
                is(array[i].n, i)
                is(object["k" .. i][1], i)
            end
        end
    "#);
}

#[test]
fn the_last_of_equal_keys_stays() {
    run(r#"
        is(cjson.decode('{"a":1,"b":2,"a":3}').a, 3)
        local fields = {}
        for i = 1, 100 do fields[i] = '"a":' .. i end
        is(cjson.decode("{" .. table.concat(fields, ",") .. "}").a, 100)
    "#);
}

#[test]
fn wide_and_deep_documents_stay_within_the_stack() {
    run(r#"
        local wide = "1," .. ("1,"):rep(60)
        local deep = ("[" .. wide):rep(1000) .. "1" .. ("]"):rep(1000)
        local value = cjson.decode(deep)
        for _ = 1, 999 do value = value[62] end
        is(value[62], 1)
    "#);
}

#[test]
fn a_nul_ends_the_text() {
    run(r#"
        is(cjson.decode("12\0x"), 12)
        raises("JSON parser does not support UTF-16 or UTF-32", cjson.decode, "1\0")
    "#);
}

#[test]
fn comments_are_skipped_if_allowed() {
    run(r#"
        local text = "/* a */[1,// b\n2/**/]//c"
        raises("Expected value but found invalid token at character 1", cjson.decode, text)
        cjson.decode_allow_comment(true)
        is(#cjson.decode(text), 2)
        raises("Expected comma or array end but found unclosed multi-line comment at character 7",
            cjson.decode, "[1/* x")
        raises("Expected the end but found unclosed multi-line comment at character 5", cjson.decode, "1/*/")
        raises("Expected value but found invalid token at character 1", cjson.decode, "/x")
    "#);
}

#[test]
fn a_finalizer_may_decode_underway() {
    run(r#"
        local text = '{"a":"\\n' .. ("x"):rep(100) .. '","b":["\\u0041y","z"]}'
        local ran = 0
        collectgarbage("setpause", 0)
        collectgarbage("setstepmul", 10000)
        for i = 1, 3000 do
            local proxy = newproxy(true)
            getmetatable(proxy).__gc = function()
                ran = ran + 1
                is(cjson.decode('"\\tfinal"'), "\tfinal")
                is(cjson.encode({ "final" }), '["final"]')
            end
            proxy = nil
            local value = cjson.decode(text)
            is(value.a, "\n" .. ("x"):rep(100))
            is(value.b[1], "Ay")
            is(cjson.encode({ i }), "[" .. i .. "]")
        end
        assert(ran > 0)
    "#);
}
