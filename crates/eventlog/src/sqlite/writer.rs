//! The one thread that writes: whatever waits at a moment becomes one transaction, with one wait for the disk.
//!
//! Appends are stored together. Each call runs in a savepoint of its own, so that a refused one leaves the others
//! untouched. A failure of the store fails them all.
//!
//! Those who wait for an answer tend to come back with the next append as soon as they have it. So after a group of
//! several the thread gives as many a moment to come; whoever is alone is never made to wait.

use std::collections::VecDeque;
use std::sync::{mpsc, Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::append::{self, AppendJob, Memory};
use super::connection::{set_durable, wait_for_locks_until, Database, Failure, Handle};
use super::wake::Wake;
use crate::signal::Signal;
use crate::{Error, Result};

/// A transaction takes no more jobs and events than this, so that the first doesn't wait long for the last.
const JOBS_AT_ONCE: usize = 1000;
const EVENTS_AT_ONCE: usize = 4000;
/// How long a group is waited for at most.
const GATHERING: Duration = Duration::from_micros(300);

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
    fn events(&self) -> usize {
        match self {
            Job::Append(append) => append.events(),
            Job::Call(_) => 0,
        }
    }

    fn end(self, failed: Option<Error>) {
        match self {
            Job::Append(append) => append.end(failed),
            Job::Call(call) => call.end(failed),
        }
    }
}

pub(super) struct Writer {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
    lock_timeout: Duration,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    events: usize,
    closed: bool,
    /// The thread sleeps until so many jobs wait; 0 while it doesn't sleep, and needn't be woken.
    wanted: usize,
}

/// What is done in one transaction: the appends first, which have no say in whether a call is refused.
#[derive(Default)]
struct Group {
    appends: Vec<AppendJob>,
    calls: Vec<Box<dyn Call>>,
}

impl Group {
    fn len(&self) -> usize {
        self.appends.len() + self.calls.len()
    }

    fn durable(&self) -> bool {
        !self.appends.is_empty() || self.calls.iter().any(|call| call.durable())
    }

    fn soonest(&self) -> Option<Instant> {
        let calls = self.calls.iter().map(|call| call.deadline());
        self.appends.iter().map(|append| append.deadline).chain(calls).min()
    }

    fn fail(self, error: &Error) {
        self.appends.into_iter().for_each(|append| append.end(Some(error.clone())));
        self.calls.into_iter().for_each(|call| call.end(Some(error.clone())));
    }

    /// Fails the jobs that have no time left; `None` if no other is left.
    fn fail_late(self, error: &Error) -> Option<Group> {
        let now = Instant::now();
        let (appends, late) = self.appends.into_iter().partition(|job| job.deadline > now);
        let (calls, late_calls) = self.calls.into_iter().partition(|job| job.deadline() > now);
        Group { appends: late, calls: late_calls }.fail(error);
        let left = Group { appends, calls };
        (left.len() > 0).then_some(left)
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for jobs and takes them, giving `expected` of them until `gathered` to come; `None` when the log is closed
    /// and all are done.
    fn take(&self, expected: usize, gathered: Instant) -> Option<Group> {
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
        let mut events = 0;
        while group.len() < JOBS_AT_ONCE && events < EVENTS_AT_ONCE {
            let Some(job) = waiting.jobs.pop_front() else { break };
            events += job.events();
            match job {
                Job::Append(append) => group.appends.push(append),
                Job::Call(call) => group.calls.push(call),
            }
        }
        waiting.events -= events;
        (group.len() > 0).then_some(group)
    }

    fn sleep<'a>(
        &self,
        waiting: MutexGuard<'a, Waiting>,
        time: Duration,
    ) -> MutexGuard<'a, Waiting> {
        self.filled.wait_timeout(waiting, time).unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Writer {
    /// Starts the thread, with a connection if there is one already.
    pub fn start(
        database: Arc<Database>,
        handle: Option<Handle>,
        changed: Arc<Signal>,
        dedup_window: Duration,
    ) -> std::io::Result<Writer> {
        let queue = Arc::new(Queue::default());
        let jobs = queue.clone();
        let lock_timeout = database.lock_timeout;
        let memory = Memory::new(dedup_window);
        let writing = Loop { database, handle, wake: None, changed, memory, durable: true };
        let thread = thread::Builder::new()
            .name("eventlog-write".into())
            .spawn(move || work(&jobs, writing))?;
        Ok(Writer { queue, thread: Some(thread), lock_timeout })
    }

    /// Queues a job. Appends beyond `limit` waiting events are refused, unless nothing else waits.
    pub fn submit(&self, job: Job, limit: usize) {
        let mut waiting = self.queue.lock();
        let events = waiting.events + job.events();
        let refused = match () {
            () if waiting.closed => Some(Error::Closed),
            () if job.events() > 0 && waiting.events > 0 && events > limit => {
                Some(Error::Full { waiting: waiting.events, limit })
            }
            () => None,
        };
        if refused.is_none() {
            waiting.events = events;
            waiting.jobs.push_back(job);
            let wake = waiting.wanted > 0 && waiting.jobs.len() >= waiting.wanted;
            if wake {
                waiting.wanted = 0;
            }
            drop(waiting);
            if wake {
                self.queue.filled.notify_one();
            }
        } else {
            drop(waiting);
            job.end(refused);
        }
    }

    /// Runs `work` in a transaction and waits for its outcome.
    pub fn call<T: Send + 'static>(
        &self,
        durable: bool,
        work: impl FnOnce(&Connection) -> Result<(T, Effect), Failure> + Send + 'static,
    ) -> Result<T> {
        let (send, receive) = mpsc::channel();
        self.queue_call(durable, work, send);
        receive.recv().unwrap_or(Err(Error::Closed))
    }

