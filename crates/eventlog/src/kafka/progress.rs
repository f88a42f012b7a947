//! A group's progress through one partition that a member holds: which events may be handed out and what is behind them.
//!
//! The committed position is the offset of the first unfinished event. Kafka keeps a text with it; ours says which later
//! events are finished and how often unfinished ones were tried, so that the partition's next holder repeats none of the
//! former and goes on counting the latter.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use crate::{Event, Offset};

/// Brokers refuse longer texts, by default from 4096 bytes. What doesn't fit is left out: it may be repeated.
const TEXT_MAX: usize = 4000;
const TEXT_VERSION: &str = "s1";

pub(super) struct Progress {
    /// Which holding of the partition this is.
    pub epoch: u64,
    /// Whether nothing is handed out any more, because the partition is to be given up.
    pub closing: bool,
    /// Whether position or text differ from what was last committed.
    pub changed: bool,
    /// Behind the last event that was taken in; unknown before the first one of a group without a position.
    taken: Option<Offset>,
    unfinished: BTreeMap<Offset, Entry>,
    keys: HashMap<String, BTreeSet<Offset>>,
    ready: BTreeSet<Offset>,
    waiting: BTreeSet<(Instant, Offset)>,
    claimed: usize,
    bytes: usize,
    inherited: Text,
}

struct Entry {
    event: Event,
    state: State,
    attempt: u32,
    /// Known to this holder of the partition only.
    step: u32,
}

/// An event that is handed out.
pub(super) struct Handed {
    pub event: Event,
    pub attempt: u32,
    pub step: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Parked,
    Ready,
    Waiting(Instant),
    Claimed,
}

impl Progress {
    /// Goes on where the group is.
    pub fn resume(epoch: u64, position: Option<Offset>, text: &str) -> Progress {
        Progress {
            epoch,
            closing: false,
            changed: false,
            taken: position,
            unfinished: BTreeMap::new(),
            keys: HashMap::new(),
            ready: BTreeSet::new(),
            waiting: BTreeSet::new(),
            claimed: 0,
            bytes: 0,
            inherited: position.map(|from| Text::parse(from, text)).unwrap_or_default(),
        }
    }

    pub fn position(&self) -> Option<Offset> {
        self.unfinished.keys().next().copied().or(self.taken)
    }

    /// How many events were taken in and are not finished.
    pub fn len(&self) -> usize {
        self.unfinished.len()
    }

