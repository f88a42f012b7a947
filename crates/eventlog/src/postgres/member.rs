//! A member of a group: looks, claims what was found, and waits for a wake-up between.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::claim::{self, Found};
use super::connection::{lock, Failure};
use super::session::{End, Lock, Session};
use super::topic::TopicInfo;
use super::{group, listen, Shared};
use crate::consumer::new_epoch;
use crate::lease::Touch;
use crate::waiter::{Waiter, LOOK_ANYWAY};
use crate::{Claim, Consumer, Delivery, Outcome, Result, Settled, Subscription, Topic};

pub(super) struct Member {
    shared: Arc<Shared>,
    subscription: Arc<Subscription>,
    life: Mutex<Life>,
    /// Counts claims.
    turn: AtomicUsize,
    waiter: Waiter,
    left: bool,
}

struct Life {
    /// Another one after the member was thought dead.
    epoch: u64,
    /// When the lease was last extended.
    seen: Instant,
    touch: Touch,
    /// The claims that were handed to the caller and aren't settled.
    held: HashSet<Claim>,
    /// The connection was lost during a claim: there may be claims in the database that nobody has heard of.
    in_doubt: bool,
}

impl Life {
    fn new(epoch: u64, lease: Duration) -> Life {
        let (seen, touch) = (Instant::now(), Touch::new(lease));
        Life { epoch, seen, touch, held: HashSet::new(), in_doubt: false }
    }

    /// The lease was extended; with another epoch the claims of the old one are lost.
    fn live_on(&mut self, epoch: u64, seen: Instant) {
        if epoch != self.epoch {
            self.held.clear();
        }
        self.epoch = epoch;
        self.seen = seen;
        self.touch.made();
    }
}

impl Member {
    pub fn new(shared: Arc<Shared>, subscription: Arc<Subscription>, epoch: u64) -> Member {
        let life = Mutex::new(Life::new(epoch, subscription.lease));
        let (turn, waiter) = (AtomicUsize::new(0), Waiter::default());
        Member { shared, subscription, life, turn, waiter, left: false }
    }

    /// Held while the life is extended: of two threads that find it over, one begins another.
    fn life(&self) -> MutexGuard<'_, Life> {
        lock(&self.life)
    }

    fn lock(&self) -> Lock {
        Lock::Group(group::lock_key(&self.subscription.group))
    }

    fn topics(&self, session: &mut Session) -> Result<Vec<(Topic, Arc<TopicInfo>)>, Failure> {
        let find = |topic: &Topic| Ok((topic.clone(), self.shared.database.topic(session, topic)?));
        self.subscription.topics.iter().map(find).collect()
    }

    /// One look: what can be claimed, and when to look again if that is nothing.
    fn look(&self, max: usize) -> Result<(Vec<Delivery>, Duration)> {
        let (epoch, seen, in_doubt, may_expire) = {
            let life = self.life();
            (life.epoch, life.seen, life.in_doubt, life.touch.may_expire())
        };
        let s = &*self.subscription;
        let found = self.shared.database.run(|session| {
            let topics = self.topics(session)?;
            claim::look(session, s, &topics, epoch, may_expire)
        });
        let mut found = found.inspect_err(|_| self.life().touch.failed())?;
        found.all_due |= in_doubt;
        let mut deliveries = Vec::new();
        let left = (s.lease / 3).saturating_sub(seen.elapsed());
        if found.anything() {
            deliveries = self.claim_found(&found, max)?;
        } else if left.is_zero() {
            self.extend()?;
        } else {
            found.again = found.again.min(left);
        }
        // While no wake-ups arrive.
        let again = match self.shared.listener.is_listening() {
            true => found.again,
            false => found.again.min(LOOK_ANYWAY),
        };
        Ok((deliveries, again))
    }

    fn claim_found(&self, found: &Found, max: usize) -> Result<Vec<Delivery>> {
        let deadline = self.shared.database.deadline();
        let mut life = self.life();
        let was_in_doubt = life.in_doubt;
        // Until it is known how this ends.
        life.in_doubt = true;
        let seen = Instant::now();
        let s = &*self.subscription;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let claimed = self.shared.database.run_until(deadline, |session| {
            let topics = self.topics(session)?;
            session.transaction(&[self.lock()], |session| {
                let epoch = live(session, s, life.epoch)?;
                if was_in_doubt {
                    group::release_unheard(session, s, epoch, &life.held)?;
                }
                if found.expired {
                    group::expire(session, s)?;
                }
                let deliveries = claim::claim(session, s, &topics, found, epoch, (max, turn))?;
                // A server that crashed would hand them to others, while their functions run here.
                let then = match deliveries.is_empty() {
                    true => String::new(),
                    false => session.flush_sql(),
                };
                Ok(((epoch, deliveries), End::Quick(then)))
            })
        });
        let (epoch, deliveries) = claimed.inspect_err(|_| life.touch.failed())?;
        life.live_on(epoch, seen);
        life.in_doubt = false;
        life.held.extend(deliveries.iter().map(|delivery| delivery.claim.clone()));
        Ok(deliveries)
    }

    /// What ends the membership, to be done here or elsewhere.
    fn dismissal(&self) -> impl FnOnce() -> Result<()> + Send + 'static {
        let (shared, s) = (self.shared.clone(), self.subscription.clone());
        let (lock, epoch) = (self.lock(), self.life().epoch);
        move || {
            shared.database.run(|session| {
                session.transaction(&[lock], |session| {
                    group::dismiss(session, &s, epoch)?;
                    Ok(((), End::Quick(listen::wake_others(&shared.name))))
                })
            })?;
            shared.changed.notify();
            Ok(())
        }
    }
}

