//! How long events take from their acknowledgement to a consumer, a hundred a second and while many threads append. For
//! how many events a second there can be, see `sqlite_throughput`.
//!
//! `cargo run --release -p eventlog --example load -- FILE [SECONDS]`

mod support;

use std::env;
use std::error::Error;

use eventlog::Driver;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let path = args.next().ok_or("FILE is missing")?.into();
    let time = support::seconds(args.next(), 3)?;
    let (log, topic) = support::open(&Driver::Sqlite { path }, "load")?;
    support::print_latencies(&*log, &topic, time)?;
    Ok(())
}
