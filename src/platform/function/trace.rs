//! The trace of a request: the ids under which a call from one function to another is found again in the log.
//!
//! The headers X-SPACER-TRACE-ID, X-SPACER-PARENT-SPAN-ID and X-SPACER-SPAN-ID describe the call that they come with.
//! A request without them is the root of a trace, which is named after the root's span.

use nginx_sys::*;

use super::new_call;
use crate::nginx::cell::Worker;
use crate::nginx::{self, Request};
use crate::request::ctx::Ctx;

/// The ids of a request, in its pool.
#[derive(Clone, Copy)]
pub struct Trace {
    pub id: ngx_str_t,
    pub span_id: ngx_str_t,
    /// Empty for the root of a trace.
    pub parent_span_id: ngx_str_t,
}

const TRACE_ID: &[u8] = b"x-spacer-trace-id";
const SPAN_ID: &[u8] = b"x-spacer-span-id";
const PARENT_SPAN_ID: &[u8] = b"x-spacer-parent-span-id";

/// The trace of the request, made when it is first asked for; `None` when there is no memory for it.
///
/// # Safety
/// The request is live.
pub unsafe fn of(ctx: &Ctx) -> Option<Trace> {
    let r = ctx.r;
    let mut call = new_call(ctx);
    if call.trace.is_none() {
        // SAFETY: the caller's promise.
        call.trace = unsafe { make(r) };
    }
    call.trace
}

unsafe fn make(r: Request) -> Option<Trace> {
    // SAFETY: the caller's request is live, and so are its headers' bytes.
    unsafe {
        let none = nginx::str_of(b"");
        let mut trace = Trace { id: none, span_id: none, parent_span_id: none };
        for header in nginx::list_items::<ngx_table_elt_t>(&mut (*r).headers_in.headers) {
            if header.lowcase_key.is_null() || !is_id(nginx::bytes(header.value)) {
                continue;
            }
            let name = nginx::raw_bytes(header.lowcase_key, header.key.len);
            let slot = match name {
                TRACE_ID => &mut trace.id,
                SPAN_ID => &mut trace.span_id,
                PARENT_SPAN_ID => &mut trace.parent_span_id,
                _ => continue,
            };
            *slot = header.value;
        }
        if trace.span_id.len == 0 {
            trace.span_id = nginx::pool_str((*r).pool, &random_id())?;
        }
        if trace.id.len == 0 {
            trace.id = trace.span_id;
        }
        Some(trace)
    }
}

/// What a client sends as an id ends up in the log, where `/` and `%` stand around it.
fn is_id(text: &[u8]) -> bool {
    (1..=64).contains(&text.len())
        && text.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
}

const ID_BYTES: usize = 16;

/// Random bytes, drawn from the kernel for many ids at once.
struct Random {
    bytes: [u8; 64 * ID_BYTES],
    used: usize,
    /// A forked process must not go on with its parent's bytes.
    pid: ngx_pid_t,
}

static RANDOM: Worker<Random> = Worker::new(Random { bytes: [0; 64 * ID_BYTES], used: 0, pid: 0 });

/// Sixteen random bytes in hexadecimal.
fn random_id() -> [u8; 2 * ID_BYTES] {
    // SAFETY: one thread, and the reference ends with the function; `getrandom` fills what it is given.
    let bytes = unsafe {
        let random = &mut *RANDOM.get();
        if random.used + ID_BYTES > random.bytes.len() || random.pid != ngx_pid {
            libc::getrandom(random.bytes.as_mut_ptr().cast(), random.bytes.len(), 0);
            random.used = 0;
            random.pid = ngx_pid;
        }
        let at = random.used;
        random.used += ID_BYTES;
        &random.bytes[at..at + ID_BYTES]
    };
    let mut text = [0; 2 * ID_BYTES];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = b"0123456789abcdef"[(byte >> 4) as usize];
        pair[1] = b"0123456789abcdef"[(byte & 15) as usize];
    }
    text
}
