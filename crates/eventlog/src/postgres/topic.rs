//! A topic's table, and how far its offsets are decided.
//!
//! A sequence hands numbers out before their transactions commit. So an offset that is missing below one that is there
//! may belong to a transaction that is still going on, and nobody may read past it until that has ended. Offsets below
//! `decided` are there or will never be. It moves on in two ways:
//!
//! - by reading: an offset that is there is decided, so a row without a gap before it moves the bound past itself. This
//!   is the usual way and costs nothing.
//! - by asking for locks: a transaction that has taken a number holds a lock on the sequence until it ends. With the last
//!   number N read first and the holders after it, all up to N is decided when those holders have let go. Holders that
//!   come later have later numbers.
//!
//! What was decided before a statement's snapshot is visible in it, because a transaction becomes visible before it lets go
//! of its locks. So take the bound first, and then look at the rows.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;
use tokio_postgres::SimpleQueryMessage;

use super::connection::{column, lock, Failure};
use super::session::Session;
use crate::{Offset, Topic};

/// How long after one look at the locks the next is made, doubled up to the longest while the same transactions go on.
const FIRST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(128);
/// Offsets that are looked through at once for a gap.
const STRETCH: i64 = 1000;

pub(super) struct TopicInfo {
    pub id: i32,
    /// The table's name, quoted.
    pub table: String,
    /// The name of its offsets' sequence, quoted.
    sequence: String,
    decided: AtomicU64,
    /// Held during a look at the locks: an older look must not be taken for a newer one.
    blocked: Mutex<Option<Blocked>>,
}

/// Transactions that were going on, and the last offset that they can have taken.
struct Blocked {
    upto: Offset,
    holders: HashSet<String>,
    pause: Duration,
    next: Instant,
}

impl TopicInfo {
    pub fn find(session: &mut Session, topic: &Topic) -> Result<TopicInfo, Failure> {
        let sql = "SELECT id, quote_ident(relation), sequence, decided FROM spacer_topics
                   WHERE topic = $1";
        let Some(row) = session.query_opt(sql, &[&topic.as_str()])? else {
            return Err(topic.undeclared().into());
        };
        Ok(TopicInfo {
            id: column(&row, 0)?,
            table: column(&row, 1)?,
            sequence: column(&row, 2)?,
            decided: AtomicU64::new(column::<i64>(&row, 3)? as Offset),
            blocked: Mutex::default(),
        })
    }

    /// No offset below this one is going to appear.
    pub fn decided(&self) -> Offset {
        self.decided.load(Ordering::Acquire)
    }

    /// Learns from offsets that were read in order, with none left out from `decided` on. Answers the end of what may be
    /// used of them; it is below the last one if there is a gap.
    pub fn learn(&self, decided: Offset, offsets: impl Iterator<Item = Offset>) -> Offset {
        let mut end = decided;
        for offset in offsets {
            match offset {
                offset if offset < end => {}
                offset if offset == end => end += 1,
                _ => break,
            }
        }
        self.decided.fetch_max(end, Ordering::AcqRel);
        end
    }

