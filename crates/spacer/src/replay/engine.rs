//! Takes events from the log, lets their functions run, and settles them.
//!
//! One thread talks to the log: it claims events ahead of what runs, hands them to as many threads as may run at once,
//! and settles what these report, all that is there in one commit. The others do nothing but wait for answers.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use application::TriggerSettings;
use eventlog::{Claim, Consumer, Delivery, Offset, Outcome, Read, Settled};

use super::child::Child;
use super::client::{Client, Failure};
use super::plan::{position, Plan};
use super::progress::{Counts, Progress};
use super::rate::Rate;
use crate::error::Error;
use crate::log::Log;
use crate::output;
use crate::server::Signals;

/// The longest wait for anything, so that signals and the end of nginx are noticed.
const TICK: Duration = Duration::from_millis(200);
/// How often the member says that it lives: several times in a lease.
const SIGN_OF_LIFE: Duration = Duration::from_millis(1500);
/// Events that are claimed ahead, for each that may run.
const AHEAD: usize = 4;
/// Events beyond the end that are kept from being handed out again.
const BEYOND: usize = 1000;
/// Failures that are said while it runs; all are in the dead-letter topic.
const SAID: u64 = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Complete,
    Interrupted,
}

/// What a replay is run with.
pub struct Replay<'a> {
    pub log: &'a Log,
    pub plan: &'a Plan,
    pub settings: &'a TriggerSettings,
    pub rate: Rate,
    pub signals: &'a Signals,
    pub progress: &'a mut Progress,
}

struct Job {
    delivery: Delivery,
    /// Those before it have returned in an earlier attempt.
    first_function: usize,
}

struct Report {
    delivery: Delivery,
    /// Which function did not return, and why.
    failed: Option<(usize, Failure)>,
}

impl Replay<'_> {
    /// Runs it, on a private nginx that is ended here if its functions must not go on.
    pub fn run(
        self,
        member: &dyn Consumer,
        child: &mut Option<Child>,
    ) -> Result<(Counts, End), Error> {
        let concurrency = self.settings.concurrency;
        let client =
            child.as_ref().map(|child| Client::new(child.socket(), child.token(), concurrency));
        let Some(client) = client else {
            return Ok((Counts::default(), End::Interrupted));
        };
        let functions = &self.plan.functions;
        let (jobs, waiting) = mpsc::channel();
        let (report, reports) = mpsc::channel();
        let waiting = Mutex::new(waiting);
        thread::scope(|scope| {
            for _ in 0..concurrency {
                let (waiting, client, report) = (&waiting, &client, report.clone());
                scope.spawn(move || work(waiting, client, functions, &report));
            }
            let mut engine = Engine {
                replay: self,
                member,
                jobs,
                reports,
                ready: VecDeque::new(),
                begun: HashMap::new(),
                beyond: Vec::new(),
                running: 0,
                counts: Counts::default(),
                look_at: Instant::now(),
                lived: Instant::now(),
            };
            let end = engine.run(child);
            if engine.running > 0 {
                // The threads wait for answers until nginx is gone.
                drop(child.take());
            }
            Ok((engine.counts, end?))
        })
    }
}

fn work(
    waiting: &Mutex<Receiver<Job>>,
    client: &Client,
    functions: &[String],
    report: &Sender<Report>,
) {
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { delivery, first_function }) = job else { return };
        let run = |(i, function): (usize, &String)| {
            let failure = client.run(function, &delivery.event, delivery.attempt()).err()?;
            Some((i, failure))
        };
        let failed = functions.iter().enumerate().skip(first_function).find_map(run);
        if report.send(Report { delivery, failed }).is_err() {
            return;
        }
    }
}

