//! Whether the store answers, said in the log when that changes, and only then.

use std::sync::atomic::{AtomicBool, Ordering};

use eventlog::{Error, Result};
use nginx_sys::*;

use crate::ngx;
use crate::sched::bridge;

pub struct Health {
    away: AtomicBool,
}

impl Health {
    pub fn new() -> Health {
        Health { away: AtomicBool::new(false) }
    }

    pub fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Learns from what a call to the store came to. Callers that asked for too much or for nonsense say nothing about
    /// the store. A success must have needed the store; see [`Health::note_failure`] for calls that may do without.
    pub fn note<T>(&self, result: &Result<T>) {
        match result {
            Ok(_) => {
                if self.away.swap(false, Ordering::Relaxed) {
                    log(NGX_LOG_WARN, "event log is back".into());
                }
            }
            Err(error) => self.note_failure(error),
        }
    }

    /// Learns from a call whose success says nothing, because a driver may answer it from what it has fetched before.
    pub fn note_failure(&self, error: &Error) {
        let is_away = matches!(error, Error::Unavailable { .. });
        if is_away && !self.away.swap(true, Ordering::Relaxed) {
            log(NGX_LOG_ERR, error.to_string());
        }
    }
}

/// Logs from any thread: nginx's log belongs to the worker's own.
pub fn log(level: u32, message: String) {
    bridge::post(Box::new(move || {
        // SAFETY: posted tasks run on the worker's own thread, which has a cycle.
        unsafe { ngx::log_parts(level, (*ngx_cycle).log, &[message.as_bytes()]) };
    }));
}
