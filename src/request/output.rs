//! A request's response on its way to the client.
//!
//! What Lua prints is staged in one buffer and handed to nginx's filters when the buffer is full, when the coroutine
//! waits, on a flush, and at the end, together with the last-buffer mark. The header is sent at the first print, as
//! Lua can observe it.

use std::cell::{Cell, RefCell, RefMut};
use std::ptr;
use std::task::Waker;

use nginx_sys::*;

use super::headers_out;
use crate::conf::phase::Phase;
use crate::conf::{self, core_loc_conf};
use crate::nginx::{self, log_debug, own};
use crate::request::ctx::Ctx;

/// When this much is staged it is handed on.
pub const STAGE_MAX: usize = 8 * 1024;

/// What a recycled `Ctx` may keep allocated.
const STAGE_KEEP: usize = 64 * 1024;

pub struct Output {
    stage: RefCell<Vec<u8>>,
    /// Where the current print began, to take it back when one of its arguments is bad.
    pub mark: Cell<usize>,
    /// Buffers that nginx has sent, for the next hand-over, and those that it still holds.
    free: Cell<*mut ngx_chain_t>,
    busy: Cell<*mut ngx_chain_t>,
    pub header_sent: Cell<bool>,
    /// The header is, or was, sent from here rather than by nginx.
    ours: Cell<bool>,
    /// The last buffer has been sent.
    pub eof: Cell<bool>,
    /// What is staged, or was sent, is the whole response: nothing is printed after it.
    pub complete: Cell<bool>,
    /// HTTP/1.0: the whole response is collected, so that it gets a `Content-Length`.
    pub buffering: Cell<bool>,
    pub failed: Cell<bool>,
    /// Those who wait in `ngx.flush(true)` for the client to take everything.
    flushing: RefCell<Vec<Waker>>,
}

impl Output {
    pub fn new() -> Self {
        Output {
            stage: RefCell::default(),
            mark: Cell::new(0),
            free: Cell::new(ptr::null_mut()),
            busy: Cell::new(ptr::null_mut()),
            header_sent: Cell::new(false),
            ours: Cell::new(false),
            eof: Cell::new(false),
            complete: Cell::new(false),
            buffering: Cell::new(false),
            failed: Cell::new(false),
            flushing: RefCell::default(),
        }
    }

    /// Ready for another request: only the staging buffer's memory is kept.
    pub fn recycle(&mut self) {
        let Output {
            stage,
            mark,
            free,
            busy,
            header_sent,
            ours,
            eof,
            complete,
            buffering,
            failed,
            flushing,
        } = self;
        let stage = stage.get_mut();
        stage.clear();
        if stage.capacity() > STAGE_KEEP {
            stage.shrink_to(STAGE_KEEP);
        }
        mark.set(0);
        free.set(ptr::null_mut());
        busy.set(ptr::null_mut());
        for flag in [header_sent, ours, eof, complete, buffering, failed] {
            flag.set(false);
        }
        flushing.get_mut().clear();
    }

    pub fn is_buffering(&self) -> bool {
        self.buffering.get()
    }

    /// Whether the response that is sent is made here, not one of nginx's error pages.
    pub fn is_ours(&self) -> bool {
        self.ours.get()
    }

    /// What is printed and not yet handed on. Not to be held across a call into nginx.
    #[inline]
    pub fn stage(&self) -> RefMut<'_, Vec<u8>> {
        self.stage.borrow_mut()
    }

    /// How much that is.
    #[inline]
    pub fn staged(&self) -> usize {
        self.stage.borrow().len()
    }

    /// Has the waker woken when the client has taken everything, or won't.
    pub fn wake_when_flushed(&self, waker: &Waker) {
        self.flushing.borrow_mut().push(waker.clone());
    }
}

/// Whether a response of that status may have a body (RFC 9110, section 6.4.1). 101 is let through: what follows it is the
/// other protocol.
pub fn may_have_body(status: ngx_uint_t) -> bool {
    ![NGX_HTTP_NO_CONTENT, NGX_HTTP_NOT_MODIFIED].contains(&(status as u32))
}

