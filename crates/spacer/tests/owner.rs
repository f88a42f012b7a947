//! Root looks into a project's log while its workers run as another user.

mod common;

use std::fs;
use std::os::unix::fs::{chown, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{spacer, text, Project};
use eventlog::{Driver, Limits, Topic};

/// Debian's `nobody`; any number does.
const USER: u32 = 65534;

fn is_root() -> bool {
    let root = nix::unistd::Uid::effective().is_root();
    if !root {
        eprintln!("skipped: only root can give files to others");
    }
    root
}

/// A project of the user's.
fn shop(application: &str) -> Project {
    let project = Project::new();
    project.write(
        "config/application.yml",
        &format!("spacerVersion: 1\nappName: shop\ntopics: [orders]\n{application}"),
    );
    give(project.path().parent().unwrap());
    project
}

fn give(path: &Path) {
    chown(path, Some(USER), Some(USER)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

/// What is in the folder and below, the folder included, and belongs to somebody else.
fn of_others(path: &Path) -> Vec<PathBuf> {
    let meta = fs::symlink_metadata(path).unwrap();
    let mut found = Vec::new();
    if (meta.uid(), meta.gid()) != (USER, USER) {
        found.push(path.to_owned());
    }
    if meta.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            found.extend(of_others(&entry.unwrap().path()));
        }
    }
    found
}

#[test]
fn what_root_makes_belongs_to_the_owner_of_the_project() {
    if !is_root() {
        return;
    }
    let project = shop("");
    let data = project.path().join("data");
    let output = project.run(&["topics", "append", "orders", "a", "1"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    // Open, it has its companions and its FIFO.
    let path = data.join("development.db");
    let log = eventlog::open(&Driver::Sqlite { path }, Limits::default()).unwrap();
    log.declare(&[Topic::new("users").unwrap()]).unwrap();
    let wake = data.join("development.db-wake");
    let fifo = fs::read_dir(&wake).unwrap().next().expect("a FIFO").unwrap();
    for path in [&wake, &fifo.path()] {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o677, 0o600, "{}: {mode:o}", path.display());
    }
    assert_eq!(of_others(&data), Vec::<PathBuf>::new());
}

#[test]
fn what_root_makes_beside_a_database_belongs_to_the_database_s_owner() {
    if !is_root() {
        return;
    }
    let project = shop("");
    let data = project.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("development.db"), "").unwrap();
    give(&data.join("development.db"));
    let output = project.run(&["topics", "append", "orders", "a", "1"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let others = of_others(&data);
    assert_eq!(others, [data], "the folder is root's own");
}

#[test]
fn a_worker_s_user_goes_on_where_root_has_begun() {
    if !is_root() {
        return;
    }
    let project = shop("");
    // The user may not be able to read the folder that this was built in.
    let command = project.path().join("spacer");
    fs::copy(env!("CARGO_BIN_EXE_spacer"), &command).unwrap();
    let mut tail = spacer()
        .args(["topics", "tail", "orders", "-f", "--json", "--dir"])
        .arg(project.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let wake = project.path().join("data/development.db-wake");
    let deadline = Instant::now() + Duration::from_secs(20);
    while fs::read_dir(&wake).is_ok_and(|mut entries| entries.next().is_none()) || !wake.exists() {
        assert!(Instant::now() < deadline, "the command doesn't open the log");
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = Command::new(&command)
        .args(["topics", "append", "orders", "a", "1", "--dir"])
        .arg(project.path())
        .uid(USER)
        .gid(USER)
        .output()
        .unwrap();
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    assert_eq!(text(&output.stdout), "orders: stored as 1\n");
}

#[test]
fn a_folder_that_root_makes_is_for_the_user_of_the_application() {
    if !is_root() {
        return;
    }
    let project =
        shop("user: nobody\nlogStorage: {development: {driver: sqlite, path: log/events.db}}\n");
    chown(project.path(), Some(0), Some(0)).unwrap();
    let output = project.run(&["topics", "append", "orders", "a", "1"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let nobody = nix::unistd::User::from_name("nobody").unwrap().expect("a user nobody").uid;
    for path in ["log", "log/events.db"] {
        assert_eq!(fs::metadata(project.path().join(path)).unwrap().uid(), nobody.as_raw());
    }
}
