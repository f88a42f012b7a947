//! How many events a second two members of a group handle, each with a thread that claims and one that settles, as in
//! two workers of nginx: a backlog under few keys, of which some fail and come again. And how long single events take
//! from their acknowledgement to a member.
//!
//! `cargo run --release -p eventlog --example triggers -- postgres CONNINFO` or `... -- sqlite FILE`
//!
//! It makes topics in the store: take an empty one.

mod support;

use std::env;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use eventlog::{Append, Delivery, Driver, Limits, NewEvent, Outcome, Subscription, Topic};

const MEMBERS: usize = 2;
const CONCURRENCY: usize = 16;
const KEYS: usize = 48;
const EVENTS: usize = 20_000;
const RETRY: Duration = Duration::from_millis(50);
const ATTEMPTS: u32 = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let driver = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["postgres", conninfo] => Driver::Postgres { conninfo: conninfo.to_owned() },
        ["sqlite", file] => Driver::Sqlite { path: file.into() },
        _ => return Err("give postgres CONNINFO or sqlite FILE".into()),
    };
    for failing in [0, 6] {
        let handled = backlog(&driver, failing)?;
        println!("{EVENTS} events of {KEYS} keys, {failing} % fail: {handled:.0} events/s");
    }
    let (log, topic) = support::open(&driver, &unused("latency"))?;
    let latency = support::latency(&*log, &topic, Duration::from_secs(3), |over, claimed| {
        members(&driver, &topic, over, &|delivery| {
            claimed(delivery);
            Outcome::Finished
        })
    })?;
    println!("acknowledged to claimed, at 100 events/s: {latency}");
    Ok(())
}

/// The name of a topic that no earlier run has used.
fn unused(name: &str) -> String {
    format!("{name}-{}", &eventlog::AppendId::random().to_string()[24..])
}

/// A sixth of the failing events fails always, the others at the first attempt.
fn outcome(delivery: &Delivery, failing: u64) -> Outcome {
    // Scattered, so that the keys share the failing ones.
    let dice = (delivery.event.offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) % 100;
    let (fails, attempt) = (dice < failing, delivery.attempt());
    match () {
        () if !fails || dice * 6 >= failing && attempt > 1 => Outcome::Finished,
        () if attempt >= ATTEMPTS => Outcome::Dead("always".into()),
        () => Outcome::Retry(RETRY * 2u32.pow(attempt - 1)),
    }
}

/// Runs the members until `over`, each on a log of its own; `handle` says how an event ends.
fn members(
    driver: &Driver,
    topic: &Topic,
    over: &AtomicBool,
    handle: &(impl Fn(&Delivery) -> Outcome + Sync),
) -> eventlog::Result<()> {
    support::at_once(MEMBERS, |number| {
        let log = eventlog::open(driver, Limits::default())?;
        let name = format!("member-{number}");
        let mut s = Subscription::new("group", std::slice::from_ref(topic), &name);
        s.concurrency = CONCURRENCY;
        let member = log.join(s)?;
        let (settlements, queue) = mpsc::channel();
        thread::scope(|scope| {
            let member = &member;
            let settling = scope.spawn(move || -> eventlog::Result<()> {
                while let Ok(first) = queue.recv() {
                    let mut batch = vec![first];
                    batch.extend(queue.try_iter().take(255));
                    member.settle(&batch)?;
                }
                Ok(())
            });
            while !over.load(Ordering::Acquire) {
                for delivery in member.claim(CONCURRENCY, Duration::from_millis(100))? {
                    let outcome = handle(&delivery);
                    drop(settlements.send((delivery.claim, outcome)));
                }
            }
            drop(settlements);
            settling.join().expect("no panic")
        })?;
        member.leave()
    })
}

/// Answers events a second.
fn backlog(driver: &Driver, failing: u64) -> eventlog::Result<f64> {
    let (log, topic) = support::open(driver, &unused(&format!("backlog-{failing}")))?;
    for first in (0..EVENTS).step_by(100) {
        let event =
            |n: usize| NewEvent::new(&topic, format!("key-{}", n * 31 % KEYS), n.to_string());
        log.append(Append::new((first..first + 100).map(event).collect()))?;
    }
    let (ended, over, begun) = (AtomicUsize::new(0), AtomicBool::new(false), Instant::now());
    members(driver, &topic, &over, &|delivery| {
        let outcome = outcome(delivery, failing);
        if !matches!(outcome, Outcome::Retry(_))
            && ended.fetch_add(1, Ordering::AcqRel) + 1 == EVENTS
        {
            over.store(true, Ordering::Release);
        }
        outcome
    })?;
    Ok(EVENTS as f64 / begun.elapsed().as_secs_f64())
}
