//! The broker stops, or is killed, and comes back. It is the one of `scripts/services`; this file has one test, so that no
//! other meets it stopped: cargo runs test files one after the other.

mod kafka_support;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use eventlog::{Append, Error, EventLog, Limits, NewEvent, Outcome, Settled, Stored, Subscription};
use kafka_support::{everything, lag, number, orders, wait_until, Kafka};

/// Enough for a broker to end and begin on a busy machine.
const LONG: Duration = Duration::from_secs(60);
const APPENDERS: usize = 4;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn services(verb: &str) {
    let mut command = Command::new(root().join("scripts/services"));
    let status = command.args([verb, "kafka"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.expect("scripts/services runs").success(), "scripts/services {verb} kafka");
}

/// Whatever fails, the other test files find the broker running.
struct StartedAgain;

impl Drop for StartedAgain {
    fn drop(&mut self) {
        services("start");
    }
}

fn kill_9() {
    let file = root().join("build/services/kafka/pid");
    let pid = fs::read_to_string(&file).expect("the broker of scripts/services");
    let status = Command::new("kill").args(["-KILL", pid.trim()]).status().expect("kill runs");
    assert!(status.success());
    // Its port is free when it has ended.
    let stat = PathBuf::from(format!("/proc/{}/stat", pid.trim()));
    wait_until("the broker's end", LONG, || {
        fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
    });
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_when_the_broker_restarts() {
    let _started_again = StartedAgain;
    let kafka = Kafka::with_partitions(3);
    let log = kafka.log(Limits { append_timeout: Duration::from_secs(2), ..Limits::default() });
    log.declare(&[orders()]).expect("declared");

    let (over, handled) =
        (AtomicBool::new(false), Mutex::new(HashMap::<String, Vec<usize>>::new()));
    let counts: [AtomicUsize; APPENDERS] = Default::default();
    let (log, over_ref, handled_ref, kafka_ref) = (&*log, &over, &handled, &kafka);
    thread::scope(|scope| {
        for (me, count) in counts.iter().enumerate() {
            scope.spawn(move || append_until(log, over_ref, me, count));
        }
        for me in 0..2 {
            scope.spawn(move || consume_until(kafka_ref, over_ref, me, handled_ref));
        }
        let progress = || counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        let goes_on = |what: &str| {
            let before = progress();
            let on = |(now, before): (usize, usize)| now > before + 20;
            wait_until(what, LONG, || progress().into_iter().zip(before).all(on));
        };
        goes_on("appends");
        services("restart");
        goes_on("appends after a restart");
        kill_9();
        services("start");
        goes_on("appends after a kill");
        // Nobody appends any more; what is left is handled.
        over.store(true, Ordering::Release);
    });

    let mut found: HashMap<String, Vec<usize>> = HashMap::new();
    for event in everything(log, &orders()) {
        found.entry(event.key.clone()).or_default().push(number(&event));
    }
    for (me, count) in counts.iter().enumerate() {
        let all: Vec<usize> = (0..count.load(Ordering::Relaxed)).collect();
        let stored = found.remove(&me.to_string()).unwrap_or_default();
        // Each once, and in the order of the key.
        assert_eq!(stored, all, "appender {me}");
        let handled = handled.lock().expect("no panic").remove(&me.to_string()).unwrap_or_default();
        let mut seen = HashSet::new();
        let firsts: Vec<usize> = handled.into_iter().filter(|n| seen.insert(*n)).collect();
        assert_eq!(firsts, all, "handled of appender {me}");
    }
    an_append_during_an_outage_is_stored_once_by_its_retry(log, &kafka);
    no_claim_fails_after_an_append_has_found_the_broker_back(&kafka);
}

/// Appends one event after the other, each until it is acknowledged.
fn append_until(log: &dyn EventLog, over: &AtomicBool, me: usize, count: &AtomicUsize) {
    for n in 0.. {
        if over.load(Ordering::Acquire) {
            return;
        }
        let append = Append::new(vec![NewEvent::new(&orders(), me.to_string(), n.to_string())]);
        let begun = Instant::now();
        while let Err(error) = log.append(append.clone()) {
            assert!(error.retry(), "{error}");
            assert!(begun.elapsed() < LONG, "{error}");
            thread::sleep(Duration::from_millis(20));
        }
        count.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(1));
    }
}

/// Handles events until nobody appends and nothing is left.
fn consume_until(
    kafka: &Kafka,
    over: &AtomicBool,
    me: usize,
    handled: &Mutex<HashMap<String, Vec<usize>>>,
) {
    let log = kafka.log(Limits::default());
    let subscription = Subscription::new("group", &[orders()], &format!("m{me}"));
    let mut joined = log.join(subscription.clone());
    while joined.as_ref().is_err_and(Error::retry) {
        joined = log.join(subscription.clone());
    }
    let member = joined.expect("joined");
    loop {
        let found = match member.claim(16, Duration::from_millis(500)) {
            Ok(found) => found,
            Err(error) => {
                assert!(error.retry(), "{error}");
                thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        let left = || over.load(Ordering::Acquire) && lag(&*log, &orders()) == 0;
        if found.is_empty() && left() {
            return member.leave().expect("left");
        }
        for delivery in found {
            let (key, number) = (delivery.event.key.clone(), number(&delivery.event));
            handled.lock().expect("no panic").entry(key).or_default().push(number);
            let settled = member.settle_one(&delivery.claim, Outcome::Finished).expect("settled");
            assert!(matches!(settled, Settled::Done | Settled::Lost));
        }
    }
}

/// And whoever leaves meanwhile isn't held.
fn an_append_during_an_outage_is_stored_once_by_its_retry(log: &dyn EventLog, kafka: &Kafka) {
    let other = kafka.log(Limits { append_timeout: Duration::from_secs(1), ..Limits::default() });
    let subscription = Subscription::new("late", &[orders()], "m");
    let member = other.join(Subscription { lease: LONG, ..subscription }).expect("joined");
    let mut found = Vec::new();
    wait_until("an event", LONG, || {
        found = member.claim(1, Duration::from_secs(1)).expect("claimed");
        !found.is_empty()
    });
    assert!(!everything(&*other, &orders()).is_empty());
    let events = (0..3).map(|n| NewEvent::new(&orders(), format!("late {n}"), "1")).collect();
    let late = Append::new(events);
    services("stop");
    for _ in 0..2 {
        let error = log.append(late.clone()).expect_err("an error");
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    }
    assert_eq!(member.finish(&found[0].claim), Ok(Settled::Done));
    let begun = Instant::now();
    // It may not be able to tell the group.
    drop(member.leave());
    drop(other);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    services("start");
    let mut stored: Vec<Stored> = Vec::new();
    wait_until("the broker's return", LONG, || {
        stored = log.append(late.clone()).unwrap_or_default();
        stored.len() == 3
    });
    assert_eq!(log.append(late), Ok(stored));
    let all = everything(log, &orders());
    assert_eq!(all.iter().filter(|event| event.key.starts_with("late")).count(), 3);
}

/// A claim that fails is how a consumer learns of an outage: it would tell of a second one.
fn no_claim_fails_after_an_append_has_found_the_broker_back(kafka: &Kafka) {
    let log = kafka.log(Limits { append_timeout: Duration::from_secs(2), ..Limits::default() });
    let member = log.join(Subscription::new("outage", &[orders()], "m")).expect("joined");
    services("stop");
    wait_until("a claim's failure", LONG, || {
        let claimed = member.claim(1, Duration::from_millis(100));
        let error = claimed.as_ref().err();
        assert!(error.is_none_or(|error| matches!(error, Error::Unavailable { .. })), "{error:?}");
        error.is_some()
    });
    services("start");
    wait_until("the broker's return", LONG, || {
        log.append(Append::new(vec![NewEvent::new(&orders(), "back", "1")])).is_ok()
    });
    let returned = Instant::now();
    while returned.elapsed() < Duration::from_secs(3) {
        member.claim(1, Duration::from_millis(10)).expect("claimed");
    }
}