    /// Runs `work` in a transaction some time, and waits for nothing.
    pub fn cast(
        &self,
        work: impl FnOnce(&Connection) -> Result<((), Effect), Failure> + Send + 'static,
    ) {
        let (send, _) = mpsc::channel();
        self.queue_call(false, work, send);
    }

    fn queue_call<T: Send + 'static>(
        &self,
        durable: bool,
        work: impl FnOnce(&Connection) -> Result<(T, Effect), Failure> + Send + 'static,
        answer: mpsc::Sender<Result<T>>,
    ) {
        let deadline = Instant::now() + self.lock_timeout;
        let call = Work { durable, deadline, work: Some(work), value: None, answer };
        self.submit(Job::Call(Box::new(call)), usize::MAX);
    }
}

impl Drop for Writer {
    /// Stores what waits, then ends the thread.
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.filled.notify_all();
        if let Some(thread) = self.thread.take() {
            // A job's end may hold the last use of the log; then the thread ends by itself.
            if thread.thread().id() != thread::current().id() {
                drop(thread.join());
            }
        }
    }
}

struct Work<T, F> {
    durable: bool,
    deadline: Instant,
    work: Option<F>,
    value: Option<T>,
    answer: mpsc::Sender<Result<T>>,
}

impl<T, F> Call for Work<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<(T, Effect), Failure> + Send,
{
    fn durable(&self) -> bool {
        self.durable
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn run(&mut self, connection: &Connection) -> Result<Effect, Failure> {
        let Some(work) = self.work.take() else { return Ok(Effect::Quiet) };
        let (value, effect) = work(connection)?;
        self.value = Some(value);
        Ok(effect)
    }

    fn end(self: Box<Self>, failed: Option<Error>) {
        let outcome = match (failed, self.value) {
            (Some(error), _) => Err(error),
            (None, Some(value)) => Ok(value),
            (None, None) => Err(Error::Closed),
        };
        // A caller that is gone doesn't want to know.
        drop(self.answer.send(outcome));
    }
}

/// The thread.
fn work(queue: &Queue, mut writing: Loop) {
    let (mut expected, mut gathered) = (1, Instant::now());
    while let Some(group) = queue.take(expected, gathered) {
        expected = group.len();
        writing.run(group);
        gathered = Instant::now() + GATHERING;
    }
}

/// The thread's own state.
struct Loop {
    database: Arc<Database>,
    /// `None` until the file could be opened, and after a failure until it could be again.
    handle: Option<Handle>,
    /// Made with the first connection that works: it lives beside the file.
    wake: Option<Wake>,
    changed: Arc<Signal>,
    memory: Memory,
    /// How the connection is set.
    durable: bool,
}

/// What became of a transaction.
struct Committed {
    effect: Effect,
    /// For each call.
    refused: Vec<Option<Error>>,
}

enum Trouble {
    /// Another process has the write lock: nothing was run.
    Locked(Error),
    /// An append's id is known: nothing was run but the appends, and they were undone.
    Repeated,
    Other(Error),
}

impl Loop {
    /// Runs the jobs in one transaction, and tries again while the file is locked and a job has time left.
    fn run(&mut self, mut group: Group) {
        let mut one_by_one = false;
        loop {
            let now = Instant::now();
            wait_for_locks_until(group.soonest().unwrap_or(now));
            match self.transact(&mut group, one_by_one) {
                Ok(Committed { effect, refused }) => {
                    // First the wake-ups: what is acknowledged has been announced.
                    if effect == Effect::Wake {
                        self.changed.notify();
                        if let Some(wake) = &self.wake {
                            wake.notify_others();
                        }
                    }
                    group.appends.into_iter().for_each(|append| append.end(None));
                    group.calls.into_iter().zip(refused).for_each(|(call, error)| call.end(error));
                    return;
                }
                Err(Trouble::Repeated) => one_by_one = true,
                Err(Trouble::Other(error)) => {
                    self.handle = None;
                    return group.fail(&error);
                }
                Err(Trouble::Locked(error)) => match group.fail_late(&error) {
                    Some(left) => group = left,
                    None => return,
                },
            }
        }
    }

