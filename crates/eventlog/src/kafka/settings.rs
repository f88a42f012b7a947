//! What the clients of a cluster are configured with, and how topics and groups are named in it.

use std::time::Duration;

use rdkafka::ClientConfig;

use crate::{Invalid, Limits, Result, Subscription, Topic};

/// Partitions of a topic that `declare` makes. They are the most members that can share it, and adding some later moves
/// keys between partitions, out of their order: enough for a few machines, and shared evenly by 2, 3, 4, 6 or 12 members.
const PARTITIONS: i32 = 12;

/// What a record adds to its event, and a dead letter's headers to that.
const RECORD_OVERHEAD: usize = 64 << 10;

/// Sessions as long as the brokers' default settings allow.
const SESSION: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(6)..=Duration::from_secs(1800);

/// How long any question to the cluster may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Properties that would break what the log promises, and why.
const REFUSED: &[(&str, &str)] = &[
    ("acks", "an acknowledged event must be on every in-sync replica"),
    ("allow.auto.create.topics", "topics are made by declaring them"),
    ("auto.offset.reset", "a group's start is the subscription's"),
    ("bootstrap.servers", "the brokers have a setting of their own"),
    ("delivery.timeout.ms", "the limits' dedup_window is the time"),
    ("enable.auto.commit", "positions follow finished events only"),
    ("enable.auto.offset.store", "positions follow finished events only"),
    ("enable.idempotence", "a resent event would be stored twice"),
    ("enable.partition.eof", "the driver sets it where it needs it"),
    ("group.id", "a group's name is the subscription's"),
    ("group.instance.id", "a member's name is the subscription's"),
    ("group.protocol", "members are given partitions by the classic protocol"),
    ("isolation.level", "events of aborted transactions were never stored"),
    ("message.timeout.ms", "the limits' dedup_window is the time"),
    ("metadata.broker.list", "the brokers have a setting of their own"),
    ("partition.assignment.strategy", "members of one group must agree on it"),
    ("queue.buffering.max.kbytes", "the limits' queue is the bound"),
    ("queue.buffering.max.messages", "the limits' queue is the bound"),
    ("request.required.acks", "an acknowledged event must be on every in-sync replica"),
    ("transactional.id", "the producer is idempotent, not transactional"),
];

/// Partitioners that keep the events of every key together, the empty key's too.
const PARTITIONERS: &[&str] = &["consistent", "murmur2", "fnv1a"];

pub(super) struct Settings {
    /// The brokers, as messages name the store.
    pub store: String,
    pub limits: Limits,
    /// Of topics that `declare` makes.
    pub partitions: i32,
    app_name: String,
    group_prefix: String,
    properties: Vec<(String, String)>,
}

