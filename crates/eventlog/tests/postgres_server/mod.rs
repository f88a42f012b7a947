//! Databases for tests on the server that `scripts/services start postgres` runs, each made and dropped by its test.

// Each test file uses the part that it needs.
#![allow(dead_code)]

pub mod certificates;
pub mod own;

use std::env;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use eventlog::{Driver, EventLog, Limits, Topic};
use postgres::{Client, NoTls};

/// The server's connection string, whose database is `postgres`.
pub fn server() -> String {
    env::var("SPACER_TEST_POSTGRES").unwrap_or_else(|_| {
        panic!("SPACER_TEST_POSTGRES is not set: eval \"$(scripts/services start postgres)\"")
    })
}

pub fn connect(conninfo: &str) -> Client {
    Client::connect(conninfo, NoTls).expect("connected")
}

/// An empty database, dropped at the end.
pub struct Database {
    server: String,
    name: String,
}

impl Database {
    pub fn create() -> Database {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("spacer_test_{}_{count}", std::process::id());
        let database = Database { server: server(), name };
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", database.name);
        let mut client = connect(&database.server);
        client.batch_execute(&drop).expect("dropped");
        client.batch_execute(&format!("CREATE DATABASE {}", database.name)).expect("made");
        database
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn conninfo(&self) -> String {
        assert!(self.server.contains("/postgres?"), "{}", self.server);
        self.server.replace("/postgres?", &format!("/{}?", self.name))
    }

    pub fn open(&self, limits: Limits) -> Arc<dyn EventLog> {
        eventlog::open(&Driver::Postgres { conninfo: self.conninfo() }, limits).expect("opened")
    }

    /// A client of another program.
    pub fn client(&self) -> Client {
        connect(&self.conninfo())
    }

    pub fn server_client(&self) -> Client {
        connect(&self.server)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // What the test has shown stands, whatever becomes of its database.
        if let Ok(mut client) = Client::connect(&self.server, NoTls) {
            drop(client.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name)));
        }
    }
}

pub fn topic(name: &str) -> Topic {
    Topic::new(name).expect("a good name")
}

/// A log of the database with the topic `orders`.
pub fn orders(database: &Database) -> (Arc<dyn EventLog>, Topic) {
    let (log, orders) = (database.open(Limits::default()), topic("orders"));
    log.declare(std::slice::from_ref(&orders)).expect("declared");
    (log, orders)
}
