//! Topics, events and appends: the values that go in and out of a log.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{Error, Fence, Invalid, Result};

/// An event's number in its partition. Offsets begin at 1 or 0 (the driver's choice) and grow in commit order.
pub type Offset = u64;

/// What the name of a dead-letter topic ends in.
pub const DEAD_SUFFIX: &str = ".dead";

const TOPIC_NAME_MAX: usize = 200;

/// A checked topic name: 1 to 200 of `A-Z a-z 0-9 _ - .`, not beginning with a dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(String);

impl Topic {
    pub fn new(name: impl Into<String>) -> Result<Topic> {
        let name = name.into();
        let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
        let fits = (1..=TOPIC_NAME_MAX).contains(&name.len());
        if !fits || name.starts_with('.') || !name.bytes().all(allowed) {
            return Err(Invalid::TopicName(name).into());
        }
        Ok(Topic(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The topic that takes this one's dead letters, or `None` if this is one already.
    pub fn dead(&self) -> Option<Topic> {
        (!self.0.ends_with(DEAD_SUFFIX)).then(|| Topic(format!("{}{DEAD_SUFFIX}", self.0)))
    }

    pub(crate) fn dead_or_invalid(&self) -> Result<Topic> {
        self.dead().ok_or_else(|| Invalid::NoDeadLetterTopic(self.0.clone()).into())
    }

    pub(crate) fn undeclared(&self) -> Error {
        Invalid::UndeclaredTopic(self.0.clone()).into()
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    pub fn now() -> Timestamp {
        SystemTime::now().into()
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Timestamp {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp(since.as_millis().try_into().unwrap_or(u64::MAX))
    }
}

/// Names and values that travel with an event: its trace, or why it died.
pub type Headers = Vec<(String, String)>;

/// An event to be appended. `value` is JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    pub topic: Topic,
    pub key: String,
    pub value: Vec<u8>,
    pub headers: Headers,
}

impl NewEvent {
    pub fn new(topic: &Topic, key: impl Into<String>, value: impl Into<Vec<u8>>) -> NewEvent {
        let headers = Headers::new();
        NewEvent { topic: topic.clone(), key: key.into(), value: value.into(), headers }
    }

    /// Bytes of key, value and headers.
    pub fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        self.key.len() + self.value.len() + headers.sum::<usize>()
    }
}

/// What tells a retried append from another one with the same contents.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AppendId(pub [u8; 16]);

impl AppendId {
    /// The time in milliseconds, in 48 bits, and 80 random ones. Ids that are made one after the other are neighbours
    /// in a store's index, which then grows at its end only.
    pub fn random() -> AppendId {
        let mut id = [0; 16];
        // Every kernel that nginx runs on has a random source; without one nothing here could be told apart.
        getrandom::fill(&mut id).expect("the system's random source");
        id[..6].copy_from_slice(&Timestamp::now().0.to_be_bytes()[2..]);
        AppendId(id)
    }
}

impl fmt::Display for AppendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AppendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppendId({self})")
    }
}

/// Events that are stored together or not at all, and once however often the append is retried with its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    pub id: AppendId,
    pub events: Vec<NewEvent>,
    /// The event whose function appends: nothing is stored when its claim is lost by then. A store that can't tell, Kafka, stores
    /// it all the same.
    pub fence: Option<Box<Fence>>,
}

impl Append {
    /// An append with an id of its own. Clone it to retry.
    pub fn new(events: Vec<NewEvent>) -> Append {
        Append { id: AppendId::random(), events, fence: None }
    }
}

/// Where an event of an append was stored, in the order of its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stored {
    /// 0 in drivers without partitions.
    pub partition: u32,
    pub offset: Offset,
}

/// A stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub topic: Topic,
    /// 0 in drivers without partitions. Events of one key share a partition.
    pub partition: u32,
    pub offset: Offset,
    pub key: String,
    pub value: Vec<u8>,
    /// When the log stored it. Never smaller than that of an earlier event in the partition.
    pub time: Timestamp,
    pub headers: Headers,
}

impl Event {
    /// Bytes of key, value and headers.
    pub fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        self.key.len() + self.value.len() + headers.sum::<usize>()
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Which events [`EventLog::read`](crate::EventLog::read) answers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub partition: u32,
    /// The first offset; 0 reads from the first event that is left.
    pub from: Offset,
    /// How many events at most.
    pub limit: usize,
    /// How many bytes of events at most, except that there is always one. An answer that is shorter than `limit` for that is followed by
    /// more. Default 8 MiB.
    pub size: usize,
    /// Only events of this key.
    pub key: Option<String>,
}

impl Default for Read {
    fn default() -> Read {
        Read { partition: 0, from: 0, limit: 100, size: 8 << 20, key: None }
    }
}

/// What a read has found, within its bounds.
pub(crate) struct Page {
    pub events: Vec<Event>,
    limit: usize,
    room: usize,
}

impl Page {
    pub fn new(read: &Read) -> Page {
        Page { events: Vec::new(), limit: read.limit, room: read.size }
    }

    /// Adds an event if it fits. Answers whether another one may.
    pub fn add(&mut self, event: Event) -> bool {
        let size = event.size();
        if self.events.len() == self.limit || (size > self.room && !self.events.is_empty()) {
            return false;
        }
        self.room = self.room.saturating_sub(size);
        self.events.push(event);
        self.events.len() < self.limit && self.room > 0
    }
}

/// The extent of a topic's partition, and the groups that read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionOffsets {
    pub partition: u32,
    /// The first event's offset; `next` when there is none.
    pub first: Offset,
    /// The offset that the next event gets, or a smaller one in drivers with gaps; greater than every stored one.
    pub next: Offset,
    /// By group name.
    pub groups: Vec<GroupPosition>,
}

/// How far a group is in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPosition {
    pub group: String,
    /// The committed position: every event below this offset is finished.
    pub committed: Offset,
    /// How many events are not finished, those in hand included.
    pub lag: u64,
}
