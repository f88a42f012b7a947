//! The thread that appends: whatever waits at a moment becomes one transaction. It keeps its own connection, and makes
//! it again when it is lost, while appends wait that have time left.
//!
//! A second thread, the clock, answers appends whose time is over, wherever they are: the server may not answer at all.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::append::{self, Answer, Job, Outcome};
use super::connection::{lock, Database};
use super::session::Session;
use crate::backlog::Backlog;
use crate::signal::Signal;
use crate::{Append, Done, Error, Limits, Result};

/// A transaction takes no more jobs and bytes than these, so that the first doesn't wait long for the last.
const JOBS_AT_ONCE: usize = 1000;
const BYTES_AT_ONCE: usize = 8 << 20;
/// Whoever was just answered is likely to append again: the next transaction waits to be as large as the last, for as long
/// as that took, which makes no append wait for more than twice as long as it must; but at least so long, as threads
/// need it to come back,
const GATHERING: Duration = Duration::from_micros(300);
/// and no longer than this.
const LONGEST_GATHERING: Duration = Duration::from_millis(2);
/// How long the thread sleeps at most while the server is away, to see whether anything still waits.
const TICK: Duration = Duration::from_millis(100);
/// How often ids are removed that are out of the window.
const FORGET_EACH: Duration = Duration::from_secs(10);

pub(super) struct Writer {
    shared: Arc<Shared>,
    ended: Mutex<mpsc::Receiver<()>>,
    limits: Limits,
}

struct Shared {
    database: Arc<Database>,
    waiting: Mutex<Waiting>,
    filled: Condvar,
    /// The answers that are due, in the order of their deadlines.
    due: Mutex<VecDeque<(Instant, Arc<Answer>)>>,
    due_added: Condvar,
    /// For the clock, which mustn't take the queue's lock while it has its own: submitting takes them the other way.
    closing: AtomicBool,
    /// Why the server is away, as far as is known.
    trouble: Mutex<Option<Error>>,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    load: Backlog,
    closed: bool,
    /// How many jobs the thread waits for.
    wanted: usize,
}

impl Writer {
    pub fn start(
        database: Arc<Database>,
        changed: Arc<Signal>,
        limits: &Limits,
        log: String,
    ) -> std::io::Result<Writer> {
        let shared = Arc::new(Shared {
            database,
            waiting: Mutex::default(),
            filled: Condvar::new(),
            due: Mutex::default(),
            due_added: Condvar::new(),
            closing: AtomicBool::new(false),
            trouble: Mutex::default(),
        });
        let clock = shared.clone();
        thread::Builder::new().name("eventlog-clock".into()).spawn(move || clock.watch())?;
        let (end, ended) = mpsc::channel();
        let mut writing = Loop {
            shared: shared.clone(),
            session: None,
            changed,
            log,
            window: limits.dedup_window,
            forget_at: Instant::now(),
            alone: 0,
        };
        thread::Builder::new().name("eventlog-write".into()).spawn(move || {
            writing.run();
            // Nobody hears it if the writer was dropped by an answer.
            let _ = end.send(());
        })?;
        Ok(Writer { shared, ended: Mutex::new(ended), limits: limits.clone() })
    }

    /// Queues an append, unless it is too much.
    pub fn submit(&self, append: Append, done: Done) {
        let job = Job::new(append, self.limits.append_timeout, done);
        let mut waiting = lock(&self.shared.waiting);
        let refused = match waiting.closed {
            true => Some(Error::Closed),
            false => waiting.load.check(job.load, &self.limits).err(),
        };
        if let Some(error) = refused {
            drop(waiting);
            job.answer.give(Err(error));
            return;
        }
        self.shared.remind(&job);
        waiting.load.add(job.load);
        waiting.jobs.push_back(job);
        // A thread that gathers isn't woken for each.
        if waiting.jobs.len() >= waiting.wanted {
            drop(waiting);
            self.shared.filled.notify_one();
        }
    }
}

