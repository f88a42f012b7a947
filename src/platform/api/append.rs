//! `topics.append`, and what all of `topics.*` begins with: the topics of the project that the current Lua belongs to.

use std::ffi::c_int;
use std::os::unix::ffi::OsStrExt as _;
use std::rc::Rc;

use eventlog::{Append, Error, Headers, NewEvent, Topic};

use crate::api::{arg, boundary, current, error, wait, with_context, FAIL, OK, RAISE};
use crate::conf::phase::WAITING;
use crate::nginx;
use crate::nginx::cell::Worker;
use crate::platform::conf;
use crate::platform::function::{call_of, trace};
use crate::platform::topics::{self, trigger, Topics};
use crate::request::ctx::Ctx;

/// The append that the current Lua puts together; it doesn't wait between its calls.
pub(super) static EVENTS: Worker<Vec<NewEvent>> = Worker::new(Vec::new());
/// Every event of it begins as a copy of this one, which has its topic and headers.
static FIRST: Worker<Option<NewEvent>> = Worker::new(None);

/// Of the last append, until Lua has fetched them.
static OFFSETS: Worker<Vec<f64>> = Worker::new(Vec::new());

/// The topics of the project that the current Lua belongs to.
pub(super) fn with_topics(f: impl FnOnce(&Ctx, &'static Rc<Topics>) -> c_int) -> c_int {
    with_context(|ctx| {
        if !current().phase.is_in(WAITING) {
            return crate::api::disabled();
        }
        // SAFETY: the request is live.
        let folder = unsafe {
            match trigger::run_of(ctx.r) {
                Some(run) => run.project.folder.as_os_str().as_bytes(),
                None => {
                    let conf = conf::loc_conf(ctx.r);
                    let endpoint = conf.endpoint.as_ref();
                    let project = endpoint.map(|endpoint| endpoint.project.as_os_str().as_bytes());
                    project.unwrap_or_else(|| nginx::bytes(conf.project))
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
pub(super) fn declared(topics: &Topics, name: &[u8], dead: bool) -> Result<Topic, c_int> {
    let known = &topics.application().topics;
    let is = |topic: &&Topic| topic.as_str().as_bytes() == name;
    if let Some(topic) = known.iter().find(is) {
        return Ok(topic.clone());
    }
    let letters = known.iter().filter_map(Topic::dead).find(|topic| dead && is(&topic));
    letters.ok_or_else(|| {
        let name = nginx::NgxStr::from_bytes(name);
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
pub(super) fn failed(cause: &Error) -> c_int {
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
                let key = nginx::NgxStr::from_bytes(arg(key, key_len));
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
unsafe fn trace_headers(ctx: &Ctx) -> Headers {
    if call_of(ctx).is_none() {
        return Headers::new();
    }
    // SAFETY: the caller's request is live, and so are the ids.
    unsafe {
        let Some(trace) = trace::of(ctx) else { return Headers::new() };
        let text = |id| nginx::text(id).to_string();
        vec![
            ("x-spacer-trace-id".to_owned(), text(trace.id)),
            ("x-spacer-parent-span-id".to_owned(), text(trace.span_id)),
        ]
    }
}

/// Stores what was added, all of it or nothing. `OK` when it is durable; [`spacer_topics_offsets`] has the offsets.
#[no_mangle]
pub extern "C" fn spacer_topics_append() -> c_int {
    with_topics(|ctx, topics| {
        // SAFETY: one thread.
        let events = std::mem::take(unsafe { &mut *EVENTS.get() });
        let mut append = Append::new(events);
        append.fence = trigger::run_of(ctx.r).and_then(|run| topics.fence(run)).map(Box::new);
        let stored = topics.store.append(append);
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
