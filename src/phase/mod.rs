//! The handlers of the phases that run Lua. What they share is here: starting a piece of code as the entry task of a family, going on when
//! one of its tasks was woken, and turning the way it ended into what nginx wants to hear.
//!
//! A phase that waits has one of nginx's references to the request, whatever waits in it: in the content phase one that
//! [`content`] adds, before that the request's own.

pub mod abort;
pub mod content;
pub mod directives;
pub mod filter;
pub mod handler;
pub mod log;
pub mod set;
pub mod timer;

use coro::{Outcome, TaskId};
use mlua::ffi as lua;
use nginx_sys::*;

use crate::conf::phase::{Phase, HANDLERS};
use crate::conf::{self, LocConf};
use crate::lua::code::Code;
use crate::nginx::{self, fault, guard, guard_or, log_debug, log_error, Request};
use crate::request::ctx::{self, Ctx, End};
use crate::request::status::is_abort;
use crate::request::tasks::{scheduler, Requests};
use crate::request::{body, output};
use crate::run;

type Handler = unsafe extern "C" fn(Request) -> ngx_int_t;

/// The handlers of the phases that are nginx's own.
const NGINX_PHASES: [(Phase, Handler); 5] = [
    (Phase::ServerRewrite, handler::server_rewrite),
    (Phase::Rewrite, handler::rewrite),
    (Phase::Access, handler::access),
    (Phase::Precontent, handler::precontent),
    (Phase::Log, log::handler),
];

/// Puts the handlers and filters in place that the configuration needs; false when there is no memory for that.
///
/// # Safety
/// Called at the end of the configuration.
pub unsafe fn install(cf: *mut ngx_conf_t) -> bool {
    // SAFETY: the caller's promise; the phases' arrays hold handlers.
    unsafe {
        run::set_proceed(proceed);
        body::set_on_failure(body_failed);
        let core = nginx::core_main_conf(&*cf);
        let conf = conf::main_conf(cf);
        for (phase, handler) in NGINX_PHASES {
            let Some(slot) = phase.row().slot.filter(|_| phase.is_in(conf.phases)) else {
                continue;
            };
            let handlers = &mut core.phases[slot].handlers;
            let added = if conf.comes_last(phase) {
                push_first(handlers, handler)
            } else {
                push_last(handlers, handler)
            };
            if !added {
                return false;
            }
        }
        if conf.phases != 0 {
            filter::install();
        }
        true
    }
}

/// Adds a phase's handler so that it runs before those that are there: nginx runs them from the last to the first.
unsafe fn push_last(handlers: &mut ngx_array_t, handler: Handler) -> bool {
    // SAFETY: the array holds handlers.
    unsafe {
        let slot: *mut ngx_http_handler_pt = ngx_array_push(handlers).cast();
        if slot.is_null() {
            return false;
        }
        *slot = Some(handler);
        true
    }
}

/// Adds a phase's handler so that it runs after all others. (Handlers of the log phase are run from the first to the last.)
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

/// Runs a directive's code as the entry task. An error in loading it is logged, and returned as a status.
///
/// # Safety
/// The request is live, and none of its Lua runs.
pub unsafe fn start(ctx: &Ctx, phase: Phase, code: &Code) -> Result<Outcome, ngx_int_t> {
    // SAFETY: the caller's promise.
    unsafe {
        start_with(ctx, phase, |ctx, l| match ctx.vm().push_code(l, code, Some(ctx.r)) {
            Ok(()) => Ok(0),
            Err(error) => {
                nginx::log_parts(NGX_LOG_ERR, ctx.log(), &[&error.message]);
                Err(error.status)
            }
        })
    }
}

/// Runs what `push` puts on the stack of the entry task's coroutine: a function and as many arguments as it returns.
///
/// # Safety
/// As for [`start`].
pub unsafe fn start_with(
    ctx: &Ctx,
    phase: Phase,
    push: impl FnOnce(&Ctx, *mut lua::lua_State) -> Result<i32, ngx_int_t>,
) -> Result<Outcome, ngx_int_t> {
    ctx.stop_tasks();
    let Some((coroutine, used_before)) = ctx.vm().coroutine() else {
        return Err(NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t);
    };
    // SAFETY: the caller's promise.
    unsafe {
        if used_before {
            log_debug!(ctx.r, "lua reusing cached lua thread");
        }
        let arguments = match push(ctx, coroutine.l) {
            Ok(arguments) => arguments,
            Err(status) => {
                ctx.vm().recycle(coroutine, true);
                return Err(status);
            }
        };
        ctx.state.phase.set(phase);
        ctx.state.end.set(None);
        if phase.is_in(HANDLERS) {
            abort::watch_client(ctx);
        }
        let (family, task) = scheduler().begin(ctx, coroutine);
        ctx.state.family.set(Some(family));
        let _busy = run::Busy::enter();
        fault::point(phase.name());
        let outcome = scheduler().run(&mut Requests, task, arguments);
        if outcome == Outcome::Over {
            ctx.state.family.set(None);
        }
        Ok(outcome)
    }
}

