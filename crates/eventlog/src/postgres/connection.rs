//! Connections to the server: one attempt at a time, with a growing pause between those that fail, and what errors mean.
//! Each call has the append timeout for all that it does.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;
use tokio_postgres::types::FromSql;
use tokio_postgres::Row;

use super::client::Client;
use super::conninfo::Conninfo;
use super::schema;
use super::session::Session;
use super::topic::TopicInfo;
use crate::{Error, Invalid, Result, Topic};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// More idle connections than these are closed.
const IDLE_MOST: usize = 8;

/// The server, and connections to it that wait to be used.
pub(super) struct Database {
    conninfo: Arc<Conninfo>,
    idle: Mutex<Vec<Session>>,
    attempts: Mutex<Attempts>,
    attempted: Condvar,
    topics: Mutex<HashMap<Topic, Arc<TopicInfo>>>,
}

#[derive(Default)]
struct Attempts {
    /// One is under way.
    connecting: bool,
    failed: Option<Failed>,
}

struct Failed {
    error: Error,
    pause: Duration,
    next: Instant,
}

/// Ends an attempt, also one that panics: the others wait for it.
struct Over<'a>(&'a Database);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        lock(&self.0.attempts).connecting = false;
        self.0.attempted.notify_all();
    }
}

impl Database {
    pub fn new(conninfo: Conninfo) -> Database {
        Database {
            conninfo: Arc::new(conninfo),
            idle: Mutex::default(),
            attempts: Mutex::default(),
            attempted: Condvar::new(),
            topics: Mutex::default(),
        }
    }

    pub fn store(&self) -> &str {
        &self.conninfo.store
    }

    /// When a call that begins at this moment is over.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.conninfo.patience
    }

    /// A new connection, whose database is laid out. After a failed attempt there is none before its pause is over:
    /// until then the answer is that failure.
    pub fn connect(&self, deadline: Instant) -> Result<Session> {
        let mut attempts = lock(&self.attempts);
        if attempts.connecting {
            let left = deadline.saturating_duration_since(Instant::now());
            let waited = self.attempted.wait_timeout_while(attempts, left, |a| a.connecting);
            attempts = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut pause = FIRST_PAUSE;
        if let Some(failed) = &attempts.failed {
            if Instant::now() < failed.next {
                return Err(failed.error.clone());
            }
            pause = (failed.pause * 2).min(LONGEST_PAUSE);
        }
        if attempts.connecting || Instant::now() >= deadline {
            let patience = self.conninfo.patience;
            return Err(self.unavailable(&format!("no connection within {patience:?}")));
        }
        attempts.connecting = true;
        drop(attempts);
        let _over = Over(self);
        let outcome = self.try_connect(deadline).map_err(|failure| self.error(failure));
        let mut attempts = lock(&self.attempts);
        match outcome {
            Ok(session) => {
                attempts.failed = None;
                Ok(session)
            }
            Err(error) => {
                let next = Instant::now() + pause;
                attempts.failed = Some(Failed { error: error.clone(), pause, next });
                Err(error)
            }
        }
    }

    /// How long [`Database::connect`] would refuse to try.
    pub fn pause(&self) -> Duration {
        let attempts = lock(&self.attempts);
        let left = |failed: &Failed| failed.next.saturating_duration_since(Instant::now());
        attempts.failed.as_ref().map_or(Duration::ZERO, left)
    }

    fn try_connect(&self, deadline: Instant) -> Result<Session, Failure> {
        let client = Client::connect(&self.conninfo, deadline)?;
        let mut session = Session::new(client, self.store(), self.conninfo.patience)?;
        schema::prepare(&mut session, self.store())?;
        Ok(session)
    }

    /// Runs `work` on a connection. When the connection turns out to be dead before anything was committed, `work` is
    /// run again on a fresh one.
    pub fn run<T>(&self, work: impl FnMut(&mut Session) -> Result<T, Failure>) -> Result<T> {
        self.run_until(self.deadline(), work)
    }

    /// The same for a call that has begun earlier.
    pub fn run_until<T>(
        &self,
        deadline: Instant,
        mut work: impl FnMut(&mut Session) -> Result<T, Failure>,
    ) -> Result<T> {
        let idle = lock(&self.idle).pop();
        if let Some(mut session) = idle {
            session.begin_work(deadline);
            match work(&mut session) {
                Err(failure) if failure.is_lost() => {
                    // Whatever ended this one has probably ended the others.
                    lock(&self.idle).clear();
                    self.forget_topics();
                    if session.may_have_committed() || Instant::now() >= deadline {
                        return Err(self.error(failure));
                    }
                }
                outcome => return self.end(session, outcome),
            }
        }
        // Its deadline is this one, or later if it had to lay the database out.
        let mut session = self.connect(deadline)?;
        let outcome = work(&mut session);
        self.end(session, outcome)
    }

    fn end<T>(&self, session: Session, outcome: Result<T, Failure>) -> Result<T> {
        let usable = !matches!(&outcome, Err(failure) if failure.is_lost());
        let mut idle = lock(&self.idle);
        if usable && idle.len() < IDLE_MOST {
            idle.push(session);
        }
        drop(idle);
        outcome.map_err(|failure| self.error(failure))
    }

    /// Where a topic is stored.
    pub fn topic(&self, session: &mut Session, topic: &Topic) -> Result<Arc<TopicInfo>, Failure> {
        if let Some(info) = lock(&self.topics).get(topic) {
            return Ok(info.clone());
        }
        let info = Arc::new(TopicInfo::find(session, topic)?);
        Ok(lock(&self.topics).entry(topic.clone()).or_insert(info).clone())
    }

    /// After a lost connection the server's database may be another: an older copy of it, say.
    pub fn forget_topics(&self) {
        lock(&self.topics).clear();
    }

    /// What a failure means to the user of the log.
    pub fn error(&self, failure: Failure) -> Error {
        let of_data = failure.is_of_data();
        let error = match failure {
            Failure::Sql(error) => error,
            Failure::Error(error) => return error,
            Failure::Lost(reason) => return self.unavailable(&reason),
            Failure::Value(reason) => {
                return Error::Corrupt { store: self.store().to_owned(), reason };
            }
        };
        let (store, reason) = (self.store().to_owned(), describe(&error));
        match error.code() {
            Some(&(SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED)) => {
                Error::Corrupt { store, reason }
            }
            Some(&SqlState::UNDEFINED_TABLE) => {
                // Somebody dropped a topic's table: what is known of the topics may be out of date.
                self.forget_topics();
                Invalid::UnfitStore { store, reason }.into()
            }
            Some(&(SqlState::UNDEFINED_COLUMN | SqlState::INSUFFICIENT_PRIVILEGE)) => {
                Invalid::UnfitStore { store, reason }.into()
            }
            _ if of_data => Invalid::Refused { store, reason }.into(),
            _ => Error::Unavailable { store, reason },
        }
    }

    pub fn unavailable(&self, reason: &str) -> Error {
        Error::Unavailable { store: self.store().to_owned(), reason: reason.to_owned() }
    }
}

