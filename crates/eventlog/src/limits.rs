//! What an append may hold, checked before it comes near a store.

use std::time::Duration;

use serde::de::IgnoredAny;

use crate::backlog::Backlog;
use crate::{Append, Invalid, Result};

/// Limits of appends. Both drivers and their callers share them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of key, value and headers together. Default 1 MiB.
    pub event_size: usize,
    /// Bytes of a key. Default 4096.
    pub key_size: usize,
    /// Events that may wait to be stored, and that an append may have; more are refused with [`Error::Full`](crate::Error::Full). Default 10,000.
    pub queue: usize,
    /// Bytes of events that may wait to be stored, and that an append of several may have; more are refused with
    /// [`Error::FullOfBytes`](crate::Error::FullOfBytes). Default 64 MiB.
    pub queue_size: usize,
    /// How long an append may wait for the store. Default 5 s.
    pub append_timeout: Duration,
    /// How long an append's id is remembered, so that a retry is stored once. Default 1 hour.
    pub dedup_window: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            event_size: 1 << 20,
            key_size: 4096,
            queue: 10_000,
            queue_size: 64 << 20,
            append_timeout: Duration::from_secs(5),
            dedup_window: Duration::from_secs(3600),
        }
    }
}

impl Limits {
    /// Refuses events that are too large or not JSON, an append without any, and one of too many.
    pub(crate) fn check(&self, append: &Append) -> Result<()> {
        if append.events.is_empty() {
            return Err(Invalid::NoEvents.into());
        }
        let load = Backlog::of(&append.events);
        if load.events > self.queue {
            return Err(Invalid::TooManyEvents { events: load.events, limit: self.queue }.into());
        }
        // One event is held against its own limit.
        if load.bytes > self.queue_size && load.events > 1 {
            let (size, limit) = (load.bytes, self.queue_size);
            return Err(Invalid::AppendTooLarge { size, limit }.into());
        }
        for event in &append.events {
            let topic = || event.topic.as_str().to_owned();
            if event.key.len() > self.key_size {
                let (size, limit) = (event.key.len(), self.key_size);
                return Err(Invalid::KeyTooLong { topic: topic(), size, limit }.into());
            }
            let size = event.size();
            if size > self.event_size {
                let (key, limit) = (event.key.clone(), self.event_size);
                return Err(Invalid::EventTooLarge { topic: topic(), key, size, limit }.into());
            }
            if let Err(reason) = check_json(&event.value) {
                let key = event.key.clone();
                return Err(Invalid::NotJson { topic: topic(), key, reason }.into());
            }
        }
        Ok(())
    }
}

fn check_json(value: &[u8]) -> Result<(), String> {
    // serde_json skips over strings without looking at their encoding.
    let text = std::str::from_utf8(value).map_err(|error| error.to_string())?;
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|error| error.to_string())
}
