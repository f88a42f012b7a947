//! Storing: order, atomicity, retries, limits.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc};
use std::thread;

use eventlog::{Append, Error, Invalid, Limits, NewEvent, Read};

use super::*;

pub fn offsets_follow_each_other(store: &dyn Store) {
    let (log, orders) = orders(store);
    let found: Vec<Offset> = (0..5).map(|n| put(&*log, &orders, "a", n)).collect();
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{found:?}");
    let events = log.read(&orders, &Read::default()).expect("read");
    assert_eq!(events.iter().map(|event| event.offset).collect::<Vec<_>>(), found);
    assert!(events.windows(2).all(|pair| pair[0].time <= pair[1].time));
}

pub fn a_retried_append_is_stored_once(store: &dyn Store) {
    let (log, orders) = orders(store);
    let append = Append::new(vec![event(&orders, "a", 1), event(&orders, "b", 2)]);
    let first = log.append(append.clone()).expect("appended");
    put(&*log, &orders, "c", 3);
    let again = elsewhere(store, &log).append(append).expect("appended");
    assert_eq!(first, again);
    assert_eq!(log.read(&orders, &Read::default()).expect("read").len(), 3);
}

pub fn a_retried_append_to_several_topics_has_the_same_places(store: &dyn Store) {
    let (log, orders) = orders(store);
    let payments = topic("payments");
    log.declare(std::slice::from_ref(&payments)).expect("declared");
    put(&*log, &payments, "a", 0);
    let topics = [&orders, &payments, &payments, &orders, &orders, &payments];
    let events = topics.iter().enumerate().map(|(n, topic)| event(topic, "a", n));
    let append = Append::new(events.collect());
    let first = log.append(append.clone()).expect("appended");
    assert_eq!(first.len(), topics.len());
    for (n, (topic, at)) in topics.iter().zip(&first).enumerate() {
        let read = Read { partition: at.partition, from: at.offset, limit: 1, ..Read::default() };
        let events = log.read(topic, &read).expect("read");
        assert_eq!((events[0].offset, number(&events[0].value)), (at.offset, n));
    }
    assert_eq!(elsewhere(store, &log).append(append), Ok(first));
    assert_eq!(log.read(&orders, &Read::default()).expect("read").len(), 3);
}

