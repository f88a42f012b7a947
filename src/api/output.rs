//! `ngx.print`, `ngx.say`, `ngx.flush`, `ngx.eof`, `ngx.send_headers`. What they print is staged and sent by
//! [`crate::request::output`]: directly, unless a Lua filter would run, which must not happen under a Lua frame.

use std::ffi::c_int;
use std::io::Write as _;
use std::task::Poll;

use nginx_sys::*;

use super::{arg, error, wait, with_request_in, without_status, AGAIN, FAIL, HANDLERS, OK};
use crate::conf::{self, core_loc_conf};
use crate::nginx::{self, log_debug};
use crate::request::ctx::Ctx;
use crate::request::output::{
    finish, hand_over, is_flushed, pass_on, send_header, transmit_header, STAGE_MAX,
};

/// The status of a print that comes when nothing may be printed any more.
fn refuse(ctx: &Ctx) -> Option<c_int> {
    // SAFETY: the request is live.
    let header_only = unsafe { (*ctx.r).header_only() } != 0;
    let ended = ctx.output.eof.get() || ctx.output.complete.get();
    (header_only || ended || ctx.output.failed.get()).then(|| refusal(ctx, header_only))
}

#[cold]
fn refusal(ctx: &Ctx, header_only: bool) -> c_int {
    if header_only {
        return error(FAIL, format_args!("header only"));
    }
    if ctx.output.eof.get() || ctx.output.complete.get() {
        return error(FAIL, format_args!("seen eof"));
    }
    filter_error()
}

fn filter_error() -> c_int {
    error(FAIL, format_args!("nginx output filter error"))
}

/// Does `operation` at once, or, where it would run Lua filters, outside Lua.
fn perform(ctx: &Ctx, operation: unsafe fn(&Ctx) -> c_int) -> c_int {
    // SAFETY: the request is live now, and when its thread's future is polled.
    unsafe {
        if !conf::loc_conf(ctx.r).has_filters() {
            return operation(ctx);
        }
    }
    perform_outside(ctx, operation)
}

#[cold]
fn perform_outside(ctx: &Ctx, operation: unsafe fn(&Ctx) -> c_int) -> c_int {
    let ctx = std::ptr::from_ref(ctx);
    // SAFETY: as in `perform`.
    wait(Box::pin(std::future::poll_fn(move |_| Poll::Ready(unsafe { operation(&*ctx) }))))
}

/// Gives up the wait that `perform` asked for: the coroutine can't yield.
#[no_mangle]
pub extern "C" fn spacer_put_off() {
    without_status((), super::give_up);
}

/// After a print: sends the header if it isn't, and hands on a full stage.
fn commit(ctx: &Ctx) -> c_int {
    if ctx.output.staged() < STAGE_MAX && ctx.header_sent() {
        return OK;
    }
    perform(ctx, |ctx| {
        // SAFETY: as in `perform`.
        unsafe {
            let rc = send_header(ctx);
            if rc == nginx::ERROR || rc > nginx::OK {
                ctx.output.failed.set(true);
                // A header filter may have sent another response instead.
                ctx.output.stage().clear();
                return filter_error();
            }
            if (*ctx.r).header_only() != 0 {
                ctx.output.eof.set(true);
                ctx.output.stage().clear();
                if ctx.output.buffering.get() {
                    transmit_header(ctx);
                }
                return OK;
            }
            if ctx.output.buffering.get() {
                log_debug!(ctx.r, "lua buffering output bufs for the HTTP 1.0 request");
            }
            if ctx.output.staged() >= STAGE_MAX && hand_over(ctx) == nginx::ERROR {
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
        let text = unsafe { arg(data, len) };
        let mut stage = ctx.output.stage();
        stage.extend_from_slice(text);
        stage.push(b'\n');
        drop(stage);
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
        ctx.output.stage().extend_from_slice(unsafe { arg(data, len) });
        commit(ctx)
    })
}

/// Begins a print of several pieces.
#[no_mangle]
pub extern "C" fn spacer_print_begin() -> c_int {
    with_request_in(HANDLERS, |ctx| {
        ctx.output.mark.set(ctx.output.staged());
        refuse(ctx).unwrap_or(OK)
    })
}

/// A piece of a print that was begun.
#[no_mangle]
pub extern "C" fn spacer_print_piece(data: *const u8, len: usize) {
    with_request_in(HANDLERS, |ctx| {
        // SAFETY: Lua's string.
        ctx.output.stage().extend_from_slice(unsafe { arg(data, len) });
        OK
    });
}

/// A number as a piece, as Lua's `tostring` writes it.
#[no_mangle]
pub extern "C" fn spacer_print_number(number: f64) {
    with_request_in(HANDLERS, |ctx| {
        write_number(&mut ctx.output.stage(), number);
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
        ctx.output.stage().truncate(ctx.output.mark.get());
        OK
    });
}

/// Ends a print that was begun.
#[no_mangle]
pub extern "C" fn spacer_print_end(newline: bool) -> c_int {
    with_request_in(HANDLERS, |ctx| {
        if newline {
            ctx.output.stage().push(b'\n');
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
            if rc == nginx::ERROR || rc > nginx::OK {
                return filter_error();
            }
            OK
        })
    })
}

#[no_mangle]
pub extern "C" fn spacer_eof() -> c_int {
    with_request_in(HANDLERS, |ctx| {
        if ctx.output.eof.get() {
            return error(FAIL, format_args!("seen eof"));
        }
        // SAFETY: the request is live.
        unsafe { log_debug!(ctx.r, "lua send eof") };
        perform(ctx, |ctx| {
            // SAFETY: as in `perform`.
            let rc = unsafe { finish(ctx) };
            if rc == nginx::ERROR || rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
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
            if ctx.output.eof.get() {
                return error(FAIL, format_args!("seen eof"));
            }
            if ctx.output.buffering.get() {
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

unsafe fn flush_now(ctx: &Ctx) -> c_int {
    // SAFETY: as in `perform`.
    if unsafe { pass_on(ctx, true) } == nginx::ERROR {
        return filter_error();
    }
    OK
}

/// Waits until the client has taken everything; `first` says that the flush itself is still to be done.
fn wait_flushed(ctx: &Ctx, mut first: bool) -> c_int {
    let ctx = std::ptr::from_ref(ctx);
    wait(Box::pin(std::future::poll_fn(move |context| {
        // SAFETY: the future belongs to a task of this `Ctx`.
        let ctx = unsafe { &*ctx };
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
            ctx.output.wake_when_flushed(context.waker());
            let core = core_loc_conf(ctx.r);
            let event = (*connection).write;
            if (*event).delayed() == 0 {
                ngx_add_timer(event, core.send_timeout);
            }
            if ngx_handle_write_event(event, core.send_lowat) != nginx::OK {
                return Poll::Ready(error(FAIL, format_args!("connection broken")));
            }
        }
        Poll::Pending
    })))
}

/// `ngx.headers_sent`: 1, 0, or a raised error.
#[no_mangle]
pub extern "C" fn spacer_headers_sent() -> c_int {
    super::with_request(|ctx| ctx.header_sent() as c_int)
}
