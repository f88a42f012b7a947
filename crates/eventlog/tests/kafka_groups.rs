//! The positions of many groups, of some that have members, and of those whose broker changes.

mod kafka_support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use eventlog::{Append, Driver, Limits, NewEvent, Start, Subscription, Topic};
use kafka_support::{brokers, lag, number, orders, wait_until, Kafka};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::mocking::MockCoordinator;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{bindings as sys, ClientConfig, Offset, TopicPartitionList};

const LONG: Duration = Duration::from_secs(20);

/// Commits as any program does.
fn commit(group: &str, topic: &str, places: &[(i32, i64, &str)]) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers().join(",")).set("group.id", group);
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    for (partition, offset, text) in places {
        let mut place = list.add_partition(topic, *partition);
        place.set_offset(Offset::Offset(*offset)).expect("an offset");
        place.set_metadata(*text);
    }
    consumer.commit(&list, CommitMode::Sync).expect("committed");
}

/// More groups than are asked for at a time, most of them another application's.
#[test]
fn every_group_of_the_application_is_told_of_and_no_other() {
    let kafka = Kafka::with_partitions(2);
    let log = kafka.log(Limits::default());
    let other = Topic::new("other").expect("a good name");
    log.declare(&[orders(), other]).expect("declared");
    let event = |n: usize| NewEvent::new(&orders(), n.to_string(), n.to_string());
    log.append(Append::new((0..400).map(event).collect())).expect("appended");
    let extents: Vec<_> =
        log.offsets(&orders()).expect("offsets").iter().map(|p| (p.first, p.next)).collect();
    assert!(extents.iter().all(|(first, next)| next - first > 110), "{extents:?}");

    let (own, all) = (90, 290);
    let topic = format!("{}_orders", kafka.app_name);
    let elsewhere = format!("{}_other", kafka.app_name);
    let next = AtomicUsize::new(0);
    let work = || loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let at = n as i64;
        match n {
            // Every third has no position in the second partition, every other has finished 3 events ahead in the first.
            n if n < own => {
                let text = if n.is_multiple_of(2) { "s1;5,3;" } else { "" };
                let places = [(0, at, text), (1, at + 1, "of another program")];
                let places = &places[..if n.is_multiple_of(3) { 1 } else { 2 }];
                commit(&format!("{}-g{n:03}", kafka.app_name), &topic, places);
            }
            n if n < all => {
                commit(&format!("not-{}-g{n:03}", kafka.app_name), &topic, &[(0, at, "")]);
            }
            // In a topic that isn't asked about.
            n if n == all => commit(&format!("{}-idle", kafka.app_name), &elsewhere, &[(0, 1, "")]),
            _ => return,
        }
    };
    thread::scope(|scope| (0..16).for_each(|_| drop(scope.spawn(work))));

    let found = log.offsets(&orders()).expect("offsets");
    let expected = |partition: usize| -> BTreeMap<String, (u64, u64)> {
        let next = extents[partition].1;
        let group = |n: usize| {
            (!n.is_multiple_of(3) || partition == 0).then(|| (n, (n + partition) as u64))
        };
        let ahead = |n: usize| if n.is_multiple_of(2) && partition == 0 { 3 } else { 0 };
        let groups = (0..own).filter_map(group);
        groups.map(|(n, at)| (format!("g{n:03}"), (at, next - at - ahead(n)))).collect()
    };
    for (partition, found) in found.iter().enumerate() {
        let groups = found.groups.iter().map(|g| (g.group.clone(), (g.committed, g.lag)));
        assert_eq!(groups.collect::<BTreeMap<_, _>>(), expected(partition));
        assert_eq!(found.groups.len(), expected(partition).len());
    }
}

