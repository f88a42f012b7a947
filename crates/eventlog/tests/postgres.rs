//! The contract, for the driver `postgres`.

mod contract;
mod postgres_server;

use std::sync::{Arc, OnceLock};

use eventlog::{EventLog, Limits};
use postgres_server::Database;

struct Postgres {
    database: Database,
    limited: OnceLock<Database>,
}

impl contract::Store for Postgres {
    fn open(&self) -> Arc<dyn EventLog> {
        self.database.open(Limits::default())
    }

    fn with_limits(&self, limits: Limits) -> Arc<dyn EventLog> {
        self.limited.get_or_init(Database::create).open(limits)
    }
}

fn postgres() -> Postgres {
    Postgres { database: Database::create(), limited: OnceLock::new() }
}

contract_tests!(postgres());
lease_tests!(postgres());
