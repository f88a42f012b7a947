//! Renders a project's nginx configuration.

use std::path::Path;

use application::{is_user, Application};
use nix::unistd::Uid;

use crate::cli::ServerOptions;
use crate::error::Error;
use crate::nginx;
use crate::project::{Project, NGINX_CONF};
use crate::template::{self, Failed};

pub const DEVELOPMENT: &str = "development";

const TEMPLATE: &str = include_str!("../../../nginx-conf/spacer.conf");

/// The placeholders, for the message about one that is none of them.
const NAMES: &str = "load_module, user, env, worker_processes, log_level, project, config, logs, temp, module, app_name, \
                     environment and listen";

pub struct Config<'a> {
    project: &'a Project,
    options: &'a ServerOptions,
    environment: &'a str,
}

impl<'a> Config<'a> {
    pub fn new(
        project: &'a Project,
        options: &'a ServerOptions,
        environment: &'a str,
    ) -> Config<'a> {
        Config { project, options, environment }
    }

    /// The project's own config/nginx.conf if it keeps one, else the template, with its placeholders filled in.
    pub fn render(&self) -> Result<String, Error> {
        let application = self.project.application(self.environment)?;
        let own = self.project.read_optional(NGINX_CONF)?;
        let template = own.as_deref().unwrap_or(TEMPLATE);
        template::render(template, |name| self.value(name, &application)).map_err(|failed| {
            match failed {
                Failed::Value(error) => error,
                Failed::Unknown(unknown) => Error::Config {
                    file: NGINX_CONF.into(),
                    line: Some(unknown.line),
                    message: format!(
                        "unknown placeholder {{{{{}}}}}: there are {NAMES}",
                        unknown.name
                    ),
                },
            }
        })
    }

    /// Whether the configuration listens where the options say, and not where a file of the project's own does.
    pub fn listens_on_options(&self) -> Result<bool, Error> {
        Ok(self.project.read_optional(NGINX_CONF)?.is_none_or(|own| own.contains("{{listen}}")))
    }

    fn value(&self, name: &str, application: &Application) -> Result<Option<String>, Error> {
        let development = self.environment == DEVELOPMENT;
        let folder = |name: &str| escaped(&self.project.path(name));
        let one_of = |in_development: &str, elsewhere: &str| {
            if development { in_development } else { elsewhere }.to_string()
        };
        let value = match name {
            "load_module" => format!("load_module \"{}\";", escaped(&self.module()?)),
            "module" => escaped(&self.module()?),
            "user" => self.user(application, development)?,
            "env" => {
                let lines: Vec<_> =
                    application.env_var.iter().map(|name| format!("env {name};")).collect();
                lines.join("\n")
            }
            "worker_processes" => one_of("1", "auto"),
            "log_level" => one_of("notice", "warn"),
            "project" => escaped(&self.project.dir),
            "config" | "logs" | "temp" => folder(name),
            "app_name" => application.app_name.clone(),
            "environment" => self.environment.into(),
            "listen" => self.listen(),
            _ => return Ok(None),
        };
        Ok(Some(value))
    }

    pub fn listen(&self) -> String {
        std::net::SocketAddr::new(self.options.host, self.options.port).to_string()
    }

    fn module(&self) -> Result<std::path::PathBuf, Error> {
        nginx::find_module(self.options)
    }

    /// nginx started as root gives its workers another user. In development that is the one who edits the files.
    fn user(&self, application: &Application, development: bool) -> Result<String, Error> {
        if !Uid::effective().is_root() {
            return Ok(String::new());
        }
        let chosen = self.options.user.as_ref().or(application.user.as_ref());
        match chosen {
            Some(user) if is_user(user) => Ok(format!("user {user};")),
            Some(user) => Err(Error::Config {
                file: "--user".into(),
                line: None,
                message: format!(
                    "\"{user}\" is no user's name (see also user in {})",
                    application::FILE
                ),
            }),
            None if development => Ok("user root;".into()),
            None => Ok(String::new()),
        }
    }
}

fn escaped(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"")
}
