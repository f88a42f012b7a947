//! `ngx.status`, `ngx.header`, `ngx.resp`: the response's status and headers.

use std::ffi::c_int;
use std::ptr;

use nginx_sys::*;

use super::encoding::{escape, Escape};
use super::{arg, error, spacer_str, with_request, NONE, OK, RAISE};
use crate::conf;
use crate::nginx::{self, log_error, Request};
use crate::request::ctx::Ctx;

/// A header as Lua reads it.
#[allow(non_camel_case_types)]
#[repr(C)]
pub struct spacer_header {
    pub name: spacer_str,
    pub value: spacer_str,
}

/// Sets `Content-Type` to the location's default, unless that is turned off or Lua has set it.
///
/// # Safety
/// The request is live.
pub unsafe fn default_content_type(ctx: &mut Ctx) {
    if ctx.mime_set {
        return;
    }
    ctx.mime_set = true;
    // SAFETY: the caller's promise.
    unsafe {
        let r = ctx.r;
        if conf::loc_conf(r).use_default_type != 0
            && (*r).headers_out.status != NGX_HTTP_NOT_MODIFIED as ngx_uint_t
        {
            ngx_http_set_content_type(r);
        }
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

/// As the boundary function; `None` when there is no memory or the value isn't valid for that header.
///
/// # Safety
/// The request is live, and its header not yet sent.
pub unsafe fn set(ctx: &mut Ctx, name: &[u8], value: Option<&[u8]>, append: bool) -> Option<()> {
    // SAFETY: the caller's promise; everything nginx keeps is copied into the pool.
    unsafe {
        let r = ctx.r;
        let pool = (*r).pool;
        let name = nginx::pool_str(pool, &escape(name, Escape::HeaderName))?;
        if conf::loc_conf(r).transform_underscores != 0 {
            dash(name);
        }
        let value = match value {
            Some(value) => Some(nginx::pool_str(pool, &escape(value, Escape::HeaderValue))?),
            None => None,
        };
        let lowcase = nginx::pool_str(pool, nginx::bytes(name))?;
        nginx::bytes_mut(lowcase).make_ascii_lowercase();
        let lower = nginx::bytes(lowcase);
        ctx.headers_set = true;
        if lower == b"content-type" {
            ctx.mime_set = true;
        }
        let out = &mut (*r).headers_out;
        let empty = value.is_none_or(|value| value.len == 0);
        match lower {
            b"content-type" => {
                let value = value.unwrap_or(nginx::str_of(b""));
                let text = nginx::bytes(value);
                out.content_type_len = text.iter().position(|&b| b == b';').unwrap_or(text.len());
                out.content_type = value;
                out.content_type_hash = nginx::hash_key(lower);
                out.content_type_lowcase = ptr::null_mut();
                out.charset = nginx::str_of(b"");
                remove(r, lower);
                return Some(());
            }
            b"content-length" => {
                remove(r, lower);
                out.content_length = ptr::null_mut();
                out.content_length_n = -1;
                if empty {
                    return Some(());
                }
                let value = value?;
                let length: off_t = std::str::from_utf8(nginx::bytes(value)).ok()?.parse().ok()?;
                if length < 0 {
                    return None;
                }
                let header = push(r, name, lowcase, value)?;
                out.content_length_n = length;
                out.content_length = header;
                return Some(());
            }
            b"last-modified" => {
                out.last_modified_time = match value {
                    Some(value) if value.len > 0 => ngx_parse_http_time(value.data, value.len),
                    _ => -1,
                };
            }
            b"location" => {
                remove(r, lower);
                out.location = ptr::null_mut();
                if !empty {
                    let header = push(r, name, lowcase, value?)?;
                    // nginx makes a `Location` that it knows of absolute; a path is left as Lua wrote it.
                    if nginx::bytes((*header).value).first() != Some(&b'/') {
                        out.location = header;
                    }
                }
                return Some(());
            }
            _ => {}
        }
        if let Some(slot) = single(out, lower) {
            remove(r, lower);
            *slot = ptr::null_mut();
            if !empty {
                *slot = push(r, name, lowcase, value?)?;
            }
            return Some(());
        }
        let is_list = matches!(lower, b"cache-control" | b"link");
        if !append {
            remove(r, lower);
            if is_list {
                clear_list(r, lower);
            }
        }
        if empty && (value.is_none() || is_list) {
            return Some(());
        }
        if empty && !append {
            return Some(());
        }
        let header = push(r, name, lowcase, value?)?;
        if is_list {
            link(r, lower, header)?;
        }
        Some(())
    }
}

/// nginx's own pointer to a header that it knows and that has one value.
fn single<'a>(
    out: &'a mut ngx_http_headers_out_t,
    lower: &[u8],
) -> Option<&'a mut *mut ngx_table_elt_t> {
    Some(match lower {
        b"server" => &mut out.server,
        b"date" => &mut out.date,
        b"content-encoding" => &mut out.content_encoding,
        b"refresh" => &mut out.refresh,
        b"last-modified" => &mut out.last_modified,
        b"content-range" => &mut out.content_range,
        b"accept-ranges" => &mut out.accept_ranges,
        b"www-authenticate" => &mut out.www_authenticate,
        b"expires" => &mut out.expires,
        b"etag" => &mut out.etag,
        _ => return None,
    })
}

