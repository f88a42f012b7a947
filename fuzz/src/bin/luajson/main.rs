//! What `cjson` decodes, it encodes to text that stands for the same values; everything else it refuses with a message.
//! What is JSON to `serde_json`, it decodes, to what `serde_json` finds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mlua::{Function, Lua};
use serde_json::Value;

/// Takes a text, and gives that of its decoded value; raises where the value doesn't come back. `empty_array_mt` marks arrays, so that `[]` does.
const CHECK: &str = r#"
local cjson = require("cjson.safe").new()
cjson.decode_array_with_array_mt(true)
cjson.encode_number_precision(16)
-- A value may be infinite, or none, where the text was: JSON has no way to write it.
local function finite(value)
    if type(value) == "number" then return value - value == 0 end
    if type(value) == "table" then
        for _, element in pairs(value) do if not finite(element) then return false end end
    end
    return true
end
local function same(a, b)
    if type(a) ~= type(b) then return false end
    if type(a) == "number" then return a == b or math.abs(a - b) <= 1e-15 * math.abs(a) end
    if type(a) ~= "table" then return a == b end
    if getmetatable(a) ~= getmetatable(b) then return false end
    for key, value in pairs(a) do if not same(value, b[key]) then return false end end
    for key in pairs(b) do if a[key] == nil then return false end end
    return true
end
return function(text)
    local value, message = cjson.decode(text)
    if value == nil then
        assert(type(message) == "string", "no message")
        return
    end
    if not finite(value) then return end
    local encoded = assert(cjson.encode(value))
    local again, refused = cjson.decode(encoded)
    assert(refused == nil, refused)
    assert(same(value, again), encoded)
    return encoded
end
"#;

thread_local! {
    static CHECKER: (Lua, Function) = {
        let lua = Lua::new();
        // SAFETY: it is a Lua C function that pushes one table.
        let safe = unsafe { lua.create_c_function(luajson::luaopen_cjson_safe) };
        lua.preload_module("cjson.safe", safe.expect("a function")).expect("an entry");
        let check = lua.load(CHECK).eval().expect("a function");
        (lua, check)
    };
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            (a - b).abs() <= 1e-15 * a.abs()
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

fuzz_target!(|text: &[u8]| {
    let encoded: Option<mlua::LuaString> = CHECKER.with(|(lua, check)| {
        let text = lua.create_string(text).expect("memory");
        check.call(text).unwrap_or_else(|error| panic!("{error}"))
    });
    if let Ok(value) = serde_json::from_slice::<Value>(text) {
        let encoded = encoded.expect("JSON is not refused");
        let again = serde_json::from_slice(&encoded.as_bytes());
        let again = again.unwrap_or_else(|error| panic!("{error}: {encoded:?}"));
        assert!(same(&value, &again), "{value} became {again}");
    }
});
