//! Coroutines of a request, what each waits for, waking and aborting.
//!
//! A coroutine runs until it returns, raises, or yields. Before it yields, a boundary function has left either a
//! future in its slot ([`Thread::wait`]) or the request's end in its `Ctx`. The scheduler polls the future outside
//! Lua: an operation that must not run under a Lua frame (sending headers through Lua filters, reading the body) is
//! done by that first poll. When the future is ready, its status is what the yield in Lua returns.
//!
//! A wake-up that comes from an event handler resumes the coroutine in that handler. One that comes while the
//! scheduler runs is posted, and handled in the same turn of the event loop.

pub mod bridge;
pub mod wait;

use std::ffi::c_int;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use mlua::ffi as lua;
use nginx_sys::*;

use crate::conf::phase::Phase;
use crate::lua::traceback;
use crate::lua::{string_at, Coroutine, Vm};
use crate::nginx::cell::Worker;
use crate::nginx::{self, log_debug};
use crate::request::ctx::Ctx;

/// What a coroutine waits for; the output is the status that Lua gets.
pub type Wait = Pin<Box<dyn Future<Output = c_int>>>;

/// A coroutine that the scheduler resumes: the entry thread of a phase.
pub struct Thread {
    pub coroutine: Coroutine,
    /// The number of the VM that the coroutine belongs to.
    vm: u64,
    pub ctx: *mut Ctx,
    pub wait: Option<Wait>,
    /// In the queue of posted wake-ups.
    posted: bool,
}

/// What runs at this moment, set before Lua is entered and restored afterwards.
#[derive(Clone, Copy)]
pub struct Current {
    pub ctx: *mut Ctx,
    /// Null where the phase can't wait.
    pub thread: *mut Thread,
    pub phase: Phase,
}

pub static CURRENT: Worker<Current> =
    Worker::new(Current { ctx: ptr::null_mut(), thread: ptr::null_mut(), phase: Phase::None });

/// How deep the scheduler is in itself; wake-ups are posted while it isn't 0.
static DEPTH: Worker<u32> = Worker::new(0);

static POSTED: Worker<Vec<*mut Thread>> = Worker::new(Vec::new());
static POSTED_EVENT: Worker<Option<Box<ngx_event_t>>> = Worker::new(None);

pub enum Outcome {
    /// The code returned.
    Returned,
    /// `Ctx::end` says how it ended.
    Ended,
    Waiting,
    /// It raised an error, which is logged.
    Failed,
}

/// Runs `f` as Lua of that phase: with `CURRENT` set, and restored afterwards.
pub fn enter<T>(current: Current, f: impl FnOnce() -> T) -> T {
    // SAFETY: one thread, and nobody keeps a reference into the cell.
    unsafe {
        let outer = ptr::replace(CURRENT.get(), current);
        let result = f();
        *CURRENT.get() = outer;
        result
    }
}

/// Whether Lua is running, or the scheduler between two runs of it.
pub struct Busy;

impl Busy {
    pub fn enter() -> Busy {
        // SAFETY: one thread.
        unsafe { *DEPTH.get() += 1 };
        Busy
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // SAFETY: one thread.
        unsafe { *DEPTH.get() -= 1 };
    }
}

impl Thread {
    /// A thread for the request: the spare one of its `Ctx`, with the coroutine that it had, where there is one.
    pub fn new(ctx: &mut Ctx) -> Option<Box<Thread>> {
        // SAFETY: the request's VM is alive.
        unsafe {
            match ctx.spare.take() {
                Some(mut thread) if thread.vm == (*ctx.vm).id() => {
                    log_debug!(ctx.r, "lua reusing cached lua thread");
                    thread.ctx = ctx;
                    Some(thread)
                }
                _ => Thread::create(ctx),
            }
        }
    }

    #[cold]
    fn create(ctx: &mut Ctx) -> Option<Box<Thread>> {
        // SAFETY: the request's VM is alive.
        let vm = unsafe { &mut *ctx.vm };
        let coroutine = vm.coroutine()?;
        Some(Box::new(Thread { coroutine, vm: vm.id(), ctx, wait: None, posted: false }))
    }

