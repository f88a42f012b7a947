//! The database's layout. A topic is a table `topic_NAME`, as in Spacer's PostgreSQL layout.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::connection::Failure as WorkFailure;
use crate::{Invalid, Topic};

/// Marks the file as an event log ("SpEL").
const APPLICATION_ID: i64 = 0x5370_454c;
/// The layout below.
const VERSION: i64 = 2;

/// `consumer_group_events` holds what a group has taken in and not finished; `taken` is the first offset that it has
/// not taken in. States are those of `group::State`.
const LAYOUT: &str = "
CREATE TABLE consumer_group_offsets (
  group_id TEXT NOT NULL,
  topic TEXT NOT NULL,
  taken INTEGER NOT NULL,
  PRIMARY KEY (group_id, topic)
) WITHOUT ROWID;
CREATE TABLE consumer_group_members (
  group_id TEXT NOT NULL,
  member_id TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  boot_id TEXT NOT NULL,
  lease_until INTEGER NOT NULL, -- milliseconds since that boot
  PRIMARY KEY (group_id, member_id)
) WITHOUT ROWID;
CREATE TABLE consumer_group_events (
  group_id TEXT NOT NULL,
  topic TEXT NOT NULL,
  msg_offset INTEGER NOT NULL,
  key TEXT NOT NULL,
  state INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  due_at INTEGER NOT NULL, -- milliseconds since 1970
  turn INTEGER NOT NULL DEFAULT 0, -- how often it was handed out
  step INTEGER NOT NULL DEFAULT 0, -- how far earlier attempts have come
  PRIMARY KEY (group_id, topic, msg_offset)
) WITHOUT ROWID;
CREATE INDEX consumer_group_events_key ON consumer_group_events (group_id, topic, key, msg_offset);
CREATE INDEX consumer_group_events_waiting ON consumer_group_events (group_id, topic, due_at)
  WHERE state = 1;
CREATE INDEX consumer_group_events_claimed ON consumer_group_events (group_id, epoch)
  WHERE state = 2;
CREATE TABLE appends (
  id BLOB PRIMARY KEY,
  created_at INTEGER NOT NULL, -- milliseconds since 1970
  stored TEXT NOT NULL         -- JSON: [[topic, first offset, how many], ...]
) WITHOUT ROWID;
";

/// What makes each layout the next one, from the first on.
const UPGRADES: [&str; 1] = ["
ALTER TABLE consumer_group_events ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
ALTER TABLE consumer_group_events ADD COLUMN step INTEGER NOT NULL DEFAULT 0;
"];

pub(super) enum Failure {
    Sql(rusqlite::Error),
    Invalid(Invalid),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Sql(error)
    }
}

/// Lays an empty file out, brings an older one up to date, and refuses one that this program doesn't know.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), Failure> {
    if found(connection, path)? == VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    match found(&transaction, path)? {
        0 => {
            transaction.execute_batch(LAYOUT)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        version => {
            let upgrades = UPGRADES.iter().skip(version as usize - 1);
            upgrades.into_iter().try_for_each(|sql| transaction.execute_batch(sql))?;
        }
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(())
}

/// Which layout is there; 0 for an empty database.
fn found(connection: &Connection, path: &Path) -> Result<i64, Failure> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let store = || path.display().to_string();
    match (number("application_id")?, number("user_version")?) {
        (APPLICATION_ID, version @ 1..=VERSION) => Ok(version),
        (APPLICATION_ID, found) => {
            Err(Failure::Invalid(Invalid::NewerLayout { store: store(), found, known: VERSION }))
        }
        (0, 0) if number("page_count")? == 0 || !has_tables(connection)? => Ok(0),
        _ => Err(Failure::Invalid(Invalid::ForeignStore { store: store() })),
    }
}

fn has_tables(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_master)", [], |row| row.get(0))
}

/// A topic's table, quoted. Topic names have no character that could end the quotes.
pub(super) fn table(topic: &Topic) -> String {
    format!("\"topic_{topic}\"")
}

/// Makes a topic's table where it isn't there.
pub(super) fn declare(transaction: &Connection, topic: &Topic) -> Result<(), WorkFailure> {
    let find = "SELECT substr(name, 7) FROM sqlite_master
                WHERE type = 'table' AND name = 'topic_' || ?1 COLLATE NOCASE";
    let find = transaction.query_row(find, [topic.as_str()], |row| row.get::<_, String>(0));
    match find.optional()? {
        Some(name) if name == topic.as_str() => return Ok(()),
        Some(name) => {
            let case = Invalid::TopicCase(topic.to_string(), name);
            return Err(crate::Error::from(case).into());
        }
        None => {}
    }
    make_room(transaction, topic)?;
    // AUTOINCREMENT: an offset is never given twice, even after the newest events are deleted.
    transaction.execute_batch(&format!(
        "CREATE TABLE {table} (
           msg_offset INTEGER PRIMARY KEY AUTOINCREMENT,
           key TEXT NOT NULL,
           value TEXT NOT NULL,
           created_at INTEGER NOT NULL, -- milliseconds since 1970
           headers TEXT                 -- JSON: [[name, value], ...]
         );
         {index}",
        table = table(topic),
        index = index(topic),
    ))?;
    Ok(())
}

/// What makes a topic's index. Names of tables and indexes are one set, and a topic's table has the prefix that this has not.
fn index(topic: &Topic) -> String {
    let table = table(topic);
    format!("CREATE INDEX \"key_of_topic_{topic}\" ON {table} (key, msg_offset);")
}

/// Layouts before the second named the index of a topic `topic_NAME_key`, as if it were the table of a topic `NAME_key`: it is
/// made anew when there is to be such a topic.
fn make_room(transaction: &Connection, topic: &Topic) -> Result<(), WorkFailure> {
    let sql = "SELECT name, substr(tbl_name, 7) FROM sqlite_master
               WHERE type = 'index' AND name = 'topic_' || ?1 COLLATE NOCASE";
    let found = transaction.query_row(sql, [topic.as_str()], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    });
    if let Some((name, of_topic)) = found.optional()? {
        let index = index(&Topic::new(of_topic)?);
        transaction.execute_batch(&format!("DROP INDEX \"{name}\"; {index}"))?;
    }
    Ok(())
}

/// Every topic, by name.
pub(super) fn topics(connection: &Connection) -> Result<Vec<Topic>, WorkFailure> {
    let sql = "SELECT substr(name, 7) FROM sqlite_master
               WHERE type = 'table' AND name GLOB 'topic_*' ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    names.map(|name| Ok(Topic::new(name?)?)).collect()
}
