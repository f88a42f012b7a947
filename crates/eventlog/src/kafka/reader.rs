//! Reading without a group: consumers that are assigned a partition by hand, and kept for the next reader.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message};
use rdkafka::topic_partition_list::{Offset as Position, TopicPartitionList};

use super::cluster::Cluster;
use super::health::Quiet;
use super::settings::PATIENCE;
use crate::model::Page;
use crate::{Event, Headers, Offset, Read, Result, Timestamp, Topic};

/// Consumers that are kept.
const IDLE: usize = 4;
/// How many events are looked through first when the newest of a key is wanted; then twice as many, and so on.
const LOOK_BACK: u64 = 500;

pub(super) struct Readers {
    cluster: Arc<Cluster>,
    idle: Mutex<Vec<BaseConsumer<Quiet>>>,
}

impl Readers {
    pub fn new(cluster: Arc<Cluster>) -> Readers {
        Readers { cluster, idle: Mutex::default() }
    }

    pub fn read(&self, topic: &Topic, read: &Read) -> Result<Vec<Event>> {
        self.cluster.check_partition(topic, read.partition)?;
        let (first, next) = self.cluster.extent(topic, read.partition)?;
        let mut page = Page::new(read);
        if read.limit == 0 {
            return Ok(page.events);
        }
        self.scan(topic, read.partition, first.max(read.from)..next, |event| {
            let wanted = read.key.as_ref().is_none_or(|key| *key == event.key);
            match !wanted || page.add(event) {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        Ok(page.events)
    }

    /// The newest event of a key. Our producers keep a key in one partition; those of other programs may have put it
    /// elsewhere, so where it isn't there the others are looked through.
    pub fn last(&self, topic: &Topic, key: &str) -> Result<Option<Event>> {
        let count = self.cluster.partitions(topic)?;
        let home = crc32(key.as_bytes()) % count;
        for partition in std::iter::once(home).chain((0..count).filter(|other| *other != home)) {
            if let Some(event) = self.last_in(topic, partition, key)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn last_in(&self, topic: &Topic, partition: u32, key: &str) -> Result<Option<Event>> {
        let (first, mut before) = self.cluster.extent(topic, partition)?;
        let mut step = LOOK_BACK;
        while first < before {
            let from = before.saturating_sub(step).max(first);
            let mut found = None;
            self.scan(topic, partition, from..before, |event| {
                found = (event.key == key).then_some(event).or(found.take());
                ControlFlow::Continue(())
            })?;
            if found.is_some() {
                return Ok(found);
            }
            (before, step) = (from, step * 2);
        }
        Ok(None)
    }

    /// Goes through a range of a partition that exists by now, in which offsets may be missing.
    fn scan(
        &self,
        topic: &Topic,
        partition: u32,
        range: std::ops::Range<Offset>,
        mut visit: impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let failed = |error: &KafkaError| self.cluster.unavailable("reading", error);
        let consumer = self.consumer()?;
        let mut assignment = TopicPartitionList::new();
        let name = self.cluster.settings.name(topic);
        let from = Position::Offset(i64::try_from(range.start).unwrap_or(i64::MAX));
        assignment
            .add_partition_offset(&name, partition as i32, from)
            .and_then(|()| consumer.assign(&assignment))
            .map_err(|error| failed(&error))?;
        let mut deadline = Instant::now() + PATIENCE;
        loop {
            let message = match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => message,
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    return Err(failed(&KafkaError::MessageConsumptionFatal(code)));
                }
                // It tries again by itself.
                other if Instant::now() < deadline => {
                    if let Some(Err(error)) = other {
                        self.cluster.health.trouble(&error.to_string());
                    }
                    continue;
                }
                Some(Err(error)) => return Err(failed(&error)),
                None => {
                    return Err(self.cluster.health.unavailable(
                        &self.cluster.settings.store,
                        &format!("no answer to a read of topic {topic} within {PATIENCE:?}"),
                    ))
                }
            };
            deadline = Instant::now() + PATIENCE;
            let offset = message.offset() as Offset;
            if offset >= range.end {
                break;
            }
            let (over, last) = (visit(event(topic, &message)), offset + 1 == range.end);
            if over.is_break() || last {
                break;
            }
        }
        self.cluster.health.well();
        // One that failed is not kept.
        if consumer.unassign().is_ok() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE {
                idle.push(consumer);
            }
        }
        Ok(())
    }

    fn consumer(&self) -> Result<BaseConsumer<Quiet>> {
        if let Some(idle) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(idle);
        }
        let context = Quiet(self.cluster.health.clone());
        let new = self.cluster.settings.reader().create_with_context(context);
        new.map_err(super::health::refused_settings)
    }
}

/// A record as an event. Records of other programs come as they are: one without a key has the empty key, one without a
/// value the empty value, which isn't JSON, and what isn't UTF-8 in a key or header is replaced.
pub(super) fn event(topic: &Topic, message: &BorrowedMessage<'_>) -> Event {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers: Headers = message.headers().map_or_else(Headers::new, |headers| {
        let pair = |header: rdkafka::message::Header<'_, &[u8]>| {
            (header.key.to_owned(), header.value.map(text).unwrap_or_default())
        };
        headers.iter().map(pair).collect()
    });
    Event {
        topic: topic.clone(),
        partition: message.partition() as u32,
        offset: message.offset() as Offset,
        key: message.key().map(text).unwrap_or_default(),
        value: message.payload().unwrap_or_default().to_vec(),
        time: Timestamp(message.timestamp().to_millis().unwrap_or(0).max(0) as u64),
        headers,
    }
}

/// What librdkafka's `consistent` partitioner takes modulo the number of partitions.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
