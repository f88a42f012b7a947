//! Consumer groups in tables: who lives, what may be claimed, and how it ends. What changes a group holds its lock.
//!
//! Events up to `group_offset` that have no row are finished. Of a key's rows, the first is claimed or waits for its moment;
//! the others are parked behind it. Moments and leases are by the server's clock.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::connection::{column, Database, Failure};
use super::events::{self, sql_offset};
use super::session::{Lock, Session};
use crate::consumer::{dead_headers, Death};
use crate::{Claim, Fence, NewEvent, Outcome, Result, Settled, Subscription, Topic};

/// A row's state in `consumer_group_events`; two indexes of the layout name the numbers.
pub(super) const PARKED: i16 = 0;
pub(super) const CLAIMED: i16 = 2;

/// The number of a group's lock: the name's FNV-1a hash, the same in every program. Groups that share one wait for each
/// other, no more.
pub(super) fn lock_key(group: &str) -> i32 {
    let hash = group
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash as i32
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Starts a member's life, and ends the one that it had.
pub(super) fn admit(session: &mut Session, s: &Subscription, epoch: u64) -> Result<(), Failure> {
    if let Some(old) = living(session, s)? {
        release(session, s, &[old as i64])?;
    }
    let sql = "INSERT INTO consumer_group_members (group_id, member_id, epoch, lease_until)
               VALUES ($1, $2, $3, clock_timestamp() + $4 * interval '1 millisecond')
               ON CONFLICT (group_id, member_id) DO UPDATE
               SET epoch = excluded.epoch, lease_until = excluded.lease_until";
    session.execute(sql, &[&s.group, &s.member, &(epoch as i64), &millis(s.lease)])?;
    Ok(())
}

/// Which life of the member goes on, if any does.
pub(super) fn living(session: &mut Session, s: &Subscription) -> Result<Option<u64>, Failure> {
    let sql = "SELECT epoch FROM consumer_group_members WHERE group_id = $1 AND member_id = $2";
    let row = session.query_opt(sql, &[&s.group, &s.member])?;
    row.map(|row| Ok(column::<i64>(&row, 0)? as u64)).transpose()
}

/// Prolongs a member's life; false if it is over. Needs no lock.
pub(super) fn extend(session: &mut Session, s: &Subscription, epoch: u64) -> Result<bool, Failure> {
    let sql = "UPDATE consumer_group_members
               SET lease_until = clock_timestamp() + $4 * interval '1 millisecond'
               WHERE group_id = $1 AND member_id = $2 AND epoch = $3";
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&s.group, &s.member, &(epoch as i64), &millis(s.lease)];
    Ok(session.execute(sql, &values)? > 0)
}

/// Removes a member and gives its claims back, their attempts uncounted.
pub(super) fn dismiss(session: &mut Session, s: &Subscription, epoch: u64) -> Result<(), Failure> {
    let sql = "DELETE FROM consumer_group_members
               WHERE group_id = $1 AND member_id = $2 AND epoch = $3";
    session.execute(sql, &[&s.group, &s.member, &(epoch as i64)])?;
    let sql = "UPDATE consumer_group_events
               SET state = 1, due_at = 'epoch', attempt = attempt - 1
               WHERE group_id = $1 AND epoch = $2 AND state = 2";
    session.execute(sql, &[&s.group, &(epoch as i64)])?;
    Ok(())
}

/// Ends the lives that are over.
pub(super) fn expire(session: &mut Session, s: &Subscription) -> Result<(), Failure> {
    let sql = "DELETE FROM consumer_group_members
               WHERE group_id = $1 AND lease_until <= clock_timestamp() RETURNING epoch";
    let rows = session.query(sql, &[&s.group])?;
    let epochs: Vec<i64> = rows.iter().map(|row| column(row, 0)).collect::<Result<_, _>>()?;
    match epochs.is_empty() {
        true => Ok(()),
        false => release(session, s, &epochs),
    }
}

