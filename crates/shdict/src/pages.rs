//! The allocator: pages that are cut into blocks of one size, and runs of whole pages for what is larger. All of it is for who has the lock.
//!
//! Sizes are the powers of two from [`UNIT`] to half a page, as in nginx's slab allocator, so that a zone holds about what it does there. Runs of
//! free pages are merged with their neighbours when they are made, and found by the logarithm of their length.

use std::sync::atomic::{AtomicU32, AtomicU8, Ordering::Relaxed};

use crate::dict::Inner;
use crate::entry::Entry;
use crate::layout::{NONE, PAGE, UNIT};
use crate::memory::Shared;

/// Blocks of 32 to 2048 bytes.
pub const CLASSES: usize = 7;
/// Runs of 1, of 2 to 3, of 4 to 7 pages and so on.
pub const RUN_LISTS: usize = 28;

/// No page, where a page's number is expected.
pub const NO_PAGE: u32 = u32::MAX;

/// What is known of a page.
#[repr(C)]
pub struct Page {
    /// Of a run, in its first and its last page: how many pages it has.
    pub len: AtomicU32,
    /// The neighbours in the list that the page, or the run that begins with it, is in.
    pub prev: AtomicU32,
    pub next: AtomicU32,
    /// Of a page that is cut into blocks: how many are in use, ...
    pub used: AtomicU8,
    /// ... the first that was given back, counted from 1; each has the next one's number in its first word, ...
    pub returned: AtomicU8,
    /// ... and how many were ever given away.
    pub touched: AtomicU8,
    pub state: AtomicU8,
}

// SAFETY: atomic integers only.
unsafe impl Shared for Page {}

/// States of a page that is not cut into blocks. Those below are the class of its blocks.
pub const FREE: u8 = CLASSES as u8;
pub const RUN: u8 = FREE + 1;

/// How many bytes are allocated for that many: a block of some class, or whole pages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    Class(usize),
    Pages(usize),
}

#[inline]
fn size_for(bytes: usize) -> Size {
    if bytes > UNIT << (CLASSES - 1) {
        return Size::Pages(bytes.div_ceil(PAGE));
    }
    let units = bytes.div_ceil(UNIT).max(1);
    Size::Class(units.next_power_of_two().trailing_zeros() as usize)
}

pub fn block_size(class: usize) -> usize {
    UNIT << class
}

pub fn blocks_a_page(class: usize) -> usize {
    PAGE / block_size(class)
}

const UNITS_A_PAGE: u32 = (PAGE / UNIT) as u32;

pub fn run_list(len: usize) -> usize {
    (len.ilog2() as usize).min(RUN_LISTS - 1)
}

impl Inner {
    pub fn page(&self, number: u32) -> &Page {
        assert!((number as usize) < self.layout.pages, "there is a page {number}");
        self.memory.at(self.layout.descriptors_at + number as usize * size_of::<Page>())
    }

    /// Where a block's bytes are.
    #[inline]
    pub fn address(&self, offset: u32) -> usize {
        self.layout.data + offset as usize * UNIT
    }

    /// One run of all pages, from which the block that no offset means is taken.
    pub fn format_pages(&self) {
        let header = self.header();
        for list in &header.partial {
            list.store(NO_PAGE, Relaxed);
        }
        for list in &header.runs {
            list.store(NO_PAGE, Relaxed);
        }
        header.free_pages.store(self.layout.pages as u32, Relaxed);
        self.add_run(0, self.layout.pages as u32);
        // Of the size that most entries have: their page is then not wasted.
        let first = self.allocate(4 * UNIT);
        assert_eq!(first, Some(NONE), "the first block is given away first");
    }

    /// A block of at least so many bytes, or none.
    pub fn allocate(&self, bytes: usize) -> Option<u32> {
        match size_for(bytes) {
            Size::Pages(count) => {
                let first = self.take_pages(count)?;
                // The last page's state is what a run behind it looks at.
                for number in [first, first + count as u32 - 1] {
                    self.page(number).state.store(RUN, Relaxed);
                }
                self.page(first).len.store(count as u32, Relaxed);
                Some(first * UNITS_A_PAGE)
            }
            Size::Class(class) => self.allocate_block(class),
        }
    }

    fn allocate_block(&self, class: usize) -> Option<u32> {
        let list = &self.header().partial[class];
        let mut number = list.load(Relaxed);
        if number == NO_PAGE {
            number = self.take_pages(1)?;
            let page = self.page(number);
            page.state.store(class as u8, Relaxed);
            page.used.store(0, Relaxed);
            page.returned.store(0, Relaxed);
            page.touched.store(0, Relaxed);
            self.push(list, number);
        }
        let page = self.page(number);
        let units = 1u32 << class;
        let base = number * UNITS_A_PAGE;
        let returned = page.returned.load(Relaxed);
        let block = if returned == 0 {
            let block = page.touched.load(Relaxed);
            page.touched.store(block + 1, Relaxed);
            block
        } else {
            let block = returned - 1;
            let link: &AtomicU32 = self.memory.at(self.address(base + block as u32 * units));
            page.returned.store(link.load(Relaxed) as u8, Relaxed);
            block
        };
        let used = page.used.load(Relaxed) + 1;
        page.used.store(used, Relaxed);
        if used as usize == blocks_a_page(class) {
            self.unlink(list, number);
        }
        Some(base + block as u32 * units)
    }

