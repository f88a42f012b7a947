//! Calling functions: the platform's entry from the content phase.
//!
//! The contract of a function (arguments, results, the ways to fail) is in `lua/spacer/function.lua`; this starts it
//! in a coroutine. What surrounds a call is here too: its ids ([`trace`]), what a log may say of it ([`variables`]),
//! which function ran long ([`slow`]), and nginx's own errors in its locations ([`error_page`]).

pub mod error_page;
pub mod slow;
pub mod trace;
pub mod variables;

use std::cell::RefMut;
use std::ffi::c_int;

use coro::Outcome;
use mlua::ffi as lua;
use nginx_sys::*;

use crate::conf::phase::Phase;
use crate::lua::Vm;
use crate::nginx::Request;
use crate::phase;
use crate::request::ctx::Ctx;
use crate::request::slots::{Slot, Slots};
use error_page::ErrorPage;
use trace::Trace;

/// What the platform knows of a call of a function.
#[derive(Default)]
pub struct Call {
    /// The function's name; empty until it is known.
    pub function: String,
    /// Its ids, once they were asked for.
    pub trace: Option<Trace>,
    pub error_page: ErrorPage,
}

impl Slot for Call {
    fn recycle(&mut self) {
        self.function.clear();
        self.trace = None;
        self.error_page = ErrorPage::None;
    }
}

impl Call {
    /// Remembers the function's name for the log.
    pub fn note(&mut self, name: &str) {
        self.function.clear();
        self.function.push_str(name);
    }
}

/// The call that the request makes, if a function is known.
pub fn call_of(ctx: &Ctx) -> Option<RefMut<'_, Call>> {
    let found = RefMut::filter_map(ctx.slots.borrow_mut(), Slots::find::<Call>);
    found.ok().filter(|call| !call.function.is_empty())
}

/// The call that the request makes, whether or not its function is known.
pub fn new_call(ctx: &Ctx) -> RefMut<'_, Call> {
    RefMut::map(ctx.slots.borrow_mut(), Slots::get::<Call>)
}

/// Where `spacer.boot` has the function that runs functions.
const DISPATCH: usize = 0;

/// Answers in one of the platform's locations.
pub unsafe extern "C" fn handler(r: Request) -> ngx_int_t {
    // SAFETY: nginx calls this with a live request.
    unsafe { phase::content::serve(r, |ctx| start(ctx)) }
}

/// Runs the platform's dispatcher for a request in one of its locations.
///
/// # Safety
/// The request is live.
unsafe fn start(ctx: &Ctx) -> Result<Outcome, ngx_int_t> {
    // SAFETY: the caller's promise; the dispatcher is in the registry of every VM that was booted.
    unsafe {
        ctx.state.watch.set(Some(&slow::WATCH));
        phase::start_with(ctx, Phase::Content, |ctx, l| {
            push_dispatcher(ctx.vm(), l);
            Ok(0)
        })
    }
}

fn push_dispatcher(vm: &Vm, l: *mut lua::lua_State) -> c_int {
    crate::lua::chunks::push_reference(l, vm.entry(DISPATCH));
    0
}
