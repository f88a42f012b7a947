//! `ngx.print`, `ngx.say`, `ngx.flush`, `ngx.eof`, `ngx.send_headers`.
//!
//! What Lua prints is staged in one buffer and handed to nginx's filters when the buffer is full, when the coroutine
//! waits, on a flush, and at the end, together with the last-buffer mark. The header is sent at the first print, as
//! Lua can observe it: directly, unless a Lua filter would run, which must not happen under a Lua frame.

use std::ffi::c_int;
use std::io::Write as _;
use std::ptr;
use std::task::Poll;

use nginx_sys::*;

use super::{arg, error, spacer_str, wait, with_request_in, AGAIN, FAIL, HANDLERS, OK};
use crate::conf;
use crate::ctx::Ctx;
use crate::module;
use crate::ngx::{self, log_debug};

/// When this much is staged it is handed on.
const STAGE_MAX: usize = 8 * 1024;

/// What a recycled `Ctx` may keep allocated.
const STAGE_KEEP: usize = 64 * 1024;

pub struct Output {
    stage: Vec<u8>,
    /// Where the current print began, to take it back when one of its arguments is bad.
    mark: usize,
    /// Buffers that nginx has sent, for the next hand-over, and those that it still holds.
    free: *mut ngx_chain_t,
    busy: *mut ngx_chain_t,
    pub header_sent: bool,
    /// The header is, or was, sent from here rather than by nginx.
    ours: bool,
    /// The last buffer has been sent.
    pub eof: bool,
    /// HTTP/1.0: the whole response is collected, so that it gets a `Content-Length`.
    buffering: bool,
    failed: bool,
    /// `ngx.flush(true)` waits for the client to take everything.
    flushing: bool,
}

impl Output {
    pub fn new() -> Self {
        Output {
            stage: Vec::new(),
            mark: 0,
            free: ptr::null_mut(),
            busy: ptr::null_mut(),
            header_sent: false,
            ours: false,
            eof: false,
            buffering: false,
            failed: false,
            flushing: false,
        }
    }

    /// Ready for another request: only the staging buffer's memory is kept.
    pub fn recycle(&mut self) {
        self.stage.clear();
        if self.stage.capacity() > STAGE_KEEP {
            self.stage.shrink_to(STAGE_KEEP);
        }
        let stage = std::mem::take(&mut self.stage);
        *self = Output { stage, ..Output::new() };
    }

    pub fn is_buffering(&self) -> bool {
        self.buffering
    }

    /// Whether the response that is sent is made here, not one of nginx's error pages.
    pub fn is_ours(&self) -> bool {
        self.ours
    }

    /// Adds to the response, for the platform's own answers.
    pub fn stage(&mut self) -> &mut Vec<u8> {
        &mut self.stage
    }
}

/// Whether nginx's output filters would run Lua for this request.
unsafe fn runs_lua_filters(ctx: &Ctx) -> bool {
    // SAFETY: the request is live.
    let conf = unsafe { conf::loc_conf(ctx.r) };
    !conf.header_filter.is_null() || !conf.body_filter.is_null()
}

/// Sends the response header, unless that is done, or put off in HTTP/1.0 buffering.
pub unsafe fn send_header(ctx: &mut Ctx) -> ngx_int_t {
    // SAFETY: the request is live.
    unsafe {
        let r = ctx.r;
        if (*r).method & NGX_HTTP_HEAD as ngx_uint_t != 0 {
            (*r).set_header_only(1);
        }
        if ctx.header_sent() {
            return ngx::OK;
        }
        if conf::loc_conf(r).http10_buffering != 0
            && (*r).http_version < NGX_HTTP_VERSION_11 as ngx_uint_t
            && (*r).headers_out.content_length_n < 0
        {
            ctx.output.buffering = true;
        }
        prepare_header(ctx);
        if ctx.output.buffering {
            return ngx::OK;
        }
        transmit_header(ctx)
    }
}

/// Sets what a response header needs and Lua has not set.
unsafe fn prepare_header(ctx: &mut Ctx) {
    // SAFETY: the request is live.
    unsafe {
        let r = ctx.r;
        if (*r).headers_out.status == 0 {
            (*r).headers_out.status = NGX_HTTP_OK as ngx_uint_t;
        }
        super::headers_out::default_content_type(ctx);
        if !ctx.headers_set {
            clear_length(r);
        }
    }
}

