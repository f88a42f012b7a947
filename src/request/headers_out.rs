//! The headers of a response, set as nginx's own modules set them.

use std::ptr;

use nginx_sys::*;

use super::ctx::Ctx;
use crate::conf;
use crate::nginx::{self, Request};
use httptext::{escape, Escape};

/// Sets `Content-Type` to the location's default, unless that is turned off or Lua has set it.
///
/// # Safety
/// The request is live.
pub unsafe fn default_content_type(ctx: &Ctx) {
    if ctx.state.mime_set.replace(true) {
        return;
    }
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

/// Sets a response header; `append` keeps the values that it has, and no value removes it. `None` when there is no memory or the value isn't valid for that header.
///
/// # Safety
/// The request is live, and its header not yet sent.
pub unsafe fn set(ctx: &Ctx, name: &[u8], value: Option<&[u8]>, append: bool) -> Option<()> {
    // SAFETY: the caller's promise; everything nginx keeps is copied into the pool.
    unsafe {
        let r = ctx.r;
        let pool = (*r).pool;
        if name.is_empty() {
            return Some(());
        }
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
        ctx.state.headers_set.set(true);
        if lower == b"content-type" {
            ctx.state.mime_set.set(true);
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
                let text = std::str::from_utf8(nginx::bytes(value)).ok()?;
                // A sign would be sent as it is (RFC 9110, section 8.6: digits only).
                if !text.bytes().all(|byte| byte.is_ascii_digit()) {
                    return None;
                }
                let length: off_t = text.parse().ok()?;
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
