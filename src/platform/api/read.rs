//! `topics.read`, `topics.last` and `topics.offsets`: they wait for the log, and leave what it has answered as JSON.

use std::ffi::c_int;

use eventlog::{dead_letter, Event, PartitionOffsets, Read};
use serde_json::value::RawValue;

use super::append::{declared, failed, with_topics};
use crate::api::{arg, spacer_str, wait, NONE, OK};
use crate::nginx;
use crate::nginx::cell::Worker;

/// What the last read came to, until Lua has fetched it.
static RESULT: Worker<Vec<u8>> = Worker::new(Vec::new());

/// The result of the read that has just ended, as JSON.
#[no_mangle]
pub extern "C" fn spacer_topics_result(out: &mut spacer_str) {
    // SAFETY: one thread; it stays until the next read.
    out.set(unsafe { &*RESULT.get() });
}

/// Leaves the future of a read in the coroutine's slot.
fn read(
    future: impl std::future::Future<Output = eventlog::Result<Option<Vec<u8>>>> + 'static,
) -> c_int {
    wait(Box::pin(async move {
        match future.await {
            Ok(Some(json)) => {
                // SAFETY: as in `spacer_topics_append`.
                unsafe { *RESULT.get() = json };
                OK
            }
            Ok(None) => NONE,
            Err(cause) => failed(&cause),
        }
    }))
}

/// Events of a partition from an offset on, of a key if `key` isn't null; of a dead-letter topic the letters.
#[no_mangle]
pub extern "C" fn spacer_topics_read(
    topic: *const u8,
    topic_len: usize,
    partition: u32,
    from: f64,
    limit: usize,
    key: *const u8,
    key_len: usize,
) -> c_int {
    with_topics(|_, topics| {
        // SAFETY: Lua's strings.
        let (topic, key) = unsafe {
            let key = (!key.is_null()).then(|| arg(key, key_len));
            (
                declared(topics, arg(topic, topic_len), true),
                key.map(|key| nginx::NgxStr::from_bytes(key).to_string()),
            )
        };
        let topic = match topic {
            Ok(topic) => topic,
            Err(status) => return status,
        };
        let wanted = Read { partition, from: from as u64, limit, key, ..Read::default() };
        read(topics.store.call(move |log| {
            let (events, next) = dead_letter::read(log, &topic, &wanted)?;
            let events = events.iter().map(Shown::of).collect();
            Ok(Some(json(&Page { events, next })))
        }))
    })
}

/// The newest event of a key; `NONE` when there is none.
#[no_mangle]
pub extern "C" fn spacer_topics_last(
    topic: *const u8,
    topic_len: usize,
    key: *const u8,
    key_len: usize,
) -> c_int {
    with_topics(|_, topics| {
        // SAFETY: Lua's strings.
        let (topic, key) = unsafe {
            (
                declared(topics, arg(topic, topic_len), true),
                nginx::NgxStr::from_bytes(arg(key, key_len)).to_string(),
            )
        };
        let topic = match topic {
            Ok(topic) => topic,
            Err(status) => return status,
        };
        read(topics.store.call(move |log| {
            let last = dead_letter::last(log, &topic, &key)?;
            Ok(last.map(|event| json(&Shown::of(&event))))
        }))
    })
}

/// The extent of each partition of a topic, and the groups that read it.
#[no_mangle]
pub extern "C" fn spacer_topics_extent(topic: *const u8, topic_len: usize) -> c_int {
    with_topics(|_, topics| {
        // SAFETY: Lua's string.
        let topic = match declared(topics, unsafe { arg(topic, topic_len) }, true) {
            Ok(topic) => topic,
            Err(status) => return status,
        };
        read(topics.store.call(move |log| {
            let partitions = log.offsets(&topic)?;
            Ok(Some(json(&partitions.iter().map(Extent::of).collect::<Vec<_>>())))
        }))
    })
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    // What is serialized here has string keys and numbers only.
    serde_json::to_vec(value).unwrap_or_default()
}

/// What a read answers with.
#[derive(serde::Serialize)]
struct Page<'a> {
    events: Vec<Shown<'a>>,
    /// The offset to go on from.
    next: u64,
}

/// An event as Lua sees it.
#[derive(serde::Serialize)]
struct Shown<'a> {
    topic: &'a str,
    partition: u32,
    offset: u64,
    key: &'a str,
    /// As it was stored; null where another program has stored what isn't JSON, which is then in `raw`.
    value: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
    /// Seconds since 1970-01-01 UTC.
    time: f64,
    headers: std::collections::BTreeMap<&'a str, &'a str>,
}

impl<'a> Shown<'a> {
    fn of(event: &'a Event) -> Shown<'a> {
        let value = serde_json::from_slice(&event.value).ok();
        let raw = value.is_none().then(|| String::from_utf8_lossy(&event.value).into_owned());
        Shown {
            topic: event.topic.as_str(),
            partition: event.partition,
            offset: event.offset,
            key: &event.key,
            value,
            raw,
            time: event.time.0 as f64 / 1000.0,
            headers: event.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect(),
        }
    }
}

#[derive(serde::Serialize)]
struct Extent<'a> {
    partition: u32,
    first: u64,
    next: u64,
    groups: Vec<Position<'a>>,
}

#[derive(serde::Serialize)]
struct Position<'a> {
    group: &'a str,
    committed: u64,
    lag: u64,
}

impl<'a> Extent<'a> {
    fn of(offsets: &'a PartitionOffsets) -> Extent<'a> {
        let position = |position: &'a eventlog::GroupPosition| Position {
            group: &position.group,
            committed: position.committed,
            lag: position.lag,
        };
        Extent {
            partition: offsets.partition,
            first: offsets.first,
            next: offsets.next,
            groups: offsets.groups.iter().map(position).collect(),
        }
    }
}
