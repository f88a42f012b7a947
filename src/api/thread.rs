//! `ngx.thread`, `ngx.timer`, `ngx.on_abort` and what `coroutine.*` needs of the scheduler. They move values from coroutine to coroutine, so
//! they are Lua's own kind of C functions: nothing with a destructor is alive where one may raise.

use std::ffi::{c_int, CStr};

use coro::{Join, Kill, Status, TaskId};
use mlua::ffi as lua;
use mlua::ffi::lua_State;
use nginx_sys::*;

use super::cfunction::{context, disabled, guarded, nil_and, raise, yield_and_wait};
use super::current;
use crate::conf::phase::{Phase, HANDLERS, WAITING};
use crate::conf::{self, main_conf_of};
use crate::lua::{string_at, traceback, Coroutine};
use crate::nginx::cell::Worker;
use crate::phase::timer::Origin;
use crate::request::ctx::Ctx;
use crate::request::tasks::{move_results, scheduler, set_no_task, task_of, Requests};
use crate::timer::{self, Limits};

const FUNCTIONS: [(&CStr, lua::lua_CFunction); 12] = [
    (c"create", create),
    (c"state", state),
    (c"note_failed", note_failed),
    (c"traceback", traceback_at),
    (c"spawn", spawn),
    (c"wait", wait),
    (c"kill", kill),
    (c"on_abort", on_abort),
    (c"at", at),
    (c"every", every),
    (c"pending_count", pending_count),
    (c"running_count", running_count),
];

/// The loader: returns a table of the functions.
pub unsafe extern "C-unwind" fn open(l: *mut lua_State) -> c_int {
    // SAFETY: the stack has room for what is pushed.
    unsafe {
        lua::lua_createtable(l, 0, FUNCTIONS.len() as c_int);
        for (name, function) in FUNCTIONS {
            lua::lua_pushcfunction(l, function);
            lua::lua_setfield(l, -2, name.as_ptr());
        }
        1
    }
}

unsafe fn is_lua_function(l: *mut lua_State, index: c_int) -> bool {
    // SAFETY: the caller's index is one of an argument.
    unsafe { lua::lua_isfunction(l, index) != 0 && lua::lua_iscfunction(l, index) == 0 }
}

unsafe fn check_function(l: *mut lua_State, index: c_int) {
    // SAFETY: as above; raising leaves nothing behind.
    unsafe {
        if !is_lua_function(l, index) {
            lua::luaL_argerror(l, index, c"Lua function expected".as_ptr());
        }
    }
}

/// A coroutine with the function at `index` and the arguments above it, which are taken from the stack of `l`. It isn't kept for reuse, since Lua
/// may hold on to it.
unsafe fn new_coroutine(l: *mut lua_State, index: c_int) -> (Coroutine, c_int) {
    // SAFETY: what may raise for want of memory has nothing to leave behind.
    unsafe {
        let coroutine = Coroutine::new(l);
        let n = lua::lua_gettop(l) - index + 1;
        if lua::lua_checkstack(coroutine.l, n) == 0 {
            coroutine.let_go(l);
            raise(l, c"too many arguments");
        }
        lua::lua_xmove(l, coroutine.l, n);
        (coroutine, n - 1)
    }
}

/// `coroutine.create(f)`.
unsafe extern "C-unwind" fn create(l: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with its arguments on the stack.
    unsafe {
        check_function(l, 1);
        let new = lua::lua_newthread(l);
        // It would have the task of the coroutine that makes it.
        set_no_task(new);
        lua::lua_pushvalue(l, 1);
        lua::lua_xmove(l, new, 1);
        1
    }
}

/// What the coroutine is as a task: "running", "zombie", "dead"; nil when it is none.
unsafe extern "C-unwind" fn state(l: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with its arguments on the stack.
    unsafe {
        let coroutine = lua::lua_tothread(l, 1);
        let task = if coroutine.is_null() { None } else { task_of(coroutine) };
        let Some(task) = task else { return 0 };
        let name = match scheduler().status(task) {
            Status::Running => c"running",
            Status::Zombie => c"zombie",
            Status::Dead => c"dead",
        };
        lua::lua_pushstring(l, name.as_ptr());
        1
    }
}

/// A wrapped coroutine has failed with that message, which is about to be raised again: keeps its frames for a traceback.
unsafe extern "C-unwind" fn note_failed(l: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with its arguments on the stack; nothing in it raises.
    unsafe {
        let failed = lua::lua_tothread(l, 1);
        if !failed.is_null() && lua::lua_type(l, 2) == lua::LUA_TSTRING {
            traceback::note_failed(failed, l, string_at(l, 2));
        }
        0
    }
}

