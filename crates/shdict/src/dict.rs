//! The dictionary: finding, reading and storing.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{fence, AtomicU32, Ordering::*};

use crate::entry::{entry_size, string_size, Entry, Kind};
use crate::layout::{Bucket, Header, Layout, TooSmall, NONE};
use crate::memory::Memory;
use crate::{Lock, MAX_KEY};

/// How often a reader that was disturbed begins again before it asks for the lock.
const ATTEMPTS: usize = 64;
/// How many entries make room for one at most, unless it is larger than what they give back.
const EVICTIONS: usize = 30;

/// What there is but for the lock: the callers have it, or know how to do without.
pub struct Inner {
    pub memory: Memory,
    pub layout: Layout,
}

/// A process' view of a dictionary.
pub struct Dict<L: Lock> {
    pub(crate) inner: Inner,
    lock: L,
}

/// What to store. Lists are made by [`Dict::push`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Boolean(bool),
    Number(f64),
    String(&'a [u8]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Whether it is there or not.
    Set,
    /// Only if it isn't.
    Add,
    /// Only if it is.
    Replace,
}

/// What to store, and how.
#[derive(Clone, Copy, Debug)]
pub struct Store<'a> {
    pub mode: Mode,
    /// Nothing else makes room for it: where there is none it fails, and what was there stays.
    pub safe: bool,
    pub key: &'a [u8],
    pub value: Value<'a>,
    /// For how many milliseconds; 0 is for ever.
    pub ttl: u64,
    /// The caller's own, kept with the value.
    pub flags: u32,
}

/// What became of storing a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub result: Result<(), StoreError>,
    /// Whether entries that had not expired made room.
    pub forcible: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    Exists,
    NotFound,
    NotANumber,
    NoMemory,
}

/// What is there. A string's bytes are where the caller wanted them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Got {
    pub kind: Kind,
    /// A number, or 0 and 1 for booleans.
    pub number: f64,
    pub flags: u32,
    pub expired: bool,
}

/// How a walk along a bucket ended.
enum Walk<'a> {
    Found(u32, &'a Entry),
    Absent,
    /// Somebody changed the bucket meanwhile.
    Disturbed,
}

/// How reading without the lock ended.
enum Reading<T> {
    Done(T),
    Absent,
    /// Somebody was there each time.
    Disturbed,
}

/// What a reader without the lock holds its bucket's count against.
struct Watch<'a> {
    bucket: &'a Bucket,
    changes: u32,
}

impl Watch<'_> {
    /// Whether all that was read until now was there at once.
    #[inline(always)]
    fn undisturbed(&self) -> bool {
        fence(Acquire);
        self.bucket.changes.load(Relaxed) == self.changes
    }
}

/// While it is there, readers of the bucket wait.
pub struct Change<'a>(&'a Bucket, u32);

impl Bucket {
    #[inline]
    pub fn change(&self) -> Change<'_> {
        // The mark of one who died here is odd already; who finds the dictionary so empties it, and comes by here as well.
        let before = self.changes.load(Relaxed) | 1;
        self.changes.store(before, Relaxed);
        fence(Release);
        Change(self, before)
    }
}

impl Drop for Change<'_> {
    #[inline]
    fn drop(&mut self) {
        // After a panic readers go on waiting, for the lock at last: who gets that empties the dictionary.
        if !std::thread::panicking() {
            self.0.changes.store(self.1.wrapping_add(1), Release);
        }
    }
}

impl Inner {
    #[inline]
    pub fn header(&self) -> &Header {
        self.memory.at(0)
    }

    #[inline]
    pub fn bucket_of(&self, hash: u32) -> usize {
        ((hash as u64 * self.layout.buckets as u64) >> 32) as usize
    }

    #[inline]
    pub fn bucket_at(&self, index: usize) -> &Bucket {
        self.memory.at(self.layout.buckets_at + index * size_of::<Bucket>())
    }

    #[inline]
    pub fn bucket(&self, hash: u32) -> &Bucket {
        self.bucket_at(self.bucket_of(hash))
    }

    #[inline]
    pub fn hash(&self, key: &[u8]) -> u32 {
        let seed = self.header().seed.load(Relaxed);
        let mut hasher = foldhash::fast::FixedState::with_seed(seed).build_hasher();
        hasher.write(key);
        (hasher.finish() >> 32) as u32
    }

    /// Finds an entry, expired or not. With the lock.
    #[inline(always)]
    pub fn find(&self, hash: u32, key: &[u8]) -> Option<(u32, &Entry)> {
        let mut offset = self.bucket(hash).head.load(Relaxed);
        while offset != NONE {
            let entry = self.entry(offset);
            if entry.hash.load(Relaxed) == hash && self.has_key(offset, entry, key) {
                return Some((offset, entry));
            }
            offset = entry.next.load(Relaxed);
        }
        None
    }

