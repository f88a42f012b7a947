//! `ngx.req.get_headers`, `set_header`, `clear_header`, `raw_header`: the request's headers.

use std::ffi::c_int;

use nginx_sys::*;

use super::headers_out::spacer_header;
use super::{arg, error, giving, spacer_str, with_request, OK, RAISE};
use crate::nginx;
use crate::request::headers_in::set;
use crate::request::raw_header;

/// How many request headers there are.
#[no_mangle]
pub extern "C" fn spacer_req_count_headers() -> c_int {
    with_request(|ctx| {
        // SAFETY: the request is live.
        unsafe {
            nginx::list_parts::<ngx_table_elt_t>(&mut (*ctx.r).headers_in.headers)
                .map(|p| p.len())
                .sum::<usize>() as c_int
        }
    })
}

/// The request headers, into `headers`, which has room for `max`. The names are in lower case unless `raw`.
#[no_mangle]
pub extern "C" fn spacer_req_get_headers(
    headers: *mut spacer_header,
    max: usize,
    raw: bool,
) -> c_int {
    with_request(|ctx| {
        // SAFETY: Lua's array of `max` elements, and a live request; nginx keeps each name in lower case too.
        unsafe {
            let mut n = 0;
            for header in nginx::list_items::<ngx_table_elt_t>(&mut (*ctx.r).headers_in.headers) {
                if n == max {
                    break;
                }
                let entry = &mut *headers.add(n);
                entry.name.data = if raw || header.lowcase_key.is_null() {
                    header.key.data
                } else {
                    header.lowcase_key
                };
                entry.name.len = header.key.len;
                entry.value.set(nginx::bytes(header.value));
                n += 1;
            }
            n as c_int
        }
    })
}

/// Sets a request header; `append` keeps the values that it has. A null value removes it.
#[no_mangle]
pub extern "C" fn spacer_req_set_header(
    name: *const u8,
    name_len: usize,
    value: *const u8,
    value_len: usize,
    append: bool,
) -> c_int {
    with_request(|ctx| {
        // SAFETY: Lua's strings, and a live request.
        unsafe {
            let r = ctx.r;
            if (*r).http_version < NGX_HTTP_VERSION_10 as ngx_uint_t {
                // HTTP/0.9 has no headers.
                return OK;
            }
            let value = if value.is_null() { None } else { Some(arg(value, value_len)) };
            match set(r, arg(name, name_len), value, append) {
                Some(()) => OK,
                None => error(RAISE, format_args!("failed to set request header")),
            }
        }
    })
}

/// The request's header as the client sent it.
#[no_mangle]
pub extern "C" fn spacer_req_raw_header(no_request_line: bool, out: &mut spacer_str) -> c_int {
    with_request(|ctx| {
        // SAFETY: a live main request; nginx parsed the header in place and kept the buffers.
        unsafe {
            let r = (*ctx.r).main;
            let major = (*r).http_version / 1000;
            if major > 1 {
                // A header that was compressed has no text of its own.
                return error(RAISE, format_args!("http{major} requests not supported yet"));
            }
            let text = super::scratch();
            if !raw_header::collect(r, text) {
                return error(
                    RAISE,
                    format_args!("the request's header is no longer in nginx's buffers"),
                );
            }
            if no_request_line {
                let end =
                    text.iter().position(|&byte| byte == b'\n').map_or(text.len(), |at| at + 1);
                text.drain(..end);
            }
            out.set(text);
        }
        OK
    })
}

/// A header's name as the tables of headers have it: in lower case, with dashes.
#[no_mangle]
pub extern "C" fn spacer_header_key(name: *const u8, len: usize, out: &mut spacer_str) {
    // SAFETY: Lua's string; the result is read before the next call.
    giving(out, |out| unsafe {
        let text = super::scratch();
        text.extend(arg(name, len).iter().map(|&byte| {
            if byte == b'_' {
                b'-'
            } else {
                byte.to_ascii_lowercase()
            }
        }));
        out.set(text);
    });
}
