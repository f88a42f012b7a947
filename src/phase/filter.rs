//! nginx's output filters: `header_filter_by_lua*`, `body_filter_by_lua*`, and the capture of subrequests'
//! responses. Lua in a filter runs on the VM's main state and can't wait.

use mlua::ffi as lua;
use nginx_sys::*;

use crate::api::body_filter;
use crate::conf;
use crate::conf::phase::Phase;
use crate::lua::code::Code;
use crate::lua::string_at;
use crate::nginx::cell::Worker;
use crate::nginx::guard;
use crate::nginx::{self, own, Request};
use crate::request::capture;
use crate::request::ctx::{self, Ctx};
use crate::run::{self, Current};

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
    unsafe { (*NEXT_HEADER.get()).map_or(nginx::OK, |next| next(r)) }
}

pub unsafe fn next_body(r: Request, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: set by `install`.
    unsafe { (*NEXT_BODY.get()).map_or(nginx::OK, |next| next(r, chain)) }
}

unsafe extern "C" fn header_filter(r: Request) -> ngx_int_t {
    // SAFETY: nginx calls this with a live request.
    unsafe {
        let log = (*(*r).connection).log;
        let conf = conf::loc_conf(r);
        if conf.code(Phase::BodyFilter).is_some() {
            (*r).set_filter_need_in_memory(1);
        }
        if let Some(code) = conf.code(Phase::HeaderFilter) {
            let rc = guard(log, nginx::ERROR, || {
                let Some(ctx) = ctx::get_or_create(r) else { return nginx::ERROR };
                let before = ctx.exit_status;
                match run_code(ctx, Phase::HeaderFilter, code) {
                    Err(rc) => rc,
                    Ok(_) => match ctx.exit_status {
                        Some(status) if ctx.exit_status != before => finalize(r, status),
                        _ => nginx::OK,
                    },
                }
            });
            if rc != nginx::OK {
                return if rc == nginx::DECLINED { nginx::OK } else { rc };
            }
        }
        if capture::capture_header(r) {
            return nginx::OK;
        }
        next_header(r)
    }
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
        let conf = conf::loc_conf(r);
        match conf.code(Phase::BodyFilter) {
            Some(code) if (*r).header_only() == 0 => {
                let log = (*(*r).connection).log;
                guard(log, nginx::ERROR, || match ctx::get_or_create(r) {
                    Some(ctx) => body_filter::run(ctx, code, chain),
                    None => nginx::ERROR,
                })
            }
            _ => pass_body(r, chain),
        }
    }
}

/// Passes a body on: to the capture that it belongs to, or to the next filter.
pub unsafe fn pass_body(r: Request, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: the caller's request is live.
    unsafe { capture::capture_body(r, chain).unwrap_or_else(|| next_body(r, chain)) }
}

/// Runs a phase's code on the VM's main state, and returns the number that it returns. An error is logged, and is
/// `NGX_ERROR`.
pub unsafe fn run_code(ctx: &mut Ctx, phase: Phase, code: &Code) -> Result<ngx_int_t, ngx_int_t> {
    // SAFETY: the request and its VM are alive, and the call is protected.
    unsafe {
        let vm = &mut *ctx.vm;
        let l = vm.state();
        let cached = conf::loc_conf(ctx.r).code_cache != 0;
        let base = lua::lua_gettop(l);
        if lua::lua_checkstack(l, 8) == 0 {
            return Err(nginx::ERROR);
        }
        lua::lua_pushcfunction(l, super::init::add_traceback);
        if let Err(error) = vm.push_code(l, code, Some(ctx.r), cached) {
            nginx::log_parts(NGX_LOG_ERR, ctx.log(), &[&error.message]);
            lua::lua_settop(l, base);
            return Err(nginx::ERROR);
        }
        let outer = std::mem::replace(&mut ctx.phase, phase);
        let busy = run::Busy::enter();
        let current = Current { ctx, thread: std::ptr::null_mut(), phase };
        let status = run::enter(current, || lua::lua_pcall(l, 0, 1, base + 1));
        drop(busy);
        ctx.phase = outer;
        let result = if status == lua::LUA_OK {
            Ok(lua::lua_tointeger(l, -1) as ngx_int_t)
        } else {
            nginx::log_parts(
                NGX_LOG_ERR,
                ctx.log(),
                &[b"failed to run ", phase.directive().as_bytes(), b": ", string_at(l, -1)],
            );
            Err(nginx::ERROR)
        };
        lua::lua_settop(l, base);
        result
    }
}
