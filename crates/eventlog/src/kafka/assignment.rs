//! The partitions that a member has: they come and go in librdkafka's rebalance callback.
//!
//! Each has a queue of its own, and its events are taken in only as they are wanted: what is fetched ahead stays in
//! librdkafka, within its limits, and nothing needs to be paused.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset as Position, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::ClientContext;

use super::groups::Committed;
use super::member::{Place, Shared, State};
use super::positions::position;
use super::progress::Progress;
use super::reader::event;
use super::session::LOOK_ANYWAY;
use super::settings::PATIENCE;
use crate::consumer::new_epoch;
use crate::Topic;

/// How many events are taken in before claims may look at them.
const BATCH: usize = 64;
/// The pause before a last commit is tried again.
const COMMIT_AGAIN: Duration = Duration::from_millis(20);

pub(super) type Client = BaseConsumer<Context>;

pub(super) struct Context {
    shared: Arc<Shared>,
    /// The client that this is the context of.
    pub client: OnceLock<Weak<Client>>,
    queues: Mutex<BTreeMap<Place, PartitionQueue<Context>>>,
    /// Whether a commit is under way on the thread that waits for them.
    pub committing: AtomicBool,
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.shared.cluster.health.complaint(&error, reason);
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, client: &Client, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let done = match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(client, list),
            _ => self.revoke(client, list),
        };
        if let Err(error) = done {
            self.shared.cluster.health.trouble(&error.to_string());
        }
        self.shared.changed.notify();
        self.shared.wake.notify();
    }
}

impl Context {
    pub fn new(shared: Arc<Shared>) -> Context {
        let (client, queues) = (OnceLock::new(), Mutex::default());
        Context { shared, client, queues, committing: AtomicBool::new(false) }
    }

    pub fn place(&self, name: &str, partition: i32) -> Option<Place> {
        let topic = self.shared.cluster.settings.topic(name)?;
        let of_topic = self.shared.subscription.topics.iter().position(|t| *t == topic)?;
        Some((of_topic, u32::try_from(partition).ok()?))
    }

    pub fn places(&self, list: &TopicPartitionList) -> Vec<Place> {
        list.elements().iter().filter_map(|e| self.place(e.topic(), e.partition())).collect()
    }

    fn topic(&self, place: Place) -> &Topic {
        &self.shared.subscription.topics[place.0]
    }

    fn assign(&self, client: &Client, list: &TopicPartitionList) -> KafkaResult<()> {
        // If the coordinator doesn't answer in this time, librdkafka finds the positions itself, later. What goes with
        // them isn't known then: events that were finished out of turn are repeated.
        let committed = client.committed_offsets(list.clone(), PATIENCE).ok();
        let mut assignment = TopicPartitionList::new();
        for element in list.elements() {
            let (name, partition) = (element.topic(), element.partition());
            let Some(place) = self.place(name, partition) else { continue };
            let found = committed.as_ref().map(|list| self.begin(list, name, place));
            let at = match &found {
                None => Position::Stored,
                Some(None) => Position::Beginning,
                Some(Some((offset, _))) => {
                    Position::Offset(i64::try_from(*offset).unwrap_or(i64::MAX))
                }
            };
            assignment.add_partition_offset(name, partition, at)?;
            if let Some(client) = self.client.get().and_then(Weak::upgrade) {
                if let Some(mut queue) = client.split_partition_queue(name, partition) {
                    let shared = self.shared.clone();
                    queue.set_nonempty_callback(move || shared.wake.notify());
                    lock(&self.queues).insert(place, queue);
                }
            }
            let (offset, text) = found.flatten().unzip();
            let progress = Progress::resume(new_epoch(), offset, text.as_deref().unwrap_or(""));
            self.shared.state().holdings.insert(place, progress);
        }
        client.incremental_assign(&assignment)
    }

    /// Where to begin in a partition.
    fn begin(&self, committed: &TopicPartitionList, name: &str, place: Place) -> Committed {
        let found = committed.find_partition(name, place.1 as i32)?;
        if let Some(offset) = position(found.offset()) {
            return Some((offset, found.metadata().to_owned()));
        }
        let start = self.shared.starts.get(&(self.topic(place).clone(), place.1))?;
        Some((*start, String::new()))
    }

