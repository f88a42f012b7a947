//! Offsets that are committed late, or never: transactions of other programs beside the log. Nothing may be skipped, and
//! nothing may stop for good.

mod postgres_server;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use eventlog::{
    Append, Consumer, EventLog, Limits, NewEvent, Offset, Outcome, Read, Start, Subscription, Topic,
};
use postgres::Transaction;
use postgres_server::{orders, topic, Database};

const LONG: Duration = Duration::from_secs(10);

fn put(log: &dyn EventLog, topic: &Topic, key: &str) -> Offset {
    let event = NewEvent::new(topic, key, "1");
    log.append(Append::new(vec![event])).expect("appended")[0].offset
}

/// What the first Spacer does.
fn insert(transaction: &mut Transaction<'_>, key: &str) {
    let sql = "INSERT INTO topic_orders (key, value) VALUES ($1, '1')";
    transaction.execute(sql, &[&key]).expect("inserted");
}

fn join(log: &dyn EventLog, topic: &Topic) -> Box<dyn Consumer> {
    log.join(Subscription::new("group", std::slice::from_ref(topic), "m")).expect("joined")
}

/// Claims and finishes until nothing comes for so long.
fn handled(member: &dyn Consumer, quiet: Duration) -> Vec<String> {
    let mut keys = Vec::new();
    loop {
        let found = member.claim(10, quiet).expect("claimed");
        if found.is_empty() {
            return keys;
        }
        for delivery in found {
            assert!(member.finish(&delivery.claim).is_ok());
            keys.push(delivery.event.key);
        }
    }
}

fn read(log: &dyn EventLog, topic: &Topic) -> Vec<String> {
    let events = log.read(topic, &Read::default()).expect("read");
    events.into_iter().map(|event| event.key).collect()
}

/// Takes the first event that comes, or fails.
fn next(member: &dyn Consumer) -> String {
    let found = member.claim(1, LONG).expect("claimed").pop().expect("an event in time");
    member.settle_one(&found.claim, Outcome::Finished).expect("finished");
    found.event.key
}

#[test]
fn two_transactions_that_commit_in_the_opposite_order_lose_nothing() {
    let database = Database::create();
    let (log, orders) = orders(&database);
    let member = join(&*log, &orders);
    put(&*log, &orders, "before");
    assert_eq!(handled(&*member, Duration::ZERO), ["before"]);

    let (mut first, mut second) = (database.client(), database.client());
    let mut late = first.transaction().expect("begun");
    insert(&mut late, "late");
    let mut early = second.transaction().expect("begun");
    insert(&mut early, "early");
    early.commit().expect("committed");
    // A second long the later offset is there and the earlier isn't.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        assert_eq!(handled(&*member, Duration::from_millis(50)), [""; 0]);
        assert_eq!(read(&*log, &orders), ["before"]);
        let after = Read { from: 3, ..Read::default() };
        assert_eq!(log.read(&orders, &after).expect("read"), []);
        let of_key = Read { key: Some("early".into()), ..Read::default() };
        assert_eq!(log.read(&orders, &of_key).expect("read"), []);
        assert_eq!(log.last(&orders, "early").expect("read"), None);
        assert_eq!(log.offsets(&orders).expect("offsets")[0].next, 2);
    }
    // A log that is opened meanwhile knows no better.
    assert_eq!(read(&*database.open(Limits::default()), &orders), ["before"]);
    late.commit().expect("committed");
    assert_eq!(handled(&*member, Duration::from_millis(500)), ["late", "early"]);
    assert_eq!(read(&*log, &orders), ["before", "late", "early"]);
    assert_eq!(log.offsets(&orders).expect("offsets")[0].groups[0].lag, 0);
}

#[test]
fn a_rolled_back_insert_leaves_a_gap_that_stops_nobody() {
    let database = Database::create();
    let (log, orders) = orders(&database);
    let member = join(&*log, &orders);
    let mut client = database.client();
    for round in 0..3 {
        let mut given_up = client.transaction().expect("begun");
        insert(&mut given_up, "given up");
        insert(&mut given_up, "given up");
        given_up.rollback().expect("rolled back");
        put(&*log, &orders, &round.to_string());
        assert_eq!(next(&*member), round.to_string());
    }
    assert_eq!(read(&*log, &orders), ["0", "1", "2"]);
    assert_eq!(read(&*database.open(Limits::default()), &orders), ["0", "1", "2"]);
    let found = log.offsets(&orders).expect("offsets").remove(0);
    assert_eq!((found.groups[0].lag, found.groups[0].committed), (0, found.next));
}

