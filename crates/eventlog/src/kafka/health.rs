//! What is wrong with the cluster: librdkafka says it over and over in its log, we once in the errors of calls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::ClientContext;

use crate::{Error, Invalid};

/// The last trouble of all clients of a log, until one of them succeeds.
#[derive(Default)]
pub(super) struct Health {
    reason: Mutex<Option<String>>,
    answers: AtomicU64,
}

impl Health {
    pub fn trouble(&self, reason: &str) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }

    /// What a client says of itself. That all brokers are down says less than why the last one is.
    pub fn complaint(&self, error: &KafkaError, reason: &str) {
        let all = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        if !all || self.reason().is_none() {
            self.trouble(reason);
        }
    }

    pub fn well(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How often a client succeeded. What was wrong before the last time isn't any more.
    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    pub fn reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What failed, and what librdkafka last said about the cluster.
    pub fn unavailable(&self, store: &str, what: &str) -> Error {
        let reason = match self.reason() {
            Some(reason) => format!("{what}: {reason}"),
            None => what.to_owned(),
        };
        Error::Unavailable { store: store.to_owned(), reason }
    }
}

/// The context of clients without callbacks of their own.
pub(super) struct Quiet(pub Arc<Health>);

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.complaint(&error, reason);
    }
}

impl ConsumerContext for Quiet {}

/// Takes what a client that nobody polls has to say of itself; it would pile up.
pub(super) fn drain(client: &BaseConsumer<Quiet>) {
    while client.poll(Duration::from_millis(1)).is_some() {}
}

/// Settings that librdkafka doesn't take.
pub(super) fn refused_settings(error: KafkaError) -> Error {
    let reason = match error {
        // Without the value: it may be a password under a misspelt name.
        KafkaError::ClientConfig(_, description, _, _) => description,
        KafkaError::ClientCreation(reason) => reason,
        other => other.to_string(),
    };
    Invalid::KafkaSettings(reason).into()
}

/// Whether the cluster says that there is no such topic, or partition of it.
pub(super) fn is_unknown(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    matches!(code, UnknownPartition | UnknownTopic | UnknownTopicOrPartition)
}
