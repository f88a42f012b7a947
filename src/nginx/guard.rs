//! Panics end where nginx called.

use std::panic::{catch_unwind, AssertUnwindSafe};

use nginx_sys::*;

use super::log_error;

/// Runs an entry point that nginx calls: a panic is logged and becomes `on_panic`.
pub fn guard<T>(log: *mut ngx_log_t, on_panic: T, f: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        let message = panic_message(&*panic);
        // SAFETY: the caller's log is live.
        unsafe { log_error!(NGX_LOG_ALERT, log, "panic: {message}") };
        on_panic
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
