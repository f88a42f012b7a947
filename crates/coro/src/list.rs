//! Lists of tasks that the tasks themselves link, so that being in one costs no memory, and leaving it no search.

use std::cell::Cell;

use crate::arena::{Arena, Found, Id};
use crate::task::{Host, Task};

/// A task's neighbours in a list.
#[derive(Default)]
pub struct Links {
    before: Cell<Option<Id>>,
    after: Cell<Option<Id>>,
}

/// A list; `LINKS` says which of its links a task is in it by, so that it can be in one list for each.
#[derive(Default)]
pub struct List<const LINKS: usize> {
    first: Cell<Option<Id>>,
    last: Cell<Option<Id>>,
}

impl<const LINKS: usize> List<LINKS> {
    pub fn clear(&self) {
        self.first.set(None);
        self.last.set(None);
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.first.get().is_none()
    }

    pub fn first<'a, H: Host>(&self, tasks: &'a Arena<Task<H>>) -> Option<Found<'a, Task<H>>> {
        tasks.get(self.first.get()?)
    }

    pub fn after<'a, H: Host>(
        tasks: &'a Arena<Task<H>>,
        task: &Task<H>,
    ) -> Option<Found<'a, Task<H>>> {
        tasks.get(task.links[LINKS].after.get()?)
    }

    pub fn push<H: Host>(&self, tasks: &Arena<Task<H>>, task: Found<'_, Task<H>>) {
        let last = self.last.replace(Some(task.id()));
        let links = &task.links[LINKS];
        links.before.set(last);
        links.after.set(None);
        match last.and_then(|last| tasks.get(last)) {
            Some(last) => last.links[LINKS].after.set(Some(task.id())),
            None => self.first.set(Some(task.id())),
        }
    }

    /// Takes out a task that is in the list.
    pub fn remove<H: Host>(&self, tasks: &Arena<Task<H>>, task: &Task<H>) {
        let links = &task.links[LINKS];
        let (before, after) = (links.before.take(), links.after.take());
        match before.and_then(|before| tasks.get(before)) {
            Some(before) => before.links[LINKS].after.set(after),
            None => self.first.set(after),
        }
        match after.and_then(|after| tasks.get(after)) {
            Some(after) => after.links[LINKS].before.set(before),
            None => self.last.set(before),
        }
    }
}
