//! The log's trait: what every driver does, and what its users may rely on.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::{
    Append, Consumer, Error, Event, Offset, PartitionOffsets, Read, Result, Stored, Subscription,
    Timestamp, Topic,
};

/// What a driver has beyond the append timeout to say itself why an append has failed.
pub const LAST_WORD: Duration = Duration::from_millis(250);

/// Receives an append's outcome, on the caller's thread or one of the driver's: it must not block or panic.
pub type Done = Box<dyn FnOnce(Result<Vec<Stored>>) + Send>;

/// A durable, ordered log of topics.
///
/// * An append that was acknowledged survives the death of every process and is in the log exactly once.
/// * Offsets grow in commit order: whoever has read up to an offset will never find a new event below it.
/// * [`join`](EventLog::join) shares a topic's events among the consumers of a group, in the order of each key.
///
/// Calls block, [`submit`](EventLog::submit) excepted. A log is opened after `fork`, in the process that uses it.
pub trait EventLog: Send + Sync {
    /// Creates the topics, and the dead-letter topic of each, where they don't exist.
    fn declare(&self, topics: &[Topic]) -> Result<()>;

    /// Every declared topic, dead-letter topics included, by name.
    fn topics(&self) -> Result<Vec<Topic>>;

    /// Queues an append, and calls `done` when it is durable or has failed, within the limits' `append_timeout` unless
    /// the store's disk hangs. Appends that wait at the same moment share a commit.
    fn submit(&self, append: Append, done: Done);

    /// Appends and waits for [`append_timeout`](EventLog::append_timeout), by which the driver says why it failed, and at most
    /// a moment longer. After [`Error::Unavailable`] the
    /// events may be stored or not: retry with the same id.
    fn append(&self, append: Append) -> Result<Vec<Stored>> {
        let deadline = Instant::now() + self.append_timeout() + LAST_WORD;
        let (send, receive) = mpsc::channel();
        // The receiver is gone when the wait timed out; nobody is left to tell.
        self.submit(append, Box::new(move |outcome| drop(send.send(outcome))));
        match receive.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(outcome) => outcome,
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(Error::Closed),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(Error::Unavailable {
                store: self.store(),
                reason: format!("no answer to an append within {:?}", self.append_timeout()),
            }),
        }
    }

    /// The store's name in messages: a path or an address, without secrets.
    fn store(&self) -> String;

    /// See [`Limits::append_timeout`](crate::Limits::append_timeout).
    fn append_timeout(&self) -> Duration;

    /// Events in the order of their offsets.
    fn read(&self, topic: &Topic, read: &Read) -> Result<Vec<Event>>;

    /// The newest event of a key.
    fn last(&self, topic: &Topic, key: &str) -> Result<Option<Event>>;

    /// The extent of each partition, and the position and lag of each group in it.
    fn offsets(&self, topic: &Topic) -> Result<Vec<PartitionOffsets>>;

    /// The first offset whose event was stored at `time` or later; the partition's `next` if there is none.
    fn offset_at(&self, topic: &Topic, partition: u32, time: Timestamp) -> Result<Offset>;

    /// Gives each of `groups` that has no position in the topic that of `from`, with what that has not finished, and ends `from` there, all at
    /// once. Nothing happens if `from` has no position. No member of `from` may be at work.
    fn adopt(&self, topic: &Topic, from: &str, groups: &[String]) -> Result<()>;

    /// Makes a member of a consumer group. A living member of the same name in the group is replaced: its claims
    /// become free and it gets [`Settled::Lost`](crate::Settled::Lost) for them.
    fn join(&self, subscription: Subscription) -> Result<Box<dyn Consumer>>;
}
