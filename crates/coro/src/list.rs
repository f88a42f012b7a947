//! Lists that their members link themselves, so that being in one costs no memory, and leaving it no search.

use std::cell::Cell;

use crate::arena::{Arena, Found, Id};

/// What can be in a list by each of its links.
pub trait Linked {
    fn links(&self, which: usize) -> &Links;
}

/// A member's neighbours in a list.
#[derive(Default)]
pub struct Links {
    before: Cell<Option<Id>>,
    after: Cell<Option<Id>>,
}

/// A list; `LINKS` says by which of its links a member is in it, so that it can be in one list for each.
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

    pub fn first<'a, T: Linked + Default>(&self, members: &'a Arena<T>) -> Option<Found<'a, T>> {
        members.get(self.first.get()?)
    }

    pub fn after<'a, T: Linked + Default>(
        members: &'a Arena<T>,
        member: &T,
    ) -> Option<Found<'a, T>> {
        members.get(member.links(LINKS).after.get()?)
    }

    pub fn push<T: Linked + Default>(&self, members: &Arena<T>, member: Found<'_, T>) {
        let last = self.last.replace(Some(member.id()));
        let links = member.links(LINKS);
        links.before.set(last);
        links.after.set(None);
        match last.and_then(|last| members.get(last)) {
            Some(last) => last.links(LINKS).after.set(Some(member.id())),
            None => self.first.set(Some(member.id())),
        }
    }

    /// Takes out a member.
    pub fn remove<T: Linked + Default>(&self, members: &Arena<T>, member: &T) {
        let links = member.links(LINKS);
        let (before, after) = (links.before.take(), links.after.take());
        match before.and_then(|before| members.get(before)) {
            Some(before) => before.links(LINKS).after.set(after),
            None => self.first.set(after),
        }
        match after.and_then(|after| members.get(after)) {
            Some(after) => after.links(LINKS).before.set(before),
            None => self.last.set(before),
        }
    }
}
