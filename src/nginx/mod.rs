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

pub use conf::*;
pub use guard::*;
pub use list::*;
pub use log::*;
pub use pool::*;
pub use request::*;
pub use string::*;

pub const OK: ngx_int_t = NGX_OK as ngx_int_t;
pub const ERROR: ngx_int_t = NGX_ERROR as ngx_int_t;
pub const AGAIN: ngx_int_t = NGX_AGAIN as ngx_int_t;
pub const DONE: ngx_int_t = NGX_DONE as ngx_int_t;
pub const DECLINED: ngx_int_t = NGX_DECLINED as ngx_int_t;

/// nginx's cached time: seconds and milliseconds.
pub fn cached_time() -> (i64, u64) {
    // SAFETY: nginx sets the pointer before any module runs and updates what it points to between events.
    unsafe {
        let time = &*ptr::read_volatile(&raw const ngx_cached_time);
        (time.sec, time.msec as u64)
    }
}
