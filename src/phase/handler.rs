//! `server_rewrite_by_lua*`, `rewrite_by_lua*`, `access_by_lua*`, `precontent_by_lua*`: the phases before the content, whose handlers the
//! phase engine calls, and calls again when they have said that they wait.

use std::task::Poll;

use nginx_sys::*;

use super::{settle, start, wants_body};
use crate::conf;
use crate::conf::phase::Phase;
use crate::nginx::{self, guard, Request};
use crate::request::ctx::{self, Ctx};
use crate::request::{body, output};

macro_rules! handlers {
    ($($name:ident: $phase:ident,)*) => {$(
        pub unsafe extern "C" fn $name(r: Request) -> ngx_int_t {
            // SAFETY: nginx calls this with a live request.
            unsafe {
                if conf::loc_conf(r).code(Phase::$phase).is_none() {
                    return nginx::DECLINED;
                }
                handle(r, Phase::$phase)
            }
        }
    )*};
}

handlers! {
    server_rewrite: ServerRewrite,
    rewrite: Rewrite,
    access: Access,
    precontent: Precontent,
}

unsafe fn handle(r: Request, phase: Phase) -> ngx_int_t {
    // SAFETY: the request is live.
    unsafe {
        guard((*(*r).connection).log, NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t, || {
            run_phase(r, phase)
        })
    }
}

/// Runs, or goes on with, a phase's code for the phase engine.
unsafe fn run_phase(r: Request, phase: Phase) -> ngx_int_t {
    // SAFETY: the request is live.
    unsafe {
        let Some(ctx) = ctx::get_or_create(r) else {
            return NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
        };
        if ctx.state.phase.get() == phase {
            if let Some(rc) = ctx.state.resumed.take() {
                return verdict(ctx, rc, phase);
            }
            if ctx.state.family.get().is_some() {
                return nginx::DONE;
            }
        }
        if (*r).uri_changed() != 0 {
            // nginx's own `rewrite` sends the request elsewhere.
            return nginx::DECLINED;
        }
        let conf = conf::loc_conf(r);
        let Some(code) = conf.code(phase) else { return nginx::DECLINED };
        if wants_body(conf, phase) {
            match body::read_first(ctx, body_read) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(rc)) => return rc,
                Poll::Pending => return nginx::DONE,
            }
        }
        let outcome = match start(ctx, phase, code) {
            Ok(outcome) => outcome,
            Err(status) => return status,
        };
        match settle(ctx, outcome) {
            Some(rc) => verdict(ctx, rc, phase),
            None => nginx::DONE,
        }
    }
}

unsafe fn body_read(ctx: &Ctx) {
    // SAFETY: the request is live.
    unsafe {
        (*ctx.r).write_event_handler = Some(ngx_http_core_run_phases);
        ngx_http_core_run_phases(ctx.r);
    }
}

/// What the phase engine is told of a status.
unsafe fn verdict(ctx: &Ctx, rc: ngx_int_t, phase: Phase) -> ngx_int_t {
    // SAFETY: unless the request went elsewhere (`NGX_DONE`), it is live and so is its `Ctx`.
    unsafe {
        let r = ctx.r;
        if rc == nginx::DONE {
            // The request went elsewhere, and held itself for the handler that sent it there.
            ngx_http_finalize_request(r, nginx::DONE);
            return nginx::DONE;
        }
        ctx.state.phase.set(Phase::None);
        if rc != nginx::OK && (rc != nginx::DECLINED || !ctx.header_sent()) {
            return rc;
        }
        if ctx.header_sent() {
            // A response was begun here, so no later phase may make another.
            if !ctx.output.eof.get() {
                let rc = output::finish(ctx);
                if rc == nginx::ERROR || rc > nginx::OK {
                    return rc;
                }
            }
            return NGX_HTTP_OK as ngx_int_t;
        }
        (*r).write_event_handler = Some(ngx_http_core_run_phases);
        phase.row().passed
    }
}