/// Extends the member's life, or begins another if it was thought dead. Answers its epoch.
fn live(session: &mut Session, s: &Subscription, epoch: u64) -> Result<u64, Failure> {
    if group::extend(session, s, epoch)? {
        return Ok(epoch);
    }
    if group::living(session, s)?.is_some() {
        return Err(s.replaced().into());
    }
    let epoch = new_epoch();
    group::admit(session, s, epoch)?;
    Ok(epoch)
}

impl Consumer for Member {
    fn claim(&self, max: usize, timeout: Duration) -> Result<Vec<Delivery>> {
        self.waiter.claim(&self.shared.changed, timeout, || self.look(max))
    }

    fn settle(&self, settlements: &[(Claim, Outcome)]) -> Result<Vec<Settled>> {
        let Shared { database, changed, name, .. } = &*self.shared;
        let group = &self.subscription.group;
        let settled = database.run(|session| {
            let locks = group::settle_locks(database, session, group, settlements)?;
            let settled = session.transaction(&locks, |session| {
                let done = group::settle(database, session, group, settlements)?;
                let then = match done.freed {
                    true => listen::wake_others(name),
                    false => String::new(),
                };
                Ok((done.settled, End::Quick(then)))
            })?;
            // There is room for a claim of this member that waits in another thread: the claim is flushed after this.
            changed.notify();
            session.flush()?;
            Ok(settled)
        })?;
        let mut life = self.life();
        settlements.iter().for_each(|(claim, _)| drop(life.held.take(claim)));
        Ok(settled)
    }

    fn extend(&self) -> Result<()> {
        let deadline = self.shared.database.deadline();
        let mut life = self.life();
        let seen = Instant::now();
        let s = &*self.subscription;
        let epoch = self.shared.database.run_until(deadline, |session| {
            if group::extend(session, s, life.epoch)? {
                return Ok(life.epoch);
            }
            session.transaction(&[self.lock()], |session| {
                Ok((live(session, s, life.epoch)?, End::Quick(String::new())))
            })
        });
        let epoch = epoch.inspect_err(|_| life.touch.failed())?;
        life.live_on(epoch, seen);
        Ok(())
    }

    fn generation(&self) -> u64 {
        self.life().epoch
    }

    fn holds(&self, claim: &Claim) -> bool {
        claim.epoch == self.generation()
    }

    fn interrupt(&self) {
        self.waiter.interrupt(&self.shared.changed);
    }

    fn leave(mut self: Box<Self>) -> Result<()> {
        self.left = true;
        self.dismissal()()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if !self.left {
            let dismiss = self.dismissal();
            // If this fails, its lease runs out.
            drop(thread::Builder::new().name("eventlog-leave".into()).spawn(dismiss));
        }
    }
}
