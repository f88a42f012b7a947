//! Appends: the writer's jobs that store events, once however often an append comes with the same id.
//!
//! A group of appends is stored by a few statements of many rows each. The writer is alone in the file while its
//! transaction lasts, so it gives the offsets out itself, before anything is stored.

use std::mem;
use std::time::{Duration, Instant};

use rusqlite::{params, Connection, ErrorCode, OptionalExtension};

use super::connection::Failure;
use super::events::{Row, Tail};
use super::group;
use super::queue::Effect;
use crate::backlog::Backlog;
use crate::{Append, Done, Error, Invalid, Limits, Stored, Timestamp};

/// Each time that so many ids were added,
const ADDED: usize = 256;
/// so many are looked at for their age: twice as many as come.
const LOOKED_AT: i64 = 512;
/// How many ids a statement adds. The last is 1, so that every number of them is a sum of these.
const IDS_AT_ONCE: [usize; 3] = [64, 8, 1];

pub(super) struct AppendJob {
    append: Append,
    /// How much of the queue it takes.
    pub load: Backlog,
    pub deadline: Instant,
    stored: Result<Vec<Stored>, Error>,
    done: Done,
}

impl AppendJob {
    pub fn new(append: Append, limits: &Limits, done: Done) -> AppendJob {
        let deadline = Instant::now() + limits.append_timeout;
        let load = Backlog::of(&append.events);
        AppendJob { append, load, deadline, stored: Ok(Vec::new()), done }
    }

    /// Called once, after the commit or with what prevented it.
    pub fn end(self, failed: Option<Error>) {
        (self.done)(failed.map_or(self.stored, Err));
    }

    /// Gives each event its offset; refuses the append, and changes no tail, if a topic isn't there.
    fn place(&mut self, connection: &Connection, tails: &mut Vec<Tail>) -> Result<bool, Failure> {
        let mut stored = mem::replace(&mut self.stored, Ok(Vec::new())).unwrap_or_default();
        stored.clear();
        if let Some(fence) = &self.append.fence {
            if !group::holds(connection, &fence.group, &fence.claim)? {
                self.stored = Err(fence.lost());
                return Ok(false);
            }
        }
        for event in &self.append.events {
            if let Err(failure) = Tail::find(tails, connection, &event.topic) {
                let Failure::Error(error) = failure else { return Err(failure) };
                self.stored = Err(error);
                return Ok(false);
            }
        }
        for event in &self.append.events {
            let tail = Tail::find(tails, connection, &event.topic)?;
            stored.push(Stored { partition: 0, offset: tail.take() });
        }
        self.stored = Ok(stored);
        Ok(true)
    }
}

/// Stores the appends of a transaction. `Ok(None)` when an id of theirs is known and they have to be stored `one_by_one`,
/// in another transaction.
pub(super) fn store(
    connection: &Connection,
    jobs: &mut [AppendJob],
    memory: &mut Memory,
    one_by_one: bool,
) -> Result<Option<Effect>, Failure> {
    let now = Timestamp::now();
    let mut tails = Vec::new();
    let mut fresh = Vec::with_capacity(jobs.len());
    for job in jobs.iter_mut() {
        if one_by_one {
            match earlier(connection, &job.append) {
                Ok(None) => {}
                Ok(Some(stored)) => {
                    job.stored = Ok(stored);
                    continue;
                }
                Err(Failure::Error(error)) => {
                    job.stored = Err(error);
                    continue;
                }
                Err(failure) => return Err(failure),
            }
        }
        if job.place(connection, &mut tails)? {
            if one_by_one {
                // It can't be known: it was looked for just above, and nobody else writes.
                remember(connection, &[job], now)?;
            }
            fresh.push(&*job);
        }
    }
    if !one_by_one && !remember(connection, &fresh, now)? {
        return Ok(None);
    }
    let mut effect = Effect::Quiet;
    for tail in &mut tails {
        let of_topic = fresh.iter().flat_map(|job| {
            let stored = job.stored.iter().flatten();
            job.append.events.iter().zip(stored).filter(|(event, _)| event.topic == tail.topic)
        });
        let rows: Vec<Row<'_>> = of_topic.map(|(event, at)| (at.offset, event)).collect();
        tail.insert(connection, &rows, now)?;
        if effect == Effect::Quiet && group::is_read(connection, &tail.topic)? {
            effect = Effect::Wake;
        }
    }
    memory.added(connection, fresh.len(), now)?;
    Ok(Some(effect))
}

