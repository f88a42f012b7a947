//! Thin wrappers over nginx's own calls: strings, pools, logging, module contexts. What is `unsafe` about nginx's
//! pointers stays here as far as it can.

use std::fmt;
use std::io::Write as _;
use std::{ptr, slice};

use nginx_sys::*;

pub type Request = *mut ngx_http_request_t;

pub const OK: ngx_int_t = NGX_OK as ngx_int_t;
pub const ERROR: ngx_int_t = NGX_ERROR as ngx_int_t;
pub const AGAIN: ngx_int_t = NGX_AGAIN as ngx_int_t;
pub const DONE: ngx_int_t = NGX_DONE as ngx_int_t;
pub const DECLINED: ngx_int_t = NGX_DECLINED as ngx_int_t;

/// The bytes of an `ngx_str_t`.
///
/// # Safety
/// `s` points at `len` readable bytes that stay valid for `'a`.
pub unsafe fn bytes<'a>(s: ngx_str_t) -> &'a [u8] {
    // SAFETY: the caller's promise; an empty string may have a null pointer.
    unsafe { raw_bytes(s.data, s.len) }
}

/// The bytes at `data`, which may be null when `len` is 0.
///
/// # Safety
/// As for [`bytes`].
pub unsafe fn raw_bytes<'a>(data: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        &[]
    } else {
        // SAFETY: the caller's promise.
        unsafe { slice::from_raw_parts(data, len) }
    }
}

/// The bytes of an `ngx_str_t`, to be changed.
///
/// # Safety
/// As for [`bytes`], and nobody else refers to them.
pub unsafe fn bytes_mut<'a>(s: ngx_str_t) -> &'a mut [u8] {
    if s.len == 0 {
        &mut []
    } else {
        // SAFETY: the caller's promise.
        unsafe { slice::from_raw_parts_mut(s.data, s.len) }
    }
}

/// An `ngx_str_t` over bytes that live long enough for what nginx does with it.
pub const fn str_of(s: &[u8]) -> ngx_str_t {
    ngx_str_t { len: s.len(), data: s.as_ptr().cast_mut() }
}

/// What nginx has for no string at all: a variable of it is "not found" rather than empty.
pub const NULL_STR: ngx_str_t = ngx_str_t { len: 0, data: ptr::null_mut() };

/// Copies `s` into the pool, with a NUL after it for the parts of nginx that expect one.
///
/// # Safety
/// `pool` is a live pool.
pub unsafe fn pool_str(pool: *mut ngx_pool_t, s: &[u8]) -> Option<ngx_str_t> {
    // SAFETY: the pool is live, and the copy stays within what was allocated.
    unsafe {
        let data: *mut u8 = ngx_pnalloc(pool, s.len() + 1).cast();
        if data.is_null() {
            return None;
        }
        ptr::copy_nonoverlapping(s.as_ptr(), data, s.len());
        *data.add(s.len()) = 0;
        Some(ngx_str_t { len: s.len(), data })
    }
}

/// The parts one after the other, in the pool.
///
/// # Safety
/// `pool` is a live pool.
pub unsafe fn pool_concat(pool: *mut ngx_pool_t, parts: &[&[u8]]) -> Option<ngx_str_t> {
    // SAFETY: as in `pool_str`.
    unsafe {
        let len = parts.iter().map(|p| p.len()).sum();
        let data: *mut u8 = ngx_pnalloc(pool, len + 1).cast();
        if data.is_null() {
            return None;
        }
        let mut at = data;
        for part in parts {
            ptr::copy_nonoverlapping(part.as_ptr(), at, part.len());
            at = at.add(part.len());
        }
        *at = 0;
        Some(ngx_str_t { len, data })
    }
}

/// A zeroed `T` in the pool.
///
/// # Safety
/// `pool` is a live pool and all-zero bytes are a valid `T`.
pub unsafe fn pool_new<T>(pool: *mut ngx_pool_t) -> *mut T {
    // SAFETY: the caller's promise.
    unsafe { ngx_pcalloc(pool, size_of::<T>()).cast() }
}

