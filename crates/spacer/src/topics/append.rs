//! `spacer topics append`.

use std::io::{self, Read};

use eventlog::{Append, NewEvent, Topic};
use serde_json::json;

use crate::cli::LogOptions;
use crate::error::Error;
use crate::log::Log;
use crate::output;

pub fn run(topic: &str, key: &str, value: &str, options: &LogOptions) -> Result<(), Error> {
    let log = Log::open(options)?;
    let declared = &log.application.topics;
    let Some(topic) = declared.iter().find(|known| known.as_str() == topic) else {
        let known = declared.iter().map(Topic::as_str).collect::<Vec<_>>().join(", ");
        return Err(Error::UndeclaredTopic { name: topic.into(), known });
    };
    let mut text = value.to_owned();
    if value == "-" {
        text.clear();
        io::stdin().read_to_string(&mut text).map_err(Error::Input)?;
    }
    let event = NewEvent::new(topic, key, text.trim());
    for stored in log.events.append(Append::new(vec![event]))? {
        match options.json {
            true => output::print_document(&json!({
                "topic": topic.as_str(), "partition": stored.partition, "offset": stored.offset
            }))?,
            false => output::print(&format!(
                "{topic}: stored as {}\n",
                place(stored.partition, stored.offset)
            ))?,
        }
    }
    Ok(())
}

/// An offset, with its partition where that is not the only or first one.
pub fn place(partition: u32, offset: u64) -> String {
    match partition {
        0 => offset.to_string(),
        partition => format!("{partition}:{offset}"),
    }
}
