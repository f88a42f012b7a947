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
        "spacer: letter 1 of orders.dead was requeued or dropped before\n"
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
fn letters_of_a_key_are_dealt_with_in_order_and_others_in_any() {
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
        project.refused(&["topics", "dead", "drop", "orders", &second]),
        format!(
            "spacer: letter {second} of orders.dead comes after letter {first} of the same key \"a\": \
             deal with that one first, or with both at once\n"
        )
    );
    said(&project.run(&["topics", "dead", "drop", "orders", &other]));
    assert_eq!(find(4), None);
    for value in [1, 2, 3, 5] {
        assert!(find(value).is_some(), "{value}");
    }
    let done = document(&project, &["dead", "requeue", "orders", &second, &first]);
    assert_eq!(done.as_array().unwrap().len(), 2);
    assert_eq!((find(1), find(2), find(3).is_some(), find(5).is_some()), (None, None, true, true));
    let values = said(&project.run(&["topics", "tail", "orders", "-n", "2", "--json"]));
    let values: Vec<Value> =
        values.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&values[0]["value"], &values[1]["value"]), (&json!(1), &json!(2)));
    let done = document(&project, &["dead", "drop", "--all"]);
    assert_eq!(done.as_array().unwrap().len(), 2);
    assert_eq!(said(&project.run(&["topics", "dead", "list"])), "There are no dead letters\n");
    assert_eq!(
        said(&project.run(&["topics", "dead", "requeue", "--all"])),
        "No dead letter was requeued\n"
    );
}

#[test]
fn commands_in_each_other_s_way_requeue_each_letter_once() {
    let project = shop();
    assert_eq!(document(&project, &["list"])[0]["events"], 0);
    let log = log(&project);
    let orders = Topic::new("orders").unwrap();
    let events = (0..300).map(|i| NewEvent::new(&orders, format!("k{}", i % 100), "1"));
    log.append(Append::new(events.collect())).unwrap();
    bury(&project);
    let command = || {
        let mut command = spacer();
        command.args(["topics", "dead", "requeue", "--all", "--dir"]).arg(project.path());
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = [command(), command(), command()];
    for child in children {
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stderr);
        let replaced = said.contains("was replaced by another") || said.contains("another command");
        assert!(output.status.success() || replaced, "{said}");
    }
    said(&project.run(&["topics", "dead", "requeue", "--all"]));
    assert_eq!(document(&project, &["list"])[0]["events"], 600);
    assert_eq!(document(&project, &["dead", "list"]), json!([]));
}

#[test]
fn a_letter_that_dies_again_can_be_requeued_again() {
    let project = shop();
    append(&project, "orders", "a", "1");
    for letter in ["1", "2"] {
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