/// Takes all headers of that name out of the response.
unsafe fn remove(r: Request, lower: &[u8]) {
    // SAFETY: the caller's request is live.
    unsafe {
        for header in nginx::list_items::<ngx_table_elt_t>(&mut (*r).headers_out.headers) {
            if header.hash != 0 && nginx::bytes(header.key).eq_ignore_ascii_case(lower) {
                header.hash = 0;
                header.value.len = 0;
            }
        }
    }
}

unsafe fn push(
    r: Request,
    name: ngx_str_t,
    lowcase: ngx_str_t,
    value: ngx_str_t,
) -> Option<*mut ngx_table_elt_t> {
    // SAFETY: the caller's request is live, and a pushed element is written whole.
    unsafe {
        let header: *mut ngx_table_elt_t = ngx_list_push(&mut (*r).headers_out.headers).cast();
        if header.is_null() {
            return None;
        }
        let mut element: ngx_table_elt_t = std::mem::zeroed();
        element.hash = nginx::hash_key(nginx::bytes(lowcase)).max(1);
        element.key = name;
        element.value = value;
        element.lowcase_key = lowcase.data;
        header.write(element);
        Some(header)
    }
}

/// Makes underscores dashes.
unsafe fn dash(name: ngx_str_t) {
    // SAFETY: the caller's string is its own.
    unsafe { nginx::bytes_mut(name) }
        .iter_mut()
        .filter(|byte| **byte == b'_')
        .for_each(|byte| *byte = b'-');
}

#[cfg(ngx_linked_headers)]
fn linked<'a>(out: &'a mut ngx_http_headers_out_t, lower: &[u8]) -> &'a mut *mut ngx_table_elt_t {
    if lower == b"link" {
        &mut out.link
    } else {
        &mut out.cache_control
    }
}

#[cfg(ngx_linked_headers)]
unsafe fn clear_list(r: Request, lower: &[u8]) {
    // SAFETY: the caller's request is live.
    unsafe { *linked(&mut (*r).headers_out, lower) = ptr::null_mut() }
}

#[cfg(ngx_linked_headers)]
unsafe fn link(r: Request, lower: &[u8], header: *mut ngx_table_elt_t) -> Option<()> {
    // SAFETY: the caller's request is live; the links end in null.
    unsafe {
        let mut slot: *mut *mut ngx_table_elt_t = linked(&mut (*r).headers_out, lower);
        while !(*slot).is_null() {
            slot = &mut (**slot).next;
        }
        *slot = header;
        Some(())
    }
}

#[cfg(not(ngx_linked_headers))]
fn linked<'a>(out: &'a mut ngx_http_headers_out_t, lower: &[u8]) -> &'a mut ngx_array_t {
    if lower == b"link" {
        &mut out.link
    } else {
        &mut out.cache_control
    }
}

#[cfg(not(ngx_linked_headers))]
unsafe fn clear_list(r: Request, lower: &[u8]) {
    // SAFETY: the caller's request is live.
    unsafe { linked(&mut (*r).headers_out, lower).nelts = 0 }
}

#[cfg(not(ngx_linked_headers))]
unsafe fn link(r: Request, lower: &[u8], header: *mut ngx_table_elt_t) -> Option<()> {
    // SAFETY: the caller's request is live; the array holds pointers to headers.
    unsafe {
        let array = linked(&mut (*r).headers_out, lower);
        if array.elts.is_null()
            && ngx_array_init(array, (*r).pool, 2, size_of::<*mut ngx_table_elt_t>()) != nginx::OK
        {
            return None;
        }
        let slot: *mut *mut ngx_table_elt_t = ngx_array_push(array).cast();
        if slot.is_null() {
            return None;
        }
        *slot = header;
        Some(())
    }
}

/// `ngx_array_init`, which nginx only has as an inline function.
#[cfg(not(ngx_linked_headers))]
unsafe fn ngx_array_init(
    array: &mut ngx_array_t,
    pool: *mut ngx_pool_t,
    n: usize,
    size: usize,
) -> ngx_int_t {
    // SAFETY: the caller's pool is live.
    let elts = unsafe { ngx_palloc(pool, n * size) };
    if elts.is_null() {
        return nginx::ERROR;
    }
    array.nelts = 0;
    array.size = size;
    array.nalloc = n;
    array.pool = pool;
    array.elts = elts;
    nginx::OK
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
