//! Whether a dictionary is whole, for tests: everything is reached once, and everything agrees.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::dict::{Dict, Inner};
use crate::entry::Kind;
use crate::layout::{NONE, PAGE, UNIT};
use crate::pages::{block_size, blocks_a_page, run_list, CLASSES, FREE, NO_PAGE, RUN};
use crate::Lock;

macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}

impl<L: Lock> Dict<L> {
    /// Takes the lock and looks at everything: how many entries there are, or what is wrong.
    pub fn check(&self) -> Result<usize, String> {
        let _locked = self.take_lock();
        self.inner.check()
    }
}

impl Inner {
    fn check(&self) -> Result<usize, String> {
        let mut blocks = HashSet::from([NONE]);
        let entries = self.check_entries(&mut blocks)?;
        self.check_order(&entries)?;
        self.check_pages(&blocks)?;
        Ok(entries.len())
    }

    /// Entries by their buckets; all their blocks are put into `blocks`.
    fn check_entries(&self, blocks: &mut HashSet<u32>) -> Result<HashSet<u32>, String> {
        let mut entries = HashSet::new();
        for index in 0..self.layout.buckets {
            let bucket = self.bucket_at(index);
            ensure!(bucket.changes.load(Relaxed) & 1 == 0, "bucket {index} is being changed");
            let mut offset = bucket.head.load(Relaxed);
            while offset != NONE {
                ensure!(blocks.insert(offset), "block {offset} is used twice");
                entries.insert(offset);
                let entry = self.entry(offset);
                let mut key = Vec::new();
                let key_len = entry.key_len.load(Relaxed) as usize;
                self.memory.read(self.key_at(offset), key_len, &mut key);
                let hash = self.hash(&key);
                ensure!(hash == entry.hash.load(Relaxed), "entry {offset} has another hash");
                ensure!(self.bucket_of(hash) == index, "entry {offset} is in another's bucket");
                let block = self.page(offset / (PAGE / UNIT) as u32).state.load(Relaxed);
                ensure!(entry.block.load(Relaxed) == block, "entry {offset} has another block");
                let kind = Kind::from_number(entry.kind.load(Relaxed));
                ensure!(kind.is_some(), "entry {offset} is of no kind");
                if kind == Some(Kind::List) {
                    self.check_list(offset, blocks)?;
                } else {
                    let size = self.size_of_entry(offset);
                    ensure!(self.is_size_for(offset, size), "entry {offset} has too little memory");
                }
                offset = entry.next.load(Relaxed);
            }
        }
        Ok(entries)
    }

    fn check_list(&self, offset: u32, blocks: &mut HashSet<u32>) -> Result<(), String> {
        let entry = self.entry(offset);
        let (mut count, mut last) = (0, NONE);
        for (item, bytes) in self.items(entry) {
            ensure!(blocks.insert(item), "item {item} is used twice");
            ensure!(self.is_size_for(item, bytes), "item {item} has too little memory");
            ensure!(self.before(item) == last, "item {item} has another before it");
            count += 1;
            last = item;
        }
        ensure!(count > 0, "list {offset} is empty");
        ensure!(count == entry.len.load(Relaxed), "list {offset} has another length");
        ensure!(last == entry.last.load(Relaxed), "list {offset} ends elsewhere");
        Ok(())
    }

    fn check_order(&self, entries: &HashSet<u32>) -> Result<(), String> {
        let header = self.header();
        let (mut offset, mut older, mut count) = (header.oldest.load(Relaxed), NONE, 0);
        while offset != NONE {
            ensure!(entries.contains(&offset), "{offset} is in the order, but no entry");
            let entry = self.entry(offset);
            ensure!(entry.older.load(Relaxed) == older, "entry {offset} has another older one");
            older = offset;
            offset = entry.newer.load(Relaxed);
            count += 1;
            ensure!(count <= entries.len(), "the order has no end");
        }
        ensure!(count == entries.len(), "{count} of {} entries are in order", entries.len());
        ensure!(header.newest.load(Relaxed) == older, "another entry is the newest");
        Ok(())
    }

