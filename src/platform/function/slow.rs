//! `spacer_slow_function TIME;`: names the function that kept its worker busy for longer than that in one go, so that
//! the worker's other requests had to wait. 0 turns it off.

use nginx_sys::*;

use super::call_of;
use crate::nginx::log_error;
use crate::platform::conf;
use crate::request::ctx::{Ctx, Watch};

pub static WATCH: Watch = Watch { clock, paused: check };

pub const DEFAULT_MSEC: ngx_msec_t = 200;

/// Milliseconds of a clock that is read without a system call, and moves on every few of them.
fn clock() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock is there on every Linux, and fills in the time.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut time) };
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// Called when a coroutine of the request stops running, which it did since `began`.
///
/// # Safety
/// The request is live.
unsafe fn check(ctx: &Ctx, began: u64) {
    let ran = clock() - began;
    if ran == 0 {
        return;
    }
    let (r, log) = (ctx.r, ctx.log());
    let Some(call) = call_of(ctx) else { return };
    // SAFETY: the caller's promise.
    unsafe {
        let limit = conf::loc_conf(r).slow_function;
        if limit > 0 && ran >= limit as u64 {
            log_error!(
                NGX_LOG_WARN,
                log,
                "function \"{}\" ran for {ran} ms without a pause, while the worker's other requests waited",
                call.function
            );
        }
    }
}
