//! nginx's strings as byte slices, and as text for messages.

use std::{ptr, slice};

use nginx_sys::*;
pub use ngx::core::NgxStr;

/// The bytes of an `ngx_str_t`.
///
/// # Safety
/// `s` points at `len` readable bytes that stay valid for `'a`.
pub unsafe fn bytes<'a>(s: ngx_str_t) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { NgxStr::from_ngx_str(s) }.as_bytes()
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

/// The string, shown as text in a log line with what isn't UTF-8 replaced.
///
/// # Safety
/// As for [`bytes`].
pub unsafe fn text<'a>(s: ngx_str_t) -> &'a NgxStr {
    // SAFETY: the caller's promise.
    unsafe { NgxStr::from_ngx_str(s) }
}

/// nginx's hash of a lower-case key.
pub fn hash_key(key: &[u8]) -> ngx_uint_t {
    key.iter()
        .fold(0, |hash: ngx_uint_t, &byte| hash.wrapping_mul(31).wrapping_add(byte as ngx_uint_t))
}
