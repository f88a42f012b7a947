//! The database's layout. A topic is a table `topic_NAME`, as in Spacer's PostgreSQL layout.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::connection::Failure as WorkFailure;
use crate::{Invalid, Topic};

/// Marks the file as an event log ("SpEL").
const APPLICATION_ID: i64 = 0x5370_454c;
/// The layout below.
const VERSION: i64 = 1;

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

pub(super) enum Failure {
    Sql(rusqlite::Error),
    Invalid(Invalid),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Sql(error)
    }
}

/// Lays an empty file out, and refuses one that this program doesn't know.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), Failure> {
    if found(connection, path)? {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    if !found(&transaction, path)? {
        transaction.execute_batch(LAYOUT)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Whether the layout is there; false for an empty database.
fn found(connection: &Connection, path: &Path) -> Result<bool, Failure> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let store = || path.display().to_string();
    match (number("application_id")?, number("user_version")?) {
        (APPLICATION_ID, 1..=VERSION) => Ok(true),
        (APPLICATION_ID, found) => {
            Err(Failure::Invalid(Invalid::NewerLayout { store: store(), found, known: VERSION }))
        }
        (0, 0) if number("page_count")? == 0 || !has_tables(connection)? => Ok(false),
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
    // AUTOINCREMENT: an offset is never given twice, even after the newest events are deleted.
    transaction.execute_batch(&format!(
        "CREATE TABLE {table} (
           msg_offset INTEGER PRIMARY KEY AUTOINCREMENT,
           key TEXT NOT NULL,
           value TEXT NOT NULL,
           created_at INTEGER NOT NULL, -- milliseconds since 1970
           headers TEXT                 -- JSON: [[name, value], ...]
         );
         CREATE INDEX \"topic_{topic}_key\" ON {table} (key, msg_offset);",
        table = table(topic),
    ))?;
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