#[test]
fn a_gap_in_the_middle_of_a_claim_does_not_end_it() {
    let database = Database::create();
    let (log, orders) = orders(&database);
    put(&*log, &orders, "a");
    let mut client = database.client();
    let mut given_up = client.transaction().expect("begun");
    insert(&mut given_up, "given up");
    given_up.rollback().expect("rolled back");
    put(&*log, &orders, "b");
    let found = join(&*log, &orders).claim(10, Duration::ZERO).expect("claimed");
    assert_eq!(found.len(), 2);
}

/// The transaction that is left open is the server's oldest; all that came after it go on elsewhere.
#[test]
fn a_transaction_held_open_stops_its_topic_only_and_is_handled_after() {
    let database = Database::create();
    let (log, orders) = orders(&database);
    let payments = topic("payments");
    log.declare(std::slice::from_ref(&payments)).expect("declared");
    let member = join(&*log, &orders);
    let s = Subscription::new("other", std::slice::from_ref(&payments), "m");
    let other = log.join(s).expect("joined");

    let mut client = database.client();
    let mut held = client.transaction().expect("begun");
    insert(&mut held, "held");
    for n in 0..30 {
        put(&*log, &orders, &format!("o{n}"));
        put(&*log, &payments, &format!("p{n}"));
        assert_eq!(next(&*other), format!("p{n}"));
    }
    assert_eq!(handled(&*member, Duration::from_millis(300)), [""; 0]);
    let mut more = database.client();
    let mut later = more.transaction().expect("begun");
    insert(&mut later, "later");
    put(&*log, &orders, "last");
    held.commit().expect("committed");
    // It goes on to the next open transaction, and behind that when it has ended.
    let mut expected: Vec<String> = vec!["held".into()];
    expected.extend((0..30).map(|n| format!("o{n}")));
    assert_eq!(handled(&*member, Duration::from_millis(500)), expected);
    later.rollback().expect("rolled back");
    assert_eq!(next(&*member), "last");
}

#[test]
fn a_transaction_prepared_for_two_phases_is_waited_for() {
    let database = Database::create();
    let setting = "SHOW max_prepared_transactions";
    let row = database.client().query_one(setting, &[]).expect("shown");
    assert_ne!(row.get::<_, &str>(0), "0", "the server must allow prepared transactions");
    let (log, orders) = orders(&database);
    let member = join(&*log, &orders);
    let mut client = database.client();
    // PostgreSQL doesn't prepare a transaction that has notified: such programs say that they do it themselves.
    let insert = "BEGIN; SET LOCAL spacer.own = 'on'; INSERT INTO topic_orders (key, value) VALUES ('prepared', '1')";
    client.batch_execute(insert).expect("inserted");
    put(&*log, &orders, "after");
    assert_eq!(handled(&*member, Duration::from_millis(100)), [""; 0]);
    // Its locks change their holder's name with this.
    let name = database.name();
    client.batch_execute(&format!("PREPARE TRANSACTION '{name}'")).expect("prepared");
    drop(client);
    assert_eq!(handled(&*member, Duration::from_millis(300)), [""; 0]);
    let commit = format!("COMMIT PREPARED '{name}'");
    database.client().batch_execute(&commit).expect("committed");
    assert_eq!(handled(&*member, Duration::from_millis(500)), ["prepared", "after"]);
}