/// The frames from that level on, in which a directive's code is shown as the chunk that it is.
unsafe extern "C-unwind" fn traceback_at(l: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with its arguments on the stack. The text leaks when there is no memory for it in Lua.
    unsafe {
        let level = lua::lua_tointeger(l, 1) as c_int;
        let is_main = lua::lua_pushthread(l) == 1;
        lua::lua_settop(l, -2);
        let of_directive = is_main || task_of(l).is_some_and(|task| scheduler().is_entry(task));
        let mut text = b"\nstack traceback:".to_vec();
        traceback::frames(&mut text, l, level, of_directive);
        lua::lua_pushlstring(l, text.as_ptr().cast(), text.len());
        1
    }
}

/// `ngx.thread.spawn(f, ...)`.
unsafe extern "C-unwind" fn spawn(l: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with its arguments on the stack.
    unsafe {
        context(l, WAITING);
        let Some(task) = current().task else { disabled(l) };
        check_function(l, 1);
        let (mut child, arguments) = new_coroutine(l, 1);
        let mut spawner = Coroutine::kept_elsewhere(l);
        if scheduler().coroutine(task) != Some(spawner) {
            // A coroutine of the user's own, whose end the thread may have to know.
            child.keep_spawner(l);
            spawner = Coroutine::kept_elsewhere(l);
        }
        guarded(l, || scheduler().spawn(&mut Requests, task, spawner, child, arguments));
        yield_and_wait(l)
    }
}

/// The ids of the light threads that are waited for, until the scheduler has them.
static JOINED: Worker<Vec<TaskId>> = Worker::new(Vec::new());

/// The id of the light thread at `index`, which may be gone; raises when it is no coroutine, or a task of another request's.
unsafe fn light_thread(l: *mut lua_State, ctx: &Ctx, index: c_int) -> Option<TaskId> {
    // SAFETY: Lua calls the caller with its arguments on the stack.
    unsafe {
        let coroutine = lua::lua_tothread(l, index);
        if coroutine.is_null() {
            lua::luaL_argerror(l, index, c"lua thread expected".as_ptr());
        }
        let task = task_of(coroutine)?;
        if scheduler().owner(task).is_some_and(|owner| !std::ptr::eq(owner, ctx)) {
            raise(l, c"no co ctx found");
        }
        Some(task).filter(|&task| !scheduler().is_entry(task))
    }
}

/// `ngx.thread.wait(thread, ...)`.
unsafe extern "C-unwind" fn wait(l: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with its arguments on the stack; the list is a static, and no reference to it is alive where one may raise.
    unsafe {
        let ctx = context(l, WAITING);
        let Some(task) = current().task else { disabled(l) };
        let n = lua::lua_gettop(l);
        if n == 0 {
            raise(l, c"at least one coroutine should be specified");
        }
        (*JOINED.get()).clear();
        for index in 1..=n {
            let Some(child) = light_thread(l, ctx, index) else {
                raise(l, c"attempt to wait on a coroutine that is not a user thread");
            };
            (*JOINED.get()).push(child);
        }
        let children = std::mem::take(&mut *JOINED.get());
        let caller = Coroutine::kept_elsewhere(l);
        let joined = guarded(l, move || {
            let joined = scheduler().join(&mut Requests, task, caller, &children);
            *JOINED.get() = children;
            joined
        });
        match joined {
            Join::Wait => yield_and_wait(l),
            Join::Ended(child, well) => {
                let n = move_results(child.l, l, well);
                ctx.vm().discard(child);
                n
            }
            Join::Gone => nil_and(l, c"already waited or killed"),
            Join::NotParent => raise(l, c"only the parent coroutine can wait on the thread"),
        }
    }
}

/// `ngx.thread.kill(thread)`.
unsafe extern "C-unwind" fn kill(l: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with its arguments on the stack.
    unsafe {
        let ctx = context(l, WAITING);
        let Some(child) = light_thread(l, ctx, 1) else { return nil_and(l, c"not user thread") };
        let Some(task) = current().task else { disabled(l) };
        if ctx.batches.has_task(child) {
            return nil_and(l, c"pending subrequests");
        }
        let caller = Coroutine::kept_elsewhere(l);
        match guarded(l, || scheduler().kill(&mut Requests, task, caller, child)) {
            Kill::Killed => {
                lua::lua_pushinteger(l, 1);
                1
            }
            Kill::Ended => nil_and(l, c"already terminated"),
            Kill::Gone => nil_and(l, c"already waited or killed"),
            Kill::NotParent => nil_and(l, c"killer not parent"),
        }
    }
}

/// `ngx.on_abort(callback)`.
unsafe extern "C-unwind" fn on_abort(l: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with its arguments on the stack.
    unsafe {
        let ctx = context(l, HANDLERS);
        if ctx.state.on_abort.get().is_some() {
            return nil_and(l, c"duplicate call");
        }
        if conf::loc_conf(ctx.r).check_client_abort == 0 {
            return nil_and(l, c"lua_check_client_abort is off");
        }
        check_function(l, 1);
        lua::lua_settop(l, 1);
        let (callback, _) = new_coroutine(l, 1);
        ctx.state.on_abort.set(Some(callback));
        lua::lua_pushinteger(l, 1);
        1
    }
}

