//! A member of a group, as its user's threads see it: they claim and settle what its own thread (`session`) takes in.

use std::collections::hash_map::DefaultHasher;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::{mpsc, Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::positions::Starts;
use super::producer::Desk;
use super::progress::{Handed, Progress};
use super::session;
use crate::consumer::{dead_headers, WINDOW};
use crate::signal::Signal;
use crate::waiter::{Waiter, LOOK_ANYWAY};
use crate::{
    Append, AppendId, Claim, Consumer, Delivery, Error, NewEvent, Outcome, Result, Settled,
    Subscription,
};

/// How much the unfinished events of a member may take, beside their number.
const WINDOW_BYTES: usize = 64 << 20;
/// How long leaving may take.
const LEAVE: Duration = Duration::from_secs(10);

/// A partition: the topic's place in the subscription, and its number.
pub(super) type Place = (usize, u32);

pub(super) struct Shared {
    pub cluster: Arc<Cluster>,
    pub desk: Arc<Desk>,
    pub subscription: Subscription,
    pub starts: Starts,
    state: Mutex<State>,
    /// For claims that wait.
    pub changed: Signal,
    /// For the member's thread.
    pub wake: Signal,
}

pub(super) struct State {
    /// The partitions that the member has.
    pub holdings: BTreeMap<Place, Progress>,
    /// Why the member is out for good.
    pub fault: Option<Error>,
    /// Counts the times that partitions were taken from it.
    pub lost: u64,
    /// How often brokers had answered when librdkafka found none any more.
    pub down: Option<u64>,
    /// The last sign of life.
    pub sign: Instant,
    /// Claims that wait; they are signs of life all the time.
    pub claiming: usize,
    pub ending: bool,
    pub ended: bool,
    /// Where the next claim begins to look, so that a busy partition doesn't starve the others.
    cursor: usize,
}

impl Shared {
    pub fn new(
        cluster: Arc<Cluster>,
        desk: Arc<Desk>,
        subscription: Subscription,
        starts: Starts,
    ) -> Shared {
        let state = State {
            holdings: BTreeMap::new(),
            fault: None,
            lost: 0,
            down: None,
            sign: Instant::now(),
            claiming: 0,
            ending: false,
            ended: false,
            cursor: 0,
        };
        let (changed, wake) = (Signal::default(), Signal::default());
        let state = Mutex::new(state);
        Shared { cluster, desk, subscription, starts, state, changed, wake }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the member's thread to leave the group.
    pub fn end(&self, fault: Option<Error>) {
        let mut state = self.state();
        state.ending = true;
        state.fault = state.fault.take().or(fault);
        drop(state);
        self.wake.notify();
        self.changed.notify();
    }

    /// Waits until it has left.
    pub fn wait_for_end(&self) -> bool {
        let deadline = Instant::now() + LEAVE;
        loop {
            let seen = self.changed.count();
            if self.state().ended {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            self.changed.wait(seen, deadline);
        }
    }
}

impl State {
    /// Whether the partition's events should be taken in: enough of them to claim from, within the window.
    pub fn wants(&self, place: Place, concurrency: usize) -> bool {
        let Some(progress) = self.holdings.get(&place).filter(|progress| !progress.closing) else {
            return false;
        };
        let of_topic = self.holdings.range((place.0, 0)..=(place.0, u32::MAX));
        let taken: usize = of_topic.map(|(_, progress)| progress.len()).sum();
        let bytes: usize = self.holdings.values().map(Progress::bytes).sum();
        progress.ready() < concurrency.saturating_mul(2)
            && taken < WINDOW
            // A partition can always go on with one event, or a large one would stop it for good.
            && (bytes < WINDOW_BYTES || progress.len() == 0)
    }

    /// Whether no broker has answered since librdkafka found none.
    pub fn is_down(&self, answers: u64) -> bool {
        self.down == Some(answers)
    }

    pub fn lose_all(&mut self) {
        self.holdings.clear();
        self.lost += 1;
    }

    pub fn silent(&self, lease: Duration) -> bool {
        self.claiming == 0 && self.sign.elapsed() > lease
    }

    /// Claims events, from one partition after the other.
    fn claim(&mut self, subscription: &Subscription, max: usize, now: Instant) -> Vec<Delivery> {
        let in_hand: usize = self.holdings.values().map(Progress::claimed).sum();
        let mut room = max.min(subscription.concurrency.saturating_sub(in_hand));
        let places: Vec<Place> = self.holdings.keys().copied().collect();
        let mut deliveries = Vec::new();
        let begin = self.cursor % places.len().max(1);
        for place in places[begin..].iter().chain(&places[..begin]) {
            let Some(progress) = self.holdings.get_mut(place) else { continue };
            let epoch = progress.epoch;
            for Handed { event, attempt, step } in progress.claim(room, now) {
                let (topic, partition, offset) =
                    (event.topic.clone(), event.partition, event.offset);
                let turn = attempt;
                let claim = Claim { topic, partition, offset, attempt, turn, step, epoch };
                deliveries.push(Delivery { event, claim });
                room -= 1;
            }
        }
        self.cursor += usize::from(!deliveries.is_empty());
        deliveries
    }

    fn held(&mut self, subscription: &Subscription, claim: &Claim) -> Option<&mut Progress> {
        let topic = subscription.topics.iter().position(|topic| *topic == claim.topic)?;
        let progress = self.holdings.get_mut(&(topic, claim.partition))?;
        let held =
            progress.epoch == claim.epoch && progress.held(claim.offset, claim.attempt).is_some();
        held.then_some(progress)
    }
}

pub(super) struct Member {
    shared: Arc<Shared>,
    waiter: Waiter,
}

impl Member {
    pub fn start(shared: Arc<Shared>) -> Result<Member> {
        let member = shared.clone();
        let spawned =
            thread::Builder::new().name("kafka-member".into()).spawn(move || session::run(&member));
        spawned.map_err(|error| Error::Unavailable {
            store: shared.cluster.settings.store.clone(),
            reason: format!("no thread for a member of a group: {error}"),
        })?;
        Ok(Member { shared, waiter: Waiter::default() })
    }

    /// Stores the dead letters of claims that are held, and waits until they are acknowledged.
    fn store_dead_letters(&self, settlements: &[(Claim, Outcome)]) -> Result<()> {
        let subscription = &self.shared.subscription;
        let mut waiting = Vec::new();
        for (claim, outcome) in settlements {
            let Some(death) = outcome.death() else { continue };
            let topic = claim.topic.dead_or_invalid()?;
            let mut state = self.shared.state();
            let held = state.held(subscription, claim);
            let Some(event) = held.and_then(|p| p.held(claim.offset, claim.attempt)).cloned()
            else {
                continue;
            };
            drop(state);
            let headers = dead_headers(event.headers, claim, &subscription.group, death);
            let events = vec![NewEvent { topic, key: event.key, value: event.value, headers }];
            let (send, receive) = mpsc::channel();
            let append = Append { id: letter_id(claim), events, fence: None };
            // The receiver is gone when the wait was given up; nobody is left to tell.
            self.shared.desk.submit(append, Box::new(move |outcome| drop(send.send(outcome))));
            waiting.push(receive);
        }
        // All are on their way before the first is waited for. Each answers in `append_timeout`.
        waiting
            .into_iter()
            .try_for_each(|receive| receive.recv().unwrap_or(Err(Error::Closed)).map(drop))
    }

    /// Marks the beginning of a sign of life.
    fn speak(&self, state: &mut State) -> Result<()> {
        if let Some(fault) = &state.fault {
            return Err(fault.clone());
        }
        if state.silent(self.shared.subscription.lease) {
            // The thread has left the group for that, or is about to, and joins it again.
            self.shared.wake.notify();
        }
        state.sign = Instant::now();
        Ok(())
    }

    /// One look: what can be claimed, and when to look again if that is nothing.
    fn look(&self, max: usize) -> Result<(Vec<Delivery>, Duration)> {
        let now = Instant::now();
        let mut state = self.shared.state();
        self.speak(&mut state)?;
        let deliveries = state.claim(&self.shared.subscription, max, now);
        let due = state.holdings.values().filter_map(Progress::next_due).min();
        drop(state);
        if !deliveries.is_empty() {
            // There is room to take in more.
            self.shared.wake.notify();
        }
        Ok((deliveries, due.map_or(LOOK_ANYWAY, |due| due.saturating_duration_since(now))))
    }
}

impl Consumer for Member {
    fn claim(&self, max: usize, timeout: Duration) -> Result<Vec<Delivery>> {
        self.shared.state().claiming += 1;
        let claimed = self.waiter.claim(&self.shared.changed, timeout, || self.look(max));
        let mut state = self.shared.state();
        state.claiming -= 1;
        state.sign = Instant::now();
        let down = state.is_down(self.shared.cluster.health.answers());
        drop(state);
        let down = down && !self.waiter.is_interrupted();
        match claimed {
            Ok(nothing) if nothing.is_empty() && down => {
                let Shared { cluster, .. } = &*self.shared;
                Err(cluster.health.unavailable(&cluster.settings.store, "no broker answers"))
            }
            claimed => claimed,
        }
    }

    fn settle(&self, settlements: &[(Claim, Outcome)]) -> Result<Vec<Settled>> {
        self.store_dead_letters(settlements)?;
        let (subscription, now) = (&self.shared.subscription, Instant::now());
        let mut state = self.shared.state();
        let settle = |(claim, outcome): &(Claim, Outcome)| {
            let Some(progress) = state.held(subscription, claim) else { return Settled::Lost };
            match outcome.again() {
                None => progress.finish(claim.offset),
                Some((delay, step)) => {
                    progress.postpone(claim.offset, delay.map(|delay| now + delay), step);
                }
            }
            Settled::Done
        };
        let settled = settlements.iter().map(settle).collect();
        drop(state);
        self.shared.changed.notify();
        self.shared.wake.notify();
        Ok(settled)
    }

    fn extend(&self) -> Result<()> {
        self.speak(&mut self.shared.state())
    }

    fn generation(&self) -> u64 {
        self.shared.state().lost
    }

    fn holds(&self, claim: &Claim) -> bool {
        self.shared.state().held(&self.shared.subscription, claim).is_some()
    }

    fn interrupt(&self) {
        self.waiter.interrupt(&self.shared.changed);
    }

    fn leave(self: Box<Self>) -> Result<()> {
        self.shared.end(None);
        match self.shared.wait_for_end() {
            true => Ok(()),
            false => Err(Error::Unavailable {
                store: self.shared.cluster.settings.store.clone(),
                reason: format!(
                    "the group was not left within {LEAVE:?}; it will notice by itself"
                ),
            }),
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.shared.end(None);
    }
}

/// The letter of one handing-out has one id: settling again after a failure doesn't store it again.
fn letter_id(claim: &Claim) -> AppendId {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, claim).hash(&mut hasher);
        hasher.finish().to_le_bytes()
    };
    let mut id = [0; 16];
    id[..8].copy_from_slice(&half(0));
    id[8..].copy_from_slice(&half(1));
    AppendId(id)
}
