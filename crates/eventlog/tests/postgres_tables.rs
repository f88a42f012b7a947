//! What the driver does to its tables: what it leaves out on the usual path, what it cleans up, what it bounds.

mod postgres_server;

use std::thread;
use std::time::Duration;

use eventlog::{
    Append, Error, EventLog, Invalid, Limits, NewEvent, Outcome, Read, Settled, Subscription, Topic,
};
use postgres_server::{orders, topic, Database};

fn put(log: &dyn EventLog, topic: &Topic, key: &str, count: usize) {
    let events = vec![NewEvent::new(topic, key, "1"); count];
    for some in events.chunks(Limits::default().queue) {
        log.append(Append::new(some.to_vec())).expect("appended");
    }
}

fn count(database: &Database, sql: &str) -> i64 {
    database.client().query_one(sql, &[]).expect("counted").get(0)
}

/// A look at the locks that moves the bound writes it down: it stays where it was when none was taken.
#[test]
fn without_gaps_nobody_asks_for_locks() {
    let database = Database::create();
    let (log, orders) = orders(&database);
    let s = Subscription::new("group", std::slice::from_ref(&orders), "m");
    let member = log.join(s).expect("joined");
    for n in 0..30 {
        put(&*log, &orders, &n.to_string(), 2);
        for delivery in member.claim(10, Duration::ZERO).expect("claimed") {
            member.finish(&delivery.claim).expect("finished");
        }
        log.last(&orders, &n.to_string()).expect("read");
        log.offsets(&orders).expect("offsets");
        log.read(&orders, &Read { from: 2 * n, ..Read::default() }).expect("read");
    }
    let decided = "SELECT decided FROM spacer_topics WHERE topic = 'orders'";
    assert_eq!(count(&database, decided), 1);
    // With a gap it is asked for, so that the above shows something.
    database
        .client()
        .batch_execute("SELECT nextval('topic_orders_msg_offset_seq')")
        .expect("taken");
    put(&*log, &orders, "a", 1);
    assert_eq!(log.read(&orders, &Read { from: 60, ..Read::default() }).expect("read").len(), 2);
    assert!(count(&database, decided) > 60);
}

#[test]
fn ids_beyond_the_window_are_removed() {
    let database = Database::create();
    let limits = Limits { dedup_window: Duration::from_millis(50), ..Limits::default() };
    let log = database.open(limits);
    log.declare(&[topic("orders")]).expect("declared");
    for _ in 0..20 {
        put(&*log, &topic("orders"), "a", 1);
    }
    thread::sleep(Duration::from_millis(150));
    put(&*log, &topic("orders"), "a", 1);
    // They are removed after an append was answered.
    thread::sleep(Duration::from_millis(300));
    assert!(count(&database, "SELECT count(*) FROM appends") < 5);
}

#[test]
fn ten_thousand_parked_events_of_one_key_do_not_grow_without_bound() {
    let database = Database::create();
    let (log, orders) = orders(&database);
    put(&*log, &orders, "stuck", 10_500);
    let s = Subscription::new("group", std::slice::from_ref(&orders), "m");
    let member = log.join(s).expect("joined");
    assert_eq!(member.claim(10, Duration::ZERO).expect("claimed").len(), 1);
    assert_eq!(member.claim(10, Duration::ZERO).expect("claimed"), []);
    assert_eq!(count(&database, "SELECT count(*) FROM consumer_group_events"), 10_000);
}

