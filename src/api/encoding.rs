//! Escaping, argument lists, base64, quoting and digests, by the crate `httptext`; times in the formats of HTTP and cookies.

use std::ffi::c_int;
use std::ptr;

use httptext::args::{self, Decoder};
use httptext::{base64, digest, escape_into, unescape_into};
use nginx_sys::*;

use super::{arg, boundary, giving, scratch, spacer_str, without_status, NONE, OK, RAISE};
use crate::nginx;
use crate::nginx::cell::Worker;

pub use httptext::{escape, Escape};

/// Gives back what `fill` appends to an empty buffer.
fn give(out: &mut spacer_str, fill: impl FnOnce(&mut Vec<u8>)) {
    giving(out, |out| {
        // SAFETY: the text is read before the next boundary call, and `fill` makes none.
        let text = unsafe { scratch() };
        fill(text);
        out.set(text);
    });
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
    give(out, |text| {
        let kind = Escape::from_type(kind).unwrap_or(Escape::Component);
        // SAFETY: Lua's string.
        escape_into(text, unsafe { arg(data, len) }, kind);
    });
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

/// Splits a query, from the part that begins at `from` on, into decoded pairs. `max` parts at most are looked at; those
/// with an empty key are left out. Returns the number of pairs, or -1 - number when there are more parts, of which the
/// next begins at `next`, or less than any of these when it was misused.
#[no_mangle]
pub extern "C" fn spacer_decode_args(
    data: *const u8,
    len: usize,
    from: usize,
    next: &mut usize,
    pairs: *mut spacer_pair,
    max: usize,
) -> c_int {
    let mut n = 0;
    // SAFETY: Lua's string and its array of `max` elements. The pairs point into the scratch buffer once it is full.
    let status = boundary(|| unsafe {
        let text = scratch();
        let list = arg(data, len).get(from..).unwrap_or_default();
        let mut decoder = Decoder::new(list, max);
        let pairs = std::slice::from_raw_parts_mut(pairs, max);
        // The buffer moves while it grows: the places are found when it is full.
        let there = ptr::NonNull::<u8>::dangling().as_ptr().cast_const();
        while let Some(pair) = decoder.next_into(text) {
            let data = if pair.value.is_some() { there } else { ptr::null() };
            pairs[n].key = spacer_str { data: there, len: pair.key.len() };
            pairs[n].value = spacer_str { data, len: pair.value.map_or(0, |value| value.len()) };
            n += 1;
        }
        let mut at = text.as_ptr();
        for part in pairs[..n].iter_mut().flat_map(|pair| [&mut pair.key, &mut pair.value]) {
            if !part.data.is_null() {
                part.data = at;
                at = at.add(part.len);
            }
        }
        *next = len - decoder.rest().map_or(0, <[u8]>::len);
        decoder.rest().is_some() as c_int
    });
    match status {
        RAISE => c_int::MIN,
        OK => n as c_int,
        _ => -1 - n as c_int,
    }
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
    giving(out, |out| unsafe {
        let list = &mut *ENCODED.get();
        if first {
            list.clear();
            list.shrink_to(1 << 16);
        }
        let value = (!value.is_null()).then(|| arg(value, value_len));
        args::encode_into(list, arg(key, key_len), value);
        out.set(list);
    });
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
    without_status(0, || digest::crc32(unsafe { arg(data, len) }))
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
    give(out, |bytes| {
        // SAFETY: Lua's strings.
        let (key, data) = unsafe { (arg(key, key_len), arg(data, len)) };
        bytes.extend_from_slice(&digest::hmac_sha1(key, data));
    });
}

#[no_mangle]
pub extern "C" fn spacer_http_time(seconds: i64, out: &mut spacer_str) {
    // SAFETY: nginx writes at most 29 bytes.
    give(out, |text| unsafe {
        text.resize(64, 0);
        let end = ngx_http_time(text.as_mut_ptr(), seconds);
        text.truncate(end.offset_from(text.as_ptr()) as usize);
    });
}

#[no_mangle]
pub extern "C" fn spacer_cookie_time(seconds: i64, out: &mut spacer_str) {
    // SAFETY: nginx writes at most 29 bytes.
    give(out, |text| unsafe {
        text.resize(64, 0);
        let end = ngx_http_cookie_time(text.as_mut_ptr(), seconds);
        text.truncate(end.offset_from(text.as_ptr()) as usize);
    });
}

/// Seconds since the epoch of an HTTP time, in `seconds`.
#[no_mangle]
pub extern "C" fn spacer_parse_http_time(data: *const u8, len: usize, seconds: &mut i64) -> c_int {
    without_status(NONE, || {
        // SAFETY: Lua's string.
        let time = unsafe { ngx_parse_http_time(data.cast_mut(), len) };
        if time == nginx::ERROR as time_t {
            return NONE;
        }
        *seconds = time;
        OK
    })
}
