//! How a member waits for events that it may claim: look, wait for a wake-up or the next moment that matters, look again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::signal::Signal;
use crate::{Delivery, Result};

/// How soon a member looks again when nothing says that something will change: for wake-ups that got lost.
pub(crate) const LOOK_ANYWAY: Duration = Duration::from_secs(1);

/// One of a member's own, which ends its waiting when it is interrupted.
#[derive(Default)]
pub(crate) struct Waiter {
    interrupted: AtomicBool,
}

impl Waiter {
    /// Looks until there is something, it is interrupted, or the time is over. A look answers what was claimed, and
    /// after what time to look again if that is nothing and `changed` says nothing before.
    pub fn claim(
        &self,
        changed: &Signal,
        timeout: Duration,
        look: impl Fn() -> Result<(Vec<Delivery>, Duration)>,
    ) -> Result<Vec<Delivery>> {
        let deadline = Instant::now() + timeout;
        loop {
            let seen = changed.count();
            let (deliveries, again) = look()?;
            let now = Instant::now();
            if !deliveries.is_empty() || now >= deadline || self.is_interrupted() {
                return Ok(deliveries);
            }
            changed.wait(seen, deadline.min(now + again));
        }
    }

    pub fn interrupt(&self, changed: &Signal) {
        self.interrupted.store(true, Ordering::Release);
        changed.notify();
    }

    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Acquire)
    }
}