unsafe fn clear_length(r: ngx::Request) {
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

unsafe fn transmit_header(ctx: &mut Ctx) -> ngx_int_t {
    ctx.output.ours = true;
    // SAFETY: the request is live.
    let rc = unsafe { ngx_http_send_header(ctx.r) };
    // Only now: a header filter may still change the header.
    ctx.output.header_sent = true;
    rc
}

/// Hands what is staged to nginx's filters.
pub unsafe fn hand_over(ctx: &mut Ctx) -> ngx_int_t {
    if ctx.output.stage.is_empty() || ctx.output.buffering {
        return ngx::OK;
    }
    // SAFETY: the request is live.
    unsafe { pass_on(ctx, false, false) }
}

/// Passes the staged bytes on, with marks for the end of the response or for a flush.
unsafe fn pass_on(ctx: &mut Ctx, last: bool, flush: bool) -> ngx_int_t {
    // SAFETY: the request and its pool are live; buffers are reused only when nginx is done with them.
    unsafe {
        let r = ctx.r;
        let len = ctx.output.stage.len();
        let link = match take_buffer(ctx, len) {
            Some(link) => link,
            None => return ngx::ERROR,
        };
        let buffer = &mut *(*link).buf;
        if len > 0 {
            ptr::copy_nonoverlapping(ctx.output.stage.as_ptr(), buffer.pos, len);
            buffer.last = buffer.pos.add(len);
            buffer.set_temporary(1);
            ctx.output.stage.clear();
            if ctx.output.stage.capacity() > STAGE_KEEP {
                ctx.output.stage.shrink_to(STAGE_KEEP);
            }
        }
        if last {
            if r == (*r).main {
                buffer.set_last_buf(1);
            } else {
                buffer.set_sync((len == 0) as _);
            }
            buffer.set_last_in_chain(1);
        }
        if flush {
            buffer.set_flush(1);
        }
        let rc = ngx_http_output_filter(r, link);
        if rc == ngx::ERROR {
            ctx.output.failed = true;
        }
        if last {
            return rc;
        }
        let mut out = link;
        ngx_chain_update_chains(
            (*r).pool,
            &mut ctx.output.free,
            &mut ctx.output.busy,
            &mut out,
            module::tag(),
        );
        rc
    }
}

/// A link with its buffer and, behind them, the bytes: one allocation for a response that is handed over once.
#[repr(C)]
struct Packed {
    link: ngx_chain_t,
    buffer: ngx_buf_t,
}

/// A chain link with an empty buffer for `len` bytes: one that nginx is done with, or a new one.
unsafe fn take_buffer(ctx: &mut Ctx, len: usize) -> Option<*mut ngx_chain_t> {
    // SAFETY: links in `free` belong to this request and nobody else refers to them.
    unsafe {
        let pool = (*ctx.r).pool;
        if ctx.output.free.is_null() {
            // The second buffer of a response says that more will follow: make it one that fits them.
            let size = if ctx.output.busy.is_null() { len } else { len.max(STAGE_MAX / 2) };
            let packed: *mut Packed = ngx_palloc(pool, size_of::<Packed>() + size).cast();
            if packed.is_null() {
                return None;
            }
            let start: *mut u8 = packed.add(1).cast();
            (*packed).link = ngx_chain_t { buf: &mut (*packed).buffer, next: ptr::null_mut() };
            (*packed).buffer = empty_buffer(start, start.add(size));
            return Some(&mut (*packed).link);
        }
        let link = ctx.output.free;
        ctx.output.free = (*link).next;
        (*link).next = ptr::null_mut();
        let buffer = &mut *(*link).buf;
        let (mut start, mut end) = (buffer.start, buffer.end);
        if (end.offset_from(start) as usize) < len {
            let size = len.max(STAGE_MAX / 2);
            start = ngx_pnalloc(pool, size).cast();
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
    buffer.pos = start;
    buffer.last = start;
    buffer.end = end;
    buffer.tag = module::tag();
    buffer
}

/// Sends what is left of the response, and the last-buffer mark.
pub unsafe fn finish(ctx: &mut Ctx) -> ngx_int_t {
    // SAFETY: the request is live.
    unsafe {
        if ctx.output.eof {
            return ngx::OK;
        }
        let r = ctx.r;
        let rc = send_header(ctx);
        if rc == ngx::ERROR || rc > ngx::OK {
            return rc;
        }
        if (*r).header_only() != 0 {
            ctx.output.eof = true;
            ctx.output.stage.clear();
            return if ctx.output.buffering && !ctx.header_sent() {
                transmit_header(ctx)
            } else {
                rc
            };
        }
        if (*r).request_body.is_null()
            && r == (*r).main
            && ngx_http_discard_request_body(r) != ngx::OK
        {
            return ngx::ERROR;
        }
        if ctx.output.buffering && !ctx.header_sent() {
            let out = &mut (*r).headers_out;
            if out.content_length.is_null() {
                out.content_length_n = ctx.output.stage.len() as off_t;
            }
            let rc = transmit_header(ctx);
            if rc == ngx::ERROR || rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
                return rc;
            }
        }
        ctx.output.eof = true;
        log_debug!(r, "lua sending last buf of the response body");
        let rc = pass_on(ctx, true, false);
        if rc == ngx::ERROR || rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
            return rc;
        }
        ngx::OK
    }
}

/// The reasons why nothing may be printed any more.
fn refuse(ctx: &Ctx) -> Option<c_int> {
    // SAFETY: the request is live.
    if unsafe { (*ctx.r).header_only() } != 0 {
        return Some(error(FAIL, format_args!("header only")));
    }
    if ctx.output.eof {
        return Some(error(FAIL, format_args!("seen eof")));
    }
    if ctx.output.failed {
        return Some(filter_error());
    }
    None
}

fn filter_error() -> c_int {
    error(FAIL, format_args!("nginx output filter error"))
}

/// Does `operation` at once, or, where it would run Lua filters, outside Lua.
fn perform(ctx: &mut Ctx, operation: unsafe fn(&mut Ctx) -> c_int) -> c_int {
    // SAFETY: the request is live now, and when its thread's future is polled.
    unsafe {
        if !runs_lua_filters(ctx) {
            return operation(ctx);
        }
        let ctx: *mut Ctx = ctx;
        wait(Box::pin(std::future::poll_fn(move |_| Poll::Ready(operation(&mut *ctx)))))
    }
}

/// After a print: sends the header if it isn't, and hands on a full stage.
fn commit(ctx: &mut Ctx) -> c_int {
    if ctx.output.stage.len() < STAGE_MAX && ctx.header_sent() {
        return OK;
    }
    perform(ctx, |ctx| {
        // SAFETY: as in `perform`.
        unsafe {
            let rc = send_header(ctx);
            if rc == ngx::ERROR || rc > ngx::OK {
                ctx.output.failed = true;
                // A header filter may have sent another response instead.
                ctx.output.stage.clear();
                return filter_error();
            }
            if (*ctx.r).header_only() != 0 {
                ctx.output.eof = true;
                ctx.output.stage.clear();
                if ctx.output.buffering {
                    transmit_header(ctx);
                }
                return OK;
            }
            if ctx.output.buffering {
                log_debug!(ctx.r, "lua buffering output bufs for the HTTP 1.0 request");
            }
            if ctx.output.stage.len() >= STAGE_MAX && hand_over(ctx) == ngx::ERROR {
                return filter_error();
            }
            OK
        }
    })
}

/// One string and a newline: the common case in one call.
#[no_mangle]
pub extern "C" fn spacer_say(data: *const u8, len: usize) -> c_int {
    with_request_in(HANDLERS, |ctx| {
        if let Some(refused) = refuse(ctx) {
            return refused;
        }
        // SAFETY: Lua's string.
        ctx.output.stage.extend_from_slice(unsafe { arg(data, len) });
        ctx.output.stage.push(b'\n');
        commit(ctx)
    })
}

/// One string.
#[no_mangle]
pub extern "C" fn spacer_print(data: *const u8, len: usize) -> c_int {
    with_request_in(HANDLERS, |ctx| {
        if let Some(refused) = refuse(ctx) {
            return refused;
        }
        // SAFETY: Lua's string.
        ctx.output.stage.extend_from_slice(unsafe { arg(data, len) });
        commit(ctx)
    })
}

/// Begins a print of several pieces.
#[no_mangle]
pub extern "C" fn spacer_print_begin() -> c_int {
    with_request_in(HANDLERS, |ctx| {
        ctx.output.mark = ctx.output.stage.len();
        refuse(ctx).unwrap_or(OK)
    })
}

/// A piece of a print that was begun.
#[no_mangle]
pub extern "C" fn spacer_print_piece(data: *const u8, len: usize) {
    with_request_in(HANDLERS, |ctx| {
        // SAFETY: Lua's string.
        ctx.output.stage.extend_from_slice(unsafe { arg(data, len) });
        OK
    });
}

/// A number as a piece, as Lua's `tostring` writes it.
#[no_mangle]
pub extern "C" fn spacer_print_number(number: f64) {
    with_request_in(HANDLERS, |ctx| {
        write_number(&mut ctx.output.stage, number);
        OK
    });
}

pub fn write_number(out: &mut Vec<u8>, number: f64) {
    if number.fract() == 0.0 && number.abs() < 1e14 && (number != 0.0 || number.is_sign_positive())
    {
        let _ = write!(out, "{}", number as i64);
        return;
    }
    let mut text = [0u8; 40];
    // SAFETY: "%.14g" of a double fits the buffer.
    let len =
        unsafe { libc::snprintf(text.as_mut_ptr().cast(), text.len(), c"%.14g".as_ptr(), number) };
    out.extend_from_slice(&text[..len.max(0) as usize]);
}

/// Takes back what was printed since `spacer_print_begin`.
#[no_mangle]
pub extern "C" fn spacer_print_cancel() {
    with_request_in(HANDLERS, |ctx| {
        ctx.output.stage.truncate(ctx.output.mark);
        OK
    });
}

/// Ends a print that was begun.
#[no_mangle]
pub extern "C" fn spacer_print_end(newline: bool) -> c_int {
    with_request_in(HANDLERS, |ctx| {
        if newline {
            ctx.output.stage.push(b'\n');
        }
        commit(ctx)
    })
}

#[no_mangle]
pub extern "C" fn spacer_send_headers() -> c_int {
    with_request_in(HANDLERS, |ctx| {
        if ctx.header_sent() {
            return OK;
        }
        perform(ctx, |ctx| {
            // SAFETY: as in `perform`.
            let rc = unsafe { send_header(ctx) };
            if rc == ngx::ERROR || rc > ngx::OK {
                return filter_error();
            }
            OK
        })
    })
}

#[no_mangle]
pub extern "C" fn spacer_eof() -> c_int {
    with_request_in(HANDLERS, |ctx| {
        if ctx.output.eof {
            return error(FAIL, format_args!("seen eof"));
        }
        // SAFETY: the request is live.
        unsafe { log_debug!(ctx.r, "lua send eof") };
        perform(ctx, |ctx| {
            // SAFETY: as in `perform`.
            let rc = unsafe { finish(ctx) };
            if rc == ngx::ERROR || rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
                return filter_error();
            }
            OK
        })
    })
}

