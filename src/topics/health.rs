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

    /// Learns from what a call to the store came to. Callers that asked for too much or for nonsense say nothing about
    /// the store.
    pub fn note<T>(&self, result: &Result<T>) {
        match result {
            Ok(_) => {
                if self.away.swap(false, Ordering::Relaxed) {
                    log(NGX_LOG_WARN, "event log is back".into());
                }
            }
            Err(error @ Error::Unavailable { .. }) => {
                if !self.away.swap(true, Ordering::Relaxed) {
                    log(NGX_LOG_ERR, error.to_string());
                }
            }
            Err(_) => {}
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
