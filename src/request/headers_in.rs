//! The headers of a request, changed as nginx itself would have read them.

use std::ptr;

use nginx_sys::*;

use crate::nginx::{self, Request};
use httptext::{escape, Escape};

/// Sets a request header; `append` keeps the values that it has, and no value removes it. `None` when there is no memory.
///
/// # Safety
/// `r` is live.
pub unsafe fn set(r: Request, name: &[u8], value: Option<&[u8]>, append: bool) -> Option<()> {
    // SAFETY: the caller's promise; everything nginx keeps is copied into the pool.
    unsafe {
        if (*r).headers_in.headers.last.is_null() {
            // A bad request, of which nginx has read no headers.
            return Some(());
        }
        let pool = (*r).pool;
        let name = escape(name, Escape::HeaderName);
        let lower = name.to_ascii_lowercase();
        let known = known_header(&lower);
        let unique = known.is_some() && !is_list(&lower);
        if !append || unique {
            remove(r, &lower);
            forget(r, known, &lower);
        }
        let Some(value) = value.filter(|value| !value.is_empty() || known.is_none()) else {
            return Some(());
        };
        // Later versions of nginx have more fields.
        let mut element: ngx_table_elt_t = std::mem::zeroed();
        element.hash = nginx::hash_key(&lower);
        element.key = nginx::pool_str(pool, &name)?;
        element.value = nginx::pool_str(pool, &escape(value, Escape::HeaderValue))?;
        element.lowcase_key = nginx::pool_str(pool, &lower)?.data;
        let header: *mut ngx_table_elt_t = ngx_list_push(&mut (*r).headers_in.headers).cast();
        if header.is_null() {
            return None;
        }
        header.write(element);
        if let Some(known) = known {
            note(r, known, &lower, header);
        }
        Some(())
    }
}

/// nginx's own entry for a request header that it knows.
fn known_header(lower: &[u8]) -> Option<&'static ngx_http_header_t> {
    // SAFETY: nginx's table ends with an empty name and is never changed.
    unsafe {
        let mut entry = ptr::addr_of!(ngx_http_headers_in).cast::<ngx_http_header_t>();
        while (*entry).name.len > 0 {
            if nginx::bytes((*entry).name).eq_ignore_ascii_case(lower) {
                return Some(&*entry);
            }
            entry = entry.add(1);
        }
        None
    }
}

/// Headers of which nginx keeps every line.
fn is_list(lower: &[u8]) -> bool {
    matches!(lower, b"cookie" | b"x-forwarded-for")
}

/// Undoes what nginx derived from a header that is gone.
unsafe fn forget(r: Request, known: Option<&ngx_http_header_t>, lower: &[u8]) {
    let Some(known) = known else { return };
    // SAFETY: the entry's offset is that of its field in `headers_in`.
    unsafe {
        let headers = &mut (*r).headers_in;
        let field = ptr::from_mut(headers).byte_add(known.offset);
        if is_list(lower) && !cfg!(ngx_linked_headers) {
            // Not only emptied: a subrequest shares the elements with its parent.
            *field.cast::<ngx_array_t>() = std::mem::zeroed();
        } else if known.offset != 0 || lower == b"host" {
            *field.cast::<*mut ngx_table_elt_t>() = ptr::null_mut();
        }
        match lower {
            b"content-length" => headers.content_length_n = -1,
            b"connection" => headers.set_connection_type(0),
            b"host" => headers.server = nginx::str_of(b""),
            b"keep-alive" => headers.keep_alive_n = -1,
            b"user-agent" => {
                headers.set_msie(0);
                headers.set_msie6(0);
                headers.set_opera(0);
                headers.set_gecko(0);
                headers.set_chrome(0);
                headers.set_safari(0);
                headers.set_konqueror(0);
            }
            _ => {}
        }
    }
}

