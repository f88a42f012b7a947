//! The function platform's locations: which function a request is for.
//!
//! `spacer_gateway` turns a gateway file into locations of nginx's own tree ([`directives`], [`locations`]); a request
//! that arrives in one is matched against the compiled table here. In the environment `development` the file is read
//! again when it has changed, so that a saved route takes effect on the next request.

pub mod directives;
mod locations;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::SystemTime;

use gateway::Table;

/// What the platform serves at a location.
pub struct Endpoint {
    pub project: PathBuf,
    pub kind: Kind,
}

pub enum Kind {
    /// One function, named in the configuration.
    Function(String),
    /// What the gateway's table says.
    Gateway(Rc<Gateway>),
    /// Any function by its name, from this machine only: `/private/NAME`.
    Private,
}

pub struct Gateway {
    file: PathBuf,
    project: PathBuf,
    loaded: RefCell<Loaded>,
}

struct Loaded {
    table: Result<Rc<Table>, String>,
    stamp: Option<Stamp>,
}

/// What changes when a file is saved.
#[derive(PartialEq, Clone, Copy)]
pub struct Stamp {
    modified: SystemTime,
    size: u64,
}

impl Stamp {
    pub fn of(file: &std::path::Path) -> Option<Stamp> {
        let metadata = std::fs::metadata(file).ok()?;
        Some(Stamp { modified: metadata.modified().ok()?, size: metadata.len() })
    }

    /// As a number for Lua, with the microseconds and the size in it.
    pub fn number(self) -> f64 {
        let age = self.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        age.as_micros() as f64 + self.size as f64 / 1e6
    }
}

impl Gateway {
    /// Reads the file; the error names file and line.
    pub fn load(file: PathBuf, project: PathBuf) -> Result<Gateway, String> {
        let stamp = Stamp::of(&file);
        let table = Table::load(&file, &project).map_err(|error| error.to_string())?;
        let loaded = RefCell::new(Loaded { table: Ok(Rc::new(table)), stamp });
        Ok(Gateway { file, project, loaded })
    }

    /// The table, or what is wrong with the file as it is now. `fresh` asks for a look at the file.
    pub fn table(&self, fresh: bool) -> Result<Rc<Table>, String> {
        if fresh {
            let stamp = Stamp::of(&self.file);
            if stamp != self.loaded.borrow().stamp {
                let table = Table::load(&self.file, &self.project);
                let table = table.map(Rc::new).map_err(|error| error.to_string());
                *self.loaded.borrow_mut() = Loaded { table, stamp };
            }
        }
        self.loaded.borrow().table.clone()
    }
}
