//! How far a replay is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// Between two lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(10);

/// What has become of the events so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub handled: u64,
    pub failed: u64,
    /// Attempts that failed and were followed by another.
    pub retried: u64,
}

impl Counts {
    pub fn done(&self) -> u64 {
        self.handled + self.failed
    }
}

pub struct Progress {
    total: u64,
    /// `None` where there is no terminal.
    bar: Option<ProgressBar>,
    began: Instant,
    said: Instant,
}

impl Progress {
    pub fn new(total: u64) -> Progress {
        let now = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| bar(total));
        Progress { total, bar, began: now, said: now }
    }

    pub fn show(&mut self, counts: Counts) {
        match &self.bar {
            Some(bar) => {
                // What came to light on the way: a store's count of what is left may be short.
                bar.set_length(self.total.max(counts.done()));
                bar.set_position(counts.done());
                bar.set_message(format!("{} failed, {} retried", counts.failed, counts.retried));
            }
            None if self.said.elapsed() >= PAUSE => {
                self.said = Instant::now();
                let rate = counts.done() as f64 / self.began.elapsed().as_secs_f64();
                eprintln!(
                    "{} of {} events, {rate:.0}/s, {} failed, {} retried",
                    counts.done(),
                    self.total.max(counts.done()),
                    counts.failed,
                    counts.retried
                );
            }
            None => {}
        }
    }

    /// A line of its own, above the bar.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

fn bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let template = "{bar:30} {human_pos}/{human_len}  {rate}/s  {eta} left  {msg}";
    let rate = |state: &ProgressState, output: &mut dyn std::fmt::Write| {
        // The bar is drawn without it if this fails.
        let _ = write!(output, "{:.0}", state.per_sec());
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.with_key("rate", rate)),
        // indicatif's own look.
        Err(_) => bar,
    }
}
