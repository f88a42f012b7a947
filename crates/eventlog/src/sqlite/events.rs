//! Events in their tables: storing, finding, reading.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{params, Connection, OptionalExtension};

use super::connection::Failure;
use super::schema::table;
use crate::model::Page;
use crate::{Error, Event, Headers, NewEvent, Offset, Read, Start, Timestamp, Topic};

/// Offsets begin here.
const FIRST: Offset = 1;

/// An event and the offset that it gets.
pub(super) type Row<'a> = (Offset, &'a NewEvent);

/// How many events a statement stores. The last is 1, so that every number of them is a sum of these.
const ROWS_AT_ONCE: [usize; 4] = [64, 16, 4, 1];

/// The end of a topic, good while the transaction lasts that has read it.
pub(super) struct Tail {
    pub topic: Topic,
    next: Offset,
    /// The newest event's.
    time: Timestamp,
}

impl Tail {
    pub fn read(connection: &Connection, topic: &Topic) -> Result<Tail, Failure> {
        let sql = format!(
            "SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'topic_' || ?1),
                    (SELECT created_at FROM {} ORDER BY msg_offset DESC LIMIT 1)",
            table(topic)
        );
        let mut statement =
            connection.prepare_cached(&sql).map_err(|error| topic_failure(error, topic))?;
        let (last, time): (Option<i64>, Option<i64>) =
            statement.query_row([topic.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let next = last.map_or(FIRST, |last| last as Offset + 1);
        Ok(Tail { topic: topic.clone(), next, time: Timestamp(time.unwrap_or_default() as u64) })
    }

    /// The topic's among `tails`, where it is added if it isn't there.
    pub fn find<'a>(
        tails: &'a mut Vec<Tail>,
        connection: &Connection,
        topic: &Topic,
    ) -> Result<&'a mut Tail, Failure> {
        let at = match tails.iter().position(|tail| tail.topic == *topic) {
            Some(at) => at,
            None => {
                tails.push(Tail::read(connection, topic)?);
                tails.len() - 1
            }
        };
        Ok(&mut tails[at])
    }

    /// The next offset.
    pub fn take(&mut self) -> Offset {
        self.next += 1;
        self.next - 1
    }

    /// Stores events of the topic.
    pub fn insert(
        &mut self,
        connection: &Connection,
        rows: &[Row<'_>],
        now: Timestamp,
    ) -> Result<(), Failure> {
        // A clock that was set back must not put times out of order: replay finds events by time.
        self.time = self.time.max(now);
        let mut left = rows;
        for size in ROWS_AT_ONCE {
            if left.len() < size {
                continue;
            }
            // With the offsets in it, or without OR FAIL, SQLite would prepare to undo the statement alone, which
            // costs as much as the rest.
            let sql = format!(
                "INSERT OR FAIL INTO {} (key, value, created_at, headers) VALUES {}",
                table(&self.topic),
                vec!["(?, ?, ?, ?)"; size].join(", ")
            );
            let mut statement = connection.prepare_cached(&sql)?;
            while let Some((these, later)) = left.split_at_checked(size) {
                let mut at = 0;
                for (_, event) in these {
                    let value = ToSqlOutput::Borrowed(ValueRef::Text(&event.value));
                    statement.raw_bind_parameter(at + 1, event.key.as_str())?;
                    statement.raw_bind_parameter(at + 2, value)?;
                    statement.raw_bind_parameter(at + 3, self.time.0 as i64)?;
                    statement.raw_bind_parameter(at + 4, headers(event))?;
                    at += 4;
                }
                statement.raw_execute()?;
                self.check_last(connection, these)?;
                left = later;
            }
        }
        Ok(())
    }

    /// The offsets that were given out are those that SQLite has come to, unless its own count was meddled with.
    fn check_last(&self, connection: &Connection, rows: &[Row<'_>]) -> Result<(), Failure> {
        let last = connection.last_insert_rowid();
        match rows.last() {
            Some((offset, _)) if sql_offset(*offset) != last => {
                let (topic, store) = (&self.topic, connection.path().unwrap_or_default().into());
                let reason = format!(
                    "an event of topic {topic} was stored at offset {last} instead of {offset}: \
                     sqlite_sequence is not what SQLite wrote"
                );
                Err(Error::Corrupt { store, reason }.into())
            }
            _ => Ok(()),
        }
    }
}

fn headers(event: &NewEvent) -> Option<String> {
    // Strings always have a JSON form.
    (!event.headers.is_empty()).then(|| serde_json::to_string(&event.headers).unwrap_or_default())
}

/// Stores one event.
pub(super) fn insert(connection: &Connection, event: &NewEvent) -> Result<(), Failure> {
    let mut tail = Tail::read(connection, &event.topic)?;
    let offset = tail.take();
    tail.insert(connection, &[(offset, event)], Timestamp::now())
}

/// The columns that [`event`] reads, in its order.
const COLUMNS: &str = "msg_offset, key, value, created_at, headers";

fn event(topic: &Topic, row: &rusqlite::Row<'_>) -> rusqlite::Result<Event> {
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
    let mut page = Page::new(read);
    for event in rows {
        if !page.add(event?) {
            break;
        }
    }
    Ok(page.events)
}

/// The event at an offset, unless it was deleted.
pub(super) fn get(
    connection: &Connection,
    topic: &Topic,
    offset: Offset,
) -> Result<Option<Event>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM {} WHERE msg_offset = ?1", table(topic));
    let mut statement =
        connection.prepare_cached(&sql).map_err(|error| topic_failure(error, topic))?;
    Ok(statement.query_row([sql_offset(offset)], |row| event(topic, row)).optional()?)
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
