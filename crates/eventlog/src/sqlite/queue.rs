//! What waits for the writer, and how it is grouped.
//!
//! Those who wait for an answer tend to come back with the next append as soon as they have it. So after a group of
//! several the writer gives as many a moment to come. Whoever appends alone, or after that moment, isn't made to wait.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::append::AppendJob;
use super::connection::Failure;
use crate::backlog::Backlog;
use crate::{Error, Limits, Result};

/// A transaction takes no more jobs, and is full with so many events or bytes, so that the first doesn't wait long for
/// the last.
const JOBS_AT_ONCE: usize = 1000;
const EVENTS_AT_ONCE: usize = 4000;
const BYTES_AT_ONCE: usize = 8 << 20;

/// What a job's effects mean to others, when it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    /// Nobody waits for it.
    Quiet,
    /// There may be something to claim.
    Wake,
}

/// What is done in a transaction.
pub(super) enum Job {
    Append(AppendJob),
    Call(Box<dyn Call>),
}

pub(super) trait Call: Send {
    /// Whether its end must be on disk. What isn't is repeated after a power failure.
    fn durable(&self) -> bool;
    /// When it is given up if it hasn't been begun.
    fn deadline(&self) -> Instant;
    fn run(&mut self, connection: &Connection) -> Result<Effect, Failure>;
    /// Called once, after the commit or with what prevented it.
    fn end(self: Box<Self>, failed: Option<Error>);
}

impl Job {
    fn load(&self) -> Backlog {
        match self {
            Job::Append(append) => append.load,
            Job::Call(_) => Backlog::default(),
        }
    }

    fn end(self, failed: Option<Error>) {
        match self {
            Job::Append(append) => append.end(failed),
            Job::Call(call) => call.end(failed),
        }
    }
}

/// The jobs that wait for the writer.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    load: Backlog,
    closed: bool,
    /// The thread sleeps until so many jobs wait; 0 while it doesn't sleep, and needn't be woken.
    wanted: usize,
}

impl Waiting {
    /// Moves jobs into the group as long as it has room.
    fn fill(&mut self, group: &mut Group) {
        while group.has_room() {
            match self.jobs.pop_front() {
                Some(Job::Append(append)) => {
                    self.load.remove(append.load);
                    group.load.add(append.load);
                    group.appends.push(append);
                }
                Some(Job::Call(call)) => group.calls.push(call),
                None => break,
            }
        }
    }
}

/// What is done in one transaction: the appends first, which have no say in whether a call is refused.
#[derive(Default)]
pub(super) struct Group {
    pub appends: Vec<AppendJob>,
    pub calls: Vec<Box<dyn Call>>,
    load: Backlog,
}

impl Group {
    pub fn len(&self) -> usize {
        self.appends.len() + self.calls.len()
    }

    fn has_room(&self) -> bool {
        let Backlog { events, bytes } = self.load;
        self.len() < JOBS_AT_ONCE && events < EVENTS_AT_ONCE && bytes < BYTES_AT_ONCE
    }

    pub fn durable(&self) -> bool {
        !self.appends.is_empty() || self.calls.iter().any(|call| call.durable())
    }

    pub fn soonest(&self) -> Option<Instant> {
        let calls = self.calls.iter().map(|call| call.deadline());
        self.appends.iter().map(|append| append.deadline).chain(calls).min()
    }

    pub fn fail(self, error: &Error) {
        self.appends.into_iter().for_each(|append| append.end(Some(error.clone())));
        self.calls.into_iter().for_each(|call| call.end(Some(error.clone())));
    }

    /// Fails the jobs that have no time left; `None` if no other is left.
    pub fn fail_late(self, error: &Error) -> Option<Group> {
        let now = Instant::now();
        let (appends, late) = self.appends.into_iter().partition(|job| job.deadline > now);
        let (calls, late_calls) = self.calls.into_iter().partition(|job| job.deadline() > now);
        Group { appends: late, calls: late_calls, ..self }.fail(error);
        // What it had room for is a limit for the first try only.
        let left = Group { appends, calls, ..self };
        (left.len() > 0).then_some(left)
    }
}

impl Queue {
    /// Queues a job. Appends that are too much are refused.
    pub fn submit(&self, job: Job, limits: &Limits) {
        let mut waiting = self.lock();
        let refused = match waiting.closed {
            true => Some(Error::Closed),
            false => waiting.load.check(job.load(), limits).err(),
        };
        if refused.is_none() {
            waiting.load.add(job.load());
            waiting.jobs.push_back(job);
            let wake = waiting.wanted > 0 && waiting.jobs.len() >= waiting.wanted;
            if wake {
                waiting.wanted = 0;
            }
            drop(waiting);
            if wake {
                self.filled.notify_one();
            }
        } else {
            drop(waiting);
            job.end(refused);
        }
    }

    /// Refuses what comes from here on. What waits is still handed out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for jobs and takes them, giving `expected` of them until `gathered` to come; `None` when the log is closed
    /// and all are done.
    pub fn take(&self, expected: usize, gathered: Instant) -> Option<Group> {
        let mut waiting = self.lock();
        while waiting.jobs.is_empty() && !waiting.closed {
            let left = gathered.saturating_duration_since(Instant::now());
            waiting.wanted = if left.is_zero() { 1 } else { expected };
            waiting = match left.is_zero() {
                true => self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                false => self.sleep(waiting, left),
            };
        }
        while waiting.jobs.len() < expected && !waiting.closed {
            let left = gathered.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            waiting.wanted = expected;
            waiting = self.sleep(waiting, left);
        }
        waiting.wanted = 0;
        let mut group = Group::default();
        waiting.fill(&mut group);
        (group.len() > 0).then_some(group)
    }

    /// Adds what has come since the group was taken.
    pub fn top_up(&self, group: &mut Group) {
        self.lock().fill(group);
    }

    fn sleep<'a>(
        &self,
        waiting: MutexGuard<'a, Waiting>,
        time: Duration,
    ) -> MutexGuard<'a, Waiting> {
        self.filled.wait_timeout(waiting, time).unwrap_or_else(PoisonError::into_inner).0
    }
}
