//! A connection with its settings, prepared statements and transactions.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, SimpleQueryMessage, Statement};

use super::client::Client;
use super::connection::Failure;
use crate::{Error, Invalid};

/// The oldest server whose functions are all there.
const OLDEST: i32 = 120_000;
/// The oldest that ends a statement whose client has gone.
const NOTICES_LEAVING: i32 = 140_000;
/// Statements that are kept prepared; texts differ by topic.
const PREPARED_MOST: usize = 1000;

/// Transactions don't wait for the disk unless they say so, or [`Session::flush`] does after them. The plans of queue tables that were empty when they were made would be scans, so the planner is held to the indexes.
/// A stopped process must not keep the others from its locks.
const SETTINGS: &str = "
SET synchronous_commit = off;
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE;
SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;
SET client_min_messages = warning;
SET idle_in_transaction_session_timeout = '10s';
SET spacer.own = 'on';
";

pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Which locks are taken first: groups' before topics', and topics' in the order of their numbers.
#[derive(Clone, Copy)]
pub(super) enum Lock {
    Layout,
    Group(i32),
    Topic(i32),
}

impl Lock {
    /// Two-key advisory locks; the first key says that they are the event log's and of which kind.
    fn sql(self) -> String {
        const CLASS: i32 = 0x5370_4500;
        let (class, key) = match self {
            Lock::Layout => (CLASS, 0),
            Lock::Group(key) => (CLASS + 1, key),
            Lock::Topic(key) => (CLASS + 2, key),
        };
        format!("SELECT pg_advisory_xact_lock({class}, {key});")
    }
}

/// How a transaction ends, when its work has succeeded.
pub(super) enum End {
    /// With a commit that waits for the disk, and along with it what runs after it.
    Durable(String),
    /// With a commit that doesn't wait for the disk, and what runs after it.
    Quick(String),
}

pub(super) struct Session {
    client: Client,
    prepared: HashMap<String, Statement>,
    /// The `synchronous_commit` of what must be durable.
    durable: String,
    committed: bool,
    answered: bool,
}

impl Session {
    pub fn new(mut client: Client, store: &str, patience: Duration) -> Result<Session, Failure> {
        let sql = "SELECT current_setting('server_version_num')::int4,
                   current_setting('server_encoding'), pg_is_in_recovery(),
                   current_setting('synchronous_commit'), current_schema()::text";
        let statement = client.prepare(sql)?;
        let row = client.query_one(&statement, &[])?;
        let (version, encoding): (i32, String) = (row.try_get(0)?, row.try_get(1)?);
        let unfit = |reason: String| Invalid::UnfitStore { store: store.to_owned(), reason };
        if version < OLDEST {
            let (found, oldest) = (version / 10_000, OLDEST / 10_000);
            return Err(unfit(format!("PostgreSQL {found} is older than {oldest}")).into());
        }
        if encoding != "UTF8" {
            return Err(unfit(format!("its encoding is {encoding}, not UTF8")).into());
        }
        if row.try_get::<_, Option<String>>(4)?.is_none() {
            return Err(unfit("no schema of its search_path exists".into()).into());
        }
        if row.try_get(2)? {
            let reason = "the server is a standby, which takes no changes".to_owned();
            return Err(Error::Unavailable { store: store.to_owned(), reason }.into());
        }
        let durable = match row.try_get::<_, String>(3)?.as_str() {
            // What was acknowledged must survive, whatever is good enough for the server's other users.
            "off" => "on".to_owned(),
            setting => setting.to_owned(),
        };
        // A little before the deadline, which would cost the connection.
        let lock_timeout = (patience.as_millis() * 9 / 10).max(1);
        let mut settings = format!("{SETTINGS}SET lock_timeout = {lock_timeout};");
        if version >= NOTICES_LEAVING {
            settings.push_str("SET client_connection_check_interval = '1s';");
        }
        client.batch(&settings)?;
        Ok(Session { client, prepared: HashMap::new(), durable, committed: false, answered: false })
    }

