//! Appends: one transaction for all that wait, which stores each once, however often it comes with the same id.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::connection::{column, lock, Database, Failure};
use super::events::Columns;
use super::session::{End, Lock, Session};
use super::topic::TopicInfo;
use super::{group, listen};
use crate::backlog::Backlog;
use crate::{Append, AppendId, Done, Error, Invalid, NewEvent, Result, Stored, Topic};

/// Ids beyond the window are removed in portions, so that no append has to wait for many.
const FORGET_AT_ONCE: i64 = 1000;

/// Whom an append's outcome is told, once: by the writer, or at its deadline by the clock.
pub(super) struct Answer(Mutex<Option<Done>>);

impl Answer {
    pub fn new(done: Done) -> Arc<Answer> {
        Arc::new(Answer(Mutex::new(Some(done))))
    }

    pub fn give(&self, outcome: Result<Vec<Stored>>) {
        // Not in the call: `done` may take its time, or drop the log.
        let done = lock(&self.0).take();
        if let Some(done) = done {
            done(outcome);
        }
    }

    pub fn is_given(&self) -> bool {
        lock(&self.0).is_none()
    }
}

pub(super) struct Job {
    pub append: Append,
    pub answer: Arc<Answer>,
    pub deadline: Instant,
    /// How much of the queue it takes.
    pub load: Backlog,
}

impl Job {
    pub fn new(append: Append, patience: Duration, done: Done) -> Job {
        let load = Backlog::of(&append.events);
        let deadline = Instant::now() + patience;
        Job { append, answer: Answer::new(done), deadline, load }
    }
}

/// What became of a transaction of appends.
pub(super) enum Outcome {
    /// Where each was stored.
    Stored(Vec<Vec<Stored>>),
    /// Some were stored before: nothing was done.
    Repeated,
    /// Those of these numbers have lost their claims: nothing was done.
    Fenced(Vec<usize>),
}

/// Refuses what PostgreSQL can't store.
pub(super) fn check(append: &Append) -> Result<()> {
    match append.events.iter().find(|event| event.key.contains('\0')) {
        None => Ok(()),
        Some(NewEvent { topic, key, .. }) => {
            Err(Invalid::KeyNul { topic: topic.to_string(), key: key.clone() }.into())
        }
    }
}

/// Answers the appends to topics that aren't there, and finds those of the others.
pub(super) fn resolve(
    database: &Database,
    session: &mut Session,
    jobs: &mut Vec<Job>,
) -> Result<BTreeMap<Topic, Arc<TopicInfo>>, Failure> {
    let mut topics = BTreeMap::new();
    let mut undeclared: BTreeMap<Topic, Error> = BTreeMap::new();
    for event in jobs.iter().flat_map(|job| &job.append.events) {
        if topics.contains_key(&event.topic) || undeclared.contains_key(&event.topic) {
            continue;
        }
        match database.topic(session, &event.topic) {
            Ok(info) => drop(topics.insert(event.topic.clone(), info)),
            Err(Failure::Error(error)) => drop(undeclared.insert(event.topic.clone(), error)),
            Err(failure) => return Err(failure),
        }
    }
    if !undeclared.is_empty() {
        jobs.retain(|job| {
            let error = job.append.events.iter().find_map(|event| undeclared.get(&event.topic));
            if let Some(error) = error {
                job.answer.give(Err(error.clone()));
            }
            error.is_none()
        });
    }
    Ok(topics)
}

/// Stores all the jobs, whose ids differ, in one transaction of three messages: locks and offsets, rows, commit.
pub(super) fn store(
    session: &mut Session,
    topics: &BTreeMap<Topic, Arc<TopicInfo>>,
    jobs: &[Job],
    log: &str,
) -> Result<Outcome, Failure> {
    let events = || jobs.iter().flat_map(|job| &job.append.events);
    let mut counts: BTreeMap<i32, (&TopicInfo, usize)> = BTreeMap::new();
    for event in events() {
        let Some(info) = topics.get(&event.topic) else {
            return Err(event.topic.undeclared().into());
        };
        counts.entry(info.id).or_insert((info, 0)).1 += 1;
    }
    let locks: Vec<Lock> = counts.keys().map(|id| Lock::Topic(*id)).collect();
    let offsets: String = counts.values().map(|(info, count)| info.take_offsets(*count)).collect();
    let outcome = session.transaction_with(&locks, &offsets, |session, offsets| {
        let lost = lost_claims(session, jobs)?;
        if !lost.is_empty() {
            return Ok((Outcome::Fenced(lost), End::Quick(String::new())));
        }
        let mut offsets = offsets.iter().map(|offset| offset.parse::<u64>());
        let mut free: BTreeMap<i32, Vec<u64>> = BTreeMap::new();
        for (id, (_, count)) in &counts {
            let taken = offsets.by_ref().take(*count).collect::<Result<_, _>>();
            free.insert(*id, taken.map_err(|error| Failure::Value(format!("offset: {error}")))?);
        }
        let mut free: BTreeMap<i32, _> =
            free.into_iter().map(|(id, offsets)| (id, offsets.into_iter())).collect();
        let mut columns: BTreeMap<i32, Columns<'_>> = BTreeMap::new();
        let mut stored = Vec::with_capacity(jobs.len());
        for job in jobs {
            let mut at = Vec::with_capacity(job.append.events.len());
            for event in &job.append.events {
                let id = topics.get(&event.topic).map_or(0, |info| info.id);
                let offset = free.get_mut(&id).and_then(Iterator::next);
                let offset = offset.ok_or_else(|| Failure::Value("too few offsets".into()))?;
                columns.entry(id).or_default().push(event, offset)?;
                at.push(Stored { partition: 0, offset });
            }
            stored.push(at);
        }
        insert(session, &counts, &columns, jobs, &stored)?;
        Ok((Outcome::Stored(stored), End::Durable(listen::wake_readers(log, topics.keys()))))
    });
    match outcome {
        Err(Failure::Sql(error)) if is_repetition(&error) => Ok(Outcome::Repeated),
        outcome => outcome,
    }
}

