//! The embedded driver: a database file that all processes of a machine share.
//!
//! `connection` opens the file, `schema` lays it out, `writer` is the thread that all changes go through, `queue` what
//! waits for it; `append`, `group` and `position` are the changes, `events` the reading, `member` a consumer on top of them. `wake`
//! carries wake-ups between processes, `checkpoint` keeps the write-ahead log short, `clock` has the leases' time,
//! `owner` says whose files these are, and `files` who can use them.
//!
//! The file is in WAL mode. A transaction with an append waits for the disk (`synchronous=FULL`), and makes all that was
//! committed before it durable as well. One that only claims or settles doesn't wait: when the machine dies, a claim is
//! lost rightly, and an event whose end is lost, its dead letter with it, is handed out again, as after any crash.

mod append;
mod checkpoint;
mod clock;
mod connection;
mod events;
mod files;
mod group;
mod member;
mod owner;
mod position;
mod queue;
mod schema;
mod wake;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::consumer::new_epoch;
use crate::signal::Signal;
use crate::{
    Append, Consumer, Done, Event, EventLog, Invalid, Limits, Offset, PartitionOffsets, Read,
    Result, Subscription, Timestamp, Topic,
};
pub use files::{Files, User};

use append::AppendJob;
use connection::Database;
use queue::{Effect, Job};
use writer::Writer;

pub(crate) struct SqliteLog {
    limits: Arc<Limits>,
    shared: Arc<Shared>,
}

/// What the log and its members use. The writer is dropped first: it still wakes others.
struct Shared {
    writer: Writer,
    database: Arc<Database>,
    changed: Arc<Signal>,
}

impl SqliteLog {
    pub fn open(path: &Path, limits: Limits) -> Result<SqliteLog> {
        let database = Arc::new(Database::new(path, limits.append_timeout));
        // What can be mended is for later: each call tries again.
        let handle = match database.open(Instant::now() + database.lock_timeout) {
            Err(error) if !error.retry() => return Err(error),
            opened => opened.ok(),
        };
        let changed = Arc::new(Signal::default());
        let failed = |error: std::io::Error| database.unavailable(&error.to_string());
        let limits = Arc::new(limits);
        let writer = Writer::start(database.clone(), handle, changed.clone(), limits.clone())
            .map_err(failed)?;
        let shared = Arc::new(Shared { writer, database, changed });
        Ok(SqliteLog { limits, shared })
    }
}

impl EventLog for SqliteLog {
    fn declare(&self, topics: &[Topic]) -> Result<()> {
        let topics = topics.to_vec();
        self.shared.writer.call(true, move |transaction| {
            for topic in &topics {
                schema::declare(transaction, topic)?;
                if let Some(dead) = topic.dead() {
                    schema::declare(transaction, &dead)?;
                }
            }
            Ok(((), Effect::Quiet))
        })
    }

    fn topics(&self) -> Result<Vec<Topic>> {
        self.shared.database.read(schema::topics)
    }

    fn submit(&self, append: Append, done: Done) {
        match self.limits.check(&append) {
            Err(error) => done(Err(error)),
            Ok(()) => {
                let job = AppendJob::new(append, &self.limits, done);
                self.shared.writer.submit(Job::Append(job));
            }
        }
    }

    fn store(&self) -> String {
        self.shared.database.path.display().to_string()
    }

    fn append_timeout(&self) -> Duration {
        self.limits.append_timeout
    }

    fn read(&self, topic: &Topic, read: &Read) -> Result<Vec<Event>> {
        check_partition(topic, read.partition)?;
        self.shared.database.read(|connection| events::read(connection, topic, read))
    }

    fn last(&self, topic: &Topic, key: &str) -> Result<Option<Event>> {
        self.shared.database.read(|connection| events::last(connection, topic, key))
    }

    fn offsets(&self, topic: &Topic) -> Result<Vec<PartitionOffsets>> {
        self.shared.database.read(|connection| {
            let (first, next) = events::extent(connection, topic)?;
            let groups = position::positions(connection, topic, (first, next))?;
            Ok(vec![PartitionOffsets { partition: 0, first, next, groups }])
        })
    }

    fn offset_at(&self, topic: &Topic, partition: u32, time: Timestamp) -> Result<Offset> {
        check_partition(topic, partition)?;
        self.shared.database.read(|connection| events::offset_at(connection, topic, time))
    }

    fn adopt(&self, topic: &Topic, from: &str, groups: &[String]) -> Result<()> {
        let found =
            self.shared.database.read(|c| position::has_position(c, from, topic.as_str()))?;
        if !found {
            return Ok(());
        }
        let (topic, from, groups) = (topic.to_string(), from.to_owned(), groups.to_vec());
        self.shared.writer.call(true, move |connection| {
            Ok((position::adopt(connection, &topic, &from, &groups)?, Effect::Quiet))
        })
    }

    fn join(&self, subscription: Subscription) -> Result<Box<dyn Consumer>> {
        subscription.check()?;
        let (subscription, epoch) = (Arc::new(subscription), new_epoch());
        let s = subscription.clone();
        self.shared.writer.call(true, move |connection| {
            for topic in &s.topics {
                let start = events::start(connection, topic, s.start_of(topic))?;
                position::begin(connection, &s.group, topic, start)?;
            }
            group::admit(connection, &s, epoch)?;
            Ok(((), Effect::Wake))
        })?;
        Ok(Box::new(member::Member::new(self.shared.clone(), subscription, epoch)))
    }
}

fn check_partition(topic: &Topic, partition: u32) -> Result<()> {
    match partition {
        0 => Ok(()),
        _ => Err(Invalid::Partition { topic: topic.to_string(), partition }.into()),
    }
}
