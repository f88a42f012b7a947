//! What the SQLite driver reaches, against the ceiling of the same file layout under the same durability: a plain loop of
//! transactions of prepared inserts, each waiting for the disk, with batches of the size that the driver's groups had.
//!
//! `cargo run --release -p eventlog --example sqlite_throughput -- FOLDER [SECONDS]`
//!
//! FOLDER is made, and should be on the disk that is meant: /tmp may be memory. The appenders are processes of their own,
//! this program again, so that their CPU time is theirs alone.

mod support;

use std::env;
use std::error::Error;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use eventlog::{Append, Driver, EventLog, NewEvent, Outcome, Subscription, Topic};
use rusqlite::{params, Connection};
use rustix::time::{clock_gettime, ClockId};
use support::{appends, median_and_p99, submits, APPENDERS, VALUE};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const LARGE_BATCH: usize = 1000;
const TURNS: usize = 3;
const KEYS: usize = 10_000;

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["child", how, path, events, seconds] => {
            child(how, Path::new(path), events.parse()?, seconds.parse()?)
        }
        ["consume", folder] => {
            println!("{:?}", consume(Path::new(folder), 1)?);
            Ok(())
        }
        [folder] => compare(Path::new(folder), 1),
        [folder, seconds] => compare(Path::new(folder), seconds.parse()?),
        _ => Err("usage: sqlite_throughput FOLDER [SECONDS]".into()),
    }
}

fn compare(folder: &Path, seconds: u64) -> Result<()> {
    fs::create_dir_all(folder)?;
    let large = ceiling(folder, LARGE_BATCH, seconds)?.rate();
    println!("plain loop, {LARGE_BATCH} events a commit: {large:.0} events/s");
    println!("{COLUMNS}");
    for (how, processes, events) in
        [("append", 1, 1), ("submit", 1, 1), ("submit", 2, 1), ("submit", 1, 20), ("submit", 2, 20)]
    {
        let load = Load { how, processes, events };
        let (mut reached, mut most) = (Reached::default(), Reached::default());
        // Turn by turn, so that both meet the same other users of the machine.
        for _ in 0..TURNS {
            reached.add(&load.run(folder, seconds)?);
            let group = (reached.events / reached.commits).round() as usize;
            most.add(&ceiling(folder, group.max(1), seconds)?);
        }
        load.print(&reached, &most);
    }
    for members in [1, 4] {
        let (rate, cpu) = consume(folder, members)?;
        println!("{members} consumers, 64 claimed and settled at a time: {rate:.0} events/s, {cpu:.1} CPU s/million");
    }
    println!("lone append: {}", median_and_p99(lone(folder, 500)?));
    Ok(())
}

const COLUMNS: &str = "how    processes events/append   events/s  commits/s events/commit  \
                       CPU s/million  plain loop  CPU s/million  ratio";

struct Load {
    how: &'static str,
    processes: usize,
    events: usize,
}

#[derive(Default)]
struct Reached {
    events: f64,
    commits: f64,
    /// Of all processes, in seconds.
    cpu: f64,
    seconds: f64,
}

impl Reached {
    fn rate(&self) -> f64 {
        self.events / self.seconds
    }

    fn cpu_per_million(&self) -> f64 {
        self.cpu / self.events * 1e6
    }

    fn add(&mut self, turn: &Reached) {
        self.events += turn.events;
        self.commits += turn.commits;
        self.cpu += turn.cpu;
        self.seconds += turn.seconds;
    }
}

impl Load {
    fn run(&self, folder: &Path, seconds: u64) -> Result<Reached> {
        let path = fresh(folder)?;
        // Open until the end, so that no process that closes last tidies up within its time.
        let _log = open(&path)?;
        let before = commits(&path)?;
        let mut children = Vec::new();
        for _ in 0..self.processes {
            let child = Command::new(env::current_exe()?)
                .args(["child", self.how])
                .arg(&path)
                .args([self.events.to_string(), seconds.to_string()])
                .stdout(Stdio::piped())
                .spawn()?;
            children.push(child);
        }
        let mut reached = Reached::default();
        for mut child in children {
            let mut said = String::new();
            child.stdout.take().ok_or("no pipe")?.read_to_string(&mut said)?;
            if !child.wait()?.success() {
                return Err(format!("an appending process failed: {said}").into());
            }
            let numbers: Vec<f64> =
                said.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
            let [events, cpu, time] = numbers[..] else { return Err(said.into()) };
            reached.events += events;
            reached.cpu += cpu;
            reached.seconds = time.max(reached.seconds);
        }
        reached.commits = commits(&path)?.wrapping_sub(before).into();
        Ok(reached)
    }

    fn print(&self, reached: &Reached, most: &Reached) {
        println!(
            "{:<6} {:>9} {:>13} {:>10.0} {:>10.0} {:>13.1} {:>14.1} {:>11.0} {:>14.1} {:>6.2}",
            self.how,
            self.processes,
            self.events,
            reached.rate(),
            reached.commits / reached.seconds,
            reached.events / reached.commits,
            reached.cpu_per_million(),
            most.rate(),
            most.cpu_per_million(),
            reached.rate() / most.rate(),
        );
    }
}

