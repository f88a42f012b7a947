//! A dictionary in memory that forked processes share, under a lock that knows its holder.

#![allow(dead_code)]

pub mod model;

use std::cell::Cell;
use std::sync::atomic::{AtomicI32, Ordering::*};

use shdict::{Dict, Lock, Mode, Store, StoreError, Stored, Value};

/// Shared memory, which is never given back: a test's process ends soon.
pub fn shared_memory(len: usize) -> *mut u8 {
    // SAFETY: a new mapping.
    let base = unsafe {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        libc::mmap(std::ptr::null_mut(), len, access, flags, -1, 0)
    };
    assert_ne!(base, libc::MAP_FAILED);
    base.cast()
}

/// The lock's word is its holder's number; 0 is nobody's.
pub struct Owned {
    pub holder: &'static AtomicI32,
    pub me: i32,
    pub emptied: Cell<usize>,
}

impl Lock for Owned {
    fn lock(&self) {
        while self.holder.compare_exchange(0, self.me, SeqCst, SeqCst).is_err() {
            std::thread::yield_now();
        }
    }

    fn unlock(&self) {
        self.holder.compare_exchange(self.me, 0, SeqCst, SeqCst).expect("it was ours");
    }

    fn emptied(&self) {
        self.emptied.set(self.emptied.get() + 1);
    }
}

/// Where a dictionary is, to be viewed by any process and thread.
#[derive(Clone, Copy)]
pub struct Place {
    base: usize,
    len: usize,
}

const LOCK_BYTES: usize = 64;

impl Place {
    /// An empty dictionary in so many bytes.
    pub fn new(len: usize) -> Place {
        let place = Place { base: shared_memory(len + LOCK_BYTES).addr(), len };
        place.view(1).format(0x5eed);
        place
    }

    pub fn holder(self) -> &'static AtomicI32 {
        // SAFETY: the first word of memory that stays.
        unsafe { &*(self.base as *const AtomicI32) }
    }

    pub fn view(self, me: i32) -> Dict<Owned> {
        let lock = Owned { holder: self.holder(), me, emptied: Cell::new(0) };
        // SAFETY: the memory stays; every view has this lock.
        unsafe { Dict::new((self.base + LOCK_BYTES) as *mut u8, self.len, lock) }.expect("room")
    }
}

/// What tests do most.
pub trait Short {
    fn set(&self, key: &[u8], value: &[u8]) -> Stored;
    fn text(&self, key: &[u8]) -> Option<Vec<u8>>;
    fn all_keys(&self, now: u64) -> Vec<Vec<u8>>;
}

impl Short for Dict<Owned> {
    fn set(&self, key: &[u8], value: &[u8]) -> Stored {
        self.store(&new(Mode::Set, key, Value::String(value)), 1)
    }

    fn text(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        self.get(key, 1, &mut text).map(|_| text)
    }

    fn all_keys(&self, now: u64) -> Vec<Vec<u8>> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        self.keys(0, now, &mut bytes, &mut ends);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        starts.zip(&ends).map(|(start, &end)| bytes[start..end].to_vec()).collect()
    }
}

pub fn new<'a>(mode: Mode, key: &'a [u8], value: Value<'a>) -> Store<'a> {
    Store { mode, safe: false, key, value, ttl: 0, flags: 0 }
}

pub fn stored(forcible: bool) -> Stored {
    Stored { result: Ok(()), forcible }
}

pub const NO_MEMORY: Result<(), StoreError> = Err(StoreError::NoMemory);
