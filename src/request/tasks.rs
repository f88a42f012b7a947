//! The tasks of requests: the scheduler's host.

use std::ffi::c_int;

use coro::{Host, Kind, Resume, Scheduler, Step, TaskId, Wait};
use mlua::ffi as lua;
use nginx_sys::*;

use super::ctx::Ctx;
use super::current::{enter, Current};
use crate::lua::{is_wait, string_at, traceback, Coroutine};
use crate::nginx::cell::Worker;
use crate::nginx::{self, log_debug};
use crate::run;

extern "C" {
    /// Of OpenResty's LuaJIT: pointers of the host's with each coroutine, which those that it makes inherit. The first is what
    /// `thread.exdata` shows: the request.
    fn lua_setexdata(l: *mut lua::lua_State, data: *mut std::ffi::c_void);
    fn lua_setexdata2(l: *mut lua::lua_State, data: *mut std::ffi::c_void);
    fn lua_getexdata2(l: *mut lua::lua_State) -> *mut std::ffi::c_void;
}

static SCHEDULER: Worker<Scheduler<Requests>> = Worker::new(Scheduler::new());

/// The worker's scheduler.
#[inline]
pub fn scheduler() -> &'static Scheduler<Requests> {
    // SAFETY: only shared references are ever made.
    unsafe { &*SCHEDULER.get() }
}

/// The task whose own coroutine this is, or was.
///
/// # Safety
/// `l` is a live coroutine.
pub unsafe fn task_of(l: *mut lua::lua_State) -> Option<TaskId> {
    // SAFETY: the caller's promise.
    TaskId::from_bits(unsafe { lua_getexdata2(l) } as u64)
}

/// Says that a coroutine is no task's: it would have that of the coroutine which made it.
///
/// # Safety
/// `l` is a live coroutine.
pub unsafe fn set_no_task(l: *mut lua::lua_State) {
    // SAFETY: the caller's promise.
    unsafe { lua_setexdata2(l, std::ptr::null_mut()) }
}

/// Moves what a light thread ended with behind whether that was well; returns how many values that is.
///
/// # Safety
/// Both are live coroutines of one VM, and `from` has ended.
pub unsafe fn move_results(
    from: *mut lua::lua_State,
    to: *mut lua::lua_State,
    well: bool,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        lua::lua_pushboolean(to, well as c_int);
        let n = if well { lua::lua_gettop(from) } else { leave_error(from) };
        if lua::lua_checkstack(to, n + 1) == 0 {
            return 1;
        }
        lua::lua_xmove(from, to, n);
        n + 1
    }
}

/// Leaves what a failed coroutine has raised on top of its stack, and returns how many values that is: what was given to `error`, before that
/// put the position in front, and then the message with it, where both can be told; otherwise the error's value.
unsafe fn leave_error(l: *mut lua::lua_State) -> c_int {
    // SAFETY: a coroutine that failed has the error on top, above the frame in which it was raised.
    unsafe {
        let is_string = |index| lua::lua_type(l, index) == lua::LUA_TSTRING;
        if lua::lua_gettop(l) < 2 || !is_string(1) || !is_string(-1) {
            return 1;
        }
        let (raised, message) = (string_at(l, 1), string_at(l, -1));
        if raised.len() >= message.len() || !message.ends_with(raised) {
            return 1;
        }
        lua::lua_pushvalue(l, 1);
        lua::lua_insert(l, -2);
        2
    }
}

/// The host of requests' tasks. All that it knows is in their contexts.
pub struct Requests;

impl Host for Requests {
    type Coroutine = Coroutine;
    type Owner = *const Ctx;

