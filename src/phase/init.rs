//! `init_by_lua*`, at configuration time, and `init_worker_by_lua*`, when a worker starts.

use std::ffi::c_int;

use mlua::ffi as lua;
use nginx_sys::*;

use crate::conf::phase::Phase;
use crate::lua::code::Code;
use crate::lua::traceback;
use crate::lua::{string_at, Vm};
use crate::nginx;
use crate::run::{self, Current};

/// Runs the code on the VM's main state. The error text, if any, is what nginx's log should show.
pub unsafe fn run(vm: &mut Vm, phase: Phase, code: &Code) -> Result<(), Vec<u8>> {
    let l = vm.state();
    if let Err(error) = vm.push_code(l, code, None, false) {
        return Err(error.message);
    }
    let current = Current { ctx: std::ptr::null_mut(), thread: std::ptr::null_mut(), phase };
    // SAFETY: the function is on the stack, and the call is protected.
    unsafe {
        let base = lua::lua_gettop(l);
        lua::lua_pushcfunction(l, add_traceback);
        lua::lua_insert(l, base);
        let status = run::enter(current, || lua::lua_pcall(l, 0, 0, base));
        let result = if status == lua::LUA_OK { Ok(()) } else { Err(string_at(l, -1).to_vec()) };
        lua::lua_settop(l, base - 1);
        result
    }
}

/// The message handler: the error's text with a traceback.
pub unsafe extern "C-unwind" fn add_traceback(l: *mut lua::lua_State) -> c_int {
    // SAFETY: Lua calls this with the error's value on a stack with room. The text is made before the only call that
    // may raise, for want of memory, in which case it leaks.
    unsafe {
        let message: &[u8] = match lua::lua_type(l, 1) {
            lua::LUA_TSTRING | lua::LUA_TNUMBER => string_at(l, 1),
            _ => b"unknown reason",
        };
        let mut text = message.to_vec();
        text.extend_from_slice(b"\nstack traceback:");
        traceback::frames(&mut text, l, 1);
        lua::lua_pushlstring(l, text.as_ptr().cast(), text.len());
        1
    }
}

/// The cycle's log while a configuration is read, and the worker's afterwards.
pub fn report(log: *mut ngx_log_t, directive: &str, message: &[u8]) {
    // SAFETY: the caller's log is live.
    unsafe { nginx::log_parts(NGX_LOG_ERR, log, &[directive.as_bytes(), b" error: ", message]) }
}