    /// The connection, and this log's place among those that are woken.
    fn open(&mut self) -> Result<Handle, Trouble> {
        let handle = match self.handle.take() {
            Some(handle) if self.database.is_current(&handle) => handle,
            Some(_) => return Err(Trouble::Other(self.database.moved())),
            None => {
                self.wake = None;
                self.durable = true;
                self.database.open().map_err(Trouble::Other)?
            }
        };
        if self.wake.is_none() {
            let wake = Wake::open(&self.database.path, self.changed.clone());
            let failed = |error: std::io::Error| self.database.unavailable(&error.to_string());
            self.wake = Some(wake.map_err(failed).map_err(Trouble::Other)?);
        }
        Ok(handle)
    }

    fn transact(&mut self, group: &mut Group, one_by_one: bool) -> Result<Committed, Trouble> {
        let mut handle = self.open()?;
        let committed = self.transact_on(&mut handle.connection, group, one_by_one);
        self.handle = Some(handle);
        committed
    }

    fn transact_on(
        &mut self,
        connection: &mut Connection,
        group: &mut Group,
        one_by_one: bool,
    ) -> Result<Committed, Trouble> {
        let database = self.database.clone();
        let other = |error| Trouble::Other(database.error(error));
        let durable = group.durable();
        if durable != self.durable {
            set_durable(connection, durable).map_err(other)?;
            self.durable = durable;
        }
        let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let mut transaction = begun.map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy) => Trouble::Locked(database.error(error)),
            _ => other(error),
        })?;
        let mut effect = Effect::Quiet;
        if !group.appends.is_empty() {
            let stored =
                append::store(&transaction, &mut group.appends, &mut self.memory, one_by_one);
            match stored {
                Ok(true) => effect = Effect::Wake,
                // Dropped, the transaction rolls back.
                Ok(false) => return Err(Trouble::Repeated),
                Err(Failure::Sql(error)) => return Err(other(error)),
                Err(Failure::Error(error)) => return Err(Trouble::Other(error)),
            }
        }
        let mut refused = Vec::with_capacity(group.calls.len());
        for call in &mut group.calls {
            let savepoint = transaction.savepoint().map_err(other)?;
            match call.run(&savepoint) {
                Ok(caused) => {
                    savepoint.commit().map_err(other)?;
                    effect = effect.max(caused);
                    refused.push(None);
                }
                // Dropped, the savepoint rolls back.
                Err(Failure::Error(error)) => refused.push(Some(error)),
                Err(Failure::Sql(error)) => return Err(other(error)),
            }
        }
        transaction.commit().map_err(other)?;
        Ok(Committed { effect, refused })
    }
}
