//! A member of a group: claims under the log's lock, and waits outside it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::group::Handed;
use super::{Contents, Shared, FIRST};
use crate::consumer::{dead_headers, new_epoch};
use crate::lease::Touch;
use crate::share;
use crate::waiter::Waiter;
use crate::{Claim, Consumer, Delivery, NewEvent, Outcome, Result, Settled, Subscription};

pub(super) struct Member {
    shared: Arc<Shared>,
    subscription: Subscription,
    /// Another one after the member was thought dead.
    epoch: AtomicU64,
    touch: Mutex<Touch>,
    /// Counts claims.
    turn: AtomicUsize,
    waiter: Waiter,
}

impl Member {
    pub fn new(shared: Arc<Shared>, subscription: Subscription, epoch: u64) -> Member {
        let (epoch, turn) = (AtomicU64::new(epoch), AtomicUsize::new(0));
        let touch = Mutex::new(Touch::new(subscription.lease));
        Member { shared, subscription, epoch, touch, turn, waiter: Waiter::default() }
    }

    fn touch(&self) -> MutexGuard<'_, Touch> {
        self.touch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One look: what can be claimed, and when to look again if that is nothing.
    fn look(&self, max: usize) -> Result<(Vec<Delivery>, Duration)> {
        let now = Instant::now();
        let Subscription { group, topics, concurrency, lease, backoff, .. } = &self.subscription;
        let grace = self.touch().grace();
        let mut contents = self.shared.contents();
        let Contents { topics: events, groups, .. } = &mut *contents;
        let group = groups.entry(group.clone()).or_default();
        let epoch = self.live(group, now)?;
        if grace.is_zero() {
            group.expire(now, *backoff);
        }
        let source = |topic| {
            let (events, progress) = (events.get(topic)?, group.progress(topic)?);
            Some(progress.source(events, epoch, now))
        };
        let mut sources: Vec<_> =
            topics.iter().map(|topic| source(topic).unwrap_or_default()).collect();
        let in_hand = sources.iter().map(|source| source.in_hand).sum();
        let room = max.min(concurrency.saturating_sub(in_hand));
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut deliveries = Vec::new();
        share::claim_all(&mut sources, room, turn, |n, quota| {
            let topic = &topics[n];
            let (Some(events), Some(progress)) = (events.get(topic), group.progress_mut(topic))
            else {
                return Ok(share::Quota::default());
            };
            let (claims, found) = progress.claim(events, epoch, quota, now);
            deliveries.extend(claims.into_iter().map(|handed| {
                let Handed { offset, attempt, turn, step } = handed;
                let topic = topic.clone();
                Delivery {
                    event: events[(offset - FIRST) as usize].clone(),
                    claim: Claim { topic, partition: 0, offset, attempt, turn, step, epoch },
                }
            }));
            Ok::<_, crate::Error>(found)
        })?;
        let again = group.next_moment(now).saturating_duration_since(now);
        Ok((deliveries, again.min(*lease / 3)))
    }

    /// Extends this member's life, or begins another if it was thought dead. Answers its epoch.
    fn live(&self, group: &mut super::Group, now: Instant) -> Result<u64> {
        let Subscription { member, lease, .. } = &self.subscription;
        let epoch = self.epoch.load(Ordering::Relaxed);
        match group.extend(member, epoch, now + *lease) {
            Some(living) if living == epoch => {
                self.touch().made();
                Ok(epoch)
            }
            Some(_) => Err(self.subscription.replaced()),
            None => {
                let epoch = new_epoch();
                self.epoch.store(epoch, Ordering::Relaxed);
                group.admit(&self.subscription, epoch, now);
                self.touch().made();
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
        if !progress.holds(claim.offset, claim.epoch, claim.turn) {
            return Ok(Settled::Lost);
        }
        match outcome.again() {
            None => progress.finish(claim.offset, now),
            Some((delay, step)) => {
                let due = now + delay.unwrap_or_default();
                progress.postpone(claim.offset, due, delay.is_none(), step);
            }
        }
        if let Some(death) = outcome.death() {
            let topic = claim.topic.dead_or_invalid()?;
            let event = contents.events(&claim.topic)?[(claim.offset - FIRST) as usize].clone();
            let headers = dead_headers(event.headers, claim, name, death);
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
            if outcome.death().is_some() {
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

    fn generation(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    fn holds(&self, claim: &Claim) -> bool {
        claim.epoch == self.generation()
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