    /// Makes the coroutine ready for another function, and drops what it waits for. `returned` says that its function
    /// came to its end.
    pub fn finish(&mut self, returned: bool) {
        self.wait = None;
        let this: *mut Thread = self;
        // SAFETY: one thread; the VM outlives its coroutines.
        unsafe {
            if self.posted {
                take_back(this);
            }
            let vm = &mut *(*self.ctx).vm;
            log_debug!((*self.ctx).r, "lua caching unused lua thread");
            vm.reset_coroutine(self.coroutine, returned);
        }
    }

    /// Lets the collector have the coroutine.
    ///
    /// # Safety
    /// The thread has finished, and its VM is alive.
    pub unsafe fn discard(&mut self, vm: &mut Vm) {
        if self.vm == vm.id() {
            vm.drop_coroutine(self.coroutine);
        }
        self.vm = 0;
    }

    /// Resumes the coroutine, whose function and `nargs` arguments are on its stack, until it can go on no further.
    ///
    /// # Safety
    /// The thread and its `Ctx` stay alive: they are only ever freed outside the scheduler.
    pub unsafe fn run(&mut self, mut nargs: c_int) -> Outcome {
        let _busy = Busy::enter();
        // SAFETY: the caller's promise, and the coroutine's stack is as `lua_resume` wants it.
        unsafe {
            loop {
                let status = self.resume(nargs);
                if status == lua::LUA_OK {
                    return Outcome::Returned;
                }
                match self.stopped(status) {
                    ControlFlow::Continue(status) => nargs = self.push_status(status),
                    ControlFlow::Break(outcome) => return outcome,
                }
            }
        }
    }

    unsafe fn resume(&mut self, nargs: c_int) -> c_int {
        // SAFETY: as in `run`.
        unsafe {
            let (ctx, l) = (self.ctx, self.coroutine.l);
            let current = Current { ctx, thread: self, phase: (*ctx).phase };
            let watch = (*ctx).watch;
            let began = watch.map(|watch| (watch.clock)());
            let status = enter(current, || lua::lua_resume_(l, nargs));
            if let (Some(watch), Some(began)) = (watch, began) {
                (watch.paused)(&mut *ctx, began);
            }
            status
        }
    }

    /// The coroutine yielded or failed: how the run ended, or the status to go on with.
    #[inline(never)]
    unsafe fn stopped(&mut self, status: c_int) -> ControlFlow<Outcome, c_int> {
        // SAFETY: as in `run`.
        unsafe {
            let ctx = self.ctx;
            if status != lua::LUA_YIELD {
                self.report(status);
                return ControlFlow::Break(Outcome::Failed);
            }
            if (*ctx).end.is_some() {
                return ControlFlow::Break(Outcome::Ended);
            }
            // A yield of the user's own, outside any coroutine of theirs, lets others run. What an earlier call left
            // in the slot, and could not yield for, is dropped.
            let mut wait = match self.wait.take() {
                Some(wait) if (*(*ctx).vm).is_wait(self.coroutine.l) => wait,
                _ => Box::pin(wait::next_turn()),
            };
            let waker = self.waker();
            match wait.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Pending => {
                    self.wait = Some(wait);
                    ControlFlow::Break(Outcome::Waiting)
                }
                Poll::Ready(_) if (*ctx).end.is_some() => ControlFlow::Break(Outcome::Ended),
                Poll::Ready(status) => ControlFlow::Continue(status),
            }
        }
    }

    /// Polls what the thread waits for and, when that is over, runs it on.
    ///
    /// # Safety
    /// As for [`Thread::run`].
    pub unsafe fn proceed(&mut self) -> Outcome {
        let _busy = Busy::enter();
        let waker = self.waker();
        let Some(mut wait) = self.wait.take() else {
            return Outcome::Waiting;
        };
        match wait.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => {
                self.wait = Some(wait);
                Outcome::Waiting
            }
            Poll::Ready(status) => {
                drop(wait);
                // SAFETY: the caller's promise.
                unsafe {
                    if (*self.ctx).end.is_some() {
                        return Outcome::Ended;
                    }
                    let nargs = self.push_status(status);
                    self.run(nargs)
                }
            }
        }
    }

    fn push_status(&self, status: c_int) -> c_int {
        // SAFETY: the coroutine is suspended; what it yielded is dropped, so its stack has room.
        unsafe {
            lua::lua_settop(self.coroutine.l, 0);
            lua::lua_pushinteger(self.coroutine.l, status as lua::lua_Integer);
        }
        1
    }

    /// Logs the error that ended the coroutine, with its traceback.
    fn report(&self, status: c_int) {
        let kind: &[u8] = match status {
            lua::LUA_ERRRUN => b"runtime error: ",
            lua::LUA_ERRMEM => b"memory allocation error: ",
            lua::LUA_ERRERR => b"error handler error: ",
            _ => b"unknown error: ",
        };
        let l = self.coroutine.l;
        // SAFETY: the failed coroutine still has its stack, with the error's value on top.
        unsafe {
            let log = (*self.ctx).log();
            let message = match lua::lua_type(l, -1) {
                lua::LUA_TSTRING | lua::LUA_TNUMBER => string_at(l, -1),
                _ => b"unknown reason",
            };
            let mut trace = b"stack traceback:\ncoroutine 0:".to_vec();
            traceback::frames(&mut trace, l, 0);
            nginx::log_parts(
                NGX_LOG_ERR,
                log,
                &[b"lua entry thread aborted: ", kind, message, b"\n", &trace],
            );
            if status == lua::LUA_ERRMEM {
                restart_worker(log);
            }
        }
    }

    /// A waker for the future in the thread's slot. It must not outlive that future, which the thread owns.
    fn waker(&mut self) -> Waker {
        // SAFETY: the table's functions only use the pointer while the future, and so the thread, is alive.
        unsafe { Waker::from_raw(RawWaker::new(ptr::from_mut(self).cast(), &WAKER)) }
    }
}

