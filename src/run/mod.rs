//! Tasks on nginx's event loop: who goes on with one that was woken, and when.
//!
//! A wake-up that comes from an event handler goes on with the task in that handler. One that comes while Lua runs, or the
//! scheduler between two runs of it, is posted, and handled in the same turn of the event loop.

pub mod bridge;
pub mod shutdown;
pub mod wait;

use std::ptr;

use coro::TaskId;
use nginx_sys::*;

use crate::nginx::cell::Worker;
use crate::nginx::{guard, log_error};

/// Goes on with a task; set by the layer that knows what that means for its request.
static PROCEED: Worker<unsafe fn(TaskId)> = Worker::new(|_| {});

/// How deep Lua and the scheduler are in themselves; wake-ups are posted while it isn't 0.
static DEPTH: Worker<u32> = Worker::new(0);

static POSTED: Worker<Vec<TaskId>> = Worker::new(Vec::new());
static POSTED_EVENT: Worker<*mut ngx_event_t> = Worker::new(ptr::null_mut());

/// Says who goes on with tasks.
pub fn set_proceed(proceed: unsafe fn(TaskId)) {
    // SAFETY: one thread.
    unsafe { *PROCEED.get() = proceed }
}

/// Lua is running, or the scheduler between two runs of it.
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

/// Goes on with the task, if it still waits: here, or in the event loop's queue of this turn.
pub fn wake(task: TaskId) {
    // SAFETY: one thread.
    unsafe {
        if *DEPTH.get() > 0 {
            post(task);
        } else {
            (*PROCEED.get())(task);
        }
    }
}

unsafe fn post(task: TaskId) {
    // SAFETY: one thread; the event is never freed.
    unsafe {
        (*POSTED.get()).push(task);
        let event = POSTED_EVENT.get();
        if (*event).is_null() {
            let mut new: Box<ngx_event_t> = Box::new(std::mem::zeroed());
            new.handler = Some(run_posted);
            new.log = (*ngx_cycle).log;
            *event = Box::into_raw(new);
        }
        ngx_post_event(*event, &raw mut ngx_posted_events);
    }
}

unsafe extern "C" fn run_posted(_event: *mut ngx_event_t) {
    // SAFETY: a task that is gone, or woken twice, is nothing. Who is posted meanwhile has the event posted again.
    unsafe {
        let posted = std::mem::take(&mut *POSTED.get());
        for &task in &posted {
            guard((*ngx_cycle).log, (), || (*PROCEED.get())(task));
        }
        let queue = &mut *POSTED.get();
        if queue.is_empty() {
            *queue = posted;
            queue.clear();
        }
    }
}

/// The VM has run out of memory: this worker leaves as soon as its requests are answered, and the master starts
/// another.
///
/// # Safety
/// `log` is live.
pub unsafe fn restart_worker(log: *mut ngx_log_t) {
    // SAFETY: nginx's own flag for a graceful shutdown, looked at by its event loop.
    unsafe {
        log_error!(NGX_LOG_ALERT, log, "[lua] memory allocation error, restarting the worker");
        ngx_quit = 1;
    }
}
