//! The content phase: `content_by_lua*` and the function platform's locations.

use nginx_sys::*;

use super::{guard, settle, start, Phase};
use crate::conf;
use crate::ctx::{self, Ctx};
use crate::ngx::{self, log_debug, Request};
use crate::output;
use crate::sched::Outcome;

pub unsafe extern "C" fn handler(r: Request) -> ngx_int_t {
    // SAFETY: nginx calls this with a live request.
    unsafe {
        let log = (*(*r).connection).log;
        guard(log, NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t, || {
            log_debug!(
                r,
                "lua content handler, uri:\"{}\" c:{}",
                ngx::text((*r).uri),
                (*(*r).main).count()
            );
            let Some(ctx) = ctx::get_or_create_unkept(r) else {
                return NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
            };
            begin(ctx)
        })
    }
}

/// Reads the body first where that is asked for, then runs the code.
unsafe fn begin(ctx: &mut Ctx) -> ngx_int_t {
    // SAFETY: the request is live.
    unsafe {
        let r = ctx.r;
        let conf = conf::loc_conf(r);
        if conf.need_request_body != 0 && conf.endpoint.is_null() && !ctx.body_read {
            ctx::keep(ctx);
            return match super::rewrite::read_body_first(ctx, body_read) {
                Some(rc) => rc,
                None => run(ctx),
            };
        }
        run(ctx)
    }
}

unsafe extern "C" fn body_read(r: Request) {
    // SAFETY: nginx calls this with the request whose body it has read.
    unsafe {
        let Some(ctx) = ctx::get(r) else { return };
        ctx.body_read = true;
        if ctx.waiting_body {
            ctx.waiting_body = false;
            let rc = run(ctx);
            ngx_http_finalize_request(r, rc);
        } else {
            ngx::release(r);
        }
    }
}

unsafe fn run(ctx: &mut Ctx) -> ngx_int_t {
    // SAFETY: the request is live.
    unsafe {
        let r = ctx.r;
        let conf = conf::loc_conf(r);
        (*r).read_event_handler = Some(ngx_http_block_reading);
        let outcome = if !conf.endpoint.is_null() {
            crate::function::start(ctx)
        } else if let Some(code) = conf.content.as_ref() {
            start(ctx, Phase::Content, code)
        } else {
            ctx::keep(ctx);
            return ngx::DECLINED;
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(status) => {
                ctx::keep(ctx);
                return status;
            }
        };
        conclude(ctx, outcome)
    }
}

/// What the handler returns: the final status, or `NGX_DONE` with the request held while the code waits.
unsafe fn conclude(ctx: &mut Ctx, outcome: Outcome) -> ngx_int_t {
    // SAFETY: the request is live.
    unsafe {
        let r = ctx.r;
        if matches!(outcome, Outcome::Returned) {
            ctx.finish_entry(true);
            let last = output::take_last(ctx);
            // Before it is sent, which the `Ctx` isn't needed for: the kernel's work takes it out of the caches.
            ctx::release_if_done(ctx);
            return match last {
                Ok(last) => output::send_last(r, last),
                Err(rc) if rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t || rc == ngx::ERROR => rc,
                Err(_) => ngx::OK,
            };
        }
        ctx::keep(ctx);
        let Some(rc) = settle(ctx, outcome) else {
            ngx::hold(r);
            return ngx::DONE;
        };
        rc
    }
}
