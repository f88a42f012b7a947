//! Other processes on a test's store, and `kill -9`.
//!
//! They are the test program again, running only its test `child`, which finds its [`Role`] in the environment. What a
//! process says is a number a line; the test hears each within [`SILENCE`] or fails.

// Each test file uses the part that fits its driver.
#![allow(dead_code)]

pub mod suite;

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use eventlog::Topic;

const ROLE: &str = "EVENTLOG_TEST_ROLE";
const STORE: &str = "EVENTLOG_TEST_STORE";
const NUMBER: &str = "EVENTLOG_TEST_NUMBER";
const FIRST: &str = "EVENTLOG_TEST_FIRST";

/// Longer than anything takes that a process says.
const SILENCE: Duration = Duration::from_secs(20);

/// How many events an appender's every append holds.
pub const TOGETHER: usize = 3;

pub fn orders() -> Topic {
    Topic::new("orders").expect("a good name")
}

/// What a process is started for.
pub struct Role {
    pub name: String,
    /// The store, in the words of its driver's test.
    pub store: String,
    /// Which process it is among its like.
    pub number: usize,
    /// The first number that it deals with.
    pub first: usize,
}

impl Role {
    /// This process's own; `None` where it is not one of those that a test has started.
    pub fn of_this_process() -> Option<Role> {
        let name = env::var(ROLE).ok()?;
        let text = |name| env::var(name).expect("set");
        let number = |name| text(name).parse().expect("a number");
        Some(Role { name, store: text(STORE), number: number(NUMBER), first: number(FIRST) })
    }
}

/// To the process that has started this one.
pub fn say(number: usize) {
    // In one write, and past the test harness's capture.
    io::stdout().write_all(format!("said {number}\n").as_bytes()).expect("a listener");
    io::stdout().flush().expect("a listener");
}

/// Another process. It is killed when this is dropped.
pub struct Other {
    process: Child,
    said: Receiver<usize>,
}

impl Other {
    pub fn start(role: &str, store: &str, number: usize, first: usize) -> Other {
        let mut process = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", "child", "--nocapture"])
            .env(ROLE, role)
            .env(STORE, store)
            .env(NUMBER, number.to_string())
            .env(FIRST, first.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let (send, said) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let number = line.strip_prefix("said ").map(|n| n.parse().expect("a number"));
                if number.is_some_and(|number| send.send(number).is_err()) {
                    return;
                }
            }
        });
        Other { process, said }
    }

    /// The next number that it says; `None` at its end.
    pub fn hear(&self) -> Option<usize> {
        match self.said.recv_timeout(SILENCE) {
            Ok(number) => Some(number),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("process {} has said nothing for {SILENCE:?}", self.process.id())
            }
        }
    }

    /// The next number if it has said it already.
    pub fn overhear(&self) -> Option<usize> {
        self.said.try_recv().ok()
    }

    /// Fails if it says anything, or ends, in that time.
    pub fn stays_silent(&self, time: Duration) {
        assert_eq!(self.said.recv_timeout(time), Err(RecvTimeoutError::Timeout));
    }

    pub fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Kills it with signal 9, and answers what it had said that nobody has heard.
    pub fn kill(mut self) -> Vec<usize> {
        self.process.kill().expect("killed");
        self.process.wait().expect("waited");
        std::iter::from_fn(|| self.hear()).collect()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may have ended by itself, or been killed.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Starts an appender for each of the numbers, which is the first that it appends, lets them append for a while, and kills
/// them. Answers the first number of each that nobody heard acknowledged.
pub fn append_and_kill(store: &str, firsts: [usize; 3], time: Duration) -> [usize; 3] {
    let start = |me| (firsts[me], Other::start("append", store, me, firsts[me]));
    let others: [_; 3] = std::array::from_fn(start);
    // The first acknowledgement shows that it runs.
    others.iter().for_each(|(first, other)| assert_eq!(other.hear(), Some(*first)));
    thread::sleep(time);
    others.map(|(first, other)| other.kill().last().unwrap_or(&first) + 1)
}
