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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    /// How many looks there are when `during` happens in the first, and nothing is ever found.
    fn looks(waiter: &Waiter, timeout: Duration, during: impl Fn(&Signal)) -> usize {
        let (changed, looks) = (Signal::default(), Cell::new(0));
        let look = || {
            looks.set(looks.get() + 1);
            match looks.get() {
                1 => during(&changed),
                // Whatever else it would wait for, it is over.
                _ => waiter.interrupt(&changed),
            }
            Ok((Vec::new(), LONG * 2))
        };
        assert_eq!(waiter.claim(&changed, timeout, look), Ok(Vec::new()));
        looks.get()
    }

    #[test]
    fn a_change_during_a_look_leads_to_another_at_once() {
        let begun = Instant::now();
        assert_eq!(looks(&Waiter::default(), LONG, Signal::notify), 2);
        assert!(begun.elapsed() < LONG);
    }

    #[test]
    fn an_interruption_or_the_end_of_the_time_needs_no_other_look() {
        let waiter = Waiter::default();
        assert_eq!(looks(&waiter, Duration::ZERO, |_| {}), 1);
        assert_eq!(looks(&waiter, LONG, |changed| waiter.interrupt(changed)), 1);
    }

    #[test]
    fn an_interruption_wakes_who_waits() {
        let (waiter, changed, begun) = (Waiter::default(), Signal::default(), Instant::now());
        let seen = changed.count();
        waiter.interrupt(&changed);
        changed.wait(seen, begun + LONG);
        assert!(begun.elapsed() < LONG);
    }
}
