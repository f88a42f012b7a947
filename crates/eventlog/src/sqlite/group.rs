//! Consumer groups in tables: who lives, what is handed out, and how it ends. Each function runs in a transaction.
//!
//! Events below `taken` that have no row are finished. Of a key's rows, the first is claimed or waits for its moment;
//! the others are parked behind it.

use std::time::Duration;

use rusqlite::{params, Connection, OptionalExtension};

use super::clock::{boot_id, millis, since_boot};
use super::connection::Failure;
use super::events::{self, sql_offset};
use super::schema::table;
use crate::consumer::{dead_headers, WINDOW};
use crate::{
    Claim, GroupPosition, NewEvent, Offset, Outcome, Settled, Subscription, Timestamp, Topic,
};

/// A row's state in `consumer_group_events`; two indexes of the layout name the numbers.
#[derive(Clone, Copy)]
enum State {
    Parked = 0,
    Waiting = 1,
    Claimed = 2,
}

fn now() -> i64 {
    Timestamp::now().0 as i64
}

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

/// Starts a member's life, and ends the one that it had.
pub(super) fn admit(connection: &Connection, s: &Subscription, epoch: u64) -> Result<(), Failure> {
    if let Some(old) = living(connection, s)? {
        release(connection, &s.group, old, false)?;
    }
    let sql = "INSERT OR REPLACE INTO consumer_group_members
               (group_id, member_id, epoch, boot_id, lease_until) VALUES (?1, ?2, ?3, ?4, ?5)";
    let until = since_boot() + millis(s.lease);
    let values = params![s.group, s.member, epoch as i64, boot_id(), until];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// Which life of the member goes on, if any does.
pub(super) fn living(connection: &Connection, s: &Subscription) -> Result<Option<u64>, Failure> {
    let sql = "SELECT epoch FROM consumer_group_members WHERE group_id = ?1 AND member_id = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let epoch: Option<i64> =
        statement.query_row(params![s.group, s.member], |row| row.get(0)).optional()?;
    Ok(epoch.map(|epoch| epoch as u64))
}

/// Prolongs a member's life.
pub(super) fn extend(connection: &Connection, s: &Subscription) -> Result<(), Failure> {
    let sql = "UPDATE consumer_group_members SET boot_id = ?3, lease_until = ?4
               WHERE group_id = ?1 AND member_id = ?2";
    let until = since_boot() + millis(s.lease);
    connection.prepare_cached(sql)?.execute(params![s.group, s.member, boot_id(), until])?;
    Ok(())
}

/// Removes a member and gives its claims back, their attempts uncounted.
pub(super) fn dismiss(
    connection: &Connection,
    s: &Subscription,
    epoch: u64,
) -> Result<(), Failure> {
    let sql = "DELETE FROM consumer_group_members
               WHERE group_id = ?1 AND member_id = ?2 AND epoch = ?3";
    connection.prepare_cached(sql)?.execute(params![s.group, s.member, epoch as i64])?;
    release(connection, &s.group, epoch, true)
}

const DEAD: &str = "group_id = ?1 AND (boot_id <> ?2 OR lease_until <= ?3)";

/// Ends the lives that are over.
pub(super) fn expire(connection: &Connection, group: &str) -> Result<(), Failure> {
    let sql = format!("DELETE FROM consumer_group_members WHERE {DEAD} RETURNING epoch");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows =
        statement.query_map(params![group, boot_id(), since_boot()], |row| row.get::<_, i64>(0))?;
    let epochs = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    epochs.into_iter().try_for_each(|epoch| release(connection, group, epoch as u64, false))
}

fn release(connection: &Connection, group: &str, epoch: u64, uncount: bool) -> Result<(), Failure> {
    let sql = "UPDATE consumer_group_events SET state = 1, due_at = 0, attempt = attempt - ?3
               WHERE group_id = ?1 AND epoch = ?2 AND state = 2";
    connection.prepare_cached(sql)?.execute(params![group, epoch as i64, uncount])?;
    Ok(())
}

/// Whether anybody would claim a topic's events.
pub(super) fn is_read(connection: &Connection, topic: &Topic) -> Result<bool, Failure> {
    let sql = "SELECT EXISTS (
                 SELECT 1 FROM consumer_group_members m
                 JOIN consumer_group_offsets o ON o.group_id = m.group_id AND o.topic = ?1)";
    Ok(connection.prepare_cached(sql)?.query_row([topic.as_str()], |row| row.get(0))?)
}

