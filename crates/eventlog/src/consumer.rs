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
    /// Where it begins instead in some of the topics.
    pub starts: Vec<(Topic, Start)>,
    /// How many events this member may have in hand. Default 64.
    pub concurrency: usize,
    /// How long the member keeps its claims without a sign of life. Default 6 s.
    pub lease: Duration,
    /// How long an event waits whose attempt ended with its member. Default: not at all.
    pub backoff: Backoff,
}

/// A wait that is doubled after each attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backoff {
    /// After the first attempt.
    pub first: Duration,
    /// What it grows to.
    pub longest: Duration,
}

impl Backoff {
    /// The wait after an attempt, the first one being 1.
    pub fn after(&self, attempt: u32) -> Duration {
        let doubled = 2u32.saturating_pow(attempt.saturating_sub(1));
        self.first.saturating_mul(doubled).min(self.longest)
    }
}

impl Subscription {
    pub fn new(group: &str, topics: &[Topic], member: &str) -> Subscription {
        Subscription {
            group: group.to_owned(),
            topics: topics.to_vec(),
            member: member.to_owned(),
            start: Start::Earliest,
            starts: Vec::new(),
            concurrency: 64,
            lease: Duration::from_secs(6),
            backoff: Backoff::default(),
        }
    }

    /// Where the group begins in a topic that it has no position in.
    pub(crate) fn start_of(&self, topic: &Topic) -> Start {
        let own = self.starts.iter().find(|(of, _)| of == topic);
        own.map_or(self.start, |(_, start)| *start)
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
    /// Which handing-out of the event this is, those included that weren't counted as attempts.
    pub(crate) turn: u32,
    /// How far earlier attempts have come, as the last one that was to be resumed has said.
    pub step: u32,
    /// Which life of which member holds it.
    pub(crate) epoch: u64,
}

/// How many bits of a token number an event's handings-out.
const TURN_BITS: u32 = 12;

impl Claim {
    /// A number that grows with each handing-out of an event and from one event of a key to the next, for stores that
    /// refuse what comes with a smaller one than the last. Exact in a double up to offset 2^41; the handings-out of an event have one number
    /// from the 4095th on.
    pub fn token(&self) -> u64 {
        let turn = u64::from(self.turn).min((1 << TURN_BITS) - 1);
        self.offset.saturating_mul(1 << TURN_BITS).saturating_add(turn)
    }
}

/// A claim, and the group that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    pub group: String,
    pub claim: Claim,
}

impl Fence {
    pub(crate) fn lost(&self) -> Error {
        Error::Fenced { topic: self.claim.topic.to_string(), offset: self.claim.offset }
    }
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

    /// 0, or what the last [`Outcome::Resume`] of the event has said.
    pub fn step(&self) -> u32 {
        self.claim.step
    }
}

/// How the handling of an event ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its function returned.
    Finished,
    /// Hand it out again after the delay; its key waits.
    Retry(Duration),
    /// The same, and the next attempt is told by [`Delivery::step`] how far this one has come.
    Resume { delay: Duration, step: u32 },
    /// Store it in the dead-letter topic with this error, and go on.
    Dead(String),
    /// The same without this attempt, which was not begun: those before it have ended with their members.
    GivenUp(String),
    /// It was not begun: hand it out again, and don't count the attempt.
    Released,
}

impl Outcome {
    /// When the event is to be handed out again, if it is, and where it is resumed if that is to change. Uncounted without a delay.
    pub(crate) fn again(&self) -> Option<(Option<Duration>, Option<u32>)> {
        match self {
            Outcome::Retry(delay) => Some((Some(*delay), None)),
            Outcome::Resume { delay, step } => Some((Some(*delay), Some(*step))),
            Outcome::Released => Some((None, None)),
            Outcome::Finished | Outcome::Dead(_) | Outcome::GivenUp(_) => None,
        }
    }
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

    /// A number that changes when claims were lost, to be looked at after each call.
    fn generation(&self) -> u64;

    /// Whether the claim isn't lost, as far as the member knows.
    fn holds(&self, claim: &Claim) -> bool;

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
    death: Death<'_>,
) -> Headers {
    // A dead letter that was requeued and died again says only why it died last.
    headers.retain(|(name, _)| !name.starts_with(dead_header::PREFIX));
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
    add(dead_header::ERROR, cut(death.error).to_owned());
    add(dead_header::TOPIC, claim.topic.to_string());
    add(dead_header::PARTITION, claim.partition.to_string());
    add(dead_header::OFFSET, claim.offset.to_string());
    add(dead_header::GROUP, group.to_owned());
    add(dead_header::ATTEMPTS, (claim.attempt - u32::from(!death.begun)).to_string());
    headers
}

/// Why an event is dead.
#[derive(Clone, Copy)]
pub(crate) struct Death<'a> {
    pub error: &'a str,
    /// Whether the last attempt was begun.
    pub begun: bool,
}

impl Outcome {
    /// Why the event is dead, if it is.
    pub(crate) fn death(&self) -> Option<Death<'_>> {
        let (error, begun) = match self {
            Outcome::Dead(error) => (error, true),
            Outcome::GivenUp(error) => (error, false),
            Outcome::Finished | Outcome::Retry(_) | Outcome::Resume { .. } | Outcome::Released => {
                return None
            }
        };
        Some(Death { error, begun })
    }
}

/// The longest error in a dead letter; Kafka's records have a limit, and nobody reads more.
const ERROR_MAX: usize = 16 << 10;

fn cut(error: &str) -> &str {
    let mut end = error.len().min(ERROR_MAX);
    while !error.is_char_boundary(end) {
        end -= 1;
    }
    &error[..end]
}

/// How many events of a topic a group may have taken in without having finished them. When one key is stuck, others
/// run until so many of its events have piled up behind it.
pub(crate) const WINDOW: usize = 10_000;

/// A name for one life of a member: random, so that no two ever agree, and not negative as an SQL integer.
pub(crate) fn new_epoch() -> u64 {
    let [.., a, b, c, d, e, f, g, h] = crate::AppendId::random().0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h]) >> 1
}