pub fn a_retry_among_concurrent_appends_is_stored_once(store: &dyn Store) {
    let (log, orders) = orders(store);
    let append = Append::new(vec![event(&orders, "a", 1)]);
    let (log, append) = (&log, &append);
    let stored: HashSet<_> = thread::scope(|scope| {
        let send = || log.append(append.clone()).expect("appended")[0];
        let all: Vec<_> = (0..8).map(|_| scope.spawn(send)).collect();
        all.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(stored.len(), 1);
    assert_eq!(log.read(&orders, &Read::default()).expect("read").len(), 1);
}

pub fn an_append_is_stored_together_or_not_at_all(store: &dyn Store) {
    let (log, orders) = orders(store);
    let events = vec![event(&orders, "a", 1), event(&topic("nowhere"), "a", 2)];
    let error = fail(log.append(Append::new(events)));
    assert_eq!(error, Invalid::UndeclaredTopic("nowhere".into()).into());
    assert!(!error.retry());
    assert_eq!(log.read(&orders, &Read::default()).expect("read"), []);

    let payments = topic("payments");
    log.declare(std::slice::from_ref(&payments)).expect("declared");
    put_all(&*log, vec![event(&orders, "a", 1), event(&payments, "a", 2)]);
    assert_eq!(log.read(&payments, &Read::default()).expect("read").len(), 1);
}

pub fn an_id_is_not_good_for_other_events(store: &dyn Store) {
    let (log, orders) = orders(store);
    let append = Append::new(vec![event(&orders, "a", 1)]);
    log.append(append.clone()).expect("appended");
    let events = vec![event(&orders, "a", 1), event(&orders, "b", 2)];
    let error = fail(log.append(Append { events, ..append.clone() }));
    assert_eq!(error, Invalid::AppendIdReused(append.id.to_string()).into());
}

pub fn concurrent_appends_all_get_their_own_offset(store: &dyn Store) {
    let (_, orders) = orders(store);
    let orders = &orders;
    let found: Vec<(Offset, usize)> = thread::scope(|scope| {
        let append = |thread: usize| {
            let log = store.open();
            let put = |n| (put(&*log, orders, "k", n), n);
            (thread * 100..thread * 100 + 25).map(put).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..4).map(|t| scope.spawn(move || append(t))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let read = Read { limit: 1000, ..Read::default() };
    let events = store.open().read(orders, &read).expect("read");
    let stored: HashSet<_> = events.iter().map(|e| (e.offset, number(&e.value))).collect();
    assert_eq!(events.len(), 100);
    assert_eq!(stored, found.into_iter().collect());
}

/// The log read along with concurrent appends, always from after the last event seen, is the whole log.
pub fn a_reader_never_finds_an_event_below_where_it_has_read(store: &dyn Store) {
    let (log, orders) = orders(store);
    let (orders, over) = (&orders, AtomicBool::new(false));
    let over = &over;
    thread::scope(|scope| {
        let append = |thread: usize| {
            let log = store.open();
            for n in 0..30 {
                let events = (0..=n % 4).map(|_| event(orders, "k", thread)).collect();
                put_all(&*log, events);
            }
        };
        let writers: Vec<_> = (0..4).map(|t| scope.spawn(move || append(t))).collect();
        let reader = scope.spawn(|| {
            let (log, mut from, mut seen) = (store.open(), 0, Vec::new());
            loop {
                let last_round = over.load(Ordering::Acquire);
                let read = Read { from, limit: 7, ..Read::default() };
                let events = log.read(orders, &read).expect("read");
                from = events.last().map_or(from, |event| event.offset + 1);
                seen.extend(events.iter().map(|event| event.offset));
                if last_round && events.is_empty() {
                    return seen;
                }
            }
        });
        writers.into_iter().for_each(|thread| thread.join().expect("no panic"));
        over.store(true, Ordering::Release);
        let seen = reader.join().expect("no panic");
        let all = log.read(orders, &Read { limit: 1000, ..Read::default() }).expect("read");
        assert_eq!(seen, all.iter().map(|event| event.offset).collect::<Vec<_>>());
    });
}

pub fn submit_answers_each_append(store: &dyn Store) {
    let (log, orders) = orders(store);
    let (send, receive) = mpsc::channel();
    for n in 0..100 {
        let topic = if n % 10 == 3 { topic("nowhere") } else { orders.clone() };
        let send = send.clone();
        let done = Box::new(move |outcome: Result<_>| {
            send.send((n, outcome.is_ok())).expect("a receiver")
        });
        log.submit(Append::new(vec![event(&topic, "a", n)]), done);
    }
    drop(send);
    let mut answers: Vec<(usize, bool)> = receive.iter().collect();
    answers.sort_unstable();
    assert_eq!(answers, (0..100).map(|n| (n, n % 10 != 3)).collect::<Vec<_>>());
    let events = log.read(&orders, &Read { limit: 1000, ..Read::default() }).expect("read");
    let stored: Vec<usize> = events.iter().map(|event| number(&event.value)).collect();
    assert_eq!(stored, (0..100).filter(|n| n % 10 != 3).collect::<Vec<_>>());
}

pub fn wrong_appends_are_refused_with_the_reason(store: &dyn Store) {
    let limits = Limits { event_size: 64, key_size: 8, ..Limits::default() };
    let log = store.with_limits(limits);
    let t = topic("limited");
    log.declare(std::slice::from_ref(&t)).expect("declared");
    let append = |key: &str, value: &[u8]| {
        fail(log.append(Append::new(vec![NewEvent::new(&t, key, value)]))).to_string()
    };
    assert_eq!(
        append("k", format!("\"{}\"", "x".repeat(70)).as_bytes()),
        "event of 73 bytes in topic \"limited\", key \"k\": at most 64 are allowed"
    );
    assert_eq!(
        append("longer than eight", b"1"),
        "key of 17 bytes in topic \"limited\": at most 8 are allowed"
    );
    for value in [&b"{"[..], b"", b"nope", b"1 2", b"\"\xff\""] {
        let error = append("k", value);
        assert!(
            error.starts_with("value in topic \"limited\", key \"k\" is not JSON: "),
            "{error}"
        );
    }
    assert_eq!(fail(log.append(Append::new(Vec::new()))), Error::Invalid(Invalid::NoEvents));
    for name in ["", ".hidden", "a b", "a\"b", "ä", &"x".repeat(201)] {
        assert_eq!(fail(Topic::new(name)), Invalid::TopicName(name.into()).into());
    }
    assert_eq!(log.read(&t, &Read::default()).expect("read"), []);
}

pub fn headers_and_odd_strings_come_back(store: &dyn Store) {
    let (log, orders) = orders(store);
    let mut sent = NewEvent::new(&orders, "'; DROP TABLE \"x\" -- \u{1F980}", r#"{"ä":"\u0000"}"#);
    sent.headers = vec![("trace".into(), "1\n2\"3".into()), ("empty".into(), String::new())];
    put_all(&*log, vec![sent.clone()]);
    put(&*log, &orders, "", 1);
    let events = log.read(&orders, &Read::default()).expect("read");
    assert_eq!(events[0].key, sent.key);
    assert_eq!(events[0].value, sent.value);
    assert_eq!(events[0].headers, sent.headers);
    assert_eq!(events[0].header("trace"), Some("1\n2\"3"));
    assert_eq!(events[1].key, "");
}

/// Kept so that the trait stays usable from several threads behind an `Arc`.
fn _is_shareable(log: Arc<dyn EventLog>) -> impl Send + Sync {
    log
}

pub fn an_append_is_held_against_the_limits_of_the_queue(store: &dyn Store) {
    let log = store.with_limits(Limits { queue: 10, queue_size: 500, ..Limits::default() });
    let orders = topic("orders");
    log.declare(std::slice::from_ref(&orders)).expect("declared");
    let events = |count| (0..count).map(|n| event(&orders, "a", n)).collect::<Vec<_>>();
    let refused = |events| fail(log.append(Append::new(events))).to_string();
    assert_eq!(refused(events(11)), "append of 11 events: at most 10 are allowed");
    let value = format!("\"{}\"", "x".repeat(297));
    let large = || NewEvent::new(&orders, "a", value.clone());
    assert_eq!(refused(vec![large(), large()]), "append of 600 bytes: at most 500 are allowed");
    assert_eq!(put_all(&*log, events(10)).len(), 10);
    assert_eq!(put_all(&*log, vec![large()]).len(), 1);
}
