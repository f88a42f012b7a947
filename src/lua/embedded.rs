//! The Lua sources in `lua/`, built into the module and found by `require` ahead of whatever lies on disk.

use std::ffi::c_int;

use mlua::ffi as lua;
use mlua::ffi::lua_State;

use super::CModule;

/// (module name, file name, source) of each.
const FILES: &[(&str, &str, &str)] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The C declarations of the boundary functions.
const BOUNDARY: &str = include_str!(concat!(env!("OUT_DIR"), "/boundary.h"));

/// Fills `package.preload`, with `more` C modules.
///
/// # Safety
/// `l` is a fresh state with the standard libraries.
pub unsafe fn preload(l: *mut lua_State, more: &[CModule]) {
    // SAFETY: `package.preload` is there after `luaL_openlibs`, and the stack has room for what is pushed.
    unsafe {
        lua::lua_getglobal(l, c"package".as_ptr());
        lua::lua_getfield(l, -1, c"preload".as_ptr());
        for (index, (module, _, _)) in FILES.iter().enumerate() {
            lua::lua_pushlstring(l, module.as_ptr().cast(), module.len());
            lua::lua_pushinteger(l, index as lua::lua_Integer);
            lua::lua_pushcclosure(l, load, 1);
            lua::lua_rawset(l, -3);
        }
        let own = [
            (c"spacer.declarations", declarations as lua::lua_CFunction),
            (c"spacer.yield", push_yield),
            (c"spacer.wait", push_wait_token),
            (c"spacer.json", luajson::luaopen_exact),
            (c"cjson", luajson::luaopen_cjson),
            (c"cjson.safe", luajson::luaopen_cjson_safe),
        ];
        for &(module, open) in own.iter().chain(more) {
            lua::lua_pushcfunction(l, open);
            lua::lua_setfield(l, -2, module.as_ptr());
        }
        lua::lua_settop(l, 0);
    }
}

/// The loader of an embedded module: compiles it and calls it with its name, as `require` would a file.
unsafe extern "C-unwind" fn load(l: *mut lua_State) -> c_int {
    // SAFETY: the upvalue is an index into FILES; nothing with a destructor is alive when Lua raises.
    unsafe {
        let (_, file, source) = FILES[lua::lua_tointeger(l, lua::lua_upvalueindex(1)) as usize];
        lua::lua_pushstring(l, c"=spacer/".as_ptr());
        lua::lua_pushlstring(l, file.as_ptr().cast(), file.len());
        lua::lua_concat(l, 2);
        let name = lua::lua_tostring(l, -1);
        if lua::luaL_loadbuffer(l, source.as_ptr().cast(), source.len(), name) != lua::LUA_OK {
            lua::lua_error(l);
        }
        lua::lua_pushvalue(l, 1);
        lua::lua_call(l, 1, 1);
        1
    }
}

/// `coroutine.yield` as a C function: where it can't yield, its error has no place in the runtime's own Lua in front.
unsafe extern "C-unwind" fn push_yield(l: *mut lua_State) -> c_int {
    unsafe extern "C-unwind" fn yield_all(l: *mut lua_State) -> c_int {
        // SAFETY: a C function may end in `lua_yield` with what is on its stack.
        unsafe { lua::lua_yield(l, lua::lua_gettop(l)) }
    }
    // SAFETY: pushes a function on a stack that has room for it.
    unsafe {
        lua::lua_pushcfunction(l, yield_all);
        1
    }
}

/// What is yielded to wait.
unsafe extern "C-unwind" fn push_wait_token(l: *mut lua_State) -> c_int {
    // SAFETY: pushes a value on a stack that has room for it.
    unsafe { super::push_wait(l) };
    1
}

unsafe extern "C-unwind" fn declarations(l: *mut lua_State) -> c_int {
    // SAFETY: pushes a string on a stack that has room for it.
    unsafe {
        lua::lua_pushlstring(l, BOUNDARY.as_ptr().cast(), BOUNDARY.len());
        1
    }
}
