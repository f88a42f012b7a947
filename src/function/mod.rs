//! Calling functions: the platform's entry from the content phase.
//!
//! The contract of a function (arguments, results, the ways to fail) is in `lua/spacer/function.lua`; this starts it
//! in a coroutine. What surrounds a call is here too: its ids ([`trace`]), what a log may say of it ([`variables`]),
//! which function ran long ([`slow`]), and nginx's own errors in its locations ([`error_page`]).

pub mod error_page;
pub mod slow;
pub mod trace;
pub mod variables;

use std::ffi::c_int;

use mlua::ffi as lua;
use nginx_sys::*;

use crate::ctx::Ctx;
use crate::phase::{self, Phase};
use crate::sched::Outcome;
use crate::vm::Vm;

/// Runs the platform's dispatcher for a request in one of its locations.
///
/// # Safety
/// The request is live.
pub unsafe fn start(ctx: &mut Ctx) -> Result<Outcome, ngx_int_t> {
    // SAFETY: the caller's promise; the dispatcher is in the registry of every VM that was booted.
    unsafe {
        phase::start_with(ctx, Phase::Content, |ctx, l| {
            push_dispatcher(&*ctx.vm, l);
            Ok(0)
        })
    }
}

fn push_dispatcher(vm: &Vm, l: *mut lua::lua_State) -> c_int {
    crate::vm::chunks::push_reference(l, vm.dispatcher());
    0
}