    #[inline]
    fn resume(
        &mut self,
        owner: *const Ctx,
        task: TaskId,
        coroutine: Coroutine,
        with: Resume<Coroutine>,
    ) -> Step {
        // SAFETY: a task's context outlives it, and its coroutine's stack is as `lua_resume` wants it.
        unsafe {
            let ctx = &*owner;
            let l = coroutine.l;
            let arguments = match with {
                Resume::Start(n) => {
                    lua_setexdata(l, ctx.r.cast());
                    lua_setexdata2(l, task.to_bits() as *mut std::ffi::c_void);
                    n
                }
                with => prepare(ctx, l, with),
            };
            let watch = ctx.state.watch.get();
            let began = watch.map(|watch| (watch.clock)());
            let current = Current { ctx, task: Some(task), phase: ctx.state.phase.get() };
            let status = enter(current, || lua::lua_resume_(l, arguments));
            if let (Some(watch), Some(began)) = (watch, began) {
                (watch.paused)(ctx, began);
            }
            match status {
                lua::LUA_OK => Step::Returned,
                lua::LUA_YIELD if is_wait(l) => Step::Waits,
                lua::LUA_YIELD => Step::Yields,
                _ => Step::Failed,
            }
        }
    }

    fn is_ending(&self, owner: *const Ctx) -> bool {
        // SAFETY: a task's context outlives it.
        unsafe { (*owner).state.end.get().is_some() }
    }

    fn is_alive(&self, coroutine: Coroutine) -> bool {
        // SAFETY: its light threads keep it from the collector.
        unsafe { coroutine.is_alive() }
    }

    #[cold]
    fn report(&mut self, owner: *const Ctx, kind: Kind, coroutine: Coroutine) {
        let l = coroutine.l;
        // SAFETY: the failed coroutine still has its stack, with the error's value on top.
        unsafe {
            let log = (*owner).log();
            let status = lua::lua_status(l);
            let what: &[u8] = match status {
                lua::LUA_ERRRUN => b"runtime error: ",
                lua::LUA_ERRMEM => b"memory allocation error: ",
                lua::LUA_ERRERR => b"error handler error: ",
                _ => b"unknown error: ",
            };
            let who: &[u8] = match kind {
                Kind::Entry => b"lua entry thread aborted: ",
                Kind::Light => b"lua user thread aborted: ",
            };
            let message = match lua::lua_type(l, -1) {
                lua::LUA_TSTRING | lua::LUA_TNUMBER => string_at(l, -1),
                _ => b"unknown reason",
            };
            let trace = traceback::of_failed(l, message, kind == Kind::Entry);
            nginx::log_parts(NGX_LOG_ERR, log, &[who, what, message, b"\n", &trace]);
            if status == lua::LUA_ERRMEM {
                run::restart_worker(log);
            }
        }
    }

    #[inline]
    fn release(&mut self, owner: *const Ctx, kind: Kind, coroutine: Coroutine, returned: bool) {
        // SAFETY: a task's context outlives it.
        unsafe {
            let ctx = &*owner;
            match kind {
                Kind::Entry => {
                    if ctx.vm().recycle(coroutine, returned) {
                        log_debug!(ctx.r, "lua caching unused lua thread");
                    }
                }
                // Lua may hold on to it, to ask for its status say.
                Kind::Light => {
                    log_debug!(ctx.r, "lua deleting light thread");
                    ctx.vm().discard(coroutine);
                }
            }
        }
    }

    fn next_turn(&mut self) -> Wait {
        Box::pin(run::wait::next_turn())
    }

    fn wake(task: TaskId) {
        run::wake(task);
    }
}

/// Puts what a suspended coroutine goes on with on its stack; returns how many values that is.
unsafe fn prepare(ctx: &Ctx, l: *mut lua::lua_State, with: Resume<Coroutine>) -> c_int {
    // SAFETY: what the coroutine has yielded is dropped, so its stack has room.
    unsafe {
        lua::lua_settop(l, 0);
        match with {
            Resume::Start(_) | Resume::Nothing => 0,
            Resume::Status(status) => {
                lua::lua_pushinteger(l, status as lua::lua_Integer);
                1
            }
            Resume::Spawned(child) => {
                lua::lua_pushthread(child.l);
                lua::lua_xmove(child.l, l, 1);
                1
            }
            Resume::Joined(child, well) => {
                let n = move_results(child.l, l, well);
                ctx.vm().discard(child);
                n
            }
        }
    }
}
