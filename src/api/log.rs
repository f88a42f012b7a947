//! `ngx.log` and `print`: lines for the error log.

use std::ffi::c_int;

use nginx_sys::*;

use super::{arg, current, without_status};
use crate::nginx;

/// Where the current request's lines go, or those of Lua without one.
pub fn log() -> *mut ngx_log_t {
    // SAFETY: the current request is alive; the cycle always is.
    unsafe {
        match current().ctx.as_ref() {
            Some(ctx) => ctx.log(),
            None => (*ngx_cycle).log,
        }
    }
}

/// Whether a line of that level would be written.
#[no_mangle]
pub extern "C" fn spacer_logs(level: c_int) -> bool {
    // SAFETY: the log is live.
    unsafe { level >= 0 && (*log()).log_level >= level as ngx_uint_t }
}

#[no_mangle]
pub extern "C" fn spacer_log(level: c_int, data: *const u8, len: usize) {
    // SAFETY: the log is live; Lua's string.
    without_status((), || unsafe {
        nginx::log_parts(level as u32, log(), &[b"[lua] ", arg(data, len)]);
    });
}

/// A line at `debug_http`, for what the public interface logs there.
#[no_mangle]
pub extern "C" fn spacer_debug(data: *const u8, len: usize) {
    // SAFETY: the current request is alive; Lua's string.
    without_status((), || unsafe {
        if let Some(ctx) = current().ctx.as_ref() {
            nginx::log_debug!(ctx.r, "{}", nginx::NgxStr::from_bytes(arg(data, len)));
        }
    });
}

/// A line without the `[lua]` in front.
#[no_mangle]
pub extern "C" fn spacer_log_plain(level: c_int, data: *const u8, len: usize) {
    // SAFETY: the log is live; Lua's string.
    without_status((), || unsafe { nginx::log_parts(level as u32, log(), &[arg(data, len)]) });
}