/// The numbers of the jobs whose function has lost its event. The others keep theirs until the transaction ends.
fn lost_claims(session: &mut Session, jobs: &[Job]) -> Result<Vec<usize>, Failure> {
    let fences =
        jobs.iter().enumerate().filter_map(|(n, job)| Some((n, job.append.fence.as_deref()?)));
    let (numbers, fences): (Vec<usize>, Vec<_>) = fences.unzip();
    if fences.is_empty() {
        return Ok(Vec::new());
    }
    let held = group::hold(session, &fences)?;
    Ok(numbers.into_iter().zip(held).filter(|(_, held)| !held).map(|(n, _)| n).collect())
}

/// Stores the events, and notes where their appends were stored. An id that another connection is storing at this
/// moment is waited for.
fn insert(
    session: &mut Session,
    topics: &BTreeMap<i32, (&TopicInfo, usize)>,
    columns: &BTreeMap<i32, Columns<'_>>,
    jobs: &[Job],
    stored: &[Vec<Stored>],
) -> Result<(), Failure> {
    let ids: Vec<&[u8]> = jobs.iter().map(|job| &job.append.id.0[..]).collect();
    let places = |(job, stored): (&Job, &Vec<Stored>)| {
        let topics = job.append.events.iter().map(|event| event.topic.as_str());
        let places: Vec<(&str, u64)> = topics.zip(stored.iter().map(|at| at.offset)).collect();
        // Strings and numbers always have a JSON form.
        serde_json::to_string(&places).unwrap_or_default()
    };
    let places: Vec<String> = jobs.iter().zip(stored).map(places).collect();
    let mut sql = String::new();
    let mut params: Vec<&(dyn ToSql + Sync)> = vec![&ids, &places];
    for (number, (id, columns)) in columns.iter().enumerate() {
        let Some((info, _)) = topics.get(id) else { continue };
        let with = if number == 0 { "WITH" } else { "," };
        let insert = Columns::sql(info, 3 + number * Columns::PARAMS);
        sql.push_str(&format!("{with} t{number} AS ({insert}) "));
        params.extend(columns.params());
    }
    // In the order of the ids, so that two writers with the same ones wait for each other in one direction only.
    sql.push_str(
        "INSERT INTO appends (id, stored)
         SELECT a.* FROM unnest($1::bytea[], $2::text[]) AS a (id, stored) ORDER BY a.id",
    );
    session.execute(&sql, &params)?;
    Ok(())
}

fn is_repetition(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| {
        *error.code() == SqlState::UNIQUE_VIOLATION && error.table() == Some("appends")
    })
}

/// Answers the jobs that were stored before, and leaves the others.
pub(super) fn answer_repeated(session: &mut Session, jobs: &mut Vec<Job>) -> Result<(), Failure> {
    let ids: Vec<&[u8]> = jobs.iter().map(|job| &job.append.id.0[..]).collect();
    let sql = "SELECT id, stored FROM appends WHERE id = ANY($1)";
    let mut found: BTreeMap<Vec<u8>, Vec<(String, u64)>> = BTreeMap::new();
    for row in session.query(sql, &[&ids])? {
        let places = serde_json::from_str(column(&row, 1)?)
            .map_err(|error| Failure::Value(format!("appends.stored: {error}")))?;
        found.insert(column(&row, 0)?, places);
    }
    jobs.retain(|job| {
        let Some(places) = found.get(&job.append.id.0[..]) else { return true };
        job.answer.give(earlier(&job.append, places));
        false
    });
    Ok(())
}

fn earlier(append: &Append, places: &[(String, u64)]) -> Result<Vec<Stored>> {
    let topics = append.events.iter().map(|event| event.topic.as_str());
    if !topics.eq(places.iter().map(|(topic, _)| topic.as_str())) {
        return Err(reused(append.id));
    }
    Ok(places.iter().map(|(_, offset)| Stored { partition: 0, offset: *offset }).collect())
}

fn reused(id: AppendId) -> Error {
    Invalid::AppendIdReused(id.to_string()).into()
}

/// Removes some of the ids that are out of the window. Answers whether more may be left.
pub(super) fn forget(session: &mut Session, window: Duration) -> Result<bool, Failure> {
    let sql = "DELETE FROM appends WHERE id = ANY (ARRAY(
                 SELECT id FROM appends
                 WHERE created_at < clock_timestamp() - $1 * interval '1 millisecond'
                 LIMIT $2 FOR UPDATE SKIP LOCKED))";
    let removed = session.execute(sql, &[&(window.as_millis() as f64), &FORGET_AT_ONCE])?;
    Ok(removed as i64 == FORGET_AT_ONCE)
}