/// A part of an append in the column `stored`: topic, first offset, how many.
type Run<'a> = (&'a str, u64, u64);

/// Where the append was stored before, if it was.
fn earlier(connection: &Connection, append: &Append) -> Result<Option<Vec<Stored>>, Failure> {
    let mut statement = connection.prepare_cached("SELECT stored FROM appends WHERE id = ?1")?;
    let found: Option<String> =
        statement.query_row([&append.id.0[..]], |row| row.get(0)).optional()?;
    let Some(json) = found else { return Ok(None) };
    let runs: Vec<Run<'_>> = serde_json::from_str(&json).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })?;
    let places = || {
        runs.iter().flat_map(|&(topic, first, count)| {
            (first..first.saturating_add(count)).map(move |offset| (topic, offset))
        })
    };
    let topics = append.events.iter().map(|event| event.topic.as_str());
    if !topics.eq(places().map(|(topic, _)| topic)) {
        return Err(Error::from(Invalid::AppendIdReused(append.id.to_string())).into());
    }
    Ok(Some(places().map(|(_, offset)| Stored { partition: 0, offset }).collect()))
}

/// Notes the appends' ids; false if one of them is known.
fn remember(connection: &Connection, jobs: &[&AppendJob], now: Timestamp) -> Result<bool, Failure> {
    let mut left = jobs;
    for size in IDS_AT_ONCE {
        if left.len() < size {
            continue;
        }
        // Without OR FAIL, SQLite prepares to undo the statement alone.
        let rows = vec!["(?, ?, ?)"; size].join(", ");
        let sql = format!("INSERT OR FAIL INTO appends (id, created_at, stored) VALUES {rows}");
        let mut statement = connection.prepare_cached(&sql)?;
        while let Some((now_added, later)) = left.split_at_checked(size) {
            let mut at = 0;
            for job in now_added {
                statement.raw_bind_parameter(at + 1, &job.append.id.0[..])?;
                statement.raw_bind_parameter(at + 2, now.0 as i64)?;
                statement.raw_bind_parameter(at + 3, runs(job))?;
                at += 3;
            }
            match statement.raw_execute() {
                Ok(_) => left = later,
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                    return Ok(false)
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(true)
}

/// Where the append is stored, as JSON.
fn runs(job: &AppendJob) -> String {
    let mut runs: Vec<Run<'_>> = Vec::new();
    for (event, at) in job.append.events.iter().zip(job.stored.iter().flatten()) {
        match runs.last_mut() {
            Some((topic, first, count))
                if *topic == event.topic.as_str() && *first + *count == at.offset =>
            {
                *count += 1;
            }
            _ => runs.push((event.topic.as_str(), at.offset, 1)),
        }
    }
    // Strings and numbers always have a JSON form.
    serde_json::to_string(&runs).unwrap_or_default()
}

/// Forgets ids that are out of the window: walks through them again and again, a little at a time, so that no append
/// has to remove many and every file shrinks back after a restart.
pub(super) struct Memory {
    window: Duration,
    /// Ids up to this one were looked at in this round.
    looked_up_to: Vec<u8>,
    added: usize,
}

impl Memory {
    pub fn new(window: Duration) -> Memory {
        Memory { window, looked_up_to: Vec::new(), added: ADDED }
    }

    /// Counts ids that were added, and takes the next step when it is time.
    fn added(
        &mut self,
        connection: &Connection,
        count: usize,
        now: Timestamp,
    ) -> Result<(), Failure> {
        self.added += count;
        while self.added >= ADDED {
            self.added -= ADDED;
            self.step(connection, now)?;
        }
        Ok(())
    }

    fn step(&mut self, connection: &Connection, now: Timestamp) -> Result<(), Failure> {
        let sql = "SELECT max(id) FROM (SELECT id FROM appends WHERE id > ?1 ORDER BY id LIMIT ?2)";
        let up_to: Option<Vec<u8>> = connection
            .prepare_cached(sql)?
            .query_row(params![self.looked_up_to, LOOKED_AT], |row| row.get(0))?;
        if let Some(up_to) = &up_to {
            let sql = "DELETE FROM appends WHERE id > ?1 AND id <= ?2 AND created_at < ?3";
            let window = self.window.as_millis().try_into().unwrap_or(u64::MAX);
            let oldest = now.0.saturating_sub(window) as i64;
            let values = params![self.looked_up_to, up_to, oldest];
            connection.prepare_cached(sql)?.execute(values)?;
        }
        self.looked_up_to = up_to.unwrap_or_default();
        Ok(())
    }
}
