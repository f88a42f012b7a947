//! A server that is away, comes back, or loses its connections at the worst moment.

mod postgres_server;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::{Duration, Instant};

use eventlog::{
    Append, Driver, Error, EventLog, Invalid, Limits, NewEvent, Read, Result, Subscription, Topic,
};
use postgres_server::own::OwnServer;
use postgres_server::{connect, orders, topic, Database};

fn open(conninfo: &str, append_timeout: Duration, queue: usize) -> Arc<dyn EventLog> {
    let limits = Limits { append_timeout, queue, ..Limits::default() };
    eventlog::open(&Driver::Postgres { conninfo: conninfo.to_owned() }, limits).expect("opened")
}

fn one(topic: &Topic) -> Append {
    Append::new(vec![NewEvent::new(topic, "a", "1")])
}

fn is_unavailable<T>(outcome: Result<T>) -> bool {
    matches!(outcome, Err(error @ Error::Unavailable { .. }) if error.retry())
}

#[test]
fn a_log_opens_without_its_server_and_says_that_it_is_away() {
    let timeout = Duration::from_millis(400);
    // Nobody listens there.
    let log = open("postgres://me:secret@127.0.0.1:1/events", timeout, 10);
    let begun = Instant::now();
    let error = log.topics().expect_err("an error");
    assert!(error.retry(), "{error}");
    let text = error.to_string();
    assert!(text.starts_with("event log postgres://127.0.0.1:1/events is unavailable"), "{text}");
    assert!(!text.contains("secret"), "{text}");
    let orders = topic("orders");
    assert!(is_unavailable(log.declare(std::slice::from_ref(&orders))));
    assert!(is_unavailable(log.read(&orders, &Read::default())));
    assert!(is_unavailable(log.join(Subscription::new("g", std::slice::from_ref(&orders), "m"))));
    let begun_append = Instant::now();
    let error = log.append(one(&orders)).expect_err("an error");
    assert!(error.to_string().contains("is unavailable"), "{error}");
    assert!(begun_append.elapsed() < timeout * 5, "{:?}", begun_append.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn what_waits_for_a_server_that_is_away_is_bounded() {
    let log = open("postgres://me@127.0.0.1:1/events", Duration::from_millis(600), 3);
    let (send, receive) = mpsc::channel();
    for _ in 0..20 {
        let send = send.clone();
        log.submit(one(&topic("orders")), Box::new(move |outcome| drop(send.send(outcome))));
    }
    drop(send);
    let outcomes: Vec<_> = receive.iter().collect();
    assert_eq!(outcomes.len(), 20);
    let full = outcomes.iter().filter(|outcome| matches!(outcome, Err(Error::Full { .. })));
    assert!(full.count() >= 10, "{outcomes:?}");
    // And those that were given up make room.
    assert!(is_unavailable(log.append(one(&topic("orders")))));
}

/// Not even the kernel of a stopped server says that nobody is there.
#[test]
fn an_append_to_a_server_that_does_not_answer_fails_in_time_and_is_stored_once() {
    let server = OwnServer::start();
    let log = open(&server.conninfo(), Duration::from_millis(800), 10);
    let orders = topic("orders");
    log.declare(std::slice::from_ref(&orders)).expect("declared");
    log.append(one(&orders)).expect("appended");
    server.pause();
    let (append, begun) = (one(&orders), Instant::now());
    assert!(is_unavailable(log.append(append.clone())));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    server.resume();
    let begun = Instant::now();
    while log.append(append.clone()).is_err() && begun.elapsed() < Duration::from_secs(20) {}
    log.append(append).expect("appended");
    assert_eq!(log.read(&orders, &Read::default()).expect("read").len(), 2);
}

#[test]
fn connection_strings_that_cannot_be_honoured_are_refused_when_the_log_is_opened() {
    for option in ["sslmode=verify-full", "sslcrl=/crl.pem", "passfile=/secrets", "service=x"] {
        let conninfo = format!("postgres://me@127.0.0.1/events?{option}");
        let error = eventlog::open(&Driver::Postgres { conninfo }, Limits::default()).err();
        assert!(matches!(error, Some(Error::Invalid(Invalid::Conninfo(_)))), "{error:?}");
    }
}

#[test]
fn sslmode_decides_whether_the_connection_is_encrypted() {
    let database = Database::create();
    for (mode, encrypted) in [("disable", false), ("prefer", true), ("require", true)] {
        let conninfo = database.conninfo().replace("sslmode=disable", &format!("sslmode={mode}"));
        let log = open(&format!("{conninfo}&application_name={mode}"), Duration::from_secs(5), 10);
        log.topics().expect("topics");
        let sql = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                   WHERE application_name = $1 AND datname = $2";
        let row = database.client().query_one(sql, &[&mode, &database.name()]).expect("a row");
        assert_eq!(row.get::<_, Option<bool>>(0), Some(encrypted), "{mode}");
    }
}

const PATIENT: Duration = Duration::from_secs(20);

/// Appends whose numbers and ids follow from each other, each retried until it is acknowledged; a consumer beside them.
/// Afterwards every append is there once, and each was handled in the order of its key.
fn appends_and_claims_survive(
    conninfo: &str,
    append_timeout: Duration,
    at_least: usize,
    disturb: impl FnOnce(&dyn Fn() -> usize),
) {
    const APPENDERS: usize = 4;
    let log = open(conninfo, append_timeout, 10_000);
    let orders = topic("orders");
    log.declare(std::slice::from_ref(&orders)).expect("declared");
    let (over, stored) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (log, orders, over, stored) = (&*log, &orders, &over, &stored);
    let (counts, handled) = thread::scope(|scope| {
        let append = |me: usize| {
            for n in 0.. {
                if over.load(Ordering::Acquire) {
                    return n;
                }
                let event = NewEvent::new(orders, me.to_string(), n.to_string());
                let append = Append::new(vec![event]);
                let begun = Instant::now();
                while let Err(error) = log.append(append.clone()) {
                    assert!(error.retry() && begun.elapsed() < Duration::from_secs(60), "{error}");
                }
                stored.fetch_add(1, Ordering::AcqRel);
            }
            unreachable!("the numbers have no end")
        };
        let appenders: Vec<_> = (0..APPENDERS).map(|me| scope.spawn(move || append(me))).collect();
        let consumer = scope.spawn(|| {
            let mut handled: HashMap<String, Vec<usize>> = HashMap::new();
            let mut s = Subscription::new("group", std::slice::from_ref(orders), "m");
            s.lease = Duration::from_secs(2);
            let member = loop {
                if let Ok(member) = log.join(s.clone()) {
                    break member;
                }
                thread::sleep(Duration::from_millis(20));
            };
            let mut quiet = 0;
            while quiet < 4 {
                match member.claim(16, Duration::from_millis(500)) {
                    Ok(found) => {
                        quiet = match found.is_empty() && over.load(Ordering::Acquire) {
                            true => quiet + 1,
                            false => 0,
                        };
                        for delivery in found {
                            let number = String::from_utf8_lossy(&delivery.event.value);
                            let number = number.parse().expect("a number");
                            handled.entry(delivery.event.key.clone()).or_default().push(number);
                            while let Err(error) = member.finish(&delivery.claim) {
                                assert!(error.retry(), "{error}");
                                thread::sleep(Duration::from_millis(20));
                            }
                        }
                    }
                    Err(error) => {
                        assert!(error.retry(), "{error}");
                        thread::sleep(Duration::from_millis(20));
                    }
                }
            }
            handled
        });
        disturb(&|| stored.load(Ordering::Acquire));
        let before = stored.load(Ordering::Acquire);
        let begun = Instant::now();
        while stored.load(Ordering::Acquire) < before.max(at_least) + 50
            && begun.elapsed() < Duration::from_secs(60)
        {
            thread::sleep(Duration::from_millis(10));
        }
        over.store(true, Ordering::Release);
        let counts: Vec<usize> =
            appenders.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        (counts, consumer.join().expect("no panic"))
    });
    assert!(counts.iter().sum::<usize>() > at_least, "{counts:?}");
    let events = log.read(orders, &Read { limit: usize::MAX, ..Read::default() }).expect("read");
    for (me, count) in counts.into_iter().enumerate() {
        let of_key = events.iter().filter(|event| event.key == me.to_string());
        let numbers: Vec<usize> = of_key
            .map(|event| String::from_utf8_lossy(&event.value).parse().expect("a number"))
            .collect();
        assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "appender {me}");
        let mut handled = handled[&me.to_string()].clone();
        // At least once, and repeated only right away.
        handled.dedup();
        assert_eq!(handled, numbers, "handled of appender {me}");
    }
    assert_eq!(log.offsets(orders).expect("offsets")[0].groups[0].lag, 0);
}

/// Connections are ended at moments that differ, most of them in a transaction or its commit.
#[test]
fn terminated_connections_lose_and_repeat_nothing() {
    let database = Database::create();
    appends_and_claims_survive(&database.conninfo(), PATIENT, 200, |_| {
        let mut client = database.server_client();
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE datname = $1 AND state <> 'idle'";
        let mut ended = 0;
        for round in 0..60 {
            thread::sleep(Duration::from_micros(11_000 + 3_701 * (round % 7)));
            let row = client.query_one(sql, &[&database.name()]).expect("a row");
            ended += row.get::<_, i64>(0);
        }
        assert!(ended > 10, "only {ended} connections were ended");
    });
}

#[test]
fn a_server_that_restarts_and_one_that_crashes_lose_and_repeat_nothing() {
    let server = OwnServer::start();
    appends_and_claims_survive(&server.conninfo(), PATIENT, 200, |stored| {
        for crash in [false, true, true] {
            let before = stored();
            let begun = Instant::now();
            while stored() < before + 30 && begun.elapsed() < Duration::from_secs(30) {
                thread::sleep(Duration::from_millis(5));
            }
            server.stop(crash);
            thread::sleep(Duration::from_millis(200));
            server.start_again();
        }
    });
}

/// Connections are given up in mid-statement and mid-commit, and the server carries out later what it had been sent.
#[test]
fn a_server_that_hangs_for_less_and_for_more_than_a_lease_loses_and_repeats_nothing() {
    let server = OwnServer::start();
    let timeout = Duration::from_millis(500);
    appends_and_claims_survive(&server.conninfo(), timeout, 200, |stored| {
        for millis in [700, 1100, 3000, 800, 1600] {
            let before = stored();
            let begun = Instant::now();
            while stored() < before + 30 && begun.elapsed() < Duration::from_secs(30) {
                thread::sleep(Duration::from_millis(5));
            }
            server.pause();
            thread::sleep(Duration::from_millis(millis));
            server.resume();
        }
    });
}

/// A wake-up connection that is lost is made again, and nothing that came meanwhile is missed.
#[test]
fn a_listener_whose_connection_was_ended_hears_again() {
    let database = Database::create();
    let (log, orders) = orders(&database);
    let other = database.open(Limits::default());
    let member =
        log.join(Subscription::new("group", std::slice::from_ref(&orders), "m")).expect("joined");
    let listening = "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND query LIKE 'LISTEN%'";
    let mut client = database.server_client();
    for round in 0..3 {
        let begun = Instant::now();
        let pid: i32 = loop {
            let row = client.query_opt(listening, &[&database.name()]).expect("asked");
            if let Some(row) = row {
                break row.get(0);
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "nobody listens");
            thread::sleep(Duration::from_millis(10));
        };
        client.execute("SELECT pg_terminate_backend($1)", &[&pid]).expect("ended");
        let event = NewEvent::new(&orders, "a", round.to_string());
        other.append(Append::new(vec![event])).expect("appended");
        let found = member.claim(1, Duration::from_secs(10)).expect("claimed");
        assert_eq!(found[0].event.value, round.to_string().into_bytes());
        member.finish(&found[0].claim).expect("finished");
    }
}

/// After a restart the transaction's locks are under another name.
#[test]
fn a_prepared_transaction_is_waited_for_across_a_restart() {
    let server = OwnServer::start();
    let log = open(&server.conninfo(), Duration::from_secs(20), 10);
    let orders = topic("orders");
    log.declare(std::slice::from_ref(&orders)).expect("declared");
    let mut client = connect(&server.conninfo());
    let insert = "BEGIN; SET LOCAL spacer.own = 'on';
                  INSERT INTO topic_orders (key, value) VALUES ('prepared', '1');
                  PREPARE TRANSACTION 'x'";
    client.batch_execute(insert).expect("prepared");
    log.append(one(&orders)).expect("appended");
    let read = || log.read(&orders, &Read::default());
    assert_eq!(read(), Ok(Vec::new()));
    server.stop(false);
    server.start_again();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        // Unavailable at first.
        assert_eq!(read().unwrap_or_default(), []);
        thread::sleep(Duration::from_millis(20));
    }
    connect(&server.conninfo()).batch_execute("COMMIT PREPARED 'x'").expect("committed");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(read().expect("read").len(), 2);
}
