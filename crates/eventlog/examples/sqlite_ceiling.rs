//! The ceiling of a SQLite log on this disk: events inserted in a plain loop of transactions, each waiting for the disk,
//! into a table laid out like a topic. `scripts/bench-topics` compares appends over HTTP with it.
//!
//! `cargo run --release -p eventlog --example sqlite_ceiling -- FILE BATCH [SECONDS]` prints events per second.

mod support;

use std::env;
use std::error::Error;
use std::time::Instant;

use rusqlite::{params, Connection};

const KEYS: u64 = 10_000;
/// As the benchmark's clients send it.
const VALUE: &str = r#"{"customer":4711,"total":129.9,"currency":"EUR","items":[1,2,3]}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let path = args.next().ok_or("FILE is missing")?;
    let batch: u64 = args.next().ok_or("BATCH is missing")?.parse()?;
    let time = support::seconds(args.next(), 3)?;

    let mut db = Connection::open(path)?;
    db.execute_batch(
        "PRAGMA journal_mode = wal; PRAGMA synchronous = full;
         CREATE TABLE topic_plain (
           msg_offset INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, value TEXT NOT NULL,
           created_at INTEGER NOT NULL, headers TEXT);
         CREATE INDEX topic_plain_key ON topic_plain (key, msg_offset)",
    )?;
    let sql = "INSERT INTO topic_plain (key, value, created_at) VALUES (?1, ?2, ?3)";
    let (mut count, begun) = (0, Instant::now());
    while begun.elapsed() < time {
        let transaction = db.transaction()?;
        {
            let mut insert = transaction.prepare_cached(sql)?;
            for _ in 0..batch {
                insert.execute(params![format!("key-{}", count % KEYS), VALUE, count as i64])?;
                count += 1;
            }
        }
        transaction.commit()?;
    }
    println!("{:.0}", count as f64 / begun.elapsed().as_secs_f64());
    Ok(())
}
