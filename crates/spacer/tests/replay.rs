//! `spacer replay`: the log, the consumer group and the protocol; functions are answered for by a server of the test.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use common::replay::{orders, Gate, Shop};
use common::text;
use eventlog::{Append, NewEvent};
use serde_json::{json, Value};

#[test]
fn each_event_reaches_each_function_once_and_a_second_call_finds_nothing_left() {
    let shop = Shop::new(|_| (200, ""));
    let mut event = NewEvent::new(&orders(), "a", "{\"n\": 1.50}");
    event.headers.push(("trace".into(), "t1".into()));
    shop.log.append(Append::new(vec![event])).unwrap();
    shop.append(&["b", "a"]);
    let (code, summary, said) = shop.replay(&[]);
    assert_eq!(code, Some(0), "{said}");
    let group = summary["group"].as_str().unwrap();
    assert!(group.starts_with("replay-orders-"), "{group}");
    assert_eq!(
        said,
        format!("replay of orders as consumer group {group}: 3 events, each with bill, count\n")
    );
    assert_eq!((&summary["handled"], &summary["failed"]), (&json!(3), &json!(0)));
    assert_eq!(summary["positions"], json!([{"partition": 0, "committed": 4, "end": 4}]));
    let first = shop.functions.requests().into_iter().find(|request| request["offset"] == 1);
    let mut first = first.unwrap();
    assert!(first["time"].take().as_u64().unwrap() > 1_600_000_000_000);
    assert_eq!(
        first,
        json!({"topic": "orders", "function": "bill", "key": "a", "partition": 0, "offset": 1, "time": null,
               "attempt": 1, "headers": {"trace": "t1"}, "value": {"n": 1.5}})
    );
    let of_a: Vec<_> = shop.functions.requests();
    let of_a = of_a.iter().filter(|request| request["key"] == "a");
    let of_a: Vec<_> =
        of_a.map(|r| (r["offset"].as_u64().unwrap(), r["function"].clone())).collect();
    assert_eq!(
        of_a,
        [(1, "bill"), (1, "count"), (3, "bill"), (3, "count")].map(|(o, f)| (o, json!(f)))
    );

    let (code, summary, said) = shop.replay(&[]);
    assert_eq!((code, &summary["handled"]), (Some(0), &json!(0)));
    assert!(said.contains("has nothing left to do; --group NAME begins anew"), "{said}");
    let first_secrets = shop.functions.tokens();
    let (_, summary, _) = shop.replay(&["--group", "again"]);
    assert_eq!((&summary["group"], &summary["handled"]), (&json!("again"), &json!(3)));
    assert_eq!(shop.functions.requests().len(), 12);
    // Each replay's nginx has a secret of its own.
    assert!(first_secrets.len() == 1 && shop.functions.tokens().len() == 2);
    assert!(shop.functions.tokens().iter().all(|secret| secret.len() == 32));
}