/// Sends the response header, unless that is done, or put off in HTTP/1.0 buffering.
pub unsafe fn send_header(ctx: &Ctx) -> ngx_int_t {
    // SAFETY: the request is live.
    unsafe {
        let r = ctx.r;
        if (*r).method & NGX_HTTP_HEAD as ngx_uint_t != 0 {
            (*r).set_header_only(1);
        }
        if ctx.header_sent() {
            return nginx::OK;
        }
        if conf::loc_conf(r).http10_buffering != 0
            && (*r).http_version < NGX_HTTP_VERSION_11 as ngx_uint_t
            && (*r).headers_out.content_length_n < 0
            && may_have_body((*r).headers_out.status)
        {
            ctx.output.buffering.set(true);
        }
        prepare_header(ctx);
        if ctx.output.buffering.get() {
            return nginx::OK;
        }
        transmit_header(ctx)
    }
}

/// Sets what a response header needs and Lua has not set.
unsafe fn prepare_header(ctx: &Ctx) {
    // SAFETY: the request is live.
    unsafe {
        let r = ctx.r;
        if (*r).headers_out.status == 0 {
            (*r).headers_out.status = NGX_HTTP_OK as ngx_uint_t;
        }
        headers_out::default_content_type(ctx);
        if !ctx.state.headers_set.get() {
            clear_length(r);
        }
    }
}

unsafe fn clear_length(r: nginx::Request) {
    // SAFETY: the request is live, and so are the header entries it points to.
    unsafe {
        let out = &mut (*r).headers_out;
        out.content_length_n = -1;
        if let Some(header) = out.content_length.as_mut() {
            header.hash = 0;
            out.content_length = ptr::null_mut();
        }
        (*r).set_allow_ranges(0);
        let out = &mut (*r).headers_out;
        if let Some(header) = out.accept_ranges.as_mut() {
            header.hash = 0;
            out.accept_ranges = ptr::null_mut();
        }
    }
}

/// Sends the header that was prepared.
///
/// # Safety
/// The request is live.
pub unsafe fn transmit_header(ctx: &Ctx) -> ngx_int_t {
    ctx.output.ours.set(true);
    // SAFETY: the request is live.
    let rc = unsafe { ngx_http_send_header(ctx.r) };
    if rc == nginx::ERROR {
        ctx.output.failed.set(true);
    }
    // Only now: a header filter may still change the header.
    ctx.output.header_sent.set(true);
    rc
}

/// Whether the header could not be made, so that nothing can answer the request.
pub fn is_lost(ctx: &Ctx) -> bool {
    // SAFETY: the request is live as long as its `Ctx` is in use.
    ctx.output.failed.get() && unsafe { (*ctx.r).header_sent() == 0 }
}

/// Hands what is staged to nginx's filters, behind the header.
pub unsafe fn hand_over(ctx: &Ctx) -> ngx_int_t {
    if ctx.output.staged() == 0 || ctx.output.buffering.get() {
        return nginx::OK;
    }
    // SAFETY: the request is live.
    unsafe {
        if !ctx.header_sent() {
            let rc = send_header(ctx);
            let is_refused = rc == nginx::ERROR || rc > nginx::OK;
            ctx.output.failed.set(is_refused);
            if is_refused || (*ctx.r).header_only() != 0 {
                ctx.output.stage().clear();
                return rc;
            }
            if ctx.output.buffering.get() {
                return nginx::OK;
            }
        }
        pass_on(ctx, false)
    }
}

/// Passes the staged bytes on, with a mark for a flush.
pub unsafe fn pass_on(ctx: &Ctx, flush: bool) -> ngx_int_t {
    // SAFETY: the request and its pool are live; buffers are reused only when nginx is done with them.
    unsafe {
        let r = ctx.r;
        let Some(link) = take_stage(ctx) else { return nginx::ERROR };
        if flush {
            (*(*link).buf).set_flush(1);
        }
        let rc = ngx_http_output_filter(r, link);
        if rc == nginx::ERROR {
            ctx.output.failed.set(true);
        }
        let mut out = link;
        ngx_chain_update_chains(
            (*r).pool,
            ctx.output.free.as_ptr(),
            ctx.output.busy.as_ptr(),
            &mut out,
            own::tag(),
        );
        rc
    }
}

/// Moves the staged bytes into a buffer for nginx.
#[inline]
unsafe fn take_stage(ctx: &Ctx) -> Option<*mut ngx_chain_t> {
    // SAFETY: the buffer is the response's own, and has room for what is staged.
    unsafe {
        let mut stage = ctx.output.stage();
        let len = stage.len();
        let link = take_buffer(ctx, len)?;
        let buffer = &mut *(*link).buf;
        if len > 0 {
            ptr::copy_nonoverlapping(stage.as_ptr(), buffer.pos, len);
            buffer.last = buffer.pos.add(len);
            buffer.set_temporary(1);
            stage.clear();
            if stage.capacity() > STAGE_KEEP {
                stage.shrink_to(STAGE_KEEP);
            }
        }
        Some(link)
    }
}

