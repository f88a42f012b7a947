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
//! refused before a driver sees it; `dead_letter` is built on them. The drivers are `memory`, for tests, `sqlite`, `postgres` and `kafka`.
//! Nothing here knows nginx or Lua.

mod backlog;
mod consumer;
pub mod dead_letter;
mod error;
mod kafka;
mod limits;
mod log;
mod memory;
mod model;
mod postgres;
mod signal;
mod sqlite;

use std::path::PathBuf;
use std::sync::Arc;

pub use consumer::{dead_header, Claim, Consumer, Delivery, Outcome, Settled, Start, Subscription};
pub use error::{Error, Invalid, Result};
pub use limits::Limits;
pub use log::{Done, EventLog, LAST_WORD};
pub use model::{
    Append, AppendId, Event, GroupPosition, Headers, NewEvent, Offset, PartitionOffsets, Read,
    Stored, Timestamp, Topic, DEAD_SUFFIX,
};

/// Which store holds the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driver {
    /// In this process only, and gone with it.
    Memory,
    /// A database file, made with its folder where it doesn't exist. Every process that may write the file's folder can
    /// share it. While the file can't be opened, calls fail with [`Error::Unavailable`], and each tries again.
    Sqlite { path: PathBuf },
    /// A Kafka cluster. Topics are named `APPNAME_TOPIC` in it, or just `TOPIC` without an application name. The
    /// properties are librdkafka's, for TLS, SASL and tuning, and two more: `num.partitions` of the topics that are
    /// declared (default 12), and `group.id.prefix`, which goes before the names of groups.
    Kafka { brokers: Vec<String>, app_name: String, properties: Vec<(String, String)> },
    /// A PostgreSQL database, version 12 or newer, named by libpq's key words or URL. `sslmode` may be `disable`,
    /// `prefer` (the default) or `require`; as with libpq, none of them checks the server's certificate.
    Postgres { conninfo: String },
}

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
