//! The cluster that tests run against.

// Each test file uses its part.
#![allow(dead_code)]

use std::env;
use std::sync::Arc;

use eventlog::{AppendId, Driver, EventLog, Limits};

/// An application of its own in the cluster.
pub struct Kafka {
    pub app_name: String,
    pub partitions: u32,
}

pub fn brokers() -> Vec<String> {
    let brokers = env::var("SPACER_TEST_KAFKA").expect(
        "SPACER_TEST_KAFKA is not set: run eval \"$(scripts/services start kafka)\" before the tests",
    );
    brokers.split(',').map(str::to_owned).collect()
}

impl Kafka {
    pub fn with_partitions(partitions: u32) -> Kafka {
        Kafka { app_name: format!("t{}", &AppendId::random().to_string()[..12]), partitions }
    }

    pub fn driver(&self) -> Driver {
        let property = |name: &str, value: String| (name.to_owned(), value);
        let properties = vec![
            property("num.partitions", self.partitions.to_string()),
            property("group.id.prefix", format!("{}-", self.app_name)),
        ];
        Driver::Kafka { brokers: brokers(), app_name: self.app_name.clone(), properties }
    }

    pub fn log(&self, limits: Limits) -> Arc<dyn EventLog> {
        eventlog::open(&self.driver(), limits).expect("opened")
    }
}
