//! Moving the write-ahead log into the database.
//!
//! SQLite does so by itself in a commit, and then lets the log begin anew once all of it has been moved. While several
//! processes write, one of them always has a commit that the other's checkpoint hasn't seen: the log would grow as long
//! as they do, and be scanned by every checkpoint. So a writer whose log is long moves it without holding anybody up, and
//! then the little that was added meanwhile under the write lock, which empties the log.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::connection::wait_for_locks_until;

/// Bytes of the log that are worth a checkpoint. Pages that were written several times by then are moved once.
const LENGTH: u64 = 16 << 20;
/// How long other processes' readers are waited for.
const PATIENCE: Duration = Duration::from_millis(100);

pub(super) struct Checkpoint {
    log: PathBuf,
    /// The length at which the next one begins.
    at: u64,
}

impl Checkpoint {
    pub fn new(database: &Path) -> Checkpoint {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        Checkpoint { log: log.into(), at: LENGTH }
    }

    fn length(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |meta| meta.len())
    }

    /// Empties the log if it is long. What fails here fails no commit: the log only stays as it is.
    pub fn run(&mut self, connection: &Connection) {
        if self.length() < self.at {
            return;
        }
        wait_for_locks_until(Instant::now() + PATIENCE);
        for mode in ["passive", "truncate"] {
            let sql = format!("PRAGMA wal_checkpoint({mode})");
            drop(connection.query_row(&sql, [], |_| Ok(())));
        }
        // One that didn't come to its end is tried again when it would have more to do.
        let left = self.length();
        self.at = if left < LENGTH { LENGTH } else { left + LENGTH };
    }
}