/// `ngx.flush(wait)`.
#[no_mangle]
pub extern "C" fn spacer_flush(wait_for_client: bool) -> c_int {
    with_request_in(HANDLERS, |ctx| {
        // SAFETY: the request is live.
        unsafe {
            if (*ctx.r).header_only() != 0 {
                return error(FAIL, format_args!("header only"));
            }
            if ctx.output.eof {
                return error(FAIL, format_args!("seen eof"));
            }
            if ctx.output.buffering {
                log_debug!(ctx.r, "lua http 1.0 buffering makes ngx.flush() a no-op");
                return error(FAIL, format_args!("buffering"));
            }
            if !ctx.header_sent() {
                return error(FAIL, format_args!("nothing to flush"));
            }
        }
        let rc = perform(ctx, flush_now);
        if rc != OK || !wait_for_client {
            if rc == AGAIN && wait_for_client {
                return wait_flushed(ctx, true);
            }
            // SAFETY: the request is live.
            unsafe { log_debug!(ctx.r, "lua flush asynchronously") };
            return rc;
        }
        if is_flushed(ctx) {
            return OK;
        }
        wait_flushed(ctx, false)
    })
}

unsafe fn flush_now(ctx: &mut Ctx) -> c_int {
    // SAFETY: as in `perform`.
    if unsafe { pass_on(ctx, false, true) } == ngx::ERROR {
        return filter_error();
    }
    OK
}

