//! `spacer topics`.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::{spacer, text, Project};
use eventlog::{Append, Driver, EventLog, Limits, NewEvent, Outcome, Subscription, Topic};
use serde_json::{json, Value};

const APPLICATION: &str = "spacerVersion: 1\nappName: shop\ntopics: [orders, users]\n\
    events: {orders: {APPEND: [bill, stock/count]}}\n";

fn shop() -> Project {
    let project = Project::new();
    project.write("config/application.yml", APPLICATION);
    project
}

#[track_caller]
fn said(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[track_caller]
fn document(project: &Project, arguments: &[&str]) -> Value {
    let arguments = [&["topics"], arguments, &["--json"]].concat();
    serde_json::from_str(&said(&project.run(&arguments))).unwrap()
}

#[track_caller]
fn append(project: &Project, topic: &str, key: &str, value: &str) {
    said(&project.run(&["topics", "append", topic, key, value]));
}

/// The project's log, as nginx opens it.
fn log(project: &Project) -> Arc<dyn EventLog> {
    let path = project.path().join("data/development.db");
    eventlog::open(&Driver::Sqlite { path }, Limits::default()).unwrap()
}

/// Lets every event of `orders` that is left die.
fn bury(project: &Project) {
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

#[test]
fn the_topics_of_a_project_are_listed_before_its_first_start() {
    let project = shop();
    append(&project, "orders", "a", "1");
    append(&project, "orders", "b", "2");
    let table = said(&project.run(&["topics", "list"]));
    assert_eq!(
        table,
        "TOPIC   EVENTS  OFFSETS  DEAD  FUNCTIONS\n\
         orders       2      1-2     0  bill, stock/count\n\
         users        0        -     0\n"
    );
    assert_eq!(
        document(&project, &["list"])[0],
        json!({"topic": "orders", "declared": true, "events": 2, "dead": 0, "functions": ["bill", "stock/count"],
               "partitions": [{"partition": 0, "first": 1, "next": 3}]})
    );
    project.write("config/application.yml", "spacerVersion: 1\ntopics: [users]\n");
    let table = said(&project.run(&["topics", "list"]));
    assert!(table.contains("(not in topics of config/application.yml)"), "{table}");
}

#[test]
fn an_append_is_stored_and_shown() {
    let project = shop();
    let output = project.run(&["topics", "append", "orders", "o-1", "{\"total\": 12.50}"]);
    assert_eq!(said(&output), "orders: stored as 1\n");
    let stored = document(&project, &["append", "orders", "o-2", "-7"]);
    assert_eq!(stored, json!({"topic": "orders", "partition": 0, "offset": 2}));
    let mut child = spacer()
        .args(["topics", "append", "orders", "o-3", "-", "--dir"])
        .arg(project.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"[\n 1\n]\n").unwrap();
    assert!(child.wait().unwrap().success());
    let lines = said(&project.run(&["topics", "tail", "orders", "--json"]));
    let events: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let values: Vec<_> = events.iter().map(|event| event["value"].to_string()).collect();
    assert_eq!(values, ["{\"total\":12.5}", "-7", "[1]"]);
    assert!(lines.contains("\"value\":{\"total\":12.50}"), "{lines}");
    assert_eq!((&events[0]["key"], &events[0]["offset"]), (&json!("o-1"), &json!(1)));
    assert!(events[0]["time"].as_u64().unwrap() > 1_600_000_000_000);
    let table = said(&project.run(&["topics", "tail", "orders", "-n", "1"]));
    assert!(
        table.starts_with("       3  2") && table.ends_with("Z  o-3               [1]\n"),
        "{table}"
    );
}

#[test]
fn an_append_that_cannot_be_is_refused() {
    let project = shop();
    assert_eq!(
        project.refused(&["topics", "append", "ordres", "k", "1"]),
        "spacer: topic \"ordres\" is not in topics of config/application.yml, there are orders, users: add it there first\n"
    );
    let message = project.refused(&["topics", "append", "orders", "k", "{"]);
    assert!(
        message.starts_with("spacer: value in topic \"orders\", key \"k\" is not JSON: "),
        "{message}"
    );
    assert_eq!(
        project.refused(&["topics", "tail", "ordres"]),
        "spacer: topic \"ordres\" is not in the log, there are orders, users\n"
    );
    project.write(
        "config/application.yml",
        "spacerVersion: 1\nlogStorage: {test: {driver: memory}}\n",
    );
    assert_eq!(
        project.refused(&["topics", "list", "--env", "test"]),
        "spacer: the log of environment test is in nginx's memory (driver: memory), where no command can look\n"
    );
}

#[test]
fn tail_chooses_by_key_offset_and_number() {
    let project = shop();
    for i in 1..=30 {
        append(&project, "orders", if i % 10 == 1 { "rare" } else { "often" }, &i.to_string());
    }
    let offsets = |arguments: &[&str]| -> Vec<u64> {
        let arguments = [&["topics", "tail", "orders", "--json"], arguments].concat();
        let lines = said(&project.run(&arguments));
        let event = |line| serde_json::from_str::<Value>(line).unwrap();
        lines.lines().map(|line| event(line)["offset"].as_u64().unwrap()).collect()
    };
    assert_eq!(offsets(&[]), (21..=30).collect::<Vec<_>>());
    assert_eq!(offsets(&["-n", "2"]), [29, 30]);
    assert_eq!(offsets(&["-n", "0"]), [0; 0]);
    assert_eq!(offsets(&["--key", "rare", "-n", "2"]), [11, 21]);
    assert_eq!(offsets(&["--key", "rare"]), [1, 11, 21]);
    assert_eq!(offsets(&["--from", "28"]), [28, 29, 30]);
    assert_eq!(offsets(&["--from", "5", "-n", "2"]), [5, 6]);
    assert_eq!(offsets(&["--from", "99"]), [0; 0]);
}

#[test]
fn tail_follows() {
    let project = shop();
    append(&project, "orders", "a", "1");
    let mut child: Child = spacer()
        .args(["topics", "tail", "orders", "-f", "--key", "a", "--json", "--dir"])
        .arg(project.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert!(next().ends_with("\"value\":1}"));
    append(&project, "orders", "b", "2");
    append(&project, "orders", "a", "3");
    assert!(next().ends_with("\"value\":3}"));
    append(&project, "orders", "a", "4");
    assert!(next().ends_with("\"value\":4}"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_reader_that_goes_is_no_error() {
    let project = shop();
    for _ in 0..3 {
        append(&project, "orders", "a", &format!("\"{}\"", "x".repeat(60_000)));
    }
    let mut child = spacer()
        .args(["topics", "tail", "orders", "--dir"])
        .arg(project.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

#[test]
fn lag_is_shown_for_each_group() {
    let project = shop();
    assert_eq!(said(&project.run(&["topics", "lag"])), "No consumer group has a position yet\n");
    append(&project, "orders", "a", "1");
    bury(&project);
    append(&project, "orders", "a", "2");
    assert_eq!(
        said(&project.run(&["topics", "lag"])),
        "TOPIC   PARTITION  GROUP        COMMITTED  NEXT  LAG\n\
         orders          0  spacer-shop          2     3    1\n"
    );
    assert_eq!(
        document(&project, &["lag"]),
        json!([{"topic": "orders", "partition": 0, "group": "spacer-shop", "committed": 2, "next": 3, "lag": 1}])
    );
}

#[test]
fn dead_letters_are_listed_with_what_killed_them() {
    let project = shop();
    assert_eq!(said(&project.run(&["topics", "dead", "list"])), "There are no dead letters\n");
    append(&project, "users", "x", "0");
    append(&project, "orders", "a", "{\"n\": 1}");
    append(&project, "orders", "b", "2");
    bury(&project);
    let table = said(&project.run(&["topics", "dead", "list"]));
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>().join(" "),
        "TOPIC OFFSET ORIGINAL KEY ATTEMPTS TIME ERROR"
    );
    assert!(lines[1].starts_with("orders.dead       1         1  a           1  2"), "{table}");
    assert!(lines[1].ends_with("Z  bill.lua:3: no\\nprice"), "{table}");
    let letters = document(&project, &["dead", "list", "orders"]);
    assert_eq!(letters.as_array().unwrap().len(), 2);
    assert_eq!(letters[1]["original"], json!({"topic": "orders", "partition": 0, "offset": 2}));
    assert_eq!(letters[0]["error"], "bill.lua:3: no\nprice");
    assert_eq!(
        (&letters[0]["group"], &letters[0]["value"]),
        (&json!("spacer-shop"), &json!({"n": 1}))
    );
    assert_eq!(document(&project, &["dead", "list", "users"]), json!([]));
    assert_eq!(document(&project, &["list"])[0]["dead"], 2);
}

#[test]
fn a_letter_is_requeued_once() {
    let project = shop();
    append(&project, "orders", "a", "{\"n\": 1}");
    append(&project, "orders", "b", "2");
    bury(&project);
    assert_eq!(
        said(&project.run(&["topics", "dead", "requeue", "orders", "1"])),
        "orders.dead: letter 1, key \"a\", requeued to orders as 3\n"
    );
    assert_eq!(
        project.refused(&["topics", "dead", "requeue", "orders.dead", "1"]),
        "spacer: letter 1 of orders.dead was requeued before\n"
    );
    assert_eq!(
        project.refused(&["topics", "dead", "drop", "orders", "9"]),
        "spacer: orders.dead has no letter 9: `spacer topics dead list` shows which there are\n"
    );
    let event = said(&project.run(&["topics", "tail", "orders", "-n", "1", "--json"]));
    let event: Value = serde_json::from_str(&event).unwrap();
    assert_eq!(event["key"], "a");
    assert_eq!((&event["value"], &event["headers"]), (&json!({"n": 1}), &json!({})));
    let letters = document(&project, &["dead", "list"]);
    assert_eq!(letters.as_array().unwrap().len(), 1);
    assert_eq!(letters[0]["key"], "b");
}

#[test]
fn letters_of_a_key_are_dealt_with_in_any_order() {
    let project = shop();
    for (key, value) in [("a", "1"), ("a", "2"), ("b", "3"), ("c", "4"), ("a", "5")] {
        append(&project, "orders", key, value);
    }
    bury(&project);
    // The keys die side by side, so that a letter's offset is not its event's.
    let find = |value: u64| {
        let letters = document(&project, &["dead", "list"]);
        let letter = letters.as_array().unwrap().iter().find(|l| l["value"] == value).cloned();
        letter.map(|letter| letter["offset"].to_string())
    };
    let (first, second, other) = (find(1).unwrap(), find(2).unwrap(), find(4).unwrap());
    assert_eq!(
        said(&project.run(&["topics", "dead", "drop", "orders", &second])),
        format!("orders.dead: letter {second}, key \"a\", dropped\n")
    );
    let left = [1, 2, 3, 4, 5].map(|value| find(value).is_some());
    assert_eq!(left, [true, false, true, true, true]);
    let done = document(&project, &["dead", "requeue", "orders", &other, &first]);
    assert_eq!(done.as_array().unwrap().len(), 2);
    let left = [1, 2, 3, 4, 5].map(|value| find(value).is_some());
    assert_eq!(left, [false, false, true, false, true]);
    assert_eq!(
        project.refused(&["topics", "dead", "requeue", "orders", &second, "99", &first]),
        format!(
            "spacer: letter {first} of orders.dead was requeued before\n  \
             letter {second} of orders.dead was dropped before\n  \
             orders.dead has no letter 99: `spacer topics dead list` shows which there are\n"
        )
    );
    let done = document(&project, &["dead", "drop", "--all"]);
    assert_eq!(done.as_array().unwrap().len(), 2);
    assert_eq!(said(&project.run(&["topics", "dead", "list"])), "There are no dead letters\n");
    assert_eq!(
        said(&project.run(&["topics", "dead", "requeue", "--all"])),
        "No dead letter was requeued\n"
    );
}

#[test]
fn only_letters_that_are_left_are_counted_and_shown() {
    let project = shop();
    for (key, value) in [("a", "1"), ("a", "2"), ("a", "3")] {
        append(&project, "orders", key, value);
    }
    bury(&project);
    let shown = |arguments: &[&str]| -> Vec<String> {
        let arguments = [&["topics", "tail", "orders.dead", "--json"], arguments].concat();
        let lines = said(&project.run(&arguments));
        let value = |line| serde_json::from_str::<Value>(line).unwrap()["value"].to_string();
        lines.lines().map(value).collect()
    };
    assert_eq!(shown(&[]), ["1", "2", "3"]);
    said(&project.run(&["topics", "dead", "drop", "orders", "2"]));
    assert_eq!(document(&project, &["list"])[0]["dead"], 2);
    assert_eq!(shown(&[]), ["1", "3"]);
    assert_eq!(shown(&["-n", "2"]), ["1", "3"]);
    assert_eq!(shown(&["--from", "1", "-n", "1"]), ["1"]);
    said(&project.run(&["topics", "dead", "requeue", "--all"]));
    assert_eq!(document(&project, &["list"])[0]["dead"], 0);
    assert_eq!(shown(&[]), [""; 0]);
    let lag = said(&project.run(&["topics", "lag"]));
    assert!(!lag.contains("orders.dead"), "{lag}");
}

/// Stores events of `orders` with keys `k0`, `k1` and so on, over and over.
fn append_many(project: &Project, events: usize, keys: usize) {
    assert_eq!(document(project, &["list"])[0]["events"], 0);
    let orders = Topic::new("orders").unwrap();
    let event = |i: usize| NewEvent::new(&orders, format!("k{}", i % keys), i.to_string());
    log(project).append(Append::new((0..events).map(event).collect())).unwrap();
}

#[test]
fn commands_in_each_other_s_way_requeue_each_letter_once() {
    let project = shop();
    append_many(&project, 300, 100);
    bury(&project);
    let command = || {
        let mut command = spacer();
        command.args(["topics", "dead", "requeue", "--all", "--dir"]).arg(project.path());
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = [command(), command(), command()];
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    }
    assert_eq!(document(&project, &["list"])[0]["events"], 600);
    assert_eq!(document(&project, &["dead", "list"]), json!([]));
}

#[test]
fn what_is_requeued_and_dropped_at_once_ends_in_one_way() {
    let project = shop();
    append_many(&project, 300, 300);
    bury(&project);
    let command = |what: &str| {
        let mut command = spacer();
        command.args(["topics", "dead", what, "--all", "--json", "--dir"]).arg(project.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = [command("requeue"), command("drop")];
    let [requeued, dropped] = children.map(|child| {
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stderr);
        let lost = said.contains("was dealt with by another command at the same moment");
        assert!(output.status.success() || lost, "{said}");
        let done: Value = serde_json::from_slice(&output.stdout).unwrap();
        done.as_array().unwrap().len()
    });
    assert_eq!(requeued + dropped, 300);
    assert_eq!(document(&project, &["list"])[0]["events"], 300 + requeued);
    assert_eq!(document(&project, &["dead", "list"]), json!([]));
}

#[test]
fn letters_are_requeued_in_order_and_within_a_small_queue() {
    let project = shop();
    append_many(&project, 60, 3);
    bury(&project);
    project.write("config/application.yml", &format!("{APPLICATION}appendQueue: 5\n"));
    let done = document(&project, &["dead", "requeue", "--all"]);
    assert_eq!(done.as_array().unwrap().len(), 60);
    for key in ["k0", "k1", "k2"] {
        let lines = said(
            &project.run(&["topics", "tail", "orders", "--from", "61", "--key", key, "--json"]),
        );
        let value = |line| serde_json::from_str::<Value>(line).unwrap()["value"].as_u64().unwrap();
        let values: Vec<_> = lines.lines().map(value).collect();
        assert_eq!(values.len(), 20);
        assert!(values.is_sorted(), "{values:?}");
    }
}

#[test]
fn a_letter_that_dies_again_can_be_requeued_again() {
    let project = shop();
    append(&project, "orders", "a", "1");
    // The first one's mark lies between them.
    for letter in ["1", "3"] {
        bury(&project);
        said(&project.run(&["topics", "dead", "requeue", "orders", letter]));
    }
    assert_eq!(document(&project, &["list"])[0]["events"], 3);
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &["topics"][..],
        &["topics", "dead", "requeue"],
        &["topics", "dead", "requeue", "orders"],
        &["topics", "dead", "requeue", "orders", "1", "--all"],
        &["topics", "dead", "requeue", "orders", "one"],
        &["topics", "tail"],
    ] {
        let status = spacer().args(arguments).output().unwrap().status;
        assert_eq!(status.code(), Some(2), "{arguments:?}");
    }
}
