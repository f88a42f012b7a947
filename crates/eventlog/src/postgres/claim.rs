//! Handing events out: a look that costs one query and no lock, and the claim itself under the group's lock.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::connection::{column, Failure};
use super::events;
use super::group::{self, CLAIMED, PARKED};
use super::session::{Params, Session};
use super::topic::TopicInfo;
use crate::consumer::WINDOW;
use crate::share::{self, Quota, Source};
use crate::{Claim, Delivery, Offset, Result, Subscription, Topic};

/// Untouched events are looked through in portions of at least so many.
const PORTION: i64 = 64;

/// A topic of a subscription.
pub(super) type Topics = [(Topic, Arc<TopicInfo>)];

/// What a look has found.
#[derive(Default)]
pub(super) struct Found {
    /// By the topics' places in the subscription.
    sources: Vec<Source>,
    /// A member's lease has run out.
    pub expired: bool,
    /// Events become due by what is done before the claim.
    pub all_due: bool,
    /// This life of the member is over.
    pub over: bool,
    /// When to look again by the clock.
    pub again: Duration,
}

impl Found {
    pub fn anything(&self) -> bool {
        let waits = |source: &Source| source.due || source.untouched;
        self.over || self.all_due || self.sources.iter().any(waits)
    }
}

/// Looks for what a claim would find; at others' lives, if the member may end them. Takes no lock.
pub(super) fn look(
    session: &mut Session,
    s: &Subscription,
    topics: &Topics,
    epoch: u64,
    may_expire: bool,
) -> Result<Found, Failure> {
    let sources = vec![Source::default(); topics.len()];
    let mut found = Found { again: s.lease / 3, sources, ..Found::default() };
    // Before the query: what is decided by then, is there to be seen.
    let decided: Vec<Offset> = topics.iter().map(|(_, info)| info.decided()).collect();
    let names: Vec<&str> = topics.iter().map(|(topic, _)| topic.as_str()).collect();
    let rows = session.query(&look_sql(topics), &[&s.group, &names, &s.member])?;
    for row in rows {
        let (place, first): (i32, Option<i64>) = (column(&row, 0)?, column(&row, 1)?);
        let (taken, moment): (Option<i64>, Option<i64>) = (column(&row, 2)?, column(&row, 3)?);
        if let Some(left) = moment.filter(|left| *left > 0 && (place >= 0 || may_expire)) {
            found.again = found.again.min(Duration::from_millis(left as u64));
        }
        let has_come = moment.is_some_and(|left| left <= 0);
        let Ok(place) = usize::try_from(place) else {
            // The row of the members: this one's life, what it has in hand, the first lease that ends.
            found.over = taken != Some(epoch as i64);
            found.expired = has_come && may_expire;
            found.all_due = found.expired;
            if first.is_some_and(|in_hand| in_hand as usize >= s.concurrency) {
                // What is due waits for room, and room comes with a signal.
                found.sources.fill(Source::default());
            }
            continue;
        };
        found.sources[place].due = has_come;
        let (Some(first), Some(taken)) = (first, taken) else { continue };
        let (_, info) = &topics[place];
        let end = decided[place].max(taken as Offset + 1);
        // Behind a gap there is nothing, unless that is decided by a look at the locks.
        if first as Offset > end && !info.look(session)? {
            found.again = found.again.min(info.next_look().max(Duration::from_millis(1)));
        } else {
            found.sources[place].untouched = true;
        }
    }
    Ok(found)
}

/// A row for each topic: its place, the first untouched offset, the last that was taken in, the milliseconds to the first
/// moment. Then a row for the members.
fn look_sql(topics: &Topics) -> String {
    const LEFT: &str = "ceil(extract(epoch FROM min(";
    const NOW: &str = ") - clock_timestamp()) * 1000)::int8";
    let mut sql = String::new();
    for (place, (_, info)) in topics.iter().enumerate() {
        sql.push_str(&format!(
            "SELECT {place} AS place, (SELECT t.msg_offset FROM {table} t
                 WHERE t.msg_offset > o.group_offset ORDER BY t.msg_offset LIMIT 1),
               o.group_offset, (SELECT {LEFT}e.due_at{NOW} FROM consumer_group_events e
                 WHERE e.group_id = $1 AND e.topic = o.topic AND e.state = 1)
             FROM consumer_group_offsets o
             WHERE o.group_id = $1 AND o.topic = ($2::text[])[{number}] UNION ALL ",
            table = info.table,
            number = place + 1,
        ));
    }
    sql.push_str(&format!(
        "SELECT -1, (SELECT count(*) FROM consumer_group_events e
             WHERE e.group_id = $1 AND e.state = 2 AND e.epoch = min(m.epoch)
               FILTER (WHERE m.member_id = $3)),
           min(m.epoch) FILTER (WHERE m.member_id = $3), {LEFT}m.lease_until{NOW}
         FROM consumer_group_members m WHERE m.group_id = $1"
    ));
    // The row of the members last: it says whether the others matter.
    format!("SELECT * FROM ({sql}) AS found ORDER BY place < 0, place")
}

