//! Whether the store answers, said in the log when that changes, and only then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use eventlog::{Error, Result};
use nginx_sys::*;

use crate::nginx;
use crate::run::bridge;

pub struct Health {
    away: AtomicBool,
    /// When a call to the store last succeeded.
    answered: Mutex<Option<Instant>>,
}

impl Health {
    pub fn new() -> Health {
        Health { away: AtomicBool::new(false), answered: Mutex::new(None) }
    }

    pub fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Learns from what a call to the store that began then came to. Callers that asked for too much or for nonsense say
    /// nothing about the store. A success must have needed the store; see [`Health::note_failure`] for calls that may do
    /// without.
    pub fn note<T>(&self, result: &Result<T>, began: Instant) {
        match result {
            Ok(_) => {
                let mut answered = self.answered();
                *answered = Some(Instant::now());
                if self.away.swap(false, Ordering::Relaxed) {
                    log(NGX_LOG_WARN, "event log is back".into());
                }
            }
            Err(error) => self.note_failure(error, began),
        }
    }

    /// Learns from a call whose success says nothing, because a driver may answer it from what it has fetched before.
    pub fn note_failure(&self, error: &Error, began: Instant) {
        let is_away = matches!(error, Error::Unavailable { .. });
        let answered = self.answered();
        // What has waited for an answer since before the store came back may yet fail.
        let is_old = answered.is_some_and(|answered| began <= answered);
        if is_away && !is_old && !self.away.swap(true, Ordering::Relaxed) {
            log(NGX_LOG_ERR, error.to_string());
        }
    }

    fn answered(&self) -> MutexGuard<'_, Option<Instant>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs from any thread: nginx's log belongs to the worker's own.
pub fn log(level: u32, message: String) {
    bridge::post(Box::new(move || {
        // SAFETY: posted tasks run on the worker's own thread, which has a cycle.
        unsafe { nginx::log_parts(level, (*ngx_cycle).log, &[message.as_bytes()]) };
    }));
}