    /// How large they are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn claimed(&self) -> usize {
        self.claimed
    }

    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// When the next event's retry is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// Takes in an event. Those below what was taken in before are repetitions.
    pub fn receive(&mut self, event: Event) {
        let offset = event.offset;
        if self.taken.is_some_and(|taken| offset < taken) {
            return;
        }
        self.taken = Some(offset + 1);
        if self.inherited.is_finished(offset) {
            // The position moves over it, if nothing is before it.
            self.changed = true;
            return;
        }
        let behind = self.keys.entry(event.key.clone()).or_default();
        let state = if behind.is_empty() { State::Ready } else { State::Parked };
        behind.insert(offset);
        if state == State::Ready {
            self.ready.insert(offset);
        }
        let attempt = self.inherited.attempts.remove(&offset).unwrap_or(0);
        self.bytes += size(&event);
        self.unfinished.insert(offset, Entry { event, state, attempt, step: 0 });
    }

    /// Claims up to `max` events whose moment has come, by offset. Answers them and which attempt it is.
    pub fn claim(&mut self, max: usize, now: Instant) -> Vec<Handed> {
        while let Some((due, offset)) = self.waiting.first().copied().filter(|(due, _)| *due <= now)
        {
            self.waiting.remove(&(due, offset));
            self.set_ready(offset);
        }
        let mut claimed = Vec::new();
        while claimed.len() < max && !self.closing {
            let Some(offset) = self.ready.pop_first() else { break };
            let Some(entry) = self.unfinished.get_mut(&offset) else { continue };
            entry.state = State::Claimed;
            entry.attempt += 1;
            self.claimed += 1;
            // If it brings the process down, it is counted all the same.
            self.changed = true;
            let Entry { attempt, step, .. } = *entry;
            claimed.push(Handed { event: entry.event.clone(), attempt, step });
        }
        claimed
    }

    pub fn held(&self, offset: Offset, attempt: u32) -> Option<&Event> {
        let entry = self.unfinished.get(&offset)?;
        (entry.state == State::Claimed && entry.attempt == attempt).then_some(&entry.event)
    }

    /// Ends a claimed event and frees the next one of its key.
    pub fn finish(&mut self, offset: Offset) {
        let Some(entry) = self.unfinished.remove(&offset) else { return };
        self.claimed -= usize::from(entry.state == State::Claimed);
        self.bytes -= size(&entry.event);
        self.changed = true;
        let Some(offsets) = self.keys.get_mut(&entry.event.key) else { return };
        offsets.remove(&offset);
        match offsets.first().copied() {
            Some(next) => self.set_ready(next),
            None => drop(self.keys.remove(&entry.event.key)),
        }
    }

    /// Hands a claimed event out again: at `due`, or as if it had not been.
    pub fn postpone(&mut self, offset: Offset, due: Option<Instant>, step: Option<u32>) {
        let Some(entry) = self.unfinished.get_mut(&offset) else { return };
        self.claimed -= usize::from(entry.state == State::Claimed);
        entry.step = step.unwrap_or(entry.step);
        match due {
            Some(due) => {
                entry.state = State::Waiting(due);
                self.waiting.insert((due, offset));
                // The attempt is to be remembered.
                self.changed = true;
            }
            None => {
                entry.attempt -= 1;
                self.set_ready(offset);
            }
        }
    }

    /// Uncounts the attempts of the claims that are given back.
    pub fn release(&mut self) {
        let claimed = |entry: &&mut Entry| entry.state == State::Claimed;
        for entry in self.unfinished.values_mut().filter(claimed) {
            entry.attempt -= 1;
        }
    }

    fn set_ready(&mut self, offset: Offset) {
        if let Some(entry) = self.unfinished.get_mut(&offset) {
            entry.state = State::Ready;
            self.ready.insert(offset);
        }
    }

    /// What is to be known beside the position.
    pub fn text(&self) -> String {
        let (Some(position), Some(taken)) = (self.position(), self.taken) else {
            return String::new();
        };
        let mut text = Text::default();
        let mut from = position;
        for (offset, entry) in &self.unfinished {
            text.finish(from, *offset);
            from = offset + 1;
            if entry.attempt > 0 {
                text.attempts.insert(*offset, entry.attempt);
            }
        }
        text.finish(from, taken);
        for (from, to) in &self.inherited.finished {
            text.finish((*from).max(taken), *to);
        }
        let ahead = self.inherited.attempts.range(taken..);
        text.attempts.extend(ahead.map(|(offset, attempt)| (*offset, *attempt)));
        text.write(position)
    }
}

fn size(event: &Event) -> usize {
    let headers = event.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    event.key.len() + event.value.len() + headers
}

/// How many events at or after `position` the text of a position says to be finished.
pub(super) fn finished_ahead(position: Offset, text: &str) -> u64 {
    Text::parse(position, text).finished.iter().map(|(from, to)| to - from).sum()
}

/// `s1;2,1,4,3;0:2`: from the position on, 2 events are unfinished, then 1 is finished, 4 are not, 3 are; the first
/// was tried twice.
#[derive(Default)]
struct Text {
    /// Ranges, from and before, in order.
    finished: Vec<(Offset, Offset)>,
    attempts: BTreeMap<Offset, u32>,
}

impl Text {
    /// A text that isn't ours, or broken, says nothing.
    fn parse(position: Offset, text: &str) -> Text {
        let mut parsed = Text::default();
        let Some((runs, attempts)) = text
            .strip_prefix(TEXT_VERSION)
            .and_then(|rest| rest.strip_prefix(';'))
            .and_then(|rest| rest.split_once(';'))
        else {
            return parsed;
        };
        let mut from = position;
        for (n, run) in runs.split(',').enumerate() {
            let Ok(length) = run.parse::<u32>() else { break };
            let to = from.saturating_add(length.into());
            if n % 2 == 1 {
                parsed.finished.push((from, to));
            }
            from = to;
        }
        for pair in attempts.split(',') {
            let Some((distance, attempt)) = pair.split_once(':') else { break };
            let (Ok(distance), Ok(attempt)) = (distance.parse::<u32>(), attempt.parse()) else {
                break;
            };
            parsed.attempts.insert(position.saturating_add(distance.into()), attempt);
        }
        parsed
    }

