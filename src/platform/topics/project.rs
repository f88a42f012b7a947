//! A project's `config/application.yml` as part of nginx's configuration.

use std::fmt::Display;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use application::{Application, Storage};
use eventlog::{AppendId, Files};

use crate::platform::conf::Served;

/// The environment in which files are read again when they have changed, and what is wrong with them is shown to clients.
const DEVELOPMENT: &str = "development";

/// A folder that some `spacer_project` names.
pub struct Project {
    pub folder: PathBuf,
    /// Whether files are read again when they have changed, and errors are shown.
    pub development: bool,
    pub application: Arc<Application>,
    /// Random, and the same in all workers of this reading of the configuration, those too that the master starts later.
    reading: AppendId,
}

impl Project {
    /// Reads the project's file, and checks the functions of its triggers: they exist and, but in development, compile. The
    /// error names file and line.
    pub fn load(folder: &Path, environment: &str) -> Result<Project, String> {
        let variable = |name: &str| std::env::var(name).ok();
        let application =
            Application::read(folder, environment, variable).map_err(|error| error.to_string())?;
        let development = environment == DEVELOPMENT;
        for trigger in &application.triggers {
            for name in &trigger.functions {
                let wrong = match gateway::function_name(name) {
                    Ok(function) => wrong_with(folder, &function, development),
                    Err(reason) => Some(reason.to_string()),
                };
                if let Some(wrong) = wrong {
                    let (topic, line) = (&trigger.topic, trigger.line);
                    return Err(format!(
                        "{}:{line}: function \"{name}\" of events of topic \"{topic}\": {wrong}",
                        application::FILE
                    ));
                }
            }
        }
        Ok(Project {
            folder: folder.to_path_buf(),
            development,
            application: Arc::new(application),
            reading: AppendId::random(),
        })
    }

    /// The name that a worker has in the project's consumer group. No other has it, on any machine, until the worker has
    /// ended; the one that the master starts in its place does, and needn't wait until the group misses the old one.
    pub fn member_name(&self, host: &str, worker: usize) -> String {
        // The time is in its first digits.
        format!("{host}-{}-{worker}", &self.reading.to_string()[20..])
    }

    /// The files of an embedded database that the project's topics are in.
    pub fn files(&self) -> Option<Files> {
        let Storage::Sqlite { path } = &self.application.storage else { return None };
        let folder = path.parent()?;
        let below = folder.strip_prefix(&self.folder).ok();
        let own_folder = below.is_some_and(|below| {
            let mut names = below.components().peekable();
            names.peek().is_some() && names.all(|name| matches!(name, Component::Normal(_)))
        });
        (!self.application.topics.is_empty()).then(|| Files::new(path, own_folder))
    }
}

fn wrong_with(folder: &Path, function: &str, development: bool) -> Option<String> {
    let file = gateway::function_file(folder, function);
    if !file.is_file() {
        return Some(format!("{} does not exist", file.display()));
    } else if development {
        return None;
    }
    let found = gateway::check_functions(folder, [function]);
    found.first().map(ToString::to_string)
}

/// The projects that the configuration names, each once.
#[derive(Default)]
pub struct Projects(pub Vec<Rc<Project>>);

impl Projects {
    pub fn load(folders: &[PathBuf], environment: &str) -> Result<Projects, String> {
        let load = |folder: &PathBuf| {
            let loaded = Project::load(folder, environment).map(Rc::new);
            // The message begins with the file's name in the project.
            loaded.map_err(|message| format!("{}/{message}", folder.display()))
        };
        folders.iter().map(load).collect::<Result<Vec<_>, _>>().map(Projects)
    }

    /// Checks what one of the projects serves: the environment there is one of the project's and, but in development, its
    /// functions compile. The error names the file.
    ///
    /// # Safety
    /// All of the configuration has been read.
    pub unsafe fn check(&self, served: &Served) -> Result<(), String> {
        let Served { conf, project: folder, functions } = served;
        // SAFETY: the caller's promise.
        let environment = unsafe { (**conf).environment() };
        let placed = |error: &dyn Display| format!("{}/{error}", folder.display());
        if let Some(project) = self.0.iter().find(|project| project.folder == *folder) {
            let known = project.application.check_environment(&environment);
            known.map_err(|error| placed(&error))?;
        }
        if environment == DEVELOPMENT {
            return Ok(());
        }
        match gateway::check_functions(folder, functions.iter().map(String::as_str)).first() {
            Some(error) => Err(placed(error)),
            None => Ok(()),
        }
    }
}
