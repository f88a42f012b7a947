//! A project's folder.

use std::fs;
use std::path::{Path, PathBuf};

use application::Application;

use crate::error::Error;

pub const GATEWAY: &str = "app/gateway.lua";
pub const NGINX_CONF: &str = "config/nginx.conf";

pub struct Project {
    /// Absolute.
    pub dir: PathBuf,
}

impl Project {
    pub fn open(dir: &Path) -> Result<Project, Error> {
        let missing = |missing| Error::NotAProject { dir: dir.into(), missing };
        if !dir.is_dir() {
            return Err(missing("the folder"));
        }
        if !dir.join(GATEWAY).exists() {
            return Err(missing(GATEWAY));
        }
        let dir = dir.canonicalize().map_err(Error::file("open", dir))?;
        if dir.to_string_lossy().contains('$') {
            return Err(Error::DollarInPath(dir));
        }
        Ok(Project { dir })
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    pub fn gateway(&self) -> Result<gateway::Table, Error> {
        Ok(gateway::Table::load(&self.path(GATEWAY), &self.dir)?)
    }

    /// What config/application.yml says for an environment; a project can do without the file.
    pub fn application(&self, environment: &str) -> Result<Application, Error> {
        Ok(Application::read(&self.dir, environment, |name| std::env::var(name).ok())?)
    }

    /// Whether a function, in either spelling of its name, is there and compiles. The error names it.
    pub fn check_function(&self, name: &str) -> Result<(), Error> {
        let wrong = |what: String| Error::Function { name: name.into(), what };
        let spelled = gateway::function_name(name).map_err(|reason| wrong(reason.into()))?;
        if !gateway::function_file(&self.dir, &spelled).is_file() {
            return Err(wrong(format!("app/{spelled}.lua does not exist")));
        }
        match gateway::check_functions(&self.dir, [spelled.as_str()]).first() {
            Some(error) => Err(wrong(error.to_string())),
            None => Ok(()),
        }
    }

    pub fn read_optional(&self, file: &str) -> Result<Option<String>, Error> {
        match fs::read_to_string(self.path(file)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::File { action: "read", file: self.path(file), error }),
        }
    }

    /// Makes the folders that nginx writes to.
    pub fn make_folders(&self) -> Result<(), Error> {
        for folder in ["logs", "temp"] {
            fs::create_dir_all(self.path(folder))
                .map_err(Error::file("make", self.path(folder)))?;
        }
        Ok(())
    }
}