/// Its first position can't be set from outside, as the broker refuses that for a group that has members.
#[test]
fn a_topic_that_a_group_with_members_takes_up_begins_where_the_subscription_says() {
    let kafka = Kafka::with_partitions(1);
    let log = kafka.log(Limits::default());
    let more = Topic::new("more").expect("a good name");
    log.declare(&[orders(), more.clone()]).expect("declared");
    for n in 1..=3 {
        log.append(Append::new(vec![NewEvent::new(&more, "a", n.to_string())])).expect("appended");
    }
    let first = log.join(Subscription::new("group", &[orders()], "first")).expect("joined");
    log.append(Append::new(vec![NewEvent::new(&orders(), "a", "0")])).expect("appended");
    let mut delivery = None;
    wait_until("the first member's event", LONG, || {
        delivery = first.claim(1, Duration::from_millis(200)).expect("claimed").pop();
        delivery.is_some()
    });
    first.finish(&delivery.expect("an event").claim).expect("finished");

    let mut both = Subscription::new("group", &[orders(), more.clone()], "second");
    both.start = Start::Offset(1);
    let second = kafka.log(Limits::default()).join(both).expect("joined");
    let mut numbers = Vec::new();
    wait_until("two events", LONG, || {
        assert!(first.claim(1, Duration::ZERO).expect("claimed").is_empty());
        for delivery in second.claim(9, Duration::from_millis(200)).expect("claimed") {
            numbers.push(number(&delivery.event));
            second.finish(&delivery.claim).expect("finished");
        }
        numbers.len() >= 2
    });
    assert_eq!(numbers, [2, 3]);
    wait_until("no lag", LONG, || lag(&*log, &more) == 0);
}

/// librdkafka's own cluster in memory, as a group's coordinator can't be made to move between real brokers at will.
#[test]
fn a_group_is_asked_for_where_it_has_moved_to() {
    let mut config = ClientConfig::new();
    config.set("test.mock.num.brokers", "2");
    let owner: BaseProducer = config.create().expect("a producer");
    let cluster = owner.client().mock_cluster().expect("a cluster");
    cluster.create_topic("app_orders", 1, 1).expect("a topic");
    let at = |broker| {
        let group = MockCoordinator::Group("group".into());
        cluster.coordinator(group, broker).expect("moved");
    };
    let driver = Driver::Kafka {
        brokers: cluster.bootstrap_servers().split(',').map(str::to_owned).collect(),
        app_name: "app".into(),
        properties: Vec::new(),
    };
    let log = eventlog::open(&driver, Limits::default()).expect("opened");
    let join = |member| log.join(Subscription::new("group", &[orders()], member));
    at(1);
    drop(join("a").expect("joined"));
    at(2);
    for _ in 0..1000 {
        // SAFETY: the cluster is the producer's, which lives; one error and one delay follow the count.
        unsafe {
            sys::rd_kafka_mock_broker_push_request_error_rtts(
                sys::rd_kafka_handle_mock_cluster(owner.client().native_ptr()),
                1,
                RDKafkaApiKey::OffsetFetch.into(),
                1,
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR as i32,
                0,
            );
        }
    }
    drop(join("b").expect("joined"));
}

/// The question that was given up meanwhile must be gone when the coordinator is there again.
#[test]
fn a_group_whose_coordinator_was_away_is_asked_for_again() {
    let mut config = ClientConfig::new();
    config.set("test.mock.num.brokers", "2");
    let owner: BaseProducer = config.create().expect("a producer");
    let cluster = owner.client().mock_cluster().expect("a cluster");
    cluster.create_topic("app_orders", 1, 1).expect("a topic");
    cluster.partition_leader("app_orders", 0, Some(2)).expect("moved");
    cluster.coordinator(MockCoordinator::Group("group".into()), 1).expect("moved");
    let driver = Driver::Kafka {
        brokers: vec![cluster.bootstrap_servers().split(',').nth(1).expect("two").to_owned()],
        app_name: "app".into(),
        properties: Vec::new(),
    };
    let log = eventlog::open(&driver, Limits::default()).expect("opened");
    let join = |member| log.join(Subscription::new("group", &[orders()], member));
    cluster.broker_down(1).expect("down");
    let error = join("a").err().expect("an error");
    assert!(error.retry(), "{error}");
    cluster.broker_up(1).expect("up");
    wait_until("the coordinator", LONG, || join("a").is_ok());
    thread::sleep(Duration::from_secs(2));
    assert!(join("b").is_ok());
}
