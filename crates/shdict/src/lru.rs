//! Who makes room: entries in the order in which they came, where those that were used meanwhile are spared once.
//!
//! That something was used is one bit of its bucket's byte of marks, chosen by the hash. It lies outside the entry, which may be gone by the time
//! a reader sets it: the worst that a late or a colliding mark does is to spare an entry. A reader that finds the bit set writes nothing.

use std::sync::atomic::{AtomicU32, AtomicU8, Ordering::Relaxed};

use crate::dict::Inner;
use crate::entry::{Entry, Kind};
use crate::layout::NONE;

/// How many entries are spared for one that goes, so that a dictionary of which all was read costs no walk through it.
const SPARED: usize = 32;

/// An entry made room.
pub struct Evicted {
    pub expired: bool,
}

impl Inner {
    #[inline]
    fn mark(&self, hash: u32) -> (&AtomicU8, u8) {
        (self.memory.at(self.layout.marks_at + self.bucket_of(hash)), 1 << (hash & 7))
    }

    /// Notes that an entry was used.
    #[inline]
    pub fn mark_used(&self, hash: u32) {
        let (marks, bit) = self.mark(hash);
        if marks.load(Relaxed) & bit == 0 {
            marks.fetch_or(bit, Relaxed);
        }
    }

    /// Whether it was used since this was last asked.
    pub fn take_mark(&self, hash: u32) -> bool {
        let (marks, bit) = self.mark(hash);
        marks.load(Relaxed) & bit != 0 && marks.fetch_and(!bit, Relaxed) & bit != 0
    }

    /// Makes an entry the newest.
    pub fn add_newest(&self, offset: u32) {
        let header = self.header();
        let entry = self.entry(offset);
        let second = header.newest.load(Relaxed);
        entry.newer.store(NONE, Relaxed);
        entry.older.store(second, Relaxed);
        header.newest.store(offset, Relaxed);
        self.newer_of(second).store(offset, Relaxed);
    }

    /// Takes an entry out of the order.
    pub fn take_from_order(&self, entry: &Entry) {
        let (newer, older) = (entry.newer.load(Relaxed), entry.older.load(Relaxed));
        self.newer_of(older).store(newer, Relaxed);
        self.older_of(newer).store(older, Relaxed);
    }

    /// Where it is written which entry is newer than `offset`; than none, the oldest is.
    fn newer_of(&self, offset: u32) -> &AtomicU32 {
        if offset == NONE {
            &self.header().oldest
        } else {
            &self.entry(offset).newer
        }
    }

    /// Where it is written which entry is older than `offset`; than none, the newest is.
    fn older_of(&self, offset: u32) -> &AtomicU32 {
        if offset == NONE {
            &self.header().newest
        } else {
            &self.entry(offset).older
        }
    }

    fn spare(&self, offset: u32) {
        self.take_from_order(self.entry(offset));
        self.add_newest(offset);
    }

    /// Gives back up to two entries at the end that have expired, and passes over as many that were used.
    pub fn reclaim(&self, now: u64) {
        for _ in 0..2 {
            let oldest = self.header().oldest.load(Relaxed);
            if oldest == NONE {
                return;
            }
            let entry = self.entry(oldest);
            if entry.is_expired(now) {
                self.remove(oldest);
            } else if self.take_mark(entry.hash.load(Relaxed)) {
                self.spare(oldest);
            } else {
                return;
            }
        }
    }

    /// Has an entry make room, or none if there is none.
    pub fn evict(&self, now: u64) -> Option<Evicted> {
        let mut oldest = self.header().oldest.load(Relaxed);
        for _ in 0..SPARED {
            if oldest == NONE {
                return None;
            }
            let entry = self.entry(oldest);
            if entry.is_expired(now) || !self.take_mark(entry.hash.load(Relaxed)) {
                break;
            }
            self.spare(oldest);
            oldest = self.header().oldest.load(Relaxed);
        }
        let expired = self.entry(oldest).is_expired(now);
        self.remove(oldest);
        Some(Evicted { expired })
    }

    /// Removes an entry and all that belongs to it.
    pub fn remove(&self, offset: u32) {
        let entry = self.entry(offset);
        let hash = entry.hash.load(Relaxed);
        let bucket = self.bucket(hash);
        let changed = bucket.change();
        let mut link = &bucket.head;
        loop {
            let next = link.load(Relaxed);
            assert!(next != NONE, "an entry is in its bucket");
            if next == offset {
                break;
            }
            link = &self.entry(next).next;
        }
        link.store(entry.next.load(Relaxed), Relaxed);
        self.take_mark(hash);
        self.take_from_order(entry);
        if entry.is(Kind::List) {
            self.free_items(entry);
        }
        self.free(offset);
        drop(changed);
    }
}