    /// As [`find`](Self::find), without the lock.
    #[inline(always)]
    fn walk(&self, watch: &Watch<'_>, hash: u32, key: &[u8]) -> Walk<'_> {
        let mut offset = watch.bucket.head.load(Relaxed);
        loop {
            // What a chain that is disturbed leads to may be anything, and without an end.
            if !watch.undisturbed() {
                return Walk::Disturbed;
            }
            if offset == NONE {
                return Walk::Absent;
            }
            let Some(entry) = self.entry_if_in_bounds(offset) else { return Walk::Disturbed };
            if entry.hash.load(Relaxed) == hash && self.has_key(offset, entry, key) {
                return Walk::Found(offset, entry);
            }
            offset = entry.next.load(Relaxed);
        }
    }

    /// Reads an entry without the lock: `read` takes from it what is wanted, or says that it can't be right. What it took counts if nobody was
    /// there meanwhile.
    #[inline(always)]
    fn read_undisturbed<T>(
        &self,
        hash: u32,
        key: &[u8],
        mut read: impl FnMut(u32, &Entry, &Watch<'_>) -> Option<T>,
    ) -> Reading<T> {
        let bucket = self.bucket(hash);
        for _ in 0..ATTEMPTS {
            let changes = bucket.changes.load(Acquire);
            if changes & 1 == 1 {
                std::hint::spin_loop();
                continue;
            }
            let watch = Watch { bucket, changes };
            match self.walk(&watch, hash, key) {
                Walk::Absent => return Reading::Absent,
                Walk::Disturbed => {}
                Walk::Found(offset, entry) => match read(offset, entry, &watch) {
                    Some(taken) if watch.undisturbed() => return Reading::Done(taken),
                    _ => {}
                },
            }
        }
        Reading::Disturbed
    }

    /// What an entry has, a string's bytes in `text`; nothing if what it says can't be right. `watch` is for readers without the lock.
    #[inline(always)]
    fn read(
        &self,
        offset: u32,
        entry: &Entry,
        watch: Option<&Watch<'_>>,
        key: &[u8],
        now: u64,
        text: &mut Vec<u8>,
    ) -> Option<Got> {
        let kind = Kind::from_number(entry.kind.load(Relaxed))?;
        if kind == Kind::String {
            let len = entry.len.load(Relaxed) as usize;
            // Of an entry that is gone this may be anything, such as nearly all of the memory.
            if watch.is_some_and(|watch| !watch.undisturbed()) {
                return None;
            }
            if !self.is_in_bounds(offset, entry_size(key.len(), len)) {
                return None;
            }
            text.clear();
            self.memory.read(self.text_at(offset, key.len()), len, text);
        }
        let bits = entry.number.load(Relaxed);
        let number = if kind == Kind::Number { f64::from_bits(bits) } else { bits as f64 };
        let flags = entry.flags.load(Relaxed);
        Some(Got { kind, number, flags, expired: entry.is_expired(now) })
    }

    /// Writes an entry's value and what goes with it.
    #[inline(always)]
    fn fill(&self, offset: u32, entry: &Entry, value: Value<'_>, expires: u64, flags: u32) {
        let (kind, number, len) = match value {
            Value::Boolean(on) => (Kind::Boolean, on as u64, 0),
            Value::Number(number) => (Kind::Number, number.to_bits(), 0),
            Value::String(text) => {
                let key_len = entry.key_len.load(Relaxed) as usize;
                self.memory.write(self.text_at(offset, key_len), text);
                (Kind::String, 0, text.len() as u32)
            }
        };
        entry.kind.store(kind as u8, Relaxed);
        entry.number.store(number, Relaxed);
        entry.len.store(len, Relaxed);
        entry.expires.store(expires, Relaxed);
        entry.flags.store(flags, Relaxed);
    }

    /// Memory for an entry; others make room for it.
    fn allocate_forcibly(&self, bytes: usize, now: u64, forcible: &mut bool) -> Option<u32> {
        if let Some(offset) = self.allocate(bytes) {
            return Some(offset);
        }
        // One that can't fit has no more than a few others make room in vain.
        let wanted = if self.has_room_at_all(bytes) { 2 * bytes } else { 0 };
        let mut returned = 0;
        let mut evictions = 0;
        while evictions < EVICTIONS || returned < wanted {
            evictions += 1;
            let oldest = self.header().oldest.load(Relaxed);
            if oldest != NONE {
                returned += self.size_of_entry(oldest);
            }
            *forcible |= !self.evict(now)?.expired;
            if let Some(offset) = self.allocate(bytes) {
                return Some(offset);
            }
        }
        None
    }

    /// Stores a value in memory that it has to get first. `old` is what is to be replaced, and whether it has not expired. With the lock.
    #[inline(never)]
    fn store_elsewhere(
        &self,
        old: Option<(u32, bool)>,
        hash: u32,
        new: &Store<'_>,
        bytes: usize,
        now: u64,
        forcible: &mut bool,
    ) -> Result<(), StoreError> {
        let mut memory = None;
        if let Some((offset, live)) = old {
            if new.safe && live {
                memory = Some(self.allocate(bytes).ok_or(StoreError::NoMemory)?);
            }
            self.remove(offset);
        }
        if memory.is_none() {
            self.reclaim(now);
            memory = match new.safe {
                true => self.allocate(bytes),
                false => self.allocate_forcibly(bytes, now, forcible),
            };
        }
        let offset = memory.ok_or(StoreError::NoMemory)?;
        self.insert(offset, hash, new.key, bytes, |entry| {
            self.fill(offset, entry, new.value, expiry(new.ttl, now), new.flags);
        });
        Ok(())
    }

    /// Puts a new entry, in memory of so many bytes that is its own, into the dictionary. `fill` writes its value.
    pub fn insert(
        &self,
        offset: u32,
        hash: u32,
        key: &[u8],
        bytes: usize,
        fill: impl FnOnce(&Entry),
    ) {
        let bucket = self.bucket(hash);
        let _changing = bucket.change();
        let entry = self.entry(offset);
        entry.hash.store(hash, Relaxed);
        entry.key_len.store(key.len() as u16, Relaxed);
        entry.block.store(Inner::block_for(bytes), Relaxed);
        self.memory.write(self.key_at(offset), key);
        fill(entry);
        entry.next.store(bucket.head.load(Relaxed), Relaxed);
        bucket.head.store(offset, Relaxed);
        self.add_newest(offset);
    }

    /// Makes everything anew, but for the seed.
    pub fn empty(&self) {
        let header = self.header();
        header.oldest.store(NONE, Relaxed);
        header.newest.store(NONE, Relaxed);
        for index in 0..self.layout.buckets {
            let bucket = self.bucket_at(index);
            let changing = bucket.change();
            bucket.head.store(NONE, Relaxed);
            drop(changing);
            let marks: &std::sync::atomic::AtomicU8 = self.memory.at(self.layout.marks_at + index);
            marks.store(0, Relaxed);
        }
        self.format_pages();
    }
}

/// The lock, as long as the value is there.
pub struct Locked<'a, L: Lock>(&'a Dict<L>);

impl<L: Lock> Drop for Locked<'_, L> {
    #[inline]
    fn drop(&mut self) {
        self.0.lock.unlock();
    }
}

