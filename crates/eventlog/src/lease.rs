//! When a member may say that others are dead.
//!
//! A lease that has run out says that its member was silent, not why. When the store was away, all of them were, and the first that
//! is back would take the events of the others, whose functions still run. So a member ends no other's life before it has itself been in
//! touch with the store for a whole lease without a break: by then whoever lives has extended its own.

use std::time::Duration;

use rustix::time::{clock_gettime, ClockId};

/// Milliseconds since the machine started, sleep included: a machine that slept was away as well.
pub(crate) fn since_boot() -> i64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

/// A member's touch with the store, as far as calls that extend its lease show it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Touch {
    lease: i64,
    /// Since when there was no break.
    since: i64,
    last: i64,
}

impl Touch {
    /// A member that has just joined. It can't know how long the store was away before.
    pub fn new(lease: Duration) -> Touch {
        Touch::at(lease, since_boot())
    }

    fn at(lease: Duration, now: i64) -> Touch {
        let lease = lease.as_millis().try_into().unwrap_or(i64::MAX / 4);
        Touch { lease, since: now, last: now }
    }

    /// A call has reached the store.
    pub fn made(&mut self) {
        self.made_at(since_boot());
    }

    fn made_at(&mut self, now: i64) {
        // Members extend their leases three times in each, so that after a shorter break everybody's has time left.
        if now - self.last > self.lease / 2 {
            self.since = now;
        }
        self.last = now;
    }

    /// A call has not reached the store.
    pub fn failed(&mut self) {
        self.since = since_boot();
        self.last = self.since;
    }

    /// How long the member must go on before it may end others' lives.
    pub fn grace(&self) -> Duration {
        self.grace_at(since_boot())
    }

    fn grace_at(&self, now: i64) -> Duration {
        // The call that is about to be made ends a break as well.
        let since = if now - self.last > self.lease / 2 { now } else { self.since };
        Duration::from_millis((since + self.lease - now).max(0) as u64)
    }

    pub fn may_expire(&self) -> bool {
        self.grace().is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(600);

    #[test]
    fn a_member_may_end_lives_after_a_lease_without_a_break() {
        let mut touch = Touch::at(LEASE, 1000);
        let mut graces = Vec::new();
        for now in [1000, 1200, 1400, 1600, 1800] {
            touch.made_at(now);
            graces.push(touch.grace_at(now).as_millis());
        }
        assert_eq!(graces, [600, 400, 200, 0, 0]);
        // The store was away: everybody has a lease from here on, whoever is back first.
        assert_eq!(touch.grace_at(2700).as_millis(), 600);
        touch.made_at(2700);
        touch.made_at(2900);
        assert_eq!(touch.grace_at(2900).as_millis(), 400);
    }
}
