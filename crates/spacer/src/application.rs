//! `config/application.yml`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::Error;
use crate::project::APPLICATION;

/// The only value of `spacerVersion`.
const VERSION: u32 = 1;

/// The file as it is written. A key without a value is as good as one that is left out.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    spacer_version: u32,
    app_name: Option<String>,
    #[serde(rename = "user")]
    user: Option<String>,
    env_var: Option<Vec<String>>,
    // What topics and triggers are configured by is accepted here and read where they run.
    #[serde(rename = "topics")]
    _topics: Option<Vec<String>>,
    #[serde(rename = "events")]
    _events: Option<BTreeMap<String, yaml_serde::Value>>,
    #[serde(rename = "logStorage")]
    _log_storage: Option<BTreeMap<String, yaml_serde::Value>>,
    #[serde(rename = "consumerGroup")]
    _consumer_group: Option<String>,
    #[serde(rename = "functionInvoker")]
    _function_invoker: Option<String>,
    #[serde(rename = "writeProxyListen")]
    _write_proxy_listen: Option<String>,
}

/// What the command needs of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Application {
    pub app_name: String,
    /// The user that nginx's workers run as when it is started as root.
    pub user: Option<String>,
    /// Environment variables that functions may read.
    pub env_var: Vec<String>,
}

impl Application {
    pub fn parse(text: &str) -> Result<Application, Error> {
        let fail = |line: Option<usize>, message: String| Error::Config {
            file: APPLICATION.into(),
            line,
            message,
        };
        let file: File = yaml_serde::from_str(text).map_err(|error| {
            let line = error.location().map(|location| location.line());
            let message = error.to_string();
            let end = message.rfind(" at line ").unwrap_or(message.len());
            fail(line, message[..end].into())
        })?;
        let line =
            |needle: &str| text.lines().position(|line| line.contains(needle)).map(|i| i + 1);
        if file.spacer_version != VERSION {
            return Err(fail(
                line("spacerVersion"),
                format!(
                    "spacerVersion is {}, this version of spacer reads {VERSION}",
                    file.spacer_version
                ),
            ));
        }
        let app_name = file.app_name.unwrap_or_default();
        if app_name.chars().any(|c| !c.is_ascii_alphanumeric() && c != '-') {
            return Err(fail(
                line("appName"),
                format!("appName \"{app_name}\": use letters, digits and \"-\""),
            ));
        }
        let env_var = file.env_var.unwrap_or_default();
        if let Some(name) = env_var.iter().find(|name| !is_variable(name)) {
            return Err(fail(
                line(name).or_else(|| line("envVar")),
                format!("envVar \"{name}\": use a variable's name, of letters, digits and \"_\""),
            ));
        }
        if let Some(user) = &file.user {
            if !is_user(user) {
                return Err(fail(
                    line("user"),
                    format!("user \"{user}\": use the name of one of this machine's users"),
                ));
            }
        }
        Ok(Application { app_name, user: file.user, env_var })
    }
}

fn is_variable(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(allowed) && !name.starts_with(|c: char| c.is_ascii_digit())
}

pub fn is_user(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !name.is_empty() && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let error = Application::parse(text).expect_err("the file was accepted").to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn keys_without_a_value_are_as_good_as_left_out() {
        let application =
            Application::parse("spacerVersion: 1\nappName: blog\ntopics:\n  # - users\nenvVar:\n")
                .unwrap();
        assert_eq!(application, Application { app_name: "blog".into(), ..Default::default() });
    }

    #[test]
    fn every_key_of_topics_and_triggers_is_accepted() {
        let text = "spacerVersion: 1\nappName: blog\ntopics: [users]\nevents:\n  users:\n    APPEND: [f, g]\n\
                    envVar: [A, B_2]\nuser: www-data\nlogStorage:\n  production: {driver: kafka, brokers: ['localhost:9092']}\n\
                    consumerGroup: x\nfunctionInvoker: http://localhost:3000\nwriteProxyListen: ':9065'\n";
        let application = Application::parse(text).unwrap();
        assert_eq!(application.env_var, ["A", "B_2"]);
        assert_eq!(application.user.as_deref(), Some("www-data"));
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        refused("spacerVersion: 2\n", "config/application.yml:1: spacerVersion is 2");
        refused(
            "spacerVersion: 1\nappName: my_app\n",
            "config/application.yml:2: appName \"my_app\": use",
        );
        refused(
            "spacerVersion: 1\nenvVar:\n  - A\n  - B=C\n",
            "config/application.yml:4: envVar \"B=C\": use",
        );
        refused(
            "spacerVersion: 1\nenvVars: []\n",
            "config/application.yml:2: unknown field `envVars`",
        );
        refused("spacerVersion: 1\nappName: [\n", "config/application.yml:2: ");
        refused("appName: blog\n", "config/application.yml:1: missing field `spacerVersion`");
        refused("spacerVersion: 1\nuser: \"a;b\"\n", "config/application.yml:2: user \"a;b\"");
    }
}
