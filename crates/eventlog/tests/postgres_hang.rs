//! A server that accepts and never answers: its processes are stopped, and its kernel acknowledges whatever is sent.

mod postgres_server;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use eventlog::{
    Append, Consumer, Driver, Error, EventLog, Limits, NewEvent, Outcome, Read, Result, Settled,
    Subscription, Timestamp, Topic,
};
use postgres_server::own::OwnServer;
use postgres_server::{connect, topic};

/// What each call may take.
const BOUND: Duration = Duration::from_millis(1200);
/// And what a machine with other work to do may add. Less than the bound, which isn't to be had twice.
const SLACK: Duration = Duration::from_millis(1100);
/// What a call may take where many hang, one after the other.
const SHORT: Duration = Duration::from_millis(500);

fn open(server: &OwnServer, append_timeout: Duration) -> (Arc<dyn EventLog>, Topic) {
    let limits = Limits { append_timeout, ..Limits::default() };
    let log = eventlog::open(&Driver::Postgres { conninfo: server.conninfo() }, limits);
    let (log, orders) = (log.expect("opened"), topic("orders"));
    log.declare(std::slice::from_ref(&orders)).expect("declared");
    (log, orders)
}

fn one(topic: &Topic, key: &str) -> Append {
    Append::new(vec![NewEvent::new(topic, key, "1")])
}

fn join(log: &dyn EventLog, topic: &Topic, member: &str) -> Box<dyn Consumer> {
    let mut s = Subscription::new("group", std::slice::from_ref(topic), member);
    s.lease = Duration::from_secs(2);
    log.join(s).expect("joined")
}

/// Tries until the server has noticed that it goes on.
fn at_last<T>(mut call: impl FnMut() -> Result<T>) -> T {
    let begun = Instant::now();
    loop {
        match call() {
            Ok(value) => return value,
            Err(error) => {
                let late = begun.elapsed() > Duration::from_secs(20);
                assert!(error.retry() && !late, "{error}");
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

fn fails_in_time<T>(name: &str, call: impl FnOnce() -> Result<T>) {
    let begun = Instant::now();
    let error = call().err();
    let taken = begun.elapsed();
    assert!(matches!(&error, Some(Error::Unavailable { .. })), "{name}: {error:?}");
    assert!(taken < BOUND + SLACK, "{name} took {taken:?}");
}

#[test]
fn every_call_to_a_server_that_hangs_fails_in_time_and_works_when_it_goes_on() {
    let server = OwnServer::start();
    let (log, orders) = open(&server, BOUND);
    for key in ["a", "b", "c"] {
        log.append(one(&orders, key)).expect("appended");
    }
    let member = join(&*log, &orders, "m");
    let held = member.claim(1, Duration::from_secs(5)).expect("claimed").remove(0).claim;
    let undeclared = topic("other");
    let joining = Subscription::new("another", std::slice::from_ref(&orders), "m");
    let calls: [(&str, &dyn Fn() -> Result<()>); 11] = [
        ("read", &|| log.read(&orders, &Read::default()).map(drop)),
        ("last", &|| log.last(&orders, "a").map(drop)),
        ("offsets", &|| log.offsets(&orders).map(drop)),
        ("offset_at", &|| log.offset_at(&orders, 0, Timestamp(1)).map(drop)),
        ("topics", &|| log.topics().map(drop)),
        ("declare", &|| log.declare(std::slice::from_ref(&undeclared))),
        ("join", &|| log.join(joining.clone()).map(drop)),
        ("claim", &|| member.claim(1, Duration::from_secs(60)).map(drop)),
        ("extend", &|| member.extend()),
        ("settle", &|| member.settle_one(&held, Outcome::Released).map(drop)),
        ("append", &|| log.append(one(&orders, "a")).map(drop)),
    ];
    for (name, call) in calls {
        // On a connection that was made before, and on one that is to be made.
        at_last(|| log.topics());
        server.pause();
        fails_in_time(name, call);
        fails_in_time(name, call);
        server.resume();
    }
    for (name, call) in calls {
        // An event may have been claimed, and its claim lost with the answer: then there is none left for "claim".
        if name != "claim" {
            at_last(call);
        }
    }
}

#[test]
fn calls_that_wait_at_the_same_time_fail_in_time_together() {
    let server = OwnServer::start();
    let (log, orders) = open(&server, BOUND);
    log.append(one(&orders, "a")).expect("appended");
    let member = join(&*log, &orders, "m");
    let (log, member, orders) = (&*log, &*member, &orders);
    // Some have a connection, the others need one, and those of a member wait for each other.
    server.pause();
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| fails_in_time("read", || log.read(orders, &Read::default())));
            scope.spawn(|| fails_in_time("claim", || member.claim(1, Duration::from_secs(60))));
            scope.spawn(|| fails_in_time("extend", || member.extend()));
        }
    });
    server.resume();
    at_last(|| log.read(orders, &Read::default()));
    at_last(|| member.extend());
}

