//! Topics in nginx: each worker's hold on the event logs of the projects that it serves.
//!
//! A project's `config/application.yml` is read with nginx's configuration ([`project`]). When a worker starts, it
//! opens the log of each project that has topics ([`store`]) on a background thread and, where the project has
//! triggers, joins their consumer group ([`consumer`], two more threads) and runs the functions ([`trigger`]). Lua's
//! `topics` comes in through `platform/api/`. Nothing here blocks the event loop; what threads finish
//! comes back over `run/bridge.rs`.
//!
//! When nginx shuts the worker down, no event is claimed any more, the functions that run come to their end, and the
//! members leave their groups. When that takes longer than `worker_shutdown_timeout`, other workers get the events.

mod consumer;
mod health;
pub mod project;
pub mod store;
pub mod trigger;

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use application::Application;
use nginx_sys::*;

use crate::nginx::cell::Worker;
use crate::nginx::log_error;
use crate::run::bridge;
use project::Project;
use store::Store;
use trigger::Triggers;

/// How long a worker that exits may take to close its logs.
const CLOSE: Duration = Duration::from_secs(3);

/// A project in this worker.
pub struct Topics {
    pub project: Rc<Project>,
    pub store: Store,
    triggers: Option<Triggers>,
}

impl Topics {
    /// What the appends of an event's functions are stored with.
    pub fn fence(&self, run: &trigger::Run) -> Option<eventlog::Fence> {
        self.triggers.as_ref()?.fence(run)
    }

    pub fn application(&self) -> &Arc<Application> {
        &self.project.application
    }
}

static ALL: Worker<Vec<Rc<Topics>>> = Worker::new(Vec::new());

fn all<'a>() -> &'a [Rc<Topics>] {
    // SAFETY: the list is filled when the worker starts and emptied when it exits, on its only thread.
    unsafe { &*ALL.get() }
}

/// The topics of the project in that folder, if it has any.
pub fn of(folder: &[u8]) -> Option<&'static Rc<Topics>> {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = Path::new(std::ffi::OsStr::from_bytes(folder));
    all().iter().find(|topics| topics.project.folder == folder)
}

/// A worker starts: opens the logs of the projects and, unless told otherwise, runs their triggers.
///
/// # Safety
/// Called once in a worker, on its own thread, with its cycle.
pub unsafe fn start(projects: &[Rc<Project>], triggers: bool, log: *mut ngx_log_t) {
    let wanted = projects.iter().filter(|project| !project.application.topics.is_empty());
    for project in wanted {
        // SAFETY: the caller's promise.
        unsafe {
            if !bridge::is_open() {
                if let Err(error) = bridge::open(shut_down) {
                    log_error!(NGX_LOG_EMERG, log, "spacer: background threads: {error}");
                    return;
                }
            }
            match open(project, triggers) {
                Ok(topics) => (*ALL.get()).push(Rc::new(topics)),
                Err(error) => log_error!(
                    NGX_LOG_EMERG,
                    log,
                    "spacer: the topics of {}: {error}",
                    project.folder.display()
                ),
            }
        }
    }
}

fn open(project: &Rc<Project>, triggers: bool) -> std::io::Result<Topics> {
    let _quiet = Quiet::new();
    let store = Store::start(project.application.clone())?;
    let wanted = triggers && !project.application.triggers.is_empty();
    let triggers = wanted.then(|| Triggers::start(project, &store)).transpose()?;
    Ok(Topics { project: project.clone(), store, triggers })
}

/// Keeps signals from the threads that are started meanwhile, and from those that they start: nginx's handlers must
/// interrupt the wait of its own thread.
struct Quiet(libc::sigset_t);

impl Quiet {
    fn new() -> Quiet {
        // SAFETY: both sets are filled in before they are used.
        unsafe {
            let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
            Quiet(before)
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // SAFETY: the mask is what it was before.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

/// nginx shuts the worker down; `over` says that its time for that is over.
fn shut_down(over: bool) {
    for triggers in all().iter().filter_map(|topics| topics.triggers.as_ref()) {
        match over {
            false => triggers.drain(),
            true => triggers.cancel(),
        }
    }
}

/// The worker exits: leaves the groups and closes the logs, within a bound.
///
/// # Safety
/// On the worker's own thread; no Lua runs afterwards.
pub unsafe fn stop(log: *mut ngx_log_t) {
    let deadline = Instant::now() + CLOSE;
    // SAFETY: the caller's promise.
    unsafe {
        for topics in std::mem::take(&mut *ALL.get()) {
            // A request that waits may hold on to it, but nothing wakes that any more.
            let Ok(topics) = Rc::try_unwrap(topics) else { continue };
            let left = topics.triggers.is_none_or(|triggers| triggers.stop(deadline));
            let closed = topics.store.close(deadline);
            if !left || !closed {
                log_error!(
                    NGX_LOG_WARN,
                    log,
                    "spacer: the event log of {} did not close within {} s",
                    topics.project.folder.display(),
                    CLOSE.as_secs()
                );
            }
        }
        if bridge::is_open() {
            bridge::close();
        }
    }
}
