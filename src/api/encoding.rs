//! Escaping of URIs, arguments, header fields and SQL strings; times in the formats of HTTP and cookies.

use std::borrow::Cow;
use std::ffi::c_int;

use nginx_sys::*;

use super::{arg, scratch, spacer_str, NONE, OK};
use crate::nginx;

/// What is escaped where.
#[derive(Clone, Copy, PartialEq)]
pub enum Escape {
    Uri,
    Args,
    Component,
    Html,
    Refresh,
    Memcached,
    HeaderName,
    HeaderValue,
}

impl Escape {
    const fn escapes(self, byte: u8) -> bool {
        match self {
            Escape::Uri => byte <= b' ' || byte >= 0x7f || matches!(byte, b'#' | b'%' | b'?'),
            Escape::Args => {
                byte <= b' ' || byte >= 0x7f || matches!(byte, b'#' | b'%' | b'?' | b'+')
            }
            // Everything that RFC 3986 does not call unreserved, but for what `encodeURIComponent` leaves alone.
            Escape::Component => {
                !byte.is_ascii_alphanumeric()
                    && !matches!(
                        byte,
                        b'-' | b'.' | b'_' | b'~' | b'!' | b'*' | b'\'' | b'(' | b')'
                    )
            }
            Escape::Html => {
                byte <= b' ' || byte >= 0x7f || matches!(byte, b'"' | b'#' | b'%' | b'\'')
            }
            Escape::Refresh => byte <= b' ' || byte >= 0x7f || matches!(byte, b'"' | b'%' | b'\''),
            Escape::Memcached => byte <= b' ' || byte == b'%',
            Escape::HeaderName => {
                byte <= b' '
                    || byte >= 0x7f
                    || matches!(
                        byte,
                        b'"' | b'(' | b')' | b',' | b'/' | b':'
                            ..=b'@' | b'[' | b'\\' | b']' | b'{' | b'}'
                    )
            }
            Escape::HeaderValue => (byte < b' ' && byte != b'\t') || byte == 0x7f,
        }
    }

    /// [`Escape::escapes`] for every byte.
    const fn table(self) -> [bool; 256] {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = self.escapes(byte as u8);
            byte += 1;
        }
        table
    }

    fn escaped(self) -> &'static [bool; 256] {
        const TABLES: [[bool; 256]; 8] = [
            Escape::Uri.table(),
            Escape::Args.table(),
            Escape::Component.table(),
            Escape::Html.table(),
            Escape::Refresh.table(),
            Escape::Memcached.table(),
            Escape::HeaderName.table(),
            Escape::HeaderValue.table(),
        ];
        &TABLES[self as usize]
    }
}

/// `text` with the bytes that must be escaped as `%XX`.
pub fn escape(text: &[u8], kind: Escape) -> Cow<'_, [u8]> {
    let table = kind.escaped();
    if !text.iter().any(|&byte| table[byte as usize]) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len() * 2);
    escape_into(&mut out, text, kind);
    Cow::Owned(out)
}

fn escape_into(out: &mut Vec<u8>, text: &[u8], kind: Escape) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let table = kind.escaped();
    for &byte in text {
        if table[byte as usize] {
            out.extend_from_slice(&[b'%', HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]]);
        } else {
            out.push(byte);
        }
    }
}

/// Appends `text` with its `%XX` decoded and, in arguments, `+` as a space. An invalid escape stays as it is.
pub fn unescape_into(out: &mut Vec<u8>, text: &[u8], plus_is_space: bool) {
    let hex = |byte: Option<&u8>| byte.and_then(|&b| (b as char).to_digit(16));
    let mut i = 0;
    while i < text.len() {
        match text[i] {
            b'%' => match (hex(text.get(i + 1)), hex(text.get(i + 2))) {
                (Some(high), Some(low)) => {
                    out.push((high * 16 + low) as u8);
                    i += 2;
                }
                _ => out.push(b'%'),
            },
            b'+' if plus_is_space => out.push(b' '),
            byte => out.push(byte),
        }
        i += 1;
    }
}

