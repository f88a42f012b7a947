//! The one thread that writes: whatever waits at a moment becomes one transaction, with one wait for the disk.
//!
//! Each job runs in a savepoint of its own, so that a refused one leaves the others untouched. A failure of the store
//! fails them all.

use std::collections::VecDeque;
use std::sync::{mpsc, Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::connection::{set_durable, wait_for_locks_until, Database, Failure, Handle};
use super::wake::Wake;
use crate::signal::Signal;
use crate::{Error, Result};

/// A transaction takes no more jobs than this, so that the first doesn't wait long for the last.
const JOBS_AT_ONCE: usize = 1000;

/// What a job's effects mean to others, when it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    /// Nobody waits for it.
    Quiet,
    /// There may be something to claim.
    Wake,
}

pub(super) trait Job: Send {
    /// How many events it appends.
    fn events(&self) -> usize {
        0
    }
    /// Whether its end must be on disk. What isn't is repeated after a power failure.
    fn durable(&self) -> bool;
    /// When it is given up if it hasn't been begun.
    fn deadline(&self) -> Instant;
    fn run(&mut self, connection: &Connection) -> Result<Effect, Failure>;
    /// Called once, after the commit or with what prevented it.
    fn end(self: Box<Self>, failed: Option<Error>);
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
    jobs: VecDeque<Box<dyn Job>>,
    events: usize,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for jobs and takes them; `None` when the log is closed and all are done.
    fn take(&self) -> Option<Vec<Box<dyn Job>>> {
        let empty = |waiting: &mut Waiting| waiting.jobs.is_empty() && !waiting.closed;
        let waiting = self.filled.wait_while(self.lock(), empty);
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        let count = waiting.jobs.len().min(JOBS_AT_ONCE);
        let jobs: Vec<_> = waiting.jobs.drain(..count).collect();
        waiting.events -= jobs.iter().map(|job| job.events()).sum::<usize>();
        (!jobs.is_empty()).then_some(jobs)
    }
}

impl Writer {
    pub fn start(
        database: Arc<Database>,
        handle: Handle,
        changed: Arc<Signal>,
        wake: Arc<Wake>,
    ) -> std::io::Result<Writer> {
        let queue = Arc::new(Queue::default());
        let jobs = queue.clone();
        let lock_timeout = database.lock_timeout;
        let thread = thread::Builder::new().name("eventlog-write".into()).spawn(move || {
            let mut writing = Loop { database, handle: Some(handle), changed, wake, durable: true };
            while let Some(jobs) = jobs.take() {
                writing.run(jobs);
            }
        })?;
        Ok(Writer { queue, thread: Some(thread), lock_timeout })
    }

    /// Queues a job. Appends beyond `limit` waiting events are refused, unless nothing else waits.
    pub fn submit(&self, job: Box<dyn Job>, limit: usize) {
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
            drop(waiting);
            self.queue.filled.notify_one();
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
        let call = Call { durable, deadline, work: Some(work), value: None, answer };
        self.submit(Box::new(call), usize::MAX);
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

struct Call<T, F> {
    durable: bool,
    deadline: Instant,
    work: Option<F>,
    value: Option<T>,
    answer: mpsc::Sender<Result<T>>,
}

impl<T, F> Job for Call<T, F>
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

/// The thread's own state.
struct Loop {
    database: Arc<Database>,
    /// `None` after a failure, until the file could be opened again.
    handle: Option<Handle>,
    changed: Arc<Signal>,
    wake: Arc<Wake>,
    /// How the connection is set.
    durable: bool,
}

impl Loop {
    /// Runs the jobs in one transaction, and tries again while the file is locked and a job has time left.
    fn run(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        let mut refused: Vec<Option<Error>> = Vec::new();
        loop {
            let soonest = jobs.iter().map(|job| job.deadline()).min();
            let now = Instant::now();
            wait_for_locks_until(soonest.unwrap_or(now));
            let outcome = self.transact(&mut jobs, &mut refused);
            let error = match outcome {
                Ok(effect) => {
                    // First the wake-ups: what is acknowledged has been announced.
                    if effect == Effect::Wake {
                        self.changed.notify();
                        self.wake.notify_others();
                    }
                    jobs.into_iter().zip(refused).for_each(|(job, error)| job.end(error));
                    return;
                }
                Err(Trouble::Locked(error)) => error,
                Err(Trouble::Other(error)) => {
                    self.handle = None;
                    jobs.into_iter().for_each(|job| job.end(Some(error.clone())));
                    return;
                }
            };
            let now = Instant::now();
            let (left, late): (Vec<_>, Vec<_>) =
                jobs.into_iter().partition(|job| job.deadline() > now);
            late.into_iter().for_each(|job| job.end(Some(error.clone())));
            if left.is_empty() {
                return;
            }
            jobs = left;
        }
    }

    fn transact(
        &mut self,
        jobs: &mut [Box<dyn Job>],
        refused: &mut Vec<Option<Error>>,
    ) -> Result<Effect, Trouble> {
        if self.handle.as_ref().is_some_and(|handle| !self.database.is_current(handle)) {
            return Err(Trouble::Other(self.database.moved()));
        }
        if self.handle.is_none() {
            self.handle = Some(self.database.open().map_err(Trouble::Other)?);
            self.durable = true;
        }
        let Some(handle) = &mut self.handle else {
            return Err(Trouble::Other(Error::Closed));
        };
        let other = |error| Trouble::Other(self.database.error(error));
        let durable = jobs.iter().any(|job| job.durable());
        if durable != self.durable {
            set_durable(&handle.connection, durable).map_err(other)?;
            self.durable = durable;
        }
        let begun = handle.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let mut transaction = begun.map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy) => Trouble::Locked(self.database.error(error)),
            _ => other(error),
        })?;
        refused.clear();
        let mut effect = Effect::Quiet;
        for job in jobs {
            let savepoint = transaction.savepoint().map_err(other)?;
            match job.run(&savepoint) {
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
        Ok(effect)
    }
}

enum Trouble {
    /// Another process has the write lock: nothing was run.
    Locked(Error),
    Other(Error),
}