/// Moves `value` into the pool and drops it when the pool is destroyed.
///
/// # Safety
/// `pool` is a live pool.
pub unsafe fn pool_box<T>(pool: *mut ngx_pool_t, value: T) -> *mut T {
    unsafe extern "C" fn drop_value<T>(data: *mut std::ffi::c_void) {
        // SAFETY: `data` is the value written below, dropped once, by the pool's clean-up.
        unsafe { ptr::drop_in_place(data.cast::<T>()) }
    }
    // SAFETY: the pool aligns to NGX_ALIGNMENT, which covers the types that this module keeps in pools.
    unsafe {
        let cleanup = ngx_pool_cleanup_add(pool, size_of::<T>());
        if cleanup.is_null() {
            return ptr::null_mut();
        }
        let data: *mut T = (*cleanup).data.cast();
        data.write(value);
        (*cleanup).handler = Some(drop_value::<T>);
        data
    }
}

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
            $crate::ngx::log_fmt($level as u32, log, 0, format_args!($($arg)+));
        }
    }};
}
pub(crate) use log_error;

/// Logs at `debug_http` on the request's log; costs one test of a bit when debugging is off.
macro_rules! log_debug {
    ($r:expr, $($arg:tt)+) => {{
        #[cfg(ngx_feature = "debug")]
        {
            let log: *mut nginx_sys::ngx_log_t = (*(*$r).connection).log;
            if (*log).log_level & nginx_sys::NGX_LOG_DEBUG_HTTP as nginx_sys::ngx_uint_t != 0 {
                $crate::ngx::log_fmt(nginx_sys::NGX_LOG_DEBUG, log, 0, format_args!($($arg)+));
            }
        }
    }};
}
pub(crate) use log_debug;

/// Bytes shown as text in a log line, with what isn't UTF-8 replaced.
pub struct Text<'a>(pub &'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}

/// The bytes of `s` as [`Text`].
///
/// # Safety
/// As for [`bytes`].
pub unsafe fn text<'a>(s: ngx_str_t) -> Text<'a> {
    // SAFETY: the caller's promise.
    Text(unsafe { bytes(s) })
}

/// The count of reasons why the main request is alive.
unsafe fn count(r: Request) -> *mut u16 {
    // SAFETY: a live request has a live main request, whose first bit field of 16 bits is the count.
    unsafe { (&raw mut (*(*r).main)._bitfield_1).cast() }
}

/// Adds a reason why the main request is alive.
///
/// # Safety
/// `r` is a live request.
pub unsafe fn hold(r: Request) {
    // SAFETY: the caller's promise.
    unsafe { *count(r) += 1 }
}

/// Takes a reason away, one that is not the last.
///
/// # Safety
/// As for [`hold`].
pub unsafe fn release(r: Request) {
    // SAFETY: the caller's promise.
    unsafe { *count(r) -= 1 }
}

/// The module's configuration in one of nginx's arrays of them.
///
/// # Safety
/// `confs` is such an array, and the module's entry in it is a `T`.
pub unsafe fn module_conf<'a, T>(
    confs: *mut *mut std::ffi::c_void,
    module: &ngx_module_t,
) -> &'a mut T {
    // SAFETY: the caller's promise; nginx made the entry with the module's own `create_*_conf`.
    unsafe { &mut *(*confs.add(module.ctx_index)).cast::<T>() }
}

/// The parts of a list, as slices.
///
/// # Safety
/// `list` is a live list of `T`.
pub unsafe fn list_parts<'a, T: 'a>(list: *mut ngx_list_t) -> impl Iterator<Item = &'a mut [T]> {
    // SAFETY: a part's `elts` holds `nelts` elements; parts are linked until null.
    unsafe {
        let mut part: *mut ngx_list_part_t = &mut (*list).part;
        std::iter::from_fn(move || {
            if part.is_null() {
                return None;
            }
            let elements = if (*part).nelts == 0 {
                &mut [][..]
            } else {
                slice::from_raw_parts_mut((*part).elts.cast::<T>(), (*part).nelts)
            };
            part = (*part).next;
            Some(elements)
        })
    }
}

/// All elements of a list.
///
/// # Safety
/// `list` is a live list of `T`.
pub unsafe fn list_items<'a, T: 'a>(list: *mut ngx_list_t) -> impl Iterator<Item = &'a mut T> {
    // SAFETY: the caller's promise.
    unsafe { list_parts::<T>(list) }.flatten()
}

/// nginx's hash of a lower-case key.
pub fn hash_key(key: &[u8]) -> ngx_uint_t {
    key.iter()
        .fold(0, |hash: ngx_uint_t, &byte| hash.wrapping_mul(31).wrapping_add(byte as ngx_uint_t))
}

/// nginx's cached time: seconds and milliseconds.
pub fn cached_time() -> (i64, u64) {
    // SAFETY: nginx sets the pointer before any module runs and updates what it points to between events.
    unsafe {
        let time = &*ptr::read_volatile(&raw const ngx_cached_time);
        (time.sec, time.msec as u64)
    }
}
