//! Moving the write-ahead log into the database.
//!
//! SQLite does so by itself in a commit, and then lets the log begin anew once all of it has been moved. While several
//! processes write, one of them always has a commit that the other's checkpoint hasn't seen: the log would grow as long
//! as they do, and be scanned by every checkpoint. So a writer whose log is long moves it without holding anybody up, and
//! then the little that was added meanwhile under the write lock, after which the log begins anew.
//!
//! Its file keeps its length: to write over pages that are there costs less than to add them, and so does waiting for
//! the disk.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::hooks::Wal;
use rusqlite::Connection;

use super::connection::wait_for_locks_until;

/// Pages in the log that are worth a checkpoint: 16 MiB. One that was written several times by then is moved once.
const LENGTH: u32 = 4096;
/// How long other processes' readers are waited for.
const PATIENCE: Duration = Duration::from_millis(100);

pub(super) struct Checkpoint {
    /// The log's length after the last commit, in pages.
    length: Arc<AtomicU32>,
    /// The length at which the last one was tried, if it didn't come to its end.
    tried: u32,
}

impl Checkpoint {
    pub fn new() -> Checkpoint {
        Checkpoint { length: Arc::default(), tried: 0 }
    }

    /// Learns from a connection's commits how long the log is.
    pub fn watch(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let length = self.length.clone();
        connection.wal_hook(Some(move |_: &mut Wal, pages| {
            length.store(u32::try_from(pages).unwrap_or_default(), Ordering::Relaxed);
            Ok(())
        }))
    }

    /// Has the log begin anew if it is long. What fails here fails no commit: the log only stays as it is.
    pub fn run(&mut self, connection: &Connection) {
        let length = self.length.load(Ordering::Relaxed);
        if length < self.tried {
            // Another process's came to its end.
            self.tried = 0;
        }
        if length < self.tried + LENGTH {
            return;
        }
        wait_for_locks_until(Instant::now() + PATIENCE);
        let moved = |mode| {
            let sql = format!("PRAGMA wal_checkpoint({mode})");
            connection.query_row(&sql, [], |row| Ok(row.get::<_, i64>(0)? == 0))
        };
        let all = moved("passive").is_ok() && moved("restart").unwrap_or(false);
        // What is left is tried again when there is more to do.
        self.tried = if all { 0 } else { length };
        self.length.store(self.tried, Ordering::Relaxed);
    }
}
