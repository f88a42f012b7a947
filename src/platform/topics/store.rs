//! A project's event log in this worker: opened by a background thread, used through futures.
//!
//! The thread opens the log, as often as it takes, declares the topics, and then runs the calls that block. Appends
//! go to the driver's own queue, which answers by callback. Every wait of a coroutine ends soon after the append
//! timeout, which the drivers keep themselves.

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use application::Application;
use eventlog::{Append, Error, EventLog, Result, Stored, LAST_WORD};
use nginx_sys::NGX_LOG_ERR;

use super::health::Health;
use crate::run::bridge::{self, Promise};
use crate::run::wait;

type Job = Box<dyn FnOnce(&dyn EventLog) + Send>;

/// How many blocking calls may wait for the thread.
const JOBS: usize = 1024;
/// How often a log that can't be opened is tried again.
const REOPEN: Duration = Duration::from_secs(1);

pub struct Store {
    shared: Arc<Shared>,
    timeout: Duration,
    /// Disconnected when the thread has ended.
    closed: mpsc::Receiver<()>,
}

/// What the store's threads have in common.
pub struct Shared {
    /// What messages call it where the driver hasn't said so.
    name: &'static str,
    state: Mutex<State>,
    changed: Condvar,
    stopping: AtomicBool,
    /// `None` when the store is stopping, which ends the thread.
    jobs: Mutex<Option<mpsc::SyncSender<Job>>>,
    pub health: Health,
}

