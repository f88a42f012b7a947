//! `spacer topics dead`: the events whose functions failed for good.

use std::collections::BTreeMap;

use eventlog::dead_letter::{self, Ended};
use eventlog::{dead_header, Event, Offset, Settled, Stored, Topic, DEAD_SUFFIX};
use serde::Serialize;
use serde_json::value::RawValue;

use super::append::place;
use crate::cli::{Letters, LogOptions};
use crate::error::Error;
use crate::log::Log;
use crate::table::{Align, Table};
use crate::{output, when};

/// How much of an error a table shows.
const ERROR_WIDTH: usize = 120;

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
    let log = Log::look(options)?;
    let mut found = Vec::new();
    for dead in dead_topics(&log, topic)? {
        letters(&log, &dead, |letter, ended| {
            found.extend(ended.is_none().then_some(letter));
            Ok(())
        })?;
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

/// Visits the letters of a dead-letter topic, with how they ended.
fn letters(
    log: &Log,
    dead: &Topic,
    visit: impl FnMut(Event, Option<Ended>) -> eventlog::Result<()>,
) -> eventlog::Result<()> {
    let name = dead.as_str();
    let topic = Topic::new(name.strip_suffix(DEAD_SUFFIX).unwrap_or(name))?;
    dead_letter::each(&*log.events, &topic, visit)
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

/// A letter that this command has ended.
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

/// How many letters are ended at once, as far as the queue has room for them.
const BATCH: usize = 256;

/// Ends the chosen letters, and says which those were and what is wrong with the others.
pub fn end(chosen: &Letters, ended: Ended) -> Result<(), Error> {
    let log = Log::open(&chosen.log)?;
    let mut ending =
        Ending { log: &log, ended, batch: Vec::new(), size: 0, done: Vec::new(), lost: Vec::new() };
    let mut wrong = Vec::new();
    let mut failed = None;
    for dead in dead_topics(&log, chosen.topic.as_deref())? {
        // What becomes of those that are not ended here.
        let mut left: BTreeMap<(u32, Offset), Option<Ended>> =
            chosen.letters.iter().map(|place| (*place, None)).collect();
        let outcome = letters(&log, &dead, |letter, before| {
            let place = (letter.partition, letter.offset);
            match before {
                None if chosen.all || left.remove(&place).is_some() => ending.add(letter),
                None => Ok(()),
                Some(before) => {
                    left.entry(place).and_modify(|found| *found = Some(before));
                    Ok(())
                }
            }
        });
        if let Err(error) = outcome.and_then(|()| ending.flush()) {
            failed = Some(error);
            break;
        }
        wrong.extend(left.into_iter().map(|((partition, offset), before)| {
            let place = place(partition, offset);
            match before {
                Some(before) => format!("letter {place} of {dead} was {} before", before.as_str()),
                None => format!(
                    "{dead} has no letter {place}: `spacer topics dead list` shows which there are"
                ),
            }
        }));
    }
    // What was done before a failure is said, too.
    report(&ending.done, ended.as_str(), chosen.log.json)?;
    wrong.append(&mut ending.lost);
    match failed {
        Some(error) => Err(error.into()),
        None if wrong.is_empty() => Ok(()),
        None => Err(Error::Letters(wrong)),
    }
}

/// The letters that a command ends, batch by batch.
struct Ending<'a> {
    log: &'a Log,
    ended: Ended,
    batch: Vec<Event>,
    /// Bytes of the batch.
    size: usize,
    done: Vec<Done>,
    /// What is wrong with those that another command has ended meanwhile.
    lost: Vec<String>,
}

impl Ending<'_> {
    fn add(&mut self, letter: Event) -> eventlog::Result<()> {
        let limits = &self.log.application.limits;
        // A requeued event and its mark wait together.
        let room = (limits.queue / 2).clamp(1, BATCH);
        let size = size(&letter);
        if self.size + size > limits.queue_size {
            self.flush()?;
        }
        self.size += size;
        self.batch.push(letter);
        match self.batch.len() >= room {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> eventlog::Result<()> {
        let batch = std::mem::take(&mut self.batch);
        self.size = 0;
        let endings = dead_letter::end_all(&*self.log.events, &batch, self.ended);
        let mut failed = Ok(());
        for (letter, ending) in batch.into_iter().zip(endings) {
            match ending {
                Ok(ending) if ending.settled == Settled::Done => {
                    self.done.push(done(letter, ending.requeued));
                }
                Ok(_) => self.lost.push(format!(
                    "letter {} of {} was dealt with by another command at the same moment",
                    place(letter.partition, letter.offset),
                    letter.topic
                )),
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        failed
    }
}

/// At most so many bytes are appended to end a letter: its event and its mark.
fn size(letter: &Event) -> usize {
    const MARK: usize = 200;
    let headers = letter.headers.iter().map(|(name, value)| name.len() + value.len());
    2 * letter.key.len() + letter.value.len() + headers.sum::<usize>() + MARK
}

fn done(letter: Event, requeued: Option<Stored>) -> Done {
    let requeued = requeued.map(|Stored { partition, offset }| Original {
        topic: original(&letter).to_owned(),
        partition: Some(partition.into()),
        offset: Some(offset),
    });
    let Event { topic, partition, offset, key, .. } = letter;
    Done { topic: topic.to_string(), partition, offset, key, requeued }
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