/// The lock, and the mark in the memory that it is not whole.
pub struct Changing<'a, L: Lock>(Locked<'a, L>);

impl<L: Lock> Drop for Changing<'_, L> {
    #[inline]
    fn drop(&mut self) {
        // A panic leaves the mark to who comes next.
        if !std::thread::panicking() {
            self.0 .0.changing().store(0, Release);
        }
    }
}

/// When what is stored for so many milliseconds expires; 0 is never for both.
pub(crate) fn expiry(ttl: u64, now: u64) -> u64 {
    if ttl == 0 {
        0
    } else {
        // What is left of it is a signed number.
        now.saturating_add(ttl).min(i64::MAX as u64)
    }
}

impl<L: Lock> Dict<L> {
    /// A view of the memory, in which a dictionary was made by [`format`](Self::format), or is about to be.
    ///
    /// # Safety
    /// `base` points to `len` bytes, aligned to 8, that are there as long as the value and that nobody uses but through such values of the same
    /// length, whose locks keep each other out.
    pub unsafe fn new(base: *mut u8, len: usize, lock: L) -> Result<Dict<L>, TooSmall> {
        let layout = Layout::new(len)?;
        // SAFETY: the caller's promise.
        let memory = unsafe { Memory::new(base, len) };
        Ok(Dict { inner: Inner { memory, layout }, lock })
    }

    /// Makes an empty dictionary. To be called once, before anybody else knows of the memory. The seed should be hard to guess: who knows
    /// it can choose keys that are found slowly.
    pub fn format(&self, seed: u64) {
        self.inner.header().seed.store(seed, Relaxed);
        self.inner.empty();
        self.changing().store(0, Release);
    }

    pub fn lock(&self) -> &L {
        &self.lock
    }

