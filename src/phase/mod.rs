//! The nginx phases that run Lua, one file each. What they share is here: starting a piece of code in a coroutine,
//! going on when it is resumed, and turning the way it ended into what nginx wants to hear.

pub mod access;
pub mod content;
pub mod directives;
pub mod filter;
pub mod init;
pub mod log;
pub mod rewrite;
pub mod timer;

use mlua::ffi as lua;
use nginx_sys::*;

use crate::conf;
use crate::conf::phase::Phase;
use crate::lua::code::Code;
use crate::nginx::{self, log_debug, log_error, Request};
use crate::request::ctx::{Ctx, End};
use crate::run::{Outcome, Thread};

type Handler = unsafe extern "C" fn(Request) -> ngx_int_t;

/// The handlers of the phases that are nginx's own.
const HANDLERS: [(Phase, Handler); 3] = [
    (Phase::Rewrite, rewrite::handler),
    (Phase::Access, access::handler),
    (Phase::Log, log::handler),
];

/// Puts the handlers and filters in place that the configuration needs; false when there is no memory for that.
///
/// # Safety
/// Called at the end of the configuration.
pub unsafe fn install(cf: *mut ngx_conf_t) -> bool {
    // SAFETY: the caller's promise; the phases' arrays hold handlers.
    unsafe {
        let core: &mut ngx_http_core_main_conf_t = nginx::module_conf(
            nginx::conf_ctx(cf).main_conf,
            &*std::ptr::addr_of!(ngx_http_core_module),
        );
        let used = conf::main_conf(cf).phases;
        for (phase, handler) in HANDLERS {
            let Some(slot) = phase.row().slot.filter(|_| phase.is_in(used)) else { continue };
            if !push_first(&mut core.phases[slot].handlers, handler) {
                return false;
            }
        }
        if used != 0 {
            filter::install();
        }
        true
    }
}

/// Adds a phase's handler so that it runs after all others: nginx runs them from the last to the first.
unsafe fn push_first(handlers: &mut ngx_array_t, handler: Handler) -> bool {
    // SAFETY: the array holds handlers, and a slot was just pushed.
    unsafe {
        if ngx_array_push(handlers).is_null() {
            return false;
        }
        let slots: *mut ngx_http_handler_pt = handlers.elts.cast();
        std::ptr::copy(slots, slots.add(1), handlers.nelts - 1);
        *slots = Some(handler);
        true
    }
}

/// Runs a directive's code in a fresh coroutine. An error in loading it is logged, and returned as a status.
pub unsafe fn start(ctx: &mut Ctx, phase: Phase, code: &Code) -> Result<Outcome, ngx_int_t> {
    // SAFETY: the request and its VM are alive.
    unsafe {
        let cached = conf::loc_conf(ctx.r).code_cache != 0;
        start_with(ctx, phase, |ctx, l| match (*ctx.vm).push_code(l, code, Some(ctx.r), cached) {
            Ok(()) => Ok(0),
            Err(error) => {
                nginx::log_parts(NGX_LOG_ERR, ctx.log(), &[&error.message]);
                Err(error.status)
            }
        })
    }
}

/// Runs what `push` puts on the stack of a fresh coroutine: a function and as many arguments as it returns.
pub unsafe fn start_with(
    ctx: &mut Ctx,
    phase: Phase,
    push: impl FnOnce(&mut Ctx, *mut lua::lua_State) -> Result<i32, ngx_int_t>,
) -> Result<Outcome, ngx_int_t> {
    let Some(mut thread) = Thread::new(ctx) else {
        return Err(NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t);
    };
    let nargs = match push(ctx, thread.coroutine.l) {
        Ok(nargs) => nargs,
        Err(status) => {
            thread.finish(true);
            ctx.spare = Some(thread);
            return Err(status);
        }
    };
    ctx.phase = phase;
    ctx.end = None;
    ctx.stop_threads();
    let thread = &mut **ctx.entry.insert(thread);
    // SAFETY: the thread belongs to the request, which is freed outside the scheduler.
    Ok(unsafe { (*std::ptr::from_mut(thread)).run(nargs) })
}

/// Goes on with a thread that was woken, from an event handler, and with the request when its Lua is over.
///
/// # Safety
/// The thread is alive.
pub unsafe fn proceed(thread: *mut Thread) {
    // SAFETY: a live thread belongs to a live request. After the request may have been finalized only the connection
    // is looked at, which nginx recycles but never frees.
    unsafe {
        let ctx = (*thread).ctx;
        let r = (*ctx).r;
        let connection = (*r).connection;
        nginx::guard((*connection).log, (), || go_on(ctx, thread));
        ngx_http_run_posted_requests(connection);
    }
}

unsafe fn go_on(ctx: *mut Ctx, thread: *mut Thread) {
    // SAFETY: as in `proceed`.
    unsafe {
        let outcome = (*thread).proceed();
        let ctx = &mut *ctx;
        let r = ctx.r;
        match ctx.phase {
            Phase::Timer => timer::settle(ctx, outcome),
            Phase::Content => {
                if let Some(rc) = settle(ctx, outcome) {
                    ngx_http_finalize_request(r, rc);
                }
            }
            _ => {
                if let Some(rc) = settle(ctx, outcome) {
                    if rc == nginx::DONE {
                        // The request went elsewhere, and ran there already.
                        ngx_http_finalize_request(r, nginx::DONE);
                        return;
                    }
                    ctx.resumed = Some(rc);
                    (*r).write_event_handler = Some(ngx_http_core_run_phases);
                    ngx_http_core_run_phases(r);
                }
            }
        }
    }
}

