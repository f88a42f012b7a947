//! Events in their tables: storing, finding, reading, never past an undecided offset.

use std::time::SystemTime;

use tokio_postgres::types::ToSql;
use tokio_postgres::Row;

use super::connection::{column, Failure};
use super::session::Session;
use super::topic::{topic_failure, TopicInfo};
use crate::{Event, Headers, NewEvent, Offset, Read, Start, Timestamp, Topic};

/// Offsets begin here.
pub(super) const FIRST: Offset = 1;

/// Events that are to be stored in a topic, as columns.
#[derive(Default)]
pub(super) struct Columns<'a> {
    offsets: Vec<i64>,
    keys: Vec<&'a str>,
    values: Vec<&'a str>,
    headers: Vec<Option<String>>,
}

impl<'a> Columns<'a> {
    /// How many parameters [`Columns::sql`] takes.
    pub const PARAMS: usize = 4;

    pub fn push(&mut self, event: &'a NewEvent, offset: Offset) -> Result<(), Failure> {
        // The limits have seen to it that this is JSON.
        let value = std::str::from_utf8(&event.value)
            .map_err(|error| Failure::Value(format!("value to be stored: {error}")))?;
        self.offsets.push(sql_offset(offset));
        self.keys.push(&event.key);
        self.values.push(value);
        self.headers.push(match event.headers.is_empty() {
            true => None,
            // Strings always have a JSON form.
            false => Some(serde_json::to_string(&event.headers).unwrap_or_default()),
        });
        Ok(())
    }

    /// The statement that stores them in a topic whose lock is held, with its parameters from `$first` on.
    pub fn sql(info: &TopicInfo, first: usize) -> String {
        // A clock that was set back must not put times out of order: replay finds events by time.
        format!(
            "INSERT INTO {table} (msg_offset, key, value, headers, created_at)
             SELECT e.*, (SELECT greatest(clock_timestamp(), (
               SELECT created_at FROM {table} ORDER BY msg_offset DESC LIMIT 1)))
             FROM unnest(${first}::int8[], ${}::text[], ${}::text[], ${}::text[]) AS e",
            first + 1,
            first + 2,
            first + 3,
            table = info.table,
        )
    }

    pub fn params(&self) -> [&(dyn ToSql + Sync); Columns::PARAMS] {
        [&self.offsets, &self.keys, &self.values, &self.headers]
    }
}

/// Stores events in a topic whose lock is held.
pub(super) fn insert(
    session: &mut Session,
    info: &TopicInfo,
    events: &[NewEvent],
) -> Result<(), Failure> {
    let offsets = session.query(info.take_offsets(events.len()).trim_end_matches(';'), &[])?;
    let mut columns = Columns::default();
    for (event, row) in events.iter().zip(&offsets) {
        columns.push(event, column::<i64>(row, 0)? as Offset)?;
    }
    session.execute(&Columns::sql(info, 1), &columns.params())?;
    Ok(())
}

/// The columns that [`event`] reads, in its order.
const COLUMNS: &str = "msg_offset, key, value, created_at, headers";

fn event(topic: &Topic, row: &Row) -> Result<Event, Failure> {
    let headers: Option<&str> = column(row, 4)?;
    let headers = headers.map(serde_json::from_str::<Headers>).transpose();
    let headers = headers.map_err(|error| Failure::Value(format!("headers: {error}")))?;
    Ok(Event {
        topic: topic.clone(),
        partition: 0,
        offset: column::<i64>(row, 0)? as Offset,
        key: column(row, 1)?,
        value: column::<&str>(row, 2)?.as_bytes().to_vec(),
        time: column::<SystemTime>(row, 3)?.into(),
        headers: headers.unwrap_or_default(),
    })
}

/// The first rows of a query of [`COLUMNS`], as many as have no more bytes than a parameter says, and at least one. The server counts them: what
/// it doesn't send needn't be kept here.
fn bounded(sql: &str, parameter: usize) -> String {
    format!(
        "SELECT {COLUMNS} FROM (
           SELECT *, sum(size) OVER (ORDER BY msg_offset) - size AS before FROM (
             SELECT *, octet_length(value) + octet_length(key)
               + coalesce(octet_length(headers), 0) AS size
             FROM ({sql}) AS found) AS sized) AS counted
         WHERE before = 0 OR before + size <= ${parameter}::int8 ORDER BY msg_offset"
    )
}

