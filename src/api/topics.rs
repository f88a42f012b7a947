//! `topics.*`: appending to a project's event log, reading it, and what a trigger's Lua asks of its event.

use std::ffi::c_int;
use std::os::unix::ffi::OsStrExt as _;
use std::rc::Rc;

use eventlog::{
    dead_letter, Append, Error, Event, Headers, NewEvent, PartitionOffsets, Read, Topic,
};
use serde_json::value::RawValue;

use super::encoding::spacer_pair;
use super::{arg, boundary, current, error, spacer_str, wait, with_context, FAIL, NONE, OK, RAISE};
use crate::conf;
use crate::ctx::{Ctx, Worker};
use crate::function::trace;
use crate::ngx;
use crate::phase::Phase;
use crate::topics::{self, trigger, Topics};

/// The phases that can wait for the log.
const WAITING: u32 = super::HANDLERS | Phase::Timer as u32;

/// The append that the current Lua puts together; it doesn't wait between its calls.
static EVENTS: Worker<Vec<NewEvent>> = Worker::new(Vec::new());
/// Every event of it begins as a copy of this one, which has its topic and headers.
static FIRST: Worker<Option<NewEvent>> = Worker::new(None);

/// What the last call that waited came to, until Lua has fetched it.
static OFFSETS: Worker<Vec<f64>> = Worker::new(Vec::new());
static RESULT: Worker<Vec<u8>> = Worker::new(Vec::new());

/// The topics of the project that the current Lua belongs to.
fn with_topics(f: impl FnOnce(&mut Ctx, &'static Rc<Topics>) -> c_int) -> c_int {
    with_context(|ctx| {
        if !current().phase.is_in(WAITING) {
            return super::disabled();
        }
        // SAFETY: the request is live.
        let folder = unsafe {
            match trigger::run_of(ctx.r) {
                Some(run) => run.project.folder.as_os_str().as_bytes(),
                None => {
                    let conf = conf::loc_conf(ctx.r);
                    let endpoint = conf.endpoint.as_ref();
                    let project = endpoint.map(|endpoint| endpoint.project.as_os_str().as_bytes());
                    project.unwrap_or_else(|| ngx::bytes(conf.project))
                }
            }
        };
        if folder.is_empty() {
            return error(RAISE, format_args!("there is no \"spacer_project\" here"));
        }
        match topics::of(folder) {
            Some(topics) => f(ctx, topics),
            None => error(RAISE, format_args!("no topics are declared in {}", application::FILE)),
        }
    })
}

/// A declared topic of that name, or, where `dead` says so, the dead-letter topic of one.
fn declared(topics: &Topics, name: &[u8], dead: bool) -> Result<Topic, c_int> {
    let known = &topics.application().topics;
    let is = |topic: &&Topic| topic.as_str().as_bytes() == name;
    if let Some(topic) = known.iter().find(is) {
        return Ok(topic.clone());
    }
    let letters = known.iter().filter_map(Topic::dead).find(|topic| dead && is(&topic));
    letters.ok_or_else(|| {
        let name = ngx::Text(name);
        error(
            RAISE,
            format_args!(
                "topic \"{name}\" is not declared in {}: add it to topics",
                application::FILE
            ),
        )
    })
}

/// Keeps the error for Lua: `FAIL` when the same call may succeed later.
fn failed(cause: &Error) -> c_int {
    error(
        if cause.retry() || *cause == Error::Closed { FAIL } else { RAISE },
        format_args!("{cause}"),
    )
}

/// Begins an append to a topic.
#[no_mangle]
pub extern "C" fn spacer_topics_begin(topic: *const u8, len: usize) -> c_int {
    with_topics(|ctx, topics| {
        // SAFETY: Lua's string; one thread.
        unsafe {
            (*EVENTS.get()).clear();
            match declared(topics, arg(topic, len), false) {
                Ok(topic) => {
                    let mut first = NewEvent::new(&topic, "", "");
                    first.headers = trace_headers(ctx);
                    *FIRST.get() = Some(first);
                    OK
                }
                Err(status) => status,
            }
        }
    })
}

/// Adds an event to the append that was begun; `value` is JSON.
#[no_mangle]
pub extern "C" fn spacer_topics_add(
    key: *const u8,
    key_len: usize,
    value: *const u8,
    value_len: usize,
) -> c_int {
    boundary(|| {
        // SAFETY: Lua's strings; one thread.
        unsafe {
            let Some(first) = (*FIRST.get()).as_ref() else {
                return error(RAISE, format_args!("no append was begun"));
            };
            let Ok(key) = std::str::from_utf8(arg(key, key_len)) else {
                let key = ngx::Text(arg(key, key_len));
                return error(RAISE, format_args!("key \"{key}\" is not UTF-8"));
            };
            (*EVENTS.get()).push(NewEvent {
                topic: first.topic.clone(),
                key: key.to_owned(),
                value: arg(value, value_len).to_vec(),
                headers: first.headers.clone(),
            });
        }
        OK
    })
}

/// What tells the functions that an event triggers whose call it came from.
unsafe fn trace_headers(ctx: &mut Ctx) -> Headers {
    if ctx.function.is_empty() {
        return Headers::new();
    }
    // SAFETY: the caller's request is live, and so are the ids.
    unsafe {
        let Some(trace) = trace::of(ctx) else { return Headers::new() };
        let text = |id| ngx::text(id).to_string();
        vec![
            ("x-spacer-trace-id".to_owned(), text(trace.id)),
            ("x-spacer-parent-span-id".to_owned(), text(trace.span_id)),
        ]
    }
}

/// The body that the write proxy takes. The order of its entries is kept.
#[derive(serde::Deserialize)]
struct Posted<'a> {
    topic: String,
    #[serde(borrow)]
    entries: Entries<'a>,
}

struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Entries<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> serde::de::Visitor<'de> for Pairs {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of keys and values")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// Puts the append together that a body asks for: `{"topic": t, "entries": {key: value}}`.
#[no_mangle]
pub extern "C" fn spacer_topics_post(body: *const u8, len: usize) -> c_int {
    with_topics(|_, topics| {
        // SAFETY: Lua's string; one thread.
        unsafe {
            let body = arg(body, len);
            let parsed = serde_json::from_slice(body).map_err(|cause| cause.to_string());
            // An array of the two would do as well for serde.
            let object = body.trim_ascii_start().starts_with(b"{");
            let posted: Posted<'_> = match parsed {
                Ok(posted) if object => posted,
                parsed => {
                    let cause = parsed.err().unwrap_or_else(|| "it is an array".into());
                    return error(
                        RAISE,
                        format_args!(
                            "the body must be {{\"topic\": \"...\", \"entries\": {{\"key\": value, ...}}}}: {cause}"
                        ),
                    );
                }
            };
            let topic = match declared(topics, posted.topic.as_bytes(), false) {
                Ok(topic) => topic,
                Err(status) => return status,
            };
            let event = |(key, value): (String, &RawValue)| NewEvent::new(&topic, key, value.get());
            *EVENTS.get() = posted.entries.0.into_iter().map(event).collect();
        }
        OK
    })
}

/// Stores what was added, all of it or nothing. `OK` when it is durable; [`spacer_topics_offsets`] has the offsets.
#[no_mangle]
pub extern "C" fn spacer_topics_append() -> c_int {
    with_topics(|_, topics| {
        // SAFETY: one thread.
        let events = std::mem::take(unsafe { &mut *EVENTS.get() });
        let stored = topics.store.append(Append::new(events));
        wait(Box::pin(async move {
            match stored.await {
                Ok(stored) => {
                    // SAFETY: one thread; Lua goes on as soon as this is done, and fetches them first.
                    let offsets = unsafe { &mut *OFFSETS.get() };
                    offsets.clear();
                    offsets.extend(stored.iter().map(|stored| stored.offset as f64));
                    OK
                }
                Err(cause) => failed(&cause),
            }
        }))
    })
}

/// The offsets of the append that has just been stored, in the order in which its events were added.
#[no_mangle]
pub extern "C" fn spacer_topics_offsets(out: &mut *const f64) -> usize {
    // SAFETY: one thread; they stay until the next append.
    let offsets = unsafe { &*OFFSETS.get() };
    *out = offsets.as_ptr();
    offsets.len()
}

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
                key.map(|key| ngx::Text(key).to_string()),
            )
        };
        let topic = match topic {
            Ok(topic) => topic,
            Err(status) => return status,
        };
        let wanted = Read { partition, from: from as u64, limit, key };
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
                ngx::Text(arg(key, key_len)).to_string(),
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

/// The event that the current Lua was started for.
#[allow(non_camel_case_types)]
#[repr(C)]
pub struct spacer_event {
    pub development: bool,
    pub attempt: u32,
    pub partition: u32,
    pub offset: f64,
    /// Seconds since 1970-01-01 UTC.
    pub time: f64,
    pub project: spacer_str,
    pub topic: spacer_str,
    pub key: spacer_str,
    pub value: spacer_str,
    pub functions_len: usize,
    pub headers: *const spacer_pair,
    pub headers_len: usize,
}

static HEADERS: Worker<Vec<spacer_pair>> = Worker::new(Vec::new());

/// `NONE` where the current Lua was not started for an event.
#[no_mangle]
pub extern "C" fn spacer_event_get(out: &mut spacer_event) -> c_int {
    with_context(|ctx| {
        let Some(run) = trigger::run_of(ctx.r) else { return NONE };
        let event = &run.delivery.event;
        out.development = run.project.development;
        out.attempt = run.delivery.attempt();
        out.partition = event.partition;
        out.offset = event.offset as f64;
        out.time = event.time.0 as f64 / 1000.0;
        out.project.set(run.project.folder.as_os_str().as_bytes());
        out.topic.set(event.topic.as_str().as_bytes());
        out.key.set(event.key.as_bytes());
        out.value.set(&event.value);
        out.functions_len = run.functions.len();
        let text = |text: &str| spacer_str { data: text.as_ptr(), len: text.len() };
        let pair =
            |(key, value): &(String, String)| spacer_pair { key: text(key), value: text(value) };
        // SAFETY: one thread; Lua reads them before its next call.
        let headers = unsafe { &mut *HEADERS.get() };
        headers.clear();
        headers.extend(event.headers.iter().map(pair));
        out.headers = headers.as_ptr();
        out.headers_len = headers.len();
        OK
    })
}

/// The name of the event's function of that index, from 0. It is the one that runs from here on.
#[no_mangle]
pub extern "C" fn spacer_event_function(index: usize, out: &mut spacer_str) -> c_int {
    with_context(|ctx| {
        let name = trigger::run_of(ctx.r).and_then(|run| run.functions.get(index));
        let Some(name) = name else { return NONE };
        ctx.function.clear();
        ctx.function.push_str(name);
        out.set(name.as_bytes());
        OK
    })
}

/// The functions have come to their end; a null message says that none has failed.
#[no_mangle]
pub extern "C" fn spacer_event_done(message: *const u8, len: usize) -> c_int {
    with_context(|ctx| {
        let Some(run) = trigger::run_of(ctx.r) else { return NONE };
        run.done = true;
        // SAFETY: Lua's string.
        let message = (!message.is_null()).then(|| unsafe { arg(message, len) });
        run.failure = message.map(|message| String::from_utf8_lossy(message).into_owned());
        OK
    })
}