/// Whether a claim would find something, or that this life of the member is over; and when to look again by the clock
/// if not. Reads only.
pub(super) fn peek(
    connection: &Connection,
    s: &Subscription,
    epoch: u64,
) -> Result<(bool, Duration), Failure> {
    let (now, boot) = (now(), since_boot());
    let mut again = s.lease / 3;
    let mut sooner = |at: Option<i64>, now: i64| {
        // What is due already and wasn't claimed waits for room, and room comes with a signal.
        if let Some(at) = at.filter(|at| *at > now) {
            again = again.min(Duration::from_millis((at - now) as u64 + 1));
        }
    };
    let mut found = false;
    for topic in &s.topics {
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM {} WHERE msg_offset >= (
                 SELECT taken FROM consumer_group_offsets WHERE group_id = ?1 AND topic = ?2)),
               (SELECT min(due_at) FROM consumer_group_events
                 WHERE group_id = ?1 AND topic = ?2 AND state = 1)",
            table(topic)
        );
        let (untouched, due): (bool, Option<i64>) = connection
            .prepare_cached(&sql)?
            .query_row(params![s.group, topic.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        found |= untouched || due.is_some_and(|due| due <= now);
        sooner(due, now);
    }
    let sql = "SELECT min(CASE boot_id WHEN ?2 THEN lease_until ELSE 0 END)
               FROM consumer_group_members WHERE group_id = ?1";
    let until: Option<i64> =
        connection.prepare_cached(sql)?.query_row(params![s.group, boot_id()], |row| row.get(0))?;
    found |= until.is_some_and(|until| until <= boot);
    sooner(until, boot);
    found &= in_hand(connection, &s.group, epoch)? < s.concurrency;
    let over = living(connection, s)? != Some(epoch);
    Ok((found || over, again))
}

/// How many events the member has in hand.
pub(super) fn in_hand(connection: &Connection, group: &str, epoch: u64) -> Result<usize, Failure> {
    let sql = "SELECT count(*) FROM consumer_group_events
               WHERE group_id = ?1 AND epoch = ?2 AND state = 2";
    let count: i64 = connection
        .prepare_cached(sql)?
        .query_row(params![group, epoch as i64], |row| row.get(0))?;
    Ok(count as usize)
}

/// Claims up to `max` events of a topic: those whose moment has come first, then untouched ones.
pub(super) fn claim(
    connection: &Connection,
    group: &str,
    topic: &Topic,
    epoch: u64,
    max: usize,
) -> Result<Vec<Claim>, Failure> {
    let claim = |offset: i64, attempt: u32| Claim {
        topic: topic.clone(),
        partition: 0,
        offset: offset as Offset,
        attempt,
        epoch,
    };
    let sql = "UPDATE consumer_group_events SET state = 2, attempt = attempt + 1, epoch = ?5
               WHERE group_id = ?1 AND topic = ?2 AND msg_offset IN (
                 SELECT msg_offset FROM consumer_group_events
                 WHERE group_id = ?1 AND topic = ?2 AND state = 1 AND due_at <= ?3
                 ORDER BY msg_offset LIMIT ?4)
               RETURNING msg_offset, attempt";
    let mut statement = connection.prepare_cached(sql)?;
    let values = params![group, topic.as_str(), now(), max as i64, epoch as i64];
    let rows = statement.query_map(values, |row| Ok(claim(row.get(0)?, row.get(1)?)))?;
    let mut claims = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    if claims.len() < max {
        take_in(connection, group, topic, max, &mut claims, |offset| claim(offset, 1))?;
    }
    claims.sort_by_key(|claim| claim.offset);
    Ok(claims)
}

