//! `config/application.yml`, read and checked.
//!
//! ```
//! let text = "spacerVersion: 1\nappName: shop\ntopics: [orders]\nevents: {orders: {APPEND: [bill]}}\n";
//! let read = application::Application::parse(text, "/srv/shop".as_ref(), "production", |_| None);
//! let shop = read.map_err(|error| error.to_string()).unwrap();
//! assert_eq!(shop.consumer_group, "spacer-shop");
//! assert_eq!(shop.triggers[0].functions, ["bill"]);
//! ```
//!
//! `file` is the shape of what is written, which serde checks; `distinct` sees that no key is there twice. `read` gives
//! the file its meaning, with `variables`, `units` and `storage`, and finds the line and column of what serde has let
//! pass with `locate`.

mod distinct;
mod error;
mod file;
mod listen;
mod locate;
mod read;
mod secrets;
mod storage;
mod units;
mod variables;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

pub use error::Error;
pub use listen::Listen;
pub use read::is_user;
pub use storage::Storage;

/// Where the file is in a project.
pub const FILE: &str = "config/application.yml";

/// The environments that every project has.
pub const ENVIRONMENTS: [&str; 3] = ["development", "test", "production"];

/// What a project's file says for one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Empty when it isn't named.
    pub app_name: String,
    /// The user that nginx's workers run as when it is started as root.
    pub user: Option<String>,
    /// Environment variables that functions may read.
    pub env_var: Vec<String>,
    /// In the order of the file, without their dead-letter topics.
    pub topics: Vec<eventlog::Topic>,
    /// In the order of the file; none is without functions.
    pub triggers: Vec<Trigger>,
    pub storage: Storage,
    /// Those that every project has, and those that `logStorage` names beside them.
    pub environments: Vec<String>,
    /// What the names of the triggers' groups begin with; the group that all had together in earlier releases.
    pub consumer_group: String,
    /// Where the write proxy listens; it is off when the file doesn't say.
    pub write_proxy_listen: Option<SocketAddr>,
    /// What a request to the write proxy must know; nothing when the file doesn't say.
    pub write_proxy_token: Option<String>,
    /// Where private functions are served, as `spacer_private` does; nowhere when the file doesn't say.
    pub private_listen: Option<Listen>,
    pub limits: eventlog::Limits,
    pub trigger: TriggerSettings,
}

/// Functions that run one after the other for each event appended to a topic. Several triggers of a topic go on independently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    pub topic: eventlog::Topic,
    /// At least one; the first names the trigger's group, and no other trigger of the topic begins with it.
    pub functions: Vec<String>,
    /// Where it begins when it has no position.
    pub start: eventlog::Start,
    /// Where the file names the topic in `events`.
    pub line: usize,
}

/// How triggers run and are retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerSettings {
    /// How often a function is tried on an event before the event goes to the dead-letter topic. Default 10.
    pub max_attempts: u32,
    /// Events that run at once in a worker. Default 16.
    pub concurrency: usize,
    /// The wait after the first failure, doubled after each further one. Default 100 ms.
    pub retry_delay: Duration,
    /// What the wait grows to. Default 60 s.
    pub max_retry_delay: Duration,
}

impl Default for TriggerSettings {
    fn default() -> TriggerSettings {
        TriggerSettings {
            max_attempts: 10,
            concurrency: 16,
            retry_delay: Duration::from_millis(100),
            max_retry_delay: Duration::from_secs(60),
        }
    }
}

impl TriggerSettings {
    /// How long to wait after an attempt that failed, the first one being 1; `None` when it was the last.
    pub fn delay_after(&self, attempt: u32) -> Option<Duration> {
        if attempt >= self.max_attempts {
            return None;
        }
        Some(self.backoff().after(attempt))
    }

    /// How the wait grows.
    pub fn backoff(&self) -> eventlog::Backoff {
        eventlog::Backoff { first: self.retry_delay, longest: self.max_retry_delay }
    }
}

