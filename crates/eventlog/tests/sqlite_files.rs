//! What can be wrong with a database file, and what the log then says.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{mpsc, Arc};
use std::time::Duration;

use eventlog::{
    Append, Driver, Error, EventLog, Invalid, Limits, NewEvent, Outcome, Read, Result, Settled,
    Stored, Subscription, Topic,
};
use rusqlite::Connection;
use tempfile::TempDir;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    (folder, path)
}

fn open(path: &Path, append_timeout: Duration, queue: usize) -> Result<Arc<dyn EventLog>> {
    let limits = Limits { append_timeout, queue, ..Limits::default() };
    eventlog::open(&Driver::Sqlite { path: path.to_owned() }, limits)
}

fn open_quick(path: &Path) -> Result<Arc<dyn EventLog>> {
    // Time enough for a commit on a disk that others keep busy.
    open(path, Duration::from_secs(2), 1000)
}

fn orders(log: &dyn EventLog) -> Topic {
    let orders = Topic::new("orders").expect("a good name");
    log.declare(std::slice::from_ref(&orders)).expect("declared");
    orders
}

fn one(topic: &Topic) -> Append {
    Append::new(vec![NewEvent::new(topic, "a", "1")])
}

/// Submits 20 appends, and answers with what hears their outcomes.
fn submit_20(
    log: &dyn EventLog,
    append: impl Fn() -> Append,
) -> mpsc::Receiver<Result<Vec<Stored>>> {
    let (send, outcomes) = mpsc::channel();
    for _ in 0..20 {
        let send = send.clone();
        let done = Box::new(move |outcome| send.send(outcome).expect("a receiver"));
        log.submit(append(), done);
    }
    outcomes
}

fn count(log: &dyn EventLog, topic: &Topic) -> usize {
    log.read(topic, &Read { limit: 10_000, ..Read::default() }).expect("read").len()
}

#[test]
fn a_file_that_is_no_database_is_corrupt() {
    let (_folder, path) = folder();
    fs::write(&path, "this is not a database, and long enough to be sure of it".repeat(100))
        .expect("written");
    let error = open_quick(&path).err().expect("an error");
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert!(!error.retry());
    assert!(error.to_string().contains("events.db"), "{error}");
}

#[test]
fn a_damaged_page_is_corrupt_and_not_an_empty_answer() {
    let (_folder, path) = folder();
    let log = open_quick(&path).expect("opened");
    let orders = orders(&*log);
    let events = (0..200).map(|n| NewEvent::new(&orders, n.to_string(), "1")).collect();
    log.append(Append::new(events)).expect("appended");
    drop(log);
    let mut bytes = fs::read(&path).expect("read");
    bytes[4096..].fill(0x5a);
    fs::write(&path, bytes).expect("written");
    let outcome = open_quick(&path).and_then(|log| log.read(&orders, &Read::default()));
    assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{outcome:?}");
}

#[test]
fn databases_of_others_and_of_the_future_are_refused_unchanged() {
    let (_folder, path) = folder();
    let other = Connection::open(&path).expect("opened");
    other.execute_batch("CREATE TABLE theirs (x)").expect("made");
    let error = open_quick(&path).err().expect("an error");
    assert!(matches!(error, Error::Invalid(Invalid::ForeignStore { .. })), "{error}");
    other.execute_batch("INSERT INTO theirs VALUES (1)").expect("still works");

    let (_folder, path) = self::folder();
    drop(open_quick(&path).expect("opened"));
    Connection::open(&path)
        .and_then(|db| db.pragma_update(None, "user_version", 99))
        .expect("changed");
    let error = open_quick(&path).err().expect("an error");
    assert!(matches!(error, Error::Invalid(Invalid::NewerLayout { found: 99, .. })), "{error}");
}

#[test]
fn a_missing_folder_is_made() {
    let (folder, _) = folder();
    let path = folder.path().join("no/such/events.db");
    let log = open_quick(&path).expect("opened");
    let orders = orders(&*log);
    log.append(one(&orders)).expect("appended");
    assert!(path.exists());
}