/// The room before and behind a buffer's bytes, for the lines that make them a chunk.
pub const MARGIN_BEFORE: usize = 18;
const MARGINS: usize = MARGIN_BEFORE + super::chunked::MARGIN_BEHIND;

/// Whether this is a buffer from here whose bytes begin where they did, so that the margins are free. What a filter has
/// copied to a buffer of its own is told by its address.
pub fn is_as_made(buffer: &ngx_buf_t) -> bool {
    let behind = ptr::from_ref(buffer).wrapping_add(1).cast::<u8>().cast_mut();
    buffer.tag == own::tag()
        && buffer.start == behind
        && buffer.pos == behind.wrapping_add(MARGIN_BEFORE)
}

/// A link with its buffer and, behind them, the bytes: one allocation for a response that is handed over once.
#[repr(C)]
struct Packed {
    link: ngx_chain_t,
    buffer: ngx_buf_t,
}

/// A chain link with an empty buffer for `len` bytes: one that nginx is done with, or a new one.
unsafe fn take_buffer(ctx: &Ctx, len: usize) -> Option<*mut ngx_chain_t> {
    // SAFETY: the request and its pool are live.
    unsafe {
        if !ctx.output.free.get().is_null() {
            return reuse_buffer(ctx, len);
        }
        // The second buffer of a response says that more will follow: make it one that fits them.
        let size = if ctx.output.busy.get().is_null() { len } else { len.max(STAGE_MAX / 2) };
        let size = size + MARGINS;
        let packed: *mut Packed = ngx_palloc((*ctx.r).pool, size_of::<Packed>() + size).cast();
        if packed.is_null() {
            return None;
        }
        let start: *mut u8 = packed.add(1).cast();
        (*packed).link = ngx_chain_t { buf: &mut (*packed).buffer, next: ptr::null_mut() };
        (*packed).buffer = empty_buffer(start, start.add(size));
        Some(&mut (*packed).link)
    }
}

#[inline(never)]
unsafe fn reuse_buffer(ctx: &Ctx, len: usize) -> Option<*mut ngx_chain_t> {
    // SAFETY: links in `free` belong to this request and nobody else refers to them.
    unsafe {
        let link = ctx.output.free.get();
        ctx.output.free.set((*link).next);
        (*link).next = ptr::null_mut();
        let buffer = &mut *(*link).buf;
        let (mut start, mut end) = (buffer.start, buffer.end);
        if (end.offset_from(start) as usize) < len + MARGINS {
            let size = len.max(STAGE_MAX / 2) + MARGINS;
            start = ngx_pnalloc((*ctx.r).pool, size).cast();
            if start.is_null() {
                return None;
            }
            end = start.add(size);
        }
        *buffer = empty_buffer(start, end);
        Some(link)
    }
}

fn empty_buffer(start: *mut u8, end: *mut u8) -> ngx_buf_t {
    // SAFETY: all-zero is a buffer without any mark.
    let mut buffer: ngx_buf_t = unsafe { std::mem::zeroed() };
    buffer.start = start;
    buffer.pos = start.wrapping_add(MARGIN_BEFORE);
    buffer.last = buffer.pos;
    buffer.end = end;
    buffer.tag = own::tag();
    buffer
}

/// Sends what is left of the response, and the last-buffer mark.
pub unsafe fn finish(ctx: &Ctx) -> ngx_int_t {
    // SAFETY: the request is live.
    unsafe {
        let r = ctx.r;
        match take_last(ctx) {
            Ok(last) => {
                let rc = send_last(r, last);
                if rc == nginx::ERROR {
                    ctx.output.failed.set(true);
                }
                rc
            }
            Err(rc) => rc,
        }
    }
}

/// Sends what [`take_last`] gave.
///
/// # Safety
/// The request is live.
pub unsafe fn send_last(r: nginx::Request, last: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: the caller's promise.
    let rc = unsafe { ngx_http_output_filter(r, last) };
    if rc == nginx::ERROR || rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
        return rc;
    }
    nginx::OK
}