/// Tells nginx of a header that it derives things from.
unsafe fn note(r: Request, known: &ngx_http_header_t, lower: &[u8], header: *mut ngx_table_elt_t) {
    // SAFETY: the handler is nginx's own for this header; `host`'s may end the request, so its work is done here.
    unsafe {
        let headers = &mut (*r).headers_in;
        if lower == b"host" {
            headers.host = header;
            headers.server = server_name(r, (*header).value);
            forget_host_variable(r);
            return;
        }
        if let Some(handler) = known.handler {
            handler(r, header, known.offset);
        }
        match lower {
            b"content-length" => {
                let value = (*header).value;
                headers.content_length_n = ngx_atoof(value.data, value.len);
            }
            b"keep-alive" => {
                let value = (*header).value;
                headers.keep_alive_n = ngx_atotm(value.data, value.len);
            }
            b"connection" => {
                let value = nginx::bytes((*header).value).to_ascii_lowercase();
                let has = |word: &[u8]| value.windows(word.len()).any(|window| window == word);
                if has(b"close") {
                    headers.set_connection_type(NGX_HTTP_CONNECTION_CLOSE);
                    headers.keep_alive_n = -1;
                } else if has(b"keep-alive") {
                    headers.set_connection_type(NGX_HTTP_CONNECTION_KEEP_ALIVE);
                }
            }
            _ => {}
        }
    }
}

/// The host that a `Host` header names: in lower case, without the port.
unsafe fn server_name(r: Request, value: ngx_str_t) -> ngx_str_t {
    // SAFETY: the caller's request is live, and the value is its header's.
    unsafe {
        let host = nginx::bytes(value).to_ascii_lowercase();
        let end = match host.iter().rposition(|&byte| byte == b':') {
            Some(at) if !host[at..].contains(&b']') => at,
            _ => host.len(),
        };
        nginx::pool_str((*r).pool, &host[..end]).unwrap_or(value)
    }
}

/// `$host` may have been evaluated already.
unsafe fn forget_host_variable(r: Request) {
    // SAFETY: the caller's request has its configuration, and a value for each indexed variable.
    unsafe {
        let indexed = nginx::core_main_conf(&*r).variables.as_slice::<ngx_http_variable_t>();
        if let Some(index) =
            indexed.iter().position(|variable| nginx::bytes(variable.name) == b"host")
        {
            let value = &mut *(*r).variables.add(index);
            value.set_valid(0);
            value.set_not_found(0);
        }
    }
}

unsafe fn ngx_atotm(data: *mut u8, len: usize) -> time_t {
    // SAFETY: the header's value.
    unsafe { ngx_atoi(data, len) as time_t }
}

/// Takes all headers of that name out of the list. Elements never move, because nginx points at them: a part of the
/// list is cut in two instead.
unsafe fn remove(r: Request, lower: &[u8]) {
    // SAFETY: the caller's request is live; the parts are nginx's and relinked as `ngx_list_t` has them.
    unsafe {
        let list: *mut ngx_list_t = &mut (*r).headers_in.headers;
        let mut part: *mut ngx_list_part_t = &mut (*list).part;
        // A list copied from another request may still name that one's first part as its last.
        if (*list).part.next.is_null() {
            (*list).last = part;
        }
        let mut previous: *mut ngx_list_part_t = ptr::null_mut();
        while !part.is_null() {
            let mut i = 0;
            while i < (*part).nelts {
                let elements = (*part).elts.cast::<ngx_table_elt_t>();
                if !nginx::bytes((*elements.add(i)).key).eq_ignore_ascii_case(lower) {
                    i += 1;
                    continue;
                }
                let is_last = (*list).last == part;
                if i + 1 == (*part).nelts {
                    (*part).nelts -= 1;
                } else if i == 0 {
                    (*part).elts = elements.add(1).cast();
                    (*part).nelts -= 1;
                    if is_last {
                        (*list).nalloc -= 1;
                    }
                } else {
                    let rest: *mut ngx_list_part_t = nginx::pool_new((*r).pool);
                    if rest.is_null() {
                        return;
                    }
                    (*rest).elts = elements.add(i + 1).cast();
                    (*rest).nelts = (*part).nelts - i - 1;
                    (*rest).next = (*part).next;
                    (*part).nelts = i;
                    (*part).next = rest;
                    if is_last {
                        (*list).last = rest;
                        (*list).nalloc -= i + 1;
                    }
                }
            }
            // nginx's loops take it that every part but the first has elements.
            if (*part).nelts == 0 && !previous.is_null() {
                (*previous).next = (*part).next;
                if (*list).last == part {
                    (*list).last = previous;
                    // Never 0: nginx allocates as many elements for the next part.
                    (*list).nalloc = (*previous).nelts.max(1);
                }
            } else {
                previous = part;
            }
            part = (*part).next;
        }
    }
}
