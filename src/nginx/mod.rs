//! nginx as Rust sees it. What is `unsafe` about nginx's pointers stays here as far as it can.

pub mod cell;
pub mod command;
mod conf;
pub mod fault;
mod guard;
mod list;
mod log;
pub mod own;
mod pool;
mod request;
mod string;

use std::ptr;

use nginx_sys::*;
use ngx::core::Status;

pub use conf::*;
pub use guard::*;
pub use list::*;
pub use log::*;
pub use pool::*;
pub use request::*;
pub use string::*;

pub const OK: ngx_int_t = Status::NGX_OK.0;
pub const ERROR: ngx_int_t = Status::NGX_ERROR.0;
pub const AGAIN: ngx_int_t = Status::NGX_AGAIN.0;
pub const DONE: ngx_int_t = Status::NGX_DONE.0;
pub const DECLINED: ngx_int_t = Status::NGX_DECLINED.0;

/// nginx's cached time: seconds and milliseconds.
pub fn cached_time() -> (i64, u64) {
    // SAFETY: nginx sets the pointer before any module runs and updates what it points to between events.
    unsafe {
        let time = &*ptr::read_volatile(&raw const ngx_cached_time);
        (time.sec, time.msec as u64)
    }
}

/// Runs `f` as if the cycle were the current one already. While the configuration is read that is another, at the first start one without any.
///
/// # Safety
/// Both cycles are alive, and have all that `f` looks at.
pub unsafe fn with_cycle<T>(cycle: *mut ngx_cycle_t, f: impl FnOnce() -> T) -> T {
    /// Also after a panic.
    struct Restore(*mut ngx_cycle_t);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: nginx's only thread, and the pointer that it had.
            unsafe { ngx_cycle = self.0 }
        }
    }
    // SAFETY: nginx's only thread, and the caller's promise.
    let _restore = Restore(unsafe { ptr::replace(&raw mut ngx_cycle, cycle) });
    f()
}
