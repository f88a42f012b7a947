//! nginx's strings as byte slices, and as text for messages.

use std::fmt;
use std::{ptr, slice};

use nginx_sys::*;

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

/// nginx's hash of a lower-case key.
pub fn hash_key(key: &[u8]) -> ngx_uint_t {
    key.iter()
        .fold(0, |hash: ngx_uint_t, &byte| hash.wrapping_mul(31).wrapping_add(byte as ngx_uint_t))
}
