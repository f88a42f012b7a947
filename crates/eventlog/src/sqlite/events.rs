//! Events in their tables: storing, finding, reading.

use rusqlite::types::ValueRef;
use rusqlite::{params, Connection, OptionalExtension, Row};

use super::connection::Failure;
use super::schema::table;
use crate::{Event, Headers, NewEvent, Offset, Read, Start, Timestamp, Topic};

/// Offsets begin here.
const FIRST: Offset = 1;

/// Stores an event and answers its offset.
pub(super) fn insert(connection: &Connection, event: &NewEvent) -> Result<Offset, Failure> {
    let undeclared = |error| topic_failure(error, &event.topic);
    let table = table(&event.topic);
    // A clock that was set back must not put times out of order: replay finds events by time.
    let sql = format!(
        "INSERT INTO {table} (key, value, created_at, headers) VALUES (?1, ?2, max(?3, ifnull(
           (SELECT created_at FROM {table} ORDER BY msg_offset DESC LIMIT 1), 0)), ?4)"
    );
    let mut statement = connection.prepare_cached(&sql).map_err(undeclared)?;
    let value = ValueRef::Text(&event.value);
    let headers = match event.headers.is_empty() {
        true => None,
        // Strings always have a JSON form.
        false => Some(serde_json::to_string(&event.headers).unwrap_or_default()),
    };
    let value = rusqlite::types::ToSqlOutput::Borrowed(value);
    let now = Timestamp::now().0 as i64;
    let offset = statement.insert(params![event.key, value, now, headers])?;
    Ok(offset as Offset)
}

/// The columns that [`event`] reads, in its order.
const COLUMNS: &str = "msg_offset, key, value, created_at, headers";

fn event(topic: &Topic, row: &Row<'_>) -> rusqlite::Result<Event> {
    let headers: Option<String> = row.get(4)?;
    let headers = headers.map(|json| serde_json::from_str::<Headers>(&json)).transpose();
    let headers = headers.map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Text, Box::new(error))
    })?;
    Ok(Event {
        topic: topic.clone(),
        partition: 0,
        offset: row.get::<_, i64>(0)? as Offset,
        key: row.get(1)?,
        value: row.get_ref(2)?.as_bytes()?.to_vec(),
        time: Timestamp(row.get::<_, i64>(3)? as u64),
        headers: headers.unwrap_or_default(),
    })
}

pub(super) fn read(
    connection: &Connection,
    topic: &Topic,
    read: &Read,
) -> Result<Vec<Event>, Failure> {
    let of_key = if read.key.is_some() { "key = ?3 AND" } else { "?3 IS NULL AND" };
    let sql = format!(
        "SELECT {COLUMNS} FROM {} WHERE {of_key} msg_offset >= ?1 ORDER BY msg_offset LIMIT ?2",
        table(topic)
    );
    let mut statement =
        connection.prepare_cached(&sql).map_err(|error| topic_failure(error, topic))?;
    let limit = i64::try_from(read.limit).unwrap_or(i64::MAX);
    let from = sql_offset(read.from);
    let rows = statement.query_map(params![from, limit, read.key], |row| event(topic, row))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn get(
    connection: &Connection,
    topic: &Topic,
    offset: Offset,
) -> Result<Event, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM {} WHERE msg_offset = ?1", table(topic));
    let mut statement =
        connection.prepare_cached(&sql).map_err(|error| topic_failure(error, topic))?;
    Ok(statement.query_row([sql_offset(offset)], |row| event(topic, row))?)
}

pub(super) fn last(
    connection: &Connection,
    topic: &Topic,
    key: &str,
) -> Result<Option<Event>, Failure> {
    let sql = format!(
        "SELECT {COLUMNS} FROM {} WHERE key = ?1 ORDER BY msg_offset DESC LIMIT 1",
        table(topic)
    );
    let mut statement =
        connection.prepare_cached(&sql).map_err(|error| topic_failure(error, topic))?;
    Ok(statement.query_row([key], |row| event(topic, row)).optional()?)
}

/// The first offset that is left, and the next one to be given.
pub(super) fn extent(connection: &Connection, topic: &Topic) -> Result<(Offset, Offset), Failure> {
    let sql = format!("SELECT min(msg_offset) FROM {}", table(topic));
    let mut statement =
        connection.prepare_cached(&sql).map_err(|error| topic_failure(error, topic))?;
    let first: Option<i64> = statement.query_row([], |row| row.get(0))?;
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'topic_' || ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let last: Option<i64> = statement.query_row([topic.as_str()], |row| row.get(0)).optional()?;
    let next = last.map_or(FIRST, |last| last as Offset + 1);
    Ok((first.map_or(next, |first| first as Offset), next))
}

/// The first offset stored at `time` or later, found by halving: times don't decrease.
pub(super) fn offset_at(
    connection: &Connection,
    topic: &Topic,
    time: Timestamp,
) -> Result<Offset, Failure> {
    let (mut low, mut high) = extent(connection, topic)?;
    let sql = format!(
        "SELECT msg_offset, created_at FROM {} WHERE msg_offset >= ?1 ORDER BY msg_offset LIMIT 1",
        table(topic)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> = statement
            .query_row([sql_offset(middle)], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match found {
            Some((offset, at)) if (at as u64) < time.0 => low = offset as Offset + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// Where a group begins that has no position.
pub(super) fn start(
    connection: &Connection,
    topic: &Topic,
    start: Start,
) -> Result<Offset, Failure> {
    let (first, next) = extent(connection, topic)?;
    match start {
        Start::Earliest => Ok(first),
        Start::Latest => Ok(next),
        Start::Offset(offset) => Ok(offset.max(FIRST)),
        Start::Time(time) => offset_at(connection, topic, time),
    }
}

pub(super) fn sql_offset(offset: Offset) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

/// A missing table is a topic that nobody declared.
fn topic_failure(error: rusqlite::Error, topic: &Topic) -> Failure {
    match error.to_string().contains("no such table") {
        true => topic.undeclared().into(),
        false => error.into(),
    }
}
