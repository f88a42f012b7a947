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
//! [`is_mark`]; [`read`] and [`last`] leave them out.

use std::collections::HashMap;
use std::sync::mpsc;

use crate::{
    dead_header, Append, AppendId, Error, Event, EventLog, Invalid, NewEvent, Offset, Read, Result,
    Settled, Stored, Topic, DEAD_SUFFIX,
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
    pub fn as_str(self) -> &'static str {
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

/// What became of a letter that was to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// [`Settled::Lost`] if it has ended in another way.
    pub settled: Settled,
    /// Where a requeued event is stored.
    pub requeued: Option<Stored>,
}

/// Appends the event of a dead letter to its topic again, without the headers that said why it died, and ends the
/// letter. [`Settled::Lost`] if it has ended already. Whoever requeues at the same moment gets the same answer, and the
/// event is stored once.
pub fn requeue(log: &dyn EventLog, letter: &Event) -> Result<Settled> {
    end(log, letter, Ended::Requeued)
}

/// Ends a dead letter without its event being handled; it stays in the log. [`Settled::Lost`] if it has ended already.
pub fn drop(log: &dyn EventLog, letter: &Event) -> Result<Settled> {
    end(log, letter, Ended::Dropped)
}

fn end(log: &dyn EventLog, letter: &Event, ended: Ended) -> Result<Settled> {
    let mut open = true;
    let (partition, from, key) =
        (letter.partition, letter.offset.saturating_add(1), Some(letter.key.clone()));
    scan(log, &letter.topic, Read { partition, from, key, ..Read::default() }, |event| {
        open = mark(&event).is_none_or(|(offset, _)| offset != letter.offset);
        Ok(open)
    })?;
    // Whoever is no letter is told so, ended or not.
    let append = append_of(letter, ended)?;
    match open {
        true => Ok(ending(log.append(append), ended)?.settled),
        false => Ok(Settled::Lost),
    }
}

/// Ends letters that [`each`] has found open a moment ago, in their order and in as few commits as the driver makes of
/// it. The answers are those to the letters, one by one. A letter that another has ended in the same way since is
/// answered with where that has stored its event, as long as the log remembers appends
/// ([`Limits::dedup_window`](crate::Limits::dedup_window)); after that it would end twice.
///
/// All of the appends wait at the same time, two events for a letter: more than [`Limits::queue`](crate::Limits::queue)
/// allows are answered with [`Error::Full`].
pub fn end_all(log: &dyn EventLog, letters: &[Event], ended: Ended) -> Vec<Result<Ending>> {
    let submit = |letter: &Event| {
        let append = append_of(letter, ended)?;
        let (done, outcome) = mpsc::channel();
        // The receiver lives until it has an answer.
        log.submit(append, Box::new(move |stored| std::mem::drop(done.send(stored))));
        Ok(outcome)
    };
    let waiting: Vec<Result<_>> = letters.iter().map(submit).collect();
    let answer = |outcome: mpsc::Receiver<_>| {
        // The driver gives up on its own when the store is away for too long.
        ending(outcome.recv().unwrap_or(Err(Error::Closed)), ended)
    };
    waiting.into_iter().map(|outcome| outcome.and_then(answer)).collect()
}

/// What ends a letter, whoever ends it.
fn append_of(letter: &Event, ended: Ended) -> Result<Append> {
    if is_mark(letter) {
        return Err(no_letter(letter).into());
    }
    let topic = letter.topic.as_str().strip_suffix(DEAD_SUFFIX);
    let topic = Topic::new(topic.ok_or_else(|| no_letter(letter))?)?;
    let mut events = Vec::new();
    if ended == Ended::Requeued {
        let mut headers = letter.headers.clone();
        headers.retain(|(name, _)| !name.starts_with(dead_header::PREFIX));
        let (key, value) = (letter.key.clone(), letter.value.clone());
        events.push(NewEvent { topic, key, value, headers });
    }
    let headers = vec![
        (dead_header::ENDED.to_owned(), ended.as_str().to_owned()),
        (dead_header::LETTER.to_owned(), letter.offset.to_string()),
    ];
    let (topic, key) = (letter.topic.clone(), letter.key.clone());
    events.push(NewEvent { topic, key, value: b"null".to_vec(), headers });
    Ok(Append { id: id(letter), events, fence: None })
}

fn ending(outcome: Result<Vec<Stored>>, ended: Ended) -> Result<Ending> {
    match outcome {
        Ok(stored) => {
            let requeued = stored.first().copied().filter(|_| ended == Ended::Requeued);
            Ok(Ending { settled: Settled::Done, requeued })
        }
        // Ended otherwise at this very moment.
        Err(Error::Invalid(Invalid::AppendIdReused(_))) => {
            Ok(Ending { settled: Settled::Lost, requeued: None })
        }
        Err(error) => Err(error),
    }
}

/// Reads a topic as [`EventLog::read`] does, without the marks of a dead-letter topic. Answers with the offset to go on
/// from as well, which is beyond marks.
pub fn read(log: &dyn EventLog, topic: &Topic, read: &Read) -> Result<(Vec<Event>, Offset)> {
    let mut read = read.clone();
    let mut found = Vec::new();
    while read.limit > 0 && read.size > 0 {
        let events = log.read(topic, &read)?;
        let Some(last) = events.last() else { break };
        read.from = last.offset.saturating_add(1);
        let all = events.len();
        let letters: Vec<Event> = events.into_iter().filter(|event| !is_mark(event)).collect();
        let marks = all - letters.len();
        read.limit -= letters.len();
        read.size = read.size.saturating_sub(letters.iter().map(Event::size).sum());
        found.extend(letters);
        // Only where marks were left out is there room for more.
        if marks == 0 {
            break;
        }
    }
    Ok((found, read.from))
}

/// The newest event of a key as [`EventLog::last`] gives it, or in a dead-letter topic the newest letter.
pub fn last(log: &dyn EventLog, topic: &Topic, key: &str) -> Result<Option<Event>> {
    let mut last = log.last(topic, key)?;
    let Some(partition) = last.as_ref().filter(|last| is_mark(last)).map(|mark| mark.partition)
    else {
        return Ok(last);
    };
    let read = Read { partition, key: Some(key.to_owned()), ..Read::default() };
    last = None;
    scan(log, topic, read, |event| {
        if !is_mark(&event) {
            last = Some(event);
        }
        Ok(true)
    })?;
    Ok(last)
}

/// Whether the event is a mark in a dead-letter topic.
pub fn is_mark(event: &Event) -> bool {
    event.topic.dead().is_none() && mark(event).is_some()
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