#[test]
fn a_file_that_cannot_be_opened_is_unavailable_until_it_can() {
    let (folder, _) = folder();
    let in_the_way = folder.path().join("no");
    fs::write(&in_the_way, "").expect("written");
    let log = open_quick(&in_the_way.join("such/events.db")).expect("opened");
    let orders = Topic::new("orders").expect("a good name");
    for error in [
        log.declare(std::slice::from_ref(&orders)).expect_err("an error"),
        log.append(one(&orders)).expect_err("an error"),
        log.read(&orders, &Read::default()).expect_err("an error"),
        log.join(Subscription::new("g", std::slice::from_ref(&orders), "m"))
            .err()
            .expect("an error"),
    ] {
        assert!(matches!(error, Error::Unavailable { .. }) && error.retry(), "{error}");
        assert!(error.to_string().contains("no/such"), "{error}");
    }
    fs::remove_file(&in_the_way).expect("removed");
    log.declare(std::slice::from_ref(&orders)).expect("declared");
    log.append(one(&orders)).expect("appended");
    let member = log.join(Subscription::new("g", &[orders], "m")).expect("joined");
    assert_eq!(member.claim(1, Duration::ZERO).expect("claimed").len(), 1);
}

#[test]
fn a_file_that_is_locked_from_the_start_is_unavailable_until_it_is_free() {
    let (_folder, path) = folder();
    let other = Connection::open(&path).expect("opened");
    other.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    let log = open_quick(&path).expect("opened");
    let error = log.topics().expect_err("an error");
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    other.execute_batch("ROLLBACK").expect("unlocked");
    let orders = orders(&*log);
    log.append(one(&orders)).expect("appended");
}

#[test]
fn a_database_of_another_program_that_turns_up_later_is_refused() {
    let (folder, _) = folder();
    let in_the_way = folder.path().join("no");
    fs::write(&in_the_way, "").expect("written");
    let path = in_the_way.join("events.db");
    let log = open_quick(&path).expect("opened");
    fs::remove_file(&in_the_way).expect("removed");
    fs::create_dir(&in_the_way).expect("made");
    let other = Connection::open(&path).expect("opened");
    other.execute_batch("CREATE TABLE theirs (x)").expect("made");
    let error = log.topics().expect_err("an error");
    assert!(matches!(error, Error::Invalid(Invalid::ForeignStore { .. })), "{error}");
    let error = log.declare(&[Topic::new("orders").expect("a good name")]).expect_err("an error");
    assert!(matches!(error, Error::Invalid(Invalid::ForeignStore { .. })), "{error}");
}

#[test]
fn an_append_to_a_locked_file_fails_in_time_and_may_be_retried() {
    let (_folder, path) = folder();
    let log = open_quick(&path).expect("opened");
    let orders = orders(&*log);
    let other = Connection::open(&path).expect("opened");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let append = one(&orders);
    let error = log.append(append.clone()).expect_err("an error");
    assert!(matches!(error, Error::Unavailable { .. }) && error.retry(), "{error}");
    // Reading goes on.
    assert_eq!(count(&*log, &orders), 0);
    other.execute_batch("ROLLBACK").expect("unlocked");
    log.append(append.clone()).expect("appended");
    log.append(append).expect("appended");
    assert_eq!(count(&*log, &orders), 1);
}

#[test]
fn a_full_queue_refuses_at_once_and_what_waits_is_stored() {
    let (_folder, path) = folder();
    let log = open(&path, Duration::from_secs(10), 3).expect("opened");
    let orders = orders(&*log);
    let other = Connection::open(&path).expect("opened");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    // Some are with the writer already, three wait, the others are refused.
    let outcomes = submit_20(&*log, || one(&orders));
    let first = outcomes.recv().expect("an answer");
    assert_eq!(first, Err(Error::Full { waiting: 3, limit: 3 }));
    other.execute_batch("ROLLBACK").expect("unlocked");
    let stored = outcomes.iter().filter(Result::is_ok).count();
    assert!(stored >= 3, "{stored}");
    assert_eq!(count(&*log, &orders), stored);
}

#[test]
fn a_queue_is_full_of_bytes_as_well() {
    let (_folder, path) = folder();
    let driver = Driver::Sqlite { path: path.clone() };
    let limits = Limits { queue_size: 100, ..Limits::default() };
    let log = eventlog::open(&driver, limits).expect("opened");
    let orders = orders(&*log);
    let event = |size| NewEvent::new(&orders, "", "1".repeat(size));
    // One event by itself is held against its own limit only.
    log.append(Append::new(vec![event(200)])).expect("stored");
    let other = Connection::open(&path).expect("opened");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let outcomes = submit_20(&*log, || Append::new(vec![event(40)]));
    let first = outcomes.recv().expect("an answer");
    assert_eq!(first, Err(Error::FullOfBytes { waiting: 80, limit: 100 }));
    other.execute_batch("ROLLBACK").expect("unlocked");
    assert!(outcomes.iter().filter(Result::is_ok).count() >= 2);
}

