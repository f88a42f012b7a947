//! Appends from many threads to a PostgreSQL database, and against it the ceiling: the same batches in a plain loop of
//! transactions through the same library, into a table of the same layout, with the same durability. Prints both, how
//! long events took to a consumer, and how many events a consumer handles.
//!
//! `cargo run --release -p eventlog --example postgres_throughput -- CONNINFO [SECONDS]`
//!
//! It makes topics and tables in the database that CONNINFO names: take an empty one.

use std::env;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use eventlog::{Append, Driver, EventLog, Limits, NewEvent, Outcome, Subscription, Topic};
use postgres::{Client, NoTls};

const APPENDERS: usize = 64;
const VALUE: &str =
    r#"{"n": 1, "text": "an event of a usual size, which is a hundred bytes or so", "ok": true}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let conninfo = args.next().ok_or("CONNINFO is missing")?;
    let seconds = args.next().map_or(Ok(3), |seconds| seconds.parse())?;
    let time = Duration::from_secs(seconds);

    let log = eventlog::open(&Driver::Postgres { conninfo: conninfo.clone() }, Limits::default())?;
    let topic = Topic::new("load")?;
    log.declare(std::slice::from_ref(&topic))?;
    let mut client = Client::connect(&conninfo, NoTls)?;
    // Taken in turns: other load on the machine hits them all.
    for round in 1..=3 {
        let most = ceiling(&mut client, time)?;
        let submitted = submits(&*log, &topic, time);
        let appended = appends(&*log, &topic, time);
        let share = |reached: f64| format!("{reached:.0}/s ({:.0} %)", 100.0 * reached / most);
        println!(
            "{round}: plain loop {most:.0}/s; {APPENDERS} appenders: on one thread {}, on one each {}",
            share(submitted),
            share(appended)
        );
    }
    for pause in [Duration::from_millis(10), Duration::ZERO] {
        let mut waits = latencies(&*log, &topic, pause, time)?;
        waits.sort_unstable();
        let (median, p99) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
        let load = if pause.is_zero() { "under load" } else { "at 100 events/s" };
        println!("acknowledged to claimed, {load}: median {median:?}, p99 {p99:?}");
    }
    println!("claimed and finished by one member: {:.0}/s", handled(&*log, &topic, time)?);
    Ok(())
}

/// Single events from all appenders at once, on one thread as in an event loop: each append follows its predecessor's
/// answer. Answers events a second.
fn submits(log: &dyn EventLog, topic: &Topic, time: Duration) -> f64 {
    let (send, receive) = mpsc::channel();
    let submit = |key: usize| {
        let send = send.clone();
        let done = Box::new(move |outcome: eventlog::Result<_>| {
            send.send((key, outcome.is_ok())).expect("answers are waited for")
        });
        log.submit(Append::new(vec![NewEvent::new(topic, key.to_string(), VALUE)]), done);
    };
    let (mut count, mut in_flight, begun) = (0, APPENDERS, Instant::now());
    (0..APPENDERS).for_each(submit);
    while in_flight > 0 {
        let Ok((key, stored)) = receive.recv() else { break };
        count += usize::from(stored);
        match begun.elapsed() < time {
            true => submit(key),
            false => in_flight -= 1,
        }
    }
    count as f64 / begun.elapsed().as_secs_f64()
}

/// Single events from all appenders at once, each waiting for its answer. Answers events a second.
fn appends(log: &dyn EventLog, topic: &Topic, time: Duration) -> f64 {
    let (count, begun) = (AtomicUsize::new(0), Instant::now());
    thread::scope(|scope| {
        for key in 0..APPENDERS {
            let count = &count;
            scope.spawn(move || {
                while begun.elapsed() < time {
                    let event = NewEvent::new(topic, key.to_string(), VALUE);
                    if log.append(Append::new(vec![event])).is_ok() {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    count.into_inner() as f64 / begun.elapsed().as_secs_f64()
}

/// Transactions of as many rows as there are appenders, one after the other. Answers events a second.
fn ceiling(client: &mut Client, time: Duration) -> Result<f64, postgres::Error> {
    client.batch_execute(
        "CREATE TABLE IF NOT EXISTS plain (LIKE topic_load INCLUDING INDEXES INCLUDING STORAGE);
         CREATE SEQUENCE IF NOT EXISTS plain_offsets OWNED BY plain.msg_offset;
         ALTER TABLE plain ALTER msg_offset SET DEFAULT nextval('plain_offsets'),
           ALTER created_at SET DEFAULT now()",
    )?;
    let insert = client
        .prepare("INSERT INTO plain (key, value) SELECT * FROM unnest($1::text[], $2::text[])")?;
    let keys: Vec<String> = (0..APPENDERS).map(|key| key.to_string()).collect();
    let values = [VALUE; APPENDERS];
    let (mut count, begun) = (0, Instant::now());
    while begun.elapsed() < time {
        let mut transaction = client.transaction()?;
        transaction.execute(&insert, &[&keys, &&values[..]])?;
        transaction.commit()?;
        count += APPENDERS;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// How long each of an appender's events, a pause apart, takes from its acknowledgement to a consumer; without a pause
/// there is a load of all appenders as well.
fn latencies(
    log: &dyn EventLog,
    topic: &Topic,
    pause: Duration,
    time: Duration,
) -> eventlog::Result<Vec<Duration>> {
    let probe = Topic::new(format!("probe-{}", pause.as_millis()))?;
    log.declare(std::slice::from_ref(&probe))?;
    let sent: Mutex<Vec<Option<Instant>>> = Mutex::default();
    let mut waits = Vec::new();
    let member = log.join(Subscription::new("probe", std::slice::from_ref(&probe), "m"))?;
    let over = AtomicBool::new(false);
    let (sent, over, probe) = (&sent, &over, &probe);
    thread::scope(|scope| {
        if pause.is_zero() {
            scope.spawn(move || appends(log, topic, time));
        }
        scope.spawn(move || {
            let begun = Instant::now();
            while begun.elapsed() < time {
                let number = {
                    let mut sent = sent.lock().expect("no panic");
                    sent.push(None);
                    sent.len() - 1
                };
                let event = NewEvent::new(probe, number.to_string(), number.to_string());
                if log.append(Append::new(vec![event])).is_ok() {
                    sent.lock().expect("no panic")[number] = Some(Instant::now());
                }
                thread::sleep(pause.max(Duration::from_millis(10)));
            }
            over.store(true, Ordering::Release);
        });
        while !over.load(Ordering::Acquire) {
            for delivery in member.claim(16, Duration::from_millis(100))? {
                let claimed = Instant::now();
                let number: usize = delivery.event.key.parse().unwrap_or(0);
                // Before its acknowledgement was seen: no wait at all.
                let acknowledged = sent.lock().expect("no panic")[number];
                waits.push(acknowledged.map_or(Duration::ZERO, |at| claimed - at));
                member.finish(&delivery.claim)?;
            }
        }
        Ok(waits)
    })
}

/// Events a second that a member claims and finishes, in batches.
fn handled(log: &dyn EventLog, topic: &Topic, time: Duration) -> eventlog::Result<f64> {
    let member = log.join(Subscription::new("handled", std::slice::from_ref(topic), "m"))?;
    let (mut count, begun) = (0, Instant::now());
    while begun.elapsed() < time {
        let found = member.claim(64, Duration::from_millis(100))?;
        let ends: Vec<_> =
            found.into_iter().map(|delivery| (delivery.claim, Outcome::Finished)).collect();
        count += member.settle(&ends)?.len();
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}