/// Claims up to `max` of what was found.
pub(super) fn claim(
    session: &mut Session,
    s: &Subscription,
    topics: &Topics,
    found: &Found,
    epoch: u64,
    (max, turn): (usize, usize),
) -> Result<Vec<Delivery>, Failure> {
    let mut sources = found.sources.clone();
    let sql = "SELECT topic, count(*) FROM consumer_group_events
               WHERE group_id = $1 AND epoch = $2 AND state = 2 GROUP BY topic";
    for row in session.query(sql, &[&s.group, &(epoch as i64)])? {
        let (name, count): (String, i64) = (column(&row, 0)?, column(&row, 1)?);
        let place = topics.iter().position(|(topic, _)| topic.as_str() == name);
        if let Some(place) = place {
            sources[place].in_hand = count as usize;
        }
    }
    sources.iter_mut().for_each(|source| source.due |= found.all_due);
    let in_hand = sources.iter().map(|source| source.in_hand).sum();
    let room = max.min(s.concurrency.saturating_sub(in_hand));
    let mut deliveries = Vec::new();
    share::claim_all(&mut sources, room, turn, |place, quota| {
        let (topic, info) = &topics[place];
        let claim = |offset: i64, attempt: i32, turn: i32, step: i32| Claim {
            topic: topic.clone(),
            partition: 0,
            offset: offset as Offset,
            attempt: attempt as u32,
            turn: turn as u32,
            step: step as u32,
            epoch,
        };
        let (mut claims, mut claimed) = (Vec::new(), Quota::default());
        if quota.due > 0 {
            claims = claim_due(session, &s.group, topic, epoch, quota.due, claim)?;
            claimed.due = claims.len();
        }
        if quota.untouched > 0 {
            let taken = take_in(session, s, topic, info, epoch, quota.untouched)?;
            claimed.untouched = taken.len();
            claims.extend(taken.into_iter().map(|offset| claim(offset, 1, 1, 0)));
        }
        if claims.is_empty() {
            return Ok(claimed);
        }
        claims.sort_by_key(|claim| claim.offset);
        let offsets: Vec<i64> = claims.iter().map(|claim| claim.offset as i64).collect();
        let events = events::get(session, info, topic, &offsets)?;
        let mut events = events.into_iter().peekable();
        let mut gone = Vec::new();
        for claim in claims {
            match events.next_if(|event| event.offset == claim.offset) {
                Some(event) => deliveries.push(Delivery { event, claim }),
                None => gone.push(claim),
            }
        }
        // Somebody has deleted these from the log: there is nothing left to be done about them.
        if !gone.is_empty() {
            group::finish(session, &s.group, &gone)?;
        }
        Ok::<_, Failure>(claimed)
    })?;
    Ok(deliveries)
}

/// Claims those whose moment has come.
fn claim_due(
    session: &mut Session,
    group: &str,
    topic: &Topic,
    epoch: u64,
    max: usize,
    claim: impl Fn(i64, i32, i32, i32) -> Claim,
) -> Result<Vec<Claim>, Failure> {
    let sql = "UPDATE consumer_group_events SET state = 2, attempt = attempt + 1, turn = turn + 1,
                 epoch = $3
               WHERE ctid = ANY (ARRAY(
                 SELECT ctid FROM consumer_group_events
                 WHERE group_id = $1 AND topic = $2 AND state = 1
                   AND due_at <= statement_timestamp()
                 ORDER BY due_at, msg_offset LIMIT $4))
               RETURNING msg_offset, attempt, turn, step";
    let values: Params<'_> = &[&group, &topic.as_str(), &(epoch as i64), &(max as i64)];
    let rows = session.query(sql, values)?;
    let claim = |row| Ok(claim(column(row, 0)?, column(row, 1)?, column(row, 2)?, column(row, 3)?));
    rows.iter().map(claim).collect()
}

