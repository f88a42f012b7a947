//! The memory: bounds and alignment are checked at each access, and all access is atomic, since others read and write it at any time.

use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes that are copied and compared as words.
pub const WORD: usize = 8;

pub struct Memory {
    base: NonNull<u8>,
    len: usize,
}

/// Types that consist of atomic integers, so that any bytes are a valid value and shared references may be made to memory that others change.
///
/// # Safety
/// The type is `repr(C)` and has no field that isn't an atomic integer or an array of them.
pub unsafe trait Shared {}

// SAFETY: atomic integers.
unsafe impl Shared for AtomicU64 {}
// SAFETY: as above.
unsafe impl Shared for std::sync::atomic::AtomicU32 {}
// SAFETY: as above.
unsafe impl Shared for std::sync::atomic::AtomicU8 {}

impl Memory {
    /// # Safety
    /// `base` points to `len` bytes, aligned to a word, that are there as long as the value and that only such values access.
    pub unsafe fn new(base: *mut u8, len: usize) -> Memory {
        let base = NonNull::new(base).expect("memory is somewhere");
        assert!(base.as_ptr().addr().is_multiple_of(WORD), "memory is aligned to a word");
        Memory { base, len }
    }

    #[inline]
    fn check(&self, at: usize, len: usize) {
        if at > self.len || self.len - at < len {
            out_of_bounds(at, len);
        }
    }

    #[inline]
    pub fn at<T: Shared>(&self, at: usize) -> &T {
        self.check(at, size_of::<T>());
        let pointer = self.base.as_ptr().wrapping_add(at).cast::<T>();
        assert!(pointer.is_aligned(), "offset {at} is aligned");
        // SAFETY: within bounds and aligned; the type may be shared with whoever writes it.
        unsafe { &*pointer }
    }

    /// As [`at`](Self::at) where what lies there may be anything: none where it is out of bounds.
    #[inline]
    pub fn get<T: Shared>(&self, at: usize) -> Option<&T> {
        let pointer = self.base.as_ptr().wrapping_add(at).cast::<T>();
        let fits = at <= self.len && self.len - at >= size_of::<T>() && pointer.is_aligned();
        // SAFETY: as in `at`.
        fits.then(|| unsafe { &*pointer })
    }

    /// The words that `len` bytes at `at`, a multiple of a word, lie in.
    #[inline]
    fn words(&self, at: usize, len: usize) -> &[AtomicU64] {
        let count = len.div_ceil(WORD);
        self.check(at, count * WORD);
        assert!(at.is_multiple_of(WORD), "offset {at} is a multiple of a word");
        let pointer = self.base.as_ptr().wrapping_add(at).cast::<AtomicU64>();
        // SAFETY: within bounds and aligned, since the base is.
        unsafe { std::slice::from_raw_parts(pointer, count) }
    }

    /// Writes bytes at a multiple of a word; what is left of the last word becomes zero.
    pub fn write(&self, at: usize, bytes: &[u8]) {
        let (whole, rest) = bytes.as_chunks::<WORD>();
        let words = self.words(at, bytes.len());
        for (word, chunk) in words.iter().zip(whole) {
            word.store(u64::from_ne_bytes(*chunk), Relaxed);
        }
        if !rest.is_empty() {
            words[whole.len()].store(last_word(rest), Relaxed);
        }
    }

    /// Appends `len` bytes at a multiple of a word to `out`.
    pub fn read(&self, at: usize, len: usize, out: &mut Vec<u8>) {
        let words = self.words(at, len);
        out.reserve(words.len() * WORD);
        let (room, _) = out.spare_capacity_mut().as_chunks_mut::<WORD>();
        for (bytes, word) in room.iter_mut().zip(words) {
            *bytes = word.load(Relaxed).to_ne_bytes().map(MaybeUninit::new);
        }
        // SAFETY: as many bytes and more were written.
        unsafe { out.set_len(out.len() + len) }
    }

    /// Whether the bytes at a multiple of a word are those, the last word's rest being zero.
    #[inline]
    pub fn equals(&self, at: usize, bytes: &[u8]) -> bool {
        let (whole, rest) = bytes.as_chunks::<WORD>();
        let words = self.words(at, bytes.len());
        for (word, chunk) in words.iter().zip(whole) {
            if word.load(Relaxed) != u64::from_ne_bytes(*chunk) {
                return false;
            }
        }
        rest.is_empty() || words[whole.len()].load(Relaxed) == last_word(rest)
    }
}

/// Fewer bytes than a word has, and zeros. Put together in a register, from loads that overlap: what is written to memory byte by byte and read back as a
/// word makes the processor wait.
#[inline]
fn last_word(rest: &[u8]) -> u64 {
    let len = rest.len();
    debug_assert!(0 < len && len < WORD);
    let parts = match (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        (Some(&first), Some(&last)) => {
            u32::from_le_bytes(first) as u64 | (u32::from_le_bytes(last) as u64) << (8 * (len - 4))
        }
        // One to three bytes: the middle one may be the first or the last again.
        _ => {
            rest[0] as u64
                | (rest[len / 2] as u64) << (8 * (len / 2))
                | (rest[len - 1] as u64) << (8 * (len - 1))
        }
    };
    u64::from_le(parts)
}

#[cold]
fn out_of_bounds(at: usize, len: usize) -> ! {
    panic!("{len} bytes at {at} are not in the dictionary's memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_word_is_zero() {
        for len in 1..WORD {
            let bytes: Vec<u8> = (0..len as u8).map(|n| 0x81 + n * 17).collect();
            let mut word = [0; WORD];
            word[..len].copy_from_slice(&bytes);
            assert_eq!(last_word(&bytes), u64::from_ne_bytes(word), "{len}");
        }
    }

    #[test]
    fn what_is_written_is_equal_and_read_to_the_byte() {
        let mut place = [u64::MAX; 8];
        // SAFETY: the array outlives the memory.
        let memory = unsafe { Memory::new(place.as_mut_ptr().cast(), size_of_val(&place)) };
        for len in 0..40 {
            let bytes: Vec<u8> = (1..=len).collect();
            memory.write(8, &bytes);
            assert!(memory.equals(8, &bytes));
            if let Some((_, shorter)) = bytes.split_last() {
                assert!(!memory.equals(8, shorter) || shorter.len() % WORD == 0);
            }
            let mut out = b"kept".to_vec();
            memory.read(8, bytes.len(), &mut out);
            assert_eq!(out, [b"kept", &bytes[..]].concat());
        }
    }
}
