//! Several processes on one Kafka topic, and `kill -9`.

mod kafka_support;
mod processes;

use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use eventlog::{Append, EventLog, Limits, NewEvent, Outcome, Read, Settled, Subscription, Topic};
use kafka_support::{everything, lag, number, orders, wait_until, Kafka};
use processes::{append_and_kill, say, Other, Role, TOGETHER};

/// Long enough for a process to be a member with events.
const LONG: Duration = Duration::from_secs(20);

/// A log that has the topic.
fn store(partitions: u32) -> (Kafka, Arc<dyn EventLog>) {
    let kafka = Kafka::with_partitions(partitions);
    let log = kafka.log(Limits::default());
    log.declare(&[orders()]).expect("declared");
    (kafka, log)
}

/// A process that holds the topic's only event, and another member that may not have it.
fn holder_and_heir(kafka: &Kafka, log: &dyn EventLog) -> (Other, Other) {
    log.append(Append::new(vec![NewEvent::new(&orders(), "a", "7")])).expect("appended");
    let holder = Other::start("hold", &kafka.app_name, 1, 0);
    assert_eq!(holder.hear(), Some(1));
    let heir = Other::start("consume", &kafka.app_name, 2, 0);
    // It is a member by then.
    heir.stays_silent(Duration::from_secs(3));
    (holder, heir)
}

#[test]
fn child() {
    let Some(Role { name, store, number, first }) = Role::of_this_process() else { return };
    // What the topics are removed with stays with the test that made them.
    let kafka = ManuallyDrop::new(Kafka { app_name: store, partitions: 1 });
    let log = kafka.log(Limits::default());
    match name.as_str() {
        "append" => append(&*log, number, first),
        "consume" => consume(&*log, number, None),
        "stumble" => consume(&*log, number, Some(first)),
        "hold" => hold(&*log, number),
        name => panic!("no role {name}"),
    }
}

/// Appends for ever, and says what was acknowledged.
fn append(log: &dyn EventLog, me: usize, first: usize) {
    for n in first.. {
        let event = |_| NewEvent::new(&orders(), me.to_string(), n.to_string());
        log.append(Append::new((0..TOGETHER).map(event).collect())).expect("appended");
        say(n);
    }
}

/// Says every event and then finishes it. The deadly one ends the process until it has been tried three times.
fn consume(log: &dyn EventLog, me: usize, deadly: Option<usize>) {
    let member = Subscription::new("group", &[orders()], &format!("process {me}"));
    let member = log.join(member).expect("joined");
    loop {
        for delivery in member.claim(4, Duration::from_secs(5)).expect("claimed") {
            let mut outcome = Outcome::Finished;
            if deadly == Some(number(&delivery.event)) {
                if delivery.attempt() < 3 {
                    thread::sleep(Duration::from_millis(300));
                    process::abort();
                }
                outcome = Outcome::Dead(format!("died {} times", delivery.attempt() - 1));
            }
            say(number(&delivery.event));
            // The time that its function takes.
            thread::sleep(Duration::from_millis(3));
            member.settle_one(&delivery.claim, outcome).expect("settled");
        }
    }
}

/// Claims one event, and ends it only after having been stopped for long: says then whether it was still its own, and that
/// it is a member again.
fn hold(log: &dyn EventLog, me: usize) {
    let s = Subscription::new("group", &[orders()], &format!("process {me}"));
    let member = log.join(s).expect("joined");
    let found = member.claim(1, Duration::from_secs(10)).expect("claimed");
    say(found.len());
    let mut seen = Instant::now();
    while seen.elapsed() < Duration::from_secs(4) {
        seen = Instant::now();
        member.extend().expect("extended");
        thread::sleep(Duration::from_millis(100));
    }
    // Its client hears from the broker that it was shut out.
    thread::sleep(Duration::from_secs(2));
    let settled = member.finish(&found[0].claim).expect("settled");
    say(if settled == Settled::Lost { 1000 } else { 2000 });
    loop {
        for delivery in member.claim(4, Duration::from_secs(1)).expect("claimed") {
            member.finish(&delivery.claim).expect("finished");
            say(number(&delivery.event));
        }
    }
}

