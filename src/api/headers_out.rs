//! `ngx.status`, `ngx.header`, `ngx.resp`: the response's status and headers.

use std::ffi::c_int;

use nginx_sys::*;

use super::{arg, error, spacer_str, with_request, NONE, OK, RAISE};
use crate::conf;
use crate::nginx::{self, log_error};
use crate::request::headers_out::set;

/// A header as Lua reads it.
#[allow(non_camel_case_types)]
#[repr(C)]
pub struct spacer_header {
    pub name: spacer_str,
    pub value: spacer_str,
}

impl spacer_header {
    pub fn new(name: &[u8], value: &[u8]) -> spacer_header {
        spacer_header { name: spacer_str::new(name), value: spacer_str::new(value) }
    }
}

#[no_mangle]
pub extern "C" fn spacer_status() -> c_int {
    with_request(|ctx| {
        // SAFETY: the request is live.
        let r = unsafe { &*ctx.r };
        let status = if r.err_status != 0 {
            r.err_status
        } else if r.headers_out.status != 0 {
            r.headers_out.status
        } else if r.http_version == NGX_HTTP_VERSION_9 as ngx_uint_t {
            9
        } else {
            0
        };
        status as c_int
    })
}

#[no_mangle]
pub extern "C" fn spacer_set_status(status: c_int) -> c_int {
    with_request(|ctx| {
        // SAFETY: the request is live.
        unsafe {
            if ctx.header_sent() {
                log_error!(
                    NGX_LOG_ERR,
                    ctx.log(),
                    "attempt to set ngx.status after sending out response headers"
                );
                return OK;
            }
            let r = ctx.r;
            (*r).headers_out.status = status as ngx_uint_t;
            if (*r).err_status != 0 {
                (*r).err_status = 0;
            }
            if status == 101 {
                // A switch of protocols has neither length nor chunks.
                (*r).headers_out.status_line = nginx::str_of(b"101 Switching Protocols");
            } else {
                (*r).headers_out.status_line.len = 0;
            }
        }
        OK
    })
}

/// Sets a response header; `append` keeps the values that it has. A null value removes it.
#[no_mangle]
pub extern "C" fn spacer_set_header(
    name: *const u8,
    name_len: usize,
    value: *const u8,
    value_len: usize,
    append: bool,
) -> c_int {
    with_request(|ctx| {
        // SAFETY: Lua's strings, and a live request.
        unsafe {
            if ctx.header_sent() {
                log_error!(
                    NGX_LOG_ERR,
                    ctx.log(),
                    "attempt to set ngx.header.HEADER after sending out response headers"
                );
                return OK;
            }
            let name = arg(name, name_len);
            let value = if value.is_null() { None } else { Some(arg(value, value_len)) };
            match set(ctx, name, value, append) {
                Some(()) => OK,
                None => error(RAISE, format_args!("failed to set header")),
            }
        }
    })
}

