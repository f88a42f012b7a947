//! `spacer topics dead`: the events whose functions failed for good.

use std::collections::HashSet;
use std::sync::mpsc;

use eventlog::{
    dead_header, Append, AppendId, Delivery, Event, NewEvent, Offset, Topic, DEAD_SUFFIX,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::append::place;
use super::letters::{self, Hold, Untouched};
use crate::cli::{Letters, LogOptions};
use crate::error::Error;
use crate::log::Log;
use crate::table::{Align, Table};
use crate::{output, when};

/// How much of an error a table shows.
const ERROR_WIDTH: usize = 120;
/// What the names of a dead letter's own headers begin with.
const DEAD_HEADERS: &str = "spacer-dead-";

/// A dead letter; `topic`, `partition` and `offset` are where it is now.
#[derive(Serialize)]
struct JsonLetter {
    topic: String,
    partition: u32,
    offset: Offset,
    original: Original,
    group: Option<String>,
    key: String,
    attempts: Option<u64>,
    error: Option<String>,
    /// When it died, in milliseconds since 1970.
    time: u64,
    value: Box<RawValue>,
}

#[derive(Serialize)]
struct Original {
    topic: String,
    partition: Option<u64>,
    offset: Option<u64>,
}

pub fn list(topic: Option<&str>, options: &LogOptions) -> Result<(), Error> {
    let log = Log::open(options)?;
    let mut found = Vec::new();
    for dead in dead_topics(&log, topic)? {
        found.extend(letters::pending(&log, &dead)?);
    }
    if options.json {
        let found = found.iter().map(as_json).collect::<Result<Vec<_>, _>>()?;
        return output::print_document(&found);
    }
    if found.is_empty() {
        return output::print("There are no dead letters\n");
    }
    let mut table = Table::new([
        ("TOPIC", Align::Left),
        ("OFFSET", Align::Right),
        ("ORIGINAL", Align::Right),
        ("KEY", Align::Left),
        ("ATTEMPTS", Align::Right),
        ("TIME", Align::Left),
        ("ERROR", Align::Left),
    ]);
    for letter in &found {
        let text = |name| letter.header(name).unwrap_or("-").to_owned();
        table.row([
            letter.topic.to_string(),
            place(letter.partition, letter.offset),
            match number(letter, dead_header::PARTITION) {
                Some(partition) if partition > 0 => {
                    format!("{partition}:{}", text(dead_header::OFFSET))
                }
                _ => text(dead_header::OFFSET),
            },
            output::printable(&letter.key),
            text(dead_header::ATTEMPTS),
            when::format(letter.time),
            output::printable(&output::shortened(&text(dead_header::ERROR), ERROR_WIDTH)),
        ]);
    }
    output::print(&table.render(output::colours()))
}

fn as_json(letter: &Event) -> Result<JsonLetter, Error> {
    let text = |name| letter.header(name).map(String::from);
    Ok(JsonLetter {
        topic: letter.topic.to_string(),
        partition: letter.partition,
        offset: letter.offset,
        original: Original {
            topic: original(letter).to_owned(),
            partition: number(letter, dead_header::PARTITION),
            offset: number(letter, dead_header::OFFSET),
        },
        group: text(dead_header::GROUP),
        key: letter.key.clone(),
        attempts: number(letter, dead_header::ATTEMPTS),
        error: text(dead_header::ERROR),
        time: letter.time.0,
        value: output::raw(&letter.value)?,
    })
}

fn number(letter: &Event, header: &str) -> Option<u64> {
    letter.header(header)?.parse().ok()
}

/// The topic that the event was in.
fn original(letter: &Event) -> &str {
    let named = letter.header(dead_header::TOPIC);
    let name = letter.topic.as_str();
    named.unwrap_or_else(|| name.strip_suffix(DEAD_SUFFIX).unwrap_or(name))
}

/// The dead-letter topic of the topic that is named, by its own name or by this one; or all of them.
fn dead_topics(log: &Log, name: Option<&str>) -> Result<Vec<Topic>, Error> {
    let Some(name) = name else {
        let topics = log.events.topics()?;
        return Ok(topics.into_iter().filter(|topic| topic.dead().is_none()).collect());
    };
    let topic = log.topic(name)?;
    Ok(vec![topic.dead().unwrap_or(topic)])
}

/// What became of a letter.
#[derive(Serialize)]
struct Done {
    topic: String,
    partition: u32,
    offset: Offset,
    key: String,
    /// Where it was appended again.
    #[serde(skip_serializing_if = "Option::is_none")]
    requeued: Option<Original>,
}

pub fn requeue(letters: &Letters) -> Result<(), Error> {
    each(letters, "requeued", |log, batch| {
        let mut done = Vec::new();
        // No more than may wait to be stored.
        for part in batch.chunks(log.application.limits.queue) {
            let appends = part.iter().map(|held| append_again(log, &held.event));
            for (held, stored) in part.iter().zip(appends.collect::<Result<Vec<_>, _>>()?) {
                // The log gives up on its own when the store is away for too long.
                let stored = stored.recv().unwrap_or(Err(eventlog::Error::Closed))?;
                let stored = stored.first();
                done.push(Done {
                    requeued: Some(Original {
                        topic: original(&held.event).to_owned(),
                        partition: stored.map(|stored| stored.partition.into()),
                        offset: stored.map(|stored| stored.offset),
                    }),
                    ..dropped(&held.event)
                });
            }
        }
        Ok(done)
    })
}

type Stored = mpsc::Receiver<eventlog::Result<Vec<eventlog::Stored>>>;

/// Queues a letter's event to be appended to its topic, beside those of other keys.
fn append_again(log: &Log, letter: &Event) -> Result<Stored, Error> {
    let topic = Topic::new(original(letter))?;
    let mut event = NewEvent::new(&topic, letter.key.clone(), letter.value.clone());
    let own = |(name, _): &&(String, String)| !name.starts_with(DEAD_HEADERS);
    event.headers = letter.headers.iter().filter(own).cloned().collect();
    let append = Append { id: append_id(letter), events: vec![event] };
    let (done, stored) = mpsc::channel();
    // Nobody waits for it after an earlier one has failed.
    log.events.submit(append, Box::new(move |outcome| std::mem::drop(done.send(outcome))));
    Ok(stored)
}

pub fn drop(letters: &Letters) -> Result<(), Error> {
    each(letters, "dropped", |_, batch| Ok(batch.iter().map(|held| dropped(&held.event)).collect()))
}

fn dropped(event: &Event) -> Done {
    let Event { topic, partition, offset, key, .. } = event;
    let (topic, key) = (topic.to_string(), key.clone());
    Done { topic, partition: *partition, offset: *offset, key, requeued: None }
}

/// The same for the same letter: when a command dies between the append and the end of the letter, the next one
/// appends nothing.
fn append_id(letter: &Event) -> AppendId {
    // FNV-1a, 32 bits: offset and partition tell the letters of a topic apart, this the topics.
    let fnv = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let topic = letter.topic.as_str().as_bytes().iter().fold(0x811c_9dc5, fnv);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&letter.offset.to_be_bytes());
    id[8..12].copy_from_slice(&letter.partition.to_be_bytes());
    id[12..].copy_from_slice(&topic.to_be_bytes());
    AppendId(id)
}

