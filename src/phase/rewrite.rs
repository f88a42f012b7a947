//! `rewrite_by_lua*`, at the end of nginx's rewrite phase.

use nginx_sys::*;

use super::{settle, start};
use crate::conf;
use crate::conf::phase::Phase;
use crate::nginx::guard;
use crate::nginx::{self, Request};
use crate::request::ctx::{self, Ctx};

pub unsafe extern "C" fn handler(r: Request) -> ngx_int_t {
    // SAFETY: nginx calls this with a live request.
    unsafe {
        if conf::loc_conf(r).code(Phase::Rewrite).is_none() {
            return nginx::DECLINED;
        }
        guard((*(*r).connection).log, NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t, || {
            run_phase(r, Phase::Rewrite, nginx::DECLINED)
        })
    }
}

/// Runs, or goes on with, a phase's code for the phase engine. `passed` is what the engine is told when the request
/// goes on to the next phase.
pub unsafe fn run_phase(r: Request, phase: Phase, passed: ngx_int_t) -> ngx_int_t {
    // SAFETY: the request is live.
    unsafe {
        let Some(ctx) = ctx::get_or_create(r) else {
            return NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
        };
        let conf = conf::loc_conf(r);
        if ctx.waiting_body {
            return nginx::DONE;
        }
        if ctx.phase == phase && (ctx.entry.is_some() || ctx.resumed.is_some()) {
            return match ctx.resumed.take() {
                Some(rc) => verdict(ctx, r, rc, passed),
                None => nginx::DONE,
            };
        }
        if conf.need_request_body != 0 && !ctx.body_read {
            if let Some(rc) = read_body_first(ctx, body_read) {
                return rc;
            }
        }
        let Some(code) = conf.code(phase) else { return nginx::DECLINED };
        let outcome = match start(ctx, phase, code) {
            Ok(outcome) => outcome,
            Err(status) => return status,
        };
        match settle(ctx, outcome) {
            Some(rc) => verdict(ctx, r, rc, passed),
            None => nginx::DONE,
        }
    }
}

/// What the phase engine is told of a status.
unsafe fn verdict(ctx: &mut Ctx, r: Request, rc: ngx_int_t, passed: ngx_int_t) -> ngx_int_t {
    // SAFETY: unless the request went elsewhere (`NGX_DONE`), it is live and so is its `Ctx`.
    unsafe {
        if rc == nginx::DONE {
            // The request went elsewhere, and held itself for the handler that sent it there.
            ngx_http_finalize_request(r, nginx::DONE);
            return nginx::DONE;
        }
        if rc != nginx::OK && rc != nginx::DECLINED {
            return rc;
        }
        if ctx.header_sent() {
            // A response was begun here, so no later phase may make another.
            if !ctx.output.eof {
                let rc = crate::request::output::finish(ctx);
                if rc == nginx::ERROR || rc > nginx::OK {
                    return rc;
                }
            }
            return NGX_HTTP_OK as ngx_int_t;
        }
        (*ctx.r).write_event_handler = Some(ngx_http_core_run_phases);
        passed
    }
}

/// Reads the request body for `lua_need_request_body`; `Some` is what the handler returns meanwhile.
pub unsafe fn read_body_first(
    ctx: &mut Ctx,
    then: unsafe extern "C" fn(Request),
) -> Option<ngx_int_t> {
    // SAFETY: the request is live.
    unsafe {
        let r = ctx.r;
        (*r).set_request_body_in_single_buf(1);
        (*r).set_request_body_in_persistent_file(1);
        (*r).set_request_body_in_clean_file(1);
        let rc = ngx_http_read_client_request_body(r, Some(then));
        if rc == nginx::ERROR || rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
            return Some(rc);
        }
        if rc == nginx::AGAIN {
            ctx.waiting_body = true;
            return Some(nginx::DONE);
        }
        None
    }
}

unsafe extern "C" fn body_read(r: Request) {
    // SAFETY: nginx calls this with the request whose body it has read.
    unsafe {
        let Some(ctx) = ctx::get(r) else { return };
        ctx.body_read = true;
        nginx::release(r);
        if ctx.waiting_body {
            ctx.waiting_body = false;
            (*r).write_event_handler = Some(ngx_http_core_run_phases);
            ngx_http_core_run_phases(r);
        }
    }
}
