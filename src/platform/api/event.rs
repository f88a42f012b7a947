//! What a trigger's Lua asks of the event that it was started for, and says when it is done.

use std::ffi::c_int;
use std::os::unix::ffi::OsStrExt as _;

use crate::api::encoding::spacer_pair;
use crate::api::{arg, spacer_str, with_context, NONE, OK};
use crate::nginx::cell::Worker;
use crate::platform::function::new_call;
use crate::platform::topics::trigger;

/// The event that the current Lua was started for.
#[allow(non_camel_case_types)]
#[repr(C)]
pub struct spacer_event {
    pub development: bool,
    pub attempt: u32,
    pub partition: u32,
    pub offset: f64,
    /// See `Claim::token`.
    pub token: f64,
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
        out.token = run.delivery.claim.token() as f64;
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

/// The name of the event's function that runs from here on: the one to begin with, or the next one.
#[no_mangle]
pub extern "C" fn spacer_event_function(next: bool, out: &mut spacer_str) -> c_int {
    with_context(|ctx| {
        let Some(run) = trigger::run_of(ctx.r) else { return NONE };
        run.function += usize::from(next);
        let Some(name) = run.functions.get(run.function) else { return NONE };
        new_call(ctx).note(name);
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
