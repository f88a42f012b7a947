//! A group's progress through its topics: which events may be handed out, to whom, and what is behind them.
//!
//! Events below `taken` that have no entry are finished. Of a key's entries, the first is claimed or waits for its
//! moment; the others are parked behind it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::consumer::WINDOW;
use crate::{Event, Offset, Subscription, Topic};

#[derive(Default)]
pub(super) struct Group {
    members: HashMap<String, Life>,
    topics: HashMap<Topic, Progress>,
}

struct Life {
    epoch: u64,
    until: Instant,
}

pub(super) struct Progress {
    /// The first offset that was never handed out or parked.
    taken: Offset,
    unfinished: BTreeMap<Offset, Entry>,
    keys: HashMap<String, BTreeSet<Offset>>,
}

struct Entry {
    key: String,
    state: State,
    attempt: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Parked,
    Waiting(Instant),
    Claimed { epoch: u64 },
}

impl Group {
    pub fn progress(&self, topic: &Topic) -> Option<&Progress> {
        self.topics.get(topic)
    }

    pub fn progress_mut(&mut self, topic: &Topic) -> Option<&mut Progress> {
        self.topics.get_mut(topic)
    }

    /// Gives the group a position in the topic, if it has none.
    pub fn begin(&mut self, topic: Topic, start: Offset) {
        self.topics.entry(topic).or_insert_with(|| Progress {
            taken: start,
            unfinished: BTreeMap::new(),
            keys: HashMap::new(),
        });
    }

    /// Starts a member's life, and ends the one that it had.
    pub fn admit(&mut self, subscription: &Subscription, epoch: u64, now: Instant) {
        let life = Life { epoch, until: now + subscription.lease };
        if let Some(old) = self.members.insert(subscription.member.clone(), life) {
            self.release(old.epoch, now);
        }
    }

    /// Prolongs a member's life. Answers which life of the member goes on, if any does.
    pub fn extend(&mut self, member: &str, epoch: u64, until: Instant) -> Option<u64> {
        let life = self.members.get_mut(member)?;
        if life.epoch == epoch {
            life.until = until;
        }
        Some(life.epoch)
    }

    /// Removes a member and gives its claims back, their attempts uncounted.
    pub fn dismiss(&mut self, member: &str, epoch: u64, now: Instant) {
        if self.members.get(member).is_some_and(|life| life.epoch == epoch) {
            self.members.remove(member);
        }
        for progress in self.topics.values_mut() {
            progress.release(epoch, now, true);
        }
    }

    /// Ends the lives that are over.
    pub fn expire(&mut self, now: Instant) {
        let over = |life: &Life| life.until <= now;
        let dead: Vec<u64> =
            self.members.values().filter(|l| over(l)).map(|life| life.epoch).collect();
        self.members.retain(|_, life| !over(life));
        for epoch in dead {
            self.release(epoch, now);
        }
    }

    fn release(&mut self, epoch: u64, now: Instant) {
        for progress in self.topics.values_mut() {
            progress.release(epoch, now, false);
        }
    }

    /// How many events the member has in hand.
    pub fn in_hand(&self, epoch: u64) -> usize {
        let claimed = |entry: &&Entry| entry.state == State::Claimed { epoch };
        self.topics.values().map(|p| p.unfinished.values().filter(claimed).count()).sum()
    }

    /// When an event may become free by the passing of time alone.
    pub fn next_moment(&self, now: Instant) -> Instant {
        let waiting = self.topics.values().flat_map(|p| p.unfinished.values());
        let due = waiting.filter_map(|entry| match entry.state {
            State::Waiting(due) => Some(due),
            State::Parked | State::Claimed { .. } => None,
        });
        let lives = self.members.values().map(|life| life.until);
        // What is due already and wasn't claimed waits for room, and room comes with a signal.
        let future = due.chain(lives).filter(|at| *at > now);
        future.min().unwrap_or(now + Duration::from_secs(1))
    }
}

impl Progress {
    pub fn committed(&self) -> Offset {
        self.unfinished.keys().next().copied().unwrap_or(self.taken)
    }

    pub fn lag(&self, next: Offset) -> u64 {
        next.saturating_sub(self.taken) + self.unfinished.len() as u64
    }

    /// Claims up to `max` events: those whose moment has come first, then untouched ones. Answers (offset, attempt).
    pub fn claim(
        &mut self,
        events: &[Event],
        epoch: u64,
        max: usize,
        now: Instant,
    ) -> Vec<(Offset, u32)> {
        let mut claimed = Vec::new();
        for (offset, entry) in &mut self.unfinished {
            if claimed.len() < max && matches!(entry.state, State::Waiting(due) if due <= now) {
                entry.state = State::Claimed { epoch };
                entry.attempt += 1;
                claimed.push((*offset, entry.attempt));
            }
        }
        let from = events.partition_point(|event| event.offset < self.taken);
        for event in &events[from..] {
            if claimed.len() == max || self.unfinished.len() >= WINDOW {
                break;
            }
            let behind = self.keys.entry(event.key.clone()).or_default();
            let (state, attempt) = match behind.is_empty() {
                true => (State::Claimed { epoch }, 1),
                false => (State::Parked, 0),
            };
            behind.insert(event.offset);
            let entry = Entry { key: event.key.clone(), state, attempt };
            self.unfinished.insert(event.offset, entry);
            self.taken = event.offset + 1;
            if attempt == 1 {
                claimed.push((event.offset, attempt));
            }
        }
        claimed
    }

    pub fn holds(&self, offset: Offset, epoch: u64, attempt: u32) -> bool {
        let held = State::Claimed { epoch };
        self.unfinished.get(&offset).is_some_and(|e| e.state == held && e.attempt == attempt)
    }

    /// Ends an event and frees the next one of its key.
    pub fn finish(&mut self, offset: Offset, now: Instant) {
        let Some(entry) = self.unfinished.remove(&offset) else { return };
        let Some(offsets) = self.keys.get_mut(&entry.key) else { return };
        offsets.remove(&offset);
        match offsets.first() {
            Some(next) => {
                if let Some(next) = self.unfinished.get_mut(next) {
                    next.state = State::Waiting(now);
                }
            }
            None => drop(self.keys.remove(&entry.key)),
        }
    }

    /// Hands the event out again at `due`.
    pub fn postpone(&mut self, offset: Offset, due: Instant, uncount: bool) {
        if let Some(entry) = self.unfinished.get_mut(&offset) {
            entry.state = State::Waiting(due);
            entry.attempt -= u32::from(uncount);
        }
    }

    fn release(&mut self, epoch: u64, now: Instant, uncount: bool) {
        for entry in self.unfinished.values_mut() {
            if entry.state == (State::Claimed { epoch }) {
                entry.state = State::Waiting(now);
                entry.attempt -= u32::from(uncount);
            }
        }
    }
}
