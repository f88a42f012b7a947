//! `ngx.timer`: functions that run later, without the request that asked for them.
//!
//! A timer holds a coroutine with the function and its arguments, the VM, and what the request was configured by. When it expires it becomes a
//! request of the module's own ([`crate::phase::timer`]). When the worker shuts down all that wait run at once, and are told that it is
//! premature.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr;
use std::rc::Rc;

use mlua::ffi as lua;
use nginx_sys::*;

use crate::lua::{Coroutine, Vm};
use crate::nginx::cell::Worker;
use crate::nginx::{self, fault, guard, guard_or, log_debug_at, log_error, Request};
use crate::phase::timer as requests;
use crate::phase::timer::Origin;
use crate::run::shutdown;

struct Timer {
    event: ngx_event_t,
    vm: Rc<Vm>,
    coroutine: Coroutine,
    origin: Origin,
    /// In milliseconds, of one that comes again.
    every: Option<ngx_msec_t>,
    /// Its place among those that wait.
    place: usize,
    limits: Limits,
}

/// How many timers there may be.
#[derive(Clone, Copy)]
pub struct Limits {
    /// `lua_max_pending_timers`
    pub pending: usize,
    /// `lua_max_running_timers`
    pub running: usize,
}

/// Why there is no timer, as Lua is told.
pub type Refusal = &'static str;

/// The timers that wait, and free places among them.
struct Pending {
    timers: Vec<*mut Timer>,
    free: Vec<usize>,
    /// Memory for the next timers, which stays where it is when one is in it.
    #[allow(clippy::vec_box)]
    idle: Vec<Box<MaybeUninit<Timer>>>,
}

/// As many as may wait by default.
const IDLE_MAX: usize = 1024;

static PENDING: Worker<Pending> =
    Worker::new(Pending { timers: Vec::new(), free: Vec::new(), idle: Vec::new() });
static RUNNING: Worker<Cell<usize>> = Worker::new(Cell::new(0));

fn pending<'a>() -> &'a mut Pending {
    // SAFETY: one thread, and no reference is kept while Lua runs.
    unsafe { &mut *PENDING.get() }
}

fn running<'a>() -> &'a Cell<usize> {
    // SAFETY: one thread.
    unsafe { &*RUNNING.get() }
}

/// How many timers wait.
pub fn pending_count() -> usize {
    pending().timers.len() - pending().free.len()
}

/// How many timers' functions run.
pub fn running_count() -> usize {
    running().get()
}

/// Whether a timer may be added that waits so many milliseconds.
pub fn check(delay: ngx_msec_t, limits: Limits) -> Result<(), Refusal> {
    // SAFETY: nginx's own flag.
    if unsafe { ngx_exiting } != 0 && delay > 0 {
        return Err("process exiting");
    }
    if pending_count() >= limits.pending {
        return Err("too many pending timers");
    }
    Ok(())
}

/// Has the function that the coroutine has on its stack, followed by its arguments, run after so many milliseconds; `every` says: and again
/// after as many.
///
/// # Safety
/// On the worker's own thread; the coroutine is the VM's, and is the timer's from here on.
pub unsafe fn add(
    vm: Rc<Vm>,
    coroutine: Coroutine,
    origin: Origin,
    delay: ngx_msec_t,
    every: bool,
    limits: Limits,
) -> Result<(), Refusal> {
    // SAFETY: the caller's promise; the timer stays where it is until it has expired.
    unsafe {
        if !shutdown::listen(abort_all) {
            vm.discard(coroutine);
            return Err("no memory");
        }
        let pending = pending();
        let place = pending.free.pop().unwrap_or_else(|| {
            pending.timers.push(ptr::null_mut());
            pending.timers.len() - 1
        });
        let every = every.then_some(delay);
        let event = std::mem::zeroed();
        let mut memory = pending.idle.pop().unwrap_or_else(Box::new_uninit);
        memory.write(Timer { event, vm, coroutine, origin, every, place, limits });
        let timer: *mut Timer = Box::into_raw(memory).cast();
        pending.timers[place] = timer;
        let event = &mut (*timer).event;
        event.handler = Some(expired);
        event.data = timer.cast();
        event.log = (*ngx_cycle).log;
        if delay == 0 && ngx_exiting == 0 {
            ngx_post_event(event, &raw mut ngx_posted_next_events);
        } else {
            ngx_add_timer(event, delay);
        }
        Ok(())
    }
}

unsafe extern "C" fn expired(event: *mut ngx_event_t) {
    // SAFETY: `data` is the timer that armed the event.
    unsafe {
        log_debug_at!((*event).log, "lua ngx.timer expired");
        guard((*event).log, (), || run((*event).data.cast(), false));
    }
}

