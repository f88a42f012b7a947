//! The database's layout, and how an older one becomes it. A topic is a table `topic_NAME`.
//!
//! The first Spacer's databases have the topics' tables and `consumer_group_offsets`, no more; they are layout 0. Whatever
//! is added leaves its programs working: they go on inserting keys and values.

use super::connection::{column, Failure};
use super::session::{End, Lock, Session};
use crate::{Invalid, Topic};

/// The layout below.
const VERSION: i32 = 2;

/// The channel of wake-ups.
pub(super) const CHANNEL: &str = "spacer";

/// `group_offset` is the last offset that a group has taken in, 0 before its first. `consumer_group_events` has what of that
/// isn't finished. States are those of `group::State`. Indexes are on keys' hashes, because a key may be larger than
/// an index's entry. Queue tables are cleaned early: their dead rows would be in the way of every claim.
const LAYOUT: &str = "
CREATE TABLE spacer_layout (version integer NOT NULL);
CREATE TABLE spacer_topics (
  id serial PRIMARY KEY,
  topic text NOT NULL UNIQUE,
  relation text NOT NULL UNIQUE,
  sequence text NOT NULL,  -- of the offsets, quoted
  decided bigint NOT NULL, -- no offset below is going to appear
  guessed boolean NOT NULL -- named after its table, whose name has lost the case
);
CREATE UNIQUE INDEX spacer_topics_case ON spacer_topics (lower(topic));
CREATE TABLE IF NOT EXISTS consumer_group_offsets (
  group_offset bigint NOT NULL,
  group_id text NOT NULL,
  topic text NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS group_topic_idx ON consumer_group_offsets (group_id, topic);
CREATE TABLE consumer_group_members (
  group_id text NOT NULL,
  member_id text NOT NULL,
  epoch bigint NOT NULL,
  lease_until timestamptz NOT NULL,
  PRIMARY KEY (group_id, member_id)
) WITH (fillfactor = 50);
CREATE TABLE consumer_group_events (
  group_id text NOT NULL,
  topic text NOT NULL,
  msg_offset bigint NOT NULL,
  key text NOT NULL,
  state smallint NOT NULL,
  attempt integer NOT NULL,
  epoch bigint NOT NULL,
  due_at timestamptz NOT NULL,
  turn integer NOT NULL DEFAULT 0, -- how often it was handed out
  step integer NOT NULL DEFAULT 0, -- how far earlier attempts have come
  PRIMARY KEY (group_id, topic, msg_offset)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX consumer_group_events_key
  ON consumer_group_events (group_id, topic, hashtextextended(key, 0), msg_offset);
CREATE INDEX consumer_group_events_waiting ON consumer_group_events (group_id, topic, due_at)
  WHERE state = 1;
CREATE INDEX consumer_group_events_claimed ON consumer_group_events (group_id, epoch)
  WHERE state = 2;
CREATE TABLE appends (
  id bytea PRIMARY KEY,
  created_at timestamptz NOT NULL DEFAULT now(),
  stored text NOT NULL -- JSON: [[topic, offset], ...]
);
CREATE INDEX appends_created_at ON appends USING brin (created_at) WITH (autosummarize = on);
-- Wakes the consumers when others insert events; the event log's own sessions do so themselves.
CREATE FUNCTION spacer_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('spacer', '');
  RETURN NULL;
END $$;
";

/// What makes each layout the next one, from the first on.
const UPGRADES: [&str; 1] =
    ["ALTER TABLE consumer_group_events ADD COLUMN turn integer NOT NULL DEFAULT 0,
       ADD COLUMN step integer NOT NULL DEFAULT 0;"];

/// Lays an empty database out, brings one of the first Spacer's up to date, and refuses one of the future.
pub(super) fn prepare(session: &mut Session, store: &str) -> Result<(), Failure> {
    if found(session, store)? == VERSION {
        return Ok(());
    }
    session.set_at_length(true);
    let prepared = session.transaction(&[Lock::Layout], |session| {
        // Another process may have been faster.
        let version = found(session, store)?;
        if version == 0 {
            session.batch(LAYOUT).map_err(|failure| match failure.code() {
                Some(
                    &(tokio_postgres::error::SqlState::DUPLICATE_TABLE
                    | tokio_postgres::error::SqlState::UNDEFINED_COLUMN),
                ) => Invalid::ForeignStore { store: store.to_owned() }.into(),
                _ => failure,
            })?;
            adopt_all(session, store)?;
            session.execute("INSERT INTO spacer_layout VALUES ($1)", &[&VERSION])?;
        } else if version < VERSION {
            let upgrades = UPGRADES.iter().skip(version as usize - 1);
            upgrades.into_iter().try_for_each(|sql| session.batch(sql))?;
            session.execute("UPDATE spacer_layout SET version = $1", &[&VERSION])?;
        }
        Ok(((), End::Durable(String::new())))
    });
    session.set_at_length(false);
    prepared
}

/// Which layout is there; 0 for none.
fn found(session: &mut Session, store: &str) -> Result<i32, Failure> {
    // A look at the catalogue, since to_regclass answers from a cache that needn't have heard of another's commit.
    let sql = "SELECT EXISTS (SELECT FROM pg_class
                 WHERE relname = 'spacer_layout' AND pg_table_is_visible(oid))";
    let row = session.query_one(sql, &[])?;
    if !column::<bool>(&row, 0)? {
        return Ok(0);
    }
    let row = session.query_one("SELECT max(version) FROM spacer_layout", &[])?;
    match column::<Option<i32>>(&row, 0)? {
        Some(version @ 1..=VERSION) => Ok(version),
        Some(found) => {
            let (found, known) = (found.into(), VERSION.into());
            Err(Invalid::NewerLayout { store: store.to_owned(), found, known }.into())
        }
        None => Err(Failure::Value("spacer_layout has no row".into())),
    }
}

/// Makes topics of the tables that are there. Their names were folded to lower case; the groups' positions have them
/// as they were written.
fn adopt_all(session: &mut Session, store: &str) -> Result<(), Failure> {
    let sql = "SELECT substr(c.relname, 7), o.topic FROM pg_class c
               LEFT JOIN (SELECT lower(topic) AS name, min(topic) AS topic
                          FROM consumer_group_offsets GROUP BY 1) o
                 ON o.name = substr(c.relname, 7)
               WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
                 AND c.relname LIKE 'topic\\_%' ORDER BY 1";
    for row in session.query(sql, &[])? {
        let (table, named): (String, Option<String>) = (column(&row, 0)?, column(&row, 1)?);
        let guessed = named.is_none();
        // A name that no topic can have is another program's table.
        let Ok(topic) = Topic::new(named.unwrap_or(table)) else { continue };
        // So is one that has not the columns.
        if problem(session, &topic)?.is_none() {
            make(session, store, &topic, guessed)?;
            if let Some(dead) = topic.dead() {
                make(session, store, &dead, guessed)?;
            }
        }
    }
    Ok(())
}

/// Makes a topic, and the one of its dead letters, where they aren't there.
pub(super) fn declare(session: &mut Session, store: &str, topics: &[Topic]) -> Result<(), Failure> {
    let with_dead = |topic: &Topic| [Some(topic.clone()), topic.dead()];
    let mut topics: Vec<Topic> = topics.iter().flat_map(with_dead).flatten().collect();
    topics.sort();
    topics.dedup();
    let names: Vec<&str> = topics.iter().map(Topic::as_str).collect();
    let sql = "SELECT count(*) FROM spacer_topics WHERE topic = ANY($1) AND NOT guessed";
    let row = session.query_one(sql, &[&names])?;
    if column::<i64>(&row, 0)? as usize == topics.len() {
        return Ok(());
    }
    session.set_at_length(true);
    let declared = session.transaction(&[Lock::Layout], |session| {
        for topic in &topics {
            let sql = "SELECT topic, guessed FROM spacer_topics WHERE lower(topic) = lower($1)";
            match session.query_opt(sql, &[&topic.as_str()])? {
                None => make(session, store, topic, false)?,
                Some(row) if column::<bool>(&row, 1)? => {
                    let sql = "UPDATE spacer_topics SET topic = $1, guessed = false
                               WHERE lower(topic) = lower($1)";
                    session.execute(sql, &[&topic.as_str()])?;
                }
                Some(row) => {
                    let name: String = column(&row, 0)?;
                    if name != topic.as_str() {
                        return Err(Invalid::TopicCase(topic.to_string(), name).into());
                    }
                }
            }
        }
        Ok(((), End::Durable(String::new())))
    });
    session.set_at_length(false);
    declared
}

/// The name of a topic's table, as the first Spacer's unquoted `topic_NAME` would find it; shortened where it would be
/// too long for PostgreSQL, or where another topic's index or sequence has it.
const RELATION: &str = "CASE WHEN length($1::text) <= 57 AND NOT EXISTS (
                          SELECT FROM pg_class c WHERE c.relname = 'topic_' || lower($1)
                            AND c.relnamespace = current_schema()::regnamespace
                            AND c.relkind IN ('i', 'I', 'S'))
                        THEN 'topic_' || lower($1)
                        ELSE 'topic_' || left(lower($1), 24) || '_' || md5(lower($1)) END";

/// Makes a topic's table, or takes one that is there.
fn make(session: &mut Session, store: &str, topic: &Topic, guessed: bool) -> Result<(), Failure> {
    let sql = format!(
        "SELECT relation, quote_ident(relation), to_regclass(quote_ident(relation))
                         IS NOT NULL FROM (SELECT {RELATION} AS relation) r"
    );
    let row = session.query_one(&sql, &[&topic.as_str()])?;
    let (relation, table): (String, String) = (column(&row, 0)?, column(&row, 1)?);
    if !column::<bool>(&row, 2)? {
        session.batch(&format!(
            "CREATE TABLE {table} (
               msg_offset bigserial PRIMARY KEY,
               key text NOT NULL,
               value text NOT NULL,
               created_at timestamptz NOT NULL DEFAULT now()
             )"
        ))?;
    } else if let Some(reason) = problem(session, topic)? {
        let reason = format!("table {table} is there and {reason}");
        return Err(Invalid::UnfitStore { store: store.to_owned(), reason }.into());
    }
    let sql = "SELECT pg_get_serial_sequence($1, 'msg_offset')";
    let sequence: String = column(&session.query_one(sql, &[&table])?, 0)?;
    // Numbers that a session keeps for later would be taken for rolled back.
    session.batch(&format!(
        "ALTER SEQUENCE {sequence} CACHE 1;
         ALTER TABLE {table} ADD COLUMN headers text; -- JSON: [[name, value], ...]
         CREATE INDEX ON {table} (hashtextextended(key, 0), msg_offset);
         CREATE TRIGGER spacer_wake AFTER INSERT ON {table} FOR EACH STATEMENT
           WHEN (current_setting('spacer.own', true) IS DISTINCT FROM 'on')
           EXECUTE FUNCTION spacer_wake()"
    ))?;
    let sql = "INSERT INTO spacer_topics (topic, relation, sequence, decided, guessed)
               VALUES ($1, $2, $3, 1, $4)";
    session.execute(sql, &[&topic.as_str(), &relation, &sequence, &guessed])?;
    Ok(())
}