/// Where a group begins mustn't lie behind an event that is yet to come.
#[test]
fn groups_that_begin_beside_an_open_transaction_get_its_events() {
    let database = Database::create();
    let (log, orders) = orders(&database);
    put(&*log, &orders, "before");
    let mut client = database.client();
    let mut late = client.transaction().expect("begun");
    insert(&mut late, "late");
    put(&*log, &orders, "early");
    let begin = |group: &str, start| {
        let s = Subscription::new(group, std::slice::from_ref(&orders), "m");
        log.join(Subscription { start, ..s }).expect("joined")
    };
    let earliest = begin("earliest", Start::Earliest);
    let latest = begin("latest", Start::Latest);
    let time = begin("time", Start::Time(eventlog::Timestamp::now()));
    late.commit().expect("committed");
    for (member, expected) in [
        (&earliest, &["before", "late", "early"][..]),
        (&latest, &["late", "early"]),
        (&time, &["late", "early"]),
    ] {
        assert_eq!(handled(&**member, Duration::from_millis(500)), expected);
    }
}

#[test]
fn inserts_of_other_programs_wake_consumers_at_once() {
    let database = Database::create();
    let (log, orders) = orders(&database);
    let member = join(&*log, &orders);
    let mut client = database.client();
    let begun = Instant::now();
    thread::scope(|scope| {
        for n in 0..20 {
            let waiter = scope.spawn(|| next(&*member));
            thread::sleep(Duration::from_millis(10));
            let sql = "INSERT INTO topic_orders (key, value) VALUES ($1, '1')";
            client.execute(sql, &[&n.to_string()]).expect("inserted");
            assert_eq!(waiter.join().expect("no panic"), n.to_string());
        }
    });
    // Without wake-ups each would take up to the time after which a member looks anyway: two seconds.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

/// Other programs that commit and roll back in any order, beside the log's own appends: a reader that always goes on from
/// where it was, and a consumer, see what is in the table in the end.
#[test]
fn readers_beside_many_transactions_in_any_order_see_everything() {
    let database = Database::create();
    let (log, orders) = orders(&database);
    let member = join(&*log, &orders);
    let over = AtomicBool::new(false);
    let (database, log, orders, over) = (&database, &*log, &orders, &over);
    let (seen, consumed) = thread::scope(|scope| {
        let foreign = |me: u64| {
            let mut client = database.client();
            for n in 0..40 {
                let mut transaction = client.transaction().expect("begun");
                for _ in 0..=n % 3 {
                    insert(&mut transaction, &format!("{me} {n}"));
                    thread::sleep(Duration::from_millis((me * 7 + n * 5) % 11));
                }
                match (me + n) % 4 {
                    0 => transaction.rollback().expect("rolled back"),
                    _ => transaction.commit().expect("committed"),
                }
            }
        };
        let mut writers: Vec<_> = (0..4).map(|me| scope.spawn(move || foreign(me))).collect();
        writers.push(scope.spawn(|| {
            for n in 0..100 {
                put(log, orders, &format!("own {n}"));
                thread::sleep(Duration::from_millis(3));
            }
        }));
        let reader = scope.spawn(|| {
            let (mut from, mut seen) = (0, Vec::new());
            loop {
                let last_round = over.load(Ordering::Acquire);
                let events = log.read(orders, &Read { from, ..Read::default() }).expect("read");
                from = events.last().map_or(from, |event| event.offset + 1);
                seen.extend(events.iter().map(|event| event.offset));
                if last_round && events.is_empty() {
                    return seen;
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        let consumer = scope.spawn(|| {
            let mut seen = Vec::new();
            loop {
                let last_round = over.load(Ordering::Acquire);
                let found = member.claim(10, Duration::from_millis(200)).expect("claimed");
                for delivery in &found {
                    member.finish(&delivery.claim).expect("finished");
                    seen.push(delivery.event.offset);
                }
                if last_round && found.is_empty() {
                    return seen;
                }
            }
        });
        writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
        over.store(true, Ordering::Release);
        (reader.join().expect("no panic"), consumer.join().expect("no panic"))
    });
    let rows = database
        .client()
        .query("SELECT msg_offset FROM topic_orders ORDER BY 1", &[])
        .expect("read");
    let stored: Vec<Offset> = rows.iter().map(|row| row.get::<_, i64>(0) as Offset).collect();
    assert!(stored.len() > 200 && stored.last() > Some(&(stored.len() as u64)), "{}", stored.len());
    assert_eq!(seen, stored);
    let mut consumed = consumed;
    consumed.sort_unstable();
    assert_eq!(consumed, stored);
}