    pub fn query(&mut self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Failure> {
        let statement = self.prepare(sql)?;
        self.client.query(&statement, params)
    }

    pub fn query_one(&mut self, sql: &str, params: Params<'_>) -> Result<Row, Failure> {
        let statement = self.prepare(sql)?;
        self.client.query_one(&statement, params)
    }

    pub fn query_opt(&mut self, sql: &str, params: Params<'_>) -> Result<Option<Row>, Failure> {
        let statement = self.prepare(sql)?;
        self.client.query_opt(&statement, params)
    }

    pub fn execute(&mut self, sql: &str, params: Params<'_>) -> Result<u64, Failure> {
        let statement = self.prepare(sql)?;
        self.client.execute(&statement, params)
    }

    /// Statements without parameters, in one message.
    pub fn batch(&mut self, sql: &str) -> Result<(), Failure> {
        self.client.batch(sql)
    }

    /// The rows of such statements, as text.
    pub fn simple(&mut self, sql: &str) -> Result<Vec<SimpleQueryMessage>, Failure> {
        self.client.simple(sql)
    }

    /// The connection itself, to listen on.
    pub fn into_client(self) -> Client {
        self.client
    }

    /// See [`Client::set_at_length`].
    pub fn set_at_length(&mut self, at_length: bool) {
        self.client.set_at_length(at_length);
    }

    fn prepare(&mut self, sql: &str) -> Result<Statement, Failure> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        if self.prepared.len() >= PREPARED_MOST {
            self.prepared.clear();
        }
        let statement = self.client.prepare(sql)?;
        self.prepared.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Takes the locks, runs `work`, and ends as that says.
    pub fn transaction<T>(
        &mut self,
        locks: &[Lock],
        work: impl FnOnce(&mut Session) -> Result<(T, End), Failure>,
    ) -> Result<T, Failure> {
        self.transaction_with(locks, "", |session, _| work(session))
    }

    /// Sends `first` along with the locks; `work` gets the first columns of what it answers.
    pub fn transaction_with<T>(
        &mut self,
        locks: &[Lock],
        first: &str,
        work: impl FnOnce(&mut Session, Vec<String>) -> Result<(T, End), Failure>,
    ) -> Result<T, Failure> {
        let sql: String = locks.iter().map(|lock| lock.sql()).collect();
        let outcome = match self.client.simple(&format!("BEGIN;{sql}{first}")) {
            Ok(messages) => {
                let column = |message| match message {
                    SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
                    _ => None,
                };
                // A lock answers a row, too.
                work(self, messages.into_iter().filter_map(column).skip(locks.len()).collect())
            }
            Err(failure) => Err(failure),
        };
        let outcome = outcome.and_then(|(value, end)| {
            let sql = match end {
                End::Durable(then) => {
                    format!("SET LOCAL synchronous_commit = {}; COMMIT; {then}", self.durable)
                }
                End::Quick(then) => format!("COMMIT; {then}"),
            };
            self.committed = true;
            let answered = self.client.simple(&sql)?;
            let is_row = |message: &_| matches!(message, SimpleQueryMessage::Row(_));
            self.answered = answered.iter().any(is_row);
            Ok(value)
        });
        match outcome {
            Ok(value) => Ok(value),
            Err(failure) if failure.is_lost() => Err(failure),
            Err(failure) => {
                // With a failed ROLLBACK the connection is dead, and the transaction with it.
                self.client.batch("ROLLBACK")?;
                Err(failure)
            }
        }
    }

    /// Waits until all that was committed here is on disk. Cheaper for others than a commit that waits, because no
    /// lock is held meanwhile.
    pub fn flush(&mut self) -> Result<(), Failure> {
        let sql = self.flush_sql();
        self.client.batch(&sql)
    }

    /// What [`Session::flush`] does, to be sent along with a commit.
    pub fn flush_sql(&self) -> String {
        // A commit waits only if the transaction has written something.
        format!(
            "BEGIN; SET LOCAL synchronous_commit = {}; \
             SELECT pg_logical_emit_message(true, 'spacer', ''); COMMIT;",
            self.durable
        )
    }

    /// Whether what ran after the last transaction answered a row.
    pub fn has_answered(&self) -> bool {
        self.answered
    }

    /// Work that is to be done by `deadline`: what isn't answered by then ends the connection.
    pub fn begin_work(&mut self, deadline: Instant) {
        self.committed = false;
        self.client.set_deadline(deadline);
    }

    /// Whether a transaction got as far as its commit since [`Session::begin_work`].
    pub fn may_have_committed(&self) -> bool {
        self.committed
    }
}
