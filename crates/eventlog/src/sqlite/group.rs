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
use crate::consumer::{dead_headers, Death, WINDOW};
use crate::share::{Quota, Source};
use crate::{Claim, NewEvent, Offset, Outcome, Settled, Subscription, Timestamp, Topic};

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

/// Starts a member's life, and ends the one that it had.
pub(super) fn admit(connection: &Connection, s: &Subscription, epoch: u64) -> Result<(), Failure> {
    if let Some(old) = living(connection, s)? {
        release(connection, s, old, true)?;
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
    release(connection, s, epoch, false)
}

const DEAD: &str = "group_id = ?1 AND (boot_id <> ?2 OR lease_until <= ?3)";

/// Ends the lives that are over; answers whether there was one.
pub(super) fn expire(connection: &Connection, s: &Subscription) -> Result<bool, Failure> {
    let sql = format!("DELETE FROM consumer_group_members WHERE {DEAD} RETURNING epoch");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement
        .query_map(params![s.group, boot_id(), since_boot()], |row| row.get::<_, i64>(0))?;
    let epochs = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    epochs.iter().try_for_each(|epoch| release(connection, s, *epoch as u64, true))?;
    Ok(!epochs.is_empty())
}

/// Gives the claims of a life back. Attempts that are counted have failed, and wait as after any failure, but by chance up to half as long again, so
/// that those that were in hand together aren't so the next time.
fn release(
    connection: &Connection,
    s: &Subscription,
    epoch: u64,
    counted: bool,
) -> Result<(), Failure> {
    let sql = "SELECT topic, msg_offset, attempt FROM consumer_group_events
               WHERE group_id = ?1 AND epoch = ?2 AND state = 2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![s.group, epoch as i64], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, u32>(2)?))
    })?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let sql = "UPDATE consumer_group_events SET state = 1, attempt = ?4,
                 due_at = ?5 + abs(random()) % (?6 / 2 + 1)
               WHERE group_id = ?1 AND topic = ?2 AND msg_offset = ?3";
    let mut update = connection.prepare_cached(sql)?;
    for (topic, offset, attempt) in rows {
        let (attempt, due, wait) = match counted {
            true => {
                let wait = millis(s.backoff.after(attempt));
                (attempt, now().saturating_add(wait), wait)
            }
            false => (attempt - 1, 0, 0),
        };
        update.execute(params![s.group, topic, offset, attempt, due, wait])?;
    }
    Ok(())
}

/// Whether a claim is held, and stays so while the transaction lasts.
pub(super) fn holds(connection: &Connection, group: &str, claim: &Claim) -> Result<bool, Failure> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM consumer_group_events WHERE {HELD})");
    let values = params![
        group,
        claim.topic.as_str(),
        sql_offset(claim.offset),
        claim.epoch as i64,
        claim.turn
    ];
    Ok(connection.prepare_cached(&sql)?.query_row(values, |row| row.get(0))?)
}

const HELD: &str = "group_id = ?1 AND topic = ?2 AND msg_offset = ?3 AND state = 2
                    AND epoch = ?4 AND turn = ?5";

/// Whether anybody would claim a topic's events.
pub(super) fn is_read(connection: &Connection, topic: &Topic) -> Result<bool, Failure> {
    let sql = "SELECT EXISTS (
                 SELECT 1 FROM consumer_group_members m
                 JOIN consumer_group_offsets o ON o.group_id = m.group_id AND o.topic = ?1)";
    Ok(connection.prepare_cached(sql)?.query_row([topic.as_str()], |row| row.get(0))?)
}

/// What a look has found.
pub(super) struct Found {
    /// By the place of the topic in the subscription.
    pub sources: Vec<Source>,
    /// Whether a claim would come to something.
    pub anything: bool,
    /// When to look again by the clock if not.
    pub again: Duration,
}

/// Looks for what a claim would find, or that this life of the member is over. Others' lives are looked at if the
/// member may end them. Reads only.
pub(super) fn peek(
    connection: &Connection,
    s: &Subscription,
    epoch: u64,
    may_expire: bool,
) -> Result<Found, Failure> {
    let (now, boot) = (now(), since_boot());
    let mut again = s.lease / 3;
    let mut sooner = |at: Option<i64>, now: i64| {
        // What is due already and wasn't claimed waits for room, and room comes with a signal.
        if let Some(at) = at.filter(|at| *at > now) {
            again = again.min(Duration::from_millis((at - now) as u64 + 1));
        }
    };
    let mut sources = Vec::with_capacity(s.topics.len());
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
        let is_due = due.is_some_and(|due| due <= now);
        sources.push(Source { due: is_due, untouched, in_hand: 0 });
        sooner(due, now);
    }
    count_in_hand(connection, s, epoch, &mut sources)?;
    let mut found = sources.iter().any(|source| source.due || source.untouched);
    let sql = "SELECT min(CASE boot_id WHEN ?2 THEN lease_until ELSE 0 END)
               FROM consumer_group_members WHERE group_id = ?1";
    let until: Option<i64> =
        connection.prepare_cached(sql)?.query_row(params![s.group, boot_id()], |row| row.get(0))?;
    if may_expire {
        found |= until.is_some_and(|until| until <= boot);
        sooner(until, boot);
    }
    let in_hand: usize = sources.iter().map(|source| source.in_hand).sum();
    found &= in_hand < s.concurrency;
    let over = living(connection, s)? != Some(epoch);
    Ok(Found { sources, anything: found || over, again })
}

