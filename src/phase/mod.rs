//! The nginx phases that run Lua, one file each. What they share is here: starting a piece of code in a coroutine,
//! going on when it is resumed, and turning the way it ended into what nginx wants to hear.

pub mod access;
pub mod content;
pub mod filter;
pub mod init;
pub mod log;
pub mod rewrite;
pub mod timer;

use std::panic::{catch_unwind, AssertUnwindSafe};

use mlua::ffi as lua;
use nginx_sys::*;

use crate::conf;
use crate::conf::code::Code;
use crate::ctx::{Ctx, End};
use crate::ngx::{self, log_debug, log_error, Request};
use crate::sched::{Outcome, Thread};

/// Where Lua runs. The numbers are bits, so that a set of phases is a number too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Phase {
    None = 0,
    Init = 1 << 0,
    InitWorker = 1 << 1,
    Rewrite = 1 << 2,
    Access = 1 << 3,
    Content = 1 << 4,
    HeaderFilter = 1 << 5,
    BodyFilter = 1 << 6,
    Log = 1 << 7,
    /// Without a request of a client's.
    Timer = 1 << 8,
}

impl Phase {
    /// As `ngx.get_phase` says it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::None | Phase::Init => "init",
            Phase::InitWorker => "init_worker",
            Phase::Rewrite => "rewrite",
            Phase::Access => "access",
            Phase::Content => "content",
            Phase::HeaderFilter => "header_filter",
            Phase::BodyFilter => "body_filter",
            Phase::Log => "log",
            Phase::Timer => "timer",
        }
    }

    /// As error texts name it.
    pub fn directive(self) -> &'static str {
        match self {
            Phase::None => "(unknown)",
            Phase::Init => "init_by_lua*",
            Phase::InitWorker => "init_worker_by_lua*",
            Phase::Rewrite => "rewrite_by_lua*",
            Phase::Access => "access_by_lua*",
            Phase::Content => "content_by_lua*",
            Phase::HeaderFilter => "header_filter_by_lua*",
            Phase::BodyFilter => "body_filter_by_lua*",
            Phase::Log => "log_by_lua*",
            Phase::Timer => "ngx.timer",
        }
    }

    pub fn is_in(self, phases: u32) -> bool {
        self as u32 & phases != 0
    }
}

/// Runs an entry point that nginx calls: a panic is logged and becomes `on_panic`.
pub fn guard<T>(log: *mut ngx_log_t, on_panic: T, f: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("unknown");
        // SAFETY: the caller's log is live.
        unsafe { log_error!(NGX_LOG_ALERT, log, "panic: {message}") };
        on_panic
    })
}

/// Runs a directive's code in a fresh coroutine. An error in loading it is logged, and returned as a status.
pub unsafe fn start(ctx: &mut Ctx, phase: Phase, code: &Code) -> Result<Outcome, ngx_int_t> {
    // SAFETY: the request and its VM are alive.
    unsafe {
        let cached = conf::loc_conf(ctx.r).code_cache != 0;
        start_with(ctx, phase, |ctx, l| match (*ctx.vm).push_code(l, code, Some(ctx.r), cached) {
            Ok(()) => Ok(0),
            Err(error) => {
                ngx::log_parts(NGX_LOG_ERR, ctx.log(), &[&error.message]);
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
        guard((*connection).log, (), || go_on(ctx, thread));
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
                    if rc == ngx::DONE {
                        // The request went elsewhere, and ran there already.
                        ngx_http_finalize_request(r, ngx::DONE);
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
        guard((*(*r).connection).log, (), || {
            let Some(ctx) = crate::ctx::get(r) else { return };
            crate::output::write_event(ctx);
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
                crate::output::hand_over(ctx);
                (*ctx.r).write_event_handler = Some(write_handler);
                None
            }
            Outcome::Returned => Some(returned(ctx)),
            Outcome::Failed => {
                ctx.stop_threads();
                crate::output::hand_over(ctx);
                Some(if ctx.header_sent() {
                    ngx::ERROR
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
                        Some(ngx::OK)
                    }
                    None => Some(ngx::OK),
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
        unsafe { crate::output::hand_over(ctx) };
        return ngx::OK;
    }
    // SAFETY: the request is live.
    let rc = unsafe { crate::output::finish(ctx) };
    if rc == ngx::ERROR || rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
        return rc;
    }
    ngx::OK
}

/// Statuses that end the connection rather than the response.
pub fn is_abort(status: ngx_int_t) -> bool {
    status == ngx::ERROR
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
            let rc = crate::output::finish(ctx);
            if rc == ngx::ERROR || rc >= SPECIAL {
                return rc;
            }
            return if status >= HTTP_OK { HTTP_OK } else { status };
        }
        if (status == ngx::OK && ctx.phase == Phase::Content)
            || (HTTP_OK..SPECIAL).contains(&status) && status != NGX_HTTP_NO_CONTENT as ngx_int_t
        {
            let rc = crate::output::finish(ctx);
            if rc == ngx::ERROR || rc >= SPECIAL {
                return rc;
            }
        } else {
            crate::output::hand_over(ctx);
        }
        if ctx.header_sent() && status > ngx::OK && !is_abort(status) {
            return if ctx.phase == Phase::Content { ngx::OK } else { HTTP_OK };
        }
        // In the content phase nginx would look for another handler on `NGX_DECLINED`.
        if status < ngx::ERROR && ctx.phase == Phase::Content {
            return ngx::OK;
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
        let rc = if ngx::bytes(uri).first() == Some(&b'@') {
            if args.len > 0 {
                log_error!(
                    NGX_LOG_WARN,
                    ctx.log(),
                    "query strings {} ignored when exec'ing named location {}",
                    ngx::text(args),
                    ngx::text(uri)
                );
            }
            std::ptr::write_bytes((*r).ctx, 0, ngx_http_max_module);
            ngx_http_named_location(r, &mut uri)
        } else {
            ngx_http_internal_redirect(r, &mut uri, &mut args)
        };
        if rc == ngx::ERROR || rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
            return rc;
        }
        ngx::DONE
    }
}
