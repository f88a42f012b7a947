//! What Kafka has and the other drivers don't: partitions, other programs' records, a store that is somewhere else.

mod kafka_support;

use std::collections::{HashMap, HashSet};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use eventlog::{Append, Driver, Error, Limits, NewEvent, Outcome, Settled, Subscription, Topic};
use kafka_support::{brokers, everything, lag, number, orders, wait_until, Kafka};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::ClientConfig;

/// Long enough for a member to have its share.
const LONG: Duration = Duration::from_secs(20);

/// Members come and go while they work. No two have events of a key at the same time, each key is handled in order, and
/// whatever is handed out can be settled: a partition moves only when its running events have ended.
#[test]
fn members_share_partitions_as_they_come_and_go() {
    let kafka = Kafka::with_partitions(6);
    let log = kafka.log(Limits::default());
    log.declare(&[orders()]).expect("declared");
    let (total, keys) = (3000, 40);
    let event = |n: usize| NewEvent::new(&orders(), format!("k{}", n % keys), n.to_string());
    for part in (0..total).collect::<Vec<_>>().chunks(500) {
        log.append(Append::new(part.iter().map(|n| event(*n)).collect())).expect("appended");
    }
    let handled: Mutex<Vec<(usize, String, usize)>> = Mutex::default();
    let running: Mutex<HashSet<String>> = Mutex::default();
    let count = AtomicUsize::new(0);
    let last_ones = AtomicUsize::new(0);
    let work = |me: usize, stay: usize| {
        let subscription = Subscription::new("group", &[orders()], &format!("m{me}"));
        let member = kafka.log(Limits::default()).join(subscription).expect("joined");
        let (begun, mut mine) = (Instant::now(), 0);
        while count.load(Ordering::Relaxed) < total && mine < stay && begun.elapsed() < LONG * 2 {
            if me == 0 && mine > 600 && last_ones.load(Ordering::Relaxed) <= 50 {
                // Most is left for the last one, however long it takes to get its share.
                member.extend().expect("extended");
                thread::sleep(Duration::from_millis(20));
                continue;
            }
            let found = member.claim(8, Duration::from_millis(200)).expect("claimed");
            for delivery in &found {
                let key = delivery.event.key.clone();
                assert!(running.lock().unwrap().insert(key.clone()), "{key} twice at a time");
                handled.lock().unwrap().push((me, key, number(&delivery.event)));
            }
            thread::sleep(Duration::from_millis(20));
            for delivery in &found {
                running.lock().unwrap().remove(&delivery.event.key);
            }
            let all: Vec<_> = found.iter().map(|d| (d.claim.clone(), Outcome::Finished)).collect();
            let settled = member.settle(&all).expect("settled");
            assert!(settled.iter().all(|s| *s == Settled::Done), "{settled:?}");
            mine += found.len();
            count.fetch_add(found.len(), Ordering::Relaxed);
            if me == 2 {
                last_ones.fetch_add(found.len(), Ordering::Relaxed);
            }
        }
        member.leave().expect("left");
    };
    thread::scope(|scope| {
        scope.spawn(|| work(0, total));
        scope.spawn(|| work(1, 200));
        wait_until("the first events", LONG, || count.load(Ordering::Relaxed) >= 300);
        scope.spawn(|| work(2, total));
    });
    let handled = handled.into_inner().unwrap();
    let mut by_key: HashMap<&str, Vec<usize>> = HashMap::new();
    for (_, key, number) in &handled {
        by_key.entry(key).or_default().push(*number);
    }
    for (key, numbers) in by_key {
        let expected: Vec<usize> = (0..total).filter(|n| format!("k{}", n % keys) == key).collect();
        assert_eq!(numbers, expected, "{key}");
    }
    for member in 0..3 {
        let share = handled.iter().filter(|(me, ..)| *me == member).count();
        assert!(share > 50, "member {member} handled {share}");
    }
    wait_until("no lag", LONG, || lag(&*log, &orders()) == 0);
}

