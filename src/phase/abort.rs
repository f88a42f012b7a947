//! Clients that leave before they are answered: `lua_check_client_abort` and `ngx.on_abort`.

use std::ptr;

use coro::Outcome;
use nginx_sys::*;

use super::go_on;
use crate::conf;
use crate::nginx::{self, fault, guard, log_debug, Request};
use crate::request::ctx::{self, Ctx};
use crate::request::tasks::{scheduler, Requests};
use crate::run;

/// Has nginx look for the client's leaving while Lua runs for the request, where that is asked for; otherwise what the client sends is left
/// alone.
///
/// # Safety
/// The request is live.
pub unsafe fn watch_client(ctx: &Ctx) {
    // SAFETY: the caller's promise.
    unsafe {
        let r = ctx.r;
        if ctx.body.is_reading() {
            return;
        }
        if conf::loc_conf(r).check_client_abort == 0 {
            (*r).read_event_handler = Some(ngx_http_block_reading);
            return;
        }
        (*r).read_event_handler = Some(check);
        let read = (*(*r).connection).read;
        if !has_no_socket(r) && (*read).active() == 0 {
            // What can't be watched is served like any other.
            ngx_handle_read_event(read, 0);
        }
    }
}

unsafe extern "C" fn check(r: Request) {
    // SAFETY: nginx calls this with a live request.
    unsafe {
        guard((*(*r).connection).log, (), || {
            fault::point("abort");
            if !has_left(r) {
                return;
            }
            match ctx::get(r) {
                Some(ctx) => left(ctx),
                None => ngx_http_finalize_request(r, NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t),
            }
        });
    }
}

/// Whether the client has closed its connection, or its stream.
unsafe fn has_left(r: Request) -> bool {
    // SAFETY: the caller's request is live.
    unsafe {
        let c = (*r).connection;
        let read = (*c).read;
        log_debug!(r, "http lua check client, write event:{}", (*read).write());
        if (*c).error() != 0 || (*read).pending_eof() != 0 {
            (*read).set_eof(1);
            (*c).set_error(1);
            return true;
        }
        if has_no_socket(r) {
            if !is_cut_off(r) {
                return false;
            }
            (*c).set_error(1);
            log_closed(c);
            return true;
        }
        let mut byte = 0u8;
        let n = libc::recv((*c).fd, ptr::from_mut(&mut byte).cast(), 1, libc::MSG_PEEK);
        let again =
            n < 0 && std::io::Error::last_os_error().kind() == std::io::ErrorKind::WouldBlock;
        if n > 0 || again {
            // The next request, or nothing.
            if ngx_event_flags & NGX_USE_LEVEL_EVENT as ngx_uint_t != 0 && (*read).active() != 0 {
                // Such an event would come again and again.
                if let Some(del) = ngx_event_actions.del {
                    del(read, libc::EPOLLIN as ngx_int_t, 0);
                }
            }
            return false;
        }
        (*read).set_eof(1);
        (*c).set_error(1);
        log_closed(c);
        true
    }
}

unsafe fn log_closed(c: *mut ngx_connection_t) {
    // SAFETY: the caller's connection is live.
    unsafe {
        let message = format_args!("client prematurely closed connection");
        nginx::log_fmt(NGX_LOG_INFO, (*c).log, 0, message);
    }
}

/// Whether the request is a stream of a connection that nginx reads by itself.
unsafe fn has_no_socket(r: Request) -> bool {
    // SAFETY: the caller's request is live.
    unsafe {
        #[cfg(ngx_feature = "quic")]
        if !(*(*r).connection).quic.is_null() {
            return true;
        }
        !(*r).stream.is_null()
    }
}

/// Whether nginx knows that no answer reaches the client any more.
unsafe fn is_cut_off(r: Request) -> bool {
    // SAFETY: the caller's request is live.
    unsafe {
        let c = (*r).connection;
        #[cfg(ngx_feature = "quic")]
        if !(*c).quic.is_null() && ((*(*c).read).error() != 0 || (*(*c).write).error() != 0) {
            return true;
        }
        (*c).error() != 0
    }
}

/// Looks for the client's leaving at a write event, which may be the only one: nginx calls no other for a stream of HTTP/2 with output
/// that waits, whose connection is lost, and for one of HTTP/3 whose response is wanted no more. Says whether the request lives on.
///
/// # Safety
/// nginx called the write handler of a live request.
pub unsafe fn look_when_written(r: Request) -> bool {
    // SAFETY: the caller's promise; nginx recycles connections, but doesn't free them here.
    unsafe {
        if (*r).main != r || !is_cut_off(r) {
            return true;
        }
        let c = (*r).connection;
        if let Some(handler) = (*r).read_event_handler {
            handler(r);
        }
        (*c).destroyed() == 0
    }
}

/// The client has left: `ngx.on_abort`'s callback runs beside what runs already; without one the request ends.
unsafe fn left(ctx: &Ctx) {
    // SAFETY: the request is live, and may be gone afterwards.
    unsafe {
        let r = ctx.r;
        let connection = (*r).connection;
        (*r).read_event_handler = Some(ngx_http_block_reading);
        let callback = ctx.state.on_abort.take().zip(ctx.state.family.get());
        let Some((coroutine, family)) = callback else {
            (*r).set_keepalive(0);
            ctx.stop_tasks();
            ngx_http_finalize_request(r, NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t);
            ngx_http_run_posted_requests(connection);
            return;
        };
        let Some(task) = scheduler().add(family, coroutine) else {
            ctx.vm().discard(coroutine);
            return;
        };
        let outcome = guard(ctx.log(), Outcome::Failed, || {
            let _busy = run::Busy::enter();
            scheduler().run(&mut Requests, task, 0)
        });
        go_on(ctx, outcome);
        ngx_http_run_posted_requests(connection);
    }
}
