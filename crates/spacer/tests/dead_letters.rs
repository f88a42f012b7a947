//! `spacer topics dead`.

mod common;

use std::process::Stdio;

use common::topics::{append, bury, document, log, said, shop, APPLICATION};
use common::{spacer, text, Project};
use eventlog::{Append, NewEvent, Topic};
use serde_json::{json, Value};

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
    let log = log(project);
    log.declare(std::slice::from_ref(&orders)).unwrap();
    log.append(Append::new((0..events).map(event).collect())).unwrap();
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
    for limit in ["appendQueue: 5", "appendQueueSize: 2000"] {
        let project = shop();
        append_many(&project, 60, 3);
        bury(&project);
        project.write("config/application.yml", &format!("{APPLICATION}{limit}\n"));
        let done = document(&project, &["dead", "requeue", "--all"]);
        assert_eq!(done.as_array().unwrap().len(), 60);
        for key in ["k0", "k1", "k2"] {
            let tail = ["topics", "tail", "orders", "--from", "61", "--key", key, "--json"];
            let lines = said(&project.run(&tail));
            let value = |line| serde_json::from_str::<Value>(line).unwrap()["value"].as_u64();
            let values: Vec<_> = lines.lines().map(value).collect();
            assert_eq!(values.len(), 20);
            assert!(values.is_sorted(), "{values:?}");
        }
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
