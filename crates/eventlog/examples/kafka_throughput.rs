//! Appends from many threads to a Kafka topic, and against them Kafka's own producer test with the same acknowledgement,
//! record size and topic. Prints both, and how long events took to a consumer.
//!
//! `SPACER_TEST_KAFKA=HOST:PORT cargo run --release -p eventlog --example kafka_throughput -- JARS [SECONDS [PROPERTY=VALUE...]]`,
//! where JARS is the folder of Kafka's jars: `build/services/kafka/jars` after `scripts/services start kafka`.

use std::env;
use std::error::Error;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use eventlog::{Append, Driver, EventLog, Limits, NewEvent, Subscription, Topic};

const APPENDERS: usize = 64;
/// Bytes of a record's value, in both.
const SIZE: usize = 100;
/// How many appends a thread has on its way when it doesn't wait for each.
const AHEAD: usize = 128;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let jars = args.next().ok_or("JARS is missing")?;
    let time = Duration::from_secs(args.next().map_or(Ok(5), |seconds| seconds.parse())?);
    let brokers = env::var("SPACER_TEST_KAFKA")?;
    let split = |property: String| {
        let (name, value) = property.split_once('=').ok_or("a property without a value")?;
        Ok::<_, &str>((name.to_owned(), value.to_owned()))
    };
    let properties = args.map(split).collect::<Result<Vec<_>, _>>()?;
    let (brokers_in, app_name) = (vec![brokers.clone()], "throughput".to_owned());
    let driver = Driver::Kafka { brokers: brokers_in, app_name, properties };
    let log = eventlog::open(&driver, Limits::default())?;
    let topic = Topic::new("load")?;
    log.declare(std::slice::from_ref(&topic))?;

    // Each of them once before, for the JVM of the broker to have compiled what both need.
    appends(&*log, &topic, time / 4, AHEAD);
    let waiting = appends(&*log, &topic, time, 1);
    let reached = appends(&*log, &topic, time, AHEAD);
    let records = (reached * time.as_secs_f64()) as usize;
    let most = peer(&jars, &brokers, records)?;
    println!("{APPENDERS} appenders that wait for each answer: {waiting:.0}/s");
    println!("{APPENDERS} appenders with {AHEAD} on their way: {reached:.0}/s");
    println!("Kafka's producer test: {most:.0}/s; ratio {:.2}", reached / most);

    for pause in [Duration::from_millis(10), Duration::ZERO] {
        let mut waits = latencies(&*log, &topic, pause, time)?;
        waits.sort_unstable();
        let (median, p99) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
        let load = if pause.is_zero() { "under load" } else { "at 100 events/s" };
        println!("acknowledged to claimed, {load}: median {median:?}, p99 {p99:?}");
    }
    Ok(())
}

/// Single events from all appenders at once, each with so many on their way. Answers acknowledged events a second.
fn appends(log: &dyn EventLog, topic: &Topic, time: Duration, ahead: usize) -> f64 {
    let (count, begun) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let value = format!("\"{}\"", "x".repeat(SIZE - 2));
    thread::scope(|scope| {
        for key in 0..APPENDERS {
            let (count, value) = (count.clone(), &value);
            scope.spawn(move || {
                let room = Arc::new((Mutex::new(ahead), Condvar::new()));
                while begun.elapsed() < time {
                    let mut free = room.0.lock().expect("no panic");
                    while *free == 0 {
                        free = room.1.wait(free).expect("no panic");
                    }
                    *free -= 1;
                    drop(free);
                    let event = NewEvent::new(topic, key.to_string(), value.as_bytes());
                    let (count, back) = (count.clone(), room.clone());
                    let done = Box::new(move |outcome: eventlog::Result<_>| {
                        count.fetch_add(usize::from(outcome.is_ok()), Ordering::Relaxed);
                        *back.0.lock().expect("no panic") += 1;
                        back.1.notify_one();
                    });
                    log.submit(Append::new(vec![event]), done);
                }
                let mut free = room.0.lock().expect("no panic");
                while *free < ahead {
                    free = room.1.wait(free).expect("no panic");
                }
            });
        }
    });
    count.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

/// Kafka's own test. Answers the records a second that it says.
fn peer(jars: &str, brokers: &str, records: usize) -> Result<f64, Box<dyn Error>> {
    let output = Command::new("java")
        .args(["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"])
        .args(["-cp", &format!("{jars}/*"), "org.apache.kafka.tools.ProducerPerformance"])
        .args(["--topic", "throughput_load", "--throughput", "-1"])
        .args(["--num-records", &records.to_string(), "--record-size", &SIZE.to_string()])
        .args(["--producer-props", &format!("bootstrap.servers={brokers}"), "acks=all"])
        .args(["enable.idempotence=true", "partitioner.adaptive.partitioning.enable=false"])
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    // "1000 records sent, 250.0 records/sec (0.02 MB/sec), ..."; the last such line is of the whole run.
    let rate = said.lines().rev().find_map(|line| {
        let (before, _) = line.split_once(" records/sec")?;
        before.rsplit(' ').next()?.replace(',', "").parse().ok()
    });
    let complaint = || String::from_utf8_lossy(&output.stderr).into_owned();
    rate.ok_or_else(|| format!("the producer test says no rate: {said}{}", complaint()).into())
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
    let group = format!("probe-{}", eventlog::AppendId::random());
    let start = eventlog::Start::Latest;
    let s = Subscription::new(&group, std::slice::from_ref(&probe), "m");
    let member = log.join(Subscription { start, ..s })?;
    // Until it has its partitions.
    member.claim(1, Duration::from_secs(4))?;
    let over = AtomicBool::new(false);
    let (sent, over, probe) = (&sent, &over, &probe);
    thread::scope(|scope| {
        if pause.is_zero() {
            scope.spawn(move || appends(log, topic, time, 1));
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