/// Goes on with a task that was woken, from an event handler, and with its request when its Lua is over.
///
/// # Safety
/// nginx is in none of its own functions that hold on to the request.
pub unsafe fn proceed(task: TaskId) {
    // SAFETY: a task belongs to a live request. After the request may have been finalized only the connection is looked at, which
    // nginx recycles but never frees.
    unsafe {
        let Some(owner) = scheduler().owner(task) else { return };
        let connection = (*(*owner).r).connection;
        go_on_with(&*owner, task);
        ngx_http_run_posted_requests(connection);
    }
}

/// As [`proceed`], where nginx runs the connection's posted requests itself.
unsafe fn go_on_with(ctx: &Ctx, task: TaskId) {
    // SAFETY: as in `proceed`.
    unsafe {
        let r = ctx.r;
        let log = (*(*r).connection).log;
        if body::is_given_up(r) && ctx.body.is_unfinished() {
            return guard(log, (), || body::end_refused(r));
        }
        let outcome = guard(log, Some(Outcome::Failed), || {
            let _busy = run::Busy::enter();
            fault::point("woken");
            scheduler().proceed(&mut Requests, task)
        });
        if let Some(outcome) = outcome {
            go_on(ctx, outcome);
        }
    }
}

/// The family of a request, which was waiting, has got as far as `outcome` says.
///
/// # Safety
/// The request is live, and may be gone afterwards.
pub unsafe fn go_on(ctx: &Ctx, outcome: Outcome) {
    if outcome == Outcome::Gone {
        // Whoever ended the tasks finalized the request, which may have been freed.
        return;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let r = ctx.r;
        let phase = ctx.state.phase.get();
        if phase == Phase::Timer {
            return timer::settle(ctx, outcome);
        }
        // A panic in here comes before the request is finalized.
        let settled = guard(ctx.log(), Some(failure(ctx)), || settle(ctx, outcome));
        let Some(rc) = settled else { return };
        if phase == Phase::Content || rc == nginx::DONE {
            // With `NGX_DONE` the request went elsewhere, and ran there already.
            ngx_http_finalize_request(r, rc);
            return;
        }
        ctx.state.resumed.set(Some(rc));
        (*r).write_event_handler = Some(ngx_http_core_run_phases);
        ngx_http_core_run_phases(r);
    }
}

/// nginx has finalized a request whose body can't be read; `released` says that it has no reference for the phase that waited any more.
unsafe fn body_failed(ctx: &Ctx, released: bool) {
    let r = ctx.r;
    ctx.stop_tasks();
    if !released {
        // SAFETY: the request is live as long as there is that reference.
        unsafe { ngx_http_finalize_request(r, nginx::DONE) }
    }
}

/// The write event handler of a request that waits: pushes pending output, and resumes tasks that were deferred.
unsafe extern "C" fn write_handler(r: Request) {
    // SAFETY: nginx calls this with a live request. It may be gone with the first task that goes on; the others are then gone too.
    unsafe {
        let log = (*(*r).connection).log;
        if !abort::look_when_written(r) {
            return;
        }
        let step = || {
            let Some(ctx) = ctx::get(r) else { return (Vec::new(), None) };
            fault::point("write");
            let wakers = output::write_event(ctx);
            let mut ready = ctx.ready.borrow_mut();
            let task = ready.pop_front();
            if !ready.is_empty() {
                ngx_http_post_request(r, std::ptr::null_mut());
            }
            (wakers, task)
        };
        let (wakers, task) = guard_or(log, step, || {
            // Who waits for the output would wait for ever.
            if let Some(ctx) = ctx::get(r) {
                go_on(ctx, Outcome::Failed);
            }
            (Vec::new(), None)
        });
        for waker in wakers {
            waker.wake();
        }
        if let Some((task, owner)) = task.and_then(|task| Some((task, scheduler().owner(task)?))) {
            go_on_with(&*owner, task);
        }
    }
}

