//! A member of a group: claims under the log's lock, and waits outside it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Contents, Shared, FIRST};
use crate::consumer::{dead_headers, new_epoch};
use crate::waiter::Waiter;
use crate::{Claim, Consumer, Delivery, NewEvent, Outcome, Result, Settled, Subscription};

pub(super) struct Member {
    shared: Arc<Shared>,
    subscription: Subscription,
    /// Another one after the member was thought dead.
    epoch: AtomicU64,
    waiter: Waiter,
}

impl Member {
    pub fn new(shared: Arc<Shared>, subscription: Subscription, epoch: u64) -> Member {
        let epoch = AtomicU64::new(epoch);
        Member { shared, subscription, epoch, waiter: Waiter::default() }
    }

    /// One look: what can be claimed, and when to look again if that is nothing.
    fn look(&self, max: usize) -> Result<(Vec<Delivery>, Duration)> {
        let now = Instant::now();
        let Subscription { group, topics, concurrency, lease, .. } = &self.subscription;
        let mut contents = self.shared.contents();
        let Contents { topics: events, groups, .. } = &mut *contents;
        let group = groups.entry(group.clone()).or_default();
        let epoch = self.live(group, now)?;
        group.expire(now);
        let mut room = max.min(concurrency.saturating_sub(group.in_hand(epoch)));
        let mut deliveries = Vec::new();
        for topic in topics {
            let (Some(events), Some(progress)) = (events.get(topic), group.progress_mut(topic))
            else {
                continue;
            };
            let claims = progress.claim(events, epoch, room, now);
            room -= claims.len();
            deliveries.extend(claims.into_iter().map(|(offset, attempt)| Delivery {
                event: events[(offset - FIRST) as usize].clone(),
                claim: Claim { topic: topic.clone(), partition: 0, offset, attempt, epoch },
            }));
        }
        let again = group.next_moment(now).saturating_duration_since(now);
        Ok((deliveries, again.min(*lease / 3)))
    }

    /// Extends this member's life, or begins another if it was thought dead. Answers its epoch.
    fn live(&self, group: &mut super::Group, now: Instant) -> Result<u64> {
        let Subscription { member, lease, .. } = &self.subscription;
        let epoch = self.epoch.load(Ordering::Relaxed);
        match group.extend(member, epoch, now + *lease) {
            Some(living) if living == epoch => Ok(epoch),
            Some(_) => Err(self.subscription.replaced()),
            None => {
                let epoch = new_epoch();
                self.epoch.store(epoch, Ordering::Relaxed);
                group.admit(&self.subscription, epoch, now);
                Ok(epoch)
            }
        }
    }

    fn settle_in(
        &self,
        contents: &mut Contents,
        claim: &Claim,
        outcome: &Outcome,
    ) -> Result<Settled> {
        let now = Instant::now();
        let name = &self.subscription.group;
        let Some(group) = contents.groups.get_mut(name) else { return Ok(Settled::Lost) };
        let Some(progress) = group.progress_mut(&claim.topic) else { return Ok(Settled::Lost) };
        if !progress.holds(claim.offset, claim.epoch, claim.attempt) {
            return Ok(Settled::Lost);
        }
        match outcome {
            Outcome::Finished | Outcome::Dead(_) => progress.finish(claim.offset, now),
            Outcome::Retry(delay) => progress.postpone(claim.offset, now + *delay, false),
            Outcome::Released => progress.postpone(claim.offset, now, true),
        }
        if let Outcome::Dead(error) = outcome {
            let topic = claim.topic.dead_or_invalid()?;
            let event = contents.events(&claim.topic)?[(claim.offset - FIRST) as usize].clone();
            let headers = dead_headers(event.headers, claim, name, error);
            contents.push(NewEvent { topic, key: event.key, value: event.value, headers })?;
        }
        Ok(Settled::Done)
    }

    fn depart(&self) {
        let Subscription { group, member, .. } = &self.subscription;
        if let Some(group) = self.shared.contents().groups.get_mut(group) {
            group.dismiss(member, self.epoch.load(Ordering::Relaxed), Instant::now());
        }
        self.shared.changed.notify();
    }
}

impl Consumer for Member {
    fn claim(&self, max: usize, timeout: Duration) -> Result<Vec<Delivery>> {
        self.waiter.claim(&self.shared.changed, timeout, || self.look(max))
    }

    fn settle(&self, settlements: &[(Claim, Outcome)]) -> Result<Vec<Settled>> {
        for (claim, outcome) in settlements {
            if matches!(outcome, Outcome::Dead(_)) {
                claim.topic.dead_or_invalid()?;
            }
        }
        let mut contents = self.shared.contents();
        let settle = |(claim, outcome)| self.settle_in(&mut contents, claim, outcome);
        let settled = settlements.iter().map(|(claim, outcome)| (claim, outcome)).map(settle);
        let settled = settled.collect::<Result<Vec<_>>>();
        drop(contents);
        self.shared.changed.notify();
        settled
    }

    fn extend(&self) -> Result<()> {
        let mut contents = self.shared.contents();
        let group = contents.groups.entry(self.subscription.group.clone()).or_default();
        self.live(group, Instant::now()).map(drop)
    }

    fn interrupt(&self) {
        self.waiter.interrupt(&self.shared.changed);
    }

    fn leave(self: Box<Self>) -> Result<()> {
        // Dropping departs.
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.depart();
    }
}