    /// Gives a block back.
    pub fn free(&self, offset: u32) {
        let number = offset / UNITS_A_PAGE;
        let page = self.page(number);
        let state = page.state.load(Relaxed);
        if state == RUN {
            self.free_run(number, page.len.load(Relaxed));
            return;
        }
        let class = state as usize;
        assert!(class < CLASSES && offset != NONE, "block {offset} is in use");
        let list = &self.header().partial[class];
        let block = (offset % UNITS_A_PAGE) >> class;
        let used = page.used.load(Relaxed);
        if used as usize == blocks_a_page(class) {
            self.push(list, number);
        }
        page.used.store(used - 1, Relaxed);
        if used == 1 {
            self.unlink(list, number);
            self.free_run(number, 1);
            return;
        }
        let link: &AtomicU32 = self.memory.at(self.address(offset));
        link.store(page.returned.load(Relaxed) as u32, Relaxed);
        page.returned.store(block as u8 + 1, Relaxed);
    }

    /// Whether a block of so many bytes would be as large as an entry's.
    #[inline]
    pub fn fits_in_place(&self, offset: u32, entry: &Entry, bytes: usize) -> bool {
        match size_for(bytes) {
            Size::Class(class) => entry.block.load(Relaxed) as usize == class,
            Size::Pages(_) => self.is_size_for(offset, bytes),
        }
    }

    /// What an entry notes of a block of so many bytes.
    pub fn block_for(bytes: usize) -> u8 {
        match size_for(bytes) {
            Size::Class(class) => class as u8,
            Size::Pages(_) => RUN,
        }
    }

    /// Whether a block of so many bytes would be as large as that one.
    pub fn is_size_for(&self, offset: u32, bytes: usize) -> bool {
        let page = self.page(offset / UNITS_A_PAGE);
        let size = match page.state.load(Relaxed) {
            RUN => Size::Pages(page.len.load(Relaxed) as usize),
            class => Size::Class(class as usize),
        };
        size == size_for(bytes)
    }

    /// Whether a block of so many bytes could be had if nothing else were there.
    pub fn has_room_at_all(&self, bytes: usize) -> bool {
        bytes.div_ceil(PAGE) <= self.layout.pages
    }

    fn take_pages(&self, count: usize) -> Option<u32> {
        let header = self.header();
        // Only the first list has runs that may be too short.
        for list in &header.runs[run_list(count)..] {
            let mut first = list.load(Relaxed);
            while first != NO_PAGE {
                let page = self.page(first);
                let len = page.len.load(Relaxed);
                if len as usize >= count {
                    self.unlink(list, first);
                    let rest = len - count as u32;
                    if rest > 0 {
                        self.add_run(first + count as u32, rest);
                    }
                    let free = header.free_pages.load(Relaxed);
                    header.free_pages.store(free - count as u32, Relaxed);
                    return Some(first);
                }
                first = page.next.load(Relaxed);
            }
        }
        None
    }

    /// Pages become free, together with the free runs beside them.
    fn free_run(&self, mut first: u32, mut len: u32) {
        let header = self.header();
        header.free_pages.store(header.free_pages.load(Relaxed) + len, Relaxed);
        let after = first + len;
        if (after as usize) < self.layout.pages && self.is_free(after) {
            let more = self.page(after).len.load(Relaxed);
            self.unlink(&header.runs[run_list(more as usize)], after);
            len += more;
        }
        if first > 0 && self.is_free(first - 1) {
            let more = self.page(first - 1).len.load(Relaxed);
            first -= more;
            self.unlink(&header.runs[run_list(more as usize)], first);
            len += more;
        }
        self.add_run(first, len);
    }

    fn is_free(&self, number: u32) -> bool {
        self.page(number).state.load(Relaxed) == FREE
    }

    fn add_run(&self, first: u32, len: u32) {
        for number in [first, first + len - 1] {
            let page = self.page(number);
            page.state.store(FREE, Relaxed);
            page.len.store(len, Relaxed);
        }
        self.push(&self.header().runs[run_list(len as usize)], first);
    }

    fn push(&self, list: &AtomicU32, number: u32) {
        let page = self.page(number);
        let head = list.load(Relaxed);
        page.prev.store(NO_PAGE, Relaxed);
        page.next.store(head, Relaxed);
        if head != NO_PAGE {
            self.page(head).prev.store(number, Relaxed);
        }
        list.store(number, Relaxed);
    }

    fn unlink(&self, list: &AtomicU32, number: u32) {
        let page = self.page(number);
        let (prev, next) = (page.prev.load(Relaxed), page.next.load(Relaxed));
        if prev == NO_PAGE {
            list.store(next, Relaxed);
        } else {
            self.page(prev).next.store(next, Relaxed);
        }
        if next != NO_PAGE {
            self.page(next).prev.store(prev, Relaxed);
        }
    }
}
