//! The contract, for the driver `memory`.

mod contract;

use std::sync::{Arc, LazyLock};

use eventlog::{Driver, EventLog, Limits};

struct Memory(LazyLock<Arc<dyn EventLog>>);

impl contract::Store for Memory {
    fn open(&self) -> Arc<dyn EventLog> {
        self.0.clone()
    }

    fn with_limits(&self, limits: Limits) -> Arc<dyn EventLog> {
        eventlog::open(&Driver::Memory, limits).expect("opened")
    }
}

fn memory() -> Memory {
    Memory(LazyLock::new(|| eventlog::open(&Driver::Memory, Limits::default()).expect("opened")))
}

contract_tests!(memory());
lease_tests!(memory());