struct Engine<'a> {
    replay: Replay<'a>,
    member: &'a dyn Consumer,
    jobs: Sender<Job>,
    reports: Receiver<Report>,
    /// Claimed, and not begun.
    ready: VecDeque<Delivery>,
    /// The function that each event that is to be retried begins with.
    begun: HashMap<(u32, Offset), usize>,
    /// Claimed, and not to be handled.
    beyond: Vec<Claim>,
    running: usize,
    counts: Counts,
    /// When a look at the log is worth while.
    look_at: Instant,
    lived: Instant,
}

impl Engine<'_> {
    fn run(&mut self, child: &mut Option<Child>) -> Result<End, Error> {
        let mut stopping = false;
        loop {
            if !stopping {
                self.begin();
            }
            self.replay.progress.show(self.counts);
            let reports = self.wait();
            let unreachable = self.settle(reports)?;
            if let Some(child) = child {
                if unreachable {
                    // The kernel tells of the end a moment after the connection is gone.
                    thread::sleep(Duration::from_millis(50));
                }
                child.check()?;
            }
            if self.replay.signals.stop(Duration::ZERO) {
                if stopping {
                    return Ok(End::Interrupted);
                }
                stopping = true;
                self.replay.progress.say("stopping: what runs may finish; Ctrl-C again ends it");
                self.release()?;
            }
            if self.running == 0 && stopping {
                return Ok(End::Interrupted);
            }
            if stopping {
                self.live()?;
            } else if self.running == 0 && self.ready.is_empty() && self.is_complete()? {
                self.release()?;
                return Ok(End::Complete);
            } else {
                self.claim()?;
            }
        }
    }

    /// Hands what is ready to the threads that are free, at the rate that is allowed.
    fn begin(&mut self) {
        let concurrency = self.replay.settings.concurrency;
        while self.running < concurrency && !self.ready.is_empty() {
            if !self.replay.rate.take(Instant::now()) {
                return;
            }
            let Some(delivery) = self.ready.pop_front() else { return };
            let at = (delivery.event.partition, delivery.event.offset);
            let first_function = self.begun.remove(&at).unwrap_or(0);
            // The threads live as long as this channel.
            if self.jobs.send(Job { delivery, first_function }).is_ok() {
                self.running += 1;
            }
        }
    }

    /// Waits for a report, and takes all that are there.
    fn wait(&mut self) -> Vec<Report> {
        let mut timeout = TICK;
        if !self.ready.is_empty() && self.running < self.replay.settings.concurrency {
            timeout = timeout.min(self.replay.rate.wait());
        }
        let mut reports = Vec::new();
        if self.running > 0 {
            reports.extend(self.reports.recv_timeout(timeout));
        } else if !self.ready.is_empty() {
            thread::sleep(timeout);
        }
        reports.extend(self.reports.try_iter());
        self.running -= reports.len();
        reports
    }

    /// Settles what has ended. Answers whether nginx gave no answer to some of it.
    fn settle(&mut self, reports: Vec<Report>) -> Result<bool, Error> {
        if reports.is_empty() {
            return Ok(false);
        }
        let mut unreachable = false;
        let mut settlements = Vec::new();
        for Report { delivery, failed } in &reports {
            let outcome = match failed {
                None => Outcome::Finished,
                Some((i, failure)) => {
                    unreachable |= matches!(failure, Failure::Connection(_));
                    let message = self.message(*i, failure);
                    match self.replay.settings.delay_after(delivery.attempt()) {
                        Some(delay) => Outcome::Retry(delay),
                        None => Outcome::Dead(message),
                    }
                }
            };
            settlements.push((delivery.claim.clone(), outcome));
        }
        let settled = self.member.settle(&settlements)?;
        self.look_at = Instant::now();
        for ((report, (_, outcome)), settled) in reports.iter().zip(&settlements).zip(settled) {
            if settled == Settled::Lost {
                // Another member has it by now, and counts it.
                continue;
            }
            let event = &report.delivery.event;
            match outcome {
                Outcome::Finished => self.counts.handled += 1,
                Outcome::Dead(message) | Outcome::GivenUp(message) => {
                    self.counts.failed += 1;
                    match self.counts.failed.cmp(&SAID) {
                        Ordering::Less => {
                            let (offset, key) = (event.offset, &event.key);
                            let line = format!("offset {offset}, key {key:?}: {message}");
                            self.replay.progress.say(&output::printable(&line));
                        }
                        Ordering::Equal => {
                            self.replay
                                .progress
                                .say("more events fail: `spacer topics dead list` shows them all");
                        }
                        Ordering::Greater => {}
                    }
                }
                Outcome::Retry(_) | Outcome::Resume { .. } | Outcome::Released => {
                    self.counts.retried += 1;
                    let function = report.failed.as_ref().map_or(0, |(i, _)| *i);
                    self.begun.insert((event.partition, event.offset), function);
                }
            }
        }
        Ok(unreachable)
    }

    fn message(&self, function: usize, failure: &Failure) -> String {
        let name = self.replay.plan.functions.get(function).map_or("", String::as_str);
        match failure {
            Failure::Function(message) => format!("{name}: {message}"),
            Failure::Connection(error) => {
                format!("{name}: nginx gave no answer ({error}); logs/replay.log may say why")
            }
        }
    }

    fn claim(&mut self) -> Result<(), Error> {
        let idle = self.running == 0 && self.ready.is_empty();
        let in_hand = self.running + self.ready.len();
        let room = (self.replay.settings.concurrency * AHEAD).saturating_sub(in_hand);
        if room == 0 || (!idle && Instant::now() < self.look_at) {
            return self.live();
        }
        let claimed = self.member.claim(room, if idle { TICK } else { Duration::ZERO })?;
        self.lived = Instant::now();
        let plan = self.replay.plan;
        let is_ours = |held: &Delivery| {
            // A partition that came into being since has no part in this replay.
            plan.range(held.event.partition).is_some_and(|range| held.event.offset < range.end)
        };
        let any = !claimed.is_empty();
        let (ours, beyond) = claimed.into_iter().partition::<Vec<_>, _>(is_ours);
        if ours.is_empty() {
            // Nothing changes before a retry is due or something is settled.
            self.look_at = Instant::now() + TICK;
            if any && idle {
                thread::sleep(TICK / 4);
            }
        }
        self.ready.extend(ours);
        self.beyond.extend(beyond.into_iter().map(|held| held.claim));
        if self.beyond.len() > BEYOND {
            // They may fill what a member may have in hand; those that are to be handled come before them again.
            self.give_back_beyond()?;
        }
        Ok(())
    }

    /// Whether every event before the end is finished.
    fn is_complete(&self) -> Result<bool, Error> {
        let Replay { log, plan, .. } = &self.replay;
        for extent in log.events.offsets(&plan.topic)? {
            let Some(range) = plan.range(extent.partition) else { continue };
            // Not every store knows of a position before the first event is finished.
            let position = position(&extent, &plan.group);
            let from = position.map_or(range.from, |position| position.committed);
            if from >= range.end {
                continue;
            }
            // Offsets may have gaps: the position may stand before one that reaches to the end.
            let partition = extent.partition;
            let read = Read { partition, from, limit: 1, ..Read::default() };
            if log
                .events
                .read(&plan.topic, &read)?
                .first()
                .is_some_and(|next| next.offset < range.end)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn live(&mut self) -> Result<(), Error> {
        if self.lived.elapsed() >= SIGN_OF_LIFE {
            self.member.extend()?;
            self.lived = Instant::now();
        }
        Ok(())
    }

    /// Gives back what is claimed and not begun.
    fn release(&mut self) -> Result<(), Error> {
        self.beyond.extend(self.ready.drain(..).map(|held| held.claim));
        self.give_back_beyond()
    }

    fn give_back_beyond(&mut self) -> Result<(), Error> {
        let back: Vec<_> = self.beyond.drain(..).map(|claim| (claim, Outcome::Released)).collect();
        if !back.is_empty() {
            self.member.settle(&back)?;
        }
        Ok(())
    }
}
