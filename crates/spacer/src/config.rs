//! Renders a project's nginx configuration.

use std::net::SocketAddr;
use std::path::Path;

use application::{is_user, Application, Listen};
use nix::unistd::{Group, Uid, User};

use crate::cli::{NginxOptions, ServerOptions};
use crate::error::Error;
use crate::nginx;
use crate::project::{Project, NGINX_CONF};
use crate::template::{self, Failed};

pub const DEVELOPMENT: &str = "development";

/// A file that is filled in.
pub struct Template {
    /// The project's own, if it keeps one.
    pub file: &'static str,
    pub text: &'static str,
}

pub const SERVER: Template =
    Template { file: NGINX_CONF, text: include_str!("../../../nginx-conf/spacer.conf") };

/// The placeholders of every template, for the message about one that is none of them.
const NAMES: &str =
    "load_module, user, env, worker_processes, log_level, project, config, logs, temp, module, app_name, environment, \
     write_proxy, private";

pub struct Config<'a> {
    project: &'a Project,
    options: &'a NginxOptions,
    environment: &'a str,
    template: &'a Template,
    /// Placeholders that this template alone has, and their values.
    places: Vec<(&'static str, String)>,
}

impl<'a> Config<'a> {
    pub fn new(
        project: &'a Project,
        options: &'a NginxOptions,
        environment: &'a str,
        template: &'a Template,
        places: Vec<(&'static str, String)>,
    ) -> Config<'a> {
        Config { project, options, environment, template, places }
    }

    /// What a project is served with.
    pub fn server(
        project: &'a Project,
        options: &'a ServerOptions,
        environment: &'a str,
    ) -> Config<'a> {
        let listen = SocketAddr::new(options.host, options.port).to_string();
        Config::new(project, &options.nginx, environment, &SERVER, vec![("listen", listen)])
    }

    /// The project's own file if it keeps one, else the template, with its placeholders filled in.
    pub fn render(&self) -> Result<String, Error> {
        let application = self.project.application(self.environment)?;
        let own = self.project.read_optional(self.template.file)?;
        let template = own.as_deref().unwrap_or(self.template.text);
        template::render(template, |name| self.value(name, &application)).map_err(|failed| {
            match failed {
                Failed::Value(error) => error,
                Failed::Unknown(unknown) => {
                    let own: Vec<_> = self.places.iter().map(|(name, _)| *name).collect();
                    let message = format!(
                        "unknown placeholder {{{{{}}}}}: there are {NAMES} and {}",
                        unknown.name,
                        own.join(" and ")
                    );
                    let (file, line) = (self.template.file.into(), Some(unknown.line));
                    Error::Config { file, line, message }
                }
            }
        })
    }

    /// Whether the configuration listens where the options say, and not where a file of the project's own does.
    pub fn listens_on_options(&self) -> Result<bool, Error> {
        self.uses("listen")
    }

    /// Whether a placeholder is in the configuration, which may be a file of the project's own.
    pub fn uses(&self, placeholder: &str) -> Result<bool, Error> {
        let own = self.project.read_optional(self.template.file)?;
        let text = own.as_deref().unwrap_or(self.template.text);
        Ok(text.contains(&format!("{{{{{placeholder}}}}}")))
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
            "write_proxy" => application.write_proxy_listen.map_or(String::new(), write_proxy),
            "private" => application.private_listen.as_ref().map_or(String::new(), private_server),
            "app_name" => application.app_name.clone(),
            "environment" => self.environment.into(),
            _ => match self.places.iter().find(|(place, _)| *place == name) {
                Some((_, value)) => value.clone(),
                None => return Ok(None),
            },
        };
        Ok(Some(value))
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
            Some(user) if is_user(user) => Ok(user_directive(user)),
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

/// Without a group, nginx takes the one of the user's name, which not every user has.
fn user_directive(user: &str) -> String {
    let found = User::from_name(user).ok().flatten();
    let group = found.and_then(|user| Group::from_gid(user.gid).ok().flatten());
    match group.filter(|group| is_user(&group.name) && group.name != user) {
        Some(group) => format!("user {user} {};", group.name),
        None => format!("user {user};"),
    }
}

/// The server that takes events from other programs.
fn write_proxy(listen: SocketAddr) -> String {
    format!("server {{\n        listen {listen};\n        location / {{\n            spacer_append;\n        }}\n    }}")
}

/// The server that private functions and events of a replay are for.
fn private_server(listen: &Listen) -> String {
    format!(
        "server {{\n        listen \"{listen}\";\n        spacer_private;\n        location = /trigger {{\n            \
         spacer_trigger;\n        }}\n    }}"
    )
}

/// A path as it stands inside double quotes.
pub fn escaped(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"")
}
