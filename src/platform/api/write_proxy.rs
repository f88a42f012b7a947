//! The write proxy: the append that the body of a request asks for.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::fmt::Display;

use eventlog::{dead_header, NewEvent};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::append::{declared, with_topics, EVENTS};
use crate::api::{arg, error, NONE, OK, RAISE};
use crate::nginx::{self, Request};
use crate::platform::access::token::same;
use crate::platform::topics::Topics;

/// What the body consists of, once or several times: the events of a topic, or one event as `spacer topics tail --json`
/// prints it, whose place in the log it comes from means nothing in this one.
#[derive(Deserialize)]
#[serde(expecting = "an object", deny_unknown_fields)]
struct Posted<'a> {
    topic: String,
    #[serde(borrow)]
    entries: Option<Entries<'a>>,
    key: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    headers: Option<BTreeMap<String, String>>,
    /// The place in the other log.
    #[serde(rename = "partition")]
    _partition: Option<IgnoredAny>,
    #[serde(rename = "offset")]
    _offset: Option<IgnoredAny>,
    #[serde(rename = "time")]
    _time: Option<IgnoredAny>,
}

/// A value that is there, be it `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The order of the body is kept.
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

fn misshapen(cause: impl Display) -> c_int {
    error(
        RAISE,
        format_args!(
            "the body must be {{\"topic\": \"...\", \"entries\": {{\"key\": value, ...}}}}: {cause}"
        ),
    )
}

/// Adds the events of a part of the body; the status of what is wrong with it.
fn add(topics: &Topics, posted: Posted<'_>, events: &mut Vec<NewEvent>) -> Result<(), c_int> {
    let Posted { topic, entries, key, value, headers, .. } = posted;
    let topic = declared(topics, topic.as_bytes(), false)?;
    match (entries, key, value) {
        (Some(_), Some(_), _) => Err(misshapen("it has both `entries` and `key`")),
        (Some(Entries(entries)), None, _) => {
            let event = |(key, value): (String, &RawValue)| NewEvent::new(&topic, key, value.get());
            events.extend(entries.into_iter().map(event));
            Ok(())
        }
        (None, Some(key), Some(value)) => {
            let mut event = NewEvent::new(&topic, key, value.get());
            event.headers.extend(headers.unwrap_or_default());
            let kept = |(name, _): &&(String, String)| name.starts_with(dead_header::PREFIX);
            if let Some((name, _)) = event.headers.iter().find(kept) {
                let message = format_args!("header \"{name}\" is kept for dead letters");
                return Err(error(RAISE, message));
            }
            events.push(event);
            Ok(())
        }
        (None, Some(_), None) => Err(misshapen("missing field `value`")),
        (None, None, _) => Err(misshapen("missing field `entries`")),
    }
}

/// Whether the request has the project's token, or needs none.
unsafe fn is_let_in(r: Request, topics: &Topics) -> bool {
    let Some(token) = &topics.application().write_proxy_token else { return true };
    // SAFETY: the caller's request is live; a subrequest's main request has the client's headers.
    let given = unsafe {
        let header = (*(*r).main).headers_in.authorization.as_ref();
        header.map(|header| nginx::bytes(header.value))
    };
    given
        .and_then(|given| given.strip_prefix(b"Bearer "))
        .is_some_and(|given| same(given, token.as_bytes()))
}

/// Puts the append together that a body asks for; `NONE` for who isn't let in.
#[no_mangle]
pub extern "C" fn spacer_topics_post(body: *const u8, len: usize) -> c_int {
    with_topics(|ctx, topics| {
        // SAFETY: the request is live.
        if !unsafe { is_let_in(ctx.r, topics) } {
            return NONE;
        }
        // SAFETY: Lua's string; one thread.
        let (body, events) = unsafe { (arg(body, len), &mut *EVENTS.get()) };
        events.clear();
        let mut parts = serde_json::Deserializer::from_slice(body).into_iter::<Posted<'_>>();
        loop {
            // An array of the fields would do as well for serde.
            let array = body[parts.byte_offset()..].trim_ascii_start().starts_with(b"[");
            let added = match parts.next() {
                None => return OK,
                Some(_) if array => Err(misshapen("it is an array")),
                Some(Ok(posted)) => add(topics, posted, events),
                Some(Err(cause)) => Err(misshapen(cause)),
            };
            if let Err(status) = added {
                events.clear();
                return status;
            }
        }
    })
}
