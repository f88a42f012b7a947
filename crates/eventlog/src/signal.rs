//! A wake-up for the threads of this process: a count that grows, and a wait for it to have grown.
//!
//! Take [`Signal::count`] *before* looking at the store, and wait from there: what changes after the look ends the wait.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

#[derive(Default)]
pub(crate) struct Signal {
    count: Mutex<u64>,
    grown: Condvar,
}

impl Signal {
    pub fn count(&self) -> u64 {
        *self.lock()
    }

    pub fn notify(&self) {
        *self.lock() += 1;
        self.grown.notify_all();
    }

    /// Waits until the count has left `seen` or it is `deadline`.
    pub fn wait(&self, seen: u64, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let guard = self.lock();
        drop(self.grown.wait_timeout_while(guard, left, |count| *count == seen));
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        // A number can't be left half-changed by a panic.
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