/// The values of a response header, into `values`; returns how many there are, at most `max`.
#[no_mangle]
pub extern "C" fn spacer_get_header(
    name: *const u8,
    name_len: usize,
    values: *mut spacer_str,
    max: usize,
) -> c_int {
    with_request(|ctx| {
        // SAFETY: Lua's string and its array of `max` elements, and a live request.
        unsafe {
            let r = ctx.r;
            let mut name = arg(name, name_len).to_vec();
            if conf::loc_conf(r).transform_underscores != 0 {
                name.iter_mut().filter(|byte| **byte == b'_').for_each(|byte| *byte = b'-');
            }
            let lower = name.to_ascii_lowercase();
            let out = &mut (*r).headers_out;
            if lower == b"content-type" {
                if out.content_type.len == 0 {
                    return NONE;
                }
                (*values).set(nginx::bytes(out.content_type));
                return 1;
            }
            if lower == b"transfer-encoding" && (*r).chunked() != 0 {
                (*values).set(b"chunked");
                return 1;
            }
            if lower == b"last-modified"
                && out.last_modified.is_null()
                && out.last_modified_time != -1
            {
                let text = super::scratch();
                text.resize(64, 0);
                let end = ngx_http_time(text.as_mut_ptr(), out.last_modified_time);
                text.truncate(end.offset_from(text.as_ptr()) as usize);
                (*values).set(text);
                return 1;
            }
            if lower == b"content-length" && out.content_length.is_null() {
                if out.content_length_n < 0 {
                    return NONE;
                }
                let text = super::scratch();
                text.extend_from_slice(out.content_length_n.to_string().as_bytes());
                (*values).set(text);
                return 1;
            }
            let mut n = 0;
            for header in nginx::list_items::<ngx_table_elt_t>(&mut out.headers) {
                if n < max
                    && header.hash != 0
                    && nginx::bytes(header.key).eq_ignore_ascii_case(&lower)
                {
                    (*values.add(n)).set(nginx::bytes(header.value));
                    n += 1;
                }
            }
            if n == 0 && lower == b"location" {
                if let Some(location) =
                    out.location.as_ref().filter(|location| location.value.len > 0)
                {
                    (*values).set(nginx::bytes(location.value));
                    return 1;
                }
            }
            n as c_int
        }
    })
}

/// How many response headers there are at most.
#[no_mangle]
pub extern "C" fn spacer_count_headers() -> c_int {
    with_request(|ctx| {
        // SAFETY: the request is live.
        unsafe {
            let n: usize = nginx::list_parts::<ngx_table_elt_t>(&mut (*ctx.r).headers_out.headers)
                .map(|part| part.len())
                .sum();
            // Content-Type, Content-Length, Connection and Transfer-Encoding aren't in the list.
            n as c_int + 4
        }
    })
}

/// The response headers, into `headers`, which has room for `max`; returns how many there are. The names are in
/// lower case unless `raw`.
#[no_mangle]
pub extern "C" fn spacer_get_headers(headers: *mut spacer_header, max: usize, raw: bool) -> c_int {
    with_request(|ctx| {
        // SAFETY: Lua's array of `max` elements, and a live request. The names in lower case and the length are in
        // the scratch buffer, which is sized before anything points into it.
        unsafe {
            let r = ctx.r;
            let out = &mut (*r).headers_out;
            let text = super::scratch();
            let names: usize =
                nginx::list_items::<ngx_table_elt_t>(&mut out.headers).map(|h| h.key.len).sum();
            text.reserve(names + 32);
            let mut n = 0;
            let mut add = |name: &[u8], value: &[u8]| {
                if n < max {
                    (*headers.add(n)).name.set(name);
                    (*headers.add(n)).value.set(value);
                    n += 1;
                }
            };
            if out.content_type.len > 0 {
                add(b"content-type", nginx::bytes(out.content_type));
            }
            if out.content_length.is_null() && out.content_length_n >= 0 {
                let at = text.len();
                text.extend_from_slice(out.content_length_n.to_string().as_bytes());
                add(b"content-length", &text[at..]);
            }
            add(
                b"connection",
                if out.status == NGX_HTTP_SWITCHING_PROTOCOLS as ngx_uint_t {
                    b"upgrade"
                } else if (*r).keepalive() != 0 {
                    b"keep-alive"
                } else {
                    b"close"
                },
            );
            if (*r).chunked() != 0 {
                add(b"transfer-encoding", b"chunked");
            }
            for header in nginx::list_items::<ngx_table_elt_t>(&mut out.headers) {
                if header.hash == 0 {
                    continue;
                }
                let name = nginx::bytes(header.key);
                if raw {
                    add(name, nginx::bytes(header.value));
                } else {
                    let at = text.len();
                    text.extend(name.iter().map(u8::to_ascii_lowercase));
                    add(
                        nginx::raw_bytes(text.as_ptr().add(at), name.len()),
                        nginx::bytes(header.value),
                    );
                }
            }
            n as c_int
        }
    })
}
