//! What the examples that measure share: appenders, percentiles, and how long events take to a consumer.

// Each example uses its part.
#![allow(dead_code)]

use std::collections::HashMap;
use std::num::ParseIntError;
use std::slice::from_ref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use eventlog::{
    Append, AppendId, Delivery, Driver, EventLog, Limits, NewEvent, Offset, Result, Start,
    Subscription, Topic,
};

/// Appends that wait at a time.
pub const APPENDERS: usize = 64;
/// Of a usual size.
pub const VALUE: &str =
    r#"{"customer": 4711, "total": 129.9, "currency": "EUR", "items": [1, 2, 3]}"#;

/// The argument that says for how long to measure.
pub fn seconds(argument: Option<String>, default: u64) -> Result<Duration, ParseIntError> {
    argument.map_or(Ok(default), |seconds| seconds.parse()).map(Duration::from_secs)
}

/// The log with a topic in it.
pub fn open(driver: &Driver, topic: &str) -> Result<(Arc<dyn EventLog>, Topic)> {
    let log = eventlog::open(driver, Limits::default())?;
    let topic = Topic::new(topic)?;
    log.declare(from_ref(&topic))?;
    Ok((log, topic))
}

/// A single event.
pub fn single(topic: &Topic, key: impl ToString, value: &str) -> Append {
    Append::new(vec![NewEvent::new(topic, key.to_string(), value)])
}

/// Runs so many threads with their numbers, and waits for them all.
pub fn at_once(threads: usize, run: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = (0..threads).map(|me| scope.spawn(move || run(me))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })
}

/// A thread for each appender, whose every append waits for its answer. `append` makes the append of that number of the
/// appender of that number. Answers how many events were stored.
pub fn appends(
    log: &dyn EventLog,
    until: Instant,
    append: impl Fn(usize, usize) -> Append + Sync,
) -> Result<usize> {
    let stored = AtomicUsize::new(0);
    let appender = |me: usize| -> Result<()> {
        for number in (0..).take_while(|_| Instant::now() < until) {
            let places = log.append(append(me, number))?;
            stored.fetch_add(places.len(), Ordering::Relaxed);
        }
        Ok(())
    };
    at_once(APPENDERS, appender)?;
    Ok(stored.into_inner())
}

/// One thread that submits, as an event loop does: with so many appends on their way, each answer is followed by another
/// append. Answers how many events were stored.
pub fn submits(
    log: &dyn EventLog,
    until: Instant,
    mut append: impl FnMut(usize) -> Append,
) -> Result<usize> {
    let (send, receive) = mpsc::channel();
    let (mut number, mut stored) = (0, 0);
    let mut submit = || {
        let send = send.clone();
        let done = Box::new(move |outcome: Result<Vec<_>>| {
            // The receiver is gone after a failure only, which is reported.
            drop(send.send(outcome.map(|places| places.len())));
        });
        log.submit(append(number), done);
        number += 1;
    };
    (0..APPENDERS).for_each(|_| submit());
    let mut waiting = APPENDERS;
    while waiting > 0 {
        stored += receive.recv().expect("a sender is here")?;
        match Instant::now() < until {
            true => submit(),
            false => waiting -= 1,
        }
    }
    Ok(stored)
}

/// Events a second of work that says how many it did until its deadline.
pub fn rate<E>(time: Duration, work: impl FnOnce(Instant) -> Result<usize, E>) -> Result<f64, E> {
    let begun = Instant::now();
    Ok(work(begun + time)? as f64 / begun.elapsed().as_secs_f64())
}

pub fn median_and_p99(mut waits: Vec<Duration>) -> String {
    waits.sort_unstable();
    match waits.len() {
        0 => "nothing was measured".into(),
        n => format!("median {:?}, p99 {:?}", waits[n / 2], waits[n * 99 / 100]),
    }
}