/// Takes untouched events in: claims the first of each key, and parks the others, until `max` are claimed.
fn take_in(
    connection: &Connection,
    group: &str,
    topic: &Topic,
    max: usize,
    claims: &mut Vec<Claim>,
    claim: impl Fn(i64) -> Claim,
) -> Result<(), Failure> {
    let topic_name = topic.as_str();
    let sql = "SELECT count(*) FROM consumer_group_events WHERE group_id = ?1 AND topic = ?2";
    let unfinished: i64 =
        connection.prepare_cached(sql)?.query_row(params![group, topic_name], |row| row.get(0))?;
    let room = (WINDOW as i64 - unfinished).max(0);

    let sql = format!(
        "SELECT msg_offset, key FROM {} WHERE msg_offset >= (
           SELECT taken FROM consumer_group_offsets WHERE group_id = ?1 AND topic = ?2)
         ORDER BY msg_offset LIMIT ?3",
        table(topic)
    );
    let mut untouched = connection.prepare_cached(&sql)?;
    let mut rows = untouched.query(params![group, topic_name, room])?;
    let sql = "SELECT EXISTS (SELECT 1 FROM consumer_group_events
               WHERE group_id = ?1 AND topic = ?2 AND key = ?3)";
    let mut busy = connection.prepare_cached(sql)?;
    let sql = "INSERT INTO consumer_group_events
               (group_id, topic, msg_offset, key, state, attempt, epoch, due_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0)";
    let mut insert = connection.prepare_cached(sql)?;
    let mut taken = None;
    while claims.len() < max {
        let Some(row) = rows.next()? else { break };
        let (offset, key) =
            (row.get::<_, i64>(0)?, row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?);
        let parked: bool = busy.query_row(params![group, topic_name, key], |row| row.get(0))?;
        let claim = claim(offset);
        let (state, attempt, epoch) = match parked {
            true => (State::Parked, 0, 0),
            false => (State::Claimed, claim.attempt, claim.epoch as i64),
        };
        insert.execute(params![group, topic_name, offset, key, state as i64, attempt, epoch])?;
        if !parked {
            claims.push(claim);
        }
        taken = Some(offset + 1);
    }
    if let Some(taken) = taken {
        let sql = "UPDATE consumer_group_offsets SET taken = ?3
                   WHERE group_id = ?1 AND topic = ?2";
        connection.prepare_cached(sql)?.execute(params![group, topic_name, taken])?;
    }
    Ok(())
}

/// Settles one claim. Answers also whether something may be claimed now that couldn't before.
pub(super) fn settle(
    connection: &Connection,
    group: &str,
    claim: &Claim,
    outcome: &Outcome,
) -> Result<(Settled, bool), Failure> {
    let (topic, offset) = (claim.topic.as_str(), sql_offset(claim.offset));
    let again_at = match outcome {
        Outcome::Finished | Outcome::Dead(_) => None,
        Outcome::Retry(delay) => Some((now().saturating_add(millis(*delay)), 0)),
        Outcome::Released => Some((0, 1)),
    };
    const HELD: &str = "group_id = ?1 AND topic = ?2 AND msg_offset = ?3 AND state = 2
                        AND epoch = ?4 AND attempt = ?5";
    let epoch = claim.epoch as i64;
    if let Some((due, uncount)) = again_at {
        let sql = format!(
            "UPDATE consumer_group_events SET state = {}, due_at = ?6, attempt = attempt - ?7
             WHERE {HELD}",
            State::Waiting as i64
        );
        let values = params![group, topic, offset, epoch, claim.attempt, due, uncount];
        let changed = connection.prepare_cached(&sql)?.execute(values)?;
        return Ok(if changed == 0 { (Settled::Lost, false) } else { (Settled::Done, true) });
    }

    let sql = format!("DELETE FROM consumer_group_events WHERE {HELD} RETURNING key");
    let mut statement = connection.prepare_cached(&sql)?;
    let values = params![group, topic, offset, epoch, claim.attempt];
    let key: Option<String> = statement.query_row(values, |row| row.get(0)).optional()?;
    let Some(key) = key else { return Ok((Settled::Lost, false)) };
    let sql = "UPDATE consumer_group_events SET state = 1, due_at = 0
               WHERE group_id = ?1 AND topic = ?2 AND msg_offset = (
                 SELECT min(msg_offset) FROM consumer_group_events
                 WHERE group_id = ?1 AND topic = ?2 AND key = ?3)";
    let freed = connection.prepare_cached(sql)?.execute(params![group, topic, key])?;
    if let Outcome::Dead(error) = outcome {
        bury(connection, group, claim, error)?;
    }
    Ok((Settled::Done, freed > 0 || matches!(outcome, Outcome::Dead(_))))
}

fn bury(connection: &Connection, group: &str, claim: &Claim, error: &str) -> Result<(), Failure> {
    // Of an event that was deleted meanwhile there is nothing to keep.
    let Some(event) = events::get(connection, &claim.topic, claim.offset)? else { return Ok(()) };
    let headers = dead_headers(event.headers, claim, group, error);
    let topic = claim.topic.dead_or_invalid()?;
    events::insert(connection, &NewEvent { topic, key: event.key, value: event.value, headers })
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
