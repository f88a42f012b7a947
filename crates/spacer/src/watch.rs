//! Notices changed files by looking at them twice a second.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

const INTERVAL: Duration = Duration::from_millis(500);

type State = Option<(SystemTime, u64)>;

pub struct Watch {
    files: Vec<(PathBuf, State)>,
    next: Instant,
}

impl Watch {
    pub fn new(files: impl IntoIterator<Item = PathBuf>) -> Watch {
        let files = files.into_iter().map(|file| (file.clone(), state(&file))).collect();
        Watch { files, next: Instant::now() + INTERVAL }
    }

    /// The files that changed, appeared or vanished since the last look.
    pub fn changed(&mut self) -> Vec<PathBuf> {
        if Instant::now() < self.next {
            return Vec::new();
        }
        self.next = Instant::now() + INTERVAL;
        let mut changed = Vec::new();
        for (file, known) in &mut self.files {
            let present = state(file);
            if present != *known {
                *known = present;
                changed.push(file.clone());
            }
        }
        changed
    }
}

fn state(file: &Path) -> State {
    let metadata = file.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
