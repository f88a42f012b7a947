//! The write proxy: the append that the body of a request asks for.

use std::ffi::c_int;

use eventlog::NewEvent;
use serde_json::value::RawValue;

use super::append::{declared, with_topics, EVENTS};
use crate::api::{arg, error, OK, RAISE};

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