impl Application {
    /// What holds for a project without the file.
    pub fn without_file(project: &Path, environment: &str) -> Application {
        Application {
            app_name: String::new(),
            user: None,
            env_var: Vec::new(),
            topics: Vec::new(),
            triggers: Vec::new(),
            storage: Storage::embedded(project, environment),
            environments: ENVIRONMENTS.map(String::from).to_vec(),
            consumer_group: read::default_group(""),
            write_proxy_listen: None,
            write_proxy_token: None,
            private_listen: None,
            limits: eventlog::Limits::default(),
            trigger: TriggerSettings::default(),
        }
    }

    /// The consumer group of a trigger, named after its first function.
    pub fn group_of(&self, trigger: &Trigger) -> String {
        let function = trigger.functions.first().map_or("", String::as_str);
        format!("{}:{function}", self.consumer_group)
    }

    /// The groups of all triggers, each once, in the order of the file.
    pub fn groups(&self) -> Vec<String> {
        let mut groups: Vec<String> = Vec::new();
        for group in self.triggers.iter().map(|trigger| self.group_of(trigger)) {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        groups
    }

    /// Reads the file of a project, which can do without one. `env` looks up an environment variable.
    pub fn read(
        project: &Path,
        environment: &str,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Application, Error> {
        match std::fs::read_to_string(project.join(FILE)) {
            Ok(text) => Application::parse(&text, project, environment, env),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let application = Application::without_file(project, environment);
                application.check_environment(environment)?;
                Ok(application)
            }
            Err(error) => Err(Error::file(format!("can't be read: {error}"))),
        }
    }

    /// Reads the text of a file. `project` is what relative paths in it are relative to.
    pub fn parse(
        text: &str,
        project: &Path,
        environment: &str,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Application, Error> {
        read::Reader { text, project, environment, env: &env }.read()
    }

    /// Refuses an environment that the project doesn't have: a name that is mistyped would have an event log of its own, an
    /// empty one.
    pub fn check_environment(&self, name: &str) -> Result<(), Error> {
        if self.environments.iter().any(|known| known == name) {
            return Ok(());
        }
        let known = self.environments.join(", ");
        Err(Error::file(format!(
            "there is no environment \"{name}\", there are {known}: correct the name, or add it to logStorage"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_limit_and_ends_with_the_last_attempt() {
        let settings = TriggerSettings { max_attempts: 40, ..Default::default() };
        let millis = |attempt| settings.delay_after(attempt).map(|delay| delay.as_millis());
        assert_eq!([1, 2, 3, 10, 11].map(millis), [100, 200, 400, 51_200, 60_000].map(Some));
        assert_eq!([39, 40, 41].map(millis), [Some(60_000), None, None]);
    }

    #[test]
    fn a_project_can_do_without_the_file_and_not_with_one_that_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let read = || Application::read(dir.path(), "test", |_| None);
        assert_eq!(read().unwrap(), Application::without_file(dir.path(), "test"));
        let path = dir.path().join("data/test.db");
        assert_eq!(read().unwrap().storage, Storage::Sqlite { path });
        std::fs::create_dir_all(dir.path().join(FILE)).unwrap();
        let message = read().unwrap_err().to_string();
        assert!(message.starts_with("config/application.yml: can't be read: "), "{message}");
    }

    #[test]
    fn a_project_without_the_file_has_the_three_environments_of_every_project() {
        let dir = tempfile::tempdir().unwrap();
        for environment in ENVIRONMENTS {
            assert!(Application::read(dir.path(), environment, |_| None).is_ok(), "{environment}");
        }
        let read = Application::read(dir.path(), "prodution", |_| None);
        assert_eq!(
            read.unwrap_err().to_string(),
            "config/application.yml: there is no environment \"prodution\", there are development, test, production: \
             correct the name, or add it to logStorage"
        );
    }
}
