//! Several processes on one database file, and `kill -9`.

mod processes;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventlog::{Append, Driver, EventLog, Limits, NewEvent};
use processes::{orders, suite, Role};
use tempfile::TempDir;

fn open(path: &Path) -> Arc<dyn EventLog> {
    eventlog::open(&Driver::Sqlite { path: path.to_owned() }, Limits::default()).expect("opened")
}

/// A folder with a log that has the topic.
struct File {
    folder: TempDir,
    log: Arc<dyn EventLog>,
}

impl File {
    fn new() -> File {
        let folder = tempfile::tempdir().expect("a folder");
        let log = open(&folder.path().join("events.db"));
        log.declare(&[orders()]).expect("declared");
        File { folder, log }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("events.db")
    }

    fn store(&self) -> String {
        self.path().into_os_string().into_string().expect("UTF-8")
    }
}

#[test]
fn child() {
    if let Some(role) = Role::of_this_process() {
        suite::play(&role, &*open(Path::new(&role.store)));
    }
}

#[test]
fn every_acknowledged_append_survives_kill_9_exactly_once() {
    let file = File::new();
    let db = rusqlite::Connection::open(file.path()).expect("opened");
    let stored = || {
        let mut all = db.prepare("SELECT msg_offset FROM topic_orders ORDER BY 1").expect("read");
        let offsets = all.query_map([], |row| row.get::<_, i64>(0)).expect("read");
        offsets.map(|offset| offset.expect("read") as u64).collect()
    };
    suite::every_acknowledged_append_survives_kill_9_exactly_once(
        &file.store(),
        &*file.log,
        stored,
    );
    let check: String =
        db.pragma_query_value(None, "integrity_check", |row| row.get(0)).expect("checked");
    assert_eq!(check, "ok");
}

#[test]
fn an_append_wakes_another_process() {
    let file = File::new();
    suite::an_append_wakes_another_process(&file.store(), &*file.log);
}

#[test]
fn what_a_killed_process_held_is_taken_over_within_ten_seconds() {
    let file = File::new();
    let log = &*file.log;
    let heir =
        suite::what_a_killed_process_held_is_taken_over_within_ten_seconds(&file.store(), log);
    // The next commit removes the dead process's FIFO: what is left is the heir's and this one's.
    log.append(Append::new(vec![NewEvent::new(&orders(), "a", "8")])).expect("appended");
    assert_eq!(heir.hear(), Some(8));
    let fifos = file.folder.path().join("events.db-wake");
    assert_eq!(std::fs::read_dir(fifos).expect("read").count(), 2);
}

#[test]
fn killed_consumers_lose_no_event() {
    let file = File::new();
    suite::killed_consumers_lose_no_event(&file.store(), &*file.log);
}