/// Gives back the claims of lives that have ended. Their attempts have failed, and wait as after any failure, but by chance up to half as long
/// again, so that those that were in hand together aren't so the next time.
fn release(session: &mut Session, s: &Subscription, epochs: &[i64]) -> Result<(), Failure> {
    let sql = "UPDATE consumer_group_events
               SET state = 1, due_at = clock_timestamp() + interval '1 millisecond' * (1 + random() / 2)
                 * least($3::float8 * 2::float8 ^ least(attempt - 1, 62), $4::float8)
               WHERE group_id = $1 AND epoch = ANY($2) AND state = 2";
    let (first, longest) = (millis(s.backoff.first), millis(s.backoff.longest));
    session.execute(sql, &[&s.group, &epochs, &first, &longest])?;
    Ok(())
}

/// Whether the claims are held; they stay so until the transaction ends, since whoever takes one over waits for it.
pub(super) fn hold(session: &mut Session, fences: &[&Fence]) -> Result<Vec<bool>, Failure> {
    let sql = "SELECT f.number FROM unnest($1::int8[], $2::text[], $3::text[], $4::int8[], $5::int8[], $6::int4[])
                 AS f (number, group_id, topic, msg_offset, epoch, turn)
               JOIN consumer_group_events e USING (group_id, topic, msg_offset)
               WHERE e.state = 2 AND e.epoch = f.epoch AND e.turn = f.turn
               ORDER BY e.group_id, e.topic, e.msg_offset FOR SHARE OF e";
    let claims = || fences.iter().map(|fence| &fence.claim);
    let numbers: Vec<i64> = (0..fences.len() as i64).collect();
    let groups: Vec<&str> = fences.iter().map(|fence| fence.group.as_str()).collect();
    let topics: Vec<&str> = claims().map(|claim| claim.topic.as_str()).collect();
    let offsets: Vec<i64> = claims().map(|claim| sql_offset(claim.offset)).collect();
    let epochs: Vec<i64> = claims().map(|claim| claim.epoch as i64).collect();
    let turns: Vec<i32> = claims().map(|claim| claim.turn as i32).collect();
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&numbers, &groups, &topics, &offsets, &epochs, &turns];
    let mut held = vec![false; fences.len()];
    for row in session.query(sql, &values)? {
        held[column::<i64>(&row, 0)? as usize] = true;
    }
    Ok(held)
}

/// Gives back what the member has claimed without having heard of it, uncounted.
pub(super) fn release_unheard(
    session: &mut Session,
    s: &Subscription,
    epoch: u64,
    heard: &HashSet<Claim>,
) -> Result<(), Failure> {
    let heard = heard.iter().filter(|claim| claim.epoch == epoch);
    let (topics, offsets): (Vec<&str>, Vec<i64>) =
        heard.map(|claim| (claim.topic.as_str(), sql_offset(claim.offset))).unzip();
    let sql = "UPDATE consumer_group_events
               SET state = 1, due_at = 'epoch', attempt = attempt - 1
               WHERE group_id = $1 AND epoch = $2 AND state = 2 AND (topic, msg_offset) NOT IN (
                 SELECT * FROM unnest($3::text[], $4::int8[]))";
    session.execute(sql, &[&s.group, &(epoch as i64), &topics, &offsets])?;
    Ok(())
}

/// What a settlement did, in the order of its claims, and whether something may be claimed that couldn't before.
pub(super) struct Settlement {
    pub settled: Vec<Settled>,
    pub freed: bool,
}

