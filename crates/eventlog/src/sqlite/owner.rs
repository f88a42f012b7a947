//! Whose the files beside a database are.
//!
//! Root looks into a log, and appends to it, that a server's workers use as another user. What root makes there is given to
//! the owner of the folder that it is in, so that those go on to work with it; what is made beside the database, to the
//! database's owner, as SQLite does with its own companions. `files` is for what has been made all the same.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{fchown, lchown, DirBuilderExt, MetadataExt};
use std::path::Path;

/// Events are for their owner alone, whatever the process leaves to files that it makes. Folders are entered by who is given a file later.
pub(super) const FOLDER_MODE: u32 = 0o755;
pub(super) const FILE_MODE: u32 = 0o600;

/// Gives what this process has made to the owner of its folder, if the process is root's.
pub(super) fn give_to_folders_owner(path: &Path) -> io::Result<()> {
    give_to_owner_of(folder_of(path).unwrap_or(Path::new(".")), path)
}

/// Gives what this process has made to whom another file belongs to, if the process is root's.
pub(super) fn give_to_owner_of(other: &Path, path: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (owner, file) = (fs::metadata(other)?, fs::symlink_metadata(path)?);
    let (uid, gid) = (owner.uid(), owner.gid());
    match (file.uid(), file.gid()) == (uid, gid) {
        true => Ok(()),
        false => lchown(path, Some(uid), Some(gid)).map_err(|error| {
            let text = format!("can't give {} to user {uid}: {error}", path.display());
            io::Error::new(error.kind(), text)
        }),
    }
}

/// The same for what is open: whatever has its name by then.
pub(super) fn give_open_to_owner_of(other: &Path, file: &impl AsFd) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        let owner = fs::metadata(other)?;
        fchown(file, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

/// Makes a folder and those that it is in, where they are missing.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder_of(folder) {
        make_folder(parent)?;
    }
    match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        // Another process was faster, and gives it away itself.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => give_to_folders_owner(folder),
    }
}

/// The folder that a path names its last component in; `None` where that is the present one.
pub(super) fn folder_of(path: &Path) -> Option<&Path> {
    path.parent().filter(|parent| !parent.as_os_str().is_empty())
}
