//! `spacer topics`: looks into a project's event log, and appends to it.
//!
//! Every command opens the log itself, beside nginx; `crate::log` has what they share.

mod append;
mod dead;
mod lag;
mod list;
mod tail;

use eventlog::dead_letter::Ended;

use crate::cli::{DeadCommand, TopicsCommand};
use crate::error::Error;

pub fn run(command: &TopicsCommand) -> Result<(), Error> {
    match command {
        TopicsCommand::List(options) => list::run(options),
        TopicsCommand::Tail(options) => tail::run(options),
        TopicsCommand::Append { topic, key, value, log } => append::run(topic, key, value, log),
        TopicsCommand::Lag(options) => lag::run(options),
        TopicsCommand::Dead(DeadCommand::List { topic, log }) => dead::list(topic.as_deref(), log),
        TopicsCommand::Dead(DeadCommand::Requeue(letters)) => dead::end(letters, Ended::Requeued),
        TopicsCommand::Dead(DeadCommand::Drop(letters)) => dead::end(letters, Ended::Dropped),
    }
}