/// Takes untouched events in: claims the first of each key, and parks the others, until `max` are claimed. Answers the
/// offsets of those.
fn take_in(
    session: &mut Session,
    s: &Subscription,
    topic: &Topic,
    info: &TopicInfo,
    epoch: u64,
    max: usize,
) -> Result<Vec<i64>, Failure> {
    let group_and_topic: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
        [&s.group, &topic.as_str()];
    let sql = "SELECT group_offset, (SELECT count(*) FROM consumer_group_events
                 WHERE group_id = $1 AND topic = $2)
               FROM consumer_group_offsets WHERE group_id = $1 AND topic = $2";
    let row = session.query_one(sql, &group_and_topic)?;
    let (mut last, unfinished): (i64, i64) = (column(&row, 0)?, column(&row, 1)?);
    let mut room = (WINDOW as i64 - unfinished).max(0);
    let sql = format!(
        "SELECT t.msg_offset, t.key, coalesce(first.is_of_key, false)
         FROM (SELECT msg_offset, key FROM {} WHERE msg_offset > $3
               ORDER BY msg_offset LIMIT $4) t LEFT JOIN LATERAL {} ON true
         ORDER BY t.msg_offset",
        info.table,
        group::first_of_key("$2", "t.key")
    );
    let mut claimed = Vec::new();
    let mut looked = false;
    while claimed.len() < max && room > 0 {
        let portion = room.min(PORTION.max(2 * (max - claimed.len()) as i64));
        let decided = info.decided().max(last as Offset + 1);
        let rows = session.query(&sql, &[&s.group, &topic.as_str(), &last, &portion])?;
        let mut untouched: Vec<(i64, String, bool)> = Vec::with_capacity(rows.len());
        for row in &rows {
            untouched.push((column(row, 0)?, column(row, 1)?, column(row, 2)?));
        }
        let end = end(info, decided, untouched.iter().map(|(offset, ..)| *offset as Offset));
        let gap = untouched.last().is_some_and(|(offset, ..)| *offset as Offset >= end);
        let more = rows.len() as i64 == portion;
        untouched.retain(|(offset, ..)| (*offset as Offset) < end);

        let mut taken = TakenIn::default();
        let mut busy: HashSet<&str> = HashSet::new();
        for (offset, key, parked) in &untouched {
            if claimed.len() == max {
                break;
            }
            let parked = !busy.insert(key) || *parked;
            taken.push(*offset, key, parked, epoch);
            if !parked {
                claimed.push(*offset);
            }
            last = *offset;
        }
        room -= taken.offsets.len() as i64;
        taken.store(session, &s.group, topic)?;
        if gap && !looked {
            looked = true;
            if info.look(session)? {
                continue;
            }
        }
        if gap || !more {
            break;
        }
    }
    Ok(claimed)
}

/// The end of what may be taken in of these offsets. A group that began later than what is known to be decided
/// doesn't say anything of what lies before.
fn end(info: &TopicInfo, decided: Offset, offsets: impl Iterator<Item = Offset> + Clone) -> Offset {
    if decided <= info.decided() {
        return info.learn(decided, offsets);
    }
    let mut end = decided;
    for offset in offsets.skip_while(|offset| *offset < decided) {
        if offset != end {
            break;
        }
        end += 1;
    }
    end
}

/// Rows of events that are taken in, as columns.
#[derive(Default)]
struct TakenIn<'a> {
    offsets: Vec<i64>,
    keys: Vec<&'a str>,
    states: Vec<i16>,
    attempts: Vec<i32>,
    epochs: Vec<i64>,
}

impl<'a> TakenIn<'a> {
    fn push(&mut self, offset: i64, key: &'a str, parked: bool, epoch: u64) {
        let (state, attempt, epoch) = match parked {
            true => (PARKED, 0, 0),
            false => (CLAIMED, 1, epoch as i64),
        };
        self.offsets.push(offset);
        self.keys.push(key);
        self.states.push(state);
        self.attempts.push(attempt);
        self.epochs.push(epoch);
    }

    /// Stores the rows, and moves the group on.
    fn store(&self, session: &mut Session, group: &str, topic: &Topic) -> Result<(), Failure> {
        let Some(last) = self.offsets.last() else { return Ok(()) };
        let sql = "WITH moved AS (UPDATE consumer_group_offsets SET group_offset = $8
                     WHERE group_id = $1 AND topic = $2)
                   INSERT INTO consumer_group_events
                     (group_id, topic, msg_offset, key, state, attempt, epoch, turn, due_at)
                   SELECT $1, $2, t.*, t.attempt, 'epoch' FROM unnest($3::int8[], $4::text[],
                     $5::int2[], $6::int4[], $7::int8[])
                     AS t (msg_offset, key, state, attempt, epoch)";
        let TakenIn { offsets, keys, states, attempts, epochs } = self;
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 8] =
            [&group, &topic.as_str(), offsets, keys, states, attempts, epochs, last];
        session.execute(sql, &values)?;
        Ok(())
    }
}
