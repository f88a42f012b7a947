//! Appends: a writer's job that stores the events once, however often it comes with the same id.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{params, Connection, OptionalExtension};

use super::connection::Failure;
use super::events;
use super::writer::{Effect, Job};
use crate::{Append, Done, Error, Invalid, Limits, Stored, Timestamp};

/// Ids beyond the window are removed in portions, with every append, so that no append has to remove many.
const FORGET_AT_ONCE: usize = 20;

pub(super) struct AppendJob {
    append: Append,
    deadline: Instant,
    window: Duration,
    stored: Vec<Stored>,
    done: Done,
}

impl AppendJob {
    pub fn new(append: Append, limits: &Arc<Limits>, done: Done) -> AppendJob {
        let deadline = Instant::now() + limits.append_timeout;
        AppendJob { append, deadline, window: limits.dedup_window, stored: Vec::new(), done }
    }
}

impl Job for AppendJob {
    fn events(&self) -> usize {
        self.append.events.len()
    }

    fn durable(&self) -> bool {
        true
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn run(&mut self, connection: &Connection) -> Result<Effect, Failure> {
        if let Some(stored) = earlier(connection, &self.append)? {
            self.stored = stored;
            return Ok(Effect::Quiet);
        }
        self.stored.clear();
        for event in &self.append.events {
            let offset = events::insert(connection, event)?;
            self.stored.push(Stored { partition: 0, offset });
        }
        remember(connection, &self.append, &self.stored)?;
        forget(connection, self.window)?;
        Ok(Effect::Wake)
    }

    fn end(self: Box<Self>, failed: Option<Error>) {
        (self.done)(failed.map_or(Ok(self.stored), Err));
    }
}

/// Where the append was stored before, if it was.
fn earlier(connection: &Connection, append: &Append) -> Result<Option<Vec<Stored>>, Failure> {
    let mut statement = connection.prepare_cached("SELECT stored FROM appends WHERE id = ?1")?;
    let found: Option<String> =
        statement.query_row([&append.id.0[..]], |row| row.get(0)).optional()?;
    let Some(json) = found else { return Ok(None) };
    let found: Vec<(String, u64)> = serde_json::from_str(&json).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })?;
    let topics = append.events.iter().map(|event| event.topic.as_str());
    if !topics.eq(found.iter().map(|(topic, _)| topic.as_str())) {
        return Err(Error::from(Invalid::AppendIdReused(append.id.to_string())).into());
    }
    Ok(Some(found.into_iter().map(|(_, offset)| Stored { partition: 0, offset }).collect()))
}

fn remember(connection: &Connection, append: &Append, stored: &[Stored]) -> Result<(), Failure> {
    let topics = append.events.iter().map(|event| event.topic.as_str());
    let places: Vec<(&str, u64)> = topics.zip(stored.iter().map(|at| at.offset)).collect();
    // Strings and numbers always have a JSON form.
    let json = serde_json::to_string(&places).unwrap_or_default();
    let sql = "INSERT INTO appends (id, created_at, stored) VALUES (?1, ?2, ?3)";
    let now = Timestamp::now().0 as i64;
    connection.prepare_cached(sql)?.execute(params![&append.id.0[..], now, json])?;
    Ok(())
}

/// Removes the oldest ids, as far as they are out of the window.
fn forget(connection: &Connection, window: Duration) -> Result<(), Failure> {
    let sql = "DELETE FROM appends WHERE created_at < ?1 AND number IN
               (SELECT number FROM appends ORDER BY number LIMIT ?2)";
    let window = window.as_millis().try_into().unwrap_or(u64::MAX);
    let oldest = Timestamp::now().0.saturating_sub(window) as i64;
    connection.prepare_cached(sql)?.execute(params![oldest, FORGET_AT_ONCE as i64])?;
    Ok(())
}
