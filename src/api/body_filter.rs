//! `ngx.arg` in `body_filter_by_lua*`: the chunk that goes through, and whether it is the last.

use std::ffi::c_int;
use std::ptr;

use nginx_sys::*;

use super::request_body::body_chain;
use super::{arg, error, spacer_str, with_request_in, OK, RAISE};
use crate::conf::phase::Phase;
use crate::lua::code::Code;
use crate::nginx;
use crate::phase::filter;
use crate::request::ctx::Ctx;

const FILTER: u32 = Phase::BodyFilter as u32;

pub struct BodyFilter {
    /// What the filter is given, and leaves to be sent.
    chain: *mut ngx_chain_t,
    /// The end has gone through, so that nothing follows it.
    seen_last: bool,
}

impl BodyFilter {
    pub const fn new() -> Self {
        BodyFilter { chain: ptr::null_mut(), seen_last: false }
    }
}

/// Runs the code on `chain`, and passes on what it makes of it.
///
/// # Safety
/// The request is live, and `chain` its output.
pub unsafe fn run(ctx: &mut Ctx, code: &Code, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: the caller's promise.
    unsafe {
        let r = ctx.r;
        if chain.is_null() {
            return filter::pass_body(r, chain);
        }
        if ctx.body_filter.seen_last {
            consume(chain);
            return filter::pass_body(r, ptr::null_mut());
        }
        ctx.body_filter.chain = chain;
        let rc = match filter::run_code(ctx, Phase::BodyFilter, code) {
            Ok(rc) | Err(rc) => rc,
        };
        let out = std::mem::replace(&mut ctx.body_filter.chain, ptr::null_mut());
        if rc == nginx::ERROR || rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
            return nginx::ERROR;
        }
        if out.is_null() {
            return nginx::OK;
        }
        filter::pass_body(r, out)
    }
}

unsafe fn buffers<'a>(chain: *mut ngx_chain_t) -> impl Iterator<Item = &'a mut ngx_buf_t> {
    let mut link = chain;
    std::iter::from_fn(move || {
        // SAFETY: a chain's links and their buffers are live, and the last link's next is null.
        unsafe {
            let current = link.as_ref()?;
            link = current.next;
            Some(&mut *current.buf)
        }
    })
}

/// Marks the buffers as sent.
unsafe fn consume(chain: *mut ngx_chain_t) {
    // SAFETY: the caller's chain is live.
    for buffer in unsafe { buffers(chain) } {
        buffer.pos = buffer.last;
        buffer.file_pos = buffer.file_last;
    }
}

unsafe fn in_memory<'a>(buffer: &ngx_buf_t) -> &'a [u8] {
    if buffer.temporary() == 0 && buffer.memory() == 0 && buffer.mmap() == 0 {
        return &[];
    }
    // SAFETY: a buffer in memory has its bytes from `pos` to `last`.
    unsafe { nginx::raw_bytes(buffer.pos, buffer.last.offset_from(buffer.pos) as usize) }
}

/// `ngx.arg[1]`.
#[no_mangle]
pub extern "C" fn spacer_chunk(out: &mut spacer_str) -> c_int {
    with_request_in(FILTER, |ctx| {
        // SAFETY: the chain is live while the filter runs.
        unsafe {
            let chain = ctx.body_filter.chain;
            if chain.is_null() || (*chain).next.is_null() {
                out.set(if chain.is_null() { b"" } else { in_memory(&*(*chain).buf) });
            } else {
                let text = super::scratch();
                for buffer in buffers(chain) {
                    text.extend_from_slice(in_memory(buffer));
                }
                out.set(text);
            }
        }
        OK
    })
}

/// `ngx.arg[2]`: 1 when the chunk is the last.
#[no_mangle]
pub extern "C" fn spacer_chunk_is_last() -> c_int {
    with_request_in(FILTER, |ctx| {
        // SAFETY: the chain is live while the filter runs.
        let mut buffers = unsafe { buffers(ctx.body_filter.chain) };
        buffers.any(|buffer| buffer.last_buf() != 0 || buffer.last_in_chain() != 0) as c_int
    })
}

/// Sets `ngx.arg[1]`; a null chunk discards it.
#[no_mangle]
pub extern "C" fn spacer_set_chunk(data: *const u8, len: usize) -> c_int {
    with_request_in(FILTER, |ctx| {
        // SAFETY: the chain is live while the filter runs; Lua's string is copied into the request's pool.
        unsafe {
            let r = ctx.r;
            let old = ctx.body_filter.chain;
            let mut last = false;
            let mut flush = false;
            for buffer in buffers(old) {
                last |= buffer.last_buf() != 0 || buffer.last_in_chain() != 0;
                flush |= buffer.flush() != 0;
            }
            consume(old);
            ctx.body_filter.chain = ptr::null_mut();
            let data = arg(data, len);
            if data.is_empty() && !last && !flush {
                return OK;
            }
            let link = match body_chain((*r).pool, data) {
                Some(link) => link,
                None => return error(RAISE, format_args!("no memory")),
            };
            let buffer = &mut *(*link).buf;
            if data.is_empty() {
                buffer.set_temporary(0);
            }
            if last {
                mark_last(ctx, buffer);
            }
            if flush {
                buffer.set_flush(1);
            }
            ctx.body_filter.chain = link;
        }
        OK
    })
}

unsafe fn mark_last(ctx: &mut Ctx, buffer: &mut ngx_buf_t) {
    ctx.body_filter.seen_last = true;
    // SAFETY: the request is live.
    unsafe {
        if ctx.r == (*ctx.r).main {
            buffer.set_last_buf(1);
        } else {
            buffer.set_last_in_chain(1);
            buffer.set_sync((buffer.pos == buffer.last) as _);
        }
    }
}

/// Sets `ngx.arg[2]`.
#[no_mangle]
pub extern "C" fn spacer_set_chunk_last(last: bool) -> c_int {
    with_request_in(FILTER, |ctx| {
        // SAFETY: the chain is live while the filter runs.
        unsafe {
            let chain = ctx.body_filter.chain;
            if last {
                if let Some(buffer) = buffers(chain).last() {
                    mark_last(ctx, buffer);
                }
                return OK;
            }
            for buffer in buffers(chain) {
                if buffer.last_buf() == 0 && buffer.last_in_chain() == 0 {
                    continue;
                }
                buffer.set_last_buf(0);
                buffer.set_last_in_chain(0);
                if in_memory(buffer).is_empty() {
                    // nginx takes an empty buffer only as a mark of some kind.
                    buffer.set_sync(1);
                }
            }
            ctx.body_filter.seen_last = false;
        }
        OK
    })
}
