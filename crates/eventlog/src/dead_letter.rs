//! Dead letters: which are left, and how one ends.
//!
//! ```
//! use eventlog::{dead_letter, Driver, Limits, Topic};
//!
//! let log = eventlog::open(&Driver::Memory, Limits::default())?;
//! let orders = Topic::new("orders")?;
//! log.declare(&[orders.clone()])?;
//! let mut left = Vec::new();
//! dead_letter::each(&*log, &orders, |letter, ended| {
//!     left.extend(ended.is_none().then_some(letter));
//!     Ok(())
//! })?;
//! for letter in left {
//!     dead_letter::requeue(&*log, &letter)?;
//! }
//! # Ok::<(), eventlog::Error>(())
//! ```
//!
//! This needs no more of a driver than reading and appending. A dead letter is ended by a *mark*, an event of the same key
//! in the same dead-letter topic whose headers say which letter it ends, and how. A requeued event and the mark are one
//! append, so that either both are stored or none, and its id follows from the letter's place, so that of two that
//! are made at the same moment one is stored. A consumer group can't do this: it holds the letters of a key in order, where
//! a person wants to drop the third and keep the first two.
//!
//! Who reads a dead-letter topic with a consumer group of their own gets the marks as well, and tells them by
//! [`dead_header::ENDED`].

use std::collections::HashMap;

use crate::{
    dead_header, Append, AppendId, Error, Event, EventLog, Invalid, NewEvent, Offset, Read, Result,
    Settled, Topic, DEAD_SUFFIX,
};

/// How a dead letter ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Its event was appended to its topic again.
    Requeued,
    /// It was given up.
    Dropped,
}

impl Ended {
    fn as_str(self) -> &'static str {
        match self {
            Ended::Requeued => "requeued",
            Ended::Dropped => "dropped",
        }
    }
}

/// Calls `visit` with each dead letter of a topic that is in the log, oldest first in each partition, and with how it
/// ended, if it did. Reads the dead-letter topic twice, and keeps the marks in memory, not the letters.
pub fn each(
    log: &dyn EventLog,
    topic: &Topic,
    mut visit: impl FnMut(Event, Option<Ended>) -> Result<()>,
) -> Result<()> {
    let dead = topic.dead_or_invalid()?;
    for partition in log.offsets(&dead)? {
        let read = Read { partition: partition.partition, ..Read::default() };
        let mut ends = HashMap::new();
        scan(log, &dead, read.clone(), |event| {
            ends.extend(mark(&event));
            Ok(true)
        })?;
        scan(log, &dead, read, |event| {
            if mark(&event).is_none() {
                let ended = ends.get(&event.offset).copied();
                visit(event, ended)?;
            }
            Ok(true)
        })?;
    }
    Ok(())
}

/// Appends the event of a dead letter to its topic again, without the headers that said why it died, and ends the
/// letter. [`Settled::Lost`] if it has ended already. Whoever requeues at the same moment gets the same answer, and the
/// event is stored once.
pub fn requeue(log: &dyn EventLog, letter: &Event) -> Result<Settled> {
    let topic = letter.topic.as_str().strip_suffix(DEAD_SUFFIX);
    let topic = Topic::new(topic.ok_or_else(|| no_letter(letter))?)?;
    let mut headers = letter.headers.clone();
    headers.retain(|(name, _)| !name.starts_with(dead_header::PREFIX));
    let (key, value) = (letter.key.clone(), letter.value.clone());
    end(log, letter, Ended::Requeued, Some(NewEvent { topic, key, value, headers }))
}

/// Ends a dead letter without its event being handled; it stays in the log. [`Settled::Lost`] if it has ended already.
pub fn drop(log: &dyn EventLog, letter: &Event) -> Result<Settled> {
    end(log, letter, Ended::Dropped, None)
}

fn end(
    log: &dyn EventLog,
    letter: &Event,
    ended: Ended,
    requeued: Option<NewEvent>,
) -> Result<Settled> {
    if letter.topic.dead().is_some() || mark(letter).is_some() {
        return Err(no_letter(letter).into());
    }
    let mut open = true;
    let (partition, from, key) =
        (letter.partition, letter.offset.saturating_add(1), Some(letter.key.clone()));
    scan(log, &letter.topic, Read { partition, from, key, ..Read::default() }, |event| {
        open = mark(&event).is_none_or(|(offset, _)| offset != letter.offset);
        Ok(open)
    })?;
    if !open {
        return Ok(Settled::Lost);
    }
    let headers = vec![
        (dead_header::ENDED.to_owned(), ended.as_str().to_owned()),
        (dead_header::LETTER.to_owned(), letter.offset.to_string()),
    ];
    let mark = NewEvent {
        topic: letter.topic.clone(),
        key: letter.key.clone(),
        value: b"null".to_vec(),
        headers,
    };
    let events = requeued.into_iter().chain([mark]).collect();
    match log.append(Append { id: id(letter), events }) {
        Ok(_) => Ok(Settled::Done),
        // Ended otherwise at this very moment.
        Err(Error::Invalid(Invalid::AppendIdReused(_))) => Ok(Settled::Lost),
        Err(error) => Err(error),
    }
}

/// Which letter of its partition the event ends, and how, if it is a mark.
fn mark(event: &Event) -> Option<(Offset, Ended)> {
    let ended = event.header(dead_header::ENDED)?;
    let ended = [Ended::Requeued, Ended::Dropped].into_iter().find(|e| e.as_str() == ended)?;
    Some((event.header(dead_header::LETTER)?.parse().ok()?, ended))
}

/// Calls `visit` with the events from `read.from` on until it says that it has seen enough.
fn scan(
    log: &dyn EventLog,
    topic: &Topic,
    mut read: Read,
    mut visit: impl FnMut(Event) -> Result<bool>,
) -> Result<()> {
    loop {
        let events = log.read(topic, &read)?;
        let Some(last) = events.last() else { return Ok(()) };
        read.from = last.offset.saturating_add(1);
        for event in events {
            if !visit(event)? {
                return Ok(());
            }
        }
    }
}

fn no_letter(event: &Event) -> Invalid {
    Invalid::NoDeadLetter { topic: event.topic.to_string(), offset: event.offset }
}

/// The id of the append that ends a letter: the same for all who end it. Its hash is FNV-1a of 128 bits
/// (<http://www.isthe.com/chongo/tech/comp/fnv/>), which needs no secret: the letters are our own.
fn id(letter: &Event) -> AppendId {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0100_0000_0000_0000_0000_013b;
    let Event { topic, partition, offset, time, .. } = letter;
    let name = format!("dead letter {topic} {partition} {offset} {}", time.0);
    let step = |hash: u128, byte: u8| (hash ^ u128::from(byte)).wrapping_mul(PRIME);
    AppendId(name.bytes().fold(BASIS, step).to_be_bytes())
}