/// The write event handler of a request that waits: pushes pending output, and resumes threads that were deferred.
pub unsafe extern "C" fn write_handler(r: Request) {
    // SAFETY: nginx calls this with a live request.
    unsafe {
        nginx::guard((*(*r).connection).log, (), || {
            let Some(ctx) = crate::request::ctx::get(r) else { return };
            crate::request::output::write_event(ctx);
            let Some(thread) = ctx.ready.pop() else { return };
            if !ctx.ready.is_empty() {
                ngx_http_post_request(r, std::ptr::null_mut());
            }
            // The request may be gone with the thread that ends it: nothing of it is looked at afterwards.
            go_on(ctx, thread);
        });
    }
}

/// What an outcome means for the request: the status for nginx, or none while the code waits.
pub unsafe fn settle(ctx: &mut Ctx, outcome: Outcome) -> Option<ngx_int_t> {
    // SAFETY: the request is live.
    unsafe {
        match outcome {
            Outcome::Waiting => {
                crate::request::output::hand_over(ctx);
                (*ctx.r).write_event_handler = Some(write_handler);
                None
            }
            Outcome::Returned => Some(returned(ctx)),
            Outcome::Failed => {
                ctx.stop_threads();
                crate::request::output::hand_over(ctx);
                Some(if ctx.header_sent() {
                    nginx::ERROR
                } else {
                    NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t
                })
            }
            Outcome::Ended => {
                ctx.stop_threads();
                match ctx.end.take() {
                    Some(End::Exit(status)) => Some(exited(ctx, status)),
                    Some(End::Exec { uri, args }) => Some(executed(ctx, uri, args)),
                    Some(End::Jump) => {
                        ctx.drop_ctx_table();
                        Some(nginx::OK)
                    }
                    None => Some(nginx::OK),
                }
            }
        }
    }
}

/// The code ran to its end: the status for nginx.
unsafe fn returned(ctx: &mut Ctx) -> ngx_int_t {
    ctx.finish_entry(true);
    if ctx.phase != Phase::Content {
        // SAFETY: the request is live.
        unsafe { crate::request::output::hand_over(ctx) };
        return nginx::OK;
    }
    // SAFETY: the request is live.
    let rc = unsafe { crate::request::output::finish(ctx) };
    if rc == nginx::ERROR || rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
        return rc;
    }
    nginx::OK
}

/// Statuses that end the connection rather than the response.
pub fn is_abort(status: ngx_int_t) -> bool {
    status == nginx::ERROR
        || status == NGX_HTTP_REQUEST_TIME_OUT as ngx_int_t
        || status == NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t
        || status == NGX_HTTP_CLOSE as ngx_int_t
}

/// `ngx.exit(status)` was called.
unsafe fn exited(ctx: &mut Ctx, status: ngx_int_t) -> ngx_int_t {
    const HTTP_OK: ngx_int_t = NGX_HTTP_OK as ngx_int_t;
    const SPECIAL: ngx_int_t = NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t;
    // SAFETY: the request is live.
    unsafe {
        let r = ctx.r;
        log_debug!(r, "lua thread aborting request with status {status}");
        if !ctx.header_sent() && (*r).headers_out.status == 0 && status >= HTTP_OK {
            (*r).headers_out.status = status as ngx_uint_t;
        }
        if ctx.output.is_buffering() && (*r).headers_out.status != 0 && !is_abort(status) {
            let rc = crate::request::output::finish(ctx);
            if rc == nginx::ERROR || rc >= SPECIAL {
                return rc;
            }
            return if status >= HTTP_OK { HTTP_OK } else { status };
        }
        if (status == nginx::OK && ctx.phase == Phase::Content)
            || (HTTP_OK..SPECIAL).contains(&status) && status != NGX_HTTP_NO_CONTENT as ngx_int_t
        {
            let rc = crate::request::output::finish(ctx);
            if rc == nginx::ERROR || rc >= SPECIAL {
                return rc;
            }
        } else {
            crate::request::output::hand_over(ctx);
        }
        if ctx.header_sent() && status > nginx::OK && !is_abort(status) {
            return if ctx.phase == Phase::Content { nginx::OK } else { HTTP_OK };
        }
        // In the content phase nginx would look for another handler on `NGX_DECLINED`.
        if status < nginx::ERROR && ctx.phase == Phase::Content {
            return nginx::OK;
        }
        status
    }
}

/// `ngx.exec(uri, args)` was called.
unsafe fn executed(ctx: &mut Ctx, mut uri: ngx_str_t, mut args: ngx_str_t) -> ngx_int_t {
    // SAFETY: the request is live; `uri` and `args` are in its pool. The redirect forgets the request's contexts, so
    // `ctx` is not used after it.
    unsafe {
        let r = ctx.r;
        (*r).write_event_handler = Some(ngx_http_request_empty_handler);
        let rc = if nginx::bytes(uri).first() == Some(&b'@') {
            if args.len > 0 {
                log_error!(
                    NGX_LOG_WARN,
                    ctx.log(),
                    "query strings {} ignored when exec'ing named location {}",
                    nginx::text(args),
                    nginx::text(uri)
                );
            }
            std::ptr::write_bytes((*r).ctx, 0, ngx_http_max_module);
            ngx_http_named_location(r, &mut uri)
        } else {
            ngx_http_internal_redirect(r, &mut uri, &mut args)
        };
        if rc == nginx::ERROR || rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
            return rc;
        }
        nginx::DONE
    }
}
