//! Which dead letters are still to be dealt with.
//!
//! That is what the consumer group `spacer-dead` has not finished in a dead-letter topic. Like every group it goes on in
//! the order of each key: a key's second letter can be finished after its first one only. So the first unfinished letter
//! of each key, which claiming gives, says which are left.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use eventlog::{Consumer, Delivery, Event, Offset, Outcome, Settled, Subscription, Topic};

use crate::error::Error;
use crate::log::Log;

pub const GROUP: &str = "spacer-dead";
/// One name for all, so that what a killed command had in hand is free again at once.
const MEMBER: &str = "spacer";
/// A group may need time to settle on who has which partition.
const JOINING: Duration = Duration::from_secs(10);
/// After the first claims: whether more follow.
const LAST: Duration = Duration::from_millis(200);
const IN_HAND: usize = 10_000;
/// Letters that are dealt with at once.
const BATCH: usize = 64;

/// What the group has not finished of a partition.
struct Left {
    partition: u32,
    from: Offset,
    /// `None` when the group has no position yet: everything.
    lag: Option<u64>,
    events: u64,
}

fn left(log: &Log, dead: &Topic) -> Result<Vec<Left>, Error> {
    let partitions = log.events.offsets(dead)?.into_iter();
    Ok(partitions
        .map(|extent| {
            let position = extent.groups.iter().find(|position| position.group == GROUP);
            Left {
                partition: extent.partition,
                from: position.map_or(extent.first, |position| position.committed),
                lag: position.map(|position| position.lag),
                events: extent.next.saturating_sub(extent.first),
            }
        })
        .collect())
}

/// How many letters are to be dealt with.
pub fn count(log: &Log, dead: &Topic) -> Result<u64, Error> {
    Ok(left(log, dead)?.iter().map(|left| left.lag.unwrap_or(left.events)).sum())
}

/// The letters to be dealt with.
pub fn pending(log: &Log, dead: &Topic) -> Result<Vec<Event>, Error> {
    let mut letters = Vec::new();
    let mut first: Option<HashMap<String, Offset>> = None;
    for left in left(log, dead)? {
        let mut events = Vec::new();
        log.scan(dead, left.partition, left.from, None, |event| {
            events.push(event);
            Ok(true)
        })?;
        let lag = left.lag.unwrap_or(u64::MAX);
        if lag < events.len() as u64 {
            // Some behind the position were finished out of order.
            if first.is_none() {
                first = Some(Hold::new(log, dead)?.first_offsets()?);
            }
            let first = first.as_ref();
            let is_left = |event: &Event| {
                first.and_then(|first| first.get(&event.key)).is_some_and(|at| event.offset >= *at)
            };
            let mut kept: Vec<bool> = events.iter().map(is_left).collect();
            // A group takes in so many events at a time; what it has not come to is at the end.
            let mut untouched =
                lag.saturating_sub(kept.iter().filter(|kept| **kept).count() as u64);
            for kept in kept.iter_mut().rev().filter(|kept| !**kept) {
                if untouched == 0 {
                    break;
                }
                *kept = true;
                untouched -= 1;
            }
            let mut kept = kept.into_iter();
            events.retain(|_| kept.next().unwrap_or(true));
        }
        letters.extend(events);
    }
    Ok(letters)
}

/// The group's claims while a command deals with letters. Dropping it gives back what is still in hand.
pub struct Hold {
    member: Box<dyn Consumer>,
    in_hand: Vec<Delivery>,
    left: u64,
}

/// Why a letter was not dealt with.
pub enum Untouched {
    /// An earlier letter of its key is in the way.
    Behind { key: String, offset: Offset },
    /// It was dealt with before.
    Before,
}

impl Hold {
    pub fn new(log: &Log, dead: &Topic) -> Result<Hold, Error> {
        let mut subscription = Subscription::new(GROUP, std::slice::from_ref(dead), MEMBER);
        subscription.concurrency = IN_HAND;
        let member = log.events.join(subscription)?;
        Ok(Hold { member, in_hand: Vec::new(), left: count(log, dead)? })
    }

    /// The first letter of each key that is to be dealt with.
    fn first_offsets(mut self) -> Result<HashMap<String, Offset>, Error> {
        self.each(|_| false, |_| Ok(()))?;
        let letters = self.in_hand.into_iter().map(|held| held.event);
        Ok(letters.map(|event| (event.key, event.offset)).collect())
    }

    /// Claims letters and deals with those that are wanted, batch by batch; each is finished after `deal` has returned.
    pub fn each(
        &mut self,
        wanted: impl Fn(&Event) -> bool,
        mut deal: impl FnMut(&[Delivery]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let joining = Instant::now() + JOINING;
        let mut joined = false;
        loop {
            if self.left == self.in_hand.len() as u64 {
                return Ok(());
            }
            let claimed = self.member.claim(BATCH, LAST)?;
            joined |= !claimed.is_empty();
            if claimed.is_empty() && (joined || Instant::now() >= joining) {
                return Ok(());
            }
            let (batch, others) = claimed.into_iter().partition::<Vec<_>, _>(|d| wanted(&d.event));
            self.in_hand.extend(others);
            if batch.is_empty() {
                continue;
            }
            deal(&batch)?;
            let finished: Vec<_> =
                batch.iter().map(|held| (held.claim.clone(), Outcome::Finished)).collect();
            if self.member.settle(&finished)?.contains(&Settled::Lost) {
                return Err(Error::LettersLost);
            }
            self.left = self.left.saturating_sub(batch.len() as u64);
        }
    }

    /// Why a letter that is in the topic was not among the claims.
    pub fn untouched(&self, letter: &Event) -> Untouched {
        let mut in_hand = self.in_hand.iter().map(|held| &held.event);
        match in_hand.find(|e| e.key == letter.key && e.offset < letter.offset) {
            Some(first) => Untouched::Behind { key: letter.key.clone(), offset: first.offset },
            None => Untouched::Before,
        }
    }
}
