//! The files of a database, and whether the user that a server's workers run as can use them.
//!
//! A server that is started as root runs its workers as another user, and whoever looked into the log before may have
//! been root as well: what root has made is given to that user before the workers start. What can't be used all the
//! same is named, with its owner and what to do.

use std::ffi::CString;
use std::fs::{self, DirBuilder, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::unistd::{self, AccessFlags, Gid, Uid};
use rustix::fs::{chownat, open, AtFlags, Mode, OFlags};

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
        let checked = self.check_as(user, |_, _| false);
        match (checked, given) {
            (Err(trouble), Err((path, error))) => {
                Err(format!("{trouble}; nor can {} be made theirs: {error}", path.display()))
            }
            (checked, _) => checked,
        }
    }

    /// Checks what [`prepare`](Files::prepare) would come to, and changes nothing.
    pub fn check(&self, user: Option<&User>) -> Result<(), String> {
        self.check_as(user, |path, found| self.is_given(path, found, user))
    }

    /// What this process can't use, if there is anything.
    pub(super) fn trouble(&self) -> Option<String> {
        let me = unistd::geteuid();
        self.find_trouble(&name_of(me), me, |_, _| false)
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

    /// Whether a file is to be `user`'s, since root has made it.
    fn is_given(&self, path: &Path, found: &Metadata, user: Option<&User>) -> bool {
        let wanted = user.is_some_and(|user| !user.uid.is_root()) && found.uid() == 0;
        let kind = found.file_type();
        wanted
            && match kind {
                _ if path == self.folder() => self.own_folder && kind.is_dir(),
                _ if kind.is_dir() => path == self.companion(WAKE),
                // One that has another name may be anybody's.
                _ => (kind.is_file() || kind.is_fifo()) && found.nlink() == 1,
            }
    }

    fn give(&self, user: Option<&User>) -> Result<(), (PathBuf, io::Error)> {
        if self.own_folder && !self.folder().exists() {
            self.make_folder(self.folder(), user)?;
        }
        let Some(user) = user else { return Ok(()) };
        let pipes = fs::read_dir(self.companion(WAKE)).into_iter().flatten().flatten();
        for path in self.all().chain(pipes.map(|pipe| pipe.path())) {
            self.give_one(&path, user).map_err(|error| (path, error))?;
        }
        Ok(())
    }

    fn make_folder(&self, folder: &Path, user: Option<&User>) -> Result<(), (PathBuf, io::Error)> {
        if let Some(parent) = folder_of(folder).filter(|parent| !parent.exists()) {
            self.make_folder(parent, user)?;
        }
        let made = DirBuilder::new().mode(FOLDER_MODE).create(folder);
        let given = made.and_then(|()| match user {
            Some(user) => {
                let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
                std::os::unix::fs::lchown(folder, Some(uid), Some(gid))
            }
            None => Ok(()),
        });
        given.map_err(|error| (folder.into(), error))
    }

    /// What is looked at is what is given: the user may be at work in the folder, and no link is followed there.
    fn give_one(&self, path: &Path, user: &User) -> io::Result<()> {
        let file =
            match open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
                Ok(file) => fs::File::from(file),
                // What isn't there needs no owner, and what can't be reached is found out afterwards.
                Err(_) => return Ok(()),
            };
        if self.is_given(path, &file.metadata()?, Some(user)) {
            let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
            let uid = Some(rustix::fs::Uid::from_raw(uid));
            let gid = Some(rustix::fs::Gid::from_raw(gid));
            chownat(&file, "", uid, gid, AtFlags::EMPTY_PATH)?;
        }
        Ok(())
    }

    fn check_as(
        &self,
        user: Option<&User>,
        is_given: impl Fn(&Path, &Metadata) -> bool,
    ) -> Result<(), String> {
        let me = unistd::geteuid();
        let trouble = match user.filter(|user| user.uid != me) {
            None => self.find_trouble(&name_of(me), me, is_given),
            Some(user) => {
                let _as_user = As::user(user).map_err(|error| {
                    format!(
                        "can't look at {} as user {}: {error}",
                        self.database.display(),
                        user.name
                    )
                })?;
                self.find_trouble(&user.name, user.uid, is_given)
            }
        };
        trouble.map_or(Ok(()), |trouble| {
            Err(format!("event log {}: {trouble}", self.database.display()))
        })
    }

    /// `user` is whom the process acts as at this moment; what `is_given` answers for is good.
    fn find_trouble(
        &self,
        user: &str,
        uid: Uid,
        is_given: impl Fn(&Path, &Metadata) -> bool,
    ) -> Option<String> {
        let folder = self.folder();
        let enter_and_write = AccessFlags::W_OK | AccessFlags::X_OK;
        for path in self.all() {
            let found = match fs::metadata(&path) {
                Ok(found) => found,
                Err(error) if error.kind() == ErrorKind::NotFound && path == folder => {
                    // Root makes the folder, if it may get there.
                    let above = existing(folder);
                    let made = self.own_folder && uid != unistd::getuid();
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
            // A link isn't followed to give what it leads to.
            if fs::symlink_metadata(&path).is_ok_and(|found| is_given(&path, &found)) {
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
        unistd::setgroups(&user.groups)?;
        // From here on, dropping `before` goes back.
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