#[test]
fn a_file_that_was_replaced_is_noticed_and_never_written_to_in_secret() {
    let (_folder, path) = folder();
    let log = open_quick(&path).expect("opened");
    let orders = orders(&*log);
    log.append(one(&orders)).expect("appended");
    fs::rename(&path, path.with_extension("moved")).expect("moved");
    let error = log.append(one(&orders)).expect_err("an error");
    assert!(error.to_string().ends_with("while it was open"), "{error}");
    // It goes on with what is at the path, once that is a log.
    log.declare(std::slice::from_ref(&orders)).expect("declared");
    log.append(one(&orders)).expect("appended");
    assert_eq!(count(&*log, &orders), 1);
}

#[test]
fn topics_that_differ_only_in_case_are_refused() {
    let (_folder, path) = folder();
    let log = open_quick(&path).expect("opened");
    orders(&*log);
    let error = log.declare(&[Topic::new("Orders").expect("a good name")]).expect_err("an error");
    assert_eq!(error, Invalid::TopicCase("Orders".into(), "orders".into()).into());
}

#[test]
fn closing_stores_what_waits_and_leaves_no_companions() {
    let (folder, path) = folder();
    let log = open(&path, Duration::from_secs(10), 1000).expect("opened");
    let orders = orders(&*log);
    for _ in 0..100 {
        log.submit(one(&orders), Box::new(|outcome| drop(outcome.expect("stored"))));
    }
    drop(log);
    let left = fs::read_dir(folder.path().join("events.db-wake")).expect("read").count();
    assert_eq!(left, 0);
    assert!(!folder.path().join("events.db-wal").exists());
    assert_eq!(count(&*open_quick(&path).expect("opened"), &orders), 100);
}