impl Drop for Writer {
    /// Stores what waits. Doesn't wait longer for that than the appends do.
    fn drop(&mut self) {
        lock(&self.shared.waiting).closed = true;
        self.shared.closing.store(true, Ordering::Release);
        self.shared.filled.notify_all();
        self.shared.due_added.notify_all();
        // An append's answer may hold the last use of the log; then this is one of its threads.
        if !thread::current().name().is_some_and(|name| name.starts_with("eventlog-")) {
            let _ = lock(&self.ended).recv_timeout(self.limits.append_timeout);
        }
    }
}

impl Shared {
    /// Waits for jobs, first for as many as there were `before`, and takes them; `None` when the log is closed
    /// and all are done.
    fn take(&self, before: usize, gathering: Duration) -> Option<Vec<Job>> {
        let mut waiting = lock(&self.waiting);
        waiting.wanted = before;
        let few = |waiting: &mut Waiting| waiting.jobs.len() < waiting.wanted && !waiting.closed;
        let gathered = self.filled.wait_timeout_while(waiting, gathering, few);
        waiting = gathered.unwrap_or_else(PoisonError::into_inner).0;
        waiting.wanted = 1;
        waiting = self.filled.wait_while(waiting, few).unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        let fits = |job: &&Job| {
            bytes += job.load.bytes;
            bytes <= BYTES_AT_ONCE
        };
        let count = waiting.jobs.iter().take(JOBS_AT_ONCE).take_while(fits).count();
        let count = count.max(1).min(waiting.jobs.len());
        let jobs: Vec<Job> = waiting.jobs.drain(..count).collect();
        jobs.iter().for_each(|job| waiting.load.remove(job.load));
        (!jobs.is_empty()).then_some(jobs)
    }

    fn remind(&self, job: &Job) {
        let mut due = lock(&self.due);
        while due.front().is_some_and(|(_, answer)| answer.is_given()) {
            due.pop_front();
        }
        due.push_back((job.deadline, job.answer.clone()));
        if due.len() == 1 {
            self.due_added.notify_one();
        }
    }