enum State {
    Opening { waiting: Vec<Promise<()>>, reason: Error },
    Open(Arc<dyn EventLog>),
    Closed,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state is replaced as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Ends every wait of the store's threads.
    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.look_again();
        *self.jobs() = None;
    }

    /// Has the store's threads look again at what ends their waits.
    pub fn look_again(&self) {
        // A thread that has just looked holds the lock until it waits.
        drop(self.state());
        self.changed.notify_all();
    }

    fn jobs(&self) -> MutexGuard<'_, Option<mpsc::SyncSender<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, unless the store is stopping.
    pub fn pause(&self, duration: Duration) {
        let until = Instant::now() + duration;
        let mut state = self.state();
        while !self.is_stopping() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The log, once it is open; `None` when the store is stopping, or the caller no longer wants it, which
    /// [`look_again`](Shared::look_again) makes it ask.
    pub fn wait_until_open(&self, unwanted: impl Fn() -> bool) -> Option<Arc<dyn EventLog>> {
        let mut state = self.state();
        loop {
            match &*state {
                State::Open(log) => return Some(log.clone()),
                State::Closed => return None,
                State::Opening { .. } if self.is_stopping() || unwanted() => return None,
                State::Opening { .. } => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn open(&self, application: &Application) -> Option<Arc<dyn EventLog>> {
        // What isn't the store's absence is said once, and tried again: its operator may put it right.
        let mut said = None;
        while !self.is_stopping() {
            let driver = application.storage.driver();
            let began = Instant::now();
            let opened = eventlog::open(&driver, application.limits.clone())
                .and_then(|log| log.declare(&application.topics).map(|()| log));
            self.health.note(&opened, began);
            match opened {
                Ok(log) => {
                    let mut state = self.state();
                    // The promises are kept by being dropped, outside the lock.
                    let before = std::mem::replace(&mut *state, State::Open(log.clone()));
                    drop(state);
                    drop(before);
                    self.changed.notify_all();
                    return Some(log);
                }
                Err(error) => {
                    if !error.retry() && said.as_ref() != Some(&error) {
                        super::health::log(NGX_LOG_ERR, error.to_string());
                        said = Some(error.clone());
                    }
                    if let State::Opening { reason, .. } = &mut *self.state() {
                        *reason = error;
                    }
                    self.pause(REOPEN);
                }
            }
        }
        None
    }
}

impl Store {
    /// Starts the thread. Called after `fork`.
    pub fn start(application: Arc<Application>) -> std::io::Result<Store> {
        let (jobs, queue) = mpsc::sync_channel::<Job>(JOBS);
        let name = application.storage.name();
        let reason = unavailable(name, "it is not open yet".into());
        let shared = Arc::new(Shared {
            name,
            state: Mutex::new(State::Opening { waiting: Vec::new(), reason }),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
            jobs: Mutex::new(Some(jobs)),
            health: Health::new(),
        });
        let (done, closed) = mpsc::channel();
        let timeout = application.limits.append_timeout;
        let of_thread = shared.clone();
        thread::Builder::new().name("spacer-topics".into()).spawn(move || {
            if let Some(log) = of_thread.open(&application) {
                for job in queue {
                    job(&*log);
                }
            }
            *of_thread.state() = State::Closed;
            // The log's last owner closes it, which waits for what it has been given.
            drop(done);
        })?;
        Ok(Store { shared, timeout, closed })
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Closes the log and waits for that until the deadline. Answers whether it was closed by then.
    pub fn close(self, deadline: Instant) -> bool {
        self.shared.stop();
        let left = deadline.saturating_duration_since(Instant::now());
        !matches!(self.closed.recv_timeout(left), Err(mpsc::RecvTimeoutError::Timeout))
    }

    /// Stores the events. Fails soon after the append timeout at the latest.
    pub fn append(&self, append: Append) -> impl Future<Output = Result<Vec<Stored>>> {
        let (shared, timeout) = (self.shared.clone(), self.timeout);
        async move {
            let began = Instant::now();
            let stored = within(&shared, timeout, async {
                let log = opened(&shared).await?;
                let (promise, answer) = bridge::promise();
                log.submit(append, Box::new(move |outcome| promise.keep(outcome)));
                drop(log);
                answer.await.unwrap_or(Err(Error::Closed))
            });
            let stored = stored.await;
            shared.health.note(&stored, began);
            stored
        }
    }

    /// Has the thread call the log. Fails soon after the append timeout at the latest.
    pub fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&dyn EventLog) -> Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> {
        let (shared, timeout) = (self.shared.clone(), self.timeout);
        async move {
            let began = Instant::now();
            let result = within(&shared, timeout, async {
                drop(opened(&shared).await?);
                let (promise, answer) = bridge::promise();
                // Work that its caller has given up would only hold up the others.
                let job: Job = Box::new(move |log| {
                    if promise.is_wanted() {
                        promise.keep(job(log));
                    }
                });
                let sent = shared.jobs().as_ref().map(|jobs| jobs.try_send(job));
                match sent {
                    Some(Ok(())) => answer.await.unwrap_or(Err(Error::Closed)),
                    Some(Err(mpsc::TrySendError::Full(_))) => {
                        Err(Error::Full { waiting: JOBS, limit: JOBS })
                    }
                    Some(Err(mpsc::TrySendError::Disconnected(_))) | None => Err(Error::Closed),
                }
            });
            let result = result.await;
            shared.health.note(&result, began);
            result
        }
    }
}

/// The log, as soon as it is open.
async fn opened(shared: &Shared) -> Result<Arc<dyn EventLog>> {
    loop {
        let answer = match &mut *shared.state() {
            State::Open(log) => return Ok(log.clone()),
            State::Closed => return Err(Error::Closed),
            State::Opening { waiting, .. } => {
                let (promise, answer) = bridge::promise();
                waiting.push(promise);
                answer
            }
        };
        answer.await;
    }
}

/// What the future says, or that the log is unavailable when it takes longer than `timeout`.
async fn within<T>(
    shared: &Shared,
    timeout: Duration,
    future: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut future = pin!(future);
    let mut timer = pin!(wait::sleep((timeout + LAST_WORD).as_millis() as u64));
    let finished = poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => timer.as_mut().poll(context).map(|_| None),
    });
    match finished.await {
        Some(result) => result,
        None => Err(too_slow(shared, timeout)),
    }
}

fn too_slow(shared: &Shared, timeout: Duration) -> Error {
    match &*shared.state() {
        State::Opening { reason, .. } => reason.clone(),
        State::Open(_) | State::Closed => {
            unavailable(shared.name, format!("no answer within {} ms", timeout.as_millis()))
        }
    }
}

fn unavailable(store: &str, reason: String) -> Error {
    Error::Unavailable { store: store.into(), reason }
}
