//! The cluster's topics: which exist, how far they reach, and making them.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as Position, TopicPartitionList};

use super::groups::Groups;
use super::health::{drain, is_unknown, Health, Quiet};
use super::producer::Desk;
use super::settings::{Settings, PATIENCE};
use crate::{Error, Invalid, Offset, Result, Timestamp, Topic};

pub(super) struct Cluster {
    pub settings: Arc<Settings>,
    pub health: Arc<Health>,
    probe: BaseConsumer<Quiet>,
    /// Made when it is first needed.
    groups: Mutex<Option<Arc<Groups>>>,
}

impl Cluster {
    pub fn open(settings: Arc<Settings>, health: Arc<Health>) -> Result<Cluster> {
        let context = Quiet(health.clone());
        let probe = settings.probe().create_with_context(context);
        let probe = probe.map_err(super::health::refused_settings)?;
        Ok(Cluster { settings, health, probe, groups: Mutex::new(None) })
    }

    pub fn probe(&self) -> &BaseConsumer<Quiet> {
        &self.probe
    }

    pub fn unavailable(&self, what: &str, error: &KafkaError) -> Error {
        let reason = error.rdkafka_error_code().map_or(error.to_string(), |code| code.to_string());
        self.health.unavailable(&self.settings.store, &format!("{what} failed ({reason})"))
    }

    fn answered<T>(&self, what: &str, answer: KafkaResult<T>) -> Result<T> {
        let answer = answer.map_err(|error| self.unavailable(what, &error))?;
        self.health.well();
        Ok(answer)
    }

    /// Asks again while partitions move between brokers.
    pub fn ask<T>(&self, what: &str, question: impl Fn() -> KafkaResult<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = question();
            let moves = answer.as_ref().is_err_and(is_moving);
            if !moves || Instant::now() >= deadline {
                return self.answered(what, answer);
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks about groups, again while they move between brokers.
    pub fn ask_groups<T>(
        &self,
        what: &str,
        question: impl Fn(&Groups) -> KafkaResult<T>,
    ) -> Result<T> {
        self.groups().map_err(super::health::refused_settings)?;
        self.ask(what, || {
            let groups = self.groups()?;
            let answer = question(&groups);
            if answer.as_ref().is_err_and(|error| is_moving(error) || is_late(error)) {
                // It would go on asking the broker that the group was at, or has questions that nobody waits for.
                let mut kept = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
                kept.take_if(|kept| Arc::ptr_eq(kept, &groups));
            }
            answer
        })
    }

    fn groups(&self) -> KafkaResult<Arc<Groups>> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(groups) = &*groups {
            return Ok(groups.clone());
        }
        let context = Quiet(self.health.clone());
        let new = Arc::new(Groups::new(self.settings.observer().create_with_context(context)?));
        *groups = Some(new.clone());
        Ok(new)
    }

    /// Every topic of the application, by name.
    pub fn topics(&self) -> Result<Vec<Topic>> {
        let metadata =
            self.answered("listing topics", self.probe.fetch_metadata(None, PATIENCE))?;
        let mut topics: Vec<_> = metadata
            .topics()
            .iter()
            .filter_map(|topic| self.settings.topic(topic.name()))
            .collect();
        topics.sort_unstable();
        Ok(topics)
    }

    /// How many partitions a topic has.
    pub fn partitions(&self, topic: &Topic) -> Result<u32> {
        self.partitions_within(topic, PATIENCE)
    }

    fn partitions_within(&self, topic: &Topic, patience: Duration) -> Result<u32> {
        let (name, deadline) = (self.settings.name(topic), Instant::now() + patience);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let metadata =
                self.probe.fetch_metadata(Some(&name), left.max(Duration::from_millis(1)));
            let metadata = self.answered("asking for a topic", metadata)?;
            let found = metadata.topics().iter().find(|found| found.name() == name);
            match found.map(|found| (found.error(), found.partitions().len())) {
                Some((None, count)) if count > 0 => return Ok(count as u32),
                Some((Some(error), _)) if is_unknown(error.into()) => {
                    return Err(topic.undeclared());
                }
                Some((Some(error), _)) if Instant::now() >= deadline => {
                    let error = KafkaError::MetadataFetch(error.into());
                    return Err(self.unavailable("asking for a topic", &error));
                }
                // It was made a moment ago, or has no leader yet.
                _ if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
                _ => return Err(topic.undeclared()),
            }
        }
    }

    pub fn check_partition(&self, topic: &Topic, partition: u32) -> Result<()> {
        match self.partitions(topic)? {
            count if partition < count => Ok(()),
            _ => Err(Invalid::Partition { topic: topic.to_string(), partition }.into()),
        }
    }

    /// The first offset that is left, and the one that comes next.
    pub fn extent(&self, topic: &Topic, partition: u32) -> Result<(Offset, Offset)> {
        let name = self.settings.name(topic);
        let (first, next) = self.ask("asking for a partition's extent", || {
            self.probe.fetch_watermarks(&name, partition as i32, PATIENCE)
        })?;
        Ok((first.max(0) as Offset, next.max(0) as Offset))
    }

