//! The content phase: `content_by_lua*`, and whatever else answers with Lua.

use std::task::Poll;

use coro::Outcome;
use nginx_sys::*;

use super::{failure, go_on, settle, start, wants_body};
use crate::conf;
use crate::conf::phase::Phase;
use crate::nginx::{self, guard, guard_or, log_debug, Request};
use crate::request::ctx::{self, Ctx};
use crate::request::{body, output};

pub unsafe extern "C" fn handler(r: Request) -> ngx_int_t {
    // SAFETY: nginx calls this with a live request.
    unsafe {
        serve(r, |ctx| {
            if wants_body(conf::loc_conf(r), Phase::Content) {
                match body::read_first(ctx, body_read) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(rc)) => return Err(rc),
                    Poll::Pending => {
                        nginx::hold(r);
                        return Err(nginx::DONE);
                    }
                }
            }
            run(ctx)
        })
    }
}

unsafe fn run(ctx: &Ctx) -> Result<Outcome, ngx_int_t> {
    // SAFETY: the request is live.
    unsafe {
        match conf::loc_conf(ctx.r).code(Phase::Content) {
            Some(code) => start(ctx, Phase::Content, code),
            None => Err(nginx::DECLINED),
        }
    }
}

/// The body that was waited for is there.
unsafe fn body_read(ctx: &Ctx) {
    // SAFETY: the request is live, and held since it began to wait.
    unsafe {
        match guard(ctx.log(), Ok(Outcome::Failed), || run(ctx)) {
            Ok(outcome) => go_on(ctx, outcome),
            Err(rc) => ngx_http_finalize_request(ctx.r, rc),
        }
    }
}

/// Answers a request with what `start` runs.
///
/// # Safety
/// The request is live and in its content phase.
pub unsafe fn serve(
    r: Request,
    start: impl FnOnce(&Ctx) -> Result<Outcome, ngx_int_t>,
) -> ngx_int_t {
    // SAFETY: the caller's promise.
    unsafe {
        const FAILED: ngx_int_t = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
        let log = (*(*r).connection).log;
        let answer = || {
            log_debug!(
                r,
                "lua content handler, uri:\"{}\" c:{}",
                nginx::text((*r).uri),
                (*(*r).main).count()
            );
            let Some(ctx) = ctx::get_or_create_unkept(r) else { return FAILED };
            match start(ctx) {
                Ok(outcome) => conclude(ctx, outcome),
                Err(status) if ctx::keep(ctx) => status,
                Err(_) => FAILED,
            }
        };
        guard_or(log, answer, || match ctx::get(r) {
            Some(ctx) if ctx::keep(ctx) => failure(ctx),
            _ => FAILED,
        })
    }
}

/// What the handler returns: the final status, or `NGX_DONE` with the request held while the code waits.
unsafe fn conclude(ctx: &Ctx, outcome: Outcome) -> ngx_int_t {
    // SAFETY: the request is live.
    unsafe {
        let r = ctx.r;
        if outcome == Outcome::Over {
            ctx.stop_tasks();
            body::set_aside(ctx);
            let last = output::take_last(ctx);
            // Before it is sent, which the `Ctx` isn't needed for: the kernel's work takes it out of the caches.
            ctx::release_if_done(ctx);
            return match last {
                Ok(last) => output::send_last(r, last),
                Err(rc) if rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t || rc == nginx::ERROR => rc,
                Err(_) => nginx::OK,
            };
        }
        if !ctx::keep(ctx) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
        }
        if outcome == Outcome::Gone {
            // Whoever ended the tasks goes on with the request, by references of his own.
            return nginx::DONE;
        }
        let Some(rc) = settle(ctx, outcome) else {
            nginx::hold(r);
            return nginx::DONE;
        };
        // There is no answer, as in the reference, and then no next one on the connection that would be taken for it.
        if rc == nginx::DECLINED {
            return nginx::ERROR;
        }
        rc
    }
}
