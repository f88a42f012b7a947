//! The driver for a PostgreSQL database, which machines share.
//!
//! `conninfo` reads the connection string with `options` and `tls`, `client`, `connection` and `session` talk to the server, `schema` lays the database out,
//! `topic` knows how far a topic may be read. `writer` is the thread that appends, with `append` as its work; `events` is
//! the reading, `group`, `claim` and `position` are a consumer group's changes, `member` a consumer on top of them, `listen` the wake-ups.
//!
//! Opening a log doesn't need the server. Calls while it is away fail as unavailable, and find it when it is back.

mod append;
mod claim;
mod client;
mod connection;
mod conninfo;
mod events;
mod group;
mod listen;
mod member;
mod options;
mod position;
mod schema;
mod session;
mod tls;
mod topic;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use crate::consumer::new_epoch;
use crate::signal::Signal;
use crate::{
    Append, Consumer, Done, Event, EventLog, Invalid, Limits, Offset, PartitionOffsets, Read,
    Result, Subscription, Timestamp, Topic,
};
use connection::Database;
pub(crate) use conninfo::store_of;
use conninfo::Conninfo;
use listen::Listener;
use session::{End, Lock};
use writer::Writer;

pub(crate) struct PostgresLog {
    limits: Limits,
    writer: Writer,
    shared: Arc<Shared>,
}

/// What the log and its members use.
struct Shared {
    database: Arc<Database>,
    changed: Arc<Signal>,
    listener: Listener,
    /// This log's name in wake-ups.
    name: String,
}

impl PostgresLog {
    pub fn open(conninfo: &str, limits: Limits) -> Result<PostgresLog> {
        let conninfo = Conninfo::parse(conninfo, limits.append_timeout)?;
        let database = Arc::new(Database::new(conninfo));
        let changed = Arc::new(Signal::default());
        let name = format!("{:x}", new_epoch());
        let writer = Writer::start(database.clone(), changed.clone(), &limits, name.clone())
            .map_err(|error| database.unavailable(&format!("no thread for it: {error}")))?;
        let shared = Arc::new(Shared { database, changed, listener: Listener::default(), name });
        Ok(PostgresLog { limits, writer, shared })
    }
}

impl EventLog for PostgresLog {
    fn declare(&self, topics: &[Topic]) -> Result<()> {
        let database = &self.shared.database;
        database.run(|session| schema::declare(session, database.store(), topics))
    }

    fn topics(&self) -> Result<Vec<Topic>> {
        self.shared.database.run(schema::topics)
    }

    fn submit(&self, append: Append, done: Done) {
        match self.limits.check(&append).and_then(|()| append::check(&append)) {
            Err(error) => done(Err(error)),
            Ok(()) => self.writer.submit(append, done),
        }
    }

    fn store(&self) -> String {
        self.shared.database.store().to_owned()
    }

    fn append_timeout(&self) -> Duration {
        self.limits.append_timeout
    }

    fn read(&self, topic: &Topic, read: &Read) -> Result<Vec<Event>> {
        check_partition(topic, read.partition)?;
        let database = &self.shared.database;
        database.run(|session| {
            let info = database.topic(session, topic)?;
            events::read(session, &info, topic, read)
        })
    }

    fn last(&self, topic: &Topic, key: &str) -> Result<Option<Event>> {
        let database = &self.shared.database;
        database.run(|session| {
            let info = database.topic(session, topic)?;
            match key.contains('\0') {
                // No such key can be stored.
                true => Ok(None),
                false => events::last(session, &info, topic, key),
            }
        })
    }

    fn offsets(&self, topic: &Topic) -> Result<Vec<PartitionOffsets>> {
        let database = &self.shared.database;
        database.run(|session| {
            let info = database.topic(session, topic)?;
            let (first, next) = events::extent(session, &info)?;
            let groups = position::positions(session, &info, topic, first, next)?;
            Ok(vec![PartitionOffsets { partition: 0, first, next, groups }])
        })
    }

    fn offset_at(&self, topic: &Topic, partition: u32, time: Timestamp) -> Result<Offset> {
        check_partition(topic, partition)?;
        let database = &self.shared.database;
        database.run(|session| {
            let info = database.topic(session, topic)?;
            events::offset_at(session, &info, time)
        })
    }

    fn adopt(&self, topic: &Topic, from: &str, groups: &[String]) -> Result<()> {
        let topic = topic.as_str();
        self.shared.database.run(|session| {
            if !position::has_position(session, from, topic)? {
                return Ok(());
            }
            // Whoever else adopts it holds this, too.
            session.transaction(&[Lock::Group(group::lock_key(from))], |session| {
                position::adopt(session, topic, from, groups)?;
                Ok(((), End::Durable(String::new())))
            })
        })
    }

    fn join(&self, subscription: Subscription) -> Result<Box<dyn Consumer>> {
        subscription.check()?;
        let (s, epoch) = (Arc::new(subscription), new_epoch());
        let Shared { database, changed, listener, name } = &*self.shared;
        database.run(|session| {
            let topics = s.topics.iter().map(|topic| database.topic(session, topic));
            let topics = topics.collect::<Result<Vec<_>, _>>()?;
            session.transaction(&[Lock::Group(group::lock_key(&s.group))], |session| {
                for (topic, info) in s.topics.iter().zip(&topics) {
                    position::begin(session, &s, topic, info)?;
                }
                group::admit(session, &s, epoch)?;
                Ok(((), End::Durable(listen::wake_others(name))))
            })
        })?;
        changed.notify();
        listener.start(database, changed, name);
        Ok(Box::new(member::Member::new(self.shared.clone(), s, epoch)))
    }
}

fn check_partition(topic: &Topic, partition: u32) -> Result<()> {
    match partition {
        0 => Ok(()),
        _ => Err(Invalid::Partition { topic: topic.to_string(), partition }.into()),
    }
}
