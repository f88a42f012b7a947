//! `spacer replay`: runs functions over a topic's past events.
//!
//! `plan` says which events, functions and consumer group; `child` is the nginx that the functions run in, `client` asks
//! it to run one, `engine` is the member of the group that feeds it. `progress` and `rate` are what their names say.

mod child;
mod client;
mod engine;
mod plan;
mod progress;
mod rate;

use std::time::Instant;

use eventlog::{AppendId, Subscription};
use serde_json::json;

use self::child::Child;
use self::engine::{End, Replay};
use self::plan::{position, Plan};
use self::progress::{Counts, Progress};
use self::rate::Rate;
use crate::cli::ReplayOptions;
use crate::error::Error;
use crate::init::quoted;
use crate::log::Log;
use crate::server::Signals;
use crate::{output, when};

/// More than are ever in hand, those beyond the end included.
const IN_HAND: usize = 10_000;

pub fn run(options: &ReplayOptions) -> Result<(), Error> {
    let log = Log::open(&options.log)?;
    let plan = Plan::new(&log, options)?;
    if options.dry_run {
        return dry_run(&log, &plan, options);
    }
    eprintln!("{}", opening(&plan));
    if plan.left() == 0 {
        return summary(&log, &plan, Counts::default(), &Progress::new(0), options, End::Complete);
    }
    let signals = Signals::new()?;
    let mut child = Some(Child::start(&log.project, &options.nginx, &options.log.env, &signals)?);
    let name = format!("replay-{}-{}", std::process::id(), AppendId::random());
    let mut subscription = Subscription::new(&plan.group, std::slice::from_ref(&plan.topic), &name);
    subscription.start = plan.start;
    subscription.concurrency = IN_HAND;
    let member = log.events.join(subscription)?;
    let mut progress = Progress::new(plan.left());
    let replay = Replay {
        log: &log,
        plan: &plan,
        settings: &log.application.trigger,
        rate: Rate::new(options.rate, Instant::now()),
        signals: &signals,
        progress: &mut progress,
    };
    let result = replay.run(member.as_ref(), &mut child);
    if let Ok((counts, _)) = &result {
        progress.show(*counts);
    }
    progress.end();
    // Its claims are free for the next one, whatever the end was.
    let left = member.leave();
    if let Some(child) = child {
        child.stop(&signals);
    }
    let (counts, end) = result?;
    left?;
    summary(&log, &plan, counts, &progress, options, end)
}

fn opening(plan: &Plan) -> String {
    let Plan { topic, functions, group, .. } = plan;
    let functions = functions.join(", ");
    match (plan.left(), plan.resumed) {
        (0, true) => format!(
            "replay of {topic}: consumer group {group} has nothing left to do; --group NAME begins anew with another"
        ),
        (0, false) => format!("replay of {topic}: there are no events in the range"),
        (left, false) => {
            format!("replay of {topic} as consumer group {group}: {left} events, each with {functions}")
        }
        (left, true) => format!(
            "replay of {topic} as consumer group {group} goes on: {left} events are left, each with {functions}"
        ),
    }
}

/// This command as it was typed.
fn command_line() -> String {
    std::env::args_os().map(quoted).collect::<Vec<_>>().join(" ")
}

fn summary(
    log: &Log,
    plan: &Plan,
    counts: Counts,
    progress: &Progress,
    options: &ReplayOptions,
    end: End,
) -> Result<(), Error> {
    let elapsed = progress.elapsed().as_secs_f64();
    let rate = counts.done() as f64 / elapsed.max(0.001);
    let mut positions = Vec::new();
    for extent in log.events.offsets(&plan.topic)? {
        let found = position(&extent, &plan.group).zip(plan.range(extent.partition));
        if let Some((position, range)) = found {
            positions.push((extent.partition, position.committed, range.end));
        }
    }
    let Counts { handled, failed, retried } = counts;
    if options.log.json {
        let position = |(partition, committed, end): &(u32, u64, u64)| json!({"partition": partition, "committed": committed, "end": end});
        output::print_document(&json!({
            "topic": plan.topic.as_str(),
            "group": plan.group,
            "functions": plan.functions,
            "handled": handled,
            "failed": failed,
            "retried": retried,
            "seconds": elapsed,
            "rate": rate,
            "interrupted": end == End::Interrupted,
            "positions": positions.iter().map(position).collect::<Vec<_>>(),
        }))?;
    } else {
        let place = |(partition, committed, end): &(u32, u64, u64)| match positions.len() {
            1 => format!("position {committed} of {end}"),
            _ => format!("position {committed} of {end} in partition {partition}"),
        };
        let places: Vec<_> = positions.iter().map(place).collect();
        output::print(&format!(
            "{}: {handled} handled, {failed} failed, {retried} retried in {elapsed:.1} s ({rate:.0}/s){}{}\n",
            plan.group,
            if places.is_empty() { "" } else { "; " },
            places.join(", ")
        ))?;
    }
    match (end, failed) {
        (End::Interrupted, _) => Err(Error::Interrupted { resume: command_line() }),
        (End::Complete, 0) => Ok(()),
        (End::Complete, _) => Err(Error::ReplayFailed { failed, dead: plan.dead.to_string() }),
    }
}

/// What would run, by looking at each event.
fn dry_run(log: &Log, plan: &Plan, options: &ReplayOptions) -> Result<(), Error> {
    let mut count = 0u64;
    let mut first = None;
    let mut last = None;
    for range in &plan.ranges {
        let mut here = 0;
        log.scan(&plan.topic, range.partition, range.from, None, |event| {
            if event.offset >= range.end {
                return Ok(false);
            }
            here += 1;
            let at = (event.time, event.partition, event.offset);
            first = Some(first.map_or(at, |first| at.min(first)));
            last = Some(last.map_or(at, |last| at.max(last)));
            Ok(true)
        })?;
        // Some beyond the group's position may be finished.
        count += if plan.resumed { range.left.min(here) } else { here };
    }
    let Plan { topic, functions, group, .. } = plan;
    let ends = first.zip(last);
    if options.log.json {
        let end = |(time, partition, offset): (eventlog::Timestamp, u32, u64)| json!({"partition": partition, "offset": offset, "time": time.0});
        return output::print_document(&json!({
            "topic": topic.as_str(),
            "group": group,
            "functions": functions,
            "events": count,
            "first": ends.map(|(first, _)| end(first)),
            "last": ends.map(|(_, last)| end(last)),
        }));
    }
    let mut text =
        format!("{topic}: {count} events would run {} as {group}\n", functions.join(", "));
    if let Some(((since, _, from), (until, _, to))) = ends {
        text += &format!("from offset {from}, {}\n", when::format(since));
        text += &format!("to   offset {to}, {}\n", when::format(until));
    }
    output::print(&text)
}
