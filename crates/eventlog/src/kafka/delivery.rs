//! What librdkafka says of the events that it was given: where each is stored, or why not.

use std::sync::Arc;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::ClientContext;

use super::flight::Flight;
use super::producer::Desk;
use crate::{Stored, Topic};

/// One event of a flight.
pub(super) struct Passenger {
    pub flight: Arc<Flight>,
    pub index: usize,
    pub topic: Topic,
    pub size: usize,
}

pub(super) struct Context(pub Arc<Desk>);

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.health.complaint(&error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Passenger>;

    fn delivery(&self, result: &DeliveryResult<'_>, passenger: Box<Passenger>) {
        let outcome = match result {
            Ok(message) => match u64::try_from(message.offset()) {
                Ok(offset) => {
                    self.0.health.well();
                    Ok(Stored { partition: message.partition() as u32, offset })
                }
                Err(_) => {
                    Err(self.0.unavailable("the broker did not say where it stored an event"))
                }
            },
            Err((error, _)) => Err(self.0.refused(&passenger.topic, error)),
        };
        self.0.land(&passenger.flight, passenger.index, passenger.size, outcome);
    }
}
