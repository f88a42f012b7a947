//! Panics end where nginx called.

use std::panic::{catch_unwind, AssertUnwindSafe};

use nginx_sys::*;

use super::log_error;

/// Runs an entry point that nginx calls: a panic is logged and becomes `on_panic`.
pub fn guard<T>(log: *mut ngx_log_t, on_panic: T, f: impl FnOnce() -> T) -> T {
    guard_or(log, f, || on_panic)
}

/// Runs an entry point that nginx calls: a panic is logged, and `recover` is run instead.
pub fn guard_or<T>(log: *mut ngx_log_t, f: impl FnOnce() -> T, recover: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        let message = panic_message(&*panic);
        // SAFETY: the caller's log is live.
        unsafe { log_error!(NGX_LOG_ALERT, log, "panic: {message}") };
        recover()
    })
}

/// What a caught panic says.
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown")
}
