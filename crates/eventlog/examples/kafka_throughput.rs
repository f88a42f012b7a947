//! Appends from many threads to a Kafka topic, and against them Kafka's own producer test with the same acknowledgement,
//! record size and topic. Prints both, and how long events took to a consumer.
//!
//! `SPACER_TEST_KAFKA=HOST:PORT cargo run --release -p eventlog --example kafka_throughput -- JARS [SECONDS [PROPERTY=VALUE...]]`,
//! where JARS is the folder of Kafka's jars: `build/services/kafka/jars` after `scripts/services start kafka`.

mod support;

use std::env;
use std::error::Error;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use eventlog::{Driver, EventLog, Topic};
use support::{appends, rate, single, APPENDERS};

/// Bytes of a record's value, in both.
const SIZE: usize = 100;
/// How many appends a thread has on its way when it doesn't wait for each.
const AHEAD: usize = 128;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let jars = args.next().ok_or("JARS is missing")?;
    let time = support::seconds(args.next(), 5)?;
    let brokers = env::var("SPACER_TEST_KAFKA")?;
    let split = |property: String| {
        let (name, value) = property.split_once('=').ok_or("a property without a value")?;
        Ok::<_, &str>((name.to_owned(), value.to_owned()))
    };
    let properties = args.map(split).collect::<Result<Vec<_>, _>>()?;
    let (brokers_in, app_name) = (vec![brokers.clone()], "throughput".to_owned());
    let driver = Driver::Kafka { brokers: brokers_in, app_name, properties };
    let (log, topic) = support::open(&driver, "load")?;
    let value = format!("\"{}\"", "x".repeat(SIZE - 2));
    let ahead = |time| rate(time, |until| ahead(&*log, &topic, &value, until));

    // Each of them once before, for the JVM of the broker to have compiled what both need.
    ahead(time / 4)?;
    let next = |me, _| single(&topic, me, &value);
    let waiting = rate(time, |until| appends(&*log, until, next))?;
    let reached = ahead(time)?;
    let records = (reached * time.as_secs_f64()) as usize;
    let most = peer(&jars, &brokers, records)?;
    println!("{APPENDERS} appenders that wait for each answer: {waiting:.0}/s");
    println!("{APPENDERS} appenders with {AHEAD} on their way: {reached:.0}/s");
    println!("Kafka's producer test: {most:.0}/s; ratio {:.2}", reached / most);
    support::print_latencies(&*log, &topic, time)?;
    Ok(())
}

/// Single events from all appenders at once, each with so many on their way. Answers how many were stored.
fn ahead(
    log: &dyn EventLog,
    topic: &Topic,
    value: &str,
    until: Instant,
) -> eventlog::Result<usize> {
    let count = Arc::new(AtomicUsize::new(0));
    support::at_once(APPENDERS, |me| {
        let room = Arc::new((Mutex::new(AHEAD), Condvar::new()));
        while Instant::now() < until {
            let mut free = room.0.lock().expect("no panic");
            while *free == 0 {
                free = room.1.wait(free).expect("no panic");
            }
            *free -= 1;
            drop(free);
            let (count, back) = (count.clone(), room.clone());
            let done = Box::new(move |outcome: eventlog::Result<_>| {
                count.fetch_add(usize::from(outcome.is_ok()), Ordering::Relaxed);
                *back.0.lock().expect("no panic") += 1;
                back.1.notify_one();
            });
            log.submit(single(topic, me, value), done);
        }
        let mut free = room.0.lock().expect("no panic");
        while *free < AHEAD {
            free = room.1.wait(free).expect("no panic");
        }
        Ok(())
    })?;
    Ok(count.load(Ordering::Relaxed))
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
