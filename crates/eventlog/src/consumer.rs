//! Consumer groups: how the members of a group share a topic's events.
//!
//! A member *claims* events, runs their functions, and *settles* each: finished, to be retried, or dead. While an event
//! is claimed or waits for its retry, later events of its key stay behind it, and other keys go on. The group's
//! committed position follows the finished events. A member keeps its claims while it calls [`Consumer::claim`] or
//! [`Consumer::extend`] at least once in each lease; when it dies, the others get them when the lease has run out.

use std::time::Duration;

use crate::{Error, Event, Headers, Invalid, Offset, Result, Timestamp, Topic};

/// Where a group begins in a topic that it has no position in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With the first event that is left.
    #[default]
    Earliest,
    /// With the first event appended after the group was made.
    Latest,
    /// With this offset, in every partition.
    Offset(Offset),
    /// With the first event stored at this time or later.
    Time(Timestamp),
}

/// What a member of a group wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub group: String,
    pub topics: Vec<Topic>,
    /// This member's name, unique among the living members of the group.
    pub member: String,
    pub start: Start,
    /// How many events this member may have in hand. Default 64.
    pub concurrency: usize,
    /// How long the member keeps its claims without a sign of life. Default 6 s.
    pub lease: Duration,
}

impl Subscription {
    pub fn new(group: &str, topics: &[Topic], member: &str) -> Subscription {
        Subscription {
            group: group.to_owned(),
            topics: topics.to_vec(),
            member: member.to_owned(),
            start: Start::Earliest,
            concurrency: 64,
            lease: Duration::from_secs(6),
        }
    }

    pub(crate) fn replaced(&self) -> Error {
        Error::Replaced { group: self.group.clone(), member: self.member.clone() }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let wrong =
            |reason| Err(Invalid::Subscription { group: self.group.clone(), reason }.into());
        match () {
            () if self.group.is_empty() => wrong("the group has no name"),
            () if self.member.is_empty() => wrong("the member has no name"),
            () if self.topics.is_empty() => wrong("no topic is named"),
            () if self.concurrency == 0 => wrong("a concurrency of 0 claims nothing"),
            () if self.lease.is_zero() => wrong("a lease of 0 ends at once"),
            () => Ok(()),
        }
    }
}

/// A member's hold on an event. It names one handing-out: after a take-over the old claim is worth nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    pub topic: Topic,
    pub partition: u32,
    pub offset: Offset,
    pub attempt: u32,
    /// Which life of which member holds it.
    pub(crate) epoch: u64,
}

/// An event handed to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub event: Event,
    pub claim: Claim,
}

impl Delivery {
    /// 1 when the event is handed out for the first time.
    pub fn attempt(&self) -> u32 {
        self.claim.attempt
    }
}

/// How the handling of an event ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its function returned.
    Finished,
    /// Hand it out again after the delay; its key waits.
    Retry(Duration),
    /// Store it in the dead-letter topic with this error, and go on.
    Dead(String),
    /// It was not begun: hand it out again, and don't count the attempt.
    Released,
}

/// What became of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Done,
    /// The claim was another member's by then, or settled before: nothing was changed.
    Lost,
}

/// A member of a consumer group. Dropping it gives its claims back, like [`Consumer::leave`], but waits for nothing.
pub trait Consumer: Send + Sync {
    /// Claims up to `max` events that may run at this moment, within the member's concurrency. Waits up to `timeout`
    /// for the first one, and is woken when one arrives; an empty answer means that none did. Extends the lease.
    fn claim(&self, max: usize, timeout: Duration) -> Result<Vec<Delivery>>;

    /// Settles claims, all in one commit. A dead letter and the end of its event are one transaction where the store
    /// has them; in the log's other stores a crash may repeat the dead letter.
    fn settle(&self, settlements: &[(Claim, Outcome)]) -> Result<Vec<Settled>>;

    /// A sign of life, for while no event is claimed. Call it at least twice in each lease.
    fn extend(&self) -> Result<()>;

    /// Ends a [`Consumer::claim`] that is waiting, and makes later ones return without waiting.
    fn interrupt(&self);

    /// Gives the claims back and leaves the group.
    fn leave(self: Box<Self>) -> Result<()>;

    /// Settles one claim as finished.
    fn finish(&self, claim: &Claim) -> Result<Settled> {
        self.settle_one(claim, Outcome::Finished)
    }

    /// Settles one claim.
    fn settle_one(&self, claim: &Claim, outcome: Outcome) -> Result<Settled> {
        let settled = self.settle(&[(claim.clone(), outcome)])?;
        Ok(settled.first().copied().unwrap_or(Settled::Lost))
    }
}

/// The headers of a dead letter, after those that its event had.
pub mod dead_header {
    pub const ERROR: &str = "spacer-dead-error";
    pub const TOPIC: &str = "spacer-dead-topic";
    pub const PARTITION: &str = "spacer-dead-partition";
    pub const OFFSET: &str = "spacer-dead-offset";
    pub const GROUP: &str = "spacer-dead-group";
    pub const ATTEMPTS: &str = "spacer-dead-attempts";
    /// On a mark that ends a letter instead: how it ended. See [`dead_letter`](crate::dead_letter).
    pub const ENDED: &str = "spacer-dead-ended";
    /// And the offset of the letter that it ends.
    pub const LETTER: &str = "spacer-dead-letter";
    /// What all of them begin with.
    pub const PREFIX: &str = "spacer-dead-";
}

/// An event's headers and why it died.
pub(crate) fn dead_headers(
    mut headers: Headers,
    claim: &Claim,
    group: &str,
    error: &str,
) -> Headers {
    // A dead letter that was requeued and died again says only why it died last.
    headers.retain(|(name, _)| !name.starts_with(dead_header::PREFIX));
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
    add(dead_header::ERROR, error.to_owned());
    add(dead_header::TOPIC, claim.topic.to_string());
    add(dead_header::PARTITION, claim.partition.to_string());
    add(dead_header::OFFSET, claim.offset.to_string());
    add(dead_header::GROUP, group.to_owned());
    add(dead_header::ATTEMPTS, claim.attempt.to_string());
    headers
}

/// How many events of a topic a group may have taken in without having finished them. When one key is stuck, others
/// run until so many of its events have piled up behind it.
pub(crate) const WINDOW: usize = 10_000;

/// A name for one life of a member: random, so that no two ever agree, and not negative as an SQL integer.
pub(crate) fn new_epoch() -> u64 {
    let [.., a, b, c, d, e, f, g, h] = crate::AppendId::random().0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h]) >> 1
}
