//! The driver for Kafka: a topic is a Kafka topic named `APPNAME_TOPIC`, a group one of Kafka's consumer groups.
//!
//! `settings` has the configuration and the names, `cluster` asks for and makes topics, `producer` appends, `reader` reads
//! without a group and `positions` asks for groups' positions, through `groups`. `member` is a group's member for its
//! user, `session` its thread, `assignment` the partitions that it has; `progress` has the rules of handing out. `health` knows what is wrong.
//!
//! What Kafka's model makes different from the other drivers:
//!
//! * A partition belongs to one member of a group at a time. What a member has in hand when it dies is handed over after
//!   the session's time (the lease, but 6 s at least: brokers allow no less by default). A member of the same name takes
//!   over at once.
//! * A position is committed a moment after an event was settled; a crash repeats the events of that moment as well.
//!   Which events are finished ahead of it, and how often others were tried, is kept with the position, as far as there
//!   is room. An attempt that brings its process down in its first moment isn't counted.
//! * A dead letter is acknowledged before its event ends. A crash in between repeats it.
//! * A topic's events have the broker's time if `declare` made the topic; other topics may have their producers'.
//! * Events of other programs are handed out as they are, even without a key or with a value that isn't JSON.
//! * Members of a group agree on how partitions are shared: the earlier Spacer's can't be in it at the same time. A group
//!   goes on where they left it.

mod assignment;
mod cluster;
mod flight;
mod groups;
mod health;
mod member;
mod positions;
mod producer;
mod progress;
mod reader;
mod session;
mod settings;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::{
    Append, Consumer, Done, Error, Event, EventLog, Limits, Offset, PartitionOffsets, Read, Result,
    Subscription, Timestamp, Topic,
};
use cluster::Cluster;
use health::Health;
use member::{Member, Shared};
use positions::Positions;
use producer::Desk;
use reader::Readers;
use settings::Settings;

pub(crate) struct KafkaLog {
    cluster: Arc<Cluster>,
    desk: Arc<Desk>,
    readers: Readers,
    positions: Positions,
    /// Members that may not have left yet.
    members: Mutex<Vec<Arc<Shared>>>,
    threads: Vec<JoinHandle<()>>,
}

impl KafkaLog {
    pub fn open(
        brokers: &[String],
        app_name: &str,
        properties: &[(String, String)],
        limits: Limits,
    ) -> Result<KafkaLog> {
        let settings = Arc::new(Settings::new(brokers, app_name, properties, limits)?);
        let health = Arc::new(Health::default());
        let cluster = Arc::new(Cluster::open(settings.clone(), health.clone())?);
        let desk = Desk::open(settings, health)?;
        let mut log = KafkaLog {
            readers: Readers::new(cluster.clone()),
            positions: Positions::new(cluster.clone()),
            members: Mutex::default(),
            threads: Vec::new(),
            cluster,
            desk,
        };
        let (cluster, desk) = (log.cluster.clone(), log.desk.clone());
        log.spawn("kafka-topics", move || cluster.resolve(&desk))?;
        let desk = log.desk.clone();
        log.spawn("kafka-producer", move || desk.run())?;
        Ok(log)
    }

    fn spawn(&mut self, name: &str, life: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = thread::Builder::new().name(name.into()).spawn(life);
        self.threads.push(thread.map_err(|error| Error::Unavailable {
            store: self.store(),
            reason: format!("no thread for {name}: {error}"),
        })?);
        Ok(())
    }

    /// Ends this process's earlier member of the name, so that its last commit is in time.
    fn replace(&self, subscription: &Subscription) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|member| !member.state().ended);
        let same = |member: &&Arc<Shared>| {
            let other = &member.subscription;
            (&other.group, &other.member) == (&subscription.group, &subscription.member)
        };
        let old: Vec<_> = members.iter().filter(same).cloned().collect();
        drop(members);
        for member in old {
            member.end(Some(subscription.replaced()));
            // If it hangs, the broker shuts it out when the new one joins.
            member.wait_for_end();
        }
    }
}

impl EventLog for KafkaLog {
    fn declare(&self, topics: &[Topic]) -> Result<()> {
        self.cluster.declare(topics)
    }

    fn topics(&self) -> Result<Vec<Topic>> {
        self.cluster.topics()
    }

    fn submit(&self, append: Append, done: Done) {
        match self.cluster.settings.limits.check(&append) {
            Ok(()) => self.desk.submit(append, done),
            Err(error) => done(Err(error)),
        }
    }

    fn store(&self) -> String {
        self.cluster.settings.store.clone()
    }

    fn append_timeout(&self) -> Duration {
        self.cluster.settings.limits.append_timeout
    }

    fn read(&self, topic: &Topic, read: &Read) -> Result<Vec<Event>> {
        self.readers.read(topic, read)
    }

    fn last(&self, topic: &Topic, key: &str) -> Result<Option<Event>> {
        self.readers.last(topic, key)
    }

    fn offsets(&self, topic: &Topic) -> Result<Vec<PartitionOffsets>> {
        self.positions.offsets(topic)
    }

    fn offset_at(&self, topic: &Topic, partition: u32, time: Timestamp) -> Result<Offset> {
        self.cluster.check_partition(topic, partition)?;
        self.cluster.offset_at(topic, partition, time)
    }

    fn adopt(&self, topic: &Topic, from: &str, groups: &[String]) -> Result<()> {
        self.positions.adopt(topic, from, groups)
    }

    fn join(&self, subscription: Subscription) -> Result<Box<dyn Consumer>> {
        subscription.check()?;
        self.replace(&subscription);
        let starts = self.positions.begin(&subscription)?;
        let (cluster, desk) = (self.cluster.clone(), self.desk.clone());
        let shared = Arc::new(Shared::new(cluster, desk, subscription, starts));
        let member = Member::start(shared.clone())?;
        self.members.lock().unwrap_or_else(PoisonError::into_inner).push(shared);
        Ok(Box::new(member))
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.desk.close();
        for thread in self.threads.drain(..) {
            // A panic has been printed by then.
            drop(thread.join());
        }
    }
}