/// What is left of the response, with the last-buffer mark, when the header is sent; or the status, when that is all.
/// Nothing of the `Ctx` is needed to send it.
pub unsafe fn take_last(ctx: &Ctx) -> Result<*mut ngx_chain_t, ngx_int_t> {
    // SAFETY: the request is live.
    unsafe {
        if ctx.output.eof.get() {
            return Err(nginx::OK);
        }
        if is_lost(ctx) {
            return Err(nginx::ERROR);
        }
        let r = ctx.r;
        let rc = if ctx.header_sent() { nginx::OK } else { send_header(ctx) };
        if rc == nginx::ERROR || rc > nginx::OK {
            return Err(rc);
        }
        // A status that allows no body may have been set after the first print, while the response was collected.
        if (*r).header_only() != 0 || !may_have_body((*r).headers_out.status) {
            ctx.output.eof.set(true);
            ctx.output.stage().clear();
            return Err(if ctx.output.buffering.get() && !ctx.header_sent() {
                transmit_header(ctx)
            } else {
                rc
            });
        }
        if (*r).request_body.is_null()
            && r == (*r).main
            && ngx_http_discard_request_body(r) != nginx::OK
        {
            return Err(nginx::ERROR);
        }
        if ctx.output.buffering.get() && !ctx.header_sent() {
            let out = &mut (*r).headers_out;
            if out.content_length.is_null() {
                out.content_length_n = ctx.output.staged() as off_t;
            }
            let rc = transmit_header(ctx);
            if rc == nginx::ERROR || rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
                return Err(rc);
            }
        }
        if ctx.output.staged() > 0 && conf::loc_conf(r).code(Phase::BodyFilter).is_some() {
            // Lua's filter sees what is printed and the end one after the other.
            let rc = pass_on(ctx, false);
            if rc == nginx::ERROR {
                return Err(rc);
            }
        }
        ctx.output.eof.set(true);
        log_debug!(r, "lua sending last buf of the response body");
        let link = take_stage(ctx).ok_or(nginx::ERROR)?;
        let buffer = &mut *(*link).buf;
        if r == (*r).main {
            buffer.set_last_buf(1);
        } else {
            buffer.set_sync((buffer.pos == buffer.last) as _);
        }
        buffer.set_last_in_chain(1);
        Ok(link)
    }
}

/// Whether the client has taken everything.
pub fn is_flushed(ctx: &Ctx) -> bool {
    // SAFETY: the request is live.
    unsafe {
        let connection = &*(*ctx.r).connection;
        connection.buffered() & (NGX_HTTP_LOWLEVEL_BUFFERED | NGX_LOWLEVEL_BUFFERED) == 0
    }
}

/// The connection can be written, or its timer went off: sends on, and says who is to be woken since the client has taken
/// everything, or won't.
///
/// # Safety
/// nginx called the write handler of a live request.
pub unsafe fn write_event(ctx: &Ctx) -> Vec<Waker> {
    // SAFETY: the caller's promise.
    unsafe {
        let r = ctx.r;
        let connection = (*r).connection;
        let event = (*connection).write;
        if (*event).timedout() != 0 {
            if (*event).delayed() == 0 {
                log_timeout(connection);
                (*connection).set_timedout(1);
            } else {
                // `limit_rate` has let enough time pass.
                (*event).set_timedout(0);
                (*event).set_delayed(0);
            }
        }
        if (*event).timedout() == 0 && (*event).ready() != 0 && !is_flushed(ctx) {
            ngx_http_output_filter(r, ptr::null_mut());
        }
        if ctx.output.flushing.borrow().is_empty() {
            return Vec::new();
        }
        if is_flushed(ctx) || (*connection).timedout() != 0 || (*connection).error() != 0 {
            if (*event).timer_set() != 0 && (*event).delayed() == 0 {
                ngx_del_timer(event);
            }
            return ctx.output.flushing.take();
        }
        if (*event).delayed() == 0 {
            let core = core_loc_conf(r);
            if (*event).timer_set() == 0 {
                ngx_add_timer(event, core.send_timeout);
            }
            ngx_handle_write_event(event, core.send_lowat);
        }
        Vec::new()
    }
}

unsafe fn log_timeout(connection: *mut ngx_connection_t) {
    // SAFETY: the connection is live.
    unsafe {
        nginx::log_fmt(
            NGX_LOG_INFO,
            (*connection).log,
            libc::ETIMEDOUT,
            format_args!("client timed out"),
        )
    }
}
