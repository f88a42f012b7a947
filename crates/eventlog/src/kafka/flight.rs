//! An append on its way: which of its events are stored, and who waits for it.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::{Append, AppendId, Done, Error, NewEvent, Result, Stored};

pub(super) struct Flight {
    pub id: AppendId,
    /// Tells the events of two appends apart.
    print: u64,
    progress: Mutex<Progress>,
}

struct Progress {
    stored: Vec<Option<Stored>>,
    /// How many events librdkafka has in hand.
    flying: usize,
    failed: Option<Error>,
    waiting: Vec<Done>,
    landed: bool,
    deadline: Option<Instant>,
}

/// What is to be told to whom, when no lock is held.
pub(super) struct Answer(Vec<Done>, Result<Vec<Stored>>);

impl Answer {
    pub fn tell(self) {
        for done in self.0 {
            done(self.1.clone());
        }
    }
}

/// What a retry of an append finds.
pub(super) enum Retry {
    /// It is on its way; the retry waits along.
    Flying,
    Landed(Answer),
    /// Some events could not be stored: these are to be sent again.
    Again(Vec<(usize, NewEvent)>),
}

pub(super) fn print(events: &[NewEvent]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for event in events {
        (&event.topic, &event.key, &event.value).hash(&mut hasher);
    }
    hasher.finish()
}

impl Flight {
    pub fn new(append: &Append, done: Done, deadline: Instant) -> Flight {
        let count = append.events.len();
        Flight {
            id: append.id,
            print: print(&append.events),
            progress: Mutex::new(Progress {
                stored: vec![None; count],
                flying: count,
                failed: None,
                waiting: vec![done],
                landed: false,
                deadline: Some(deadline),
            }),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_of(&self, events: &[NewEvent]) -> bool {
        self.print == print(events)
    }

    pub fn retry(&self, events: Vec<NewEvent>, done: Done, deadline: Instant) -> Retry {
        let mut progress = self.progress();
        if let Some(stored) = progress.all_stored() {
            return Retry::Landed(Answer(vec![done], Ok(stored)));
        }
        progress.waiting.push(done);
        progress.deadline = Some(deadline);
        if !progress.landed {
            return Retry::Flying;
        }
        progress.landed = false;
        progress.failed = None;
        let stored = &progress.stored;
        let missing = |(n, _): &(usize, NewEvent)| stored[*n].is_none();
        let again: Vec<_> = events.into_iter().enumerate().filter(missing).collect();
        progress.flying = again.len();
        Retry::Again(again)
    }

    /// Notes what became of one event. Answers what to tell when it was the last one.
    pub fn land(&self, event: usize, outcome: Result<Stored>) -> Option<Answer> {
        let mut progress = self.progress();
        match outcome {
            Ok(stored) => progress.stored[event] = Some(stored),
            Err(error) => progress.failed = Some(error),
        }
        progress.flying -= 1;
        (progress.flying == 0).then(|| progress.land())
    }

    /// Gives up all events that are in hand; nothing of them was sent.
    pub fn abandon(&self, error: Error) -> Answer {
        let mut progress = self.progress();
        progress.failed = Some(error);
        progress.flying = 0;
        progress.land()
    }

    /// Tells those who have waited until their deadline. The events stay on their way.
    pub fn time_out(&self, now: Instant, error: impl FnOnce() -> Error) -> Option<Answer> {
        let mut progress = self.progress();
        let over = progress.deadline.is_some_and(|deadline| deadline <= now);
        (over && !progress.landed).then(|| {
            progress.deadline = None;
            Answer(std::mem::take(&mut progress.waiting), Err(error()))
        })
    }

    /// Whether anybody is still to be told.
    pub fn is_awaited(&self) -> bool {
        !self.progress().waiting.is_empty()
    }

    pub fn has_landed(&self) -> bool {
        self.progress().landed
    }
}

impl Progress {
    fn all_stored(&self) -> Option<Vec<Stored>> {
        self.stored.iter().copied().collect()
    }

    fn land(&mut self) -> Answer {
        self.landed = true;
        let lost = || Error::Closed;
        let outcome = self.all_stored().ok_or_else(|| self.failed.clone().unwrap_or_else(lost));
        Answer(std::mem::take(&mut self.waiting), outcome)
    }
}
