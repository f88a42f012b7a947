//! How long the write-ahead log of a database gets, and that nothing is lost when it begins anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventlog::{Append, Driver, EventLog, Limits, NewEvent, Read, Topic};
use rusqlite::Connection;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
/// What it has before it begins anew, and what comes meanwhile.
const MOST: u64 = 32 * MIB;
/// What it shrinks to when it was longer.
const LIMIT: u64 = 64 * MIB;
/// Bytes of an event's value.
const SIZE: usize = 512 << 10;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    (folder, path)
}

fn open(path: &Path) -> Arc<dyn EventLog> {
    eventlog::open(&Driver::Sqlite { path: path.to_owned() }, Limits::default()).expect("opened")
}

fn orders(log: &dyn EventLog) -> Topic {
    let orders = Topic::new("orders").expect("a good name");
    log.declare(std::slice::from_ref(&orders)).expect("declared");
    orders
}

fn append(log: &dyn EventLog, topic: &Topic, number: usize) {
    let value = format!("\"{}\"", "x".repeat(SIZE));
    log.append(Append::new(vec![NewEvent::new(topic, number.to_string(), value)])).expect("stored");
}

fn length(path: &Path) -> u64 {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    fs::metadata(wal).expect("there is a log").len()
}

/// The keys in the order of their offsets.
fn keys(log: &dyn EventLog, topic: &Topic) -> Vec<String> {
    let all = Read { limit: 10_000, size: usize::MAX, ..Read::default() };
    log.read(topic, &all).expect("read").into_iter().map(|event| event.key).collect()
}

#[test]
fn it_stays_short_while_two_processes_logs_write_in_turns() {
    let (_folder, path) = folder();
    let logs = [open(&path), open(&path)];
    let orders = orders(&*logs[0]);
    for number in 0..160 {
        append(&*logs[number % 2], &orders, number);
        assert!(length(&path) < MOST, "{} bytes after {number} events", length(&path));
    }
    let expected: Vec<String> = (0..160).map(|number| number.to_string()).collect();
    assert_eq!(keys(&*logs[1], &orders), expected);
    // Another process finds the same, before anything is moved and after.
    drop(logs);
    assert_eq!(keys(&*open(&path), &orders), expected);
}

#[test]
fn a_reader_lets_it_grow_and_it_shrinks_afterwards() {
    let (_folder, path) = folder();
    let log = open(&path);
    let orders = orders(&*log);
    append(&*log, &orders, 0);
    let mut other = Connection::open(&path).expect("opened");
    let reading = other.transaction().expect("begun");
    let seen = |reading: &Connection| {
        let sql = "SELECT count(*) FROM topic_orders";
        reading.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("counted")
    };
    assert_eq!(seen(&reading), 1);
    for number in 1..180 {
        append(&*log, &orders, number);
    }
    assert!(length(&path) > LIMIT, "{} bytes while somebody reads", length(&path));
    assert_eq!(seen(&reading), 1);
    drop(reading);
    for number in 180..250 {
        append(&*log, &orders, number);
    }
    assert!(length(&path) <= LIMIT, "{} bytes after the reader is gone", length(&path));
    let expected: Vec<String> = (0..250).map(|number| number.to_string()).collect();
    assert_eq!(keys(&*log, &orders), expected);
}
