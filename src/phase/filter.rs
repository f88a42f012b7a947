//! nginx's output filters: `header_filter_by_lua*`, `body_filter_by_lua*`, and the capture of subrequests'
//! responses. Lua in a filter runs on the VM's main state and can't wait.

use mlua::ffi as lua;
use nginx_sys::*;

use super::{guard, Phase};
use crate::api::subrequest;
use crate::conf;
use crate::conf::code::Code;
use crate::ctx::{self, Ctx, End, Worker};
use crate::ngx::{self, Request};
use crate::sched::{self, Current};
use crate::vm::{chunks, string_at};

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

pub unsafe fn next_header(r: Request) -> ngx_int_t {
    // SAFETY: set by `install`.
    unsafe { (*NEXT_HEADER.get()).map_or(ngx::OK, |next| next(r)) }
}

pub unsafe fn next_body(r: Request, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: set by `install`.
    unsafe { (*NEXT_BODY.get()).map_or(ngx::OK, |next| next(r, chain)) }
}

unsafe extern "C" fn header_filter(r: Request) -> ngx_int_t {
    // SAFETY: nginx calls this with a live request.
    unsafe {
        let log = (*(*r).connection).log;
        let conf = conf::loc_conf(r);
        if let Some(code) = conf.header_filter.as_ref() {
            let rc = guard(log, ngx::ERROR, || {
                let Some(ctx) = ctx::get_or_create(r) else { return ngx::ERROR };
                match run_code(ctx, Phase::HeaderFilter, code) {
                    Err(rc) => rc,
                    Ok(()) => match ctx.end.take() {
                        Some(End::Exit(status)) if status >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t => {
                            ngx_http_filter_finalize_request(r, crate::module::module_ptr(), status)
                        }
                        _ => ngx::OK,
                    },
                }
            });
            if rc != ngx::OK {
                return rc;
            }
        }
        if subrequest::capture_header(r) {
            return ngx::OK;
        }
        next_header(r)
    }
}

unsafe extern "C" fn body_filter(r: Request, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: nginx calls this with a live request.
    unsafe {
        match subrequest::capture_body(r, chain) {
            Some(rc) => rc,
            None => next_body(r, chain),
        }
    }
}

/// Runs a phase's code on the VM's main state. An error is logged, and is `NGX_ERROR`.
pub unsafe fn run_code(ctx: &mut Ctx, phase: Phase, code: &Code) -> Result<(), ngx_int_t> {
    // SAFETY: the request and its VM are alive, and the call is protected.
    unsafe {
        let vm = &mut *ctx.vm;
        let l = vm.state();
        let cached = conf::loc_conf(ctx.r).code_cache != 0;
        let base = lua::lua_gettop(l);
        if lua::lua_checkstack(l, 8) == 0 {
            return Err(ngx::ERROR);
        }
        lua::lua_pushcfunction(l, super::init::add_traceback);
        if let Err(error) = vm.push_code(l, code, Some(ctx.r), cached) {
            let message = match error {
                chunks::Error::NotFound(message) => message.into_bytes(),
                chunks::Error::Broken(message) => message,
            };
            ngx::log_parts(NGX_LOG_ERR, ctx.log(), &[&message]);
            lua::lua_settop(l, base);
            return Err(ngx::ERROR);
        }
        let outer = std::mem::replace(&mut ctx.phase, phase);
        let busy = sched::Busy::enter();
        let current = Current { ctx, thread: std::ptr::null_mut(), phase };
        let status = sched::enter(current, || lua::lua_pcall(l, 0, 0, base + 1));
        drop(busy);
        ctx.phase = outer;
        let result = if status == lua::LUA_OK {
            Ok(())
        } else if ctx.end.is_some() {
            // `ngx.exit` leaves a phase that can't yield by raising.
            Ok(())
        } else {
            ngx::log_parts(
                NGX_LOG_ERR,
                ctx.log(),
                &[b"failed to run ", phase.directive().as_bytes(), b": ", string_at(l, -1)],
            );
            Err(ngx::ERROR)
        };
        lua::lua_settop(l, base);
        result
    }
}
