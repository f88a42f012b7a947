//! What a Lua body filter is given of a response, and leaves of it.

use std::cell::Cell;
use std::ptr;

use nginx_sys::*;

use super::body_build::body_chain;
use super::ctx::Ctx;
use crate::nginx;

pub struct BodyFilter {
    /// What the filter is given, and leaves to be sent.
    pub chain: Cell<*mut ngx_chain_t>,
    /// The end has gone through, so that nothing follows it.
    pub seen_last: Cell<bool>,
}

impl Default for BodyFilter {
    fn default() -> Self {
        BodyFilter { chain: Cell::new(ptr::null_mut()), seen_last: Cell::new(false) }
    }
}

/// The buffers of a chain, one after the other.
///
/// # Safety
/// The chain is live, and nobody else refers to its buffers.
pub unsafe fn buffers<'a>(chain: *mut ngx_chain_t) -> impl Iterator<Item = &'a mut ngx_buf_t> {
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
///
/// # Safety
/// As for [`buffers`].
pub unsafe fn consume(chain: *mut ngx_chain_t) {
    // SAFETY: the caller's promise.
    for buffer in unsafe { buffers(chain) } {
        buffer.pos = buffer.last;
        buffer.file_pos = buffer.file_last;
    }
}

/// The bytes of a buffer that is in memory.
///
/// # Safety
/// The buffer is live.
pub unsafe fn in_memory<'a>(buffer: &ngx_buf_t) -> &'a [u8] {
    if buffer.temporary() == 0 && buffer.memory() == 0 && buffer.mmap() == 0 {
        return &[];
    }
    // SAFETY: a buffer in memory has its bytes from `pos` to `last`.
    unsafe { nginx::raw_bytes(buffer.pos, buffer.last.offset_from(buffer.pos) as usize) }
}

fn is_last(buffer: &ngx_buf_t) -> bool {
    buffer.last_buf() != 0 || buffer.last_in_chain() != 0
}

/// Whether the chain has the response's end.
///
/// # Safety
/// As for [`buffers`].
pub unsafe fn has_last(chain: *mut ngx_chain_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe { buffers(chain) }.any(|buffer| is_last(buffer))
}

/// Puts `data` in the place of the chunk; marks of the end and of a flush stay. `None` when there is no memory.
///
/// # Safety
/// The request is live, and its filter runs.
pub unsafe fn replace(ctx: &Ctx, data: &[u8]) -> Option<()> {
    // SAFETY: the caller's promise; the copy is in the request's pool.
    unsafe {
        let old = ctx.state.body_filter.chain.replace(ptr::null_mut());
        let last = has_last(old);
        let flush = buffers(old).any(|buffer| buffer.flush() != 0);
        consume(old);
        if data.is_empty() && !last && !flush {
            return Some(());
        }
        let link = body_chain((*ctx.r).pool, data)?;
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
        ctx.state.body_filter.chain.set(link);
        Some(())
    }
}

/// Makes the chunk the last one, or not the last.
///
/// # Safety
/// As for [`replace`].
pub unsafe fn set_last(ctx: &Ctx, last: bool) {
    // SAFETY: the caller's promise.
    unsafe {
        let chain = ctx.state.body_filter.chain.get();
        if last {
            if let Some(buffer) = buffers(chain).last() {
                mark_last(ctx, buffer);
            }
            return;
        }
        for buffer in buffers(chain).filter(|buffer| is_last(buffer)) {
            buffer.set_last_buf(0);
            buffer.set_last_in_chain(0);
            if in_memory(buffer).is_empty() {
                // nginx takes an empty buffer only as a mark of some kind.
                buffer.set_sync(1);
            }
        }
        ctx.state.body_filter.seen_last.set(false);
    }
}

unsafe fn mark_last(ctx: &Ctx, buffer: &mut ngx_buf_t) {
    ctx.state.body_filter.seen_last.set(true);
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
