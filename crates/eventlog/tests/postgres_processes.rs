//! Several processes on one PostgreSQL database, and `kill -9`.

mod postgres_server;
mod processes;

use eventlog::{Driver, Limits};
use postgres_server::{orders, Database};
use processes::{suite, Role};

#[test]
fn child() {
    if let Some(role) = Role::of_this_process() {
        let driver = Driver::Postgres { conninfo: role.store.clone() };
        suite::play(&role, &*eventlog::open(&driver, Limits::default()).expect("opened"));
    }
}

#[test]
fn every_acknowledged_append_survives_kill_9_exactly_once() {
    let database = Database::create();
    let (log, _) = orders(&database);
    let mut client = database.client();
    let stored = || {
        let rows = client.query("SELECT msg_offset FROM topic_orders ORDER BY 1", &[]);
        rows.expect("read").iter().map(|row| row.get::<_, i64>(0) as u64).collect()
    };
    let store = database.conninfo();
    suite::every_acknowledged_append_survives_kill_9_exactly_once(&store, &*log, stored);
}

#[test]
fn an_append_wakes_another_process() {
    let database = Database::create();
    let (log, _) = orders(&database);
    suite::an_append_wakes_another_process(&database.conninfo(), &*log);
}

#[test]
fn what_a_killed_process_held_is_taken_over_within_ten_seconds() {
    let database = Database::create();
    let (log, _) = orders(&database);
    suite::what_a_killed_process_held_is_taken_over_within_ten_seconds(&database.conninfo(), &*log);
}

#[test]
fn killed_consumers_lose_no_event() {
    let database = Database::create();
    let (log, _) = orders(&database);
    suite::killed_consumers_lose_no_event(&database.conninfo(), &*log);
}
