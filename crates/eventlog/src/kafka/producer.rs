//! Appending: an idempotent producer, and the memory of what it was given.
//!
//! Why idempotent and not transactional. A transaction would store an append's events together, but a producer has one
//! transaction at a time; a process that is killed leaves it open, and until its timeout no consumer gets past it: longer
//! than a hand-over may take. Its id would protect against a second process, not remember which appends were stored. So:
//!
//! * Resending inside librdkafka stores an event once, across lost connections and restarts of brokers.
//! * An append's id is remembered by this log, not by the cluster. A retry through the same log joins what is on its way,
//!   answers from what was stored, or sends only the events that are missing. A retry by another process, or after this
//!   one died without an answer, may store the events a second time.
//! * An append that passes the checks (topics, sizes, JSON, room in the queue) is handed over whole. Its events can be in
//!   several partitions, each of which stores its own: readers may see some before others, and a process that dies, or a
//!   partition that stays unreachable for `dedup_window`, leaves some of them out.
//!
//! An append that isn't acknowledged in `append_timeout` is answered so, while librdkafka goes on for `dedup_window`.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::ClientContext;

use super::flight::{Answer, Flight, Retry};
use super::health::{is_unknown, Health};
use super::settings::Settings;
use crate::backlog::Backlog;
use crate::signal::Signal;
use crate::{Append, AppendId, Done, Error, Invalid, NewEvent, Result, Stored, Topic};

/// Ids of ended appends that are kept at least, within `dedup_window`.
const REMEMBERED: usize = 10_000;

/// What all threads of the producer share.
pub(super) struct Desk {
    pub settings: Arc<Settings>,
    pub health: Arc<Health>,
    intake: Mutex<Intake>,
    producer: RwLock<Option<Arc<BaseProducer<Context>>>>,
    /// For the thread that looks at parked appends.
    pub parked: Signal,
}

#[derive(Default)]
struct Intake {
    flights: HashMap<AppendId, Arc<Flight>>,
    /// Flights that ended, oldest first.
    landed: VecDeque<(Instant, AppendId)>,
    /// Flights by deadline; those that ended since are among them.
    deadlines: VecDeque<(Instant, Arc<Flight>)>,
    /// Events on their way.
    load: Backlog,
    /// Topics that exist.
    known: HashSet<Topic>,
    /// Appends to topics that may not exist, and those behind them.
    parked: VecDeque<Parked>,
    closed: bool,
}

/// An append, and which of its events are to be sent.
type Parked = (Arc<Flight>, Vec<(usize, NewEvent)>);

/// An event that librdkafka didn't take, its size, and why.
type Failed = (usize, usize, Error);

/// One event of a flight.
pub(super) struct Passenger {
    flight: Arc<Flight>,
    index: usize,
    topic: Topic,
    size: usize,
}

pub(super) struct Context(Arc<Desk>);

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

