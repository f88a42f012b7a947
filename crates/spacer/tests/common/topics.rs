//! A project with topics, and what its commands say of them.

use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use eventlog::{Driver, EventLog, Limits, Outcome, Subscription, Topic};
use serde_json::Value;

use super::{text, Project};

pub const APPLICATION: &str = "spacerVersion: 1\nappName: shop\ntopics: [orders, users]\n\
    events: {orders: {APPEND: [bill, stock/count]}}\n";

pub fn shop() -> Project {
    let project = Project::new();
    project.write("config/application.yml", APPLICATION);
    project
}

#[track_caller]
pub fn said(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[track_caller]
pub fn document(project: &Project, arguments: &[&str]) -> Value {
    let arguments = [&["topics"], arguments, &["--json"]].concat();
    serde_json::from_str(&said(&project.run(&arguments))).unwrap()
}

#[track_caller]
pub fn append(project: &Project, topic: &str, key: &str, value: &str) {
    said(&project.run(&["topics", "append", topic, key, value]));
}

/// The project's log, as nginx opens it.
pub fn log(project: &Project) -> Arc<dyn EventLog> {
    let path = project.path().join("data/development.db");
    eventlog::open(&Driver::Sqlite { path }, Limits::default()).unwrap()
}

/// Lets every event of `orders` that is left die.
pub fn bury(project: &Project) {
    let log = log(project);
    let orders = Topic::new("orders").unwrap();
    let member = log.join(Subscription::new("spacer-shop", &[orders], "worker")).unwrap();
    loop {
        let claimed = member.claim(100, Duration::from_millis(50)).unwrap();
        if claimed.is_empty() {
            return;
        }
        for delivery in claimed {
            let outcome = Outcome::Dead("bill.lua:3: no\nprice".into());
            member.settle_one(&delivery.claim, outcome).unwrap();
        }
    }
}
