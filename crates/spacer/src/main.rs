//! The `spacer` command: makes a project, serves it, and shows what it consists of.
//!
//! `cli` says what can be typed, and each command is a file of its name. Below them, `project` reads a project's folder,
//! `config` renders its nginx configuration through `template`, `nginx` finds and checks the server to run, and `server`
//! keeps it running. `log` opens its event log, and `output` and `table` print what is found there.
//!
//! Exit codes: 0 done (a server stopped by a signal is done), 1 failed, 2 wrong usage, 130 a replay that was interrupted.

mod access_log;
mod cli;
mod completions;
mod config;
mod dev;
mod error;
mod init;
mod log;
mod nginx;
mod nginx_config;
mod output;
mod port;
mod project;
mod replay;
mod routes;
mod server;
mod start;
mod table;
mod tail;
mod template;
mod topics;
mod watch;
mod when;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::error::Error;

/// What shells give for a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Init { dir } => init::run(&dir),
        Command::Dev(options) => dev::run(&options),
        Command::Start(options) => start::run(&options),
        Command::Routes { dir, json } => routes::run(&dir, json),
        Command::Topics(command) => topics::run(&command),
        Command::Replay(options) => replay::run(&options),
        Command::NginxConfig(options) => nginx_config::run(&options),
        Command::Completions { shell } => completions::run(shell),
        Command::Version => {
            println!("spacer {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output has gone: `spacer routes | head`.
        Err(Error::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            let bold = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let name = if bold { "\x1b[1;31mspacer:\x1b[0m" } else { "spacer:" };
            eprintln!("{name} {error}");
            match error {
                Error::Interrupted { .. } => ExitCode::from(INTERRUPTED),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
