//! What waits to be stored, held against the limits.

use crate::{Error, Limits, NewEvent, Result};

/// Events, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    pub events: usize,
    pub bytes: usize,
}

impl Backlog {
    pub fn of<'a>(events: impl IntoIterator<Item = &'a NewEvent>) -> Backlog {
        let mut load = Backlog::default();
        events.into_iter().for_each(|event| load.add(Backlog { events: 1, bytes: event.size() }));
        load
    }

    /// Refuses what would be too much with that which waits already.
    pub fn check(&self, load: Backlog, limits: &Limits) -> Result<()> {
        if self.events == 0 || load.events == 0 {
            return Ok(());
        }
        if self.events + load.events > limits.queue {
            return Err(Error::Full { waiting: self.events, limit: limits.queue });
        }
        if self.bytes + load.bytes > limits.queue_size {
            return Err(Error::FullOfBytes { waiting: self.bytes, limit: limits.queue_size });
        }
        Ok(())
    }

    pub fn add(&mut self, load: Backlog) {
        self.events += load.events;
        self.bytes += load.bytes;
    }

    pub fn remove(&mut self, load: Backlog) {
        self.events -= load.events;
        self.bytes -= load.bytes;
    }
}
