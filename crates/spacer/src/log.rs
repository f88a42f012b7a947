//! A project's event log, opened by the command.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{chown, DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use application::{Application, Storage};
use eventlog::{Event, EventLog, Offset, Read, Timestamp, Topic};
use nix::unistd::{Uid, User};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::cli::LogOptions;
use crate::error::Error;
use crate::output;
use crate::project::Project;

pub struct Log {
    pub application: Application,
    pub project: Project,
    pub events: Arc<dyn EventLog>,
}

/// How many events are read from the store at once.
const PAGE: usize = 500;

impl Log {
    /// Opens the log, which is made where it is missing.
    pub fn open(options: &LogOptions) -> Result<Log, Error> {
        let project = Project::open(&options.dir)?;
        let application = project.application(&options.env)?;
        Log::open_in(project, application, options)
    }

    /// The same for a look, which makes nothing: a log that is missing is an empty one, or a mistake where other environments have theirs.
    pub fn look(options: &LogOptions) -> Result<Log, Error> {
        let project = Project::open(&options.dir)?;
        let application = project.application(&options.env)?;
        let Storage::Sqlite { path } = &application.storage else {
            return Log::open_in(project, application, options);
        };
        if path.exists() {
            return Log::open_in(project, application, options);
        }
        let has_log = |environment: &&String| {
            let other = project.application(environment).map(|other| other.storage);
            matches!(other, Ok(Storage::Sqlite { path }) if path.exists())
        };
        let others: Vec<String> =
            application.environments.iter().filter(has_log).cloned().collect();
        if !others.is_empty() {
            let (environment, path) = (options.env.clone(), path.clone());
            return Err(Error::NoLog { environment, path, others: others.join(", ") });
        }
        let events = eventlog::open(&eventlog::Driver::Memory, application.limits.clone())?;
        events.declare(&application.topics)?;
        Ok(Log { application, project, events })
    }

    fn open_in(
        project: Project,
        application: Application,
        options: &LogOptions,
    ) -> Result<Log, Error> {
        match &application.storage {
            Storage::Memory => return Err(Error::MemoryLog { environment: options.env.clone() }),
            Storage::Sqlite { path } => {
                if let Some(folder) = path.parent() {
                    make_folder(folder, &project, &application)?;
                }
            }
            Storage::Postgres { .. } | Storage::Kafka { .. } => {}
        }
        let driver = application.storage.driver();
        let events = eventlog::open(&driver, application.limits.clone())?;
        // So that a topic can be looked at, and appended to, before nginx has started for the first time.
        events.declare(&application.topics)?;
        Ok(Log { application, project, events })
    }

    /// A topic that is in the log.
    pub fn topic(&self, name: &str) -> Result<Topic, Error> {
        let known = self.events.topics()?;
        match known.iter().find(|topic| topic.as_str() == name) {
            Some(topic) => Ok(topic.clone()),
            None => {
                let known = known.iter().filter(|topic| topic.dead().is_some());
                let known = known.map(Topic::as_str).collect::<Vec<_>>().join(", ");
                Err(Error::UnknownTopic { name: name.into(), known })
            }
        }
    }

    /// Passes a partition's events from an offset on, until there are no more or `each` says stop with `false`. Gives
    /// the offset to go on from.
    pub fn scan(
        &self,
        topic: &Topic,
        partition: u32,
        from: Offset,
        key: Option<&str>,
        mut each: impl FnMut(Event) -> Result<bool, Error>,
    ) -> Result<Offset, Error> {
        let mut from = from;
        loop {
            let key = key.map(String::from);
            let read = Read { partition, from, limit: PAGE, key, ..Read::default() };
            let events = self.events.read(topic, &read)?;
            // A page may be short because its events are large.
            let last = events.is_empty();
            for event in events {
                from = event.offset + 1;
                if !each(event)? {
                    return Ok(from);
                }
            }
            if last {
                return Ok(from);
            }
        }
    }
}

/// Makes the folder of an embedded database. What root makes is for the user that workers run as.
fn make_folder(folder: &Path, project: &Project, application: &Application) -> Result<(), Error> {
    if folder.is_dir() {
        return Ok(());
    }
    let failed = |error| Error::file("make", folder)(error);
    // Events are for their owner alone. Whom the workers run as is the server's to say where the project doesn't: it gives the folder
    // away when it starts, and they have to enter it until then. The files in it are for their owner in any case.
    let is_root = Uid::effective().is_root();
    let mode = if is_root && application.user.is_none() { 0o755 } else { 0o700 };
    DirBuilder::new().recursive(true).mode(mode).create(folder).map_err(failed)?;
    if !is_root || !folder.starts_with(&project.dir) {
        return Ok(());
    }
    let named = application.user.as_deref().map(User::from_name).transpose();
    let (uid, gid) = match named.map_err(|error| failed(error.into()))?.flatten() {
        Some(user) => (user.uid.as_raw(), user.gid.as_raw()),
        None => {
            let owner = fs::metadata(&project.dir).map_err(Error::file("read", &project.dir))?;
            (owner.uid(), owner.gid())
        }
    };
    chown(folder, Some(uid), Some(gid)).map_err(Error::file("change the owner of", folder))
}

/// An event as `--json` prints it; the names are those of `ctx.event`.
#[derive(Serialize)]
pub struct JsonEvent {
    topic: String,
    partition: u32,
    offset: Offset,
    key: String,
    /// Milliseconds since 1970.
    time: u64,
    headers: serde_json::Map<String, serde_json::Value>,
    value: Box<RawValue>,
}

impl JsonEvent {
    pub fn new(event: &Event) -> Result<JsonEvent, Error> {
        let Timestamp(time) = event.time;
        let headers = event.headers.iter().rev();
        Ok(JsonEvent {
            topic: event.topic.to_string(),
            partition: event.partition,
            offset: event.offset,
            key: event.key.clone(),
            time,
            // Of headers with the same name, the first counts.
            headers: headers.map(|(name, value)| (name.clone(), value.as_str().into())).collect(),
            value: output::raw(&event.value)?,
        })
    }
}
