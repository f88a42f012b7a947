//! The function platform's locations: which function a request is for.
//!
//! `spacer_gateway` turns a gateway file into locations of nginx's own tree ([`directives`], [`locations`]); a request
//! that arrives in one is matched against the compiled table here. In the environment `development` the file is read
//! again when it has changed, so that a saved route takes effect on the next request.

pub mod directives;
pub mod locations;
mod tree;

use std::cell::RefCell;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gateway::Table;

use crate::nginx::cell::Worker;

/// What the platform serves at a location.
pub struct Endpoint {
    pub project: PathBuf,
    pub kind: Kind,
}

pub enum Kind {
    /// One function, named in the configuration, and the number that stands for it.
    Function { name: String, target: f64 },
    /// What the gateway's table says.
    Gateway(Rc<Gateway>),
    /// Any function by its name, for those whom `access` lets in: `/private/NAME`.
    Private,
    /// Appends to the project's topics.
    Append,
    /// Runs a function on an event that the request brings, for those whom `access` lets in.
    Trigger,
}

pub struct Gateway {
    file: PathBuf,
    project: PathBuf,
    loaded: RefCell<Loaded>,
}

struct Loaded {
    /// The table, and where the numbers of its targets begin.
    table: Result<(Rc<Table>, f64), String>,
    stamp: Option<Stamp>,
}

/// What changes when a file is saved.
#[derive(PartialEq, Clone, Copy)]
pub struct Stamp {
    seconds: i64,
    nanoseconds: i64,
    size: u64,
    inode: u64,
}

impl Stamp {
    pub fn of(file: &Path) -> Option<Stamp> {
        let metadata = std::fs::metadata(file).ok()?;
        Some(Stamp {
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
            size: metadata.size(),
            inode: metadata.ino(),
        })
    }

    /// As a number for Lua: not 0, and another one for another stamp.
    pub fn number(self) -> f64 {
        // FNV-1a by words, of which a double holds 52 bits.
        let words = [self.seconds as u64, self.nanoseconds as u64, self.size, self.inode];
        let hash = words.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, word| {
            (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29)
        });
        ((hash >> 12) + 1) as f64
    }
}

/// Takes `count` numbers for targets: what stands for project, function and route together, so that a worker needn't
/// compare names.
pub fn new_targets(count: usize) -> f64 {
    static NEXT: Worker<f64> = Worker::new(1.0);
    // SAFETY: one thread, and the value is copied.
    unsafe {
        let first = *NEXT.get();
        *NEXT.get() += count as f64;
        first
    }
}

impl Gateway {
    /// Reads the file; the error names file and line.
    pub fn load(file: PathBuf, project: PathBuf) -> Result<Gateway, String> {
        let stamp = Stamp::of(&file);
        let table = Table::load(&file, &project).map_err(|error| error.to_string())?;
        let loaded = RefCell::new(Loaded { table: Ok(numbered(table)), stamp });
        Ok(Gateway { file, project, loaded })
    }

    /// The table and where its targets begin, or what is wrong with the file as it is now. `fresh` asks for a look at the file.
    pub fn table(&self, fresh: bool) -> Result<(Rc<Table>, f64), String> {
        if fresh {
            let stamp = Stamp::of(&self.file);
            if stamp != self.loaded.borrow().stamp {
                let table = Table::load(&self.file, &self.project);
                let table = table.map(numbered).map_err(|error| error.to_string());
                *self.loaded.borrow_mut() = Loaded { table, stamp };
            }
        }
        self.loaded.borrow().table.clone()
    }
}

fn numbered(table: Table) -> (Rc<Table>, f64) {
    let first = new_targets(table.targets());
    (Rc::new(table), first)
}
