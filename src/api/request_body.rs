//! The request body: reading, discarding, and replacing it.

use std::ffi::c_int;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::ptr;

use nginx_sys::*;

use super::{
    arg, error, scratch, spacer_str, wait, with_request, with_request_in, FAIL, HANDLERS, NONE, OK,
    RAISE,
};
use crate::nginx::{self, log_debug};
use crate::request::body::{is_under_way, poll_read};
use crate::request::body_build::{self, BodyBuilder, Refusal};
use crate::request::ctx::{Ctx, End};

/// `ngx.req.read_body()`.
#[no_mangle]
pub extern "C" fn spacer_req_read_body() -> c_int {
    with_request_in(HANDLERS, |ctx| {
        // SAFETY: the request is live, now and when its task's future is polled.
        unsafe {
            let r = ctx.r;
            let is_settled = (*r).discard_body() != 0 || !(*r).request_body.is_null();
            if is_settled && !is_under_way(r) {
                return OK;
            }
            log_debug!(r, "lua start to read buffered request body");
            let ctx = std::ptr::from_ref::<Ctx>(ctx);
            wait(Box::pin(std::future::poll_fn(move |context| {
                poll_read(&*ctx, context.waker()).map(|read| {
                    if let Err(rc) = read {
                        (*ctx).state.end.set(Some(End::Exit(rc)));
                    }
                    OK
                })
            })))
        }
    })
}

#[no_mangle]
pub extern "C" fn spacer_req_discard_body() -> c_int {
    with_request_in(HANDLERS, |ctx| {
        // SAFETY: the request is live.
        let rc = unsafe { ngx_http_discard_request_body(ctx.r) };
        if rc == nginx::ERROR || rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
            return error(RAISE, format_args!("failed to discard request body"));
        }
        OK
    })
}

/// The body when it is in memory and not empty.
#[no_mangle]
pub extern "C" fn spacer_req_body_data(max: usize, out: &mut spacer_str) -> c_int {
    with_request(|ctx| {
        // SAFETY: the request is live, and so are its body's buffers.
        unsafe {
            let Some(body) = (*ctx.r).request_body.as_ref() else { return NONE };
            if !body.temp_file.is_null() || body.bufs.is_null() {
                return NONE;
            }
            let bytes = |link: *mut ngx_chain_t| {
                let buffer = &*(*link).buf;
                nginx::raw_bytes(buffer.pos, buffer.last.offset_from(buffer.pos) as usize)
            };
            if (*body.bufs).next.is_null() {
                out.set(bytes(body.bufs));
            } else {
                let text = scratch();
                let mut link = body.bufs;
                while !link.is_null() {
                    text.extend_from_slice(bytes(link));
                    link = (*link).next;
                }
                out.set(text);
            }
            if out.len == 0 {
                return NONE;
            }
            out.len = out.len.min(max);
            OK
        }
    })
}

#[no_mangle]
pub extern "C" fn spacer_req_body_file(out: &mut spacer_str) -> c_int {
    with_request(|ctx| {
        // SAFETY: the request is live.
        unsafe {
            match (*ctx.r).request_body.as_ref().and_then(|body| body.temp_file.as_ref()) {
                Some(file) => {
                    out.set(nginx::bytes(file.file.name));
                    OK
                }
                None => NONE,
            }
        }
    })
}

/// The whole body, from memory or from its file. For the function platform, whose functions get it as one string.
#[no_mangle]
pub extern "C" fn spacer_req_whole_body(out: &mut spacer_str) -> c_int {
    let in_memory = spacer_req_body_data(usize::MAX, out);
    if in_memory != NONE {
        return in_memory;
    }
    let mut name = spacer_str { data: ptr::null(), len: 0 };
    let status = spacer_req_body_file(&mut name);
    if status != OK {
        return status;
    }
    super::boundary(|| {
        // SAFETY: the name was just set, and the scratch buffer is read before the next call.
        unsafe {
            let path = std::ffi::OsStr::from_bytes(arg(name.data, name.len));
            let text = scratch();
            match std::fs::File::open(path).and_then(|mut file| file.read_to_end(text)) {
                Ok(_) => {
                    out.set(text);
                    OK
                }
                Err(cause) => error(
                    FAIL,
                    format_args!("reading the request body from {}: {cause}", path.display()),
                ),
            }
        }
    })
}

fn done(result: Result<(), Refusal>) -> c_int {
    match result {
        Ok(()) => OK,
        Err(refusal) => error(RAISE, format_args!("{refusal}")),
    }
}

#[no_mangle]
pub extern "C" fn spacer_req_set_body_data(data: *const u8, len: usize) -> c_int {
    // SAFETY: Lua's string, and a live request.
    with_request(|ctx| unsafe {
        let checked = body_build::check(ctx.r);
        done(checked.and_then(|()| body_build::replace(ctx.r, arg(data, len))))
    })
}

#[no_mangle]
pub extern "C" fn spacer_req_set_body_file(name: *const u8, len: usize, clean: bool) -> c_int {
    // SAFETY: Lua's string, and a live request.
    with_request(|ctx| unsafe {
        let checked = body_build::check(ctx.r);
        done(checked.and_then(|()| body_build::replace_by_file(ctx.r, arg(name, len), clean)))
    })
}

/// `ngx.req.init_body(size)`; a negative size stands for `client_body_buffer_size`.
#[no_mangle]
pub extern "C" fn spacer_req_init_body(limit: f64) -> c_int {
    // SAFETY: the request is live.
    with_request(|ctx| unsafe {
        done(body_build::check(ctx.r).map(|()| {
            let limit = (limit >= 0.0).then_some(limit as usize);
            *ctx.state.body_builder.borrow_mut() = Some(BodyBuilder::new(ctx.r, limit));
        }))
    })
}

fn not_begun() -> c_int {
    error(RAISE, format_args!("request_body not initialized"))
}

#[no_mangle]
pub extern "C" fn spacer_req_append_body(data: *const u8, len: usize) -> c_int {
    with_request(|ctx| match &mut *ctx.state.body_builder.borrow_mut() {
        // SAFETY: Lua's string, and a live request.
        Some(builder) => unsafe { done(builder.append(ctx.r, arg(data, len))) },
        None => not_begun(),
    })
}

#[no_mangle]
pub extern "C" fn spacer_req_finish_body() -> c_int {
    with_request(|ctx| match ctx.state.body_builder.take() {
        // SAFETY: the request is live.
        Some(builder) => unsafe { done(builder.finish(ctx.r)) },
        None => not_begun(),
    })
}

/// Whether the body has been read: 1, or 0.
#[no_mangle]
pub extern "C" fn spacer_req_body_state() -> c_int {
    // SAFETY: the request is live.
    with_request(|ctx| unsafe {
        (!(*ctx.r).request_body.is_null() || (*ctx.r).discard_body() != 0) as c_int
    })
}
