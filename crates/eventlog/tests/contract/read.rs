//! Reading: ranges, keys, times.

use std::thread;

use eventlog::{Invalid, Read, Timestamp};

use super::*;

pub fn from_and_limit_choose_a_range(store: &dyn Store) {
    let (log, orders) = orders(store);
    let at = put_all(&*log, (0..10).map(|n| event(&orders, "a", n)).collect());
    let read = |from, limit| {
        let events = log.read(&orders, &Read { from, limit, ..Read::default() }).expect("read");
        events.iter().map(|event| number(&event.value)).collect::<Vec<_>>()
    };
    assert_eq!(read(0, 3), [0, 1, 2]);
    assert_eq!(read(at[4], 3), [4, 5, 6]);
    assert_eq!(read(at[8], 100), [8, 9]);
    assert_eq!(read(at[9] + 1, 100), [0; 0]);
    assert_eq!(read(u64::MAX, 1), [0; 0]);
    assert_eq!(read(0, 0), [0; 0]);
}

pub fn a_key_filters(store: &dyn Store) {
    let (log, orders) = orders(store);
    let keys = ["a", "b", "a", "A", "b"];
    put_all(&*log, keys.iter().enumerate().map(|(n, key)| event(&orders, key, n)).collect());
    let read = Read { key: Some("b".into()), ..Read::default() };
    let events = log.read(&orders, &read).expect("read");
    assert_eq!(events.iter().map(|e| number(&e.value)).collect::<Vec<_>>(), [1, 4]);
    let read = Read { key: Some("a".into()), from: events[0].offset, ..Read::default() };
    let events = log.read(&orders, &read).expect("read");
    assert_eq!(events.iter().map(|e| number(&e.value)).collect::<Vec<_>>(), [2]);
}

pub fn last_is_the_newest_of_its_key(store: &dyn Store) {
    let (log, orders) = orders(store);
    put_all(&*log, vec![event(&orders, "a", 1), event(&orders, "a", 2), event(&orders, "b", 3)]);
    let last = |key: &str| log.last(&orders, key).expect("read").map(|e| number(&e.value));
    assert_eq!((last("a"), last("b"), last("c")), (Some(2), Some(3), None));
}

pub fn an_undeclared_topic_is_an_error(store: &dyn Store) {
    let (log, _) = orders(store);
    let nowhere = topic("nowhere");
    let undeclared = eventlog::Error::from(Invalid::UndeclaredTopic("nowhere".into()));
    assert_eq!(fail(log.read(&nowhere, &Read::default())), undeclared);
    assert_eq!(fail(log.last(&nowhere, "a")), undeclared);
    assert_eq!(fail(log.offsets(&nowhere)), undeclared);
    assert_eq!(fail(log.offset_at(&nowhere, 0, Timestamp(0))), undeclared);
    assert_eq!(log.join(subscription(&nowhere, "m")).err(), Some(undeclared));
    let (log, orders) = orders(store);
    let read = Read { partition: 1, ..Read::default() };
    let error = fail(log.read(&orders, &read)).to_string();
    assert_eq!(error, "partition 1 of topic \"orders\" does not exist");
}

pub fn declaring_again_changes_nothing(store: &dyn Store) {
    let (log, orders) = orders(store);
    put(&*log, &orders, "a", 1);
    log.declare(&[orders.clone(), orders.clone()]).expect("declared");
    assert_eq!(log.read(&orders, &Read::default()).expect("read").len(), 1);
}

pub fn times_find_offsets(store: &dyn Store) {
    let (log, orders) = orders(store);
    assert_eq!(log.offset_at(&orders, 0, Timestamp(0)).ok(), Some(offsets(&*log, &orders).next));
    for n in 0..9 {
        put(&*log, &orders, "a", n);
        thread::sleep(Duration::from_millis(2));
    }
    let events = log.read(&orders, &Read::default()).expect("read");
    let at = |time| log.offset_at(&orders, 0, Timestamp(time)).expect("an offset");
    for event in &events {
        let first = events.iter().find(|e| e.time >= event.time).expect("itself");
        assert_eq!(at(event.time.0), first.offset);
    }
    assert_eq!(at(0), events[0].offset);
    assert_eq!(at(events[8].time.0 + 1), events[8].offset + 1);
}

pub fn dead_letter_topics_come_with_their_topic(store: &dyn Store) {
    let (log, _) = orders(store);
    log.declare(&[topic("a.dead")]).expect("declared");
    let topics = log.topics().expect("topics");
    assert_eq!(topics, [topic("a.dead"), topic("orders"), topic("orders.dead")]);
}

pub fn a_page_is_bounded_in_bytes_and_has_at_least_one_event(store: &dyn Store) {
    let (log, orders) = orders(store);
    let value = format!("\"{}\"", "x".repeat(98));
    let large = |key: &str| NewEvent::new(&orders, key, value.clone());
    put_all(&*log, (0..10).map(|n| large(if n % 2 == 0 { "a" } else { "b" })).collect());
    for key in [None, Some("a".to_owned())] {
        let total = if key.is_some() { 5 } else { 10 };
        for (size, expected) in [(0, 1), (101, 1), (202, 2), (303, 3), (310, 3), (5000, total)] {
            let read = Read { size, key: key.clone(), ..Read::default() };
            let found = log.read(&orders, &read).expect("read");
            assert_eq!(found.len(), expected, "{size} bytes of {key:?}");
        }
    }
}
