//! The driver without a store, for tests of what is built on the log: everything is in this process's memory.
//!
//! `group` has the rules of handing out; this file the topics and the waiting.

mod group;
mod member;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::consumer::new_epoch;
use crate::model::Page;
use crate::signal::Signal;
use crate::{
    Append, AppendId, Claim, Consumer, Done, Event, EventLog, GroupPosition, Invalid, Limits,
    NewEvent, Offset, PartitionOffsets, Read, Result, Start, Stored, Subscription, Timestamp,
    Topic,
};
use group::Group;

/// Offsets begin here, as SQLite's and PostgreSQL's do.
const FIRST: Offset = 1;

pub(crate) struct MemoryLog {
    shared: Arc<Shared>,
}

struct Shared {
    limits: Limits,
    contents: Mutex<Contents>,
    changed: Signal,
}

#[derive(Default)]
struct Contents {
    topics: BTreeMap<Topic, Vec<Event>>,
    appends: HashMap<AppendId, Vec<(Topic, Stored)>>,
    /// The ids of `appends`, oldest first.
    ages: VecDeque<(Instant, AppendId)>,
    groups: BTreeMap<String, Group>,
}

impl Shared {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn events(&self, topic: &Topic) -> Result<&[Event]> {
        self.topics.get(topic).map(Vec::as_slice).ok_or_else(|| topic.undeclared())
    }

    fn push(&mut self, event: NewEvent) -> Result<Stored> {
        let events = self.topics.get_mut(&event.topic).ok_or_else(|| event.topic.undeclared())?;
        let offset = events.len() as Offset + FIRST;
        let last = events.last().map_or(Timestamp(0), |event| event.time);
        events.push(Event {
            topic: event.topic,
            partition: 0,
            offset,
            key: event.key,
            value: event.value,
            time: Timestamp::now().max(last),
            headers: event.headers,
        });
        Ok(Stored { partition: 0, offset })
    }

    fn append(&mut self, append: Append, window: Duration) -> Result<Vec<Stored>> {
        if let Some(stored) = self.appends.get(&append.id) {
            let same = append.events.iter().map(|e| &e.topic).eq(stored.iter().map(|(t, _)| t));
            if !same {
                return Err(Invalid::AppendIdReused(append.id.to_string()).into());
            }
            return Ok(stored.iter().map(|(_, at)| *at).collect());
        }
        for event in &append.events {
            self.events(&event.topic)?;
        }
        if let Some(fence) = &append.fence {
            let Claim { topic, offset, epoch, turn, .. } = &fence.claim;
            let progress = self.groups.get(&fence.group).and_then(|group| group.progress(topic));
            if !progress.is_some_and(|progress| progress.holds(*offset, *epoch, *turn)) {
                return Err(fence.lost());
            }
        }
        let mut stored = Vec::with_capacity(append.events.len());
        for event in append.events {
            let topic = event.topic.clone();
            stored.push((topic, self.push(event)?));
        }
        let answer = stored.iter().map(|(_, at)| *at).collect();
        self.appends.insert(append.id, stored);
        self.ages.push_back((Instant::now(), append.id));
        while self.ages.front().is_some_and(|(at, _)| at.elapsed() > window) {
            if let Some((_, id)) = self.ages.pop_front() {
                self.appends.remove(&id);
            }
        }
        Ok(answer)
    }

    fn start(&self, topic: &Topic, start: Start) -> Result<Offset> {
        let events = self.events(topic)?;
        Ok(match start {
            Start::Earliest => FIRST,
            Start::Latest => events.len() as Offset + FIRST,
            Start::Offset(offset) => offset.max(FIRST),
            Start::Time(time) => events.partition_point(|e| e.time < time) as Offset + FIRST,
        })
    }
}

impl MemoryLog {
    pub fn new(limits: Limits) -> MemoryLog {
        let (contents, changed) = (Mutex::default(), Signal::default());
        MemoryLog { shared: Arc::new(Shared { limits, contents, changed }) }
    }
}