/// Appenders are killed at arbitrary moments and succeeded: what they heard acknowledged is there, once and whole. What
/// they had sent and not heard of may be there, but not twice.
#[test]
fn every_acknowledged_append_survives_kill_9_exactly_once() {
    let (kafka, log) = store(3);
    let mut next = [0; 3];
    let mut unheard = Vec::new();
    for round in 0..5 {
        // A moment that differs from round to round.
        let time = Duration::from_micros(20_000 + 7_919 * round);
        next = append_and_kill(&kafka.app_name, next, time);
        unheard.extend(next.into_iter().enumerate());
        next = next.map(|unheard| unheard + 1);
    }
    let mut found: HashMap<(usize, usize), usize> = HashMap::new();
    for event in everything(&*log, &orders()) {
        let me = event.key.parse().expect("a number");
        *found.entry((me, number(&event))).or_default() += 1;
    }
    for (me, next) in next.into_iter().enumerate() {
        assert!(next > 10, "appender {me} got no further than {next}");
        for n in 0..next {
            let count = found.remove(&(me, n)).unwrap_or(0);
            match unheard.contains(&(me, n)) {
                true => assert!(count <= TOGETHER, "append {n} of {me}: {count}"),
                false => assert_eq!(count, TOGETHER, "append {n} of {me}"),
            }
        }
    }
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn what_a_killed_process_held_is_taken_over_within_ten_seconds() {
    let (kafka, log) = store(1);
    let (holder, heir) = holder_and_heir(&kafka, &*log);
    let killed = Instant::now();
    holder.kill();
    assert_eq!(heir.hear(), Some(7));
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
}

/// A process that is stopped is as good as dead, and when it goes on its claims are not its own any more.
#[test]
fn what_a_frozen_process_held_is_lost_to_it() {
    let (kafka, log) = store(1);
    let (holder, heir) = holder_and_heir(&kafka, &*log);
    let frozen = Instant::now();
    holder.signal("STOP");
    assert_eq!(heir.hear(), Some(7));
    assert!(frozen.elapsed() < Duration::from_secs(10), "{:?}", frozen.elapsed());
    wait_until("no lag", LONG, || lag(&*log, &orders()) == 0);
    holder.signal("CONT");
    assert_eq!(holder.hear(), Some(1000));
    heir.kill();
    log.append(Append::new(vec![NewEvent::new(&orders(), "a", "8")])).expect("appended");
    assert_eq!(holder.hear(), Some(8));
}

/// Consumers are killed while they work, and succeeded by others of the same names: every event is handled, in the order
/// of its key, and those handled twice are few.
#[test]
fn killed_consumers_lose_no_event() {
    let (kafka, log) = store(2);
    let total = 400;
    let event = |n: usize| NewEvent::new(&orders(), (n % 10).to_string(), n.to_string());
    log.append(Append::new((0..total).map(event).collect())).expect("appended");
    let mut handled: Vec<usize> = Vec::new();
    for round in 0..3 {
        let others = [1, 2].map(|me| Other::start("consume", &kafka.app_name, me, 0));
        // The first one that has a partition.
        wait_until("an event", LONG, || {
            let heard = others.iter().find_map(Other::overhear);
            handled.extend(heard);
            heard.is_some()
        });
        thread::sleep(Duration::from_micros(5_000 + 3_571 * round));
        handled.extend(others.map(Other::kill).concat());
    }
    let last = [1, 2].map(|me| Other::start("consume", &kafka.app_name, me, 0));
    wait_until("no lag", LONG, || lag(&*log, &orders()) == 0);
    handled.extend(last.map(Other::kill).concat());
    let mut firsts: HashMap<usize, Vec<usize>> = HashMap::new();
    for n in &handled {
        let of_key = firsts.entry(n % 10).or_default();
        if !of_key.contains(n) {
            of_key.push(*n);
        }
    }
    assert_eq!(firsts.values().map(Vec::len).sum::<usize>(), total);
    for (key, numbers) in firsts {
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{key}: {numbers:?}");
    }
    assert!(handled.len() < 2 * total, "{} times for {total} events", handled.len());
}

/// An event that kills the process each time: its attempts are counted nevertheless, it becomes a dead letter, and what is
/// behind it goes on.
#[test]
fn an_event_that_kills_its_process_does_not_stop_the_group() {
    let (kafka, log) = store(1);
    let event = |n: usize| NewEvent::new(&orders(), "a", n.to_string());
    log.append(Append::new((0..3).map(event).collect())).expect("appended");
    let mut heard = Vec::new();
    for _ in 0..3 {
        let other = Other::start("stumble", &kafka.app_name, 1, 1);
        while let Some(n) = other.hear() {
            heard.push(n);
            if n == 2 {
                break;
            }
        }
    }
    assert_eq!(heard, [0, 1, 2]);
    let dead = Topic::new("orders.dead").expect("a good name");
    let letters = log.read(&dead, &Read::default()).expect("read");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].header(eventlog::dead_header::ERROR), Some("died 2 times"));
}
