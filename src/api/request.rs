//! `ngx.req`: method, URI, arguments and the like of the request; `ngx.ctx`'s slot.

use std::ffi::{c_int, c_void};

use nginx_sys::*;

use super::encoding::{escape, Escape};
use super::{arg, current, error, spacer_str, with_context, with_request, OK, RAISE};
use crate::nginx;
use crate::request::method::method_name;

/// nginx's request, for libraries that call its functions; null where there is none.
#[no_mangle]
pub extern "C" fn spacer_request() -> *mut c_void {
    // SAFETY: a context lives as long as Lua runs for it.
    unsafe { current().ctx.as_ref() }.map_or(std::ptr::null_mut(), |ctx| ctx.r.cast())
}

#[no_mangle]
pub extern "C" fn spacer_req_method(out: &mut spacer_str) -> c_int {
    with_request(|ctx| {
        // SAFETY: the request is live.
        out.set(unsafe { nginx::bytes((*ctx.r).method_name) });
        OK
    })
}

#[no_mangle]
pub extern "C" fn spacer_req_set_method(method: c_int) -> c_int {
    with_request(|ctx| match method_name(method) {
        // SAFETY: the request is live, the name static; nginx reads one byte past it, the space after a method.
        Some(name) => unsafe {
            (*ctx.r).method = method as ngx_uint_t;
            match nginx::pool_concat((*ctx.r).pool, &[name, b" "]) {
                Some(copy) => {
                    (*ctx.r).method_name = ngx_str_t { len: name.len(), data: copy.data };
                    OK
                }
                None => error(RAISE, format_args!("no memory")),
            }
        },
        None => error(RAISE, format_args!("unsupported HTTP method: {method}")),
    })
}

/// The query string, undecoded.
#[no_mangle]
pub extern "C" fn spacer_req_args(out: &mut spacer_str) -> c_int {
    with_request(|ctx| {
        // SAFETY: the request is live.
        out.set(unsafe { nginx::bytes((*ctx.r).args) });
        OK
    })
}

#[no_mangle]
pub extern "C" fn spacer_req_set_args(data: *const u8, len: usize) -> c_int {
    with_request(|ctx| {
        // SAFETY: Lua's string, copied into the pool of a live request.
        unsafe {
            match nginx::pool_str((*ctx.r).pool, &escape(arg(data, len), Escape::ArgsLine)) {
                Some(copy) => {
                    (*ctx.r).args = copy;
                    (*ctx.r).set_valid_unparsed_uri(0);
                    OK
                }
                None => error(RAISE, format_args!("no memory")),
            }
        }
    })
}

/// The protocol's version as 9, 10, 11, 20 or 30.
#[no_mangle]
pub extern "C" fn spacer_req_http_version() -> c_int {
    with_request(|ctx| {
        // SAFETY: the request is live.
        let version = unsafe { (*ctx.r).http_version } as c_int;
        version / 1000 * 10 + version % 1000
    })
}

#[no_mangle]
pub extern "C" fn spacer_req_start_time() -> f64 {
    match super::current().ctx {
        ctx if ctx.is_null() => -1.0,
        // SAFETY: the current request is live.
        ctx => unsafe { (*(*ctx).r).start_sec as f64 + (*(*ctx).r).start_msec as f64 / 1000.0 },
    }
}

#[no_mangle]
pub extern "C" fn spacer_req_is_internal() -> c_int {
    // SAFETY: the request is live.
    with_request(|ctx| unsafe { (*ctx.r).internal() } as c_int)
}

#[no_mangle]
pub extern "C" fn spacer_is_subrequest() -> c_int {
    // SAFETY: the request is live.
    with_request(|ctx| unsafe { (*ctx.r).main != ctx.r } as c_int)
}

/// The number of the request's `ngx.ctx` table; 0 when it has none.
#[no_mangle]
pub extern "C" fn spacer_ctx_slot() -> c_int {
    with_context(|ctx| ctx.state.ctx_slot.get())
}

/// A number for a table that becomes the request's `ngx.ctx`.
#[no_mangle]
pub extern "C" fn spacer_new_ctx_slot() -> c_int {
    with_context(|ctx| {
        if ctx.state.ctx_slot.get() == 0 {
            ctx.state.ctx_slot.set(ctx.vm().new_ctx_slot());
        }
        ctx.state.ctx_slot.get()
    })
}

/// A number for a table that becomes a subrequest's `ngx.ctx`: it belongs to the subrequest that is added next.
#[no_mangle]
pub extern "C" fn spacer_reserve_ctx_slot() -> c_int {
    with_context(|ctx| ctx.vm().new_ctx_slot())
}
