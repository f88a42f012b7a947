//! `spacer topics tail`.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::thread;
use std::time::Duration;

use eventlog::{dead_letter, Event, Offset, PartitionOffsets, Topic, DEAD_SUFFIX};

use super::append::place;
use crate::cli::TailOptions;
use crate::error::Error;
use crate::log::{JsonEvent, Log};
use crate::{output, when};

const DEFAULT_LINES: usize = 10;
/// The log has no wake-up for readers that are in no consumer group.
const PAUSE: Duration = Duration::from_millis(200);

pub fn run(options: &TailOptions) -> Result<(), Error> {
    // Who follows a log waits for it to be filled.
    let open = if options.follow { Log::open } else { Log::look };
    let log = open(&options.log)?;
    let topic = log.topic(&options.topic)?;
    let tail = Tail { ended: ended(&log, &topic)?, topic, log, options };
    let mut next = match options.from {
        Some(from) => tail.forward(from)?,
        None => tail.newest(options.lines.unwrap_or(DEFAULT_LINES))?,
    };
    if !options.follow {
        return Ok(());
    }
    loop {
        thread::sleep(PAUSE);
        for extent in tail.log.events.offsets(&tail.topic)? {
            let from = next.entry(extent.partition).or_insert(extent.first);
            let after =
                tail.scan(extent.partition, *from, |event| tail.print(&event).map(|()| true))?;
            // Events of other keys need no second look.
            *from = after.max(extent.next);
        }
    }
}

struct Tail<'a> {
    log: Log,
    topic: Topic,
    /// The letters that are dealt with, of a dead-letter topic.
    ended: HashSet<(u32, Offset)>,
    options: &'a TailOptions,
}

fn ended(log: &Log, topic: &Topic) -> Result<HashSet<(u32, Offset)>, Error> {
    let mut found = HashSet::new();
    if let Some(original) = topic.as_str().strip_suffix(DEAD_SUFFIX) {
        dead_letter::each(&*log.events, &Topic::new(original)?, |letter, ended| {
            found.extend(ended.map(|_| (letter.partition, letter.offset)));
            Ok(())
        })?;
    }
    Ok(found)
}

/// Where to go on in each partition.
type Next = BTreeMap<u32, Offset>;

impl Tail<'_> {
    fn scan(
        &self,
        partition: u32,
        from: Offset,
        mut each: impl FnMut(Event) -> Result<bool, Error>,
    ) -> Result<Offset, Error> {
        let key = self.options.key.as_deref();
        self.log.scan(&self.topic, partition, from, key, |event| {
            let place = (event.partition, event.offset);
            match dead_letter::is_mark(&event) || self.ended.contains(&place) {
                true => Ok(true),
                false => each(event),
            }
        })
    }

    fn forward(&self, from: Offset) -> Result<Next, Error> {
        let mut left = self.options.lines.unwrap_or(usize::MAX);
        let mut next = Next::new();
        for extent in self.log.events.offsets(&self.topic)? {
            if left == 0 {
                next.insert(extent.partition, from);
                continue;
            }
            let after = self.scan(extent.partition, from, |event| {
                self.print(&event)?;
                left -= 1;
                Ok(left > 0)
            })?;
            next.insert(extent.partition, after);
        }
        Ok(next)
    }

    /// Prints the newest events of all partitions, oldest first.
    fn newest(&self, lines: usize) -> Result<Next, Error> {
        let mut next = Next::new();
        let mut found = Vec::new();
        for extent in self.log.events.offsets(&self.topic)? {
            let (events, after) = self.newest_of(&extent, lines)?;
            found.extend(events);
            next.insert(extent.partition, after);
        }
        found.sort_by_key(|event| (event.time, event.partition, event.offset));
        for event in found.iter().skip(found.len().saturating_sub(lines)) {
            self.print(event)?;
        }
        Ok(next)
    }

    /// Offsets may have gaps, and keys are anywhere: looks back in growing steps until there are enough.
    fn newest_of(
        &self,
        extent: &PartitionOffsets,
        lines: usize,
    ) -> Result<(VecDeque<Event>, Offset), Error> {
        let mut back = (lines as u64).max(1);
        loop {
            let from = extent.next.saturating_sub(back).max(extent.first);
            let mut events = VecDeque::new();
            let after = self.scan(extent.partition, from, |event| {
                events.push_back(event);
                if events.len() > lines {
                    events.pop_front();
                }
                Ok(true)
            })?;
            if events.len() >= lines || from == extent.first {
                return Ok((events, after.max(extent.next)));
            }
            back = back.saturating_mul(8);
        }
    }

    fn print(&self, event: &Event) -> Result<(), Error> {
        if self.options.log.json {
            return output::print_line(&JsonEvent::new(event)?);
        }
        let (dim, plain) = if output::colours() { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        output::print(&format!(
            "{:>8}  {dim}{}{plain}  {:16}  {}\n",
            place(event.partition, event.offset),
            when::format(event.time),
            output::printable(&event.key),
            output::printable(&output::compact(&event.value)),
        ))
    }
}