pub(super) fn read(
    session: &mut Session,
    info: &TopicInfo,
    topic: &Topic,
    read: &Read,
) -> Result<Vec<Event>, Failure> {
    let limit = i64::try_from(read.limit).unwrap_or(i64::MAX);
    let from = sql_offset(read.from);
    // From where all is decided, a range of all keys shows its gaps itself.
    if read.key.is_none() && read.from <= info.decided() {
        let sql = bounded(
            &format!(
                "SELECT {COLUMNS} FROM {} WHERE msg_offset >= $1 ORDER BY msg_offset LIMIT $2",
                info.table
            ),
            3,
        );
        let size = i64::try_from(read.size).unwrap_or(i64::MAX);
        for _ in 0..2 {
            let decided = info.decided();
            let rows = session
                .query(&sql, &[&from, &limit, &size])
                .map_err(|failure| topic_failure(failure, topic))?;
            let mut events: Vec<Event> =
                rows.iter().map(|row| event(topic, row)).collect::<Result<_, _>>()?;
            let end = info.learn(decided, events.iter().map(|event| event.offset));
            let all = events.len();
            events.retain(|event| event.offset < end);
            if events.len() == all || !info.look(session)? {
                return Ok(events);
            }
        }
    }
    let end = sql_offset(info.reach(session)?);
    let sql = bounded(
        &format!(
            "SELECT {COLUMNS} FROM {} WHERE {} msg_offset >= $1 AND msg_offset < $4
         ORDER BY msg_offset LIMIT $2",
            info.table,
            match read.key {
                Some(_) => "hashtextextended(key, 0) = hashtextextended($3, 0) AND key = $3 AND",
                None => "$3::text IS NULL AND",
            }
        ),
        5,
    );
    let size = i64::try_from(read.size).unwrap_or(i64::MAX);
    let rows = session
        .query(&sql, &[&from, &limit, &read.key, &end, &size])
        .map_err(|failure| topic_failure(failure, topic))?;
    rows.iter().map(|row| event(topic, row)).collect()
}

/// The events of these offsets that are there, in order.
pub(super) fn get(
    session: &mut Session,
    info: &TopicInfo,
    topic: &Topic,
    offsets: &[i64],
) -> Result<Vec<Event>, Failure> {
    let sql = format!(
        "SELECT {COLUMNS} FROM {} WHERE msg_offset = ANY($1) ORDER BY msg_offset",
        info.table
    );
    let rows = session.query(&sql, &[&offsets]).map_err(|failure| topic_failure(failure, topic))?;
    rows.iter().map(|row| event(topic, row)).collect()
}

pub(super) fn last(
    session: &mut Session,
    info: &TopicInfo,
    topic: &Topic,
    key: &str,
) -> Result<Option<Event>, Failure> {
    let end = sql_offset(info.reach(session)?);
    let sql = format!(
        "SELECT {COLUMNS} FROM {} WHERE hashtextextended(key, 0) = hashtextextended($1, 0)
           AND key = $1 AND msg_offset < $2 ORDER BY msg_offset DESC LIMIT 1",
        info.table
    );
    let row =
        session.query_opt(&sql, &[&key, &end]).map_err(|failure| topic_failure(failure, topic))?;
    row.map(|row| event(topic, &row)).transpose()
}

/// The first offset that is left, and the next one to be given as far as that is decided.
pub(super) fn extent(session: &mut Session, info: &TopicInfo) -> Result<(Offset, Offset), Failure> {
    let end = info.reach(session)?;
    let sql = format!(
        "SELECT min(msg_offset), max(msg_offset) FROM {} WHERE msg_offset < $1",
        info.table
    );
    let row = session.query_one(&sql, &[&sql_offset(end)])?;
    let (first, last): (Option<i64>, Option<i64>) = (column(&row, 0)?, column(&row, 1)?);
    // Without a row, the sequence knows what was given.
    let next = match last {
        Some(last) => last as Offset + 1,
        None => {
            info.look(session)?;
            info.decided().max(end)
        }
    };
    Ok((first.map_or(next, |first| first as Offset), next))
}

/// The first offset stored at `time` or later, found by halving. The log's own times don't decrease; those of other
/// programs' rows are when their transaction began.
pub(super) fn offset_at(
    session: &mut Session,
    info: &TopicInfo,
    time: Timestamp,
) -> Result<Offset, Failure> {
    let (mut low, mut high) = extent(session, info)?;
    let sql = format!(
        "SELECT msg_offset, created_at FROM {} WHERE msg_offset >= $1 ORDER BY msg_offset LIMIT 1",
        info.table
    );
    while low < high {
        let middle = low + (high - low) / 2;
        let (mut found, mut at) = (high, Timestamp(u64::MAX));
        if let Some(row) = session.query_opt(&sql, &[&sql_offset(middle)])? {
            found = column::<i64>(&row, 0)? as Offset;
            at = column::<SystemTime>(&row, 1)?.into();
        }
        match found < high && at < time {
            true => low = found + 1,
            false => high = middle,
        }
    }
    Ok(low)
}

/// Where a group begins that has no position.
pub(super) fn start(
    session: &mut Session,
    info: &TopicInfo,
    start: Start,
) -> Result<Offset, Failure> {
    match start {
        Start::Earliest => Ok(FIRST),
        Start::Latest => Ok(extent(session, info)?.1),
        Start::Offset(offset) => Ok(offset.max(FIRST)),
        Start::Time(time) => offset_at(session, info, time),
    }
}

pub(super) fn sql_offset(offset: Offset) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