#[test]
fn dropping_the_last_use_of_a_log_in_an_answer_does_not_hang() {
    let (_folder, path) = folder();
    let log = open(&path, Duration::from_secs(10), 1000).expect("opened");
    let orders = orders(&*log);
    let (send, receive) = mpsc::channel();
    let last = log.clone();
    let done = Box::new(move |outcome| {
        drop(last);
        send.send(outcome).expect("a receiver");
    });
    let other = Connection::open(&path).expect("opened");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    log.submit(one(&orders), done);
    drop(log);
    other.execute_batch("ROLLBACK").expect("unlocked");
    let outcome: Result<_> =
        receive.recv_timeout(Duration::from_secs(20)).expect("an answer in time");
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[test]
fn ten_thousand_parked_events_of_one_key_do_not_grow_without_bound() {
    let (_folder, path) = folder();
    let log = open(&path, Duration::from_secs(10), 100_000).expect("opened");
    let orders = orders(&*log);
    let stuck = (0..10_500).map(|_| NewEvent::new(&orders, "stuck", "0")).collect();
    log.append(Append::new(stuck)).expect("appended");
    let member = log.join(Subscription::new("g", &[orders], "m")).expect("joined");
    assert_eq!(member.claim(10, Duration::ZERO).expect("claimed").len(), 1);
    assert_eq!(member.claim(10, Duration::ZERO).expect("claimed"), []);
    let db = Connection::open(&path).expect("opened");
    let sql = "SELECT count(*) FROM consumer_group_events";
    let rows: i64 = db.query_row(sql, [], |row| row.get(0)).expect("counted");
    assert_eq!(rows, 10_000);
}

#[test]
fn ids_out_of_their_window_are_forgotten_and_others_are_not() {
    let (_folder, path) = folder();
    let limits = Limits { dedup_window: Duration::from_millis(300), ..Limits::default() };
    let log = eventlog::open(&Driver::Sqlite { path: path.clone() }, limits).expect("opened");
    let orders = orders(&*log);
    let db = Connection::open(&path).expect("opened");
    let ids = || -> i64 {
        db.query_row("SELECT count(*) FROM appends", [], |row| row.get(0)).expect("counted")
    };
    let append_many = |count: usize| {
        let (send, receive) = mpsc::channel();
        for _ in 0..count {
            let send = send.clone();
            let done = Box::new(move |outcome: Result<_>| send.send(outcome).expect("a receiver"));
            log.submit(one(&orders), done);
        }
        drop(send);
        receive.iter().for_each(|outcome| drop(outcome.expect("appended")));
    };
    append_many(3000);
    std::thread::sleep(Duration::from_millis(350));
    // On the way twice as many are looked at, which is all.
    append_many(4000);
    let last = one(&orders);
    log.append(last.clone()).expect("appended");
    assert!(ids() <= 4001, "{} ids", ids());
    let before = count(&*log, &orders);
    log.append(last).expect("appended");
    assert_eq!(count(&*log, &orders), before);
}

/// A group in which an id is known is stored one by one; the others in it must not notice.
#[test]
fn repeated_and_refused_appends_in_a_group_leave_the_others_untouched() {
    let (_folder, path) = folder();
    let log = open(&path, Duration::from_secs(10), 1000).expect("opened");
    let orders = orders(&*log);
    let known = one(&orders);
    let first = log.append(known.clone()).expect("appended");
    let twice = one(&orders);
    let nowhere = Topic::new("nowhere").expect("a good name");
    let other_topic = Append { id: known.id, ..one(&nowhere) };
    let appends =
        [one(&orders), known, twice.clone(), one(&nowhere), twice, other_topic, one(&orders)];
    let other = Connection::open(&path).expect("opened");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let (send, receive) = mpsc::channel();
    // The first is with the writer alone, and waits for the lock; the others come together.
    for (n, append) in appends.into_iter().enumerate() {
        let send = send.clone();
        let done = Box::new(move |outcome| send.send((n, outcome)).expect("a receiver"));
        log.submit(append, done);
    }
    drop(send);
    other.execute_batch("ROLLBACK").expect("unlocked");
    let mut answers: Vec<(usize, Result<Vec<_>>)> = receive.iter().collect();
    answers.sort_by_key(|(n, _)| *n);
    let answers: Vec<_> = answers.into_iter().map(|(_, answer)| answer).collect();
    assert_eq!(answers[1].as_ref(), Ok(&first));
    assert_eq!(answers[2], answers[4]);
    assert_eq!(answers[3], Err(Invalid::UndeclaredTopic("nowhere".into()).into()));
    assert!(matches!(&answers[5], Err(Error::Invalid(Invalid::AppendIdReused(_)))), "{answers:?}");
    let events = log.read(&orders, &Read::default()).expect("read");
    let stored: Vec<u64> = events.iter().map(|event| event.offset).collect();
    let mut answered: Vec<u64> =
        [0, 1, 2, 6].iter().map(|n| answers[*n].as_ref().expect("stored")[0].offset).collect();
    answered.sort_unstable();
    assert_eq!(stored, answered);
}

/// Retention by hand: what is deleted counts as finished, whatever a group had made of it.
#[test]
fn deleted_events_are_passed_over() {
    let (_folder, path) = folder();
    let log = open_quick(&path).expect("opened");
    let orders = orders(&*log);
    let keys = ["a", "a", "a", "b", "c", "d"];
    let events =
        keys.iter().enumerate().map(|(n, key)| NewEvent::new(&orders, *key, n.to_string()));
    log.append(Append::new(events.collect())).expect("appended");
    let topics = [orders.clone()];
    let member = log.join(Subscription::new("g", &topics, "m")).expect("joined");
    // a and b are claimed, two of a are parked behind it.
    let mut held = member.claim(2, Duration::ZERO).expect("claimed");
    assert_eq!(held.len(), 2);
    let retry = Outcome::Retry(Duration::ZERO);
    member.settle_one(&held[0].claim, retry).expect("settled");
    let db = Connection::open(&path).expect("opened");
    db.execute_batch("DELETE FROM topic_orders WHERE msg_offset IN (1, 2, 4, 5)").expect("deleted");

    let left = member.claim(10, Duration::ZERO).expect("claimed");
    let mut offsets: Vec<u64> = left.iter().map(|delivery| delivery.claim.offset).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, [3, 6]);
    let dead = Outcome::Dead("of an event that is gone".into());
    assert_eq!(member.settle_one(&held.remove(1).claim, dead), Ok(Settled::Done));
    for delivery in left {
        assert_eq!(member.finish(&delivery.claim), Ok(Settled::Done));
    }
    let position = log.offsets(&orders).expect("offsets").remove(0);
    assert_eq!((position.first, position.groups[0].committed, position.groups[0].lag), (3, 7, 0));

    // Nor does anybody wait for what was deleted before it was claimed.
    log.append(one(&orders)).expect("appended");
    db.execute_batch("DELETE FROM topic_orders").expect("deleted");
    assert_eq!(log.offsets(&orders).expect("offsets")[0].groups[0].lag, 0);
    assert_eq!(member.claim(10, Duration::ZERO).expect("claimed"), []);
}

