//! A member of a group: looks with a reading connection, claims through the writer, and waits for a wake-up between.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::connection::Failure;
use super::queue::Effect;
use super::{events, group, Shared};
use crate::consumer::new_epoch;
use crate::waiter::{Waiter, LOOK_ANYWAY};
use crate::{Claim, Consumer, Delivery, Outcome, Result, Settled, Subscription};

pub(super) struct Member {
    shared: Arc<Shared>,
    subscription: Arc<Subscription>,
    life: Mutex<Life>,
    waiter: Waiter,
    left: bool,
}

#[derive(Clone, Copy)]
struct Life {
    /// Another one after the member was thought dead.
    epoch: u64,
    /// When the lease was last extended.
    seen: Instant,
}

impl Member {
    pub fn new(shared: Arc<Shared>, subscription: Arc<Subscription>, epoch: u64) -> Member {
        let life = Mutex::new(Life { epoch, seen: Instant::now() });
        Member { shared, subscription, life, waiter: Waiter::default(), left: false }
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
        let Life { epoch, seen } = *self.life();
        let (found, again) = self
            .shared
            .database
            .read(|connection| group::peek(connection, &self.subscription, epoch))?;
        // A wake-up may have died with its sender.
        let again = again.min(LOOK_ANYWAY);
        if !found && seen.elapsed() < self.subscription.lease / 3 {
            return Ok((Vec::new(), again));
        }
        let deliveries = self.with_life(move |connection, s, epoch| {
            group::expire(connection, &s.group)?;
            deliver(connection, s, epoch, max)
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
        let (epoch, value) = self.shared.writer.call(false, move |connection| {
            let epoch = live(connection, &s, epoch)?;
            Ok(((epoch, work(connection, &s, epoch)?), Effect::Quiet))
        })?;
        *life = Life { epoch, seen };
        Ok(value)
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
) -> Result<Vec<Delivery>, Failure> {
    let in_hand = group::in_hand(connection, &s.group, epoch)?;
    let mut room = max.min(s.concurrency.saturating_sub(in_hand));
    let mut deliveries = Vec::new();
    for topic in &s.topics {
        let mut gone = true;
        while gone && room > 0 {
            gone = false;
            for claim in group::claim(connection, &s.group, topic, epoch, room)? {
                match events::get(connection, topic, claim.offset)? {
                    Some(event) => {
                        room -= 1;
                        deliveries.push(Delivery { event, claim });
                    }
                    // Deleted since the group took it in: done with, and the next of its key may be claimed.
                    None => {
                        group::settle(connection, &s.group, &claim, &Outcome::Finished)?;
                        gone = true;
                    }
                }
            }
        }
    }
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
