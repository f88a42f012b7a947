//! How long events take from their acknowledgement to a consumer, a hundred a second and while many threads append. For
//! how many events a second there can be, see `sqlite_throughput`.
//!
//! `cargo run --release -p eventlog --example load -- FILE [SECONDS]`

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use eventlog::{Append, Driver, EventLog, Limits, NewEvent, Subscription, Topic};

const APPENDERS: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let path = PathBuf::from(args.next().ok_or("FILE is missing")?);
    let seconds = args.next().map_or(Ok(3), |seconds| seconds.parse())?;
    let time = Duration::from_secs(seconds);

    let log = eventlog::open(&Driver::Sqlite { path }, Limits::default())?;
    let topic = Topic::new("load")?;
    log.declare(std::slice::from_ref(&topic))?;
    for pause in [Duration::from_millis(10), Duration::ZERO] {
        let mut waits = latencies(&*log, &topic, pause, time)?;
        waits.sort_unstable();
        let (median, p99) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
        let load = if pause.is_zero() { "under load" } else { "at 100 events/s" };
        println!("acknowledged to claimed, {load}: median {median:?}, p99 {p99:?}");
    }
    Ok(())
}

/// Single events from all appenders at once, each waiting for its answer.
fn appends(log: &dyn EventLog, topic: &Topic, time: Duration) {
    let begun = Instant::now();
    thread::scope(|scope| {
        for key in 0..APPENDERS {
            scope.spawn(move || {
                while begun.elapsed() < time {
                    let event = NewEvent::new(topic, key.to_string(), r#"{"n": 1}"#);
                    if let Err(error) = log.append(Append::new(vec![event])) {
                        return eprintln!("{error}");
                    }
                }
            });
        }
    });
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
    let s = Subscription::new("probe", std::slice::from_ref(&probe), "m");
    let member = log.join(s)?;
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
