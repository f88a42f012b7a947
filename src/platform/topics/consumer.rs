//! A worker's membership of a consumer group, on two threads: one claims events and hands them to the worker, the
//! other settles what the worker has done. When the store is away they wait for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use eventlog::{Claim, Consumer, Delivery, Error, Outcome, Subscription};
use nginx_sys::*;

use super::health::log;
use super::store::Shared;

/// How long a claim waits for events; it is also the member's sign of life.
const WAIT: Duration = Duration::from_secs(2);
/// The pause before a call that has failed is made again.
const AGAIN: Duration = Duration::from_millis(500);
/// How many settlements share a call.
const BATCH: usize = 256;

type Member = Arc<Box<dyn Consumer>>;

/// The member of this moment: a new one after the group thought the old one dead.
type Current = Arc<Mutex<Option<Member>>>;

fn current(member: &Current) -> Option<Member> {
    member.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn set_current(member: &Current, value: Option<Member>) {
    *member.lock().unwrap_or_else(PoisonError::into_inner) = value;
}

/// A membership, whose threads end after [`Membership::end`].
pub struct Membership {
    store: Arc<Shared>,
    member: Current,
    settlements: mpsc::Sender<(Claim, Outcome)>,
    stopping: Arc<AtomicBool>,
    ended: mpsc::Receiver<()>,
}

impl Membership {
    /// Joins the group, when the store is open, and passes claimed events to `deliver`, on a thread. `left` is called,
    /// on a thread, when the member has left after [`end`](Membership::end).
    pub fn start(
        store: Arc<Shared>,
        subscription: Subscription,
        deliver: impl Fn(Vec<Delivery>) + Send + 'static,
        left: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Membership> {
        let member = Current::default();
        let stopping = Arc::new(AtomicBool::new(false));
        let (settlements, queue) = mpsc::channel();
        let (done, ended) = mpsc::channel();

        let settler = {
            let (store, member) = (store.clone(), member.clone());
            let settle = move || settle(&store, &member, &queue);
            thread::Builder::new().name("spacer-settle".into()).spawn(settle)?
        };
        let membership = Membership {
            store: store.clone(),
            member: member.clone(),
            settlements,
            stopping,
            ended,
        };
        let (back, stopping) = (membership.settlements.clone(), membership.stopping.clone());
        thread::Builder::new().name("spacer-claim".into()).spawn(move || {
            claim(&store, &subscription, &member, &stopping, &back, deliver);
            // What is settled meanwhile is settled before the member leaves: the channel ends when the worker has
            // dropped its end too.
            drop(back);
            drop(settler.join());
            let member = member.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(member) = member.and_then(Arc::into_inner) {
                // A member that can't say that it leaves is missed when its lease ends.
                drop(member.leave());
            }
            left();
            drop(done);
        })?;
        Ok(membership)
    }

    pub fn settle(&self, claim: Claim, outcome: Outcome) {
        // The thread that settles outlives this end of the channel.
        drop(self.settlements.send((claim, outcome)));
    }

    /// No event is claimed from here on; those that are claimed may still be settled.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.store.look_again();
        if let Some(member) = current(&self.member) {
            member.interrupt();
        }
    }

    /// Settles what is left and leaves, in the background; wait for it with [`Ended::wait`].
    pub fn end(self) -> Ended {
        self.stop();
        Ended(self.ended)
    }
}

/// A membership that comes to its end.
pub struct Ended(mpsc::Receiver<()>);

impl Ended {
    /// Waits until the member has left; false when it hasn't by the deadline.
    pub fn wait(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        !matches!(self.0.recv_timeout(left), Err(mpsc::RecvTimeoutError::Timeout))
    }
}

fn claim(
    store: &Shared,
    subscription: &Subscription,
    member: &Current,
    stopping: &AtomicBool,
    back: &mpsc::Sender<(Claim, Outcome)>,
    deliver: impl Fn(Vec<Delivery>),
) {
    let stopping = || stopping.load(Ordering::Acquire) || store.is_stopping();
    let Some(event_log) = store.wait_until_open(stopping) else { return };
    // What isn't the store's absence is said once, not twice a second.
    let mut said: Option<Error> = None;
    let mut failed = |error: Error, began| {
        store.health.note_failure(&error, began);
        if !error.retry() && said.as_ref() != Some(&error) {
            log(NGX_LOG_ERR, format!("consumer group \"{}\": {error}", subscription.group));
            said = Some(error);
        }
        store.pause(AGAIN);
    };
    while !stopping() {
        let began = Instant::now();
        let Some(joined) = current(member) else {
            let joined = event_log.join(subscription.clone());
            match joined {
                Ok(joined) => set_current(member, Some(Arc::new(joined))),
                Err(error) => failed(error, began),
            }
            continue;
        };
        let claimed = joined.claim(subscription.concurrency, WAIT);
        let succeeded = claimed.is_ok();
        match claimed {
            Ok(deliveries) if deliveries.is_empty() => {}
            Ok(deliveries) if stopping() => {
                for delivery in deliveries {
                    drop(back.send((delivery.claim, Outcome::Released)));
                }
            }
            Ok(deliveries) => deliver(deliveries),
            Err(error @ (Error::Replaced { .. } | Error::Closed)) => {
                set_current(member, None);
                failed(error, began);
            }
            Err(error) => failed(error, began),
        }
        // A claim may be answered without the store, whose extent can't.
        if succeeded && store.health.is_away() && !stopping() {
            if let Some(topic) = subscription.topics.first() {
                let began = Instant::now();
                store.health.note(&event_log.offsets(topic), began);
            }
        }
    }
}

/// Settles until nobody can send any more.
fn settle(store: &Shared, member: &Current, queue: &mpsc::Receiver<(Claim, Outcome)>) {
    while let Ok(first) = queue.recv() {
        let mut batch = vec![first];
        batch.extend(queue.try_iter().take(BATCH - 1));
        loop {
            // Claims of a member that is gone are another's by now.
            let Some(joined) = current(member) else { break };
            let began = Instant::now();
            let settled = joined.settle(&batch);
            if let Err(error) = &settled {
                store.health.note_failure(error, began);
            }
            match settled {
                Ok(_) => break,
                Err(error) if error.retry() && !store.is_stopping() => store.pause(AGAIN),
                Err(error) => {
                    log(NGX_LOG_ERR, format!("settling {} events: {error}", batch.len()));
                    break;
                }
            }
        }
    }
}
