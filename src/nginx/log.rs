//! Lines for nginx's logs.

use std::fmt;
use std::io::Write as _;

use nginx_sys::*;

/// Logs `parts`, one after the other, whatever bytes they hold.
///
/// # Safety
/// `log` is a live log.
#[cold]
pub unsafe fn log_parts(level: u32, log: *mut ngx_log_t, parts: &[&[u8]]) {
    // SAFETY: the format takes a length and a pointer to that many bytes.
    unsafe {
        if (*log).log_level < level as ngx_uint_t {
            return;
        }
        let text = parts.concat();
        ngx_log_error_core(level as ngx_uint_t, log, 0, c"%*s".as_ptr(), text.len(), text.as_ptr());
    }
}

/// See [`log_error!`].
///
/// # Safety
/// `log` is a live log.
#[cold]
pub unsafe fn log_fmt(level: u32, log: *mut ngx_log_t, err: i32, args: fmt::Arguments<'_>) {
    let mut text = Vec::with_capacity(256);
    let _ = text.write_fmt(args);
    // SAFETY: the format takes a length and a pointer to that many bytes.
    unsafe {
        ngx_log_error_core(
            level as ngx_uint_t,
            log,
            err,
            c"%*s".as_ptr(),
            text.len(),
            text.as_ptr(),
        )
    }
}

/// Logs a formatted message when the log takes its level: `log_error!(NGX_LOG_ERR, log, "text {}", x)`.
macro_rules! log_error {
    ($level:expr, $log:expr, $($arg:tt)+) => {{
        let log: *mut nginx_sys::ngx_log_t = $log;
        if (*log).log_level >= $level as nginx_sys::ngx_uint_t {
            $crate::nginx::log_fmt($level as u32, log, 0, format_args!($($arg)+));
        }
    }};
}
pub(crate) use log_error;

/// Logs at `debug_http`; costs one test of a bit when debugging is off.
macro_rules! log_debug_at {
    ($log:expr, $($arg:tt)+) => {{
        #[cfg(ngx_feature = "debug")]
        {
            let log: *mut nginx_sys::ngx_log_t = $log;
            if (*log).log_level & nginx_sys::NGX_LOG_DEBUG_HTTP as nginx_sys::ngx_uint_t != 0 {
                $crate::nginx::log_fmt(nginx_sys::NGX_LOG_DEBUG, log, 0, format_args!($($arg)+));
            }
        }
    }};
}
pub(crate) use log_debug_at;

/// As [`log_debug_at!`], on a request's log.
macro_rules! log_debug {
    ($r:expr, $($arg:tt)+) => {
        $crate::nginx::log_debug_at!((*(*$r).connection).log, $($arg)+)
    };
}
pub(crate) use log_debug;
