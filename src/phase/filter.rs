//! nginx's output filters: `header_filter_by_lua*`, `body_filter_by_lua*`, and the capture of subrequests'
//! responses. Lua in a filter runs on the VM's main state and can't wait.

use std::ptr;

use mlua::ffi as lua;
use nginx_sys::*;

use crate::conf;
use crate::conf::phase::Phase;
use crate::lua::code::Code;
use crate::nginx::cell::{Held, Worker};
use crate::nginx::{self, guard, guard_or, own, Request};
use crate::request::body_filter::consume;
use crate::request::ctx::{self, Ctx};
use crate::request::{body, capture, main_state};

static NEXT_HEADER: Worker<ngx_http_output_header_filter_pt> = Worker::new(None);
static NEXT_BODY: Worker<ngx_http_output_body_filter_pt> = Worker::new(None);

/// Puts the filters at the head of nginx's chains.
///
/// # Safety
/// Called at the end of the configuration.
pub unsafe fn install() {
    // SAFETY: the chains' heads are nginx's globals, only changed at configuration time.
    unsafe {
        *NEXT_HEADER.get() = ngx_http_top_header_filter;
        ngx_http_top_header_filter = Some(header_filter);
        *NEXT_BODY.get() = ngx_http_top_body_filter;
        ngx_http_top_body_filter = Some(body_filter);
    }
}

unsafe fn next_header(r: Request) -> ngx_int_t {
    // SAFETY: set by `install`.
    unsafe { (*NEXT_HEADER.get()).map_or(nginx::OK, |next| next(r)) }
}

unsafe fn next_body(r: Request, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: set by `install`.
    unsafe { (*NEXT_BODY.get()).map_or(nginx::OK, |next| next(r, chain)) }
}

unsafe extern "C" fn header_filter(r: Request) -> ngx_int_t {
    // SAFETY: nginx calls this with a live request.
    unsafe {
        if body::is_given_up(r) {
            // The header is that of the error page; nginx, which makes it, holds the request.
            guard((*(*r).connection).log, (), || body::end_refused(r));
        }
        let conf = conf::loc_conf(r);
        if conf.code(Phase::BodyFilter).is_some() {
            (*r).set_filter_need_in_memory(1);
        }
        if let Some(code) = conf.code(Phase::HeaderFilter) {
            let rc = guard((*(*r).connection).log, nginx::ERROR, || filter_header(r, code));
            if rc != nginx::OK {
                return if rc == nginx::DECLINED { nginx::OK } else { rc };
            }
        }
        if (*r).main != r {
            let log = (*(*r).connection).log;
            match guard(log, Err(nginx::ERROR), || Ok(capture::capture_header(r))) {
                Ok(false) => {}
                Ok(true) => return nginx::OK,
                Err(rc) => return rc,
            }
        }
        next_header(r)
    }
}

unsafe fn filter_header(r: Request, code: &Code) -> ngx_int_t {
    // SAFETY: the request is live.
    unsafe {
        let Some(ctx) = ctx::get_or_create(r) else { return nginx::ERROR };
        let before = ctx.state.exit_status.get();
        let (ran, status) = {
            let _before = Held::new(&ctx.state.exit_status, None);
            let ran = main_state::run_for(ctx, Phase::HeaderFilter, code, |_| 0, |_| ());
            (ran, ctx.state.exit_status.get())
        };
        match (ran, status) {
            (Err(rc), _) => rc,
            // The header of the other response comes through here too, and ends up the same.
            // A code that is no status of HTTP's, `ngx.OK` say, ends the filter alone.
            (Ok(()), Some(status)) if before != Some(status) && names_response(status) => {
                ctx.state.exit_status.set(Some(status));
                finalize(r, status)
            }
            (Ok(()), _) => nginx::OK,
        }
    }
}

fn names_response(status: ngx_int_t) -> bool {
    status == nginx::ERROR || status >= NGX_HTTP_OK as ngx_int_t
}

/// `ngx.exit` in a header filter: another response takes the place of the one whose header was being made.
unsafe fn finalize(r: Request, status: ngx_int_t) -> ngx_int_t {
    if status == nginx::ERROR {
        return nginx::ERROR;
    }
    // SAFETY: the caller's request is live.
    match unsafe { ngx_http_filter_finalize_request(r, own::module_ptr(), status) } {
        rc @ (nginx::ERROR | nginx::AGAIN) => rc,
        _ => nginx::DECLINED,
    }
}

unsafe extern "C" fn body_filter(r: Request, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: nginx calls this with a live request.
    unsafe {
        match conf::loc_conf(r).code(Phase::BodyFilter) {
            Some(code) if (*r).header_only() == 0 && !chain.is_null() => {
                let log = (*(*r).connection).log;
                match guard(log, Err(nginx::ERROR), || filter_body(r, code, chain)) {
                    Ok(chain) => pass_body(r, chain),
                    Err(rc) => rc,
                }
            }
            _ => pass_body(r, chain),
        }
    }
}

/// Runs the code on `chain`; what it makes of it is to be passed on, unless nothing is: then the status says what nginx hears.
unsafe fn filter_body(
    r: Request,
    code: &Code,
    chain: *mut ngx_chain_t,
) -> Result<*mut ngx_chain_t, ngx_int_t> {
    // SAFETY: the request is live, and `chain` its output.
    unsafe {
        let ctx = ctx::get_or_create(r).ok_or(nginx::ERROR)?;
        if ctx.state.body_filter.seen_last.get() {
            consume(chain);
            return Ok(ptr::null_mut());
        }
        let (rc, out) = {
            let _outer = Held::new(&ctx.state.body_filter.chain, chain);
            (run_body_filter(ctx, code), ctx.state.body_filter.chain.get())
        };
        if rc == nginx::ERROR || rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
            return Err(nginx::ERROR);
        }
        if out.is_null() {
            return Err(nginx::OK);
        }
        Ok(out)
    }
}

/// The number that the code returns.
unsafe fn run_body_filter(ctx: &Ctx, code: &Code) -> ngx_int_t {
    // SAFETY: the request is live; the result is on top of the stack.
    unsafe {
        let number = |l| lua::lua_tointeger(l, -1) as ngx_int_t;
        main_state::run_for(ctx, Phase::BodyFilter, code, |_| 0, number).unwrap_or_else(|rc| rc)
    }
}

/// Passes a body on: to the capture that it belongs to, or to the next filter.
unsafe fn pass_body(r: Request, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: the caller's request is live.
    unsafe {
        if (*r).main != r {
            let log = (*(*r).connection).log;
            // What is lost of it shows as a body that was cut.
            let captured = guard_or(
                log,
                || capture::capture_body(r, chain),
                || {
                    consume(chain);
                    Some(nginx::OK)
                },
            );
            if let Some(rc) = captured {
                return rc;
            }
        }
        next_body(r, chain)
    }
}
