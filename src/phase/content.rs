//! The content phase: `content_by_lua*`, and whatever else answers with Lua.

use nginx_sys::*;

use super::{settle, start};
use crate::conf;
use crate::conf::phase::Phase;
use crate::nginx::guard;
use crate::nginx::{self, log_debug, Request};
use crate::request::ctx::{self, Ctx};
use crate::request::output;
use crate::run::Outcome;

pub unsafe extern "C" fn handler(r: Request) -> ngx_int_t {
    // SAFETY: nginx calls this with a live request.
    unsafe {
        serve(r, |ctx| match conf::loc_conf(ctx.r).code(Phase::Content) {
            Some(code) => start(ctx, Phase::Content, code),
            None => Err(nginx::DECLINED),
        })
    }
}

/// Answers a request with what `start` runs.
///
/// # Safety
/// The request is live and in its content phase.
pub unsafe fn serve(
    r: Request,
    start: impl FnOnce(&mut Ctx) -> Result<Outcome, ngx_int_t>,
) -> ngx_int_t {
    // SAFETY: the caller's promise.
    unsafe {
        guard((*(*r).connection).log, NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t, || {
            log_debug!(
                r,
                "lua content handler, uri:\"{}\" c:{}",
                nginx::text((*r).uri),
                (*(*r).main).count()
            );
            let Some(ctx) = ctx::get_or_create_unkept(r) else {
                return NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
            };
            begin(ctx, start)
        })
    }
}

/// Reads the body first where that is asked for, then runs the code.
unsafe fn begin(
    ctx: &mut Ctx,
    start: impl FnOnce(&mut Ctx) -> Result<Outcome, ngx_int_t>,
) -> ngx_int_t {
    // SAFETY: the request is live.
    unsafe {
        let r = ctx.r;
        let conf = conf::loc_conf(r);
        if conf.need_request_body != 0 && conf.code(Phase::Content).is_some() && !ctx.body_read {
            ctx::keep(ctx);
            return match super::rewrite::read_body_first(ctx, body_read) {
                Some(rc) => rc,
                None => run(ctx, start),
            };
        }
        run(ctx, start)
    }
}

unsafe extern "C" fn body_read(r: Request) {
    // SAFETY: nginx calls this with the request whose body it has read.
    unsafe {
        let Some(ctx) = ctx::get(r) else { return };
        ctx.body_read = true;
        if ctx.waiting_body {
            ctx.waiting_body = false;
            let rc = run(ctx, |ctx| match conf::loc_conf(ctx.r).code(Phase::Content) {
                Some(code) => start(ctx, Phase::Content, code),
                None => Err(nginx::DECLINED),
            });
            ngx_http_finalize_request(r, rc);
        } else {
            nginx::release(r);
        }
    }
}

unsafe fn run(
    ctx: &mut Ctx,
    start: impl FnOnce(&mut Ctx) -> Result<Outcome, ngx_int_t>,
) -> ngx_int_t {
    // SAFETY: the request is live.
    unsafe {
        (*ctx.r).read_event_handler = Some(ngx_http_block_reading);
        match start(ctx) {
            Ok(outcome) => conclude(ctx, outcome),
            Err(status) => {
                ctx::keep(ctx);
                status
            }
        }
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
                Err(rc) if rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t || rc == nginx::ERROR => rc,
                Err(_) => nginx::OK,
            };
        }
        ctx::keep(ctx);
        let Some(rc) = settle(ctx, outcome) else {
            nginx::hold(r);
            return nginx::DONE;
        };
        rc
    }
}