/// The worker shuts down: what waits runs now.
unsafe fn abort_all() {
    // SAFETY: on the worker's own thread. Those that are added meanwhile have no delay, and expire by themselves.
    unsafe {
        let waiting: Vec<_> =
            pending().timers.iter().copied().filter(|timer| !timer.is_null()).collect();
        log_debug_at!((*ngx_cycle).log, "lua abort pending timers");
        for timer in waiting {
            let event = &mut (*timer).event;
            if event.timer_set() != 0 {
                ngx_del_timer(event);
            }
            if event.posted() != 0 {
                ngx_delete_posted_event(event);
            }
            log_debug_at!((*ngx_cycle).log, "lua ngx.timer expired");
            guard((*ngx_cycle).log, (), || run(timer, true));
        }
    }
}

unsafe fn run(timer: *mut Timer, premature: bool) {
    // SAFETY: the timer was leaked by `add`, and is nobody's but ours.
    unsafe {
        let taken = ptr::read(timer);
        let memory = Box::from_raw(timer.cast::<MaybeUninit<Timer>>());
        let pending = pending();
        pending.timers[taken.place] = ptr::null_mut();
        pending.free.push(taken.place);
        if pending.idle.len() < IDLE_MAX {
            pending.idle.push(memory);
        }
        let is_ours = Cell::new(true);
        let begin = || begin(&taken, premature, &is_ours);
        guard_or((*ngx_cycle).log, begin, || {
            if is_ours.get() {
                failed(&taken.vm, taken.coroutine, "internal error");
            }
        });
    }
}

/// Runs the timer's function, whose coroutine is the timer's until `is_ours` says otherwise.
unsafe fn begin(timer: &Timer, premature: bool, is_ours: &Cell<bool>) {
    // SAFETY: the coroutine has the function and its arguments on its stack.
    unsafe {
        let &Timer { ref vm, coroutine, ref origin, every, limits, .. } = timer;
        fault::point("timer_expired");
        if let Some(delay) = every.filter(|_| ngx_exiting == 0) {
            if again(vm, coroutine, origin, delay, limits).is_none() {
                log_error!(
                    NGX_LOG_ALERT,
                    (*ngx_cycle).log,
                    "failed to create the next timer of delay {delay} ms"
                );
            }
        }
        if running().get() >= limits.running {
            let message = format!("{} lua_max_running_timers are not enough", limits.running);
            is_ours.set(false);
            return failed(vm, coroutine, &message);
        }
        let r = requests::create(origin, ended);
        is_ours.set(false);
        if r.is_null() {
            return failed(vm, coroutine, "could not create fake request");
        }
        running().set(running().get() + 1);
        let l = coroutine.l;
        lua::lua_pushboolean(l, premature as i32);
        lua::lua_insert(l, 2);
        requests::run_coroutine(r, vm, coroutine, lua::lua_gettop(l) - 1);
    }
}

fn ended(_: Request) {
    running().set(running().get() - 1);
}

/// Another timer for the same function and arguments.
unsafe fn again(
    vm: &Rc<Vm>,
    coroutine: Coroutine,
    origin: &Origin,
    delay: ngx_msec_t,
    limits: Limits,
) -> Option<()> {
    // SAFETY: the coroutine has a function and its arguments on its stack; the copies are moved to the new one's.
    unsafe {
        let (next, _) = vm.coroutine()?;
        let n = lua::lua_gettop(coroutine.l);
        if lua::lua_checkstack(coroutine.l, n) == 0 || lua::lua_checkstack(next.l, n + 1) == 0 {
            vm.discard(next);
            return None;
        }
        for i in 1..=n {
            lua::lua_pushvalue(coroutine.l, i);
        }
        lua::lua_xmove(coroutine.l, next.l, n);
        add(vm.clone(), next, origin.clone(), delay, true, limits).ok()
    }
}

/// A timer's function is not run.
unsafe fn failed(vm: &Vm, coroutine: Coroutine, message: &str) {
    // SAFETY: the coroutine has the function at the bottom of its stack.
    unsafe {
        let l = coroutine.l;
        let mut function: lua::lua_Debug = std::mem::zeroed();
        lua::lua_pushvalue(l, 1);
        lua::lua_getinfo(l, c">S".as_ptr(), &mut function);
        let source = std::ffi::CStr::from_ptr(function.source).to_bytes();
        log_error!(
            NGX_LOG_ALERT,
            (*ngx_cycle).log,
            "lua failed to run timer with function defined at {}:{}: {message}",
            nginx::NgxStr::from_bytes(source),
            function.linedefined
        );
        lua::lua_settop(l, 0);
        vm.recycle(coroutine, true);
    }
}