    /// The first offset whose event was stored at `time` or later; the next one if there is none.
    pub fn offset_at(&self, topic: &Topic, partition: u32, time: Timestamp) -> Result<Offset> {
        let name = self.settings.name(topic);
        let mut question = TopicPartitionList::new();
        let time = i64::try_from(time.0).unwrap_or(i64::MAX);
        question
            .add_partition_offset(&name, partition as i32, Position::Offset(time))
            .map_err(|error| self.unavailable("asking for a time", &error))?;
        let answer = self.ask("asking for a time", || {
            self.probe.offsets_for_times(question.clone(), PATIENCE)
        })?;
        match answer.find_partition(&name, partition as i32).map(|found| found.offset()) {
            Some(Position::Offset(offset)) => Ok(offset.max(0) as Offset),
            _ => Ok(self.extent(topic, partition)?.1),
        }
    }

    /// Makes the topics, and the dead-letter topic of each, where they don't exist.
    pub fn declare(&self, topics: &[Topic]) -> Result<()> {
        let mut wanted: Vec<Topic> = topics
            .iter()
            .flat_map(|topic| [Some(topic.clone()), topic.dead()].into_iter().flatten())
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        let existing = self.topics()?;
        wanted.retain(|topic| existing.binary_search(topic).is_err());
        if wanted.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = wanted.iter().map(|topic| self.settings.name(topic)).collect();
        let size = self.settings.record_size().to_string();
        let new: Vec<NewTopic<'_>> = wanted
            .iter()
            .zip(&names)
            .map(|(topic, name)| self.new_topic(topic, name, &size))
            .collect();
        let options =
            AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
        // Topics are made when an application starts: a client that is kept would wait for nothing.
        let context = Quiet(self.health.clone());
        let admin = AdminClient::from_config_and_context(&self.settings.probe(), context)
            .map_err(super::health::refused_settings)?;
        let answers = block_on(admin.create_topics(&new, &options));
        for answer in self.answered("making topics", answers)? {
            let (name, code) = match answer {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => continue,
                Err(refused) => refused,
            };
            let topic = match self.settings.topic(&name) {
                Some(topic) => topic.to_string(),
                None => name,
            };
            let store = self.settings.store.clone();
            let unsure = matches!(
                code,
                RDKafkaErrorCode::RequestTimedOut
                    | RDKafkaErrorCode::OperationTimedOut
                    | RDKafkaErrorCode::NotController
            );
            return Err(match unsure {
                true => self.health.unavailable(&store, &format!("making topic {topic}: {code}")),
                // "a.b" and "a_b" have the same name in Kafka's metrics, which makes it refuse the second.
                false => Invalid::RefusedTopic { store, topic, reason: code.to_string() }.into(),
            });
        }
        wanted.iter().try_for_each(|topic| self.wait_for(topic))
    }

    /// Waits until the brokers have heard of a topic that was made.
    fn wait_for(&self, topic: &Topic) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.partitions(topic) {
                Err(Error::Invalid(Invalid::UndeclaredTopic(_))) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(20));
                }
                found => return found.map(drop),
            }
        }
    }

    fn new_topic<'a>(&self, topic: &Topic, name: &'a str, size: &'a str) -> NewTopic<'a> {
        // Dead letters are few, and people read them in order.
        let partitions = if topic.dead().is_none() { 1 } else { self.settings.partitions };
        NewTopic::new(name, partitions, TopicReplication::Fixed(-1))
            .set("message.timestamp.type", "LogAppendTime")
            .set("max.message.bytes", size)
    }

    fn drain(&self) {
        drain(&self.probe);
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(groups) = groups {
            drain(groups.client());
        }
    }

    /// The life of the thread that finds out whether the topics of parked appends exist.
    pub fn resolve(&self, desk: &Desk) {
        let mut next_drain = Instant::now();
        while !desk.is_closed() {
            if Instant::now() >= next_drain {
                self.drain();
                next_drain = Instant::now() + Duration::from_secs(1);
            }
            let seen = desk.parked.count();
            let Some((flight, topics)) = desk.first_parked() else {
                desk.parked.wait(seen, Instant::now() + Duration::from_secs(1));
                continue;
            };
            let found = topics.iter().try_for_each(|topic| {
                self.partitions_within(topic, Duration::from_secs(1)).map(drop)
            });
            match found {
                Ok(()) => desk.send_parked(topics),
                Err(error) if error.retry() && flight.is_awaited() => {
                    thread::sleep(Duration::from_millis(50));
                }
                Err(error) => desk.drop_parked(error),
            }
        }
    }
}

/// Whether no answer came in time.
fn is_late(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut)
}

/// Whether the cluster refused to answer because partitions, or what is kept of groups, move between brokers.
fn is_moving(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        CoordinatorLoadInProgress, CoordinatorNotAvailable, LeaderNotAvailable, NotCoordinator,
        NotLeaderForPartition, UnstableOffsetCommit,
    };
    matches!(
        error.rdkafka_error_code(),
        Some(
            CoordinatorLoadInProgress
                | CoordinatorNotAvailable
                | LeaderNotAvailable
                | NotCoordinator
                | NotLeaderForPartition
                // A transaction of another program is about to move the position.
                | UnstableOffsetCommit
        )
    )
}

/// Waits for one of the admin client's futures, which are completed by a thread of its own.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (mut context, mut future) = (Context::from_waker(&waker), pin!(future));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
