//! Connections to the server: one attempt at a time, with a growing pause between those that fail, and what errors mean.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use postgres::error::SqlState;
use postgres::types::FromSql;
use postgres::Row;

use super::conninfo::Conninfo;
use super::schema;
use super::session::Session;
use super::topic::TopicInfo;
use crate::{Error, Invalid, Limits, Result, Topic};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// More idle connections than these are closed.
const IDLE_MOST: usize = 8;

/// The server, and connections to it that wait to be used.
pub(super) struct Database {
    conninfo: Conninfo,
    patience: Duration,
    idle: Mutex<Vec<Session>>,
    attempts: Mutex<Attempts>,
    topics: Mutex<HashMap<Topic, Arc<TopicInfo>>>,
}

#[derive(Default)]
struct Attempts {
    failed: Option<Failed>,
}

struct Failed {
    error: Error,
    pause: Duration,
    next: Instant,
}

impl Database {
    pub fn new(conninfo: Conninfo, limits: &Limits) -> Database {
        Database {
            conninfo,
            patience: limits.append_timeout,
            idle: Mutex::default(),
            attempts: Mutex::default(),
            topics: Mutex::default(),
        }
    }

    pub fn store(&self) -> &str {
        &self.conninfo.store
    }

    /// A new connection, whose database is laid out. After a failed attempt there is none before its pause is over:
    /// until then the answer is that failure.
    pub fn connect(&self) -> Result<Session> {
        let mut attempts = lock(&self.attempts);
        let mut pause = FIRST_PAUSE;
        if let Some(failed) = &attempts.failed {
            if Instant::now() < failed.next {
                return Err(failed.error.clone());
            }
            pause = (failed.pause * 2).min(LONGEST_PAUSE);
        }
        match self.try_connect() {
            Ok(session) => {
                attempts.failed = None;
                Ok(session)
            }
            Err(failure) => {
                let error = self.error(failure);
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

    fn try_connect(&self) -> Result<Session, Failure> {
        let client = self.conninfo.config.connect(self.conninfo.tls.clone())?;
        let mut session = Session::new(client, self.store(), self.patience)?;
        schema::prepare(&mut session, self.store())?;
        Ok(session)
    }

    /// Runs `work` on a connection. When the connection turns out to be dead before anything was committed, `work` is
    /// run again on a fresh one.
    pub fn run<T>(&self, mut work: impl FnMut(&mut Session) -> Result<T, Failure>) -> Result<T> {
        let idle = lock(&self.idle).pop();
        if let Some(mut session) = idle {
            session.begin_work();
            match work(&mut session) {
                Err(failure) if failure.is_lost() => {
                    // Whatever ended this one has probably ended the others.
                    lock(&self.idle).clear();
                    self.forget_topics();
                    if session.may_have_committed() {
                        return Err(self.error(failure));
                    }
                }
                outcome => return self.end(session, outcome),
            }
        }
        let mut session = self.connect()?;
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
fn describe(error: &postgres::Error) -> String {
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
    Sql(postgres::Error),
    Error(Error),
    /// A value isn't what this program writes.
    Value(String),
}

/// A row's value.
pub(super) fn column<'a, T: FromSql<'a>>(row: &'a Row, number: usize) -> Result<T, Failure> {
    row.try_get(number).map_err(|error| Failure::Value(describe(&error)))
}

impl Failure {
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
            Failure::Error(_) | Failure::Value(_) => false,
        }
    }

    /// Whether the same work may succeed a moment later.
    pub fn is_passing(&self) -> bool {
        let Failure::Sql(error) = self else { return false };
        let passing = |code: &SqlState| {
            [
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::T_R_SERIALIZATION_FAILURE,
                SqlState::LOCK_NOT_AVAILABLE,
            ]
            .contains(code)
        };
        self.is_lost() || error.code().is_some_and(passing)
    }

    /// Whether it lies in the data that was sent, so that other data may do.
    pub fn is_of_data(&self) -> bool {
        let Failure::Sql(error) = self else { return false };
        // Data exceptions, violated constraints, exceeded limits, and what a trigger raises.
        let classes = ["22", "23", "54", "P0"];
        error.code().is_some_and(|code| classes.iter().any(|class| code.code().starts_with(class)))
    }
}

impl From<postgres::Error> for Failure {
    fn from(error: postgres::Error) -> Failure {
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
