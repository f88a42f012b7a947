//! Several processes on one PostgreSQL database, and `kill -9`.
//!
//! The processes are this test program again, running only the test `child`, with its role in the environment.

mod postgres_server;

use std::collections::HashMap;
use std::env;
use std::io::{self, BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use eventlog::{Append, AppendId, Driver, EventLog, Limits, NewEvent, Read, Subscription, Topic};
use postgres_server::Database;

const ROLE: &str = "EVENTLOG_TEST_ROLE";
const CONNINFO: &str = "EVENTLOG_TEST_CONNINFO";
const NUMBER: &str = "EVENTLOG_TEST_NUMBER";
const FIRST: &str = "EVENTLOG_TEST_FIRST";
/// How many events an appender's every append holds.
const TOGETHER: usize = 3;

fn open(conninfo: &str) -> Arc<dyn EventLog> {
    let driver = Driver::Postgres { conninfo: conninfo.to_owned() };
    eventlog::open(&driver, Limits::default()).expect("opened")
}

fn orders() -> Topic {
    Topic::new("orders").expect("a good name")
}

/// A database with a log that has the topic.
fn store() -> (Database, String, Arc<dyn EventLog>) {
    let database = Database::create();
    let conninfo = database.conninfo();
    let log = open(&conninfo);
    log.declare(&[orders()]).expect("declared");
    (database, conninfo, log)
}

struct Other {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Other {
    fn start(role: &str, conninfo: &str, number: usize, first: usize) -> Other {
        let mut process = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", "child", "--nocapture"])
            .env(ROLE, role)
            .env(CONNINFO, conninfo)
            .env(NUMBER, number.to_string())
            .env(FIRST, first.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        Other { process, lines }
    }

    /// The next line that it said; `None` at its end.
    fn hear(&mut self) -> Option<usize> {
        self.lines.find_map(|line| {
            let line = line.ok()?;
            line.strip_prefix("said ").map(|number| number.parse().expect("a number"))
        })
    }

    fn kill(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("waited");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn say(number: usize) {
    // In one write, and past the test harness's capture.
    io::stdout().write_all(format!("said {number}\n").as_bytes()).expect("a listener");
    io::stdout().flush().expect("a listener");
}

#[test]
fn child() {
    let Ok(role) = env::var(ROLE) else { return };
    let number = |name| env::var(name).expect("set").parse().expect("a number");
    let log = open(&env::var(CONNINFO).expect("set"));
    match role.as_str() {
        "append" => append(&*log, number(NUMBER), number(FIRST)),
        "consume" => consume(&*log, number(NUMBER)),
        "hold" => hold(&*log, number(NUMBER)),
        role => panic!("no role {role}"),
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
        log.append(Append { id: AppendId(id), events }).expect("appended");
        say(n);
    }
}

/// Finishes every event, and says each.
fn consume(log: &dyn EventLog, me: usize) {
    let member = Subscription::new("group", &[orders()], &format!("process {me}"));
    let member = log.join(member).expect("joined");
    say(usize::MAX);
    loop {
        for delivery in member.claim(4, Duration::from_secs(5)).expect("claimed") {
            let value = std::str::from_utf8(&delivery.event.value).expect("text");
            member.finish(&delivery.claim).expect("finished");
            say(value.parse().expect("a number"));
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

/// Appenders are killed at arbitrary moments and succeeded: what they heard acknowledged is there, once and whole.
#[test]
fn every_acknowledged_append_survives_kill_9_exactly_once() {
    let (database, conninfo, log) = store();
    let mut next: [usize; 3] = [0; 3];
    for round in 0..8 {
        let start = |(me, first): (usize, &usize)| Other::start("append", &conninfo, me, *first);
        let mut others: Vec<Other> = next.iter().enumerate().map(start).collect();
        // The first acknowledgement shows that it runs; then a moment that differs from round to round.
        others.iter_mut().for_each(|other| assert!(other.hear().is_some()));
        thread::sleep(Duration::from_micros(20_000 + 7_919 * round));
        others.iter_mut().for_each(Other::kill);
        for (me, other) in others.iter_mut().enumerate() {
            next[me] += 1;
            while let Some(acknowledged) = other.hear() {
                next[me] = acknowledged + 1;
            }
        }
    }
    // The server may still be busy with what a killed process has begun: until that has ended, nobody reads past it.
    let offset = |row: &postgres::Row| row.get::<_, i64>(0) as u64;
    let sql = "SELECT msg_offset FROM topic_orders ORDER BY 1";
    let read = Read { limit: usize::MAX, ..Read::default() };
    let begun = Instant::now();
    let events = loop {
        let events = log.read(&orders(), &read).expect("read");
        let rows = database.client().query(sql, &[]).expect("read");
        let read: Vec<u64> = events.iter().map(|event| event.offset).collect();
        if read == rows.iter().map(offset).collect::<Vec<_>>() {
            break events;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "events are never read");
        thread::sleep(Duration::from_millis(10));
    };
    let mut found: HashMap<(usize, usize), Vec<u64>> = HashMap::new();
    for event in &events {
        let number = std::str::from_utf8(&event.value).expect("text").parse().expect("a number");
        let me = event.key.parse().expect("a number");
        found.entry((me, number)).or_default().push(event.offset);
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
#[test]
fn an_append_wakes_another_process() {
    let (_database, conninfo, log) = store();
    let mut other = Other::start("consume", &conninfo, 1, 0);
    assert_eq!(other.hear(), Some(usize::MAX));
    let begun = Instant::now();
    for n in 0..50 {
        log.append(Append::new(vec![NewEvent::new(&orders(), "a", n.to_string())]))
            .expect("appended");
        assert_eq!(other.hear(), Some(n));
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn what_a_killed_process_held_is_taken_over_within_ten_seconds() {
    let (_database, conninfo, log) = store();
    log.append(Append::new(vec![NewEvent::new(&orders(), "a", "7")])).expect("appended");
    let mut holder = Other::start("hold", &conninfo, 1, 0);
    assert_eq!(holder.hear(), Some(1));
    let mut heir = Other::start("consume", &conninfo, 2, 0);
    assert_eq!(heir.hear(), Some(usize::MAX));
    let killed = Instant::now();
    holder.kill();
    assert_eq!(heir.hear(), Some(7));
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
}

/// Consumers are killed while they work: every event is handled, and those handled twice are few.
#[test]
fn killed_consumers_lose_no_event() {
    let (_database, conninfo, log) = store();
    let total = 300;
    let event = |n: usize| NewEvent::new(&orders(), (n % 10).to_string(), n.to_string());
    log.append(Append::new((0..total).map(event).collect())).expect("appended");
    let mut times = vec![0; total];
    for round in 0..4 {
        // The same names again: a successor needn't wait for the lease.
        let mut others = [1, 2].map(|me| Other::start("consume", &conninfo, me, 0));
        others.iter_mut().for_each(|other| assert!(other.hear().is_some()));
        thread::sleep(Duration::from_micros(15_000 + 3_571 * round));
        others.iter_mut().for_each(Other::kill);
        for other in &mut others {
            while let Some(n) = other.hear() {
                times[n] += 1;
            }
        }
    }
    let mut last = [1, 2].map(|me| Other::start("consume", &conninfo, me, 0));
    last.iter_mut().for_each(|other| assert!(other.hear().is_some()));
    let begun = Instant::now();
    let lag = || log.offsets(&orders()).expect("offsets")[0].groups[0].lag;
    while lag() > 0 && begun.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(lag(), 0);
    thread::sleep(Duration::from_millis(100));
    last.iter_mut().for_each(Other::kill);
    for other in &mut last {
        while let Some(n) = other.hear() {
            times[n] += 1;
        }
    }
    // Finished is said after the commit: a kill between the two leaves at most one event a process unsaid, and a
    // commit is never repeated.
    assert!(times.iter().all(|times| *times <= 1), "{times:?}");
    assert!(times.iter().filter(|times| **times == 0).count() <= 8, "{times:?}");
}