    /// Pages from the first to the last: each is free, or has the blocks that are in use.
    fn check_pages(&self, blocks: &HashSet<u32>) -> Result<(), String> {
        let header = self.header();
        let mut used = vec![0usize; self.layout.pages];
        for &block in blocks {
            used[block as usize * UNIT / PAGE] += 1;
        }
        let listed = |list: &AtomicU32| {
            let mut pages = HashSet::new();
            let mut number = list.load(Relaxed);
            while number != NO_PAGE && pages.insert(number) {
                number = self.page(number).next.load(Relaxed);
            }
            pages
        };
        let runs: Vec<_> = header.runs.iter().map(&listed).collect();
        let partial: Vec<_> = header.partial.iter().map(&listed).collect();
        let (mut free, mut free_runs, mut partial_pages) = (0, 0, 0);
        let (mut number, mut was_free) = (0, false);
        while number < self.layout.pages {
            let page = self.page(number as u32);
            let (state, mut len) = (page.state.load(Relaxed), 1);
            ensure!(state <= RUN, "page {number} has no state");
            if state >= FREE {
                len = page.len.load(Relaxed) as usize;
                ensure!(len > 0 && number + len <= self.layout.pages, "run {number} is too long");
                let last = self.page((number + len - 1) as u32).state.load(Relaxed);
                ensure!(last == state, "run {number} ends in another state");
                let in_use: usize = used[number..number + len].iter().sum();
                let expected = (state == RUN) as usize;
                ensure!(in_use == expected && used[number] == expected, "run {number} leaks");
            }
            if state == FREE {
                ensure!(!was_free, "run {number} was not merged with the one before");
                let list = run_list(len);
                ensure!(runs[list].contains(&(number as u32)), "run {number} is in no list");
                free += len;
                free_runs += 1;
            }
            if (state as usize) < CLASSES {
                let class = state as usize;
                let count = page.used.load(Relaxed) as usize;
                ensure!(count == used[number], "page {number} leaks");
                let full = count == blocks_a_page(class);
                let is_listed = partial[class].contains(&(number as u32));
                ensure!(is_listed != full, "page {number} is full or in a list");
                partial_pages += is_listed as usize;
                self.check_returned(number as u32, class, blocks)?;
            }
            was_free = state == FREE;
            number += len;
        }
        ensure!(free == header.free_pages.load(Relaxed) as usize, "{free} pages are free");
        let listed: usize = runs.iter().map(HashSet::len).sum();
        ensure!(listed == free_runs, "{listed} of {free_runs} runs are in lists");
        let listed: usize = partial.iter().map(HashSet::len).sum();
        ensure!(listed == partial_pages, "{listed} of {partial_pages} pages are in lists");
        Ok(())
    }

    /// The blocks of a page that were given back, and those that never were given away.
    fn check_returned(&self, page: u32, class: usize, used: &HashSet<u32>) -> Result<(), String> {
        let (count, total) = (blocks_a_page(class), block_size(class) / UNIT);
        let descriptor = self.page(page);
        let offset = |block: usize| page * (PAGE / UNIT) as u32 + (block * total) as u32;
        let touched = descriptor.touched.load(Relaxed) as usize;
        ensure!(touched <= count, "page {page} has no more blocks");
        let (mut returned, mut next) = (0, descriptor.returned.load(Relaxed) as usize);
        while next != 0 {
            ensure!(next <= touched, "page {page} got back what it never gave");
            let block = offset(next - 1);
            ensure!(!used.contains(&block), "block {block} is free and used");
            returned += 1;
            ensure!(returned <= count, "page {page} has blocks without end");
            let link: &AtomicU32 = self.memory.at(self.address(block));
            next = link.load(Relaxed) as usize;
        }
        let in_use = descriptor.used.load(Relaxed) as usize;
        ensure!(in_use + returned == touched, "page {page} lost a block");
        Ok(())
    }
}
