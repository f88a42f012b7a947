//! The one thread that writes: a group of jobs becomes one transaction, with one wait for the disk.
//!
//! Appends are stored together. Each call runs in a savepoint of its own, so that a refused one leaves the others
//! untouched. A failure of the store fails them all.

use std::sync::{mpsc, Arc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::append::{self, Memory};
use super::checkpoint::Checkpoint;
use super::connection::{set_durable, wait_for_locks_until, Database, Failure, Handle};
use super::queue::{Call, Effect, Group, Job, Queue};
use super::wake::Wake;
use crate::signal::Signal;
use crate::{Error, Limits, Result};

/// A group is waited for as long as the last one took, which makes no append wait for more than twice as long as it must;
/// but at least so long, as threads need it to come back,
const GATHERING: Duration = Duration::from_micros(300);
/// and no longer than this.
const LONGEST_GATHERING: Duration = Duration::from_millis(2);

pub(super) struct Writer {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
    lock_timeout: Duration,
    limits: Arc<Limits>,
}

impl Writer {
    /// Starts the thread, with a connection if there is one already.
    pub fn start(
        database: Arc<Database>,
        handle: Option<Handle>,
        changed: Arc<Signal>,
        limits: Arc<Limits>,
    ) -> std::io::Result<Writer> {
        let queue = Arc::new(Queue::default());
        let lock_timeout = database.lock_timeout;
        let memory = Memory::new(limits.dedup_window);
        let checkpoint = Checkpoint::new();
        let writing = Loop {
            queue: queue.clone(),
            database,
            handle,
            wake: None,
            checkpoint,
            changed,
            memory,
            durable: true,
        };
        let thread =
            thread::Builder::new().name("eventlog-write".into()).spawn(move || work(writing))?;
        Ok(Writer { queue, thread: Some(thread), lock_timeout, limits })
    }

    /// Queues a job. Appends that are too much are refused.
    pub fn submit(&self, job: Job) {
        self.queue.submit(job, &self.limits);
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
        self.submit(Job::Call(Box::new(call)));
    }
}

impl Drop for Writer {
    /// Stores what waits, then ends the thread.
    fn drop(&mut self) {
        self.queue.close();
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
fn work(mut writing: Loop) {
    let (mut expected, mut gathered) = (1, Instant::now());
    while let Some(group) = writing.queue.take(expected, gathered) {
        let begun = Instant::now();
        expected = writing.run(group);
        gathered = Instant::now() + begun.elapsed().clamp(GATHERING, LONGEST_GATHERING);
    }
}

/// The thread's own state.
struct Loop {
    queue: Arc<Queue>,
    database: Arc<Database>,
    /// `None` until the file could be opened, and after a failure until it could be again.
    handle: Option<Handle>,
    /// Made with the first connection that works: it lives beside the file.
    wake: Option<Wake>,
    checkpoint: Checkpoint,
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
    /// Runs the jobs in one transaction, with those that come until it begins, and tries again while the file is locked
    /// and a job has time left. Answers how many jobs there were in the end.
    fn run(&mut self, mut group: Group) -> usize {
        let mut one_by_one = false;
        loop {
            let now = Instant::now();
            let deadline = group.soonest().unwrap_or(now);
            match self.transact(&mut group, deadline, one_by_one) {
                Ok(Committed { effect, refused }) => {
                    // First the wake-ups: what is acknowledged has been announced.
                    if effect == Effect::Wake {
                        self.changed.notify();
                        if let Some(wake) = &self.wake {
                            wake.notify_others();
                        }
                    }
                    let jobs = group.len();
                    group.appends.into_iter().for_each(|append| append.end(None));
                    group.calls.into_iter().zip(refused).for_each(|(call, error)| call.end(error));
                    if let Some(handle) = &self.handle {
                        self.checkpoint.run(&handle.connection);
                    }
                    return jobs;
                }
                Err(Trouble::Repeated) => one_by_one = true,
                Err(Trouble::Other(error)) => {
                    self.handle = None;
                    group.fail(&error);
                    return 0;
                }
                Err(Trouble::Locked(error)) => match group.fail_late(&error) {
                    Some(left) => group = left,
                    None => return 0,
                },
            }
        }
    }

    /// The connection, and this log's place among those that are woken.
    fn open(&mut self, deadline: Instant) -> Result<Handle, Trouble> {
        let mut handle = match self.handle.take() {
            Some(handle) if self.database.is_current(&handle) => handle,
            Some(_) => return Err(Trouble::Other(self.database.moved())),
            None => {
                self.wake = None;
                self.durable = true;
                self.database.open(deadline).map_err(Trouble::Other)?
            }
        };
        if self.wake.is_none() {
            let watched = self.checkpoint.watch(&mut handle.connection);
            watched.map_err(|error| Trouble::Other(self.database.error(error)))?;
            let wake = Wake::open(&self.database.path, self.changed.clone());
            let failed = |error: std::io::Error| self.database.denied(error.to_string());
            self.wake = Some(wake.map_err(failed).map_err(Trouble::Other)?);
        }
        Ok(handle)
    }

    fn transact(
        &mut self,
        group: &mut Group,
        deadline: Instant,
        one_by_one: bool,
    ) -> Result<Committed, Trouble> {
        let mut handle = self.open(deadline)?;
        wait_for_locks_until(deadline);
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
        if durable {
            // Others may have held the lock for a while.
            self.queue.top_up(group);
        }
        let mut effect = Effect::Quiet;
        if !group.appends.is_empty() {
            let stored =
                append::store(&transaction, &mut group.appends, &mut self.memory, one_by_one);
            match stored {
                Ok(Some(caused)) => effect = caused,
                // Dropped, the transaction rolls back.
                Ok(None) => return Err(Trouble::Repeated),
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