    fn finish(&mut self, from: Offset, to: Offset) {
        if from < to {
            match self.finished.last_mut() {
                Some(last) if last.1 == from => last.1 = to,
                _ => self.finished.push((from, to)),
            }
        }
    }

    fn is_finished(&self, offset: Offset) -> bool {
        let after = self.finished.partition_point(|(from, _)| *from <= offset);
        after > 0 && offset < self.finished[after - 1].1
    }

    fn write(&self, position: Offset) -> String {
        if self.finished.is_empty() && self.attempts.is_empty() {
            return String::new();
        }
        let (mut runs, mut from) = (String::new(), position);
        for (start, end) in &self.finished {
            let comma = if runs.is_empty() { "" } else { "," };
            let run = format!("{comma}{},{}", start - from, end - start);
            // Half is left for the attempts.
            if runs.len() + run.len() > TEXT_MAX / 2 {
                break;
            }
            runs += &run;
            from = *end;
        }
        let mut text = format!("{TEXT_VERSION};{runs};");
        for (n, (offset, attempt)) in self.attempts.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            let pair = format!("{comma}{}:{attempt}", offset - position);
            if text.len() + pair.len() > TEXT_MAX {
                break;
            }
            text += &pair;
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Timestamp, Topic};

    fn event(offset: Offset, key: &str) -> Event {
        Event {
            topic: Topic::new("t").expect("a good name"),
            partition: 0,
            offset,
            key: key.to_owned(),
            value: b"1".to_vec(),
            time: Timestamp(0),
            headers: Vec::new(),
        }
    }

    fn claim(progress: &mut Progress) -> Vec<(Offset, u32)> {
        let claimed = progress.claim(100, Instant::now());
        claimed.into_iter().map(|handed| (handed.event.offset, handed.attempt)).collect()
    }

    #[test]
    fn what_was_finished_ahead_is_not_repeated_by_the_next_holder() {
        let mut first = Progress::resume(1, Some(10), "");
        for (offset, key) in [(10, "a"), (11, "b"), (13, "c"), (14, "a"), (15, "d")] {
            first.receive(event(offset, key));
        }
        assert_eq!(claim(&mut first), [(10, 1), (11, 1), (13, 1), (15, 1)]);
        first.finish(11);
        first.finish(15);
        first.postpone(10, Some(Instant::now() + Duration::from_secs(60)), None);
        first.release();
        // 12 doesn't exist: there is nothing to finish.
        assert_eq!((first.position(), &*first.text()), (Some(10), "s1;1,2,2,1;0:1"));
        assert_eq!(finished_ahead(10, &first.text()), 3);

        let mut second = Progress::resume(2, first.position(), &first.text());
        second.receive(event(10, "a"));
        assert_eq!(second.text(), first.text());
        for (offset, key) in [(11, "b"), (13, "c"), (14, "a"), (15, "d"), (16, "e")] {
            second.receive(event(offset, key));
        }
        assert_eq!(claim(&mut second), [(10, 2), (13, 1), (16, 1)]);
        second.finish(10);
        assert_eq!(second.position(), Some(13));
        assert_eq!(claim(&mut second), [(14, 1)]);
        for offset in [13, 14, 16] {
            second.finish(offset);
        }
        assert_eq!((second.position(), &*second.text()), (Some(17), ""));
    }

    #[test]
    fn the_text_never_exceeds_what_brokers_take() {
        let mut progress = Progress::resume(1, Some(0), "");
        for offset in 0..10_000 {
            progress.receive(event(offset, &offset.to_string()));
        }
        assert_eq!(progress.claim(10_000, Instant::now()).len(), 10_000);
        (1..10_000).step_by(2).for_each(|offset| progress.finish(offset));
        let text = progress.text();
        assert!(text.len() <= TEXT_MAX, "{}", text.len());
        assert!(Text::parse(0, &text).is_finished(1));
        assert!(!Text::parse(0, &text).is_finished(2));
    }

    #[test]
    fn a_text_of_another_program_says_nothing() {
        for text in ["", "x", "s1", "s1;;", "s1;a,b;c", "s2;1,2;"] {
            assert_eq!(finished_ahead(5, text), 0, "{text}");
        }
    }
}