impl Desk {
    pub fn open(settings: Arc<Settings>, health: Arc<Health>) -> Result<Arc<Desk>> {
        let (intake, producer) = (Mutex::default(), RwLock::new(None));
        let parked = Signal::default();
        let desk = Arc::new(Desk { settings, health, intake, producer, parked });
        let producer = desk.new_producer().map_err(super::health::refused_settings)?;
        *desk.producer.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(producer));
        Ok(desk)
    }

    fn new_producer(self: &Arc<Desk>) -> Result<BaseProducer<Context>, KafkaError> {
        self.settings.producer().create_with_context(Context(self.clone()))
    }

    fn producer(&self) -> Option<Arc<BaseProducer<Context>>> {
        self.producer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn intake(&self) -> MutexGuard<'_, Intake> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unavailable(&self, what: &str) -> Error {
        self.health.unavailable(&self.settings.store, what)
    }

    /// What an event's failure means.
    fn refused(&self, topic: &Topic, error: &KafkaError) -> Error {
        match error.rdkafka_error_code() {
            Some(code) if is_unknown(code) => {
                self.intake().known.remove(topic);
                topic.undeclared()
            }
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
                let (topic, store) = (topic.to_string(), self.settings.store.clone());
                let reason = "an event is larger than max.message.bytes of the topic".into();
                Invalid::RefusedTopic { store, topic, reason }.into()
            }
            Some(RDKafkaErrorCode::QueueFull) => self.full(self.intake().load.events),
            _ => self.unavailable(&format!("an event of topic {topic} was not stored ({error})")),
        }
    }

    fn full(&self, waiting: usize) -> Error {
        Error::Full { waiting, limit: self.settings.limits.queue }
    }

    /// Hands an append to librdkafka, without waiting for anything.
    pub fn submit(&self, append: Append, done: Done) {
        let deadline = Instant::now() + self.settings.limits.append_timeout;
        let mut intake = self.intake();
        if intake.closed {
            drop(intake);
            return done(Err(Error::Closed));
        }
        let fits = intake.load.check(Backlog::of(&append.events), &self.settings.limits);
        let (flight, events) = match intake.flights.get(&append.id).cloned() {
            Some(flight) if !flight.is_of(&append.events) => {
                drop(intake);
                return done(Err(Invalid::AppendIdReused(append.id.to_string()).into()));
            }
            // It has a place in the queue already, or had one.
            Some(flight) => match flight.retry(append.events, done, deadline) {
                Retry::Flying => {
                    intake.deadlines.push_back((deadline, flight));
                    return;
                }
                Retry::Landed(answer) => {
                    drop(intake);
                    return answer.tell();
                }
                Retry::Again(events) => (flight, events),
            },
            None => {
                if let Err(error) = fits {
                    drop(intake);
                    return done(Err(error));
                }
                let flight = Arc::new(Flight::new(&append, done, deadline));
                intake.flights.insert(append.id, flight.clone());
                (flight, append.events.into_iter().enumerate().collect())
            }
        };
        intake.load.add(Backlog::of(events.iter().map(|(_, event)| event)));
        intake.deadlines.push_back((deadline, flight.clone()));
        let known = events.iter().all(|(_, event)| intake.known.contains(&event.topic));
        // What is behind a parked append of the same topic must not overtake it.
        let behind = |event: &NewEvent| {
            intake.parked.iter().any(|(_, parked)| parked.iter().any(|p| p.1.topic == event.topic))
        };
        if known && !events.iter().any(|(_, event)| behind(event)) {
            let failed = self.send(&flight, events);
            drop(intake);
            self.land_all(&flight, failed);
        } else {
            intake.parked.push_back((flight, events));
            drop(intake);
            self.parked.notify();
        }
    }

    /// Queues events in librdkafka. Answers those that it didn't take.
    fn send(&self, flight: &Arc<Flight>, events: Vec<(usize, NewEvent)>) -> Vec<Failed> {
        let mut failed = Vec::new();
        let Some(producer) = self.producer() else {
            return events.iter().map(|(n, event)| (*n, event.size(), Error::Closed)).collect();
        };
        for (index, event) in events {
            let size = event.size();
            let NewEvent { topic, key, value, headers } = event;
            let name = self.settings.name(&topic);
            let passenger = Box::new(Passenger { flight: flight.clone(), index, topic, size });
            let mut record =
                BaseRecord::with_opaque_to(&name, passenger).key(key.as_str()).payload(&value);
            if !headers.is_empty() {
                let owned = OwnedHeaders::new_with_capacity(headers.len());
                record = record.headers(headers.iter().fold(owned, |owned, (key, value)| {
                    owned.insert(Header { key, value: Some(value.as_str()) })
                }));
            }
            if let Err((error, record)) = producer.send(record) {
                let topic = &record.delivery_opaque.topic;
                let error = match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::QueueFull) => self.full(self.settings.limits.queue),
                    Some(RDKafkaErrorCode::MessageSizeTooLarge) => Invalid::RefusedTopic {
                        store: self.settings.store.clone(),
                        topic: topic.to_string(),
                        reason: "an event is larger than message.max.bytes".into(),
                    }
                    .into(),
                    _ => self.unavailable(&format!("topic {topic}: {error}")),
                };
                failed.push((index, size, error));
            }
        }
        failed
    }

    fn land_all(&self, flight: &Arc<Flight>, failed: Vec<Failed>) {
        for (index, size, error) in failed {
            self.land(flight, index, size, Err(error));
        }
    }

    fn land(&self, flight: &Arc<Flight>, index: usize, size: usize, outcome: Result<Stored>) {
        let answer = flight.land(index, outcome);
        let mut intake = self.intake();
        intake.load.remove(Backlog { events: 1, bytes: size });
        if answer.is_some() {
            intake.landed.push_back((Instant::now(), flight.id));
        }
        drop(intake);
        if let Some(answer) = answer {
            answer.tell();
        }
    }

    /// Calls back for what happened, and does what is due. Answers `false` when the log was closed.
    pub fn turn(self: &Arc<Desk>) -> bool {
        let Some(producer) = self.producer() else { return false };
        producer.poll(Duration::from_millis(50));
        if let Some((_, reason)) = producer.client().fatal_error() {
            // It can't be used any more; what it had in hand fails, and the next one begins with a clean state.
            self.health.trouble(&reason);
            match self.new_producer() {
                Ok(new) => {
                    let mut place = self.producer.write().unwrap_or_else(PoisonError::into_inner);
                    *place = Some(Arc::new(new));
                }
                Err(error) => {
                    self.health.trouble(&super::health::refused_settings(error).to_string());
                }
            }
        }
        let (late, closed) = self.sweep();
        late.into_iter().for_each(Answer::tell);
        !closed
    }

    /// Forgets what is old, and finds the flights whose deadline has come.
    fn sweep(&self) -> (Vec<Answer>, bool) {
        let (limits, now) = (&self.settings.limits, Instant::now());
        let mut late = Vec::new();
        let mut intake = self.intake();
        while let Some((deadline, flight)) = intake.deadlines.front() {
            if *deadline > now && !flight.has_landed() {
                break;
            }
            let what = || format!("no answer to an append within {:?}", limits.append_timeout);
            late.extend(flight.time_out(now, || self.unavailable(&what())));
            intake.deadlines.pop_front();
        }
        while let Some((at, id)) = intake.landed.front().copied() {
            // An acknowledged append is rarely retried: its id isn't kept at the price of unbounded memory.
            let many = intake.landed.len() > REMEMBERED.max(limits.queue);
            if !many && now - at <= limits.dedup_window {
                break;
            }
            intake.landed.pop_front();
            if intake.flights.get(&id).is_some_and(|flight| flight.has_landed()) {
                intake.flights.remove(&id);
            }
        }
        (late, intake.closed)
    }

    /// The next append that is to be looked at, and the topics that it needs.
    pub fn first_parked(&self) -> Option<(Arc<Flight>, Vec<Topic>)> {
        let intake = self.intake();
        let (flight, events) = intake.parked.front()?;
        let mut topics: Vec<_> = events.iter().map(|(_, event)| event.topic.clone()).collect();
        topics.sort_unstable();
        topics.dedup();
        topics.retain(|topic| !intake.known.contains(topic));
        Some((flight.clone(), topics))
    }

    /// Sends the parked append, all of whose topics exist.
    pub fn send_parked(&self, topics: Vec<Topic>) {
        let mut intake = self.intake();
        intake.known.extend(topics);
        let Some((flight, events)) = intake.parked.pop_front() else { return };
        let failed = self.send(&flight, events);
        drop(intake);
        self.land_all(&flight, failed);
    }

    /// Gives up the parked append, of which nothing was sent.
    pub fn drop_parked(&self, error: Error) {
        let mut intake = self.intake();
        let Some((flight, events)) = intake.parked.pop_front() else { return };
        intake.load.remove(Backlog::of(events.iter().map(|(_, event)| event)));
        intake.landed.push_back((Instant::now(), flight.id));
        drop(intake);
        flight.abandon(error).tell();
    }

    /// Takes nothing more.
    pub fn close(&self) {
        self.intake().closed = true;
        self.parked.notify();
    }

    pub fn is_closed(&self) -> bool {
        self.intake().closed
    }

    /// The life of the producer's thread. When the log is closed, it waits for what is on its way and gives up the rest.
    pub fn run(self: Arc<Desk>) {
        while self.turn() {}
        while self.first_parked().is_some() {
            self.drop_parked(Error::Closed);
        }
        let producer = self.producer.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(producer) = producer {
            // Dropping it calls back for what is left, as failed.
            if let Err(error) = producer.flush(self.settings.limits.append_timeout) {
                self.health.trouble(&error.to_string());
            }
        }
    }
}
