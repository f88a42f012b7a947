//! What processes on a log with transactions show: an append's id is remembered, and an event is finished once.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use eventlog::{Append, AppendId, Event, EventLog, NewEvent, Read, Subscription};

use super::{append_and_kill, orders, say, Other, Role, TOGETHER};

/// What a process says once it is a member.
const JOINED: usize = usize::MAX;

/// What the process was started for.
pub fn play(role: &Role, log: &dyn EventLog) {
    match role.name.as_str() {
        "append" => append(log, role.number, role.first),
        "consume" => consume(log, role.number),
        "hold" => hold(log, role.number),
        name => panic!("no role {name}"),
    }
}

/// Appends for ever, and says what was acknowledged. The ids follow from the numbers, so that a successor's first
/// append repeats the one that may have been cut off.
fn append(log: &dyn EventLog, me: usize, first: usize) {
    for n in first.. {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&me.to_le_bytes());
        id[8..].copy_from_slice(&n.to_le_bytes());
        let event = |_| NewEvent::new(&orders(), me.to_string(), n.to_string());
        let events = (0..TOGETHER).map(event).collect();
        log.append(Append { id: AppendId(id), ..Append::new(events) }).expect("appended");
        say(n);
    }
}

/// Finishes every event, and says each.
fn consume(log: &dyn EventLog, me: usize) {
    let member = Subscription::new("group", &[orders()], &format!("process {me}"));
    let member = log.join(member).expect("joined");
    say(JOINED);
    loop {
        for delivery in member.claim(4, Duration::from_secs(5)).expect("claimed") {
            member.finish(&delivery.claim).expect("finished");
            say(number(&delivery.event));
        }
    }
}

/// Claims one event and never ends it.
fn hold(log: &dyn EventLog, me: usize) {
    let mut s = Subscription::new("group", &[orders()], &format!("process {me}"));
    s.lease = Duration::from_secs(1);
    let member = log.join(s).expect("joined");
    let found = member.claim(1, Duration::from_secs(10)).expect("claimed");
    say(found.len());
    loop {
        member.extend().expect("extended");
        thread::sleep(Duration::from_millis(100));
    }
}

fn number(event: &Event) -> usize {
    std::str::from_utf8(&event.value).expect("text").parse().expect("a number")
}

/// A consumer that is a member.
fn consumer(store: &str, me: usize) -> Other {
    let consumer = Other::start("consume", store, me, 0);
    assert_eq!(consumer.hear(), Some(JOINED));
    consumer
}

/// Appenders are killed at arbitrary moments and succeeded: what they heard acknowledged is there, once and whole.
/// `stored` looks at the offsets in the store, past the log.
pub fn every_acknowledged_append_survives_kill_9_exactly_once(
    store: &str,
    log: &dyn EventLog,
    mut stored: impl FnMut() -> Vec<u64>,
) {
    let mut next = [0; 3];
    for round in 0..8 {
        // A moment that differs from round to round.
        next = append_and_kill(store, next, Duration::from_micros(20_000 + 7_919 * round));
    }
    // A server may still be busy with what a killed process has begun: until that has ended, nobody reads past it.
    let read = Read { limit: usize::MAX, ..Read::default() };
    let begun = Instant::now();
    let events = loop {
        let events = log.read(&orders(), &read).expect("read");
        if events.iter().map(|event| event.offset).collect::<Vec<_>>() == stored() {
            break events;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "events are never read");
        thread::sleep(Duration::from_millis(10));
    };
    let mut found: HashMap<(usize, usize), Vec<u64>> = HashMap::new();
    for event in &events {
        let me = event.key.parse().expect("a number");
        found.entry((me, number(event))).or_default().push(event.offset);
    }
    for (me, next) in next.into_iter().enumerate() {
        assert!(next > 8, "appender {me} got no further than {next}");
        for n in 0..next {
            let offsets = found.remove(&(me, n)).unwrap_or_default();
            assert_eq!(offsets.len(), TOGETHER, "append {n} of {me}");
            assert_eq!(offsets[0] + TOGETHER as u64 - 1, offsets[TOGETHER - 1]);
        }
        // Stored, but killed before it could say so.
        if let Some(offsets) = found.remove(&(me, next)) {
            assert_eq!(offsets.len(), TOGETHER, "append {next} of {me}");
        }
    }
    assert!(found.is_empty(), "{found:?}");
}

/// Each round waits for the other process. Without wake-ups each would take up to a second.
pub fn an_append_wakes_another_process(store: &str, log: &dyn EventLog) {
    let other = consumer(store, 1);
    let begun = Instant::now();
    for n in 0..50 {
        log.append(Append::new(vec![NewEvent::new(&orders(), "a", n.to_string())]))
            .expect("appended");
        assert_eq!(other.hear(), Some(n));
        let time = begun.elapsed();
        assert!(time < Duration::from_secs(20), "{} hand-overs took {time:?}", n + 1);
    }
}

/// Answers the process that has taken over.
pub fn what_a_killed_process_held_is_taken_over_within_ten_seconds(
    store: &str,
    log: &dyn EventLog,
) -> Other {
    log.append(Append::new(vec![NewEvent::new(&orders(), "a", "7")])).expect("appended");
    let holder = Other::start("hold", store, 1, 0);
    assert_eq!(holder.hear(), Some(1));
    let heir = consumer(store, 2);
    let killed = Instant::now();
    holder.kill();
    assert_eq!(heir.hear(), Some(7));
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    heir
}

/// Consumers are killed while they work: every event is handled, and those handled twice are few.
pub fn killed_consumers_lose_no_event(store: &str, log: &dyn EventLog) {
    let total = 300;
    let event = |n: usize| NewEvent::new(&orders(), (n % 10).to_string(), n.to_string());
    log.append(Append::new((0..total).map(event).collect())).expect("appended");
    let mut times = vec![0; total];
    // The same names in each round: a successor needn't wait for the lease.
    let start = || [1, 2].map(|me| Other::start("consume", store, me, 0));
    let joined = |others: &[Other]| others.iter().for_each(|o| assert_eq!(o.hear(), Some(JOINED)));
    let mut kill = |others: [Other; 2]| {
        others.map(Other::kill).concat().into_iter().for_each(|n| times[n] += 1)
    };
    for round in 0..4 {
        let others = start();
        joined(&others);
        thread::sleep(Duration::from_micros(15_000 + 3_571 * round));
        kill(others);
    }
    let last = start();
    joined(&last);
    let begun = Instant::now();
    let lag = || log.offsets(&orders()).expect("offsets")[0].groups[0].lag;
    while lag() > 0 && begun.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(lag(), 0);
    thread::sleep(Duration::from_millis(100));
    kill(last);
    // Finished is said after the commit: a kill between the two leaves at most one event a process unsaid, and a
    // commit is never repeated.
    assert!(times.iter().all(|times| *times <= 1), "{times:?}");
    assert!(times.iter().filter(|times| **times == 0).count() <= 8, "{times:?}");
}
