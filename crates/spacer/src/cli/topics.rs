//! What can be typed after `spacer topics`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::environment;

/// Which project's event log, and how the answer is printed.
#[derive(Debug, Clone, Args)]
pub struct LogOptions {
    /// The project's folder
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
    /// The environment, whose entry of logStorage says where the log is
    #[arg(long, default_value = "development", value_parser = environment)]
    pub env: String,
    /// Print JSON for programs instead of text for people
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum TopicsCommand {
    /// Print the topics, how many events each has, and which functions it triggers
    List(LogOptions),
    /// Print a topic's newest events
    Tail(TailOptions),
    /// Append one event
    Append {
        topic: String,
        key: String,
        /// The value; - reads it from standard input
        #[arg(value_name = "JSON", allow_hyphen_values = true)]
        value: String,
        #[command(flatten)]
        log: LogOptions,
    },
    /// Print how far each consumer group is
    Lag(LogOptions),
    /// Look at and deal with the events whose functions failed for good
    #[command(subcommand)]
    Dead(DeadCommand),
}

#[derive(Debug, Args)]
pub struct TailOptions {
    pub topic: String,
    /// Go on with events as they are appended, until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// Begin with this offset instead of the newest events
    #[arg(long, value_name = "OFFSET")]
    pub from: Option<u64>,
    /// Only events of this key
    #[arg(long)]
    pub key: Option<String>,
    /// How many events to print [default: 10; all with --from]
    #[arg(short = 'n', long, value_name = "NUMBER")]
    pub lines: Option<usize>,
    #[command(flatten)]
    pub log: LogOptions,
}

#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// Print the dead letters that were neither requeued nor dropped
    List {
        /// Only those of this topic
        topic: Option<String>,
        #[command(flatten)]
        log: LogOptions,
    },
    /// Append the events to their topics again, so that their functions run once more
    Requeue(Letters),
    /// Mark dead letters as dealt with
    Drop(Letters),
}

#[derive(Debug, Args)]
pub struct Letters {
    /// The topic; with --all, left out for every topic
    #[arg(required_unless_present = "all")]
    pub topic: Option<String>,
    /// The letters, as OFFSET in `dead list` names them, or PARTITION:OFFSET
    #[arg(value_name = "OFFSET", value_parser = letter, required_unless_present = "all", conflicts_with = "all")]
    pub letters: Vec<(u32, u64)>,
    /// Every letter that `dead list` shows
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub log: LogOptions,
}

fn letter(text: &str) -> Result<(u32, u64), String> {
    let (partition, offset) = text.split_once(':').unwrap_or(("0", text));
    match (partition.parse(), offset.parse()) {
        (Ok(partition), Ok(offset)) => Ok((partition, offset)),
        _ => Err("use OFFSET or PARTITION:OFFSET, both whole numbers".into()),
    }
}