#[test]
fn a_claim_that_was_lost_with_its_answer_is_handed_out_again() {
    let server = OwnServer::start();
    let (log, orders) = open(&server, SHORT);
    let member = join(&*log, &orders, "m");
    let other = open(&server, SHORT).0;
    for round in 0..8_u64 {
        // It hangs in one of the claim's statements, which one depends on the round.
        let stopping = thread::scope(|scope| {
            let claiming = scope.spawn(|| member.claim(10, Duration::from_secs(3)));
            at_last(|| other.append(one(&orders, "a")));
            thread::sleep(Duration::from_micros(400 * round));
            server.pause();
            thread::sleep(SHORT * 2);
            server.resume();
            claiming.join().expect("no panic")
        });
        let mut found = stopping.unwrap_or_default();
        if found.is_empty() {
            let begun = Instant::now();
            found = at_last(|| member.claim(10, Duration::from_secs(10)));
            assert!(begun.elapsed() < Duration::from_secs(8), "stuck in round {round}");
        }
        assert_eq!(found.len(), 1, "round {round}");
        // Nobody has run it: it is still the first attempt, unless its lease ended.
        let claim = found.remove(0).claim;
        assert_eq!(at_last(|| member.finish(&claim)), Settled::Done, "round {round}");
    }
    assert_eq!(log.offsets(&orders).expect("offsets")[0].groups[0].lag, 0);
}

#[test]
fn an_append_that_was_given_up_in_mid_transaction_is_stored_once() {
    let server = OwnServer::start();
    let (log, orders) = open(&server, SHORT);
    for round in 0..8_u64 {
        let append = one(&orders, "a");
        thread::scope(|scope| {
            let appending = scope.spawn(|| log.append(append.clone()));
            thread::sleep(Duration::from_micros(500 * round));
            server.pause();
            thread::sleep(SHORT * 2);
            server.resume();
            drop(appending.join().expect("no panic"));
        });
        at_last(|| log.append(append.clone()));
        let events = at_last(|| log.read(&orders, &Read::default()));
        assert_eq!(events.len() as u64, round + 1);
    }
}

/// The first host accepts and says nothing.
#[test]
fn a_host_that_hangs_does_not_keep_the_log_from_the_next() {
    let server = OwnServer::start();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = silent.local_addr().expect("an address").port();
    let conninfo = server.conninfo().replace('@', &format!("@127.0.0.1:{port},"));
    let limits = Limits { append_timeout: BOUND, ..Limits::default() };
    let log = eventlog::open(&Driver::Postgres { conninfo }, limits).expect("opened");
    assert_eq!(log.topics().expect("topics"), []);
}

/// A large table gets an index in that time, say.
#[test]
fn a_server_that_works_on_the_layout_is_waited_for_and_one_that_hangs_is_not() {
    let server = OwnServer::start();
    let mut old = connect(&server.conninfo());
    old.batch_execute(
        "CREATE TABLE topic_orders (msg_offset bigserial PRIMARY KEY, key text NOT NULL,
           value text NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
         CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql AS $$
           BEGIN PERFORM pg_sleep(1); END $$;
         CREATE EVENT TRIGGER slow ON ddl_command_end WHEN TAG IN ('CREATE INDEX')
           EXECUTE FUNCTION slow();",
    )
    .expect("an old database");
    let limits = Limits { append_timeout: BOUND, ..Limits::default() };
    let driver = Driver::Postgres { conninfo: server.conninfo() };
    let log = eventlog::open(&driver, limits).expect("opened");
    let begun = Instant::now();
    thread::scope(|scope| {
        let migrating = scope.spawn(|| log.topics());
        // The others don't wait so long.
        thread::sleep(Duration::from_millis(100));
        fails_in_time("last", || log.last(&topic("orders"), "a"));
        let topics = migrating.join().expect("no panic").expect("brought up to date");
        assert!(topics.contains(&topic("orders")), "{topics:?}");
    });
    assert!(begun.elapsed() > BOUND * 3, "nothing was slow");

    let declaring = topic("more");
    thread::scope(|scope| {
        let declared = scope.spawn(|| log.declare(std::slice::from_ref(&declaring)));
        thread::sleep(Duration::from_millis(300));
        server.pause();
        let begun = Instant::now();
        let error = declared.join().expect("no panic").expect_err("hangs");
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        assert!(begun.elapsed() < 2 * BOUND + SLACK, "{:?}", begun.elapsed());
    });
    server.resume();
    at_last(|| log.declare(std::slice::from_ref(&declaring)));
}
