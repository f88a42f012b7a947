//! What runs at this moment.

use std::ptr;

use coro::TaskId;

use super::ctx::Ctx;
use crate::conf::phase::Phase;
use crate::nginx::cell::Worker;

/// Set before Lua is entered, and restored afterwards.
#[derive(Clone, Copy)]
pub struct Current {
    /// Null where Lua runs for no request.
    pub ctx: *const Ctx,
    /// None where the code can't wait.
    pub task: Option<TaskId>,
    pub phase: Phase,
}

static CURRENT: Worker<Current> =
    Worker::new(Current { ctx: ptr::null(), task: None, phase: Phase::None });

/// Runs `f` as Lua of that phase.
#[inline]
pub fn enter<T>(current: Current, f: impl FnOnce() -> T) -> T {
    // SAFETY: one thread, and nobody keeps a reference into the cell.
    let _outer = Outer(unsafe { ptr::replace(CURRENT.get(), current) });
    f()
}

/// What ran before, and does so again when this is dropped.
struct Outer(Current);

impl Drop for Outer {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: as in `enter`.
        unsafe { *CURRENT.get() = self.0 }
    }
}

/// What runs at this moment.
#[inline]
pub fn current() -> Current {
    // SAFETY: one thread; the value is copied.
    unsafe { *CURRENT.get() }
}