static WAKER: RawWakerVTable =
    RawWakerVTable::new(|data| RawWaker::new(data, &WAKER), wake, wake, |_| {});

unsafe fn wake(data: *const ()) {
    let thread: *mut Thread = data.cast_mut().cast();
    // SAFETY: the thread is alive, as `Thread::waker` says.
    unsafe {
        if *DEPTH.get() > 0 {
            post(thread);
        } else {
            crate::phase::proceed(thread);
        }
    }
}

/// Wakes the thread from the request's write handler, where nginx expects the request to go on.
///
/// # Safety
/// The thread is alive.
pub unsafe fn defer(thread: *mut Thread) {
    // SAFETY: the thread's `Ctx` and request are alive as long as it is.
    unsafe {
        let ctx = &mut *(*thread).ctx;
        if !ctx.ready.contains(&thread) {
            ctx.ready.push(thread);
        }
        ngx_http_post_request(ctx.r, ptr::null_mut());
    }
}

/// Takes the wake-up out of the queue.
#[cold]
unsafe fn take_back(thread: *mut Thread) {
    // SAFETY: one thread of execution; `thread` is alive.
    unsafe {
        (*POSTED.get()).retain(|&posted| posted != thread);
        (*thread).posted = false;
    }
}

/// Puts the wake-up into the event loop's queue of this turn.
unsafe fn post(thread: *mut Thread) {
    // SAFETY: one thread; the event lives in a static.
    unsafe {
        if (*thread).posted {
            return;
        }
        (*thread).posted = true;
        (*POSTED.get()).push(thread);
        let event = (*POSTED_EVENT.get()).get_or_insert_with(|| {
            let mut event: Box<ngx_event_t> = Box::new(std::mem::zeroed());
            event.handler = Some(run_posted);
            event.log = (*ngx_cycle).log;
            event
        });
        ngx_post_event(&mut **event, &raw mut ngx_posted_events);
    }
}

unsafe extern "C" fn run_posted(_event: *mut ngx_event_t) {
    // SAFETY: a thread that ends takes itself out of the queue.
    unsafe {
        let queue = POSTED.get();
        while !(*queue).is_empty() {
            let thread = (*queue).remove(0);
            (*thread).posted = false;
            crate::phase::proceed(thread);
        }
    }
}

/// The VM has run out of memory: this worker leaves as soon as its requests are answered, and the master starts
/// another.
pub unsafe fn restart_worker(log: *mut ngx_log_t) {
    // SAFETY: nginx's own flag for a graceful shutdown, looked at by its event loop.
    unsafe {
        nginx::log_error!(
            NGX_LOG_ALERT,
            log,
            "[lua] memory allocation error, restarting the worker"
        );
        ngx_quit = 1;
    }
}