fn is_flushed(ctx: &Ctx) -> bool {
    // SAFETY: the request is live.
    unsafe {
        let connection = &*(*ctx.r).connection;
        connection.buffered() & (NGX_HTTP_LOWLEVEL_BUFFERED | NGX_LOWLEVEL_BUFFERED) == 0
    }
}

/// Waits until the client has taken everything; `first` says that the flush itself is still to be done.
fn wait_flushed(ctx: &mut Ctx, mut first: bool) -> c_int {
    let ctx: *mut Ctx = ctx;
    wait(Box::pin(std::future::poll_fn(move |_| {
        // SAFETY: the future belongs to a thread of this `Ctx`.
        let ctx = unsafe { &mut *ctx };
        if std::mem::take(&mut first) {
            // SAFETY: outside Lua, with a live request.
            let rc = unsafe { flush_now(ctx) };
            if rc != OK {
                return Poll::Ready(rc);
            }
        }
        // SAFETY: the request is live.
        unsafe {
            let connection = (*ctx.r).connection;
            if (*connection).timedout() != 0 {
                return Poll::Ready(error(FAIL, format_args!("timeout")));
            }
            if (*connection).error() != 0 {
                return Poll::Ready(error(FAIL, format_args!("client aborted")));
            }
            if is_flushed(ctx) {
                return Poll::Ready(OK);
            }
            log_debug!(
                ctx.r,
                "lua flush requires waiting: buffered 0x{:x}, delayed:{}",
                (*connection).buffered(),
                (*(*connection).write).delayed()
            );
            ctx.output.flushing = true;
            let core = core_loc_conf(ctx.r);
            let event = (*connection).write;
            if (*event).delayed() == 0 {
                ngx_add_timer(event, core.send_timeout);
            }
            if ngx_handle_write_event(event, core.send_lowat) != ngx::OK {
                return Poll::Ready(error(FAIL, format_args!("connection broken")));
            }
        }
        Poll::Pending
    })))
}