/// The locks that settling takes: the group's, then those of the dead letters' topics.
pub(super) fn settle_locks(
    database: &Database,
    session: &mut Session,
    group: &str,
    settlements: &[(Claim, Outcome)],
) -> Result<Vec<Lock>, Failure> {
    let mut ids = Vec::new();
    for (claim, outcome) in settlements {
        if outcome.death().is_some() {
            ids.push(database.topic(session, &claim.topic.dead_or_invalid()?)?.id);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    let locks = [Lock::Group(lock_key(group))].into_iter();
    Ok(locks.chain(ids.into_iter().map(Lock::Topic)).collect())
}

/// Settles claims.
pub(super) fn settle(
    database: &Database,
    session: &mut Session,
    group: &str,
    settlements: &[(Claim, Outcome)],
) -> Result<Settlement, Failure> {
    let mut settled = vec![Settled::Lost; settlements.len()];
    let (mut ended, mut put_off) = (Held::default(), Held::default());
    let mut put_off_by = PutOff::default();
    // Settled before, in the same call: whatever came of it, it isn't held any more.
    let mut seen = HashSet::new();
    for (number, (claim, outcome)) in settlements.iter().enumerate() {
        if !seen.insert(claim) {
            continue;
        }
        match outcome.again() {
            None => ended.push(number, claim),
            Some((delay, step)) => {
                put_off.push(number, claim);
                put_off_by.delays.push(millis(delay.unwrap_or_default()));
                put_off_by.uncounts.push(i32::from(delay.is_none()));
                put_off_by.steps.push(step.map(|step| step as i32));
            }
        }
    }
    let mut freed = false;
    if !put_off.numbers.is_empty() {
        for number in put_off.postpone(session, group, &put_off_by)? {
            settled[number] = Settled::Done;
            freed = true;
        }
    }
    if !ended.numbers.is_empty() {
        let keys = ended.remove(session, group)?;
        keys.iter().for_each(|(number, _)| settled[*number] = Settled::Done);
        let keys: Vec<(&str, &str)> = keys
            .iter()
            .map(|(number, key)| (settlements[*number].0.topic.as_str(), key.as_str()))
            .collect();
        freed |= free(session, group, &keys)?;
    }
    let dead = settlements.iter().zip(&settled).filter_map(|((claim, outcome), settled)| {
        let death = outcome.death().filter(|_| *settled == Settled::Done)?;
        Some((claim, death))
    });
    freed |= bury(database, session, group, dead.collect())?;
    Ok(Settlement { settled, freed })
}

/// Ends claimed events, and lets those behind them go on.
pub(super) fn finish(session: &mut Session, group: &str, claims: &[Claim]) -> Result<(), Failure> {
    let mut ended = Held::default();
    claims.iter().enumerate().for_each(|(number, claim)| ended.push(number, claim));
    let keys = ended.remove(session, group)?;
    let keys: Vec<(&str, &str)> =
        keys.iter().map(|(number, key)| (claims[*number].topic.as_str(), key.as_str())).collect();
    free(session, group, &keys)?;
    Ok(())
}

/// Claims as columns, and their numbers in the settlement.
#[derive(Default)]
struct Held<'a> {
    numbers: Vec<i64>,
    topics: Vec<&'a str>,
    offsets: Vec<i64>,
    epochs: Vec<i64>,
    turns: Vec<i32>,
}

/// How claims are put off, as columns.
#[derive(Default)]
struct PutOff {
    delays: Vec<f64>,
    uncounts: Vec<i32>,
    steps: Vec<Option<i32>>,
}

/// The claimed events among the parameters `$2` to `$6`, as `h`, with the `place` of each one's row.
const HELD: &str = "
    (SELECT c.*, e.place FROM unnest($2::int8[], $3::text[], $4::int8[], $5::int8[], $6::int4[])
       AS c (number, topic, msg_offset, epoch, turn), LATERAL (
         SELECT ctid AS place, group_id, topic, msg_offset, state, epoch, turn
         FROM consumer_group_events WHERE (group_id, topic, msg_offset) >= ($1, c.topic, c.msg_offset)
         ORDER BY group_id, topic, msg_offset LIMIT 1) e
     WHERE e.group_id = $1 AND e.topic = c.topic AND e.msg_offset = c.msg_offset
       AND e.state = 2 AND e.epoch = c.epoch AND e.turn = c.turn) AS h";

impl<'a> Held<'a> {
    fn push(&mut self, number: usize, claim: &'a Claim) {
        self.numbers.push(number as i64);
        self.topics.push(claim.topic.as_str());
        self.offsets.push(sql_offset(claim.offset));
        self.epochs.push(claim.epoch as i64);
        self.turns.push(claim.turn as i32);
    }

    /// Ends the events; answers which were held, and their keys.
    fn remove(&self, session: &mut Session, group: &str) -> Result<Vec<(usize, String)>, Failure> {
        let sql = format!(
            "DELETE FROM consumer_group_events e USING {HELD} WHERE e.ctid = h.place
             RETURNING h.number, e.key"
        );
        let Held { numbers, topics, offsets, epochs, turns } = self;
        let rows = session.query(&sql, &[&group, numbers, topics, offsets, epochs, turns])?;
        rows.iter().map(|row| Ok((column::<i64>(row, 0)? as usize, column(row, 1)?))).collect()
    }

    /// Lets the events wait; answers which were held.
    fn postpone(
        &self,
        session: &mut Session,
        group: &str,
        by: &PutOff,
    ) -> Result<Vec<usize>, Failure> {
        let sql = format!(
            "UPDATE consumer_group_events e SET state = 1, attempt = e.attempt - d.uncount,
               step = coalesce(d.step, e.step),
               due_at = clock_timestamp() + d.delay * interval '1 millisecond'
             FROM {HELD} JOIN unnest($2::int8[], $7::float8[], $8::int4[], $9::int4[])
               AS d (number, delay, uncount, step) ON d.number = h.number
             WHERE e.ctid = h.place RETURNING h.number"
        );
        let Held { numbers, topics, offsets, epochs, turns } = self;
        let PutOff { delays, uncounts, steps } = by;
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 9] =
            [&group, numbers, topics, offsets, epochs, turns, delays, uncounts, steps];
        let rows = session.query(&sql, &values)?;
        rows.iter().map(|row| Ok(column::<i64>(row, 0)? as usize)).collect()
    }
}

