//! A worker's membership of a consumer group, on two threads: one claims events and hands them to the worker, the
//! other settles what the worker has done. When the store is away they wait for it. The first keeps the claims until the last is settled,
//! also when it claims no more, and says when some were lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use application::Application;
use eventlog::{Claim, Consumer, Delivery, Error, EventLog, Outcome, Subscription};
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
    /// Joins the group, when the store is open, and passes what happens to it to `tell`, on a thread.
    pub fn start(
        store: Arc<Shared>,
        application: Arc<Application>,
        subscription: Subscription,
        tell: impl Fn(News) + Send + 'static,
    ) -> std::io::Result<Membership> {
        let member = Current::default();
        let stopping = Arc::new(AtomicBool::new(false));
        let (settlements, queue) = mpsc::channel();
        let (done, ended) = mpsc::channel();

        let (settled, all_settled) = mpsc::channel();
        {
            let (store, member) = (store.clone(), member.clone());
            let longest = subscription.backoff.longest;
            let settle = move || {
                settle(&store, &member, longest, &queue);
                drop(settled);
            };
            thread::Builder::new().name("spacer-settle".into()).spawn(settle)?;
        }
        let membership = Membership {
            store: store.clone(),
            member: member.clone(),
            settlements,
            stopping,
            ended,
        };
        let (back, stopping) = (membership.settlements.clone(), membership.stopping.clone());
        thread::Builder::new().name("spacer-claim".into()).spawn(move || {
            let mut known = Known::default();
            let of_group = (&*application, &subscription);
            claim(&store, of_group, &member, &stopping, &back, &mut known, &tell);
            // What is settled meanwhile is settled before the member leaves: the channel ends when the worker has
            // dropped its end too.
            drop(back);
            live_on(&store, &subscription, &member, &all_settled, &mut known, &tell);
            let member = member.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(member) = member.and_then(Arc::into_inner) {
                // A member that can't say that it leaves is missed when its lease ends.
                drop(member.leave());
            }
            tell(News::Left);
            drop(done);
        })?;
        Ok(membership)
    }

    /// Whether the claim isn't lost, as far as this process knows.
    pub fn holds(&self, claim: &Claim) -> bool {
        current(&self.member).is_some_and(|member| member.holds(claim))
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

/// What happens to a member.
pub enum News {
    Claimed(Vec<Delivery>),
    /// Some claims are other members' by now: see [`Membership::holds`].
    Lost,
    /// It has left, after [`Membership::end`].
    Left,
}

/// The member's generation when its claims were last known to be held.
#[derive(Default)]
struct Known(Option<u64>);

impl Known {
    /// Says so if claims were lost since.
    fn look(&mut self, member: Option<&Member>, tell: &impl Fn(News)) {
        let generation = member.map(|member| member.generation());
        if self.0.is_some() && self.0 != generation {
            tell(News::Lost);
        }
        self.0 = generation;
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
    (application, subscription): (&Application, &Subscription),
    member: &Current,
    stopping: &AtomicBool,
    back: &mpsc::Sender<(Claim, Outcome)>,
    known: &mut Known,
    tell: &impl Fn(News),
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
            match join(&*event_log, application, subscription) {
                Ok(joined) => set_current(member, Some(Arc::new(joined))),
                Err(error) => failed(error, began),
            }
            continue;
        };
        let claimed = joined.claim(subscription.concurrency, WAIT);
        known.look(Some(&joined), tell);
        let succeeded = claimed.is_ok();
        match claimed {
            Ok(deliveries) if deliveries.is_empty() => {}
            Ok(deliveries) if stopping() => {
                for delivery in deliveries {
                    drop(back.send((delivery.claim, Outcome::Released)));
                }
            }
            Ok(deliveries) => tell(News::Claimed(deliveries)),
            Err(error @ (Error::Replaced { .. } | Error::Closed)) => {
                set_current(member, None);
                known.look(None, tell);
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

/// Joins the group. Positions of the group that all functions had together carry over to each one's own.
fn join(
    event_log: &dyn EventLog,
    application: &Application,
    subscription: &Subscription,
) -> eventlog::Result<Box<dyn Consumer>> {
    for topic in &subscription.topics {
        let of_topic = application.triggers.iter().filter(|trigger| trigger.topic == *topic);
        let groups: Vec<String> = of_topic.map(|trigger| application.group_of(trigger)).collect();
        event_log.adopt(topic, &application.consumer_group, &groups)?;
    }
    event_log.join(subscription.clone())
}

/// Keeps the claims of a member that claims no more, until all of them are settled.
fn live_on(
    store: &Shared,
    subscription: &Subscription,
    member: &Current,
    all_settled: &mpsc::Receiver<()>,
    known: &mut Known,
    tell: &impl Fn(News),
) {
    let pause = subscription.lease / 3;
    while let Err(mpsc::RecvTimeoutError::Timeout) = all_settled.recv_timeout(pause) {
        let Some(joined) = current(member) else { continue };
        let began = Instant::now();
        if let Err(error) = joined.extend() {
            store.health.note_failure(&error, began);
        }
        known.look(Some(&joined), tell);
    }
}

/// Settles until nobody can send any more.
fn settle(
    store: &Shared,
    member: &Current,
    longest: Duration,
    queue: &mpsc::Receiver<(Claim, Outcome)>,
) {
    while let Ok(first) = queue.recv() {
        let mut batch = vec![first];
        batch.extend(queue.try_iter().take(BATCH - 1));
        let Err(error) = settle_all(store, member, &batch) else { continue };
        if error.retry() || matches!(error, Error::Replaced { .. } | Error::Closed) {
            log(NGX_LOG_ERR, format!("settling {} events: {error}", batch.len()));
            continue;
        }
        // One that can't be settled costs itself only.
        for one in batch {
            let Err(error) = settle_all(store, member, std::slice::from_ref(&one)) else {
                continue;
            };
            let (claim, _) = one;
            let (offset, topic) = (claim.offset, &claim.topic);
            log(
                NGX_LOG_ERR,
                format!(
                    "settling event {offset} of topic \"{topic}\": {error}; it is tried again in {} ms",
                    longest.as_millis()
                ),
            );
            // What the store refused was its dead letter, say: the key isn't to wait for the end of the lease.
            if let Err(error) = settle_all(store, member, &[(claim, Outcome::Retry(longest))]) {
                log(NGX_LOG_ERR, format!("putting an event off: {error}"));
            }
        }
    }
}

/// Settles claims, as soon as the store answers.
fn settle_all(store: &Shared, member: &Current, batch: &[(Claim, Outcome)]) -> Result<(), Error> {
    loop {
        // Claims of a member that is gone are another's by now.
        let Some(joined) = current(member) else { return Ok(()) };
        let began = Instant::now();
        match joined.settle(batch) {
            Ok(_) => return Ok(()),
            Err(error) => {
                store.health.note_failure(&error, began);
                if !error.retry() || store.is_stopping() {
                    return Err(error);
                }
                store.pause(AGAIN);
            }
        }
    }
}
