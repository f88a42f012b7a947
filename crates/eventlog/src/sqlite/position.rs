//! Where groups are in a topic: where one begins, how others carry on from it, and how far each is.

use rusqlite::{params, Connection};

use super::connection::Failure;
use super::events::sql_offset;
use crate::{GroupPosition, Offset, Topic};

/// Gives the group a position in the topic, if it has none.
pub(super) fn begin(
    connection: &Connection,
    group: &str,
    topic: &Topic,
    taken: Offset,
) -> Result<(), Failure> {
    let sql = "INSERT OR IGNORE INTO consumer_group_offsets (group_id, topic, taken)
               VALUES (?1, ?2, ?3)";
    let taken = sql_offset(taken);
    connection.prepare_cached(sql)?.execute(params![group, topic.as_str(), taken])?;
    Ok(())
}

/// Gives groups the position that another has had, with what that has not finished.
pub(super) fn adopt(
    connection: &Connection,
    topic: &str,
    from: &str,
    groups: &[String],
) -> Result<(), Failure> {
    for group in groups {
        let sql = "INSERT OR IGNORE INTO consumer_group_offsets (group_id, topic, taken)
                   SELECT ?3, topic, taken FROM consumer_group_offsets
                   WHERE group_id = ?1 AND topic = ?2";
        if connection.prepare_cached(sql)?.execute(params![from, topic, group])? > 0 {
            let sql = "INSERT INTO consumer_group_events
                         (group_id, topic, msg_offset, key, state, attempt, turn, step, epoch, due_at)
                       SELECT ?3, topic, msg_offset, key, min(state, 1), attempt, turn, step, 0, due_at
                       FROM consumer_group_events WHERE group_id = ?1 AND topic = ?2";
            connection.prepare_cached(sql)?.execute(params![from, topic, group])?;
        }
    }
    for table in ["consumer_group_events", "consumer_group_offsets"] {
        let sql = format!("DELETE FROM {table} WHERE group_id = ?1 AND topic = ?2");
        connection.prepare_cached(&sql)?.execute([from, topic])?;
    }
    Ok(())
}

/// Whether the group has a position in the topic.
pub(super) fn has_position(
    connection: &Connection,
    group: &str,
    topic: &str,
) -> Result<bool, Failure> {
    let sql = "SELECT EXISTS (SELECT 1 FROM consumer_group_offsets
               WHERE group_id = ?1 AND topic = ?2)";
    Ok(connection.prepare_cached(sql)?.query_row([group, topic], |row| row.get(0))?)
}

/// Every group's position in a topic whose events reach from `first` to before `next`.
pub(super) fn positions(
    connection: &Connection,
    topic: &Topic,
    (first, next): (Offset, Offset),
) -> Result<Vec<GroupPosition>, Failure> {
    let sql = "SELECT o.group_id, o.taken, count(e.msg_offset), min(e.msg_offset)
               FROM consumer_group_offsets o
               LEFT JOIN consumer_group_events e ON e.group_id = o.group_id AND e.topic = o.topic
               WHERE o.topic = ?1 GROUP BY o.group_id ORDER BY o.group_id";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([topic.as_str()], |row| {
        let taken = row.get::<_, i64>(1)? as Offset;
        let unfinished = row.get::<_, i64>(2)? as u64;
        let held: Option<i64> = row.get(3)?;
        Ok(GroupPosition {
            group: row.get(0)?,
            committed: held.map_or(taken, |held| held as Offset),
            // Events that were deleted untouched don't wait for anybody.
            lag: next.saturating_sub(taken.max(first)) + unfinished,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
