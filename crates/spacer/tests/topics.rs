//! `spacer topics list`, `append`, `tail` and `lag`.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use common::topics::{append, bury, document, said, shop};
use common::{spacer, text};
use serde_json::{json, Value};

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

#[test]
fn a_look_makes_nothing_and_names_the_logs_that_are_there() {
    let project = shop();
    let table = said(&project.run(&["topics", "list"]));
    assert!(table.contains("orders       0"), "{table}");
    assert!(!project.path().join("data").exists());
    let output = project.run(&["topics", "append", "orders", "a", "1", "--env", "production"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for look in [&["list"][..], &["lag"], &["tail", "orders"], &["dead", "list"]] {
        let output = project.run(&[&["topics"], look].concat());
        assert_eq!(output.status.code(), Some(1), "{look:?}");
        let error = text(&output.stderr);
        assert!(error.contains("environment development has no event log, "), "{error}");
        assert!(error.contains("isn't there: logs are there of production, see --env"), "{error}");
    }
    assert!(!project.path().join("data/development.db").exists());
}