/// The first unfinished event of group `$1` in a topic whose key has this key's hash, which keys that share it may have
/// in common: they then wait for each other, no more. If there is none, this is another key's event, or no row.
///
/// The comparison of rows and the order name one index, and so does [`HELD`]'s; the row is then found by its place. With
/// plain equations the planner takes any index that begins with group and topic, because it hears late, or never, that the
/// table has filled, and reads through all that is parked.
pub(super) fn first_of_key(topic: &str, key: &str) -> String {
    let hash = |key: &str| format!("hashtextextended({key}, 0)");
    let (wanted, of_row) = (hash(key), hash("e.key"));
    format!(
        "(SELECT e.ctid AS place, e.state,
            e.group_id = $1 AND e.topic = {topic} AND {of_row} = {wanted} AS is_of_key
          FROM consumer_group_events e
          WHERE (e.group_id, e.topic, {of_row}, e.msg_offset) >= ($1, {topic}, {wanted}, 0)
          ORDER BY e.group_id, e.topic, {of_row}, e.msg_offset LIMIT 1) AS first"
    )
}

/// Takes the first event of each key out of its park, to be claimed behind those that wait already; answers whether there was one.
fn free(session: &mut Session, group: &str, keys: &[(&str, &str)]) -> Result<bool, Failure> {
    let (topics, keys): (Vec<&str>, Vec<&str>) = keys.iter().copied().unzip();
    let first = first_of_key("k.topic", "k.key");
    let sql = format!(
        "UPDATE consumer_group_events SET state = 1, due_at = clock_timestamp() WHERE ctid = ANY (ARRAY(
           SELECT first.place FROM unnest($2::text[], $3::text[]) AS k (topic, key), LATERAL {first}
           WHERE first.is_of_key AND first.state = 0))"
    );
    Ok(session.execute(&sql, &[&group, &topics, &keys])? > 0)
}

/// Stores dead letters; answers whether there was one.
fn bury(
    database: &Database,
    session: &mut Session,
    group: &str,
    dead: Vec<(&Claim, Death<'_>)>,
) -> Result<bool, Failure> {
    let mut letters: BTreeMap<Topic, Vec<NewEvent>> = BTreeMap::new();
    for (claim, death) in &dead {
        let info = database.topic(session, &claim.topic)?;
        let found = events::get(session, &info, &claim.topic, &[sql_offset(claim.offset)])?;
        // Of an event that was deleted meanwhile there is nothing to keep.
        let Some(event) = found.into_iter().next() else { continue };
        let headers = dead_headers(event.headers, claim, group, *death);
        let topic = claim.topic.dead_or_invalid()?;
        let letter = NewEvent { topic: topic.clone(), key: event.key, value: event.value, headers };
        letters.entry(topic).or_default().push(letter);
    }
    for (topic, letters) in &letters {
        let info = database.topic(session, topic)?;
        events::insert(session, &info, letters)?;
    }
    Ok(!dead.is_empty())
}
