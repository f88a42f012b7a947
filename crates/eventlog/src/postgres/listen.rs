//! Wake-ups between processes: LISTEN on one connection of each open log, NOTIFY after a commit that others may wait for.
//!
//! A transaction that notifies holds a lock of the whole server until it has committed. So it is one of its own, after
//! the other's commit, and doesn't wait for the disk. One that is lost with its sender delays an event by the
//! time after which a member looks anyway.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::connection::Database;
use super::schema::CHANNEL;
use crate::signal::Signal;
use crate::Topic;

/// How often the listener looks whether its log was closed.
const TICK: Duration = Duration::from_secs(1);

/// The statement that wakes the others, if there are any consumers. `log` is who needn't be woken.
pub(super) fn wake_others(log: &str) -> String {
    format!(
        "SELECT pg_notify('{CHANNEL}', '{log}') WHERE EXISTS (SELECT FROM consumer_group_members)"
    )
}

/// The same, if there are consumers of these topics. It answers a row if there are.
pub(super) fn wake_readers<'a>(log: &str, topics: impl Iterator<Item = &'a Topic>) -> String {
    // Names of topics have no character that could end the quotes.
    let topics: Vec<String> = topics.map(|topic| format!("'{topic}'")).collect();
    format!(
        "SELECT pg_notify('{CHANNEL}', '{log}') WHERE EXISTS (
           SELECT FROM consumer_group_members JOIN consumer_group_offsets USING (group_id)
           WHERE topic IN ({}))",
        topics.join(", ")
    )
}

#[derive(Default)]
pub(super) struct Listener {
    started: AtomicBool,
    /// Whether wake-ups arrive.
    listening: Arc<AtomicBool>,
    /// Gone with the log, which ends the thread.
    alive: Arc<()>,
}

impl Listener {
    /// Starts listening, for the log's first member. Whatever arrives notifies `signal`; so does a connection that is made,
    /// because nothing arrived before.
    pub fn start(&self, database: &Arc<Database>, signal: &Arc<Signal>, log: &str) {
        if self.started.swap(true, Ordering::AcqRel) {
            return;
        }
        let thread = Thread {
            database: database.clone(),
            signal: signal.clone(),
            log: log.to_owned(),
            listening: self.listening.clone(),
            alive: Arc::downgrade(&self.alive),
        };
        let started = thread::Builder::new().name("eventlog-listen".into()).spawn(|| thread.run());
        // Without the thread members look from time to time; the next one that joins tries again.
        self.started.store(started.is_ok(), Ordering::Release);
    }

    pub fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }
}

struct Thread {
    database: Arc<Database>,
    signal: Arc<Signal>,
    log: String,
    listening: Arc<AtomicBool>,
    alive: Weak<()>,
}

impl Thread {
    fn is_over(&self) -> bool {
        self.alive.strong_count() == 0
    }

    fn run(self) {
        while !self.is_over() {
            // Calls that fail tell their callers why; here there is nobody to be told.
            drop(self.listen());
            self.listening.store(false, Ordering::Release);
            // Members that counted on being woken look for themselves from here on.
            self.signal.notify();
            let pause = self.database.pause().max(Duration::from_millis(20));
            thread::sleep(pause.min(TICK));
        }
    }

    /// Listens until the connection is lost or the log is closed.
    fn listen(&self) -> Result<(), super::connection::Failure> {
        let mut client = self.database.connect(self.database.deadline())?.into_client();
        client.batch(&format!("LISTEN {CHANNEL}"))?;
        self.listening.store(true, Ordering::Release);
        self.signal.notify();
        while !self.is_over() {
            let arrived = client.notifications(TICK)?;
            if arrived.iter().any(|notification| notification.payload() != self.log) {
                self.signal.notify();
            }
        }
        Ok(())
    }
}
