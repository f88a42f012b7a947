//! Connections to the database file: their settings, how they wait for a lock, and what their errors mean.

use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::files::Files;
use super::{owner, schema};
use crate::{Error, Result};

const STATEMENT_CACHE: usize = 256;
/// A lock is asked for again after this pause,
const FIRST_PAUSE: Duration = Duration::from_micros(100);
/// and, when another process's commit should be over, after a pause that doubles each time,
const PATIENT_AFTER: i32 = 30;
/// up to this one.
const LONGEST_PAUSE: Duration = Duration::from_millis(4);

/// How much of the file a connection keeps, in KiB as SQLite counts it: an index of many keys is written all over.
const CACHE: i64 = -8 << 10;
/// A write-ahead log that a reader has kept from beginning anew shrinks to this many bytes when it does.
const LONGEST_LOG: i64 = 64 << 20;

thread_local! {
    static LOCK_DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// How long calls of this thread on any connection wait for another process's lock.
pub(super) fn wait_for_locks_until(deadline: Instant) {
    LOCK_DEADLINE.set(Some(deadline));
}

fn on_busy(times: i32) -> bool {
    let doublings = (times - PATIENT_AFTER).clamp(0, 10) as u32;
    let pause = (FIRST_PAUSE * 2u32.pow(doublings)).min(LONGEST_PAUSE);
    let goes_on = LOCK_DEADLINE.get().is_some_and(|deadline| Instant::now() + pause < deadline);
    if goes_on {
        thread::sleep(pause);
    }
    goes_on
}

/// A connection, and which file it has open.
pub(super) struct Handle {
    pub connection: Connection,
    inode: (u64, u64),
}

/// The database file, and connections to it that wait to be used for reading.
pub(super) struct Database {
    pub path: PathBuf,
    pub lock_timeout: Duration,
    idle: Mutex<Vec<Handle>>,
}

impl Database {
    pub fn new(path: &Path, lock_timeout: Duration) -> Database {
        Database { path: path.to_owned(), lock_timeout, idle: Mutex::default() }
    }

    /// Opens the file, and lays it out if it is empty. Its folder is made where it is missing. Locks of other processes
    /// are waited for until `deadline`.
    pub fn open(&self, deadline: Instant) -> Result<Handle> {
        if let Some(folder) = self.path.parent() {
            owner::make_folder(folder).map_err(|error| {
                self.denied(format!("can't make folder {}: {error}", folder.display()))
            })?;
        }
        wait_for_locks_until(deadline);
        self.own_new_file()?;
        self.try_open(deadline).map_err(|failure| match failure {
            schema::Failure::Sql(error) => self.error(error),
            schema::Failure::Invalid(invalid) => invalid.into(),
        })
    }

    /// Makes the file where it is missing, for whoever its folder belongs to. SQLite would make it for root, and its
    /// companions are those of the file's owner.
    fn own_new_file(&self) -> Result<()> {
        let made =
            OpenOptions::new().write(true).create_new(true).mode(owner::FILE_MODE).open(&self.path);
        let given = match made {
            Ok(_) => owner::give_to_folders_owner(&self.path),
            // There already, or SQLite says what is wrong.
            Err(_) => return Ok(()),
        };
        given.map_err(|error| self.unavailable(&error.to_string()))
    }

    fn try_open(&self, deadline: Instant) -> Result<Handle, schema::Failure> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_handler(Some(on_busy))?;
        connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
        // Else the planner looks at parameters, and prepares a statement again each time that one differs.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        // SQLite doesn't ask the busy handler about every lock that a change of the journal mode needs.
        while let Err(error) =
            connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))
        {
            if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy)
                || Instant::now() >= deadline
            {
                return Err(error.into());
            }
            thread::sleep(LONGEST_PAUSE);
        }
        // `checkpoint` does it.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "journal_size_limit", LONGEST_LOG)?;
        connection.pragma_update(None, "cache_size", CACHE)?;
        set_durable(&connection, true)?;
        schema::prepare(&mut connection, &self.path)?;
        let inode = self.inode().unwrap_or_default();
        Ok(Handle { connection, inode })
    }

    fn inode(&self) -> Option<(u64, u64)> {
        fs::metadata(&self.path).ok().map(|meta| (meta.dev(), meta.ino()))
    }

    /// Whether the file that a connection has open is still the one at the path.
    pub fn is_current(&self, handle: &Handle) -> bool {
        self.inode() == Some(handle.inode)
    }

    /// What to answer when it is not.
    pub fn moved(&self) -> Error {
        self.unavailable("the file was moved, removed or replaced while it was open")
    }

    /// Runs `job` in a read transaction.
    pub fn read<T>(&self, job: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T> {
        let deadline = Instant::now() + self.lock_timeout;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut handle = match idle {
            Some(handle) if self.is_current(&handle) => handle,
            _ => self.open(deadline)?,
        };
        wait_for_locks_until(deadline);
        let outcome = match handle.connection.transaction() {
            Ok(transaction) => job(&transaction),
            Err(error) => Err(error.into()),
        };
        match outcome {
            // The connection may be part of the trouble.
            Err(Failure::Sql(error)) => Err(self.error(error)),
            Err(Failure::Error(error)) => {
                self.keep(handle);
                Err(error)
            }
            Ok(value) => {
                self.keep(handle);
                Ok(value)
            }
        }
    }

    fn keep(&self, handle: Handle) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
    }

    /// What an error of SQLite's means to the user of the log.
    pub fn error(&self, error: rusqlite::Error) -> Error {
        let store = self.path.display().to_string();
        let reason = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Error::Corrupt { store, reason }
            }
            // A value of another type or a row that isn't there: not what this program wrote.
            None => Error::Corrupt { store, reason },
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                self.denied(reason)
            }
            Some(_) => Error::Unavailable { store, reason },
        }
    }

    /// What to answer when a file can't be used: which one that is says more than SQLite does.
    pub fn denied(&self, reason: String) -> Error {
        let trouble = Files::new(&self.path, false).trouble();
        self.unavailable(&trouble.unwrap_or(reason))
    }

    pub fn unavailable(&self, reason: &str) -> Error {
        Error::Unavailable { store: self.path.display().to_string(), reason: reason.to_owned() }
    }
}

/// Whether a commit waits for the disk. One that doesn't survives the death of the process, not of the machine, and
/// is never kept when an earlier commit is lost.
pub(super) fn set_durable(connection: &Connection, durable: bool) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", if durable { "full" } else { "normal" })
}

/// Why a piece of work on the database failed: SQLite, or the work itself.
pub(super) enum Failure {
    Sql(rusqlite::Error),
    Error(Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Sql(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}
