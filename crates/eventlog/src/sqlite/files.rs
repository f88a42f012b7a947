//! The files of a database, and whether the user that a server's workers run as can use them.
//!
//! A server that is started as root runs its workers as another user, and whoever looked into the log before may have
//! been root as well: what root has made is given to that user before the workers start. What can't be used all the
//! same is named, with its owner and what to do.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::unistd::{self, AccessFlags, Gid, Uid};
use rustix::fs::{chownat, fstat, mkdirat, open, openat, AtFlags, Dir, FileType, Mode, OFlags};

use super::owner::{folder_of, FOLDER_MODE};

/// Whom a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl User {
    /// The user of that name and number, in that group and those that the system has for the name.
    pub fn new(name: &str, uid: u32, gid: u32) -> io::Result<User> {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let groups = unistd::getgrouplist(&CString::new(name)?, gid)?;
        Ok(User { name: name.into(), uid, gid, groups })
    }
}

/// The files of an embedded log.
#[derive(Debug, Clone)]
pub struct Files {
    database: PathBuf,
    /// Whether the folder is there for the log alone, and may be made and given away.
    own_folder: bool,
}

/// What SQLite and this program add to the name of the database.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];
const WAKE: &str = "-wake";

impl Files {
    pub fn new(database: &Path, own_folder: bool) -> Files {
        Files { database: database.into(), own_folder }
    }

    /// Makes the folder if it is the log's own, and gives `user` what is root's; then checks that `user`, or without one
    /// this process, can use it all. The error says what can't be used, and why.
    pub fn prepare(&self, user: Option<&User>) -> Result<(), String> {
        let given = self.give(user);
        match (self.check_as(user, &[]), given) {
            (Err(trouble), Err(error)) => {
                Err(format!("{trouble}; nor can root change that: {error}"))
            }
            // What couldn't be given needn't be.
            (checked, _) => checked,
        }
    }

    /// Checks what [`prepare`](Files::prepare) would come to, and changes nothing.
    pub fn check(&self, user: Option<&User>) -> Result<(), String> {
        let mut given: Vec<_> = self.roots_own(user).into_iter().map(|(path, _)| path).collect();
        let folder = self.folder();
        if self.own_folder && !folder.exists() && open_folder(existing(folder), None).is_ok() {
            given.extend(user.map(|_| folder.to_owned()));
        }
        self.check_as(user, &given)
    }

    /// What this process can't use, if there is anything.
    pub(super) fn trouble(&self) -> Option<String> {
        let me = unistd::geteuid();
        self.find_trouble(&name_of(me), &[])
    }

    fn companion(&self, suffix: &str) -> PathBuf {
        let mut name = self.database.clone().into_os_string();
        name.push(suffix);
        name.into()
    }

    fn folder(&self) -> &Path {
        folder_of(&self.database).unwrap_or(Path::new("."))
    }

    /// All of them, whether they are there or not: the folder, the database, its companions, and the folder of pipes.
    fn all(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let companions = COMPANIONS.iter().chain([&WAKE]).map(|suffix| self.companion(suffix));
        [self.folder().to_owned(), self.database.clone()].into_iter().chain(companions)
    }

