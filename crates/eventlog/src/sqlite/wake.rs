//! Wake-ups between processes: each open log has a FIFO in the folder `FILE-wake`, and whoever has committed something
//! worth a look writes a byte into every other one's.
//!
//! A FIFO that nobody reads refuses to be opened for writing: that is how a dead process's is recognized, and removed.
//! One that is full is as good as written to. A process that is killed between its commit and its wake-ups leaves
//! them out, so whoever waits looks at the store from time to time as well.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::fs::{
    fchmod, fstat, mknodat, open, openat, renameat, unlinkat, AtFlags, Dir, FileType, Mode, OFlags,
};

use super::owner::give_open_to_owner_of;
use crate::signal::Signal;
use crate::AppendId;

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
        let mut path = database.as_os_str().to_owned();
        path.push("-wake");
        let path = PathBuf::from(path);
        // Whoever may write the database may wake its users, as with SQLite's own companion files.
        let mode = fs::metadata(database)?.permissions().mode() & 0o666;
        let search = (mode & 0o444) >> 2;
        let made = fs::create_dir(&path);
        let folder = open_folder(&path)?;
        match made {
            Ok(()) => {
                fchmod(&folder, Mode::from_raw_mode(mode | search))?;
                give_open_to_owner_of(database, &folder)?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let name = format!("{}-{}", std::process::id(), AppendId::random());
        // Under its final name only when it has a reader, so that nobody takes it for a dead process's.
        let made = format!(".{name}");
        mknodat(&folder, &*made, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
        // Open for writing too, so that there is never an end of file.
        let fifo = open_fifo(&folder, made.as_bytes(), OFlags::RDWR)?;
        fchmod(&fifo, Mode::from_raw_mode(mode))?;
        give_open_to_owner_of(database, &fifo)?;
        renameat(&folder, &*made, &folder, &*name)?;

        let closing = Arc::new(AtomicBool::new(false));
        let closed = closing.clone();
        let listener = thread::Builder::new()
            .name("eventlog-wake".into())
            .spawn(move || listen(fifo, &signal, &closed))?;
        Ok(Wake { folder: path, name, closing, listener: Some(listener) })
    }

    /// Wakes every other log that is open on the database.
    pub fn notify_others(&self) {
        // A folder that can't be read has nobody in it who could be woken; they look from time to time.
        let Ok(folder) = open_folder(&self.folder) else { return };
        for entry in Dir::read_from(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_bytes();
            if name != self.name.as_bytes() && !name.starts_with(b".") {
                knock(&folder, name);
            }
        }
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Release);
        let Ok(folder) = open_folder(&self.folder) else { return };
        if knock(&folder, self.name.as_bytes()) {
            if let Some(listener) = self.listener.take() {
                drop(listener.join());
            }
        }
        unlinkat(&folder, &*self.name, AtFlags::empty()).ok();
    }
}

/// Opens the folder of the pipes. Root wakes others' processes, too, and must not be led elsewhere: no link is followed, here and below.
fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

/// Opens a pipe, and nothing else.
fn open_fifo(folder: &OwnedFd, name: &[u8], access: OFlags) -> rustix::io::Result<File> {
    let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(folder.as_fd(), OsStr::from_bytes(name), flags, Mode::empty())?;
    match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::Fifo => Ok(file.into()),
        _ => Err(rustix::io::Errno::INVAL),
    }
}

/// Writes a byte into a FIFO; false if nobody could be reached there.
fn knock(folder: &OwnedFd, name: &[u8]) -> bool {
    match open_fifo(folder, name, OFlags::WRONLY | OFlags::NONBLOCK) {
        Ok(mut fifo) => {
            // The only error is that it is full, and then its reader wakes anyway.
            drop(fifo.write(&[1]));
            true
        }
        Err(error) => {
            // A dead process's, or a link, which nobody of us has made.
            if error == rustix::io::Errno::NXIO {
                unlinkat(folder, OsStr::from_bytes(name), AtFlags::empty()).ok();
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