#[test]
fn keys_run_side_by_side_and_each_in_order() {
    let running = AtomicUsize::new(0);
    let together = Arc::new(Gate::default());
    let gate = together.clone();
    let shop = Shop::new(move |_| {
        // Nobody gets through before two are there.
        if running.fetch_add(1, Ordering::SeqCst) == 1 {
            gate.open();
        }
        gate.pass();
        (200, "")
    });
    let keys: Vec<String> = (0..2000).map(|i| format!("key-{}", i % 37)).collect();
    shop.append(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    let (code, summary, said) = shop.replay(&["--function", "bill"]);
    assert_eq!((code, &summary["handled"]), (Some(0), &json!(2000)), "{said}");
    let mut offsets = shop.functions.offsets("bill");
    for key in 0..37 {
        let of_key: Vec<_> = offsets.iter().filter(|offset| (*offset - 1) % 37 == key).collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
    }
    offsets.sort_unstable();
    assert_eq!(offsets, (1..=2000).collect::<Vec<_>>());
    assert_eq!(shop.functions.offsets("count"), [0; 0]);
}

#[test]
fn a_failing_function_is_tried_again_and_its_event_dies_in_the_end() {
    let shop = Shop::new(|request| {
        match (&request["function"], &request["offset"], &request["attempt"]) {
            (function, offset, _) if function == "count" && offset == 2 => {
                (500, "count.lua:7: no\nstock")
            }
            (function, offset, attempt) if function == "bill" && offset == 1 && attempt == 1 => {
                (400, "later")
            }
            _ => (200, ""),
        }
    });
    shop.append(&["a", "b", "a", "b"]);
    let (code, summary, said) = shop.replay(&[]);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(
        (&summary["handled"], &summary["failed"], &summary["retried"]),
        (&json!(3), &json!(1), &json!(3))
    );
    assert!(said.contains("\noffset 2, key \"b\": count: count.lua:7: no\\nstock\n"), "{said}");
    let last = "spacer: 1 of the events failed for good: they are in orders.dead, see `spacer topics dead list`\n";
    assert!(said.ends_with(last), "{said}");
    // The function that had returned did not run again.
    let of = |function: &str, offset| {
        shop.functions.offsets(function).iter().filter(|o| **o == offset).count()
    };
    assert_eq!((of("bill", 1), of("count", 1), of("bill", 2), of("count", 2)), (2, 1, 1, 3));
    let letters = shop.project.run(&["topics", "dead", "list", "--json"]);
    let letters: Value = serde_json::from_slice(&letters.stdout).unwrap();
    assert_eq!(letters[0]["error"], "count: count.lua:7: no\nstock");
    assert_eq!((&letters[0]["attempts"], &letters[0]["group"]), (&json!(3), &summary["group"]));
    assert_eq!(letters.as_array().unwrap().len(), 1);
}

#[test]
fn a_connection_that_ends_without_an_answer_is_a_failure() {
    let shop = Shop::new(|_| (200, ""));
    let conf = shop.functions.conf();
    let gone = "location = /trigger { return 444; ";
    shop.project.write("config/replay.conf", &conf.replace("location = /trigger { ", gone));
    shop.append(&["a", "b"]);
    let (code, summary, said) = shop.replay(&["--function", "bill"]);
    assert_eq!(
        (code, &summary["failed"], &summary["retried"]),
        (Some(1), &json!(2), &json!(4)),
        "{said}"
    );
    assert!(said.contains("offset 1, key \"a\": bill: nginx gave no answer ("), "{said}");
    assert_eq!(shop.functions.requests().len(), 0);
}

#[test]
fn the_range_is_kept_whatever_is_appended_behind_it() {
    let shop = Shop::new(|_| (200, ""));
    shop.append(&["a"; 6]);
    // More keys than a member may have in hand of what it must leave alone.
    let others: Vec<String> = (0..3000).map(|i| format!("other-{i}")).collect();
    shop.append(&others.iter().map(String::as_str).collect::<Vec<_>>());
    let range = ["--function", "bill", "--from", "3", "--until", "6"];
    let (code, summary, said) = shop.replay(&range);
    assert_eq!((code, shop.functions.offsets("bill")), (Some(0), vec![3, 4, 5]), "{said}");
    assert_eq!(summary["positions"], json!([{"partition": 0, "committed": 6, "end": 6}]));
    assert!(said.contains(": 3 events, each with bill\n"), "{said}");
    let (_, summary, _) = shop.replay(&range);
    assert_eq!(summary["handled"], 0);
    let (_, summary, _) = shop.replay(&["--until", "1h"]);
    assert_eq!((&summary["handled"], &summary["failed"]), (&json!(0), &json!(0)));
    let (_, summary, _) = shop.replay(&["--since", "1h", "--until", "3", "--function", "count"]);
    assert_eq!((&summary["handled"], shop.functions.offsets("count")), (&json!(2), vec![1, 2]));
}

#[test]
fn a_retry_comes_in_time_though_much_lies_beyond_the_end() {
    let shop = Shop::new(|request| if request["attempt"] == 1 { (500, "once") } else { (200, "") });
    shop.append(&["a"; 5]);
    let others: Vec<String> = (0..3000).map(|i| format!("other-{i}")).collect();
    shop.append(&others.iter().map(String::as_str).collect::<Vec<_>>());
    let (code, summary, said) = shop.replay(&["--function", "bill", "--until", "6"]);
    assert_eq!(
        (code, &summary["handled"], &summary["retried"]),
        (Some(0), &json!(5), &json!(5)),
        "{said}"
    );
}

#[test]
fn of_many_failures_the_first_are_said() {
    let shop = Shop::new(|_| (500, "no"));
    let keys: Vec<String> = (0..25).map(|i| format!("k{i}")).collect();
    shop.append(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    let (code, summary, said) = shop.replay(&["--function", "bill"]);
    assert_eq!((code, &summary["failed"]), (Some(1), &json!(25)));
    assert_eq!(said.matches(": bill: no\n").count(), 19);
    assert_eq!(
        said.matches("more events fail: `spacer topics dead list` shows them all\n").count(),
        1
    );
}

#[test]
fn a_dry_run_says_what_would_run_and_changes_nothing() {
    let shop = Shop::new(|_| (200, ""));
    shop.append(&["a", "b", "a"]);
    let (code, summary, said) = shop.replay(&["--dry-run", "--from", "2"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert_eq!((&summary["events"], &summary["functions"]), (&json!(2), &json!(["bill", "count"])));
    assert_eq!((&summary["first"]["offset"], &summary["last"]["offset"]), (&json!(2), &json!(3)));
    let table = text(&shop.project.run(&["replay", "orders", "--dry-run", "--group", "g"]).stdout);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines[0], "orders: 3 events would run bill, count as g");
    assert!(
        lines[1].starts_with("from offset 1, 2") && lines[2].starts_with("to   offset 3, 2"),
        "{table}"
    );
    let lag = text(&shop.project.run(&["topics", "lag"]).stdout);
    assert_eq!(lag, "No consumer group has a position yet\n");
    assert_eq!(shop.functions.requests().len(), 0);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let shop = Shop::new(|_| (200, ""));
    for (arguments, expected) in [
        (&["ordres"][..], "topic \"ordres\" is not in the log, there are orders"),
        (&["orders", "--function", "bil"], "function \"bil\": app/bil.lua does not exist"),
        (&["orders", "--function", "../bill"], "function \"../bill\": the name contains \"..\""),
        (
            &["orders", "--group", "spacer-shop"],
            "consumer group \"spacer-shop\" is not for replays: name another one with --group",
        ),
        (
            &["orders.dead"],
            "orders.dead holds dead letters: `spacer topics dead requeue` runs their functions again",
        ),
    ] {
        let message = shop.project.refused(&[&["replay"], arguments].concat());
        assert_eq!(message, format!("spacer: {expected}\n"));
    }
    shop.project.write("config/application.yml", "spacerVersion: 1\ntopics: [orders]\n");
    assert_eq!(
        shop.project.refused(&["replay", "orders"]),
        "spacer: topic \"orders\" triggers no function in events of config/application.yml: name one with --function\n"
    );
    for arguments in [
        &["--rate", "0"][..],
        &["--since", "yesterday"],
        &["--until", "-1"],
        &["--from", "1", "--since", "1h"],
    ] {
        let output = shop.project.run(&[&["replay", "orders"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