    /// What root has made and `user` is to have: opened, so that what is looked at is what is given. The user may be at
    /// work in the folder, so that no link is followed, and a file with a second name, which may be anybody's, left alone.
    fn roots_own(&self, user: Option<&User>) -> Vec<(PathBuf, OwnedFd)> {
        let mut found = Vec::new();
        let named =
            self.database.file_name().filter(|_| user.is_some_and(|user| !user.uid.is_root()));
        let (Some(name), Ok(folder)) = (named, open_folder(self.folder(), None)) else {
            return found;
        };
        let of_root = |file: &OwnedFd, is_kind: fn(FileType) -> bool| {
            fstat(file).is_ok_and(|stat| {
                let kind = FileType::from_raw_mode(stat.st_mode);
                stat.st_uid == 0
                    && is_kind(kind)
                    && (kind == FileType::Directory || stat.st_nlink == 1)
            })
        };
        for suffix in [""].iter().chain(&COMPANIONS) {
            let mut name = name.to_owned();
            name.push(suffix);
            if let Ok(file) = openat(&folder, &name, LOOK, Mode::empty()) {
                if of_root(&file, |kind| kind == FileType::RegularFile) {
                    found.push((self.companion(suffix), file));
                }
            }
        }
        let mut name = name.to_owned();
        name.push(WAKE);
        let list = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Ok(wake) = openat(&folder, &name, list, Mode::empty()) {
            for entry in Dir::read_from(&wake).into_iter().flatten().flatten() {
                if let Ok(pipe) = openat(&wake, entry.file_name(), LOOK, Mode::empty()) {
                    if of_root(&pipe, |kind| kind == FileType::Fifo) {
                        let name = OsStr::from_bytes(entry.file_name().to_bytes());
                        found.push((self.companion(WAKE).join(name), pipe));
                    }
                }
            }
            if of_root(&wake, |kind| kind == FileType::Directory) {
                found.push((self.companion(WAKE), wake));
            }
        }
        if self.own_folder && of_root(&folder, |kind| kind == FileType::Directory) {
            found.push((self.folder().to_owned(), folder));
        }
        found
    }

    fn give(&self, user: Option<&User>) -> io::Result<()> {
        let mut made = Vec::new();
        if self.own_folder && !self.folder().exists() {
            open_folder(self.folder(), Some(&mut made))?;
        }
        let Some(user) = user else { return Ok(()) };
        let found = self.roots_own(Some(user)).into_iter().map(|(_, file)| file);
        for file in found.chain(made) {
            let uid = Some(rustix::fs::Uid::from_raw(user.uid.as_raw()));
            let gid = Some(rustix::fs::Gid::from_raw(user.gid.as_raw()));
            chownat(&file, "", uid, gid, AtFlags::EMPTY_PATH)?;
        }
        Ok(())
    }

    fn check_as(&self, user: Option<&User>, given: &[PathBuf]) -> Result<(), String> {
        let me = unistd::geteuid();
        let trouble = match user.filter(|user| user.uid != me) {
            None => self.find_trouble(&name_of(me), given),
            Some(user) => {
                let _as_user = As::user(user).map_err(|error| {
                    format!(
                        "can't look at {} as user {}: {error}",
                        self.database.display(),
                        user.name
                    )
                })?;
                self.find_trouble(&user.name, given)
            }
        };
        trouble.map_or(Ok(()), |trouble| {
            Err(format!("event log {}: {trouble}", self.database.display()))
        })
    }

    /// `user` is whom the process acts as at this moment; what is `given` is good.
    fn find_trouble(&self, user: &str, given: &[PathBuf]) -> Option<String> {
        let folder = self.folder();
        let enter_and_write = AccessFlags::W_OK | AccessFlags::X_OK;
        for path in self.all() {
            let found = match fs::metadata(&path) {
                Ok(found) => found,
                Err(error) if error.kind() == ErrorKind::NotFound && path == folder => {
                    // Root makes the folder, if it may get there.
                    let above = existing(folder);
                    let made = given.contains(&path);
                    let needed = if made { AccessFlags::X_OK } else { enter_and_write };
                    return denied(above, needed)
                        .map(|error| explain(user, "make a folder in", above, error));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    let closed =
                        path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
                    let closed = closed.filter(|above| denied(above, AccessFlags::X_OK).is_some());
                    let closed = closed.filter(|above| above.metadata().is_ok()).last();
                    return Some(explain(user, "enter", closed.unwrap_or(folder), Errno::EACCES));
                }
                Err(error) => return Some(format!("{}: {error}", path.display())),
            };
            let is_folder = path == folder || path == self.companion(WAKE);
            if is_folder != found.is_dir() {
                let kind = if is_folder { "no folder" } else { "a folder" };
                return Some(format!("{} is {kind}", path.display()));
            }
            if given.contains(&path) {
                continue;
            }
            let (needed, what) = match is_folder {
                true => (enter_and_write, "make files in"),
                false => (AccessFlags::R_OK | AccessFlags::W_OK, "write"),
            };
            if let Some(error) = denied(&path, needed) {
                return Some(explain(user, what, &path, error));
            }
        }
        None
    }
}