    #[inline]
    fn changing(&self) -> &AtomicU32 {
        &self.inner.header().changing
    }

    /// Takes the lock; what is behind it is whole.
    #[inline]
    pub(crate) fn take_lock(&self) -> Locked<'_, L> {
        self.lock.lock();
        let locked = Locked(self);
        if self.changing().load(Relaxed) != 0 {
            self.recover();
        }
        locked
    }

    /// A process died while it changed the dictionary.
    #[cold]
    fn recover(&self) {
        self.inner.empty();
        self.changing().store(0, Release);
        self.lock.emptied();
    }

    /// Takes the lock to change more than can be changed at once.
    #[inline]
    pub(crate) fn change(&self) -> Changing<'_, L> {
        let locked = self.take_lock();
        self.changing().store(1, Relaxed);
        fence(Release);
        Changing(locked)
    }

    /// What `key` is. A string's bytes replace what is in `text`; of a list no more is read than that it is one. Entries that have expired are
    /// there until their memory is needed.
    #[inline(always)]
    pub fn get(&self, key: &[u8], now: u64, text: &mut Vec<u8>) -> Option<Got> {
        if key.len() > MAX_KEY {
            return None;
        }
        let inner = &self.inner;
        let hash = inner.hash(key);
        let read = |offset, entry: &Entry, watch: &Watch<'_>| {
            inner.read(offset, entry, Some(watch), key, now, text)
        };
        let got = match inner.read_undisturbed(hash, key, read) {
            Reading::Done(got) => got,
            Reading::Absent => return None,
            Reading::Disturbed => self.get_locked(hash, key, now, text)?,
        };
        if !got.expired {
            inner.mark_used(hash);
        }
        Some(got)
    }

    #[cold]
    fn get_locked(&self, hash: u32, key: &[u8], now: u64, text: &mut Vec<u8>) -> Option<Got> {
        let _locked = self.take_lock();
        let (offset, entry) = self.inner.find(hash, key)?;
        self.inner.read(offset, entry, None, key, now, text)
    }

    /// Stores a value.
    #[inline(always)]
    pub fn store(&self, new: &Store<'_>, now: u64) -> Stored {
        let mut forcible = false;
        let result = self.try_store(new, now, &mut forcible);
        Stored { result, forcible }
    }

    #[inline(always)]
    fn try_store(&self, new: &Store<'_>, now: u64, forcible: &mut bool) -> Result<(), StoreError> {
        let &Store { mode, key, value, ttl, flags, .. } = new;
        let bytes = match value {
            Value::String(text) => string_size(key.len(), text.len()),
            Value::Boolean(_) | Value::Number(_) => entry_size(key.len(), 0),
        };
        if key.len() > MAX_KEY || bytes > u32::MAX as usize {
            return Err(StoreError::NoMemory);
        }
        let inner = &self.inner;
        let hash = inner.hash(key);
        let expires = expiry(ttl, now);
        let _changing = self.change();
        let found = inner.find(hash, key);
        let live = found.is_some_and(|(_, entry)| !entry.is_expired(now));
        match mode {
            Mode::Add if live => return Err(StoreError::Exists),
            Mode::Replace if !live => return Err(StoreError::NotFound),
            _ => {}
        }
        let old = match found {
            Some((offset, entry)) => {
                if !entry.is(Kind::List) && inner.fits_in_place(offset, entry, bytes) {
                    let _changing = inner.bucket(hash).change();
                    inner.fill(offset, entry, value, expires, flags);
                    inner.mark_used(hash);
                    return Ok(());
                }
                Some((offset, live))
            }
            None => None,
        };
        inner.store_elsewhere(old, hash, new, bytes, now, forcible)
    }

    /// Adds `by` to the number that is there. If there is none, it is `init` (a number and its milliseconds) to which it is added; without that it
    /// is an error. The number, and whether entries that had not expired made room.
    pub fn incr(
        &self,
        key: &[u8],
        by: f64,
        init: Option<(f64, u64)>,
        now: u64,
    ) -> (Result<f64, StoreError>, bool) {
        let mut forcible = false;
        (self.try_incr(key, by, init, now, &mut forcible), forcible)
    }

    fn try_incr(
        &self,
        key: &[u8],
        by: f64,
        init: Option<(f64, u64)>,
        now: u64,
        forcible: &mut bool,
    ) -> Result<f64, StoreError> {
        if key.len() > MAX_KEY {
            return Err(StoreError::NoMemory);
        }
        let hash = self.inner.hash(key);
        {
            let _locked = self.take_lock();
            if let Some((_, entry)) = self.inner.find(hash, key).filter(|(_, e)| !e.is_expired(now))
            {
                if !entry.is(Kind::Number) {
                    return Err(StoreError::NotANumber);
                }
                // One word, which readers find old or new.
                let number = f64::from_bits(entry.number.load(Relaxed)) + by;
                entry.number.store(number.to_bits(), Relaxed);
                self.inner.mark_used(hash);
                return Ok(number);
            }
        }
        let (init, ttl) = init.ok_or(StoreError::NotFound)?;
        self.start_counter(key, by, init, ttl, now, forcible)
    }

    #[inline(never)]
    fn start_counter(
        &self,
        key: &[u8],
        by: f64,
        init: f64,
        ttl: u64,
        now: u64,
        forcible: &mut bool,
    ) -> Result<f64, StoreError> {
        let value = Value::Number(init + by);
        let new = Store { mode: Mode::Add, safe: false, key, value, ttl, flags: 0 };
        match self.try_store(&new, now, forcible) {
            // Another process was quicker.
            Err(StoreError::Exists) => self.try_incr(key, by, Some((init, ttl)), now, forcible),
            stored => stored.map(|()| init + by),
        }
    }

    /// Removes what is there, if anything.
    pub fn delete(&self, key: &[u8]) {
        let hash = self.inner.hash(key);
        let _changing = self.change();
        if let Some((offset, _)) = self.inner.find(hash, key) {
            self.inner.remove(offset);
        }
    }

    /// In how many milliseconds it expires, less than 0 if it has: `Some(None)` for never, `None` if it isn't there.
    pub fn ttl(&self, key: &[u8], now: u64) -> Option<Option<i64>> {
        let inner = &self.inner;
        let hash = inner.hash(key);
        let expires = |_, entry: &Entry, _: &Watch<'_>| Some(entry.expires.load(Relaxed));
        let expires = match inner.read_undisturbed(hash, key, expires) {
            Reading::Done(expires) => expires,
            Reading::Absent => return None,
            Reading::Disturbed => {
                let _locked = self.take_lock();
                inner.find(hash, key)?.1.expires.load(Relaxed)
            }
        };
        Some((expires != 0).then(|| expires.wrapping_sub(now) as i64))
    }

    /// Has it expire in so many milliseconds, or never if that is 0; also if it has expired. False if it isn't there.
    pub fn expire(&self, key: &[u8], ttl: u64, now: u64) -> bool {
        let hash = self.inner.hash(key);
        let _locked = self.take_lock();
        let found = self.inner.find(hash, key);
        if let Some((_, entry)) = found {
            entry.expires.store(expiry(ttl, now), Relaxed);
        }
        found.is_some()
    }

    /// Has everything expire. Memory is given back when it is needed, or by [`flush_expired`](Self::flush_expired).
    pub fn flush_all(&self) {
        let _locked = self.take_lock();
        self.for_each(|_, entry| {
            entry.expires.store(1, Relaxed);
            true
        });
    }

    /// Removes up to `max` entries that have expired, all if that is 0; the oldest first. How many there were.
    pub fn flush_expired(&self, max: usize, now: u64) -> usize {
        let mut count = 0;
        let _changing = self.change();
        self.for_each(|offset, entry| {
            if entry.is_expired(now) {
                self.inner.remove(offset);
                count += 1;
            }
            max == 0 || count < max
        });
        count
    }

    /// The keys of up to `max` entries that have not expired, all if that is 0; the oldest first. They are appended to `keys`, and where each
    /// ends to `ends`.
    pub fn keys(&self, max: usize, now: u64, keys: &mut Vec<u8>, ends: &mut Vec<usize>) {
        let _locked = self.take_lock();
        let full = ends.len().saturating_add(if max == 0 { usize::MAX } else { max });
        self.for_each(|offset, entry| {
            if !entry.is_expired(now) {
                let len = entry.key_len.load(Relaxed) as usize;
                self.inner.memory.read(self.inner.key_at(offset), len, keys);
                ends.push(keys.len());
            }
            ends.len() < full
        });
    }

    /// Calls `f` for each entry from the oldest, which it may remove, until it says false. With the lock.
    fn for_each(&self, mut f: impl FnMut(u32, &Entry) -> bool) {
        let mut offset = self.inner.header().oldest.load(Relaxed);
        while offset != NONE {
            let entry = self.inner.entry(offset);
            let newer = entry.newer.load(Relaxed);
            if !f(offset, entry) {
                return;
            }
            offset = newer;
        }
    }

    /// How many bytes are in pages of which nothing is used.
    pub fn free_space(&self) -> usize {
        self.inner.header().free_pages.load(Relaxed) as usize * crate::layout::PAGE
    }
}
