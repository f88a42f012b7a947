//! Durable topics: append-only sequences of events, shared among consumer groups.
//!
//! ```
//! use std::time::Duration;
//! use eventlog::{Append, Driver, Limits, NewEvent, Subscription, Topic};
//!
//! let log = eventlog::open(&Driver::Memory, Limits::default())?;
//! let orders = Topic::new("orders")?;
//! log.declare(&[orders.clone()])?;
//! log.append(Append::new(vec![NewEvent::new(&orders, "order-7", r#"{"total": 12}"#)]))?;
//!
//! let member = log.join(Subscription::new("billing", &[orders], "worker-1"))?;
//! for delivery in member.claim(10, Duration::from_secs(1))? {
//!     println!("{}: {:?}", delivery.event.key, delivery.event.value);
//!     member.finish(&delivery.claim)?;
//! }
//! # Ok::<(), eventlog::Error>(())
//! ```
//!
//! `log` and `consumer` are the two traits that a driver implements, `model` the values they exchange, `limits` what is
//! refused before a driver sees it; `dead_letter` is built on them. `driver` says which store to open: `memory`, for tests,
//! `sqlite`, `postgres` or `kafka`.
//! Nothing here knows nginx or Lua.

mod backlog;
mod consumer;
pub mod dead_letter;
mod driver;
mod error;
mod kafka;
mod lease;
mod limits;
mod log;
mod memory;
mod model;
mod postgres;
mod share;
mod signal;
mod sqlite;
mod waiter;

use std::sync::Arc;

pub use consumer::{
    dead_header, Backoff, Claim, Consumer, Delivery, Fence, Outcome, Settled, Start, Subscription,
};
pub use driver::Driver;
pub use error::{Error, Invalid, Result};
pub use limits::Limits;
pub use log::{Done, EventLog, LAST_WORD};
pub use model::{
    Append, AppendId, Event, GroupPosition, Headers, NewEvent, Offset, PartitionOffsets, Read,
    Stored, Timestamp, Topic, DEAD_SUFFIX,
};
pub use sqlite::{Files, User};

/// Opens a log. Open it after `fork`: neither threads nor SQLite's locks survive one.
pub fn open(driver: &Driver, limits: Limits) -> Result<Arc<dyn EventLog>> {
    Ok(match driver {
        Driver::Memory => Arc::new(memory::MemoryLog::new(limits)),
        Driver::Sqlite { path } => Arc::new(sqlite::SqliteLog::open(path, limits)?),
        Driver::Kafka { brokers, app_name, properties } => {
            Arc::new(kafka::KafkaLog::open(brokers, app_name, properties, limits)?)
        }
        Driver::Postgres { conninfo } => Arc::new(postgres::PostgresLog::open(conninfo, limits)?),
    })
}
