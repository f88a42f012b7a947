//! What a replay will do: which events, with which functions, as which consumer group.

use eventlog::{GroupPosition, Offset, PartitionOffsets, Start, Topic};

use crate::cli::{ReplayOptions, Until};
use crate::error::Error;
use crate::log::Log;

pub struct Plan {
    pub topic: Topic,
    /// Where its failed events go.
    pub dead: Topic,
    pub functions: Vec<String>,
    pub group: String,
    /// Whether the group has been there before.
    pub resumed: bool,
    pub start: Start,
    pub ranges: Vec<Range>,
}

/// The events of a partition.
#[derive(Debug, PartialEq, Eq)]
pub struct Range {
    pub partition: u32,
    pub from: Offset,
    /// The first offset that is left alone.
    pub end: Offset,
    /// How many are not finished, at most: offsets may have gaps.
    pub left: u64,
}

impl Plan {
    pub fn new(log: &Log, options: &ReplayOptions) -> Result<Plan, Error> {
        let topic = log.topic(&options.topic)?;
        let Some(dead) = topic.dead() else {
            return Err(Error::Replay(format!(
                "{topic} holds dead letters: `spacer topics dead requeue` runs their functions again"
            )));
        };
        let functions = functions(log, &topic, options)?;
        let group = match &options.group {
            Some(group) => group.clone(),
            None => default_group(&topic, &functions, options),
        };
        let of_triggers = log.application.groups();
        let shared = &log.application.consumer_group;
        if group.is_empty() || group == *shared || of_triggers.contains(&group) {
            return Err(Error::Replay(format!(
                "consumer group \"{group}\" is not for replays: name another one with --group"
            )));
        }
        let start = match (&options.from, &options.since) {
            (Some(offset), _) => Start::Offset(*offset),
            (None, Some(since)) => Start::Time(since.time),
            (None, None) => Start::Earliest,
        };
        let mut plan =
            Plan { topic, dead, functions, group, resumed: false, start, ranges: Vec::new() };
        for extent in log.events.offsets(&plan.topic)? {
            let range = plan.look(log, &extent, options)?;
            plan.ranges.push(range);
        }
        Ok(plan)
    }

    fn look(
        &mut self,
        log: &Log,
        extent: &PartitionOffsets,
        options: &ReplayOptions,
    ) -> Result<Range, Error> {
        let PartitionOffsets { partition, first, next, .. } = *extent;
        let at = |time| log.events.offset_at(&self.topic, partition, time);
        let end = match &options.until {
            Some(Until::Offset(offset)) => next.min(*offset),
            Some(Until::Time(moment)) => next.min(at(moment.time)?),
            None => next,
        };
        let position = position(extent, &self.group);
        let from = match (position, self.start) {
            (Some(position), _) => position.committed,
            (None, Start::Offset(offset)) => first.max(offset),
            (None, Start::Time(time)) => at(time)?,
            (None, Start::Earliest | Start::Latest) => first,
        };
        let end = end.max(from);
        let left = match position {
            // Some may be finished beyond the position.
            Some(position) => position.lag.saturating_sub(next - end).min(end - from),
            None => end - from,
        };
        self.resumed |= position.is_some();
        Ok(Range { partition, from, end, left })
    }

    pub fn left(&self) -> u64 {
        self.ranges.iter().map(|range| range.left).sum()
    }

    pub fn range(&self, partition: u32) -> Option<&Range> {
        self.ranges.iter().find(|range| range.partition == partition)
    }
}

pub fn position<'a>(extent: &'a PartitionOffsets, group: &str) -> Option<&'a GroupPosition> {
    extent.groups.iter().find(|position| position.group == group)
}

/// Those that are named, or those that the topic triggers; each must exist and compile, or every event would fail.
fn functions(log: &Log, topic: &Topic, options: &ReplayOptions) -> Result<Vec<String>, Error> {
    let triggers = log.application.triggers.iter().filter(|trigger| trigger.topic == *topic);
    let named = match options.functions.is_empty() {
        true => triggers.flat_map(|trigger| trigger.functions.clone()).collect(),
        false => options.functions.clone(),
    };
    if named.is_empty() {
        return Err(Error::Replay(format!(
            "topic \"{topic}\" triggers no function in events of {}: name one with --function",
            application::FILE
        )));
    }
    for name in &named {
        log.project.check_function(name)?;
    }
    Ok(named)
}

/// The same for the same topic, functions and range, so that the same command goes on where it stopped.
fn default_group(topic: &Topic, functions: &[String], options: &ReplayOptions) -> String {
    let until = options.until.as_ref().map(|until| match until {
        Until::Offset(offset) => offset.to_string(),
        Until::Time(moment) => moment.text.clone(),
    });
    let from = options.from.map(|offset| offset.to_string());
    let since = options.since.as_ref().map(|since| since.text.clone());
    // FNV-1a; a byte that is in no argument ends each.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let range = [from, since, until].map(Option::unwrap_or_default);
    for part in functions.iter().chain(&range) {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("replay-{topic}-{:08x}", hash >> 32)
}
