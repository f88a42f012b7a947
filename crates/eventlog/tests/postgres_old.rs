//! Databases of the first Spacer: what is in them, what its programs go on writing, and layouts that are refused.

mod postgres_server;

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use eventlog::{
    Append, Consumer, Error, EventLog, Invalid, Limits, NewEvent, Read, Subscription, Topic,
};
use postgres::Client;
use postgres_server::{topic, Database};

/// The first Spacer's tables, as its programs make them.
fn old_tables(client: &mut Client, topic: &str) {
    client
        .batch_execute(&format!(
            "CREATE TABLE IF NOT EXISTS consumer_group_offsets (
               group_offset BIGINT NOT NULL, group_id TEXT NOT NULL, topic TEXT NOT NULL);
             CREATE UNIQUE INDEX IF NOT EXISTS group_topic_idx
               on consumer_group_offsets (group_id, topic);
             CREATE TABLE IF NOT EXISTS topic_{topic} (
               msg_offset BIGSERIAL PRIMARY KEY, key TEXT NOT NULL, value TEXT NOT NULL,
               created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW())"
        ))
        .expect("made");
}

fn old_insert(client: &mut Client, topic: &str, key: &str) {
    let sql = format!("INSERT INTO topic_{topic} (key, value) VALUES ($1, $2)");
    client.execute(&sql, &[&key, &format!("{{\"k\":\"{key}\"}}")]).expect("inserted");
}

fn old_position(client: &mut Client, group: &str, topic: &str, offset: i64) {
    let sql = "INSERT INTO consumer_group_offsets (group_offset, group_id, topic)
               VALUES ($1, $2, $3)";
    client.execute(sql, &[&offset, &group, &topic]).expect("inserted");
}

fn join(log: &dyn EventLog, topic: &Topic, group: &str) -> Box<dyn Consumer> {
    log.join(Subscription::new(group, std::slice::from_ref(topic), "m")).expect("joined")
}

fn finish_all(member: &dyn Consumer) -> Vec<String> {
    let found = member.claim(64, Duration::ZERO).expect("claimed");
    let finish = |delivery: eventlog::Delivery| {
        member.finish(&delivery.claim).expect("finished");
        delivery.event.key
    };
    found.into_iter().map(finish).collect()
}

/// The position is the last offset that was read. One of the groups was stopped for ever by a gap after it.
#[test]
fn positions_carry_over_exactly() {
    let database = Database::create();
    let mut old = database.client();
    old_tables(&mut old, "Orders");
    for n in 1..=4 {
        old_insert(&mut old, "Orders", &n.to_string());
    }
    old.batch_execute("BEGIN; INSERT INTO topic_orders (key, value) VALUES ('x', ''); ROLLBACK")
        .expect("rolled back");
    for n in 6..=8 {
        old_insert(&mut old, "Orders", &n.to_string());
    }
    for (group, last) in [("none", 0), ("some", 3), ("stuck", 4), ("all", 8)] {
        old_position(&mut old, group, "Orders", last);
    }
    let log = database.open(Limits::default());
    // It is there before anybody declares it, under the name that the groups use.
    let orders = topic("Orders");
    assert_eq!(log.topics().expect("topics"), [orders.clone(), topic("Orders.dead")]);
    log.declare(std::slice::from_ref(&orders)).expect("declared");
    let groups = log.offsets(&orders).expect("offsets").remove(0).groups;
    let groups: Vec<_> = groups.iter().map(|g| (g.group.as_str(), g.committed, g.lag)).collect();
    assert_eq!(groups, [("all", 9, 0), ("none", 1, 7), ("some", 4, 4), ("stuck", 5, 3)]);
    let rest = |group| finish_all(&*join(&*log, &orders, group));
    assert_eq!(rest("none"), ["1", "2", "3", "4", "6", "7", "8"]);
    assert_eq!(rest("some"), ["4", "6", "7", "8"]);
    assert_eq!(rest("stuck"), ["6", "7", "8"]);
    assert_eq!(rest("all"), [""; 0]);
    assert_eq!(rest("new"), ["1", "2", "3", "4", "6", "7", "8"]);
    // And the old meaning is kept for whoever looks at the table.
    let sql = "SELECT DISTINCT group_offset FROM consumer_group_offsets";
    assert_eq!(old.query_one(sql, &[]).expect("one").get::<_, i64>(0), 8);
    let first = log.read(&orders, &Read { limit: 1, ..Read::default() }).expect("read").remove(0);
    assert_eq!((first.offset, &first.value[..]), (1, &br#"{"k":"1"}"#[..]));
}

#[test]
fn old_programs_go_on_inserting() {
    let database = Database::create();
    let mut old = database.client();
    old_tables(&mut old, "orders");
    old_insert(&mut old, "orders", "before");
    let (log, orders) = (database.open(Limits::default()), topic("orders"));
    log.declare(std::slice::from_ref(&orders)).expect("declared");
    let member = join(&*log, &orders, "group");
    // What they run at every start.
    old_tables(&mut old, "orders");
    old_insert(&mut old, "orders", "old");
    log.append(Append::new(vec![NewEvent::new(&orders, "new", "1")])).expect("appended");
    old_insert(&mut old, "orders", "old again");
    assert_eq!(finish_all(&*member), ["before", "old", "new", "old again"]);
    // A topic that they make later, too.
    old_tables(&mut old, "Later");
    old_insert(&mut old, "Later", "first");
    let later = topic("Later");
    log.declare(std::slice::from_ref(&later)).expect("declared");
    assert_eq!(log.last(&later, "first").expect("read").map(|event| event.offset), Some(1));
    // And topics that this program has made.
    log.declare(&[topic("Ours")]).expect("declared");
    old_tables(&mut old, "Ours");
    old_insert(&mut old, "Ours", "theirs");
    assert_eq!(log.read(&topic("Ours"), &Read::default()).expect("read").len(), 1);
}

/// A table's name has lost the case of its topic's; without a group nobody knows it until it is declared.
#[test]
fn a_topic_whose_case_was_lost_gets_it_back_once() {
    let database = Database::create();
    let mut old = database.client();
    old_tables(&mut old, "CamelCase");
    old_insert(&mut old, "CamelCase", "a");
    let log = database.open(Limits::default());
    assert_eq!(log.topics().expect("topics"), [topic("camelcase"), topic("camelcase.dead")]);
    log.declare(&[topic("CamelCase")]).expect("declared");
    assert_eq!(log.topics().expect("topics"), [topic("CamelCase"), topic("CamelCase.dead")]);
    assert_eq!(log.read(&topic("CamelCase"), &Read::default()).expect("read").len(), 1);
    let error = log.declare(&[topic("camelcase")]).expect_err("an error");
    assert_eq!(error, Invalid::TopicCase("camelcase".into(), "CamelCase".into()).into());
}

#[test]
fn processes_that_migrate_at_once_do_it_once() {
    let database = Database::create();
    let mut old = database.client();
    old_tables(&mut old, "orders");
    old_insert(&mut old, "orders", "a");
    let (together, orders) = (Barrier::new(6), topic("orders"));
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let log = database.open(Limits::default());
                together.wait();
                log.declare(&[orders.clone(), topic("fresh")]).expect("declared");
                assert_eq!(log.read(&orders, &Read::default()).expect("read").len(), 1);
            });
        }
    });
    let rows = old.query("SELECT version FROM spacer_layout", &[]).expect("read");
    assert_eq!(rows.len(), 1);
}

