//! Where groups are in a topic: where one begins, how others carry on from it, and how far each is.

use super::connection::{column, Failure};
use super::events::{self, sql_offset};
use super::session::Session;
use super::topic::TopicInfo;
use crate::{GroupPosition, Offset, Subscription, Topic};

/// A group's lag is counted exactly up to so many events, and told by its offsets beyond.
const COUNT_MOST: i64 = 100_000;

/// Gives the group a position in the topic, if it has none.
pub(super) fn begin(
    session: &mut Session,
    s: &Subscription,
    topic: &Topic,
    info: &TopicInfo,
) -> Result<(), Failure> {
    let sql = "SELECT FROM consumer_group_offsets WHERE group_id = $1 AND topic = $2";
    if session.query_opt(sql, &[&s.group, &topic.as_str()])?.is_some() {
        return Ok(());
    }
    let start = events::start(session, info, s.start_of(topic))?;
    let sql = "INSERT INTO consumer_group_offsets (group_offset, group_id, topic)
               VALUES ($1, $2, $3) ON CONFLICT (group_id, topic) DO NOTHING";
    session.execute(sql, &[&(sql_offset(start) - 1), &s.group, &topic.as_str()])?;
    Ok(())
}

/// Gives groups the position that another has had, with what that has not finished.
pub(super) fn adopt(
    session: &mut Session,
    topic: &str,
    from: &str,
    groups: &[String],
) -> Result<(), Failure> {
    for group in groups {
        let sql = "INSERT INTO consumer_group_offsets (group_offset, group_id, topic)
                   SELECT group_offset, $3, topic FROM consumer_group_offsets
                   WHERE group_id = $1 AND topic = $2 ON CONFLICT (group_id, topic) DO NOTHING";
        if session.execute(sql, &[&from, &topic, &group])? > 0 {
            let sql = "INSERT INTO consumer_group_events
                         (group_id, topic, msg_offset, key, state, attempt, turn, step, epoch, due_at)
                       SELECT $3, topic, msg_offset, key, least(state, 1), attempt, turn, step, 0, due_at
                       FROM consumer_group_events WHERE group_id = $1 AND topic = $2";
            session.execute(sql, &[&from, &topic, &group])?;
        }
    }
    for table in ["consumer_group_events", "consumer_group_offsets"] {
        let sql = format!("DELETE FROM {table} WHERE group_id = $1 AND topic = $2");
        session.execute(&sql, &[&from, &topic])?;
    }
    Ok(())
}

/// Whether the group has a position in the topic.
pub(super) fn has_position(
    session: &mut Session,
    group: &str,
    topic: &str,
) -> Result<bool, Failure> {
    let sql = "SELECT FROM consumer_group_offsets WHERE group_id = $1 AND topic = $2";
    Ok(session.query_opt(sql, &[&group, &topic])?.is_some())
}

/// Every group's position in a topic of this extent.
pub(super) fn positions(
    session: &mut Session,
    info: &TopicInfo,
    topic: &Topic,
    first: Offset,
    next: Offset,
) -> Result<Vec<GroupPosition>, Failure> {
    let sql = format!(
        "SELECT o.group_id, o.group_offset + 1, u.first,
           u.count + CASE WHEN $2 - o.group_offset <= $3
             THEN (SELECT count(*) FROM {} t
                   WHERE t.msg_offset > o.group_offset AND t.msg_offset < $2)
             ELSE $2 - o.group_offset - 1 END
         FROM consumer_group_offsets o, LATERAL (
           SELECT count(*) AS count, min(e.msg_offset) AS first FROM consumer_group_events e
           WHERE e.group_id = o.group_id AND e.topic = o.topic) u
         WHERE o.topic = $1 ORDER BY o.group_id",
        info.table
    );
    let rows = session.query(&sql, &[&topic.as_str(), &sql_offset(next), &COUNT_MOST])?;
    let position = |row| {
        let (taken, unfinished): (i64, Option<i64>) = (column(row, 1)?, column(row, 2)?);
        // Below the first event that is left there is nothing that could be unfinished.
        let committed = unfinished.map_or((taken as Offset).max(first), |first| first as Offset);
        let lag = column::<i64>(row, 3)? as u64;
        Ok(GroupPosition { group: column(row, 0)?, committed, lag })
    };
    rows.iter().map(position).collect()
}