    /// Gives up partitions: their running events may end first, within the lease, unless others have them already.
    fn revoke(&self, client: &Client, list: &TopicPartitionList) -> KafkaResult<()> {
        let (places, lost) = (self.places(list), client.assignment_lost());
        let lease = self.shared.subscription.lease;
        let deadline = Instant::now() + lease;
        loop {
            let seen = self.shared.wake.count();
            let mut state = self.shared.state();
            let mut running = 0;
            for place in &places {
                if let Some(progress) = state.holdings.get_mut(place) {
                    progress.closing = true;
                    running += progress.claimed();
                }
            }
            if running == 0 || lost || state.ending || state.silent(lease) {
                break;
            }
            drop(state);
            if Instant::now() >= deadline {
                break;
            }
            self.shared.wake.wait(seen, deadline.min(Instant::now() + LOOK_ANYWAY));
        }
        let commit = self.take(&mut self.shared.state(), &places, false);
        lock(&self.queues).retain(|place, _| !places.contains(place));
        if !lost {
            self.commit_last(client, &commit);
        }
        client.incremental_unassign(list)
    }

    /// Commits where the next holder of partitions begins. If it fails, that is the commit before.
    pub fn commit_last(&self, client: &Client, commit: &TopicPartitionList) {
        // An earlier commit that came later would set the position back.
        loop {
            let seen = self.shared.wake.count();
            if !self.committing.load(Ordering::Acquire) {
                break;
            }
            self.shared.wake.wait(seen, Instant::now() + LOOK_ANYWAY);
        }
        let deadline = Instant::now() + PATIENCE;
        while commit.count() > 0 {
            let Err(error) = client.commit(commit, CommitMode::Sync) else { return };
            if !is_passing(&error) || client.assignment_lost() || Instant::now() >= deadline {
                self.shared.cluster.health.trouble(&error.to_string());
                return;
            }
            thread::sleep(COMMIT_AGAIN);
        }
    }

    /// Takes partitions out of the member's hands. From here on its claims in them are lost. Answers what to commit.
    pub fn take(
        &self,
        state: &mut State,
        places: &[Place],
        given_back: bool,
    ) -> TopicPartitionList {
        let mut commit = TopicPartitionList::new();
        state.lost += 1;
        for place in places {
            let Some(mut progress) = state.holdings.remove(place) else { continue };
            if given_back {
                progress.release();
            }
            self.add(&mut commit, *place, &progress);
        }
        commit
    }

    pub fn add(&self, commit: &mut TopicPartitionList, place: Place, progress: &Progress) {
        let Some(offset) = progress.position().and_then(|at| i64::try_from(at).ok()) else {
            return;
        };
        let name = self.shared.cluster.settings.name(self.topic(place));
        let mut element = commit.add_partition(&name, place.1 as i32);
        match element.set_offset(Position::Offset(offset)) {
            Ok(()) => element.set_metadata(progress.text()),
            Err(error) => self.shared.cluster.health.trouble(&error.to_string()),
        }
    }

    /// Takes in the events that are wanted. Answers whether there were any.
    pub fn fetch(&self) -> bool {
        let (concurrency, mut any) = (self.shared.subscription.concurrency, false);
        for (place, queue) in lock(&self.queues).iter() {
            loop {
                let mut state = self.shared.state();
                let mut taken = 0;
                while taken < BATCH && state.wants(*place, concurrency) {
                    match queue.poll(Duration::ZERO) {
                        Some(Ok(message)) => self.receive(&mut state, *place, &message),
                        Some(Err(error)) => self.shared.cluster.health.trouble(&error.to_string()),
                        None => break,
                    }
                    taken += 1;
                }
                drop(state);
                any |= taken > 0;
                if taken < BATCH {
                    break;
                }
                self.shared.changed.notify();
            }
        }
        any
    }

    pub fn receive(&self, state: &mut State, place: Place, message: &BorrowedMessage<'_>) {
        if let Some(progress) = state.holdings.get_mut(&place) {
            progress.receive(event(self.topic(place), message));
        }
    }

    /// Lets go of the queues, which hold the client.
    pub fn close(&self) {
        lock(&self.queues).clear();
    }
}

/// Whether the group's coordinator takes commits again as soon as its members have joined again, or it has moved. The
/// partitions are this member's until it has let go of them.
fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        CoordinatorLoadInProgress, CoordinatorNotAvailable, IllegalGeneration, NotCoordinator,
        RebalanceInProgress,
    };
    matches!(
        error.rdkafka_error_code(),
        Some(
            RebalanceInProgress
                | IllegalGeneration
                | NotCoordinator
                | CoordinatorNotAvailable
                | CoordinatorLoadInProgress
        )
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
