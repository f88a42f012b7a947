//! JSON for Lua: `cjson` and `cjson.safe`, with the interface, semantics and error texts of
//! OpenResty's lua-cjson, straight between Lua values and bytes.
//!
//! ```no_run
//! let lua = mlua::Lua::new();
//! // SAFETY: both are Lua C functions that push one table.
//! let cjson = unsafe { lua.create_c_function(luajson::luaopen_cjson) }?;
//! lua.preload_module("cjson", cjson)?;
//! lua.load(r#"assert(require "cjson".decode('{"a":[1]}').a[1] == 1)"#).exec()
//! # ; mlua::Result::Ok(())
//! ```
//!
//! [`luaopen_exact`] opens the same module with other defaults: numbers are written with as many digits as it takes to
//! read them back, and slashes aren't escaped.
//!
//! The files: `stack` wraps the Lua C API, `config` holds an instance's settings, `scratch` its
//! byte buffers; `decode` and `encode` are the codec, on `scan` for strings and `number`.
//!
//! Lua errors skip Rust frames. So whatever owns memory lives in Lua userdata, the codec hands its own
//! errors up as results, and only the outermost function raises them.
//!
//! What it uses: `mlua` for the declarations of the C API; `memchr` finds the end of long strings with
//! the widest vectors there are; `itoa` prints integers; `zmij` finds the shortest decimal of a
//! double, several times as fast as `printf`; `libc` has the `strtod` whose oddest numbers cjson takes.

mod config;
mod decode;
mod encode;
mod number;
mod scan;
mod scratch;
mod stack;

use std::ffi::{c_int, c_void, CStr};

use mlua::ffi::{lua_CFunction, lua_State};

use config::{Config, Flavour};
use scratch::Scratch;
use stack::{ErrorText, Stack, Type};

/// The modules' `_NAME` and `_VERSION`; the version is that of the interface.
const NAME: &CStr = c"cjson";
const VERSION: &CStr = c"2.1.0.11";

/// Their addresses are the registry's keys of the two metatables.
static ARRAY_MT: u8 = 1;
static EMPTY_ARRAY_MT: u8 = 2;

/// The light userdata that encodes as an empty array.
fn empty_array() -> *const c_void {
    (&raw const ARRAY_MT).cast()
}

/// Pushes the metatable that marks arrays.
fn push_array_mt(stack: Stack) {
    stack.push_light_userdata((&raw const ARRAY_MT).cast());
    stack.raw_get(Stack::REGISTRY);
}

/// Pushes the registry's table with the key `key`, made at the first call, and gives its address.
fn push_metatable(stack: Stack, key: &'static u8) -> *const c_void {
    let key: *const c_void = std::ptr::from_ref(key).cast();
    stack.push_light_userdata(key);
    stack.raw_get(Stack::REGISTRY);
    if stack.type_of(-1) == Type::NIL {
        stack.pop(1);
        stack.push_light_userdata(key);
        stack.create_table(0, 0);
        stack.raw_set(Stack::REGISTRY);
        stack.push_light_userdata(key);
        stack.raw_get(Stack::REGISTRY);
    }
    stack.pointer(-1)
}

/// Opens the module `cjson`: pushes its table, with settings of its own.
///
/// # Safety
///
/// To be called by Lua.
pub unsafe extern "C-unwind" fn luaopen_cjson(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this.
    let stack = unsafe { Stack::new(state) };
    push_module(stack, Flavour::Cjson);
    1
}

/// Opens a module like `cjson` whose `encode` writes each number as the shortest text that reads back as the same double
/// (integers below 2^53 as such), where `cjson`'s has 14 digits, and doesn't escape slashes. `null`, `empty_array` and
/// the metatables are `cjson`'s own.
///
/// # Safety
///
/// To be called by Lua.
pub unsafe extern "C-unwind" fn luaopen_exact(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this.
    let stack = unsafe { Stack::new(state) };
    push_module(stack, Flavour::Exact);
    1
}

/// Opens the module `cjson.safe`, whose `encode` and `decode` answer nil and a message instead of raising.
///
/// # Safety
///
/// To be called by Lua.
pub unsafe extern "C-unwind" fn luaopen_cjson_safe(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this.
    let stack = unsafe { Stack::new(state) };
    push_module(stack, Flavour::Cjson);
    stack.push_closure(luaopen_cjson_safe, 0);
    stack.set_field(-2, c"new");
    for name in [c"decode", c"encode"] {
        stack.get_field(-1, name);
        stack.push_closure(protected, 1);
        stack.set_field(-2, name);
    }
    1
}

fn push_module(stack: Stack, flavour: Flavour) {
    stack.check_argument(stack.reserve(10), 1, c"stack overflow");
    stack.create_table(0, 24);

    let array_mt = push_metatable(stack, &ARRAY_MT);
    stack.set_field(-2, c"array_mt");
    let empty_array_mt = push_metatable(stack, &EMPTY_ARRAY_MT);
    stack.set_field(-2, c"empty_array_mt");
    stack.push_light_userdata(empty_array());
    stack.set_field(-2, c"empty_array");
    stack.push_light_userdata(std::ptr::null());
    stack.set_field(-2, c"null");
    for (field, text) in [(c"_NAME", NAME), (c"_VERSION", VERSION)] {
        stack.push_bytes(text.to_bytes());
        stack.set_field(-2, field);
    }

    Config::push(stack, flavour, array_mt, empty_array_mt);
    let codec: [(&CStr, lua_CFunction); 2] =
        [(c"encode", encode::encode), (c"decode", decode::decode)];
    for (name, function) in codec {
        stack.push_value(-1);
        Scratch::push(stack);
        stack.push_closure(function, 2);
        stack.set_field(-3, name);
    }
    for (name, function) in config::FUNCTIONS {
        stack.push_value(-1);
        stack.push_closure(function, 1);
        stack.set_field(-3, name);
    }
    stack.pop(1);
    let open: lua_CFunction = match flavour {
        Flavour::Cjson => luaopen_cjson,
        Flavour::Exact => luaopen_exact,
    };
    stack.push_closure(open, 0);
    stack.set_field(-2, c"new");
}

/// Calls its upvalue with its one argument, and turns an error into nil and the message.
unsafe extern "C-unwind" fn protected(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this.
    let stack = unsafe { Stack::new(state) };
    stack.check_argument(stack.top() == 1, 1, c"expected 1 argument");
    stack.push_value(Stack::upvalue(1));
    stack.insert(1);
    match stack.protected_call(1, 1) {
        mlua::ffi::LUA_OK => 1,
        mlua::ffi::LUA_ERRRUN => {
            stack.push_nil();
            stack.insert(-2);
            2
        }
        _ => stack.raise(ErrorText::Plain(c"Memory allocation error in CJSON protected call")),
    }
}
