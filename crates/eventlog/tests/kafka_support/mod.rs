//! The cluster that tests run against.

// Each test file uses its part.
#![allow(dead_code)]

use std::env;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use eventlog::{AppendId, Driver, Event, EventLog, Limits, PartitionOffsets, Read, Topic};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::ClientConfig;

/// An application of its own in the cluster.
pub struct Kafka {
    pub app_name: String,
    pub partitions: u32,
}

pub fn brokers() -> Vec<String> {
    let brokers = env::var("SPACER_TEST_KAFKA").expect(
        "SPACER_TEST_KAFKA is not set: run eval \"$(scripts/services start kafka)\" before the tests",
    );
    brokers.split(',').map(str::to_owned).collect()
}

impl Kafka {
    pub fn with_partitions(partitions: u32) -> Kafka {
        Kafka { app_name: format!("t{}", &AppendId::random().to_string()[20..]), partitions }
    }

    pub fn driver(&self) -> Driver {
        let property = |name: &str, value: String| (name.to_owned(), value);
        let properties = vec![
            property("num.partitions", self.partitions.to_string()),
            property("group.id.prefix", format!("{}-", self.app_name)),
        ];
        Driver::Kafka { brokers: brokers(), app_name: self.app_name.clone(), properties }
    }

    pub fn log(&self, limits: Limits) -> Arc<dyn EventLog> {
        eventlog::open(&self.driver(), limits).expect("opened")
    }
}

/// Removes what it made, or the broker would need longer to start each time. A broker that is away keeps
/// its topics.
impl Drop for Kafka {
    fn drop(&mut self) {
        // A test that fails for want of it has said so.
        let Ok(brokers) = env::var("SPACER_TEST_KAFKA") else { return };
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        let Ok(admin) = config.create::<AdminClient<_>>() else { return };
        let Ok(metadata) = admin.inner().fetch_metadata(None, Duration::from_secs(5)) else {
            return;
        };
        let prefix = format!("{}_", self.app_name);
        let names = metadata.topics().iter().map(|topic| topic.name());
        let own: Vec<&str> = names.filter(|name| name.starts_with(&prefix)).collect();
        let mut deleted = pin!(admin.delete_topics(&own, &AdminOptions::new()));
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut context = Context::from_waker(Waker::noop());
        while deleted.as_mut().poll(&mut context).is_pending() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

pub fn orders() -> Topic {
    Topic::new("orders").expect("a good name")
}

pub fn number(event: &Event) -> usize {
    std::str::from_utf8(&event.value).expect("text").parse().expect("a number")
}

/// Every event of the topic, each partition in order.
pub fn everything(log: &dyn EventLog, topic: &Topic) -> Vec<Event> {
    let partitions = log.offsets(topic).expect("offsets").into_iter();
    let read = |partition| Read { partition, limit: usize::MAX, ..Read::default() };
    partitions.flat_map(|p| log.read(topic, &read(p.partition)).expect("read")).collect()
}

/// How many events the topic's only group has not finished; a great many while the cluster doesn't know.
pub fn lag(log: &dyn EventLog, topic: &Topic) -> u64 {
    let unknown = u64::from(u32::MAX);
    let partitions = log.offsets(topic).unwrap_or_default();
    let lag = |partition: &PartitionOffsets| partition.groups.first().map(|group| group.lag);
    match partitions.is_empty() {
        true => unknown,
        false => partitions.iter().map(|partition| lag(partition).unwrap_or(unknown)).sum(),
    }
}

pub fn wait_until(what: &str, patience: Duration, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < patience, "{what}: not within {patience:?}");
        thread::sleep(Duration::from_millis(50));
    }
}