/// An error's own words and those of its causes, on one line.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("{} ({})", error.message(), error.code().code());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// None of the values behind these locks can be left half-changed by a panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a piece of work on the database failed: the server, or the work itself.
#[derive(Debug)]
pub(super) enum Failure {
    Sql(tokio_postgres::Error),
    /// There is no connection, or it was given up.
    Lost(String),
    Error(Error),
    /// A value isn't what this program writes.
    Value(String),
}

/// A row's value.
pub(super) fn column<'a, T: FromSql<'a>>(row: &'a Row, number: usize) -> Result<T, Failure> {
    row.try_get(number).map_err(|error| Failure::Value(describe(&error)))
}

impl Failure {
    pub fn text(&self) -> String {
        match self {
            Failure::Sql(error) => describe(error),
            Failure::Error(error) => error.to_string(),
            Failure::Lost(reason) | Failure::Value(reason) => reason.clone(),
        }
    }

    /// The server's code for it, if it is the server's.
    pub fn code(&self) -> Option<&SqlState> {
        match self {
            Failure::Sql(error) => error.code(),
            Failure::Lost(_) | Failure::Error(_) | Failure::Value(_) => None,
        }
    }

    /// Whether the connection is of no use any more.
    pub fn is_lost(&self) -> bool {
        match self {
            Failure::Sql(error) => match error.code() {
                // The server ends the connection after these.
                Some(code) => {
                    code.code().starts_with("57P")
                        || *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
                }
                None => true,
            },
            Failure::Lost(_) => true,
            Failure::Error(_) | Failure::Value(_) => false,
        }
    }

    /// Whether the same work may succeed a moment later.
    pub fn is_passing(&self) -> bool {
        let passing = |code: &SqlState| {
            [
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::T_R_SERIALIZATION_FAILURE,
                SqlState::LOCK_NOT_AVAILABLE,
            ]
            .contains(code)
        };
        self.is_lost() || self.code().is_some_and(passing)
    }

    /// Whether it lies in the data that was sent, so that other data may do.
    pub fn is_of_data(&self) -> bool {
        // Data exceptions, violated constraints, exceeded limits, and what a trigger raises.
        let classes = ["22", "23", "54", "P0"];
        self.code().is_some_and(|code| classes.iter().any(|class| code.code().starts_with(class)))
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        Failure::Sql(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Failure {
        Failure::Error(invalid.into())
    }
}
