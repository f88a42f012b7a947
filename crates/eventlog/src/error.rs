//! What can go wrong, and whether trying again may help.

use thiserror::Error;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on the log failed. [`Error::retry`] says whether the same call may succeed later.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The caller's mistake: the same call fails again.
    #[error(transparent)]
    Invalid(#[from] Invalid),

    /// The store doesn't answer, is locked, or its disk is full. An append that fails so may have been stored all the
    /// same: retry it with the same id.
    #[error("event log {store} is unavailable: {reason}")]
    Unavailable { store: String, reason: String },

    /// Too many appends wait already. Nothing of this one was stored.
    #[error("event log queue is full: {waiting} events wait, at most {limit} may")]
    Full { waiting: usize, limit: usize },

    /// The appends that wait are too large already. Nothing of this one was stored.
    #[error("event log queue is full: events of {waiting} bytes wait, at most {limit} may")]
    FullOfBytes { waiting: usize, limit: usize },

    /// The store's contents are not what was written. Restore a copy; retrying is of no use.
    #[error("event log {store} is corrupt: {reason}")]
    Corrupt { store: String, reason: String },

    /// Another member of the same name has joined the group since: this one is out of it.
    #[error("member {member:?} of consumer group {group:?} was replaced by another of that name")]
    Replaced { group: String, member: String },

    /// The append came from a function whose event is another member's by now. Nothing of it was stored.
    #[error("event {offset} of topic {topic} was handed to another worker: nothing was appended")]
    Fenced { topic: String, offset: u64 },

    /// The log was closed.
    #[error("event log is closed")]
    Closed,
}

impl Error {
    /// Whether the same call may succeed later with nothing changed by the caller.
    pub fn retry(&self) -> bool {
        use Error::{Full, FullOfBytes, Unavailable};
        matches!(self, Unavailable { .. } | Full { .. } | FullOfBytes { .. })
    }
}

/// A call that can't be carried out, whatever the state of the store.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Invalid {
    #[error("topic name {0:?}: use 1 to 200 letters, digits, '_', '-' and '.', and don't begin with '.'")]
    TopicName(String),

    #[error("topic {0:?} is not declared")]
    UndeclaredTopic(String),

    #[error("topic {0:?} differs from topic {1:?} only in case")]
    TopicCase(String, String),

    #[error("an append needs at least one event")]
    NoEvents,

    #[error("append of {events} events: at most {limit} are allowed")]
    TooManyEvents { events: usize, limit: usize },

    #[error("append of {size} bytes: at most {limit} are allowed")]
    AppendTooLarge { size: usize, limit: usize },

    #[error("key of {size} bytes in topic {topic:?}: at most {limit} are allowed")]
    KeyTooLong { topic: String, size: usize, limit: usize },

    #[error("event of {size} bytes in topic {topic:?}, key {key:?}: at most {limit} are allowed")]
    EventTooLarge { topic: String, key: String, size: usize, limit: usize },

    #[error("value in topic {topic:?}, key {key:?} is not JSON: {reason}")]
    NotJson { topic: String, key: String, reason: String },

    #[error("append id {0} was used for other events")]
    AppendIdReused(String),

    #[error("partition {partition} of topic {topic:?} does not exist")]
    Partition { topic: String, partition: u32 },

    #[error("subscription of group {group:?}: {reason}")]
    Subscription { group: String, reason: &'static str },

    #[error("topic {0:?} holds dead letters and has no dead-letter topic of its own")]
    NoDeadLetterTopic(String),

    #[error("event {offset} of topic {topic:?} is no dead letter")]
    NoDeadLetter { topic: String, offset: u64 },

    #[error("Kafka settings: {0}")]
    KafkaSettings(String),

    #[error("event log {store} refuses topic {topic:?}: {reason}")]
    RefusedTopic { store: String, topic: String, reason: String },

    #[error("event log {store} has layout {found}, this program knows layouts up to {known}")]
    NewerLayout { store: String, found: i64, known: i64 },

    #[error("{store} is a database of another program")]
    ForeignStore { store: String },

    #[error("connection string of a PostgreSQL event log: {0}")]
    Conninfo(String),

    #[error("event log {store} can't be used: {reason}")]
    UnfitStore { store: String, reason: String },

    #[error("event log {store} refused the event: {reason}")]
    Refused { store: String, reason: String },

    #[error("key {key:?} in topic {topic:?} holds a NUL character, which PostgreSQL can't store")]
    KeyNul { topic: String, key: String },
}