/// How many events of each topic the member has in hand.
pub(super) fn count_in_hand(
    connection: &Connection,
    s: &Subscription,
    epoch: u64,
    sources: &mut [Source],
) -> Result<(), Failure> {
    let sql = "SELECT topic, count(*) FROM consumer_group_events
               WHERE group_id = ?1 AND epoch = ?2 AND state = 2 GROUP BY topic";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![s.group, epoch as i64])?;
    while let Some(row) = rows.next()? {
        let topic = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        let count = row.get::<_, i64>(1)? as usize;
        let of_topic = s.topics.iter().zip(&mut *sources).find(|(t, _)| t.as_str() == topic);
        if let Some((_, source)) = of_topic {
            source.in_hand = count;
        }
    }
    Ok(())
}

/// Claims events of a topic: those whose moment has come, the oldest moment first, and untouched ones. Answers how many of each
/// there were, too.
pub(super) fn claim(
    connection: &Connection,
    group: &str,
    topic: &Topic,
    epoch: u64,
    quota: Quota,
) -> Result<(Vec<Claim>, Quota), Failure> {
    let claim = |offset: i64, attempt: u32, turn: u32, step: u32| Claim {
        topic: topic.clone(),
        partition: 0,
        offset: offset as Offset,
        attempt,
        turn,
        step,
        epoch,
    };
    let mut claims = Vec::new();
    if quota.due > 0 {
        let sql = "UPDATE consumer_group_events
                   SET state = 2, attempt = attempt + 1, turn = turn + 1, epoch = ?5
                   WHERE group_id = ?1 AND topic = ?2 AND msg_offset IN (
                     SELECT msg_offset FROM consumer_group_events
                     WHERE group_id = ?1 AND topic = ?2 AND state = 1 AND due_at <= ?3
                     ORDER BY due_at, msg_offset LIMIT ?4)
                   RETURNING msg_offset, attempt, turn, step";
        let mut statement = connection.prepare_cached(sql)?;
        let values = params![group, topic.as_str(), now(), quota.due as i64, epoch as i64];
        let claimed =
            |row: &rusqlite::Row<'_>| Ok(claim(row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        let rows = statement.query_map(values, claimed)?;
        claims = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    }
    let mut found = Quota { due: claims.len(), untouched: 0 };
    if quota.untouched > 0 {
        let max = claims.len() + quota.untouched;
        take_in(connection, group, topic, max, &mut claims, |offset| claim(offset, 1, 1, 0))?;
        found.untouched = claims.len() - found.due;
    }
    claims.sort_by_key(|claim| claim.offset);
    Ok((claims, found))
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
               (group_id, topic, msg_offset, key, state, attempt, turn, epoch, due_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, 0)";
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
    let epoch = claim.epoch as i64;
    if let Some((delay, step)) = outcome.again() {
        let due = delay.map_or(0, |delay| now().saturating_add(millis(delay)));
        let uncount = delay.is_none();
        let sql = format!(
            "UPDATE consumer_group_events SET state = {}, due_at = ?6, attempt = attempt - ?7,
               step = coalesce(?8, step)
             WHERE {HELD}",
            State::Waiting as i64
        );
        let values = params![group, topic, offset, epoch, claim.turn, due, uncount, step];
        let changed = connection.prepare_cached(&sql)?.execute(values)?;
        return Ok(if changed == 0 { (Settled::Lost, false) } else { (Settled::Done, true) });
    }

    let sql = format!("DELETE FROM consumer_group_events WHERE {HELD} RETURNING key");
    let mut statement = connection.prepare_cached(&sql)?;
    let values = params![group, topic, offset, epoch, claim.turn];
    let key: Option<String> = statement.query_row(values, |row| row.get(0)).optional()?;
    let Some(key) = key else { return Ok((Settled::Lost, false)) };
    // Behind those that wait already.
    let sql = "UPDATE consumer_group_events SET state = 1, due_at = ?4
               WHERE group_id = ?1 AND topic = ?2 AND msg_offset = (
                 SELECT min(msg_offset) FROM consumer_group_events
                 WHERE group_id = ?1 AND topic = ?2 AND key = ?3)";
    let freed = connection.prepare_cached(sql)?.execute(params![group, topic, key, now()])?;
    let death = outcome.death();
    if let Some(death) = death {
        bury(connection, group, claim, death)?;
    }
    Ok((Settled::Done, freed > 0 || death.is_some()))
}

fn bury(
    connection: &Connection,
    group: &str,
    claim: &Claim,
    death: Death<'_>,
) -> Result<(), Failure> {
    // Of an event that was deleted meanwhile there is nothing to keep.
    let Some(event) = events::get(connection, &claim.topic, claim.offset)? else { return Ok(()) };
    let headers = dead_headers(event.headers, claim, group, death);
    let topic = claim.topic.dead_or_invalid()?;
    events::insert(connection, &NewEvent { topic, key: event.key, value: event.value, headers })
}