impl EventLog for MemoryLog {
    fn declare(&self, topics: &[Topic]) -> Result<()> {
        let mut contents = self.shared.contents();
        for topic in topics {
            for topic in [Some(topic.clone()), topic.dead()].into_iter().flatten() {
                contents.topics.entry(topic).or_default();
            }
        }
        Ok(())
    }

    fn topics(&self) -> Result<Vec<Topic>> {
        Ok(self.shared.contents().topics.keys().cloned().collect())
    }

    fn submit(&self, append: Append, done: Done) {
        let limits = &self.shared.limits;
        let outcome = limits
            .check(&append)
            .and_then(|()| self.shared.contents().append(append, limits.dedup_window));
        if outcome.is_ok() {
            self.shared.changed.notify();
        }
        done(outcome);
    }

    fn store(&self) -> String {
        "memory".into()
    }

    fn append_timeout(&self) -> Duration {
        self.shared.limits.append_timeout
    }

    fn read(&self, topic: &Topic, read: &Read) -> Result<Vec<Event>> {
        check_partition(topic, read.partition)?;
        let contents = self.shared.contents();
        let events = contents.events(topic)?;
        let wanted =
            |e: &&Event| e.offset >= read.from && read.key.as_ref().is_none_or(|key| *key == e.key);
        let mut page = Page::new(read);
        for event in events.iter().filter(wanted) {
            if !page.add(event.clone()) {
                break;
            }
        }
        Ok(page.events)
    }

    fn last(&self, topic: &Topic, key: &str) -> Result<Option<Event>> {
        let contents = self.shared.contents();
        Ok(contents.events(topic)?.iter().rev().find(|e| e.key == key).cloned())
    }

    fn offsets(&self, topic: &Topic) -> Result<Vec<PartitionOffsets>> {
        let contents = self.shared.contents();
        let next = contents.events(topic)?.len() as Offset + FIRST;
        let position = |(group, found): (&String, &Group)| {
            let progress = found.progress(topic)?;
            let (committed, lag) = (progress.committed(), progress.lag(next));
            Some(GroupPosition { group: group.clone(), committed, lag })
        };
        let groups = contents.groups.iter().filter_map(position).collect();
        Ok(vec![PartitionOffsets { partition: 0, first: FIRST, next, groups }])
    }

    fn offset_at(&self, topic: &Topic, partition: u32, time: Timestamp) -> Result<Offset> {
        check_partition(topic, partition)?;
        self.shared.contents().start(topic, Start::Time(time))
    }

    fn adopt(&self, topic: &Topic, from: &str, groups: &[String]) -> Result<()> {
        let mut contents = self.shared.contents();
        let found = contents.groups.get_mut(from).and_then(|group| group.end(topic));
        if let Some(progress) = found {
            for group in groups {
                contents.groups.entry(group.clone()).or_default().adopt(topic, &progress);
            }
        }
        Ok(())
    }

    fn join(&self, subscription: Subscription) -> Result<Box<dyn Consumer>> {
        subscription.check()?;
        let epoch = new_epoch();
        let mut contents = self.shared.contents();
        let mut starts = Vec::new();
        for topic in &subscription.topics {
            starts.push((topic.clone(), contents.start(topic, subscription.start_of(topic))?));
        }
        let group = contents.groups.entry(subscription.group.clone()).or_default();
        for (topic, start) in starts {
            group.begin(topic, start);
        }
        group.admit(&subscription, epoch, Instant::now());
        drop(contents);
        self.shared.changed.notify();
        Ok(Box::new(member::Member::new(self.shared.clone(), subscription, epoch)))
    }
}

fn check_partition(topic: &Topic, partition: u32) -> Result<()> {
    match partition {
        0 => Ok(()),
        _ => Err(Invalid::Partition { topic: topic.to_string(), partition }.into()),
    }
}