/// The workers' user may put anything into the folder, and root wakes others there, too.
#[test]
fn nothing_but_pipes_is_opened_to_wake_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data/events.db");
    let log = eventlog::open(&Driver::Sqlite { path: path.clone() }, Limits::default());
    let log = log.expect("opened");
    let orders = Topic::new("orders").expect("a good name");
    log.declare(std::slice::from_ref(&orders)).expect("declared");
    let _member = log.join(Subscription::new("g", std::slice::from_ref(&orders), "m"));
    let precious = folder.path().join("precious");
    std::fs::write(&precious, "precious").expect("written");
    let wake = folder.path().join("data/events.db-wake");
    std::os::unix::fs::symlink(&precious, wake.join("1-link")).expect("a link");
    std::fs::hard_link(&precious, wake.join("2-link")).expect("a link");
    log.append(one(&orders)).expect("appended");
    assert_eq!(std::fs::read_to_string(&precious).expect("read"), "precious");
    drop(log);

    // A link in the folder's place isn't followed either.
    let elsewhere = folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a folder");
    std::fs::remove_dir_all(&wake).expect("removed");
    std::os::unix::fs::symlink(&elsewhere, &wake).expect("a link");
    let log = eventlog::open(&Driver::Sqlite { path }, Limits::default()).expect("opened");
    assert!(log.declare(&[orders]).is_err());
    assert_eq!(std::fs::read_dir(&elsewhere).expect("read").count(), 0);
}

#[test]
fn events_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data/events.db");
    let log = eventlog::open(&Driver::Sqlite { path }, Limits::default()).expect("opened");
    let orders = Topic::new("orders").expect("a good name");
    log.declare(std::slice::from_ref(&orders)).expect("declared");
    log.append(one(&orders)).expect("appended");
    for (name, expected) in [
        ("", 0o755),
        ("events.db", 0o600),
        ("events.db-wal", 0o600),
        ("events.db-shm", 0o600),
        ("events.db-wake", 0o700),
    ] {
        let found = std::fs::metadata(folder.path().join("data").join(name)).expect(name);
        assert_eq!(found.permissions().mode() & 0o777, expected, "{name}");
    }
}

#[test]
fn a_file_of_the_first_layout_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let open = || eventlog::open(&Driver::Sqlite { path: path.clone() }, Limits::default());
    let topics = ["api", "api_key"].map(|name| Topic::new(name).expect("a good name"));
    let log = open().expect("opened");
    log.declare(&topics[..1]).expect("declared");
    log.append(one(&topics[0])).expect("appended");
    let member = log.join(Subscription::new("g", &topics[..1], "m")).expect("joined");
    assert_eq!(member.claim(10, Duration::ZERO).expect("claimed").len(), 1);
    drop(member);
    drop(log);
    let db = Connection::open(&path).expect("opened");
    db.execute_batch(
        "ALTER TABLE consumer_group_events DROP COLUMN turn;
         ALTER TABLE consumer_group_events DROP COLUMN step;
         DROP INDEX key_of_topic_api;
         CREATE INDEX topic_api_key ON topic_api (key, msg_offset);
         PRAGMA user_version = 1;",
    )
    .expect("set back");
    drop(db);
    let log = open().expect("opened");
    // Its index had the name of this one's table.
    log.declare(&topics).expect("declared");
    log.append(one(&topics[1])).expect("appended");
    let member = log.join(Subscription::new("g", &topics, "m")).expect("joined");
    assert_eq!(member.claim(10, Duration::ZERO).expect("claimed").len(), 2);
    assert!(log.last(&topics[0], "a").is_ok());
}
