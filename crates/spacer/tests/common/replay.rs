//! A project whose events a replay hands to a server of the test.

use std::process::{Child, Command, Output, Stdio};
use std::sync::{mpsc, Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use eventlog::{Append, Driver, EventLog, Limits, NewEvent, Topic};
use serde_json::Value;

use super::functions::Functions;
use super::{spacer, text, Project};

pub struct Shop {
    pub project: Project,
    pub functions: Functions,
    pub log: Arc<dyn EventLog>,
}

impl Shop {
    pub fn new(answer: impl Fn(&Value) -> (u16, &'static str) + Send + Sync + 'static) -> Shop {
        let project = Project::new();
        project.write(
            "config/application.yml",
            "spacerVersion: 1\nappName: shop\ntopics: [orders]\nevents: {orders: {APPEND: [bill, count]}}\n\
             maxAttempts: 3\nretryDelay: 1ms\n",
        );
        for function in ["bill", "count"] {
            project.write(&format!("app/{function}.lua"), "return function() end");
        }
        let functions = Functions::new(answer);
        project.write("config/replay.conf", &functions.conf());
        let path = project.path().join("data/development.db");
        std::fs::create_dir(project.path().join("data")).unwrap();
        let log = eventlog::open(&Driver::Sqlite { path }, Limits::default()).unwrap();
        log.declare(&[orders()]).unwrap();
        Shop { project, functions, log }
    }

    /// Appends events with these keys; their values are their offsets.
    pub fn append(&self, keys: &[&str]) {
        let from = self.log.offsets(&orders()).unwrap()[0].next;
        let event = |(i, key): (usize, &&str)| {
            NewEvent::new(&orders(), *key, (from + i as u64).to_string())
        };
        self.log.append(Append::new(keys.iter().enumerate().map(event).collect())).unwrap();
    }

    /// Runs a replay; gives the exit code, the summary and what it said meanwhile.
    pub fn replay(&self, arguments: &[&str]) -> (Option<i32>, Value, String) {
        let arguments = [&["replay", "orders", "--json"], arguments].concat();
        let output = self.project.run(&arguments);
        let said = text(&output.stderr);
        let summary = serde_json::from_slice(&output.stdout);
        (output.status.code(), summary.unwrap_or_else(|error| panic!("{error}: {said}")), said)
    }

    pub fn start(&self, arguments: &[&str]) -> Child {
        spacer()
            .args(["replay", "orders", "--json"])
            .args(arguments)
            .current_dir(self.project.path())
            // What a killed command leaves goes with the project.
            .env("TMPDIR", self.project.path().join("temp"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    #[track_caller]
    pub fn wait_for_requests(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.functions.requests().len() < count {
            assert!(Instant::now() < deadline, "{:?}", self.functions.requests());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

pub fn orders() -> Topic {
    Topic::new("orders").unwrap()
}

pub fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
}

/// Waits for the end of a command; the test fails if that takes too long.
#[track_caller]
pub fn ended(child: Child, limit: Duration) -> Output {
    let pid = child.id();
    let (send, output) = mpsc::channel();
    std::thread::spawn(move || send.send(child.wait_with_output()));
    match output.recv_timeout(limit) {
        Ok(output) => output.unwrap(),
        Err(_) => {
            let killed = Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
            assert!(killed.success());
            let said = output.recv().unwrap().unwrap().stderr;
            panic!("the replay has not ended within {limit:?}; it said: {}", text(&said));
        }
    }
}

/// A gate that functions wait at.
#[derive(Default)]
pub struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub fn pass(&self) {
        drop(self.opened.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap());
    }

    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}