unsafe fn core_loc_conf<'a>(r: ngx::Request) -> &'a ngx_http_core_loc_conf_t {
    // SAFETY: a live request has its core configuration.
    unsafe { ngx::module_conf((*r).loc_conf, &*ptr::addr_of!(ngx_http_core_module)) }
}

/// The connection can be written, or its timer went off: sends on, and wakes who waits in `ngx.flush(true)`.
pub unsafe fn write_event(ctx: &mut Ctx) {
    // SAFETY: nginx called the write handler of a live request.
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
        if !ctx.output.flushing {
            return;
        }
        if is_flushed(ctx) || (*connection).timedout() != 0 || (*connection).error() != 0 {
            ctx.output.flushing = false;
            if (*event).timer_set() != 0 && (*event).delayed() == 0 {
                ngx_del_timer(event);
            }
            // The thread is resumed by the write handler that called this.
            if let Some(thread) = ctx.entry.as_deref_mut() {
                let thread = ptr::from_mut(thread);
                ctx.ready.push(thread);
            }
        } else if (*event).delayed() == 0 {
            let core = core_loc_conf(r);
            if (*event).timer_set() == 0 {
                ngx_add_timer(event, core.send_timeout);
            }
            ngx_handle_write_event(event, core.send_lowat);
        }
    }
}

unsafe fn log_timeout(connection: *mut ngx_connection_t) {
    // SAFETY: the connection is live.
    unsafe {
        ngx::log_fmt(
            NGX_LOG_INFO,
            (*connection).log,
            libc::ETIMEDOUT,
            format_args!("client timed out"),
        )
    }
}

/// `ngx.headers_sent`: 1, 0, or a raised error.
#[no_mangle]
pub extern "C" fn spacer_headers_sent() -> c_int {
    super::with_request(|ctx| ctx.header_sent() as c_int)
}

#[no_mangle]
pub extern "C" fn spacer_string_of_number(number: f64, out: &mut spacer_str) {
    // SAFETY: the text is read before the next boundary call.
    let text = unsafe { super::scratch() };
    write_number(text, number);
    out.set(text);
}