/// For a look at a file, and to give it away.
const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a folder that is reached without following any link. What is missing of its path is made where the caller wants
/// to know of it.
fn open_folder(path: &Path, mut made: Option<&mut Vec<OwnedFd>>) -> io::Result<OwnedFd> {
    let look = LOOK | OFlags::DIRECTORY;
    let start = if path.is_absolute() { "/" } else { "." };
    let mut folder = open(start, look, Mode::empty())?;
    for name in path.components() {
        let name = match name {
            Component::Normal(_) | Component::ParentDir => name.as_os_str(),
            _ => continue,
        };
        folder = match (openat(&folder, name, look, Mode::empty()), made.as_mut()) {
            (Err(rustix::io::Errno::NOENT), Some(made)) => {
                mkdirat(&folder, name, Mode::from_raw_mode(FOLDER_MODE))?;
                let new = openat(&folder, name, look, Mode::empty())?;
                made.push(new.try_clone()?);
                new
            }
            (found, _) => found?,
        };
    }
    Ok(folder)
}

/// The folder that is there, of a path that isn't.
fn existing(path: &Path) -> &Path {
    path.ancestors()
        .filter(|above| !above.as_os_str().is_empty())
        .find(|above| above.exists())
        .unwrap_or(Path::new("."))
}

/// Why this process, as whom it acts, can't use a file like that.
fn denied(path: &Path, needed: AccessFlags) -> Option<Errno> {
    unistd::faccessat(AT_FDCWD, path, needed, nix::fcntl::AtFlags::AT_EACCESS).err()
}

fn explain(user: &str, what: &str, path: &Path, error: Errno) -> String {
    let path = path.display();
    let mut text = format!("user {user} can't {what} {path}");
    if let Ok(found) = fs::metadata(path.to_string()) {
        let owner = name_of(Uid::from_raw(found.uid()));
        text += &format!(" (of {owner}, mode {:o})", found.mode() & 0o7777);
    }
    let advice = match error {
        Errno::EACCES if what == "enter" => {
            format!(": let {user} in (chmod), or put the event log elsewhere")
        }
        Errno::EACCES | Errno::EPERM => format!(": chown {user} {path}, or run as its owner"),
        _ => String::new(),
    };
    text + &format!(": {}{advice}", error.desc())
}

fn name_of(uid: Uid) -> String {
    let user = unistd::User::from_uid(uid).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

/// Acts as another user for as long as it lives. The process must be root's, and have one thread.
struct As {
    gid: Gid,
    groups: Vec<Gid>,
}

impl As {
    fn user(user: &User) -> nix::Result<As> {
        let before = As { gid: unistd::getegid(), groups: unistd::getgroups()? };
        // Where a step fails, dropping `before` goes back.
        unistd::setgroups(&user.groups)?;
        unistd::setegid(user.gid)?;
        unistd::seteuid(user.uid)?;
        Ok(before)
    }
}

impl Drop for As {
    fn drop(&mut self) {
        let back = unistd::seteuid(unistd::getuid())
            .and_then(|()| unistd::setegid(self.gid))
            .and_then(|()| unistd::setgroups(&self.groups));
        if let Err(error) = back {
            // Nothing that this process does as another user is what it is meant to do.
            eprintln!("can't act as root any more: {error}");
            std::process::abort();
        }
    }
}
