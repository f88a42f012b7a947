//! The boundary: the functions that Lua calls through FFI, one file for each area of `ngx.*`.
//!
//! A boundary function takes numbers and pointers with lengths, puts results where the caller said, and returns one
//! of the statuses below. It never raises, never runs Lua and never unwinds: its body runs in [`boundary`], [`giving`] or
//! [`without_status`], which `scripts/lint.d/boundary` looks for. `build.rs` generates the declarations
//! that Lua sees from these files.

pub mod arg;
mod cfunction;
pub mod control;
pub mod encoding;
pub mod headers_in;
pub mod headers_out;
pub mod log;
pub mod ndk;
pub mod output;
pub mod regex;
pub mod regex_ffi;
pub mod request;
pub mod request_body;
pub mod semaphore;
pub mod shared;
pub mod subrequest;
pub mod thread;
pub mod time;
pub mod var;
pub mod worker;

use std::ffi::c_int;
use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};

use coro::Wait;

use crate::conf::phase::{Phase, HANDLERS};
use crate::lua::CModule;
use crate::nginx::cell::Worker;
use crate::nginx::{fault, guard, panic_message};
use crate::request::ctx::Ctx;
pub use crate::request::current::current;
use crate::request::tasks::{scheduler, Requests};

/// The modules of functions that aren't called through FFI, for [`crate::lua::provide`].
pub const MODULES: [CModule; 2] =
    [(c"spacer.tasks", thread::open), (c"spacer.sleep", time::push_sleep)];

/// Done.
pub const OK: c_int = 0;
/// Failed: Lua returns nil and the text of `spacer_last_error`.
pub const FAIL: c_int = -1;
/// Not done yet: Lua yields, and the yield returns the status.
pub const AGAIN: c_int = -2;
/// Misused: Lua raises the text of `spacer_last_error`.
pub const RAISE: c_int = -3;
/// There is no such thing: Lua returns nil.
pub const NONE: c_int = -5;

/// Bytes that the caller may read until the next boundary call.
#[allow(non_camel_case_types)]
#[repr(C)]
pub struct spacer_str {
    pub data: *const u8,
    pub len: usize,
}

impl spacer_str {
    pub fn new(bytes: &[u8]) -> spacer_str {
        spacer_str { data: bytes.as_ptr(), len: bytes.len() }
    }

    pub fn set(&mut self, bytes: &[u8]) {
        self.data = bytes.as_ptr();
        self.len = bytes.len();
    }
}

static LAST_ERROR: Worker<Vec<u8>> = Worker::new(Vec::new());

/// Bytes that a boundary function made and that stay until the next call that makes some.
static SCRATCH: Worker<Vec<u8>> = Worker::new(Vec::new());

/// The scratch buffer, emptied.
///
/// # Safety
/// Nobody keeps a reference into it across boundary calls.
pub unsafe fn scratch<'a>() -> &'a mut Vec<u8> {
    // SAFETY: one thread, and the caller's promise.
    let buffer = unsafe { &mut *SCRATCH.get() };
    buffer.clear();
    if buffer.capacity() > 1 << 20 {
        buffer.shrink_to(1 << 16);
    }
    buffer
}

/// Keeps the error's text and gives `status` back.
#[cold]
pub fn error(status: c_int, message: fmt::Arguments<'_>) -> c_int {
    use std::io::Write as _;
    // SAFETY: one thread, and no reference is kept.
    let text = unsafe { &mut *LAST_ERROR.get() };
    text.clear();
    let _ = text.write_fmt(message);
    status
}

/// As [`error`], for a text that isn't all UTF-8.
#[cold]
pub fn error_bytes(status: c_int, message: &[u8]) -> c_int {
    // SAFETY: one thread, and no reference is kept.
    let text = unsafe { &mut *LAST_ERROR.get() };
    text.clear();
    text.extend_from_slice(message);
    status
}

/// The text of the last `FAIL` or `RAISE`.
#[no_mangle]
pub extern "C" fn spacer_last_error(out: &mut spacer_str) {
    out.set(last_error());
}

fn last_error<'a>() -> &'a [u8] {
    // SAFETY: one thread; the text stays until the next error.
    unsafe { &*LAST_ERROR.get() }
}

/// Runs a boundary function's body; a panic in it becomes a raised error.
#[inline]
pub fn boundary(f: impl FnOnce() -> c_int) -> c_int {
    let f = || {
        fault::point("boundary");
        f()
    };
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        error(RAISE, format_args!("internal error: {}", panic_message(&*panic)))
    })
}

/// Runs the body of a boundary function that gives text and has no status. A panic is logged, and becomes a text of a length for which Lua raises an
/// error.
pub fn giving(out: &mut spacer_str, f: impl FnOnce(&mut spacer_str)) {
    let body = || {
        fault::point("text");
        f(out);
        true
    };
    if !without_status(false, body) {
        *out = spacer_str { data: std::ptr::null(), len: usize::MAX };
    }
}

/// Runs the body of a boundary function that has neither status nor text: a panic is logged, and gives `on_panic`.
#[inline]
pub fn without_status<T>(on_panic: T, f: impl FnOnce() -> T) -> T {
    let f = || {
        fault::point("without_status");
        f()
    };
    // SAFETY: nginx logs as long as its process lives.
    guard(unsafe { (*nginx_sys::ngx_cycle).log }, on_panic, f)
}

/// Runs `f` with the current `Ctx`, where there is one: that of a client's request, or of Lua that runs without one.
pub fn with_context(f: impl FnOnce(&Ctx) -> c_int) -> c_int {
    boundary(|| {
        // SAFETY: the current `Ctx` is alive while its Lua runs.
        match unsafe { current().ctx.as_ref() } {
            Some(ctx) => f(ctx),
            None => error(RAISE, format_args!("no request found")),
        }
    })
}

/// As [`with_context`], for a client's request only.
pub fn with_request(f: impl FnOnce(&Ctx) -> c_int) -> c_int {
    with_context(|ctx| if ctx.state.phase.get() == Phase::Timer { disabled() } else { f(ctx) })
}

/// As [`with_request`], in one of `phases` only.
pub fn with_request_in(phases: u32, f: impl FnOnce(&Ctx) -> c_int) -> c_int {
    with_context(|ctx| if current().phase.is_in(phases) { f(ctx) } else { disabled() })
}

#[cold]
pub fn disabled() -> c_int {
    error(RAISE, format_args!("API disabled in the context of {}", current().phase.directive()))
}

/// Leaves a future in the current task's slot and says *again*.
pub fn wait(future: Wait) -> c_int {
    match current().task {
        Some(task) => {
            scheduler().wait_for(&mut Requests, task, future);
            AGAIN
        }
        None => disabled(),
    }
}

/// Gives up what the current task was about to wait for.
pub fn give_up() {
    if let Some(task) = current().task {
        scheduler().give_up(&mut Requests, task);
    }
}

/// A boundary call's argument bytes.
///
/// # Safety
/// Lua passes a pointer to `len` bytes that are anchored for the call.
pub unsafe fn arg<'a>(data: *const u8, len: usize) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { crate::nginx::raw_bytes(data, len) }
}
