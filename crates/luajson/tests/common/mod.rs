//! A Lua state with the module, and with the C library of the `lua-cjson` package to compare with.

#![allow(dead_code, reason = "each test file uses a part")]

use std::path::PathBuf;

use mlua::Lua;

/// A state in which `require` finds `cjson` and `cjson.safe` of this crate.
pub fn lua() -> Lua {
    // A state with LuaJIT's own allocator, as a program that embeds it has.
    // SAFETY: the state is fresh, and ends with the process.
    let lua = unsafe {
        let state = mlua::ffi::luaL_newstate();
        mlua::ffi::luaL_openlibs(state);
        Lua::get_or_init_from_ptr(state).clone()
    };
    // SAFETY: both are Lua C functions that push one table.
    let (cjson, safe) = unsafe {
        (
            lua.create_c_function(luajson::luaopen_cjson).unwrap(),
            lua.create_c_function(luajson::luaopen_cjson_safe).unwrap(),
        )
    };
    lua.preload_module("cjson", cjson).unwrap();
    lua.preload_module("cjson.safe", safe).unwrap();
    lua
}

/// A state as from [`lua`], with the C library's modules as `peer` and `peer.safe`.
pub fn lua_with_peer() -> Lua {
    let lua = lua();
    let library = peer().to_str().unwrap().to_owned();
    lua.globals().set("library", library).unwrap();
    lua.load(
        r#"
        package.preload["peer"] = assert(package.loadlib(library, "luaopen_cjson"))
        package.preload["peer.safe"] = assert(package.loadlib(library, "luaopen_cjson_safe"))
        "#,
    )
    .exec()
    .unwrap();
    lua
}

/// The C library: what `CJSON_PEER` names, or that of the package in a multiarch folder.
fn peer() -> PathBuf {
    if let Some(path) = std::env::var_os("CJSON_PEER") {
        return path.into();
    }
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut candidates = folders.map(|folder| folder.path().join("lua/5.1/cjson.so"));
    candidates
        .find(|path| path.exists())
        .expect("lua/5.1/cjson.so is in no folder of /usr/lib: install the package lua-cjson")
}

/// Runs a chunk whose assertions are the test, on a stack of the size that a process's first thread has.
pub fn run(chunk: &'static str) {
    let run =
        move || lua().load(PRELUDE.to_owned() + chunk).exec().map_err(|error| error.to_string());
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(run).unwrap();
    if let Err(error) = thread.join().unwrap() {
        panic!("{error}");
    }
}

pub const PRELUDE: &str = r#"
local cjson = require "cjson"
local safe = require "cjson.safe"
local function is(found, expected)
    if found ~= expected and (found == found or expected == expected) then
        error(("found %s, expected %s"):format(tostring(found), tostring(expected)), 2)
    end
end
local function raises(message, f, ...)
    local ok, found = pcall(f, ...)
    if ok then error("no error, expected " .. message, 2) end
    if found ~= message then
        error(("raised %s, expected %s"):format(tostring(found), message), 2)
    end
end
"#;
