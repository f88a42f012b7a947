//! Escaping, argument lists, base64, quoting and digests, by the crate `httptext`; times in the formats of HTTP and cookies.

use std::ffi::c_int;
use std::ptr;

use httptext::args::{self, Decoder};
use httptext::{base64, digest, escape_into, unescape_into};
use nginx_sys::*;

use super::{arg, scratch, spacer_str, NONE, OK};
use crate::nginx;
use crate::nginx::cell::Worker;

pub use httptext::{escape, Escape};

/// Gives back what `fill` appends to an empty buffer.
fn give(out: &mut spacer_str, fill: impl FnOnce(&mut Vec<u8>)) {
    // SAFETY: the text is read before the next boundary call, and `fill` makes none.
    let text = unsafe { scratch() };
    fill(text);
    out.set(text);
}

/// As [`give`], or `NONE` where `fill` fails.
fn give_some<E>(out: &mut spacer_str, fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> c_int {
    let mut status = OK;
    give(out, |text| {
        if fill(text).is_err() {
            status = NONE;
        }
    });
    status
}

/// `kind` is one of `ngx.escape_uri`'s types; another stands for a component.
#[no_mangle]
pub extern "C" fn spacer_escape_uri(
    data: *const u8,
    len: usize,
    kind: c_int,
    out: &mut spacer_str,
) {
    let kind = Escape::from_type(kind).unwrap_or(Escape::Component);
    // SAFETY: Lua's string.
    give(out, |text| escape_into(text, unsafe { arg(data, len) }, kind));
}

#[no_mangle]
pub extern "C" fn spacer_unescape_uri(data: *const u8, len: usize, out: &mut spacer_str) {
    // SAFETY: Lua's string.
    give(out, |text| unescape_into(text, unsafe { arg(data, len) }));
}

/// A key and its value in a query; a null value stands for a key without `=`.
#[allow(non_camel_case_types)]
#[repr(C)]
pub struct spacer_pair {
    pub key: spacer_str,
    pub value: spacer_str,
}

/// Splits a query into decoded pairs. Its first `max` parts are looked at; those with an empty key are left out.
/// Returns the number of pairs, or -1 - number when there were more parts.
#[no_mangle]
pub extern "C" fn spacer_decode_args(
    data: *const u8,
    len: usize,
    pairs: *mut spacer_pair,
    max: usize,
) -> c_int {
    // SAFETY: Lua's string and its array of `max` elements. Decoding never lengthens, so the scratch buffer is large
    // enough from the start and nothing in it moves.
    unsafe {
        let query = arg(data, len);
        let text = scratch();
        text.reserve(query.len());
        let mut decoder = Decoder::new(query, max);
        let mut n = 0;
        while let Some(pair) = decoder.next_into(text) {
            let (key, value) = (&text[pair.key], pair.value.map(|value| &text[value]));
            let to = pairs.add(n);
            (*to).key.set(key);
            match value {
                Some(value) => (*to).value.set(value),
                None => (*to).value = spacer_str { data: ptr::null(), len: 0 },
            }
            n += 1;
        }
        let n = n as c_int;
        if decoder.truncated() {
            -1 - n
        } else {
            n
        }
    }
}

/// How many pairs a query can have at most.
#[no_mangle]
pub extern "C" fn spacer_count_args(data: *const u8, len: usize) -> usize {
    // SAFETY: Lua's string.
    args::count(unsafe { arg(data, len) })
}

/// What `spacer_encode_arg` has put together.
static ENCODED: Worker<Vec<u8>> = Worker::new(Vec::new());

/// Appends a pair to the list that is being encoded, which `first` begins; a null value is none. Gives the list.
#[no_mangle]
pub extern "C" fn spacer_encode_arg(
    first: bool,
    key: *const u8,
    key_len: usize,
    value: *const u8,
    value_len: usize,
    out: &mut spacer_str,
) {
    // SAFETY: Lua's strings; one thread, and the list is read before the next is begun.
    unsafe {
        let list = &mut *ENCODED.get();
        if first {
            list.clear();
            list.shrink_to(1 << 16);
        }
        let value = (!value.is_null()).then(|| arg(value, value_len));
        args::encode_into(list, arg(key, key_len), value);
        out.set(list);
    }
}

#[no_mangle]
pub extern "C" fn spacer_quote_sql_str(data: *const u8, len: usize, out: &mut spacer_str) {
    // SAFETY: Lua's string.
    give(out, |text| httptext::quote_sql_into(text, unsafe { arg(data, len) }));
}

#[no_mangle]
pub extern "C" fn spacer_encode_base64(
    data: *const u8,
    len: usize,
    padding: bool,
    out: &mut spacer_str,
) {
    // SAFETY: Lua's string.
    give(out, |text| base64::encode_into(text, unsafe { arg(data, len) }, padding));
}

#[no_mangle]
pub extern "C" fn spacer_encode_base64url(data: *const u8, len: usize, out: &mut spacer_str) {
    // SAFETY: Lua's string.
    give(out, |text| base64::encode_url_into(text, unsafe { arg(data, len) }));
}

/// `NONE` for what is no base64, here and below.
#[no_mangle]
pub extern "C" fn spacer_decode_base64(data: *const u8, len: usize, out: &mut spacer_str) -> c_int {
    // SAFETY: Lua's string.
    give_some(out, |bytes| base64::decode_into(bytes, unsafe { arg(data, len) }))
}

#[no_mangle]
pub extern "C" fn spacer_decode_base64url(
    data: *const u8,
    len: usize,
    out: &mut spacer_str,
) -> c_int {
    // SAFETY: Lua's string.
    give_some(out, |bytes| base64::decode_url_into(bytes, unsafe { arg(data, len) }))
}

#[no_mangle]
pub extern "C" fn spacer_decode_base64mime(
    data: *const u8,
    len: usize,
    out: &mut spacer_str,
) -> c_int {
    // SAFETY: Lua's string.
    give_some(out, |bytes| base64::decode_mime_into(bytes, unsafe { arg(data, len) }))
}

#[no_mangle]
pub extern "C" fn spacer_crc32(data: *const u8, len: usize) -> u32 {
    // SAFETY: Lua's string.
    digest::crc32(unsafe { arg(data, len) })
}

#[no_mangle]
pub extern "C" fn spacer_md5(data: *const u8, len: usize, out: &mut spacer_str) {
    // SAFETY: Lua's string.
    give(out, |text| text.extend_from_slice(&digest::md5_hex(unsafe { arg(data, len) })));
}

#[no_mangle]
pub extern "C" fn spacer_md5_bin(data: *const u8, len: usize, out: &mut spacer_str) {
    // SAFETY: Lua's string.
    give(out, |bytes| bytes.extend_from_slice(&digest::md5(unsafe { arg(data, len) })));
}

#[no_mangle]
pub extern "C" fn spacer_sha1_bin(data: *const u8, len: usize, out: &mut spacer_str) {
    // SAFETY: Lua's string.
    give(out, |bytes| bytes.extend_from_slice(&digest::sha1(unsafe { arg(data, len) })));
}

#[no_mangle]
pub extern "C" fn spacer_hmac_sha1(
    key: *const u8,
    key_len: usize,
    data: *const u8,
    len: usize,
    out: &mut spacer_str,
) {
    // SAFETY: Lua's strings.
    let (key, data) = unsafe { (arg(key, key_len), arg(data, len)) };
    give(out, |bytes| bytes.extend_from_slice(&digest::hmac_sha1(key, data)));
}

#[no_mangle]
pub extern "C" fn spacer_http_time(seconds: i64, out: &mut spacer_str) {
    // SAFETY: nginx writes at most 29 bytes; the result is read before the next call.
    unsafe {
        let text = scratch();
        text.resize(64, 0);
        let end = ngx_http_time(text.as_mut_ptr(), seconds);
        text.truncate(end.offset_from(text.as_ptr()) as usize);
        out.set(text);
    }
}

#[no_mangle]
pub extern "C" fn spacer_cookie_time(seconds: i64, out: &mut spacer_str) {
    // SAFETY: nginx writes at most 29 bytes; the result is read before the next call.
    unsafe {
        let text = scratch();
        text.resize(64, 0);
        let end = ngx_http_cookie_time(text.as_mut_ptr(), seconds);
        text.truncate(end.offset_from(text.as_ptr()) as usize);
        out.set(text);
    }
}

/// Seconds since the epoch of an HTTP time, in `seconds`.
#[no_mangle]
pub extern "C" fn spacer_parse_http_time(data: *const u8, len: usize, seconds: &mut i64) -> c_int {
    // SAFETY: Lua's string.
    let time = unsafe { ngx_parse_http_time(data.cast_mut(), len) };
    if time == nginx::ERROR as time_t {
        return NONE;
    }
    *seconds = time;
    OK
}
