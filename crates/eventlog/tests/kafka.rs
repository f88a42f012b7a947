//! The contract, for the driver `kafka`, against the broker of `scripts/services start kafka`.
//!
//! Each test has an application name and a prefix of group names of its own. The contract's topics have one partition, as
//! it looks at partition 0 only; `kafka_model` has more.

mod contract;
mod kafka_support;

use std::sync::Arc;
use std::time::Duration;

use eventlog::{EventLog, Limits};
use kafka_support::Kafka;

impl contract::Store for Kafka {
    fn open(&self) -> Arc<dyn EventLog> {
        self.log(Limits::default())
    }

    fn with_limits(&self, limits: Limits) -> Arc<dyn EventLog> {
        self.log(limits)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(4)
    }

    fn remembers_ids_elsewhere(&self) -> bool {
        false
    }
}

contract_tests!(Kafka::with_partitions(1));
