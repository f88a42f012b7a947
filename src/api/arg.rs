//! `ngx.arg`: in `body_filter_by_lua*` the chunk that goes through and whether it is the last, in `set_by_lua*` the
//! directive's arguments.

use std::ffi::c_int;

use super::{arg, boundary, error, scratch, spacer_str, with_request_in, NONE, OK, RAISE};
use crate::conf::phase::Phase;
use crate::phase::set;
use crate::request::body_filter::{buffers, has_last, in_memory, replace, set_last};

const FILTER: u32 = Phase::BodyFilter as u32;

/// `ngx.arg[n]` in `set_by_lua*`, `n` from 0.
#[no_mangle]
pub extern "C" fn spacer_set_argument(n: usize, out: &mut spacer_str) -> c_int {
    boundary(|| match set::argument(n) {
        Some(argument) => {
            out.set(argument);
            OK
        }
        None => NONE,
    })
}

/// `ngx.arg[1]`.
#[no_mangle]
pub extern "C" fn spacer_chunk(out: &mut spacer_str) -> c_int {
    with_request_in(FILTER, |ctx| {
        // SAFETY: the chain is live while the filter runs.
        unsafe {
            let chain = ctx.state.body_filter.chain.get();
            if chain.is_null() || (*chain).next.is_null() {
                out.set(if chain.is_null() { b"" } else { in_memory(&*(*chain).buf) });
            } else {
                let text = scratch();
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
    // SAFETY: the chain is live while the filter runs.
    with_request_in(FILTER, |ctx| unsafe { has_last(ctx.state.body_filter.chain.get()) as c_int })
}

/// Sets `ngx.arg[1]`; a null chunk discards it.
#[no_mangle]
pub extern "C" fn spacer_set_chunk(data: *const u8, len: usize) -> c_int {
    // SAFETY: the filter runs; Lua's string is copied.
    with_request_in(FILTER, |ctx| match unsafe { replace(ctx, arg(data, len)) } {
        Some(()) => OK,
        None => error(RAISE, format_args!("no memory")),
    })
}

/// Sets `ngx.arg[2]`.
#[no_mangle]
pub extern "C" fn spacer_set_chunk_last(last: bool) -> c_int {
    with_request_in(FILTER, |ctx| {
        // SAFETY: the filter runs.
        unsafe { set_last(ctx, last) };
        OK
    })
}