    /// Looks at the locks, unless it is too early for another look. Answers whether the bound has moved.
    pub fn look(&self, session: &mut Session) -> Result<bool, Failure> {
        let mut blocked = lock(&self.blocked);
        if blocked.as_ref().is_some_and(|blocked| Instant::now() < blocked.next) {
            return Ok(false);
        }
        let before = self.decided();
        let (last, holders) = self.last_and_holders(session)?;
        let still = |known: &Blocked| {
            // A transaction that is prepared for a two-phase commit changes its name when the server restarts.
            holders.iter().any(|(name, prepared)| *prepared || known.holders.contains(name))
        };
        if let Some(known) = &mut *blocked {
            if still(known) {
                known.pause = (known.pause * 2).min(LONGEST_PAUSE);
                known.next = Instant::now() + known.pause;
                return Ok(false);
            }
            self.decided.fetch_max(known.upto + 1, Ordering::AcqRel);
        }
        *blocked = match holders.is_empty() {
            true => {
                self.decided.fetch_max(last + 1, Ordering::AcqRel);
                None
            }
            false => Some(Blocked {
                upto: last,
                holders: holders.into_iter().map(|(name, _)| name).collect(),
                pause: FIRST_PAUSE,
                next: Instant::now() + FIRST_PAUSE,
            }),
        };
        let decided = self.decided();
        if decided > before {
            // For whoever begins to read while a transaction goes on: all before needn't be doubted again. Locked rows
            // are left alone, so that the order of topics in a transaction doesn't matter.
            let sql = "UPDATE spacer_topics SET decided = $2 WHERE id = (
                         SELECT id FROM spacer_topics WHERE id = $1 AND decided < $2
                         FOR UPDATE SKIP LOCKED)";
            session.execute(sql, &[&self.id, &(decided as i64)])?;
        }
        Ok(decided > before)
    }

    /// When a look at the locks is of use again.
    pub fn next_look(&self) -> Duration {
        let blocked = lock(&self.blocked);
        let next = blocked.as_ref().map(|blocked| blocked.next);
        next.map_or(FIRST_PAUSE, |next| next.saturating_duration_since(Instant::now()))
    }

    /// The statement that takes so many offsets.
    pub fn take_offsets(&self, count: usize) -> String {
        let literal = self.sequence.replace('\'', "''");
        format!("SELECT nextval('{literal}') FROM generate_series(1, {count});")
    }

    fn last_and_holders(
        &self,
        session: &mut Session,
    ) -> Result<(Offset, Vec<(String, bool)>), Failure> {
        // The number first: that is the order in which the two statements are run.
        let sql = format!(
            "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END, NULL
               FROM {sequence};
             SELECT virtualtransaction, pid IS NULL FROM pg_locks
             WHERE locktype = 'relation' AND relation = '{literal}'::regclass AND granted
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
               AND mode <> 'AccessShareLock' AND pid IS DISTINCT FROM pg_backend_pid()",
            sequence = self.sequence,
            literal = self.sequence.replace('\'', "''"),
        );
        let mut last = None;
        let mut holders = Vec::new();
        for message in session.simple(&sql)? {
            let SimpleQueryMessage::Row(row) = message else { continue };
            let first = row.get(0).unwrap_or_default();
            match last {
                None => last = first.parse().ok(),
                Some(_) => holders.push((first.to_owned(), row.get(1) == Some("t"))),
            }
        }
        let last = last.ok_or_else(|| {
            Failure::Value(format!("sequence {} has no last value", self.sequence))
        })?;
        Ok((last, holders))
    }

    /// Moves the bound as far as it goes at this moment.
    pub fn reach(&self, session: &mut Session) -> Result<Offset, Failure> {
        let sql = format!(
            "SELECT msg_offset FROM {} WHERE msg_offset >= $1 ORDER BY msg_offset LIMIT $2",
            self.table
        );
        let mut looked = false;
        loop {
            let decided = self.decided();
            let rows = session.query(&sql, &[&(decided as i64), &STRETCH])?;
            let offsets: Vec<i64> =
                rows.iter().map(|row| column(row, 0)).collect::<Result<_, _>>()?;
            let end = self.learn(decided, offsets.iter().map(|offset| *offset as Offset));
            let gap = offsets.last().is_some_and(|last| *last as Offset >= end);
            let more = offsets.len() as i64 == STRETCH;
            if !gap && !more {
                return Ok(end);
            }
            if !looked {
                looked = true;
                if self.look(session)? {
                    continue;
                }
            }
            if gap {
                return Ok(end);
            }
        }
    }
}

/// A missing table is a topic that nobody declared.
pub(super) fn topic_failure(failure: Failure, topic: &Topic) -> Failure {
    match failure.code() {
        Some(&SqlState::UNDEFINED_TABLE) => topic.undeclared().into(),
        _ => failure,
    }
}
