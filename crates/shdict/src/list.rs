//! Lists: an entry has the ends of a chain of items.

use std::sync::atomic::{AtomicU32, AtomicU8, Ordering::Relaxed};

use crate::dict::{Dict, Inner};
use crate::entry::{entry_size, string_size, Entry, Kind};
use crate::layout::NONE;
use crate::memory::Shared;
use crate::{Lock, MAX_KEY};

#[repr(C)]
pub(crate) struct Node {
    /// The neighbours: towards the first, and towards the last.
    before: AtomicU32,
    after: AtomicU32,
    /// A string's bytes; a number has one word.
    len: AtomicU32,
    kind: AtomicU8,
}

// SAFETY: atomic integers only.
unsafe impl Shared for Node {}

/// The end of a list at which something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Left,
    Right,
}

/// An item of a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Item<'a> {
    Number(f64),
    String(&'a [u8]),
}

/// What was taken off a list. A string's bytes are where the caller wanted them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Popped {
    Number(f64),
    String,
}

/// There is something under the key, but no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAList;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    NotAList,
    NoMemory,
}

impl Inner {
    pub(crate) fn node(&self, offset: u32) -> &Node {
        self.memory.at(self.address(offset))
    }

    /// A list's end.
    fn end<'a>(&self, entry: &'a Entry, end: End) -> &'a AtomicU32 {
        match end {
            End::Left => &entry.first,
            End::Right => &entry.last,
        }
    }

    /// The item before one, if there is any.
    pub(crate) fn before(&self, offset: u32) -> u32 {
        self.node(offset).before.load(Relaxed)
    }

    fn text_of_node(&self, offset: u32) -> usize {
        self.address(offset) + size_of::<Node>()
    }

    /// A list's items, from the first: their offsets and how many bytes each has.
    pub(crate) fn items<'a>(&'a self, entry: &Entry) -> impl Iterator<Item = (u32, usize)> + 'a {
        let mut offset = entry.first.load(Relaxed);
        std::iter::from_fn(move || {
            if offset == NONE {
                return None;
            }
            let node = self.node(offset);
            let item = (offset, size_of::<Node>() + node.len.load(Relaxed) as usize);
            offset = node.after.load(Relaxed);
            Some(item)
        })
    }

    pub(crate) fn free_items(&self, entry: &Entry) {
        for (item, _) in self.items(entry) {
            self.free(item);
        }
    }

    /// How many bytes an entry was asked memory for, with all that belongs to it.
    pub(crate) fn size_of_entry(&self, offset: u32) -> usize {
        let entry = self.entry(offset);
        let key = entry.key_len.load(Relaxed) as usize;
        if entry.is(Kind::List) {
            let items: usize = self.items(entry).map(|(_, bytes)| bytes).sum();
            entry_size(key, 0) + items
        } else if entry.is(Kind::String) {
            string_size(key, entry.len.load(Relaxed) as usize)
        } else {
            entry_size(key, 0)
        }
    }
}

impl<L: Lock> Dict<L> {
    /// The list under the key, if one is there that has not expired.
    fn list(&self, key: &[u8], now: u64) -> Result<Option<(u32, &Entry)>, NotAList> {
        let hash = self.inner.hash(key);
        match self.inner.find(hash, key).filter(|(_, entry)| !entry.is_expired(now)) {
            Some((_, entry)) if !entry.is(Kind::List) => Err(NotAList),
            found => {
                if found.is_some() {
                    self.inner.mark_used(hash);
                }
                Ok(found)
            }
        }
    }