#[test]
fn a_key_stays_in_one_partition_and_its_last_event_is_found_there() {
    let kafka = Kafka::with_partitions(12);
    let log = kafka.log(Limits::default());
    log.declare(&[orders()]).expect("declared");
    let event = |n: usize| NewEvent::new(&orders(), "x".repeat(n % 30), n.to_string());
    log.append(Append::new((0..1500).map(event).collect())).expect("appended");
    let mut homes: HashMap<String, HashSet<u32>> = HashMap::new();
    for event in everything(&*log, &orders()) {
        homes.entry(event.key).or_default().insert(event.partition);
    }
    assert_eq!(homes.len(), 30);
    assert!(homes.values().all(|partitions| partitions.len() == 1), "{homes:?}");
    assert!(homes.values().flatten().collect::<HashSet<_>>().len() > 6, "{homes:?}");
    for n in [0, 1, 7, 29] {
        let last = log.last(&orders(), &"x".repeat(n)).expect("read").expect("an event");
        assert_eq!(number(&last), 1470 + n);
    }
    assert_eq!(log.last(&orders(), "nobody's").expect("read"), None);
}

/// Another program's records: no key, no value, no JSON, no UTF-8, and a transaction's marker among the offsets.
#[test]
fn records_of_other_programs_are_handed_out_as_they_are() {
    let kafka = Kafka::with_partitions(1);
    let log = kafka.log(Limits::default());
    log.declare(&[orders()]).expect("declared");
    let name = format!("{}_orders", kafka.app_name);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers().join(",")).set("transactional.id", &kafka.app_name);
    let producer: BaseProducer = config.create().expect("a producer");
    producer.init_transactions(LONG).expect("begun");
    producer.begin_transaction().expect("begun");
    let record = || BaseRecord::<[u8], [u8]>::to(&name);
    producer.send(record().payload(b"no JSON \xff")).expect("sent");
    producer.send(record().key(b"\xffkey")).expect("sent");
    producer.commit_transaction(LONG).expect("committed");
    producer.begin_transaction().expect("begun");
    producer.send(record().payload(b"never happened")).expect("sent");
    producer.flush(LONG).expect("sent");
    producer.abort_transaction(LONG).expect("aborted");
    log.append(Append::new(vec![NewEvent::new(&orders(), "a", "1")])).expect("appended");

    let subscription = Subscription::new("group", &[orders()], "m");
    let member = log.join(subscription).expect("joined");
    let mut found = Vec::new();
    wait_until("three events", LONG, || {
        found.extend(member.claim(10, Duration::from_millis(500)).expect("claimed"));
        found.len() >= 3
    });
    let seen: Vec<_> =
        found.iter().map(|d| (d.event.key.as_str(), d.event.value.as_slice())).collect();
    let replaced = "\u{fffd}key";
    assert_eq!(seen, [("", &b"no JSON \xff"[..]), (replaced, b""), ("a", b"1")]);
    let dead = Outcome::Dead("not JSON".into());
    assert_eq!(member.settle_one(&found[0].claim, dead), Ok(Settled::Done));
    member.finish(&found[1].claim).expect("finished");
    member.finish(&found[2].claim).expect("finished");
    wait_until("no lag", LONG, || lag(&*log, &orders()) == 0);
    let letters = everything(&*log, &Topic::new("orders.dead").expect("a good name"));
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].value, b"no JSON \xff");
}

#[test]
fn a_store_that_is_away_is_unavailable_and_never_hangs() {
    // A port that is nobody's any more.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let driver = Driver::Kafka {
        brokers: vec![address.clone()],
        app_name: "away".into(),
        properties: Vec::new(),
    };
    let append_timeout = Duration::from_millis(500);
    let limits = Limits { queue: 10, append_timeout, ..Limits::default() };
    let log = eventlog::open(&driver, limits).expect("opened");
    let append = |n: usize| {
        let begun = Instant::now();
        let events = (0..n).map(|n| NewEvent::new(&orders(), "a", n.to_string())).collect();
        (log.append(Append::new(events)).expect_err("an error"), begun.elapsed())
    };
    let (error, took) = append(1);
    assert!(matches!(&error, Error::Unavailable { store, .. } if *store == address), "{error}");
    assert!(error.retry());
    assert!(took < append_timeout * 4, "{took:?}");
    // What nobody waits for any more leaves the queue; what fills it makes the next one fail at once.
    wait_until("room", LONG, || matches!(append(10).0, Error::Unavailable { .. }));
    thread::scope(|scope| {
        scope.spawn(|| append(9));
        wait_until("full", LONG, || matches!(append(2).0, Error::Full { limit: 10, .. }));
    });
    let read = log.read(&orders(), &eventlog::Read::default()).expect_err("an error");
    assert!(matches!(read, Error::Unavailable { .. }), "{read}");
    let joined = log.join(Subscription::new("group", &[orders()], "m")).err().expect("an error");
    assert!(matches!(joined, Error::Unavailable { .. }), "{joined}");
    assert!(joined.to_string().contains("Connection refused"), "{joined}");
    let begun = Instant::now();
    drop(log);
    assert!(begun.elapsed() < LONG, "{:?}", begun.elapsed());
}

