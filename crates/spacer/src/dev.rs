//! `spacer dev`: serves a project while it is edited.
//!
//! The module itself reads saved functions and routes anew. This command renders and reloads nginx's configuration when
//! config/ changes, and shows the logs. It exits with 0 when it is stopped by Ctrl-C or TERM.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway::{Method, Verb};
use nix::sys::signal::Signal;

use crate::access_log::{access_color, error_color, is_routine, painted};
use crate::cli::DevOptions;
use crate::config::DEVELOPMENT;
use crate::error::Error;
use crate::project::{Project, NGINX_CONF};
use crate::server::{Master, Signals, Site};
use crate::tail::Tail;
use crate::watch::Watch;

/// How nginx is ended: gracefully, then at once.
const STOP: [(Signal, Option<Duration>); 2] = [
    (Signal::SIGQUIT, Some(Duration::from_secs(3))),
    (Signal::SIGTERM, Some(Duration::from_secs(2))),
];

pub fn run(options: &DevOptions) -> Result<(), Error> {
    let project = Project::open(&options.server.dir)?;
    let signals = Signals::new()?;
    let mut watch = Watch::new([NGINX_CONF, application::FILE].map(|file| project.path(file)));
    let site = Site::prepare(&project, &options.server, DEVELOPMENT)?;
    let mut logs = Logs::new(site.access_log(), site.error_log());

    let mut master = site.start()?;
    let stopped = site.wait_until_ready(&mut master, &signals);
    logs.show();
    if stopped?.is_none() {
        welcome(&site);
        loop {
            match signals.wait(Duration::from_millis(100)) {
                Some(Signal::SIGINT | Signal::SIGTERM | Signal::SIGQUIT) => break,
                Some(Signal::SIGHUP) => reload(&site, &master, "HUP"),
                Some(other) => master.send(other),
                None => {}
            }
            logs.show();
            if let Some(status) = master.exited() {
                return Err(site.died(status));
            }
            let changed: Vec<String> =
                watch.changed().iter().map(|file| shown(file, &project)).collect();
            if !changed.is_empty() {
                reload(&site, &master, &changed.join(" and "));
            }
        }
    }
    master.stop(&STOP, &signals, || logs.show());
    logs.show();
    say("stopped");
    Ok(())
}

/// Renders the configuration after a change; the old one stays in use if that fails.
fn reload(site: &Site, master: &Master, cause: &str) {
    match site.install() {
        Ok(()) => {
            master.send(Signal::SIGHUP);
            say(&format!("{cause}: configuration reloaded"));
        }
        Err(error) => {
            eprintln!("spacer: {error}");
            say(&format!("{cause}: the earlier configuration stays in use"));
        }
    }
}

fn shown(file: &Path, project: &Project) -> String {
    format!("{} changed", file.strip_prefix(&project.dir).unwrap_or(file).display())
}

fn welcome(site: &Site) {
    let host = site.options.host;
    let host = match host {
        _ if host.is_unspecified() || host.is_loopback() => "localhost".to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        std::net::IpAddr::V4(ip) => ip.to_string(),
    };
    let url = format!("http://{host}:{}", site.options.port);
    say(&format!("serving {} on {url} until Ctrl-C; try", site.project.dir.display()));
    say(&format!("\n  curl {url}{}\n", example_path(site.project)));
}

/// The path of a GET route to try, one without parameters if there is one.
fn example_path(project: &Project) -> String {
    let Ok(table) = project.gateway() else { return "/".into() };
    let gets = || {
        table
            .routes()
            .iter()
            .filter(|route| matches!(route.verb, Verb::One(Method::Get) | Verb::Any))
    };
    let plain = |path: &str| path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let path = gets().map(|route| route.path.as_str()).find(|path| plain(path));
    let filled = || {
        let path = gets().next()?.path.as_str();
        let segments =
            path.split('/')
                .map(|segment| if segment.starts_with([':', '*']) { "1" } else { segment });
        Some(segments.collect::<Vec<_>>().join("/"))
    };
    path.map(String::from).or_else(filled).unwrap_or_else(|| "/".into())
}

/// A terminal that went away must not end the server before it is stopped in order.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Both logs, followed on the terminal.
struct Logs {
    access: Tail,
    error: Tail,
    colors: bool,
}

impl Logs {
    fn new(access: PathBuf, error: PathBuf) -> Logs {
        let colors = io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Logs { access: Tail::new(access), error: Tail::new(error), colors }
    }

    fn show(&mut self) {
        let mut text = Vec::new();
        for line in self.error.lines().iter().filter(|line| !is_routine(line)) {
            text.extend(painted(line, error_color(line).filter(|_| self.colors)));
            text.push(b'\n');
        }
        for line in self.access.lines() {
            text.extend(painted(&line, access_color(&line).filter(|_| self.colors)));
            text.push(b'\n');
        }
        if !text.is_empty() {
            let mut out = io::stdout().lock();
            let _ = out.write_all(&text).and_then(|()| out.flush());
        }
    }
}
