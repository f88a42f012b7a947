//! `spacer completions`.

use std::io;

use clap::CommandFactory;
use clap_complete::shells::{Bash, Zsh};

use crate::cli::{Cli, Shell};
use crate::error::Error;

pub fn run(shell: Shell) -> Result<(), Error> {
    let mut script = Vec::new();
    let command = &mut Cli::command();
    match shell {
        Shell::Bash => clap_complete::generate(Bash, command, "spacer", &mut script),
        Shell::Zsh => clap_complete::generate(Zsh, command, "spacer", &mut script),
    }
    io::Write::write_all(&mut io::stdout(), &script).map_err(Error::Output)
}