/// What an outcome means for the request: the status for nginx, or none while the code waits.
///
/// # Safety
/// The request is live. `NGX_DONE` says that it may be gone.
pub unsafe fn settle(ctx: &Ctx, outcome: Outcome) -> Option<ngx_int_t> {
    // SAFETY: the caller's promise.
    unsafe {
        match outcome {
            Outcome::Waiting => {
                output::hand_over(ctx);
                (*ctx.r).write_event_handler = Some(write_handler);
                return None;
            }
            // Whoever ended the tasks goes on with the request.
            Outcome::Gone => return None,
            Outcome::Over | Outcome::Failed | Outcome::Ended => {}
        }
        fault::point("settle");
        ctx.stop_tasks();
        if leads_on(ctx, outcome) && body::finish(ctx, body_finished) {
            (*ctx.r).write_event_handler = Some(write_handler);
            return None;
        }
        body::set_aside(ctx);
        if outcome == Outcome::Over {
            return Some(returned(ctx));
        }
        match ctx.state.end.take().filter(|_| outcome == Outcome::Ended) {
            Some(End::Exit(status)) => Some(exited(ctx, status)),
            Some(End::Exec { uri, args }) => Some(executed(ctx, uri, args)),
            Some(End::Jump) => {
                ctx.drop_ctx_table();
                Some(nginx::OK)
            }
            None => {
                output::hand_over(ctx);
                Some(failure(ctx))
            }
        }
    }
}

/// How a request ends whose Lua has failed.
fn failure(ctx: &Ctx) -> ngx_int_t {
    if ctx.header_sent() {
        nginx::ERROR
    } else {
        NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t
    }
}

/// Whether others answer the request after its Lua has ended that way. They may want its body, and nginx takes what has been read of one
/// for all of it.
fn leads_on(ctx: &Ctx, outcome: Outcome) -> bool {
    match (outcome, ctx.state.end.get()) {
        (Outcome::Ended, Some(End::Exec { .. } | End::Jump)) => true,
        (Outcome::Ended, Some(End::Exit(nginx::OK | nginx::DECLINED))) | (Outcome::Over, _) => {
            ctx.state.phase.get() != Phase::Content && !ctx.header_sent()
        }
        _ => false,
    }
}

/// The body that kept the request from going on is there.
unsafe fn body_finished(ctx: &Ctx) {
    let outcome = if ctx.state.end.get().is_some() { Outcome::Ended } else { Outcome::Over };
    // SAFETY: the request is live, and its phase waits.
    unsafe { go_on(ctx, outcome) }
}

/// The last task came to its end: the status for nginx.
unsafe fn returned(ctx: &Ctx) -> ngx_int_t {
    // SAFETY: the request is live.
    unsafe {
        if output::is_lost(ctx) {
            return nginx::ERROR;
        }
        if ctx.state.phase.get() != Phase::Content {
            output::hand_over(ctx);
            return nginx::OK;
        }
        let rc = output::finish(ctx);
        if rc == nginx::ERROR || rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
            return rc;
        }
        nginx::OK
    }
}

/// `ngx.exit(status)` was called.
unsafe fn exited(ctx: &Ctx, status: ngx_int_t) -> ngx_int_t {
    const HTTP_OK: ngx_int_t = NGX_HTTP_OK as ngx_int_t;
    const SPECIAL: ngx_int_t = NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t;
    // SAFETY: the request is live.
    unsafe {
        let r = ctx.r;
        let is_content = ctx.state.phase.get() == Phase::Content;
        log_debug!(r, "lua thread aborting request with status {status}");
        if output::is_lost(ctx) {
            return nginx::ERROR;
        }
        if !ctx.header_sent() && (*r).headers_out.status == 0 && status >= HTTP_OK {
            (*r).headers_out.status = status as ngx_uint_t;
        }
        if ctx.output.is_buffering() && (*r).headers_out.status != 0 && !is_abort(status) {
            let rc = output::finish(ctx);
            if rc == nginx::ERROR || rc >= SPECIAL {
                return rc;
            }
            return if status >= HTTP_OK { HTTP_OK } else { status };
        }
        if (status == nginx::OK && is_content)
            || (HTTP_OK..SPECIAL).contains(&status) && status != NGX_HTTP_NO_CONTENT as ngx_int_t
        {
            let rc = output::finish(ctx);
            if rc == nginx::ERROR || rc >= SPECIAL {
                return rc;
            }
        } else {
            output::hand_over(ctx);
        }
        if ctx.header_sent() && status > nginx::OK && !is_abort(status) {
            return if is_content { nginx::OK } else { HTTP_OK };
        }
        match status {
            // nginx looks for another handler, who can't answer once more.
            nginx::DECLINED if is_content && ctx.header_sent() => nginx::ERROR,
            nginx::DECLINED => status,
            // Statuses of nginx's own: the request would be neither answered nor ended.
            _ if status < nginx::ERROR && is_content => nginx::ERROR,
            _ => status,
        }
    }
}

/// `ngx.exec(uri, args)` was called.
unsafe fn executed(ctx: &Ctx, mut uri: ngx_str_t, mut args: ngx_str_t) -> ngx_int_t {
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

/// Whether the location's code of that phase wants the request's body before it runs.
fn wants_body(conf: &LocConf, phase: Phase) -> bool {
    conf.need_request_body != 0 && conf.code(phase).is_some()
}