/// An operator's DELETE of old events, some of which a group had taken in.
#[test]
fn deleted_events_stop_no_group() {
    let database = Database::create();
    let (log, orders) = orders(&database);
    put(&*log, &orders, "a", 3);
    let s = Subscription::new("group", std::slice::from_ref(&orders), "m");
    let member = log.join(s).expect("joined");
    let first = member.claim(10, Duration::ZERO).expect("claimed").remove(0);
    put(&*log, &orders, "b", 1);
    assert_eq!(member.claim(10, Duration::ZERO).expect("claimed").len(), 1);
    let sql = "DELETE FROM topic_orders WHERE msg_offset IN (1, 2)";
    database.client().batch_execute(sql).expect("deleted");
    member.finish(&first.claim).expect("finished");
    let mut found = Vec::new();
    for _ in 0..3 {
        found.extend(member.claim(10, Duration::ZERO).expect("claimed"));
    }
    assert_eq!(found.iter().map(|delivery| delivery.event.offset).collect::<Vec<_>>(), [3]);
}

/// A constraint of the operator's refuses one event; those that waited with it are stored.
#[test]
fn an_event_that_the_database_refuses_does_not_spoil_others() {
    let database = Database::create();
    let (log, orders) = orders(&database);
    let sql = "ALTER TABLE topic_orders ADD CHECK (key <> 'bad')";
    database.client().batch_execute(sql).expect("altered");
    let (send, receive) = std::sync::mpsc::channel();
    for n in 0..50 {
        let key = if n % 10 == 3 { "bad" } else { "good" };
        let send = send.clone();
        let done = Box::new(move |outcome| send.send((n, outcome)).expect("a receiver"));
        log.submit(Append::new(vec![NewEvent::new(&orders, key, n.to_string())]), done);
    }
    drop(send);
    for (n, outcome) in receive {
        match outcome {
            Ok(_) => assert_ne!(n % 10, 3),
            Err(Error::Invalid(Invalid::Refused { .. })) => assert_eq!(n % 10, 3),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(log.read(&orders, &Read::default()).expect("read").len(), 45);
}

#[test]
fn events_that_are_deleted_by_hand_cost_nobody_else_anything() {
    let database = Database::create();
    let (log, orders) = orders(&database);
    let events = ["a", "b", "a", "c"].map(|key| NewEvent::new(&orders, key, "1"));
    log.append(Append::new(events.into())).expect("appended");
    let s = Subscription::new("group", std::slice::from_ref(&orders), "m");
    let member = log.join(s).expect("joined");
    let held = member.claim(10, Duration::ZERO).expect("claimed");
    assert_eq!(held.len(), 3);
    database
        .client()
        .batch_execute("DELETE FROM topic_orders WHERE msg_offset = 1")
        .expect("deleted");
    let dead = |n: usize| (held[n].claim.clone(), Outcome::Dead("no".into()));
    let settled = member.settle(&[dead(0), dead(1), (held[2].claim.clone(), Outcome::Finished)]);
    assert_eq!(settled, Ok(vec![Settled::Done; 3]));
    let next = member.claim(10, Duration::ZERO).expect("claimed");
    assert_eq!(next.iter().map(|d| d.event.offset).collect::<Vec<_>>(), [3]);
    let letters = log.read(&topic("orders.dead"), &Read::default()).expect("read");
    assert_eq!(letters.iter().map(|letter| &*letter.key).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn a_database_of_the_first_layout_goes_on() {
    let database = Database::create();
    let (log, orders) = orders(&database);
    put(&*log, &orders, "a", 2);
    let s = Subscription::new("group", std::slice::from_ref(&orders), "m");
    let member = log.join(s.clone()).expect("joined");
    assert_eq!(member.claim(10, Duration::ZERO).expect("claimed").len(), 1);
    drop(member);
    drop(log);
    thread::sleep(Duration::from_millis(300));
    database
        .client()
        .batch_execute(
            "ALTER TABLE consumer_group_events DROP COLUMN turn, DROP COLUMN step;
             UPDATE spacer_layout SET version = 1",
        )
        .expect("set back");
    let log = database.open(Limits::default());
    put(&*log, &orders, "b", 1);
    let member = log.join(s).expect("joined");
    let found = member.claim(10, Duration::ZERO).expect("claimed");
    assert_eq!(found.iter().map(|d| d.event.offset).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(count(&database, "SELECT version::int8 FROM spacer_layout"), 2);
}