    /// The clock: answers what is over until the log is closed and nothing is due.
    fn watch(&self) {
        let mut due = lock(&self.due);
        loop {
            let now = Instant::now();
            let mut over = Vec::new();
            while let Some((deadline, answer)) = due.front() {
                if *deadline > now && !answer.is_given() {
                    break;
                }
                over.extend(due.pop_front().map(|(_, answer)| answer));
            }
            let next = due.front().map(|(deadline, _)| *deadline - now);
            if over.iter().any(|answer| !answer.is_given()) {
                drop(due);
                let error = self.overdue();
                // First the room: who hears of it may append again at once.
                self.drop_overdue(now);
                over.iter().for_each(|answer| answer.give(Err(error.clone())));
                due = lock(&self.due);
                continue;
            }
            if next.is_none() && self.closing.load(Ordering::Acquire) {
                return;
            }
            // A close that isn't seen here in time is seen at the next tick.
            let wait = next.unwrap_or(Duration::from_secs(1)).min(Duration::from_secs(1));
            let waited = self.due_added.wait_timeout(due, wait);
            due = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn overdue(&self) -> Error {
        let known = lock(&self.trouble).clone();
        known.unwrap_or_else(|| self.database.unavailable("no answer to an append in time"))
    }

    /// Makes room in the queue for those that have time left. The clock answers the others.
    fn drop_overdue(&self, now: Instant) {
        let mut waiting = lock(&self.waiting);
        waiting.jobs.retain(|job| job.deadline > now && !job.answer.is_given());
        let mut load = Backlog::default();
        waiting.jobs.iter().for_each(|job| load.add(job.load));
        waiting.load = load;
    }
}

/// The thread's own state.
struct Loop {
    shared: Arc<Shared>,
    session: Option<Session>,
    changed: Arc<Signal>,
    log: String,
    window: Duration,
    forget_at: Instant,
    /// How many jobs are to be stored one by one, to find the one that PostgreSQL refuses.
    alone: usize,
}

impl Loop {
    fn run(&mut self) {
        let (mut before, mut gathering) = (1, GATHERING);
        while let Some(mut jobs) = self.shared.take(before, gathering) {
            let begun = Instant::now();
            before = jobs.len();
            loop {
                jobs.retain(|job| !job.answer.is_given());
                if jobs.is_empty() {
                    break;
                }
                self.attempt(&mut jobs);
            }
            gathering = begun.elapsed().clamp(GATHERING, LONGEST_GATHERING);
            self.forget();
        }
    }

    /// Stores and answers jobs, as many as can share a transaction. Those that are left are to be tried again.
    fn attempt(&mut self, jobs: &mut Vec<Job>) {
        let mut session = match self.session.take().map_or_else(|| self.connect(), Ok) {
            Ok(session) => session,
            Err(error) if error.retry() => {
                *lock(&self.shared.trouble) = Some(error);
                thread::sleep(self.shared.database.pause().clamp(Duration::from_millis(1), TICK));
                return;
            }
            Err(error) => {
                jobs.drain(..).for_each(|job| job.answer.give(Err(error.clone())));
                return;
            }
        };
        session.begin_work(self.shared.database.deadline());
        let mut together = self.together(jobs);
        let outcome = append::resolve(&self.shared.database, &mut session, &mut together).and_then(
            |topics| match together.is_empty() {
                true => Ok(Outcome::Stored(Vec::new())),
                false => append::store(&mut session, &topics, &together, &self.log),
            },
        );
        let outcome = match outcome {
            Ok(Outcome::Repeated) => append::answer_repeated(&mut session, &mut together),
            Ok(Outcome::Fenced(lost)) => {
                for number in lost.into_iter().rev() {
                    let job = together.remove(number);
                    if let Some(fence) = &job.append.fence {
                        job.answer.give(Err(fence.lost()));
                    }
                }
                Ok(())
            }
            Ok(Outcome::Stored(stored)) => {
                // First the wake-ups: what is acknowledged has been announced.
                if session.has_answered() {
                    self.changed.notify();
                }
                let answers = together.drain(..).zip(stored);
                answers.for_each(|(job, stored)| job.answer.give(Ok(stored)));
                Ok(())
            }
            Err(failure) => Err(failure),
        };
        *lock(&self.shared.trouble) = None;
        if let Err(failure) = outcome {
            let lost = failure.is_lost();
            if failure.is_of_data() && together.len() > 1 {
                self.alone = together.len();
            } else if !failure.is_passing() {
                let error = self.shared.database.error(failure);
                together.drain(..).for_each(|job| job.answer.give(Err(error.clone())));
            } else {
                *lock(&self.shared.trouble) = Some(self.shared.database.error(failure));
            }
            if lost {
                jobs.splice(0..0, together);
                self.shared.database.forget_topics();
                // Whatever ends connections at once isn't asked for the next one without a pause.
                thread::sleep(TICK / 10);
                return;
            }
        }
        jobs.splice(0..0, together);
        self.session = Some(session);
    }

    fn connect(&self) -> Result<Session> {
        self.shared.database.connect(self.shared.database.deadline())
    }

    /// Takes the first jobs out, none of them with the id of another.
    fn together(&mut self, jobs: &mut Vec<Job>) -> Vec<Job> {
        if self.alone > 0 {
            self.alone -= 1;
            return jobs.drain(..1).collect();
        }
        let mut ids = HashSet::with_capacity(jobs.len());
        let count = jobs.iter().take_while(|job| ids.insert(job.append.id)).count();
        jobs.drain(..count).collect()
    }

    fn forget(&mut self) {
        if Instant::now() < self.forget_at {
            return;
        }
        let Some(session) = &mut self.session else { return };
        session.begin_work(self.shared.database.deadline());
        match append::forget(session, self.window) {
            // There is more, for after the next commit.
            Ok(true) => {}
            Ok(false) => self.forget_at = Instant::now() + FORGET_EACH.min(self.window),
            // The ids are left for another time; what ails the connection shows at the next append.
            Err(failure) => {
                self.forget_at = Instant::now() + FORGET_EACH.min(self.window);
                if failure.is_lost() {
                    self.session = None;
                }
            }
        }
    }
}