impl Settings {
    pub fn new(
        brokers: &[String],
        app_name: &str,
        properties: &[(String, String)],
        limits: Limits,
    ) -> Result<Settings> {
        let wrong = |reason: String| Err(Invalid::KafkaSettings(reason).into());
        if brokers.iter().all(|broker| broker.trim().is_empty()) {
            return wrong("no broker is named; give at least one as HOST:PORT".into());
        }
        let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.');
        // A topic's longest name has 200 characters, and Kafka's has 249.
        if app_name.len() > 48 || !app_name.bytes().all(legal) {
            return wrong(format!(
                "application name {app_name:?}: use up to 48 letters, digits, '-' and '.'"
            ));
        }
        let mut settings = Settings {
            store: brokers.join(","),
            limits,
            partitions: PARTITIONS,
            app_name: app_name.to_owned(),
            group_prefix: String::new(),
            properties: Vec::new(),
        };
        for (name, value) in properties {
            if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| refused == name) {
                return wrong(format!("property {name:?} can't be set: {why}"));
            }
            match name.as_str() {
                "num.partitions" => match value.parse() {
                    Ok(count) if count > 0 => settings.partitions = count,
                    _ => return wrong(format!("num.partitions {value:?} is not a count")),
                },
                "group.id.prefix" => settings.group_prefix = value.clone(),
                "partitioner" if !PARTITIONERS.contains(&value.as_str()) => {
                    let known = PARTITIONERS.join(", ");
                    return wrong(format!("partitioner {value:?} is not one of {known}"));
                }
                _ => settings.properties.push((name.clone(), value.clone())),
            }
        }
        Ok(settings)
    }

    /// A topic's name in the cluster.
    pub fn name(&self, topic: &Topic) -> String {
        match self.app_name.as_str() {
            "" => topic.to_string(),
            app => format!("{app}_{topic}"),
        }
    }

    /// The topic of a name in the cluster, if it is one of the application's.
    pub fn topic(&self, name: &str) -> Option<Topic> {
        let name = match self.app_name.as_str() {
            // Kafka's own topics begin so.
            "" => (!name.starts_with("__")).then_some(name)?,
            app => name.strip_prefix(app)?.strip_prefix('_')?,
        };
        Topic::new(name).ok()
    }

    pub fn group_id(&self, group: &str) -> String {
        format!("{}{group}", self.group_prefix)
    }

    pub fn group<'a>(&self, group_id: &'a str) -> Option<&'a str> {
        group_id.strip_prefix(&self.group_prefix)
    }

    /// The largest record of a topic that `declare` makes.
    pub fn record_size(&self) -> usize {
        self.limits.event_size + RECORD_OVERHEAD
    }

    /// The producer: idempotent, so that a record that was sent again because its answer got lost is stored once.
    pub fn producer(&self) -> ClientConfig {
        let milliseconds = self.limits.dedup_window.as_millis().clamp(1, i32::MAX as u128);
        let record = self.record_size();
        // Appends of one moment share a request, which saves the broker more than it costs them.
        let mut config = self.client(&[("linger.ms", "1"), ("partitioner", "consistent")]);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", milliseconds.to_string())
            .set("message.max.bytes", record.clamp(1_000_000, 1_000_000_000).to_string())
            // The bounds are ours: an append is taken whole or not at all.
            .set("queue.buffering.max.messages", "10000000")
            .set("queue.buffering.max.kbytes", "2097151");
        config
    }

    /// For questions about topics: it has no group.
    pub fn probe(&self) -> ClientConfig {
        let mut config = self.client(&[]);
        config.set("allow.auto.create.topics", "false");
        config
    }

    /// For reading without a group. librdkafka wants the name of one all the same.
    pub fn reader(&self) -> ClientConfig {
        let mut config = self.consumer(&self.group_id("spacer-reader"));
        config.set("enable.partition.eof", "true");
        config
    }

    /// For questions about groups. It is no member of the one that it has.
    pub fn observer(&self) -> ClientConfig {
        self.consumer(&self.group_id("spacer-observer"))
    }

    /// A member of a group. Its name makes it a static one: another of that name takes its place at once.
    pub fn member(&self, subscription: &Subscription) -> ClientConfig {
        let session = subscription.lease.clamp(*SESSION.start(), *SESSION.end());
        let mut config = self.consumer(&self.group_id(&subscription.group));
        let own = |name: &str| self.properties.iter().any(|(property, _)| property == name);
        if !own("session.timeout.ms") {
            config.set("session.timeout.ms", session.as_millis().to_string());
        }
        if !own("heartbeat.interval.ms") {
            // The others notice a change of the group by their heartbeats' answers.
            let heartbeat = (session / 12).min(Duration::from_secs(3));
            config.set("heartbeat.interval.ms", heartbeat.as_millis().to_string());
        }
        let poll = session.max(Duration::from_secs(300));
        config
            .set("group.instance.id", &subscription.member)
            .set("client.id", &subscription.member)
            .set("max.poll.interval.ms", poll.as_millis().to_string())
            .set("partition.assignment.strategy", "cooperative-sticky");
        config
    }

    fn consumer(&self, group_id: &str) -> ClientConfig {
        // The queue's limits are for each partition.
        let mut config = self.client(&[
            ("fetch.wait.max.ms", "500"),
            ("fetch.error.backoff.ms", "100"),
            ("fetch.queue.backoff.ms", "20"),
            ("queued.min.messages", "2000"),
            ("queued.max.messages.kbytes", "4096"),
        ]);
        config
            .set("group.id", group_id)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("allow.auto.create.topics", "false");
        config
    }

    /// The defaults, over them the user's properties.
    fn client(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("client.id", "spacer")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("topic.metadata.refresh.fast.interval.ms", "100");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.store);
        config
    }
}
