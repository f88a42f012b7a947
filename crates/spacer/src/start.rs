//! `spacer start`: serves a project in the foreground, for systemd or a container.
//!
//! Signals mean what they mean to nginx (its manual, "Controlling nginx"), and HUP renders the configuration again
//! first. It exits with 0 when it is stopped by a signal.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::cli::StartOptions;
use crate::error::Error;
use crate::project::Project;
use crate::server::{Signals, Site};

/// What is left of a fast shutdown after this is killed; systemd's own limit is 90 s.
const FAST: [(Signal, Option<Duration>); 1] = [(Signal::SIGTERM, Some(Duration::from_secs(30)))];
/// Requests may finish; another TERM ends the wait.
const GRACEFUL: [(Signal, Option<Duration>); 2] =
    [(Signal::SIGQUIT, None), (Signal::SIGTERM, Some(Duration::from_secs(30)))];

pub fn run(options: &StartOptions) -> Result<(), Error> {
    let project = Project::open(&options.server.dir)?;
    let signals = Signals::new()?;
    let site = Site::prepare(&project, &options.server, &options.env)?;
    let mut master = site.start()?;
    let mut stop = site.wait_until_ready(&mut master, &signals)?;
    if stop.is_none() {
        eprintln!("spacer: serving {} ({}); logs are in logs/", project.dir.display(), options.env);
    }
    loop {
        match stop {
            Some(Signal::SIGINT | Signal::SIGTERM) => {
                master.stop(&FAST, &signals, || ());
                return Ok(());
            }
            Some(Signal::SIGQUIT) => {
                master.stop(&GRACEFUL, &signals, || ());
                return Ok(());
            }
            Some(Signal::SIGHUP) => match site.install() {
                Ok(()) => master.send(Signal::SIGHUP),
                Err(error) => eprintln!("spacer: {error}; the earlier configuration stays in use"),
            },
            Some(other) => master.send(other),
            None => {}
        }
        if let Some(status) = master.exited() {
            return Err(site.died(status));
        }
        stop = signals.wait(Duration::from_millis(500));
    }
}