#[test]
fn newer_layouts_and_other_programs_tables_are_refused() {
    let database = Database::create();
    database.open(Limits::default()).declare(&[topic("orders")]).expect("declared");
    let mut client = database.client();
    client.batch_execute("UPDATE spacer_layout SET version = 99").expect("changed");
    let error = database.open(Limits::default()).topics().expect_err("an error");
    assert!(matches!(error, Error::Invalid(Invalid::NewerLayout { found: 99, .. })), "{error}");

    let database = Database::create();
    let mut client = database.client();
    client.batch_execute("CREATE TABLE topic_orders (theirs text)").expect("made");
    client.batch_execute("CREATE TABLE others (x text)").expect("made");
    let log = database.open(Limits::default());
    assert_eq!(log.topics().expect("topics"), []);
    let error = log.declare(&[topic("orders")]).expect_err("an error").to_string();
    assert!(error.contains("table topic_orders is there and has no fitting column"), "{error}");

    let database = Database::create();
    database.client().batch_execute("CREATE TABLE appends (theirs text)").expect("made");
    let error = database.open(Limits::default()).topics().expect_err("an error");
    assert!(matches!(error, Error::Invalid(Invalid::ForeignStore { .. })), "{error}");
}

#[test]
fn names_and_keys_of_any_length_and_kind_are_stored() {
    let database = Database::create();
    let log = database.open(Limits::default());
    let long = "long.".repeat(39);
    let names = [format!("{long}aaaaa"), format!("{long}bbbbb"), "a-b.c_D".to_owned()];
    for name in &names {
        log.declare(&[topic(name)]).expect("declared");
        let noise: String = (0..4096u32).map(|n| char::from(33 + (n * n % 89) as u8)).collect();
        let event = NewEvent::new(&topic(name), noise.clone(), "1");
        log.append(Append::new(vec![event])).expect("appended");
        assert!(log.last(&topic(name), &noise).expect("read").is_some());
        let member = join(&*log, &topic(name), "group");
        assert_eq!(finish_all(&*member), [noise]);
    }
    let event = NewEvent::new(&topic(&names[2]), "a\0b", "1");
    let error = log.append(Append::new(vec![event])).expect_err("an error");
    assert!(matches!(error, Error::Invalid(Invalid::KeyNul { .. })), "{error}");
}