/// Measures how long events take from their acknowledgement to a member of a group, alone and while all appenders load
/// the log, and prints both.
pub fn print_latencies(log: &dyn EventLog, topic: &Topic, time: Duration) -> Result<()> {
    let probe = Topic::new("probe")?;
    log.declare(from_ref(&probe))?;
    let group = format!("probe-{}", AppendId::random());
    let s = Subscription::new(&group, from_ref(&probe), "member");
    let member = log.join(Subscription { start: Start::Latest, ..s })?;
    let consume = |over: &AtomicBool, claimed: Claimed<'_>| {
        while !over.load(Ordering::Acquire) {
            for delivery in member.claim(16, Duration::from_millis(100))? {
                claimed(&delivery);
                member.finish(&delivery.claim)?;
            }
        }
        Ok(())
    };
    // On Kafka it takes seconds until a new member has its partitions, and what was appended before is not for it.
    let joined = AtomicBool::new(false);
    thread::scope(|scope| {
        let consuming =
            scope.spawn(|| consume(&joined, &|_| joined.store(true, Ordering::Release)));
        while !consuming.is_finished() {
            log.append(single(&probe, "joined", VALUE))?;
            thread::sleep(Duration::from_millis(100));
        }
        consuming.join().expect("no panic")
    })?;
    println!("acknowledged to claimed, at 100 events/s: {}", latency(log, &probe, time, consume)?);
    let until = Instant::now() + time;
    let loaded = thread::scope(|scope| {
        let load = scope.spawn(|| appends(log, until, |me, _| single(topic, me, VALUE)));
        let loaded = latency(log, &probe, time, consume);
        load.join().expect("no panic").and(loaded)
    })?;
    println!("acknowledged to claimed, under load: {loaded}");
    Ok(())
}

/// To be called with each event as soon as it is claimed.
pub type Claimed<'a> = &'a (dyn Fn(&Delivery) + Sync);

/// Median and 99th percentile of the time that single events, a hundred a second, take from their acknowledgement to being
/// claimed by `consume`, which runs until its flag is set.
pub fn latency(
    log: &dyn EventLog,
    topic: &Topic,
    time: Duration,
    consume: impl FnOnce(&AtomicBool, Claimed<'_>) -> Result<()> + Send,
) -> Result<String> {
    let (over, claimed) = (AtomicBool::new(false), Mutex::new(HashMap::new()));
    let claim = |delivery: &Delivery| {
        let place = (delivery.event.partition, delivery.event.offset);
        claimed.lock().expect("no panic").entry(place).or_insert_with(Instant::now);
    };
    let acknowledged = thread::scope(|scope| {
        let consuming = scope.spawn(|| consume(&over, &claim));
        // For its threads to have begun, and later to have claimed the last one.
        thread::sleep(Duration::from_millis(500));
        let acknowledged = probe(log, topic, Instant::now() + time);
        thread::sleep(Duration::from_millis(500));
        over.store(true, Ordering::Release);
        consuming.join().expect("no panic").and(acknowledged)
    })?;
    let claimed = claimed.into_inner().expect("no panic");
    // One that was claimed before its acknowledgement was seen has not waited at all.
    let wait = |(place, at): (_, Instant)| Some(claimed.get(&place)?.saturating_duration_since(at));
    Ok(median_and_p99(acknowledged.into_iter().filter_map(wait).collect()))
}

/// Appends an event each hundredth of a second. Answers where and when each was stored.
fn probe(
    log: &dyn EventLog,
    topic: &Topic,
    until: Instant,
) -> Result<Vec<((u32, Offset), Instant)>> {
    let mut acknowledged = Vec::new();
    while Instant::now() < until {
        let places = log.append(single(topic, acknowledged.len(), VALUE))?;
        let now = Instant::now();
        acknowledged.extend(places.iter().map(|stored| ((stored.partition, stored.offset), now)));
        thread::sleep(Duration::from_millis(10));
    }
    Ok(acknowledged)
}