/// `ngx.timer.at(delay, callback, ...)`.
unsafe extern "C-unwind" fn at(l: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with its arguments on the stack.
    unsafe { add_timer(l, false) }
}

/// `ngx.timer.every(delay, callback, ...)`.
unsafe extern "C-unwind" fn every(l: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with its arguments on the stack.
    unsafe { add_timer(l, true) }
}

/// What the current code is configured by, and where a timer of its belongs.
unsafe fn limits() -> Option<Limits> {
    // SAFETY: the current context is alive; so is the configuration of the worker's cycle.
    unsafe {
        let conf = match current().ctx.as_ref() {
            Some(ctx) => main_conf_of(ctx.r),
            None => conf::conf_of(ngx_cycle)?,
        };
        Some(Limits {
            pending: conf.max_pending_timers.max(0) as usize,
            running: conf.max_running_timers.max(0) as usize,
        })
    }
}

unsafe fn add_timer(l: *mut lua_State, every: bool) -> c_int {
    // SAFETY: Lua calls the caller with its arguments on the stack. What has a destructor is made after the last call that may raise.
    unsafe {
        let n = lua::lua_gettop(l);
        if n < 2 {
            lua::luaL_error(l, c"expecting at least 2 arguments but got %d".as_ptr(), n);
        }
        let delay = (lua::luaL_checknumber(l, 1) * 1000.0) as ngx_msec_t;
        if every && delay == 0 {
            raise(l, c"delay cannot be zero");
        }
        check_function(l, 2);
        let phase = current().phase;
        if phase.is_in(Phase::ExitWorker as u32) {
            disabled(l);
        }
        let Some(limits) = limits().filter(|_| phase != Phase::Init) else {
            raise(l, c"no request");
        };
        if let Err(refusal) = timer::check(delay, limits) {
            return refused(l, refusal);
        }
        let Some(coroutine) = timer_coroutine(l) else {
            raise(l, c"no memory");
        };
        match guarded(l, || register(coroutine, delay, every, limits)) {
            Ok(()) => {
                lua::lua_pushinteger(l, 1);
                1
            }
            Err(refusal) => refused(l, refusal),
        }
    }
}

unsafe fn refused(l: *mut lua_State, refusal: &'static str) -> c_int {
    // SAFETY: a C function has room for some values.
    unsafe {
        lua::lua_pushnil(l);
        lua::lua_pushlstring(l, refusal.as_ptr().cast(), refusal.len());
        2
    }
}

/// A coroutine with the function at index 2 and the arguments above it; `None` when there is no memory for one.
unsafe fn timer_coroutine(l: *mut lua_State) -> Option<Coroutine> {
    // SAFETY: the current VM is alive.
    unsafe {
        let (coroutine, _) = vm()?.coroutine()?;
        let n = lua::lua_gettop(l) - 1;
        // One more for what the function is told first.
        if lua::lua_checkstack(coroutine.l, n + 1) == 0 {
            vm()?.recycle(coroutine, true);
            return None;
        }
        lua::lua_xmove(l, coroutine.l, n);
        Some(coroutine)
    }
}

/// The VM that runs.
unsafe fn vm<'a>() -> Option<&'a std::rc::Rc<crate::lua::Vm>> {
    // SAFETY: the current context is alive; so is the configuration of the worker's cycle.
    unsafe {
        match current().ctx.as_ref() {
            Some(ctx) => Some(ctx.vm()),
            None => conf::conf_of(ngx_cycle)?.vm(),
        }
    }
}

unsafe fn register(
    coroutine: Coroutine,
    delay: ngx_msec_t,
    every: bool,
    limits: Limits,
) -> Result<(), timer::Refusal> {
    // SAFETY: as above.
    unsafe {
        let origin = match current().ctx.as_ref() {
            Some(ctx) => Some(Origin::of(ctx.r)),
            None => Origin::first_server(),
        };
        let (Some(origin), Some(vm)) = (origin, vm()) else { return Err("no request") };
        timer::add(vm.clone(), coroutine, origin, delay, every, limits)
    }
}

unsafe extern "C-unwind" fn pending_count(l: *mut lua_State) -> c_int {
    // SAFETY: a C function has room for some values.
    unsafe {
        lua::lua_pushinteger(l, timer::pending_count() as lua::lua_Integer);
        1
    }
}

unsafe extern "C-unwind" fn running_count(l: *mut lua_State) -> c_int {
    // SAFETY: a C function has room for some values.
    unsafe {
        lua::lua_pushinteger(l, timer::running_count() as lua::lua_Integer);
        1
    }
}