/// `ngx.escape_uri(text, type)`, with nginx's numbers: 0 for a whole URI, 1 arguments, 2 a component, 3 HTML, 4 the
/// `Refresh` header, 5 and 6 memcached and mail, 7 a header's name, 8 its value.
#[no_mangle]
pub extern "C" fn spacer_escape_uri(
    data: *const u8,
    len: usize,
    kind: c_int,
    out: &mut spacer_str,
) {
    // SAFETY: Lua's string; the result is read before the next call.
    unsafe {
        let kind = match kind {
            0 => Escape::Uri,
            1 => Escape::Args,
            3 => Escape::Html,
            4 => Escape::Refresh,
            5 | 6 => Escape::Memcached,
            7 => Escape::HeaderName,
            8 => Escape::HeaderValue,
            _ => Escape::Component,
        };
        let text = scratch();
        escape_into(text, arg(data, len), kind);
        out.set(text);
    }
}

#[no_mangle]
pub extern "C" fn spacer_unescape_uri(data: *const u8, len: usize, out: &mut spacer_str) {
    // SAFETY: Lua's string; the result is read before the next call.
    unsafe {
        let text = scratch();
        unescape_into(text, arg(data, len), true);
        out.set(text);
    }
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
/// next begins at `next`.
#[no_mangle]
pub extern "C" fn spacer_decode_args(
    data: *const u8,
    len: usize,
    from: usize,
    next: &mut usize,
    pairs: *mut spacer_pair,
    max: usize,
) -> c_int {
    // SAFETY: Lua's string and its array of `max` elements. The pairs point into the scratch buffer once it is full.
    unsafe {
        let text = scratch();
        let pairs = std::slice::from_raw_parts_mut(pairs, max);
        let (n, more) = decode_args(arg(data, len).get(from..), text, pairs);
        *next = more.map_or(len, |more| from + more);
        let mut at = text.as_ptr();
        for part in pairs[..n].iter_mut().flat_map(|pair| [&mut pair.key, &mut pair.value]) {
            if !part.data.is_null() {
                part.data = at;
                at = at.add(part.len);
            }
        }
        match more {
            Some(_) => -1 - n as c_int,
            None => n as c_int,
        }
    }
}

/// Appends the keys and values of the first parts of a query to `text`, and puts their lengths into `pairs`, with a null
/// pointer for a value that isn't there. Gives the number of pairs, and where the part that follows the last begins.
fn decode_args(
    query: Option<&[u8]>,
    text: &mut Vec<u8>,
    pairs: &mut [spacer_pair],
) -> (usize, Option<usize>) {
    let (mut n, mut at) = (0, 0);
    let Some(query) = query else { return (0, None) };
    for part in query.split(|&byte| byte == b'&').take(pairs.len()) {
        at += part.len() + 1;
        let (key, value) = match part.iter().position(|&byte| byte == b'=') {
            Some(at) => (&part[..at], Some(&part[at + 1..])),
            None => (part, None),
        };
        let start = text.len();
        unescape_into(text, key, true);
        if text.len() == start {
            continue;
        }
        let there = std::ptr::NonNull::<u8>::dangling().as_ptr().cast_const();
        pairs[n].key = spacer_str { data: there, len: text.len() - start };
        let start = text.len();
        let data = value.map_or(std::ptr::null(), |value| {
            unescape_into(text, value, true);
            there
        });
        pairs[n].value = spacer_str { data, len: text.len() - start };
        n += 1;
    }
    (n, (at <= query.len()).then_some(at))
}

#[no_mangle]
pub extern "C" fn spacer_quote_sql_str(data: *const u8, len: usize, out: &mut spacer_str) {
    // SAFETY: Lua's string; the result is read before the next call.
    unsafe {
        let text = scratch();
        text.push(b'\'');
        for &byte in arg(data, len) {
            match byte {
                b'\0' => text.extend_from_slice(b"\\0"),
                b'\n' => text.extend_from_slice(b"\\n"),
                b'\r' => text.extend_from_slice(b"\\r"),
                b'\t' => text.extend_from_slice(b"\\t"),
                8 => text.extend_from_slice(b"\\b"),
                26 => text.extend_from_slice(b"\\Z"),
                b'\\' | b'\'' | b'"' => text.extend_from_slice(&[b'\\', byte]),
                _ => text.push(byte),
            }
        }
        text.push(b'\'');
        out.set(text);
    }
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
