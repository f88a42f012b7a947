//! Follows a growing log file, through truncation and rotation.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

pub struct Tail {
    path: PathBuf,
    open: Option<File>,
    offset: u64,
    /// The start of a line whose end is not written yet.
    partial: Vec<u8>,
}

impl Tail {
    /// Starts at the file's present end; a file that is not there yet is read from its start.
    pub fn new(path: PathBuf) -> Tail {
        let mut open = File::open(&path).ok();
        let offset = open.as_mut().and_then(|file| file.seek(SeekFrom::End(0)).ok()).unwrap_or(0);
        Tail { path, open, offset, partial: Vec::new() }
    }

    /// The whole lines written since the last call, without their ends.
    pub fn lines(&mut self) -> Vec<Vec<u8>> {
        let mut text = std::mem::take(&mut self.partial);
        self.read(&mut text);
        if self.was_replaced() {
            self.open = File::open(&self.path).ok();
            self.offset = 0;
            self.read(&mut text);
        }
        let mut lines: Vec<Vec<u8>> = text.split(|&c| c == b'\n').map(<[u8]>::to_vec).collect();
        self.partial = lines.pop().unwrap_or_default();
        lines
    }

    fn read(&mut self, text: &mut Vec<u8>) {
        let Some(file) = &mut self.open else { return };
        if file.seek(SeekFrom::Start(self.offset)).is_ok() {
            // What can't be read at this moment is read at the next call.
            self.offset += file.read_to_end(text).unwrap_or(0) as u64;
        }
    }

    fn was_replaced(&self) -> bool {
        let Ok(present) = self.path.metadata() else { return false };
        match self.open.as_ref().and_then(|file| file.metadata().ok()) {
            Some(known) => {
                (known.dev(), known.ino()) != (present.dev(), present.ino())
                    || present.len() < self.offset
            }
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    fn append(path: &PathBuf, text: &str) {
        let mut file = File::options().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn whole_lines_are_given_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        append(&path, "before\n");
        let mut tail = Tail::new(path.clone());
        append(&path, "one\ntw");
        assert_eq!(tail.lines(), [b"one"]);
        assert!(tail.lines().is_empty());
        append(&path, "o\n");
        assert_eq!(tail.lines(), [b"two"]);
    }

    #[test]
    fn a_file_may_appear_be_rotated_and_truncated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut tail = Tail::new(path.clone());
        assert!(tail.lines().is_empty());
        append(&path, "first\n");
        assert_eq!(tail.lines(), [b"first"]);
        append(&path, "last\n");
        fs::rename(&path, dir.path().join("log.1")).unwrap();
        append(&path, "rotated\n");
        assert_eq!(tail.lines(), [b"last".to_vec(), b"rotated".to_vec()]);
        fs::write(&path, "").unwrap();
        append(&path, "new\n");
        assert_eq!(tail.lines(), [b"new"]);
    }
}