fn child(how: &str, path: &Path, events: usize, seconds: u64) -> Result<()> {
    let (log, topic) = open(path)?;
    let (cpu, begun, time) = (cpu_time(), Instant::now(), Duration::from_secs(seconds));
    let stored = match how {
        "append" => appends(&*log, begun + time, |me, n| next(&topic, events, me, n))?,
        _ => submits(&*log, begun + time, |n| next(&topic, events, 0, n))?,
    };
    println!("{stored} {} {}", cpu_time() - cpu, begun.elapsed().as_secs_f64());
    Ok(())
}

/// Appends of so many events. Their keys begin elsewhere for each appender.
fn next(topic: &Topic, events: usize, me: usize, number: usize) -> Append {
    let first = me * KEYS / APPENDERS + number * events;
    let event = |n| NewEvent::new(topic, key(first + n), VALUE);
    Append::new((0..events).map(event).collect())
}

fn key(number: usize) -> String {
    // Keys that follow each other aren't neighbours in the index.
    format!("customer-{}", number * 7919 % KEYS)
}

/// Transactions of `batch` inserts one after the other, into a topic's table.
fn ceiling(folder: &Path, batch: usize, seconds: u64) -> Result<Reached> {
    let path = fresh(folder)?;
    drop(open(&path)?);
    let mut db = Connection::open(path)?;
    db.execute_batch("PRAGMA journal_mode = wal; PRAGMA synchronous = full")?;
    let time = Duration::from_secs(seconds);
    let (mut number, mut commits, cpu, begun) = (0, 0.0, cpu_time(), Instant::now());
    while begun.elapsed() < time {
        let transaction = db.transaction()?;
        for _ in 0..batch {
            number += 1;
            let sql = "INSERT INTO topic_load (key, value, created_at) VALUES (?1, ?2, ?3)";
            let now = eventlog::Timestamp::now().0 as i64;
            transaction.prepare_cached(sql)?.execute(params![key(number), VALUE, now])?;
        }
        transaction.commit()?;
        commits += 1.0;
    }
    let (events, cpu, seconds) = (number as f64, cpu_time() - cpu, begun.elapsed().as_secs_f64());
    Ok(Reached { events, commits, cpu, seconds })
}

/// Members of one group that handle what is in a topic, in threads of one process. Answers events a second, and CPU
/// seconds per million events.
fn consume(folder: &Path, members: usize) -> Result<(f64, f64)> {
    const EVENTS: usize = 100_000;
    let (log, topic) = open(&fresh(folder)?)?;
    for number in 0..EVENTS / LARGE_BATCH {
        log.append(next(&topic, LARGE_BATCH, 0, number))?;
    }
    let (cpu, begun) = (cpu_time(), Instant::now());
    let handled = AtomicUsize::new(0);
    support::at_once(members, |number| {
        let topics = std::slice::from_ref(&topic);
        let member = log.join(Subscription::new("group", topics, &number.to_string()))?;
        while handled.load(Ordering::Relaxed) < EVENTS {
            let found = member.claim(64, Duration::from_millis(10))?;
            let all = found.into_iter().map(|d| (d.claim, Outcome::Finished)).collect::<Vec<_>>();
            handled.fetch_add(member.settle(&all)?.len(), Ordering::Relaxed);
        }
        Ok(())
    })?;
    let time = begun.elapsed().as_secs_f64();
    Ok((EVENTS as f64 / time, (cpu_time() - cpu) / EVENTS as f64 * 1e6))
}

/// How long appends take that have the log to themselves.
fn lone(folder: &Path, rounds: usize) -> Result<Vec<Duration>> {
    let (log, topic) = open(&fresh(folder)?)?;
    let mut waits = Vec::with_capacity(rounds);
    for number in 0..rounds {
        let append = next(&topic, 1, 0, number);
        let begun = Instant::now();
        log.append(append)?;
        waits.push(begun.elapsed());
        thread::sleep(Duration::from_millis(2));
    }
    Ok(waits)
}

fn open(path: &Path) -> eventlog::Result<(Arc<dyn EventLog>, Topic)> {
    support::open(&Driver::Sqlite { path: path.to_owned() }, "load")
}

/// A file that isn't there yet.
fn fresh(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("throughput.db");
    for suffix in ["", "-wal", "-shm"] {
        match fs::remove_file(folder.join(format!("throughput.db{suffix}"))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(path)
}

/// How many transactions were committed: SQLite counts them in the head of the index of its write-ahead log
/// (<https://sqlite.org/walformat.html>, `iChange`).
fn commits(path: &Path) -> Result<u32> {
    let mut name = path.as_os_str().to_owned();
    name.push("-shm");
    let mut count = [0; 4];
    fs::File::open(name)?.read_exact_at(&mut count, 8)?;
    Ok(u32::from_ne_bytes(count))
}

/// Of this process, in seconds.
fn cpu_time() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}
