//! An entry: its header, its key, and its value if that is a string.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, AtomicU8, Ordering::Relaxed};

use crate::dict::Inner;
use crate::layout::PAGE;
use crate::memory::{Shared, WORD};

/// What a value is. The numbers are Lua's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Boolean = 1,
    Number = 3,
    String = 4,
    List = 5,
}

impl Kind {
    pub(crate) fn from_number(number: u8) -> Option<Kind> {
        Some(match number {
            1 => Kind::Boolean,
            3 => Kind::Number,
            4 => Kind::String,
            5 => Kind::List,
            _ => return None,
        })
    }
}

#[repr(C)]
pub struct Entry {
    /// The next in the bucket.
    pub next: AtomicU32,
    /// The half of the hash that chooses the bucket and the mark.
    pub hash: AtomicU32,
    /// The neighbours in the order of eviction.
    pub newer: AtomicU32,
    pub older: AtomicU32,
    /// In milliseconds since the epoch; 0 for never.
    pub expires: AtomicU64,
    /// A number's bits, or 0 and 1 for booleans.
    pub number: AtomicU64,
    pub flags: AtomicU32,
    /// A string's bytes, or a list's items.
    pub len: AtomicU32,
    /// A list's ends.
    pub first: AtomicU32,
    pub last: AtomicU32,
    pub key_len: AtomicU16,
    pub kind: AtomicU8,
    /// The class of the entry's block, or [`RUN`](crate::pages::RUN).
    pub block: AtomicU8,
}

// SAFETY: atomic integers only.
unsafe impl Shared for Entry {}

/// How many bytes an entry takes.
#[inline]
pub fn entry_size(key: usize, value: usize) -> usize {
    size_of::<Entry>() + key.next_multiple_of(WORD) + value
}

/// Of a string's entry, bytes that it has no need of. With them it is as large as in lua-nginx-module, whose header is larger, so that strings fill a zone
/// of a given size, and begin to be evicted, where its users know it from.
const SPARE: usize = 12;

/// As [`entry_size`], of a string.
pub fn string_size(key: usize, text: usize) -> usize {
    entry_size(key, text) + SPARE
}

impl Entry {
    #[inline]
    pub fn is_expired(&self, now: u64) -> bool {
        let expires = self.expires.load(Relaxed);
        expires != 0 && expires <= now
    }

    #[inline]
    pub fn is(&self, kind: Kind) -> bool {
        self.kind.load(Relaxed) == kind as u8
    }
}

impl Inner {
    #[inline]
    pub fn entry(&self, offset: u32) -> &Entry {
        self.memory.at(self.address(offset))
    }

    /// As [`entry`](Self::entry), of an offset that was read without the lock.
    #[inline]
    pub fn entry_if_in_bounds(&self, offset: u32) -> Option<&Entry> {
        self.memory.get(self.address(offset))
    }

    /// Whether so many bytes from a block's beginning are in the pages, which is not certain of what was read without the lock.
    #[inline]
    pub fn is_in_bounds(&self, offset: u32, bytes: usize) -> bool {
        let end = self.layout.data + self.layout.pages * PAGE;
        self.address(offset) + bytes <= end
    }

    #[inline]
    pub fn key_at(&self, offset: u32) -> usize {
        self.address(offset) + size_of::<Entry>()
    }

    #[inline]
    pub fn text_at(&self, offset: u32, key_len: usize) -> usize {
        self.key_at(offset) + key_len.next_multiple_of(WORD)
    }

    #[inline(always)]
    pub fn has_key(&self, offset: u32, entry: &Entry, key: &[u8]) -> bool {
        entry.key_len.load(Relaxed) as usize == key.len()
            && self.is_in_bounds(offset, entry_size(key.len(), 0))
            && self.memory.equals(self.key_at(offset), key)
    }
}
