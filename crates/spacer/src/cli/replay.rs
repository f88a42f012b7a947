//! What can be typed after `spacer replay`.

use clap::Args;
use eventlog::Timestamp;
use jiff::tz::TimeZone;

use super::topics::LogOptions;
use super::NginxOptions;
use crate::when;

#[derive(Debug, Args)]
pub struct ReplayOptions {
    /// The topic whose events are handled
    pub topic: String,
    /// A function to run, in the order given [default: those that events of the topic trigger]
    #[arg(long = "function", value_name = "FUNCTION")]
    pub functions: Vec<String>,
    /// Begin with this offset [default: the first event]
    #[arg(long, value_name = "OFFSET", conflicts_with = "since")]
    pub from: Option<u64>,
    /// Begin with the first event of this time or later: 2026-11-21T09:30:00Z, 2026-11-21, or 2h30m for so long ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Moment>,
    /// Stop before this offset, or before the first event of this time or later [default: the newest event as of now]
    #[arg(long, value_name = "OFFSET|TIME", value_parser = until)]
    pub until: Option<Until>,
    /// The consumer group, which remembers how far it came [default: named after topic, functions and range]
    #[arg(long, value_name = "NEW")]
    pub group: Option<String>,
    /// Run at most so many events a second
    #[arg(long, value_name = "NUMBER", value_parser = rate)]
    pub rate: Option<f64>,
    /// Say what would run, and run nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub log: LogOptions,
    #[command(flatten)]
    pub nginx: NginxOptions,
}

/// A time, and how it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    pub text: String,
    pub time: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Until {
    Offset(u64),
    Time(Moment),
}

fn moment(text: &str) -> Result<Moment, String> {
    match when::parse(text, Timestamp::now(), &TimeZone::system()) {
        Some(time) => Ok(Moment { text: text.into(), time }),
        None => Err(when::FORMS.into()),
    }
}

fn until(text: &str) -> Result<Until, String> {
    match text.parse() {
        Ok(offset) => Ok(Until::Offset(offset)),
        Err(_) => moment(text)
            .map(Until::Time)
            .map_err(|forms| format!("{forms}; or an offset, a whole number")),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("use a number above 0".into()),
    }
}
