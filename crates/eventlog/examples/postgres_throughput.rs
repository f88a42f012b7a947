//! Appends from many threads to a PostgreSQL database, and against it the ceiling: the same batches in a plain loop of
//! transactions through the same library, into a table of the same layout, with the same durability. Prints both, how
//! long events took to a consumer, and how many events a consumer handles.
//!
//! `cargo run --release -p eventlog --example postgres_throughput -- CONNINFO [SECONDS]`
//!
//! It makes topics and tables in the database that CONNINFO names: take an empty one.

mod support;

use std::env;
use std::error::Error;
use std::time::{Duration, Instant};

use eventlog::{Driver, EventLog, Outcome, Subscription, Topic};
use postgres::{Client, NoTls};
use support::{appends, rate, single, submits, APPENDERS};

const VALUE: &str =
    r#"{"n": 1, "text": "an event of a usual size, which is a hundred bytes or so", "ok": true}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let conninfo = args.next().ok_or("CONNINFO is missing")?;
    let time = support::seconds(args.next(), 3)?;

    let (log, topic) = support::open(&Driver::Postgres { conninfo: conninfo.clone() }, "load")?;
    let mut client = Client::connect(&conninfo, NoTls)?;
    // Taken in turns: other load on the machine hits them all.
    for round in 1..=3 {
        let most = rate(time, |until| ceiling(&mut client, until))?;
        let next = |number| single(&topic, number % APPENDERS, VALUE);
        let submitted = rate(time, |until| submits(&*log, until, next))?;
        let next = |me, _| single(&topic, me, VALUE);
        let appended = rate(time, |until| appends(&*log, until, next))?;
        let share = |reached: f64| format!("{reached:.0}/s ({:.0} %)", 100.0 * reached / most);
        println!(
            "{round}: plain loop {most:.0}/s; {APPENDERS} appenders: on one thread {}, on one each {}",
            share(submitted),
            share(appended)
        );
    }
    support::print_latencies(&*log, &topic, time)?;
    let handled = rate(time, |until| handled(&*log, &topic, until))?;
    println!("claimed and finished by one member: {handled:.0}/s");
    Ok(())
}

/// Transactions of as many rows as there are appenders, one after the other. Answers how many rows.
fn ceiling(client: &mut Client, until: Instant) -> Result<usize, postgres::Error> {
    client.batch_execute(
        "CREATE TABLE IF NOT EXISTS plain (LIKE topic_load INCLUDING INDEXES INCLUDING STORAGE);
         CREATE SEQUENCE IF NOT EXISTS plain_offsets OWNED BY plain.msg_offset;
         ALTER TABLE plain ALTER msg_offset SET DEFAULT nextval('plain_offsets'),
           ALTER created_at SET DEFAULT now()",
    )?;
    let insert = client
        .prepare("INSERT INTO plain (key, value) SELECT * FROM unnest($1::text[], $2::text[])")?;
    let keys: Vec<String> = (0..APPENDERS).map(|key| key.to_string()).collect();
    let values = [VALUE; APPENDERS];
    let mut count = 0;
    while Instant::now() < until {
        let mut transaction = client.transaction()?;
        transaction.execute(&insert, &[&keys, &&values[..]])?;
        transaction.commit()?;
        count += APPENDERS;
    }
    Ok(count)
}

/// How many events a member claims and finishes, in batches.
fn handled(log: &dyn EventLog, topic: &Topic, until: Instant) -> eventlog::Result<usize> {
    let member = log.join(Subscription::new("handled", std::slice::from_ref(topic), "m"))?;
    let mut count = 0;
    while Instant::now() < until {
        let found = member.claim(64, Duration::from_millis(100))?;
        let ends: Vec<_> =
            found.into_iter().map(|delivery| (delivery.claim, Outcome::Finished)).collect();
        count += member.settle(&ends)?.len();
    }
    Ok(count)
}
