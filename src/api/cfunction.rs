//! What the API's functions share that are Lua's own kind of C functions: those that yield, or move values from coroutine to coroutine.
//! Nothing with a destructor is alive where one may raise.

use std::ffi::{c_int, CStr};
use std::hint::unreachable_unchecked;
use std::panic::{catch_unwind, AssertUnwindSafe};

use mlua::ffi as lua;
use mlua::ffi::lua_State;

use super::current;
use crate::lua::push_wait;
use crate::nginx::{fault, panic_message};
use crate::request::ctx::Ctx;

/// Returns nil and a message.
pub unsafe fn nil_and(l: *mut lua_State, message: &CStr) -> c_int {
    // SAFETY: a C function has room for some values.
    unsafe {
        lua::lua_pushnil(l);
        lua::lua_pushstring(l, message.as_ptr());
        2
    }
}

/// Raises the message, with the position of the caller in front.
pub unsafe fn raise(l: *mut lua_State, message: &CStr) -> ! {
    // SAFETY: the function doesn't return; raising leaves nothing behind.
    unsafe {
        lua::luaL_error(l, c"%s".as_ptr(), message.as_ptr());
        unreachable_unchecked()
    }
}

/// Runs what may panic, but doesn't raise; a panic becomes a raised error. (One that raises may not be run in here: it would unwind
/// through what catches panics.)
pub unsafe fn guarded<T>(l: *mut lua_State, f: impl FnOnce() -> T) -> T {
    let caught = catch_unwind(AssertUnwindSafe(|| {
        fault::point("c_function");
        f()
    }));
    match caught {
        Ok(value) => value,
        Err(panic) => {
            super::error(super::RAISE, format_args!("internal error: {}", panic_message(&*panic)));
            drop(panic);
            // SAFETY: nothing with a destructor is left; the message is copied before it is raised.
            unsafe {
                let text = super::last_error();
                lua::lua_pushlstring(l, text.as_ptr().cast(), text.len());
                lua::lua_error(l)
            }
        }
    }
}

/// Raises that the function isn't there in the current phase.
pub unsafe fn disabled(l: *mut lua_State) -> ! {
    let directive = current().phase.row().directive;
    // SAFETY: raising leaves nothing behind.
    unsafe {
        lua::luaL_error(l, c"API disabled in the context of %s".as_ptr(), directive.as_ptr());
        unreachable_unchecked()
    }
}

/// The context of the request that runs, in one of those phases; raises elsewhere.
pub unsafe fn context<'a>(l: *mut lua_State, phases: u32) -> &'a Ctx {
    let current = current();
    // SAFETY: the current context is alive while its Lua runs; raising leaves nothing behind.
    unsafe {
        let Some(ctx) = current.ctx.as_ref() else {
            raise(l, c"no request found");
        };
        if !current.phase.is_in(phases) {
            disabled(l);
        }
        ctx
    }
}

/// Stops until what the task has asked for is there. To be returned.
pub unsafe fn yield_and_wait(l: *mut lua_State) -> c_int {
    // SAFETY: a C function may end in `lua_yield` with what is on its stack.
    unsafe {
        lua::lua_settop(l, 0);
        push_wait(l);
        lua::lua_yield(l, 1)
    }
}