fn each(
    chosen: &Letters,
    what: &str,
    deal: impl Fn(&Log, &[Delivery]) -> Result<Vec<Done>, Error>,
) -> Result<(), Error> {
    let log = Log::open(&chosen.log)?;
    let wanted: HashSet<(u32, Offset)> = chosen.letters.iter().copied().collect();
    let is_wanted = |e: &Event| chosen.all || wanted.contains(&(e.partition, e.offset));
    let (mut done, mut wrong) = (Vec::new(), Vec::new());
    for dead in dead_topics(&log, chosen.topic.as_deref())? {
        let mut hold = Hold::new(&log, &dead)?;
        let result = hold.each(is_wanted, |batch| {
            done.extend(deal(&log, batch)?);
            Ok(())
        });
        if let Err(error) = result {
            // What was done before is said, too.
            report(&done, what, chosen.log.json)?;
            return Err(error);
        }
        for &(partition, offset) in &chosen.letters {
            let is_done = |d: &Done| (d.partition, d.offset) == (partition, offset);
            if !done.iter().any(is_done) {
                wrong.push(untouched(&log, &hold, &dead, (partition, offset))?);
            }
        }
    }
    report(&done, what, chosen.log.json)?;
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Error::Letters(wrong)),
    }
}

fn untouched(
    log: &Log,
    hold: &Hold,
    dead: &Topic,
    (partition, offset): (u32, Offset),
) -> Result<String, Error> {
    let place = place(partition, offset);
    let mut letter = None;
    if log.events.offsets(dead)?.iter().any(|extent| extent.partition == partition) {
        log.scan(dead, partition, offset, None, |event| {
            letter = Some(event).filter(|event| event.offset == offset);
            Ok(false)
        })?;
    }
    Ok(match letter.as_ref().map(|letter| hold.untouched(letter)) {
        None => format!("{dead} has no letter {place}: `spacer topics dead list` shows which there are"),
        Some(Untouched::Before) => format!("letter {place} of {dead} was requeued or dropped before"),
        Some(Untouched::Behind { key, offset }) => format!(
            "letter {place} of {dead} comes after letter {} of the same key {key:?}: deal with that one first, or with both at once",
            self::place(partition, offset)
        ),
    })
}

fn report(done: &[Done], what: &str, json: bool) -> Result<(), Error> {
    if json {
        return output::print_document(&done);
    }
    let mut text = String::new();
    for letter in done {
        let place = place(letter.partition, letter.offset);
        let again = letter.requeued.as_ref().map(|again| match again.offset {
            Some(offset) => format!(" to {} as {offset}", again.topic),
            None => format!(" to {}", again.topic),
        });
        text += &format!(
            "{}: letter {place}, key {:?}, {what}{}\n",
            letter.topic,
            letter.key,
            again.unwrap_or_default()
        );
    }
    if done.is_empty() {
        text = format!("No dead letter was {what}\n");
    }
    output::print(&text)
}