    /// Puts an item at an end of a list, which is made if it isn't there. Nothing makes room for it but what has expired. The list's length.
    pub fn push(&self, end: End, key: &[u8], item: Item<'_>, now: u64) -> Result<usize, PushError> {
        let number;
        let (kind, text) = match item {
            Item::Number(n) => {
                number = n.to_bits().to_ne_bytes();
                (Kind::Number, &number[..])
            }
            Item::String(text) => (Kind::String, text),
        };
        if key.len() > MAX_KEY || text.len() > u32::MAX as usize {
            return Err(PushError::NoMemory);
        }
        let inner = &self.inner;
        let hash = inner.hash(key);
        let _changing = self.change();
        let mut list = self.list(key, now).map_err(|NotAList| PushError::NotAList)?;
        if list.is_none() {
            if let Some((expired, _)) = inner.find(hash, key) {
                inner.remove(expired);
            }
        }
        inner.reclaim(now);
        if list.is_none() {
            let bytes = entry_size(key.len(), 0);
            let offset = inner.allocate(bytes).ok_or(PushError::NoMemory)?;
            inner.insert(offset, hash, key, bytes, |entry| {
                entry.kind.store(Kind::List as u8, Relaxed);
                for field in [&entry.flags, &entry.len, &entry.first, &entry.last] {
                    field.store(0, Relaxed);
                }
                entry.expires.store(0, Relaxed);
                entry.number.store(0, Relaxed);
            });
            list = Some((offset, inner.entry(offset)));
        }
        let Some((list, entry)) = list else { return Err(PushError::NoMemory) };
        let Some(offset) = inner.allocate(size_of::<Node>() + text.len()) else {
            if entry.len.load(Relaxed) == 0 {
                inner.remove(list);
            }
            return Err(PushError::NoMemory);
        };
        let node = inner.node(offset);
        node.kind.store(kind as u8, Relaxed);
        node.len.store(text.len() as u32, Relaxed);
        inner.memory.write(inner.text_of_node(offset), text);
        let neighbour = inner.end(entry, end).load(Relaxed);
        let (before, after) = match end {
            End::Left => (NONE, neighbour),
            End::Right => (neighbour, NONE),
        };
        node.before.store(before, Relaxed);
        node.after.store(after, Relaxed);
        self.join(entry, before, offset);
        self.join(entry, offset, after);
        let len = entry.len.load(Relaxed) + 1;
        entry.len.store(len, Relaxed);
        Ok(len as usize)
    }

    /// Makes two items of a list neighbours; none is the end beyond.
    fn join(&self, list: &Entry, before: u32, after: u32) {
        let inner = &self.inner;
        let towards_last = match before {
            NONE => &list.first,
            item => &inner.node(item).after,
        };
        towards_last.store(after, Relaxed);
        let towards_first = match after {
            NONE => &list.last,
            item => &inner.node(item).before,
        };
        towards_first.store(before, Relaxed);
    }

    /// Takes an item off an end of a list, which is gone with its last. A string's bytes replace what is in `text`.
    pub fn pop(
        &self,
        end: End,
        key: &[u8],
        now: u64,
        text: &mut Vec<u8>,
    ) -> Result<Option<Popped>, NotAList> {
        let inner = &self.inner;
        let _changing = self.change();
        let Some((list, entry)) = self.list(key, now)? else { return Ok(None) };
        let offset = inner.end(entry, end).load(Relaxed);
        let node = inner.node(offset);
        let len = node.len.load(Relaxed) as usize;
        text.clear();
        inner.memory.read(inner.text_of_node(offset), len, text);
        let popped = match text.first_chunk() {
            Some(&number) if node.kind.load(Relaxed) == Kind::Number as u8 => {
                Popped::Number(f64::from_bits(u64::from_ne_bytes(number)))
            }
            _ => Popped::String,
        };
        let left = entry.len.load(Relaxed) - 1;
        if left == 0 {
            inner.remove(list);
            return Ok(Some(popped));
        }
        self.join(entry, node.before.load(Relaxed), node.after.load(Relaxed));
        inner.free(offset);
        entry.len.store(left, Relaxed);
        Ok(Some(popped))
    }

    /// How many items a list has; 0 if there is none.
    pub fn len(&self, key: &[u8], now: u64) -> Result<usize, NotAList> {
        let _locked = self.take_lock();
        Ok(self.list(key, now)?.map_or(0, |(_, entry)| entry.len.load(Relaxed) as usize))
    }
}
