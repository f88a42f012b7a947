//! `spacer replay` that is interrupted or killed, loses its nginx, or isn't alone in its group.

mod common;

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::replay::{ended, signal, Gate, Shop};
use common::{processes_of, text};
use serde_json::{json, Value};

#[test]
fn ctrl_c_lets_what_runs_finish_and_the_same_command_goes_on() {
    let gate = Arc::new(Gate::default());
    let pass = gate.clone();
    let shop = Shop::new(move |request| {
        if request["offset"] == 3 {
            pass.pass();
        }
        (200, "")
    });
    shop.append(&["a"; 6]);
    let child = shop.start(&["--function", "bill"]);
    shop.wait_for_requests(3);
    signal(&child, "INT");
    std::thread::sleep(Duration::from_millis(400));
    gate.open();
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("stopping: what runs may finish; Ctrl-C again ends it\n"), "{said}");
    assert!(said.contains("spacer: interrupted; this goes on where it stopped: "), "{said}");
    assert!(said.ends_with("spacer replay orders --json --function bill\n"), "{said}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["handled"], &summary["interrupted"]), (&json!(3), &json!(true)));
    let (code, summary, said) = shop.replay(&["--function", "bill"]);
    assert_eq!((code, &summary["handled"]), (Some(0), &json!(3)), "{said}");
    assert!(said.contains(" goes on: 3 events are left"), "{said}");
    assert_eq!(shop.functions.offsets("bill"), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_second_ctrl_c_ends_what_runs() {
    let stuck = AtomicUsize::new(0);
    let shop = Shop::new(move |_| {
        if stuck.fetch_add(1, Ordering::SeqCst) == 0 {
            std::thread::park();
        }
        (200, "")
    });
    shop.append(&["a", "a"]);
    let child = shop.start(&["--function", "bill"]);
    shop.wait_for_requests(1);
    signal(&child, "INT");
    std::thread::sleep(Duration::from_millis(600));
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert_eq!(processes_of(&shop.project.path()), [""; 0]);
    let (code, summary, said) = shop.replay(&["--function", "bill"]);
    assert_eq!((code, &summary["handled"]), (Some(0), &json!(2)), "{said}");
    assert_eq!(shop.functions.offsets("bill"), [1, 1, 2]);
}

#[test]
fn the_end_of_nginx_ends_the_replay_and_costs_no_event() {
    let stuck = AtomicUsize::new(0);
    let shop = Shop::new(move |_| {
        if stuck.fetch_add(1, Ordering::SeqCst) == 0 {
            std::thread::park();
        }
        (200, "")
    });
    shop.append(&["a", "b"]);
    let child = shop.start(&["--function", "bill", "--rate", "1"]);
    shop.wait_for_requests(1);
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let master = std::fs::read_to_string(children).unwrap();
    assert!(Command::new("kill").args(["-9", master.trim()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("nginx stopped by itself (signal: 9"), "{said}");
    assert_eq!(processes_of(&shop.project.path()), [""; 0]);
    let (code, summary, said) = shop.replay(&["--function", "bill"]);
    assert_eq!((code, &summary["handled"]), (Some(0), &json!(2)), "{said}");
}

#[test]
fn a_command_that_is_killed_takes_nginx_along_and_costs_no_event() {
    let stuck = AtomicUsize::new(0);
    let shop = Shop::new(move |_| {
        if stuck.fetch_add(1, Ordering::SeqCst) == 1 {
            std::thread::park();
        }
        (200, "")
    });
    shop.append(&["a", "a", "a"]);
    let mut child = shop.start(&["--function", "bill"]);
    shop.wait_for_requests(2);
    signal(&child, "KILL");
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !processes_of(&shop.project.path()).is_empty() {
        assert!(Instant::now() < deadline, "nginx stays");
        std::thread::sleep(Duration::from_millis(50));
    }
    // What it had in hand is free when its lease has run out.
    let (code, summary, said) = shop.replay(&["--function", "bill"]);
    assert_eq!((code, &summary["handled"]), (Some(0), &json!(2)), "{said}");
    assert_eq!(shop.functions.offsets("bill"), [1, 2, 2, 3]);
}

#[test]
fn members_share_a_group_and_a_function_may_run_longer_than_a_lease() {
    let shop = Shop::new(|request| {
        if request["offset"] == 1 {
            std::thread::sleep(Duration::from_secs(8));
        }
        (200, "")
    });
    // As many in hand as may be, so that there is nothing to claim meanwhile.
    shop.project.write(
        "config/application.yml",
        "spacerVersion: 1\nappName: shop\ntopics: [orders]\ntriggerConcurrency: 1\n",
    );
    shop.append(&["a", "b", "c", "d", "e", "f", "g"]);
    let first = shop.start(&["--function", "bill"]);
    shop.wait_for_requests(1);
    // The same command a second time is another member of the group, and would take over what the first let go.
    let second = shop.start(&["--function", "bill"]);
    // Members that don't give signs of life would take each other's events in turn.
    let [second, first] = [second, first].map(|child| {
        let output = ended(child, Duration::from_secs(60));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    });
    let handled = [&first, &second].map(|summary| summary["handled"].as_u64().unwrap());
    assert_eq!(handled.iter().sum::<u64>(), 7);
    assert!(handled.iter().all(|count| *count > 0), "{handled:?}");
    let mut offsets = shop.functions.offsets("bill");
    offsets.sort_unstable();
    assert_eq!(offsets, (1..=7).collect::<Vec<_>>());
}
