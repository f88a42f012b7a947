//! `spacer topics list`.

use eventlog::{dead_letter, PartitionOffsets, Topic};
use serde::Serialize;

use crate::cli::LogOptions;
use crate::error::Error;
use crate::log::Log;
use crate::output;
use crate::table::{Align, Table};

#[derive(Serialize)]
struct Row {
    topic: String,
    /// Whether `topics` of the application names it.
    declared: bool,
    events: u64,
    /// Dead letters to be dealt with.
    dead: u64,
    functions: Vec<String>,
    partitions: Vec<Extent>,
}

#[derive(Serialize)]
struct Extent {
    partition: u32,
    first: u64,
    next: u64,
}

pub fn run(options: &LogOptions) -> Result<(), Error> {
    let log = Log::look(options)?;
    let mut rows = Vec::new();
    for topic in log.events.topics()? {
        if topic.dead().is_some() {
            rows.push(row(&log, &topic)?);
        }
    }
    match options.json {
        true => output::print_document(&rows),
        false => output::print(&as_table(&rows)),
    }
}

fn row(log: &Log, topic: &Topic) -> Result<Row, Error> {
    let triggers = log.application.triggers.iter().filter(|trigger| trigger.topic == *topic);
    let extent =
        |PartitionOffsets { partition, first, next, .. }| Extent { partition, first, next };
    let partitions: Vec<_> = log.events.offsets(topic)?.into_iter().map(extent).collect();
    let mut dead = 0;
    dead_letter::each(&*log.events, topic, |_, ended| {
        dead += u64::from(ended.is_none());
        Ok(())
    })?;
    Ok(Row {
        topic: topic.to_string(),
        declared: log.application.topics.contains(topic),
        events: partitions.iter().map(|extent| extent.next.saturating_sub(extent.first)).sum(),
        dead,
        functions: triggers.flat_map(|trigger| trigger.functions.clone()).collect(),
        partitions,
    })
}

fn as_table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return format!("There are no topics: name them in topics of {}\n", application::FILE);
    }
    let mut table = Table::new([
        ("TOPIC", Align::Left),
        ("EVENTS", Align::Right),
        ("OFFSETS", Align::Right),
        ("DEAD", Align::Right),
        ("FUNCTIONS", Align::Left),
    ]);
    for row in rows {
        let offsets = match row.partitions.as_slice() {
            _ if row.events == 0 => "-".into(),
            [only] => format!("{}-{}", only.first, only.next - 1),
            several => format!("{} partitions", several.len()),
        };
        let functions = match row.declared {
            true => row.functions.join(", "),
            false => format!("(not in topics of {})", application::FILE),
        };
        let (events, dead) = (row.events.to_string(), row.dead.to_string());
        table.row([row.topic.clone(), events, offsets, dead, functions]);
    }
    table.render(output::colours())
}
