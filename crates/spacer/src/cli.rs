//! What can be typed.

mod replay;
mod topics;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use replay::{ReplayOptions, Until};
pub use topics::{DeadCommand, Letters, LogOptions, TailOptions, TopicsCommand};

/// Serves Lua functions with nginx.
#[derive(Debug, Parser)]
#[command(name = "spacer", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a project in a folder
    Init {
        /// The folder; it is made if it isn't there, and nothing in it is overwritten
        dir: PathBuf,
    },
    /// Serve a project while you edit it, until Ctrl-C
    Dev(DevOptions),
    /// Serve a project in the foreground, for systemd or a container
    ///
    /// Signals mean what they mean to nginx: TERM and INT stop at once, QUIT lets requests finish, HUP renders the
    /// configuration again and reloads it, USR1 opens the logs anew.
    Start(StartOptions),
    /// Print which request reaches which function, and check that the functions compile
    Routes {
        /// The project's folder
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Print an array of objects instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Look into the event log, and append to it
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// Run functions over a topic's past events
    ///
    /// The events are handled by a consumer group of their own, which remembers how far it came: the same command goes
    /// on where it stopped.
    Replay(ReplayOptions),
    /// Print the nginx configuration that a project is served with
    NginxConfig(StartOptions),
    /// Print a completion script for a shell
    Completions { shell: Shell },
    /// Print the version
    Version,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
}

#[derive(Debug, Clone, Args)]
pub struct ServerOptions {
    /// The project's folder
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// The port to listen on
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// The address to listen on; 0.0.0.0 is every one of this machine
    #[arg(long, default_value = "127.0.0.1")]
    pub host: std::net::IpAddr,
    #[command(flatten)]
    pub nginx: NginxOptions,
}

/// Which nginx is run, and how.
#[derive(Debug, Clone, Args)]
pub struct NginxOptions {
    /// The user to run workers as, when started as root [default in development: root]
    #[arg(long)]
    pub user: Option<String>,
    /// The nginx to run [default: the one on PATH, or /usr/sbin/nginx]
    #[arg(long, env = "SPACER_NGINX", hide_env_values = true)]
    pub nginx: Option<PathBuf>,
    /// The Spacer module to load [default: beside this command, or in nginx's folder of modules]
    #[arg(long, env = "SPACER_MODULE", hide_env_values = true)]
    pub module: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct DevOptions {
    #[command(flatten)]
    pub server: ServerOptions,
}

#[derive(Debug, Args)]
pub struct StartOptions {
    #[command(flatten)]
    pub server: ServerOptions,
    /// The environment: development, test, production, or another that logStorage names
    #[arg(long, value_parser = environment)]
    pub env: String,
}

/// An environment's name goes into nginx's configuration, so that it is kept to one plain word.
fn environment(name: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() || !name.chars().all(plain) {
        return Err("use letters, digits, \"_\" and \"-\"".into());
    }
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
