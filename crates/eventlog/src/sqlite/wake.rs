//! Wake-ups between processes: each open log has a FIFO in the folder `FILE-wake`, and whoever has committed something
//! worth a look writes a byte into every other one's.
//!
//! A FIFO that nobody reads refuses to be opened for writing: that is how a dead process's is recognized, and removed.
//! One that is full is as good as written to. A process that is killed between its commit and its wake-ups leaves
//! them out, so whoever waits looks at the store from time to time as well.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::fs::{mknodat, FileType, Mode, OFlags, CWD};

use super::owner::give_to_owner_of;
use crate::signal::Signal;
use crate::AppendId;

const NONBLOCK: i32 = OFlags::NONBLOCK.bits() as i32;

/// This log's FIFO and the thread that reads it.
pub(super) struct Wake {
    folder: PathBuf,
    name: String,
    closing: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Wake {
    /// Makes the FIFO. Whatever arrives in it notifies `signal`.
    pub fn open(database: &Path, signal: Arc<Signal>) -> io::Result<Wake> {
        let mut folder = database.as_os_str().to_owned();
        folder.push("-wake");
        let folder = PathBuf::from(folder);
        // Whoever may write the database may wake its users, as with SQLite's own companion files; so may the group of
        // its folder, since a wake-up does no harm.
        let mode = fs::metadata(database)?.permissions().mode() & 0o666 | 0o660;
        match fs::create_dir(&folder) {
            Ok(()) => {
                let search = (mode & 0o444) >> 2;
                fs::set_permissions(&folder, fs::Permissions::from_mode(mode | search))?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        give_to_owner_of(database, &folder)?;
        let name = format!("{}-{}", std::process::id(), AppendId::random());
        // Under its final name only when it has a reader, so that nobody takes it for a dead process's.
        let made = folder.join(format!(".{name}"));
        mknodat(CWD, &made, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
        fs::set_permissions(&made, fs::Permissions::from_mode(mode))?;
        give_to_owner_of(database, &made)?;
        // Open for writing too, so that there is never an end of file.
        let fifo = OpenOptions::new().read(true).write(true).open(&made)?;
        fs::rename(&made, folder.join(&name))?;

        let closing = Arc::new(AtomicBool::new(false));
        let closed = closing.clone();
        let listener = thread::Builder::new()
            .name("eventlog-wake".into())
            .spawn(move || listen(fifo, &signal, &closed))?;
        Ok(Wake { folder, name, closing, listener: Some(listener) })
    }

    /// Wakes every other log that is open on the database.
    pub fn notify_others(&self) {
        // A folder that can't be read has nobody in it who could be woken; they look from time to time.
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name != self.name.as_str() && !name.as_encoded_bytes().starts_with(b".") {
                knock(&entry.path());
            }
        }
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Release);
        let path = self.folder.join(&self.name);
        if knock(&path) {
            if let Some(listener) = self.listener.take() {
                drop(listener.join());
            }
        }
        drop(fs::remove_file(path));
    }
}

/// Writes a byte into a FIFO; false if nobody could be reached there.
fn knock(path: &Path) -> bool {
    match OpenOptions::new().write(true).custom_flags(NONBLOCK).open(path) {
        Ok(mut fifo) => {
            // The only error is that it is full, and then its reader wakes anyway.
            drop(fifo.write(&[1]));
            true
        }
        Err(error) => {
            if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) {
                drop(fs::remove_file(path));
            }
            false
        }
    }
}

fn listen(mut fifo: File, signal: &Signal, closing: &AtomicBool) {
    let mut bytes = [0; 512];
    while let Ok(1..) = fifo.read(&mut bytes) {
        if closing.load(Ordering::Acquire) {
            return;
        }
        signal.notify();
    }
}
