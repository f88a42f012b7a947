//! The contract, for the driver `sqlite`.

mod contract;

use std::sync::Arc;

use eventlog::{Driver, EventLog, Limits};
use tempfile::TempDir;

struct Sqlite {
    folder: TempDir,
}

impl Sqlite {
    fn open_file(&self, name: &str, limits: Limits) -> Arc<dyn EventLog> {
        let path = self.folder.path().join(name);
        eventlog::open(&Driver::Sqlite { path }, limits).expect("opened")
    }
}

impl contract::Store for Sqlite {
    fn open(&self) -> Arc<dyn EventLog> {
        self.open_file("events.db", Limits::default())
    }

    fn with_limits(&self, limits: Limits) -> Arc<dyn EventLog> {
        self.open_file("limited.db", limits)
    }
}

fn sqlite() -> Sqlite {
    Sqlite { folder: tempfile::tempdir().expect("a folder") }
}

contract_tests!(sqlite());
lease_tests!(sqlite());