/// Why the table of a topic's name isn't one of the first Spacer's; `None` if it is.
fn problem(session: &mut Session, topic: &Topic) -> Result<Option<String>, Failure> {
    let sql = format!(
        "SELECT wanted.name FROM (SELECT to_regclass(quote_ident({RELATION})) AS relation) r,
           (VALUES ('msg_offset', 'bigint'), ('key', 'text'), ('value', 'text'),
                   ('created_at', 'timestamp with time zone')) wanted (name, type)
         WHERE NOT EXISTS (
           SELECT FROM pg_attribute a WHERE a.attrelid = r.relation AND a.attname = wanted.name
             AND format_type(a.atttypid, NULL) = wanted.type AND NOT a.attisdropped)
         UNION ALL
         SELECT 'sequence' WHERE NOT EXISTS (
           SELECT FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
             WHERE d.refobjid = to_regclass(quote_ident({RELATION})))"
    );
    let missing = session.query(&sql, &[&topic.as_str()])?;
    let Some(first) = missing.first() else { return Ok(None) };
    Ok(Some(match column::<String>(first, 0)?.as_str() {
        "sequence" => "its msg_offset has no sequence".to_owned(),
        name => format!("has no fitting column {name}"),
    }))
}

/// Every topic, by name.
pub(super) fn topics(session: &mut Session) -> Result<Vec<Topic>, Failure> {
    let sql = "SELECT topic FROM spacer_topics ORDER BY topic COLLATE \"C\"";
    let rows = session.query(sql, &[])?;
    rows.iter().map(|row| Ok(Topic::new(column::<String>(row, 0)?)?)).collect()
}
