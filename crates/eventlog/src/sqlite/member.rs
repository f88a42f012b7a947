//! A member of a group: looks with a reading connection, claims through the writer, and waits for a wake-up between.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::connection::Failure;
use super::queue::Effect;
use super::{events, group, Shared};
use crate::consumer::new_epoch;
use crate::lease::Touch;
use crate::share::{self, Source};
use crate::waiter::{Waiter, LOOK_ANYWAY};
use crate::{Claim, Consumer, Delivery, Outcome, Result, Settled, Subscription};

pub(super) struct Member {
    shared: Arc<Shared>,
    subscription: Arc<Subscription>,
    life: Mutex<Life>,
    /// Counts claims.
    turn: AtomicUsize,
    waiter: Waiter,
    left: bool,
}

#[derive(Clone, Copy)]
struct Life {
    /// Another one after the member was thought dead.
    epoch: u64,
    /// When the lease was last extended.
    seen: Instant,
    touch: Touch,
}

impl Member {
    pub fn new(shared: Arc<Shared>, subscription: Arc<Subscription>, epoch: u64) -> Member {
        let touch = Touch::new(subscription.lease);
        let life = Mutex::new(Life { epoch, seen: Instant::now(), touch });
        let (turn, waiter) = (AtomicUsize::new(0), Waiter::default());
        Member { shared, subscription, life, turn, waiter, left: false }
    }

    /// Held while the life is extended: of two threads that find it over, one begins another.
    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn epoch(&self) -> u64 {
        self.life().epoch
    }

    /// One look: what can be claimed, and when to look again if that is nothing.
    fn look(&self, max: usize) -> Result<(Vec<Delivery>, Duration)> {
        let Life { epoch, seen, touch } = *self.life();
        let may_expire = touch.may_expire();
        let found = self
            .shared
            .database
            .read(|connection| group::peek(connection, &self.subscription, epoch, may_expire))
            .inspect_err(|_| self.life().touch.failed())?;
        // A wake-up may have died with its sender.
        let again = found.again.min(LOOK_ANYWAY);
        let left = (self.subscription.lease / 3).saturating_sub(seen.elapsed());
        if !found.anything && !left.is_zero() {
            return Ok((Vec::new(), again.min(left)));
        }
        let (turn, mut sources) = (self.turn.fetch_add(1, Ordering::Relaxed), found.sources);
        let deliveries = self.with_life(move |connection, s, epoch| {
            if may_expire && group::expire(connection, s)? {
                sources.iter_mut().for_each(|source| source.due = true);
            }
            deliver(connection, s, epoch, max, &mut sources, turn)
        })?;
        Ok((deliveries, again))
    }

    /// Extends the lease and does `work` in the same transaction.
    fn with_life<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Subscription, u64) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let mut life = self.life();
        let (epoch, seen, s) = (life.epoch, Instant::now(), self.subscription.clone());
        let done = self.shared.writer.call(false, move |connection| {
            let epoch = live(connection, &s, epoch)?;
            Ok(((epoch, work(connection, &s, epoch)?), Effect::Quiet))
        });
        match done {
            Ok((epoch, value)) => {
                life.epoch = epoch;
                life.seen = seen;
                life.touch.made();
                Ok(value)
            }
            Err(error) => {
                life.touch.failed();
                Err(error)
            }
        }
    }
}

/// Extends the member's life, or begins another if it was thought dead. Answers its epoch.
fn live(connection: &Connection, s: &Subscription, epoch: u64) -> Result<u64, Failure> {
    match group::living(connection, s)? {
        Some(living) if living == epoch => {
            group::extend(connection, s)?;
            Ok(epoch)
        }
        Some(_) => Err(s.replaced().into()),
        None => {
            let epoch = new_epoch();
            group::admit(connection, s, epoch)?;
            Ok(epoch)
        }
    }
}

fn deliver(
    connection: &Connection,
    s: &Subscription,
    epoch: u64,
    max: usize,
    sources: &mut [Source],
    turn: usize,
) -> Result<Vec<Delivery>, Failure> {
    group::count_in_hand(connection, s, epoch, sources)?;
    let in_hand = sources.iter().map(|source| source.in_hand).sum();
    let room = max.min(s.concurrency.saturating_sub(in_hand));
    let mut deliveries = Vec::new();
    share::claim_all(sources, room, turn, |n, quota| {
        let topic = &s.topics[n];
        let mut left = quota;
        loop {
            let (claims, found) = group::claim(connection, &s.group, topic, epoch, left)?;
            let mut gone = 0;
            for claim in claims {
                match events::get(connection, topic, claim.offset)? {
                    Some(event) => deliveries.push(Delivery { event, claim }),
                    // Deleted since the group took it in: done with, and the next of its key may be claimed.
                    None => {
                        group::settle(connection, &s.group, &claim, &Outcome::Finished)?;
                        gone += 1;
                    }
                }
            }
            left.due -= found.due;
            left.untouched -= found.untouched;
            if gone == 0 {
                return Ok::<_, Failure>(share::Quota {
                    due: quota.due - left.due,
                    untouched: quota.untouched - left.untouched,
                });
            }
            left.due += gone;
        }
    })?;
    Ok(deliveries)
}

impl Consumer for Member {
    fn claim(&self, max: usize, timeout: Duration) -> Result<Vec<Delivery>> {
        self.waiter.claim(&self.shared.changed, timeout, || self.look(max))
    }

    fn settle(&self, settlements: &[(Claim, Outcome)]) -> Result<Vec<Settled>> {
        let (name, settlements) = (self.subscription.group.clone(), settlements.to_vec());
        let settled = self.shared.writer.call(false, move |connection| {
            let mut effect = Effect::Quiet;
            let mut settled = Vec::with_capacity(settlements.len());
            for (claim, outcome) in &settlements {
                let (done, freed) = group::settle(connection, &name, claim, outcome)?;
                settled.push(done);
                effect = if freed { Effect::Wake } else { effect };
            }
            Ok((settled, effect))
        })?;
        // There is room for a claim of this member that waits in another thread.
        self.shared.changed.notify();
        Ok(settled)
    }

    fn extend(&self) -> Result<()> {
        self.with_life(|_, _, _| Ok(()))
    }

    fn generation(&self) -> u64 {
        self.epoch()
    }

    fn holds(&self, claim: &Claim) -> bool {
        claim.epoch == self.epoch()
    }

    fn interrupt(&self) {
        self.waiter.interrupt(&self.shared.changed);
    }

    fn leave(mut self: Box<Self>) -> Result<()> {
        self.left = true;
        let (subscription, epoch) = (self.subscription.clone(), self.epoch());
        self.shared.writer.call(false, move |connection| {
            Ok((group::dismiss(connection, &subscription, epoch)?, Effect::Wake))
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if !self.left {
            let (subscription, epoch) = (self.subscription.clone(), self.epoch());
            self.shared.writer.cast(move |connection| {
                Ok((group::dismiss(connection, &subscription, epoch)?, Effect::Wake))
            });
        }
    }
}
