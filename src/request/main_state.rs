//! Lua on a VM's main state, where nothing can wait: code of a configuration or a worker, of filters, of the log.

use std::ffi::c_int;
use std::ptr;
use std::rc::Rc;

use mlua::ffi as lua;
use nginx_sys::*;

use super::ctx::Ctx;
use super::current::{enter, Current};
use crate::conf::phase::Phase;
use crate::conf::{self, MainConf};
use crate::lua::code::Code;
use crate::lua::{string_at, traceback, Vm};
use crate::nginx::cell::Held;
use crate::nginx::{self, fault};
use crate::run;

/// A VM as the configuration wants it, after `init_by_lua*`. The error is what nginx's log should show.
///
/// # Safety
/// The configuration is live.
pub unsafe fn new_vm(conf: &MainConf, caches: bool) -> Result<Rc<Vm>, Vec<u8>> {
    // SAFETY: the caller's promise.
    let vm = unsafe { conf::new_vm(conf, caches) }.map_err(String::into_bytes)?;
    run_init(conf, &vm)?;
    Ok(vm)
}

/// Runs `init_by_lua*`, but in a process that only tests the configuration or sends a signal. The error is what nginx's log should show.
pub fn run_init(conf: &MainConf, vm: &Vm) -> Result<(), Vec<u8>> {
    // SAFETY: nginx's own variables.
    let serves =
        unsafe { ngx_test_config == 0 && ngx_process != NGX_PROCESS_SIGNALLER as ngx_uint_t };
    let Some(code) = conf.code(Phase::Init).filter(|_| serves) else { return Ok(()) };
    run_without_request(vm, Phase::Init, code)
        .map_err(|message| [b"init_by_lua error: ", &message[..]].concat())
}

/// Runs code that belongs to no request. The error text, if any, is what nginx's log should show.
pub fn run_without_request(vm: &Vm, phase: Phase, code: &Code) -> Result<(), Vec<u8>> {
    let current = Current { ctx: ptr::null(), task: None, phase };
    let l = vm.state();
    // SAFETY: nobody else uses the main state meanwhile in a way that minds what is above its top.
    unsafe {
        let base = lua::lua_gettop(l);
        let _top = Top(l, base);
        lua::lua_pushcfunction(l, add_traceback);
        vm.push_code(l, code, None).map_err(|error| error.message)?;
        fault::point(phase.name());
        call(l, current, 0, base)
    }
}

/// Runs a phase's code for a request, with what `push` puts on the stack as its arguments, and gives `results` to `read`, which finds
/// them on top of the stack. An error is logged, and is `NGX_ERROR`.
///
/// # Safety
/// The request is live.
pub unsafe fn run_for<T>(
    ctx: &Ctx,
    phase: Phase,
    code: &Code,
    push: impl FnOnce(*mut lua::lua_State) -> c_int,
    read: impl FnOnce(*mut lua::lua_State) -> T,
) -> Result<T, ngx_int_t> {
    // A handle of its own: the code may do what lets go of the context's.
    let vm = ctx.vm().clone();
    let l = vm.state();
    // SAFETY: the request and its VM are alive, and the call is protected.
    unsafe {
        let base = lua::lua_gettop(l);
        let _top = Top(l, base);
        if lua::lua_checkstack(l, 64) == 0 {
            return Err(nginx::ERROR);
        }
        lua::lua_pushcfunction(l, add_traceback);
        if let Err(error) = vm.push_code(l, code, Some(ctx.r)) {
            nginx::log_parts(NGX_LOG_ERR, ctx.log(), &[&error.message]);
            return Err(nginx::ERROR);
        }
        let arguments = push(l);
        let called = {
            let _phase = Held::new(&ctx.state.phase, phase);
            let _busy = run::Busy::enter();
            fault::point(phase.name());
            call(l, Current { ctx, task: None, phase }, arguments, base)
        };
        match called {
            Ok(()) => Ok(read(l)),
            Err(message) => {
                nginx::log_parts(
                    NGX_LOG_ERR,
                    ctx.log(),
                    &[b"failed to run ", phase.directive().as_bytes(), b": ", &message],
                );
                Err(nginx::ERROR)
            }
        }
    }
}

/// Leaves the stack as high as it was, also after a panic.
struct Top(*mut lua::lua_State, c_int);

impl Drop for Top {
    fn drop(&mut self) {
        // SAFETY: the state's VM outlives what runs in it.
        unsafe { lua::lua_settop(self.0, self.1) }
    }
}

/// Calls the function that lies above the message handler at `base + 1`, for one result.
unsafe fn call(
    l: *mut lua::lua_State,
    current: Current,
    arguments: c_int,
    base: c_int,
) -> Result<(), Vec<u8>> {
    // SAFETY: the function, its arguments and the handler are on the stack.
    unsafe {
        match enter(current, || lua::lua_pcall(l, arguments, 1, base + 1)) {
            lua::LUA_OK => Ok(()),
            _ => Err(string_at(l, -1).to_vec()),
        }
    }
}

/// The message handler: the error's text with a traceback.
unsafe extern "C-unwind" fn add_traceback(l: *mut lua::lua_State) -> c_int {
    // SAFETY: Lua calls this with the error's value on a stack with room. The text is made before the only call that
    // may raise, for want of memory, in which case it leaks.
    unsafe {
        let message: &[u8] = match lua::lua_type(l, 1) {
            lua::LUA_TSTRING | lua::LUA_TNUMBER => string_at(l, 1),
            _ => b"unknown reason",
        };
        let mut text = message.to_vec();
        text.extend_from_slice(b"\nstack traceback:");
        traceback::frames(&mut text, l, 1, true);
        lua::lua_pushlstring(l, text.as_ptr().cast(), text.len());
        1
    }
}
