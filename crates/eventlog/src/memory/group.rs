//! A group's progress through its topics: which events may be handed out, to whom, and what is behind them.
//!
//! Events below `taken` that have no entry are finished. Of a key's entries, the first is claimed or waits for its
//! moment; the others are parked behind it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::consumer::WINDOW;
use crate::share::{Quota, Source};
use crate::{Backoff, Event, Offset, Subscription, Topic};

#[derive(Default)]
pub(super) struct Group {
    members: HashMap<String, Life>,
    topics: HashMap<Topic, Progress>,
}

struct Life {
    epoch: u64,
    until: Instant,
}

#[derive(Clone)]
pub(super) struct Progress {
    /// The first offset that was never handed out or parked.
    taken: Offset,
    unfinished: BTreeMap<Offset, Entry>,
    keys: HashMap<String, BTreeSet<Offset>>,
}

/// An event that is handed out.
pub(super) struct Handed {
    pub offset: Offset,
    pub attempt: u32,
    pub turn: u32,
    pub step: u32,
}

#[derive(Clone)]
struct Entry {
    key: String,
    state: State,
    attempt: u32,
    turn: u32,
    step: u32,
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

    /// Takes the group's position in the topic away.
    pub fn end(&mut self, topic: &Topic) -> Option<Progress> {
        self.topics.remove(topic).map(|progress| progress.copy(Instant::now()))
    }

    /// Gives the group another's position in the topic, if it has none.
    pub fn adopt(&mut self, topic: &Topic, progress: &Progress) {
        self.topics.entry(topic.clone()).or_insert_with(|| progress.clone());
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
            self.release(old.epoch, now, Some(subscription.backoff));
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
        self.release(epoch, now, None);
    }

    /// Ends the lives that are over.
    pub fn expire(&mut self, now: Instant, backoff: Backoff) {
        let over = |life: &Life| life.until <= now;
        let dead: Vec<u64> =
            self.members.values().filter(|l| over(l)).map(|life| life.epoch).collect();
        self.members.retain(|_, life| !over(life));
        for epoch in dead {
            self.release(epoch, now, Some(backoff));
        }
    }

    /// Gives claims back: their attempts count, and have the wait after a failure, or don't.
    fn release(&mut self, epoch: u64, now: Instant, counted: Option<Backoff>) {
        for progress in self.topics.values_mut() {
            progress.release(epoch, now, counted);
        }
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

    /// What a member finds in the topic.
    pub fn source(&self, events: &[Event], epoch: u64, now: Instant) -> Source {
        let is_due = |entry: &Entry| matches!(entry.state, State::Waiting(due) if due <= now);
        let is_mine = |entry: &&Entry| entry.state == State::Claimed { epoch };
        Source {
            due: self.unfinished.values().any(is_due),
            untouched: events.last().is_some_and(|last| last.offset >= self.taken),
            in_hand: self.unfinished.values().filter(is_mine).count(),
        }
    }

    /// Claims events whose moment has come, and untouched ones. Answers them, and how many of each.
    pub fn claim(
        &mut self,
        events: &[Event],
        epoch: u64,
        quota: Quota,
        now: Instant,
    ) -> (Vec<Handed>, Quota) {
        let mut due: Vec<(Instant, Offset)> = Vec::new();
        for (offset, entry) in &self.unfinished {
            match entry.state {
                State::Waiting(moment) if moment <= now => due.push((moment, *offset)),
                _ => {}
            }
        }
        due.sort_unstable();
        let mut claimed = Vec::new();
        for (_, offset) in due.into_iter().take(quota.due) {
            let Some(entry) = self.unfinished.get_mut(&offset) else { continue };
            entry.state = State::Claimed { epoch };
            entry.attempt += 1;
            entry.turn += 1;
            let Entry { attempt, turn, step, .. } = *entry;
            claimed.push(Handed { offset, attempt, turn, step });
        }
        let due = claimed.len();
        let from = events.partition_point(|event| event.offset < self.taken);
        for event in &events[from..] {
            if claimed.len() - due == quota.untouched || self.unfinished.len() >= WINDOW {
                break;
            }
            let behind = self.keys.entry(event.key.clone()).or_default();
            let (state, attempt) = match behind.is_empty() {
                true => (State::Claimed { epoch }, 1),
                false => (State::Parked, 0),
            };
            behind.insert(event.offset);
            let entry = Entry { key: event.key.clone(), state, attempt, turn: attempt, step: 0 };
            self.unfinished.insert(event.offset, entry);
            self.taken = event.offset + 1;
            if attempt == 1 {
                claimed.push(Handed { offset: event.offset, attempt, turn: 1, step: 0 });
            }
        }
        let found = Quota { due, untouched: claimed.len() - due };
        claimed.sort_unstable_by_key(|handed| handed.offset);
        (claimed, found)
    }

    pub fn holds(&self, offset: Offset, epoch: u64, turn: u32) -> bool {
        let held = State::Claimed { epoch };
        self.unfinished.get(&offset).is_some_and(|e| e.state == held && e.turn == turn)
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
    pub fn postpone(&mut self, offset: Offset, due: Instant, uncount: bool, step: Option<u32>) {
        if let Some(entry) = self.unfinished.get_mut(&offset) {
            entry.state = State::Waiting(due);
            entry.attempt -= u32::from(uncount);
            entry.step = step.unwrap_or(entry.step);
        }
    }

    /// The same for another group, which has nobody at work.
    fn copy(&self, now: Instant) -> Progress {
        let mut copy = self.clone();
        for entry in copy.unfinished.values_mut() {
            if let State::Claimed { .. } = entry.state {
                entry.state = State::Waiting(now);
            }
        }
        copy
    }

    fn release(&mut self, epoch: u64, now: Instant, counted: Option<Backoff>) {
        for entry in self.unfinished.values_mut() {
            if entry.state == (State::Claimed { epoch }) {
                let wait = counted.map_or(Duration::ZERO, |backoff| backoff.after(entry.attempt));
                entry.state = State::Waiting(now + wait);
                entry.attempt -= u32::from(counted.is_none());
            }
        }
    }
}
