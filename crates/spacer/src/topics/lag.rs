//! `spacer topics lag`.

use serde::Serialize;

use crate::cli::LogOptions;
use crate::error::Error;
use crate::log::Log;
use crate::output;
use crate::table::{Align, Table};

#[derive(Serialize)]
struct Row {
    topic: String,
    partition: u32,
    group: String,
    committed: u64,
    next: u64,
    lag: u64,
}

pub fn run(options: &LogOptions) -> Result<(), Error> {
    let log = Log::look(options)?;
    let mut rows = Vec::new();
    for topic in log.events.topics()? {
        for found in log.events.offsets(&topic)? {
            rows.extend(found.groups.into_iter().map(|position| Row {
                topic: topic.to_string(),
                partition: found.partition,
                group: position.group,
                committed: position.committed,
                next: found.next,
                lag: position.lag,
            }));
        }
    }
    match options.json {
        true => output::print_document(&rows),
        false => output::print(&as_table(&rows)),
    }
}

fn as_table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "No consumer group has a position yet\n".into();
    }
    let mut table = Table::new([
        ("TOPIC", Align::Left),
        ("PARTITION", Align::Right),
        ("GROUP", Align::Left),
        ("COMMITTED", Align::Right),
        ("NEXT", Align::Right),
        ("LAG", Align::Right),
    ]);
    for row in rows {
        table.row([
            row.topic.clone(),
            row.partition.to_string(),
            output::printable(&row.group),
            row.committed.to_string(),
            row.next.to_string(),
            row.lag.to_string(),
        ]);
    }
    table.render(output::colours())
}
