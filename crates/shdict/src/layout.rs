//! What lies where in the memory: it follows from the length alone.
//!
//! ```text
//! header | a descriptor for each page | buckets | a byte of marks for each bucket | pages
//! ```

use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::memory::Shared;
use crate::pages::{Page, CLASSES, RUN_LISTS};

pub const PAGE: usize = 4096;
/// Blocks begin at multiples of this, which is what offsets count.
pub const UNIT: usize = 32;
/// As an offset: none. The first block of the first page is never given away.
pub const NONE: u32 = 0;

/// A bucket for this many bytes of pages, which is about how many an entry takes.
const BYTES_A_BUCKET: usize = 256;

/// What there is once. Offsets are in [`UNIT`]s from the first page.
#[repr(C)]
pub struct Header {
    /// Not 0 while the dictionary is not whole.
    pub changing: AtomicU32,
    pub oldest: AtomicU32,
    pub newest: AtomicU32,
    pub free_pages: AtomicU32,
    pub seed: AtomicU64,
    /// For each class of blocks, the first page with a free one.
    pub partial: [AtomicU32; CLASSES],
    /// The first of the runs of free pages, by the logarithm of their length.
    pub runs: [AtomicU32; RUN_LISTS],
}

// SAFETY: atomic integers only.
unsafe impl Shared for Header {}

/// The head of a chain of entries, and the count by which readers know that the chain has changed.
#[repr(C)]
pub struct Bucket {
    /// Odd while the bucket's chain or one of its entries is changed.
    pub changes: AtomicU32,
    pub head: AtomicU32,
}

// SAFETY: atomic integers only.
unsafe impl Shared for Bucket {}

/// The memory has no room for a single page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall;

#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// How many pages, and where the first is.
    pub pages: usize,
    pub data: usize,
    pub buckets: usize,
    pub descriptors_at: usize,
    pub buckets_at: usize,
    pub marks_at: usize,
}

impl Layout {
    pub fn new(len: usize) -> Result<Layout, TooSmall> {
        // An offset has 32 bits.
        let len = len.min(u32::MAX as usize * UNIT) / PAGE * PAGE;
        let header = size_of::<Header>();
        let bucket = size_of::<Bucket>() + 1;
        let page = PAGE + size_of::<Page>() + PAGE / BYTES_A_BUCKET * bucket;
        let pages = len.saturating_sub(header) / page;
        if pages == 0 {
            return Err(TooSmall);
        }
        let data = len - pages * PAGE;
        let descriptors_at = header;
        let buckets_at = descriptors_at + pages * size_of::<Page>();
        // What is left before the pages is made use of.
        let buckets = ((data - buckets_at) / bucket).min(u32::MAX as usize);
        let marks_at = buckets_at + buckets * size_of::<Bucket>();
        Ok(Layout { pages, data, buckets, descriptors_at, buckets_at, marks_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_and_fit_in_whatever_length() {
        for len in (8192..40_000).step_by(8).chain([100 << 10, 1 << 20, 10 << 30, 1 << 40]) {
            let layout = Layout::new(len).expect("room for a page");
            assert!(layout.pages >= 1 && layout.buckets >= layout.pages * PAGE / BYTES_A_BUCKET);
            assert!(layout.marks_at + layout.buckets <= layout.data, "{len}: {layout:?}");
            assert!(layout.data + layout.pages * PAGE <= len, "{len}: {layout:?}");
            assert_eq!(layout.data % PAGE, 0);
        }
    }

    #[test]
    fn memory_without_room_for_a_page_is_too_small() {
        for len in 0..8192 {
            assert_eq!(Layout::new(len).err(), Some(TooSmall), "{len}");
        }
    }
}