/// The largest event is stored, handed out, and dies with a long error; an append as large as the queue finds it empty.
#[test]
fn large_events_and_large_appends_go_through() {
    let kafka = Kafka::with_partitions(1);
    let limits = Limits { queue: 10, ..Limits::default() };
    let log = kafka.log(limits.clone());
    log.declare(&[orders()]).expect("declared");
    let many = (1..=10).map(|n| NewEvent::new(&orders(), "many", n.to_string())).collect();
    assert_eq!(log.append(Append::new(many)).expect("appended").len(), 10);
    let value = format!("\"{}\"", "x".repeat(limits.event_size - 5));
    for _ in 0..6 {
        let event = NewEvent::new(&orders(), "big", value.as_bytes());
        log.append(Append::new(vec![event])).expect("appended");
    }
    let member = log.join(Subscription::new("group", &[orders()], "m")).expect("joined");
    let mut large = 0;
    wait_until("six large events", LONG, || {
        for delivery in member.claim(10, Duration::from_millis(500)).expect("claimed") {
            let dead = delivery.event.key == "big";
            large += usize::from(dead && delivery.event.value == value.as_bytes());
            let error = "e".repeat(100_000);
            let outcome = if dead { Outcome::Dead(error) } else { Outcome::Finished };
            assert_eq!(member.settle_one(&delivery.claim, outcome), Ok(Settled::Done));
        }
        large == 6
    });
    let letters = everything(&*log, &Topic::new("orders.dead").expect("a good name"));
    assert!(letters.iter().all(|letter| letter.value == value.as_bytes()));
    assert_eq!(letters.len(), 6);
}

#[test]
fn encryption_passwords_and_compression_are_built_in() {
    for properties in [
        [("security.protocol", "sasl_ssl"), ("sasl.mechanism", "SCRAM-SHA-512")],
        [("security.protocol", "ssl"), ("compression.type", "zstd")],
        [("security.protocol", "sasl_plaintext"), ("sasl.mechanism", "PLAIN")],
    ] {
        let user = [("sasl.username", "u"), ("sasl.password", "p")];
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let driver = Driver::Kafka {
            brokers: vec!["127.0.0.1:1".into()],
            app_name: String::new(),
            properties: properties.into_iter().chain(user).map(own).collect(),
        };
        let limits = Limits { append_timeout: Duration::from_millis(10), ..Limits::default() };
        drop(eventlog::open(&driver, limits).expect("opened"));
    }
}

#[test]
fn settings_that_would_break_the_log_are_refused() {
    let open = |brokers: &[&str], app_name: &str, properties: &[(&str, &str)]| {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let driver = Driver::Kafka {
            brokers: brokers.iter().map(|broker| (*broker).to_owned()).collect(),
            app_name: app_name.to_owned(),
            properties: properties.iter().map(own).collect(),
        };
        eventlog::open(&driver, Limits::default()).err().expect("an error").to_string()
    };
    let local = ["127.0.0.1:1"];
    for (error, expected) in [
        (open(&[], "a", &[]), "no broker is named"),
        (open(&local, "a_b", &[]), "application name \"a_b\""),
        (open(&local, "a", &[("acks", "0")]), "property \"acks\" can't be set: "),
        (open(&local, "a", &[("enable.auto.commit", "true")]), "\"enable.auto.commit\" can't be"),
        (open(&local, "a", &[("partitioner", "random")]), "partitioner \"random\" is not one of"),
        (open(&local, "a", &[("num.partitions", "0")]), "num.partitions \"0\" is not a count"),
        (open(&local, "a", &[("no.such.thing", "1")]), "no.such.thing"),
        (open(&local, "a", &[("security.protocol", "nonsense")]), "security.protocol"),
        (open(&local, "a", &[("max.in.flight", "50")]), "max.in.flight"),
        (open(&local, "a", &[("sasl.pasword", "s3cret")]), "sasl.pasword"),
    ] {
        assert!(error.starts_with("Kafka settings: ") && error.contains(expected), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}
