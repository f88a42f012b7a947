//! A dictionary in one flat piece of memory that several processes share.
//!
//! Values are booleans, numbers, strings and lists of the last two; each may expire. When memory runs out, those that were not used for the
//! longest time make room. The crate knows neither nginx nor Lua: it is given the memory, a [`Lock`], and the time in milliseconds.
//!
//! ```
//! use shdict::{Dict, Lock, Mode, Store, Value};
//!
//! struct Alone;
//! impl Lock for Alone {
//!     fn lock(&self) {}
//!     fn unlock(&self) {}
//!     fn emptied(&self) {}
//! }
//!
//! let mut memory = vec![0u64; 1 << 14];
//! let (base, len) = (memory.as_mut_ptr().cast(), memory.len() * 8);
//! // SAFETY: the memory outlives the dictionary, which is the only one in it.
//! let dict = unsafe { Dict::new(base, len, Alone) }.unwrap();
//! dict.format(42);
//! let value = Value::Number(42.0);
//! let new = Store { mode: Mode::Set, safe: false, key: b"answer", value, ttl: 0, flags: 7 };
//! dict.store(&new, 1000).result.unwrap();
//! let mut text = Vec::new();
//! let got = dict.get(b"answer", 1001, &mut text).unwrap();
//! assert_eq!((got.number, got.flags), (42.0, 7));
//! ```
//!
//! # Readers
//!
//! A reader takes no lock and writes nothing that is shared, unless an entry is read for the first time since it was last spared by eviction.
//! Each bucket of the table has a count that is odd while the bucket or one of its entries is changed; a reader that finds it changed by
//! the time it has what it wants begins again, and asks for the lock when that goes on. So it may meet anything on its way, and checks each
//! offset that it follows.
//!
//! # A process that dies
//!
//! Whoever changes more than one word says so in the memory first, and takes it back when all is whole. Somebody else (for nginx, its master)
//! takes the lock from a process that is gone. Who then gets it, and finds the mark, empties the dictionary and reports it: everything but
//! the mark, the counts of the buckets and the seed of the hash is made anew, from nothing but the memory's length.

mod dict;
mod entry;
mod layout;
mod list;
mod lru;
mod memory;
mod pages;
mod whole;

pub use dict::{Dict, Got, Mode, Store, StoreError, Stored, Value};
pub use entry::Kind;
pub use layout::TooSmall;
pub use list::{End, Item, NotAList, Popped, PushError};

/// Keys are no longer than this, in bytes.
pub const MAX_KEY: usize = u16::MAX as usize;

/// What keeps all others out, in this process and others.
pub trait Lock {
    fn lock(&self);
    fn unlock(&self);
    /// A process died while it changed the dictionary, which was therefore emptied. Called with the lock.
    fn emptied(&self);
}
