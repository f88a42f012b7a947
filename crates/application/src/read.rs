//! From the file as it is written to what it means: variables are replaced, defaults filled in, values checked.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use eventlog::{Limits, Start, Timestamp, Topic, DEAD_SUFFIX};

use crate::distinct::Distinct;
use crate::file::{Chain, Events, File, Scalar, StorageEntry, Table};
use crate::listen::{self, Listen};
use crate::locate::{locate, Step};
use crate::variables::{expand, is_variable, Unresolved};
use crate::{units, Application, Error, Storage, Trigger, TriggerSettings, ENVIRONMENTS};

/// The only value of `spacerVersion`.
const VERSION: &str = "1";
/// The only kind of event.
const APPEND: &str = "APPEND";

pub struct Reader<'a> {
    pub text: &'a str,
    pub project: &'a Path,
    pub environment: &'a str,
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// A place in the file.
pub type Place<'a> = &'a [Step<'a>];

/// Why a value is refused.
pub enum Refused {
    /// It has a variable that is not set.
    Unset(Error),
    Wrong(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused::Wrong(error)
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        match refused {
            Refused::Unset(error) | Refused::Wrong(error) => error,
        }
    }
}

pub fn default_group(app_name: &str) -> String {
    match app_name {
        "" => "spacer".into(),
        name => format!("spacer-{name}"),
    }
}

impl Reader<'_> {
    pub fn read(&self) -> Result<Application, Error> {
        yaml_serde::from_str::<Distinct>(self.text)?;
        let file: File = yaml_serde::from_str(self.text)?;
        let Scalar(version) = &file.spacer_version;
        if version != VERSION {
            let message =
                format!("spacerVersion is {version}, this version of spacer reads {VERSION}");
            return Err(self.wrong(&[Step::Value("spacerVersion")], message));
        }
        let app_name = self.app_name(file.app_name)?;
        let topics = self.topics(file.topics.as_deref().unwrap_or_default())?;
        let triggers = self.triggers(file.events, &topics)?;
        // Nothing is invoked over HTTP, so that the address may be anything.
        self.optional_text("functionInvoker", file.function_invoker)?;
        let write_proxy_token = self.write_proxy_token(file.write_proxy_token)?;
        let write_proxy_listen =
            self.write_proxy_listen(file.write_proxy_listen, write_proxy_token.is_some())?;
        let limits = Limits::default();
        let environments = environments(file.log_storage.as_ref());
        let application = Application {
            user: self.user(file.user)?,
            env_var: self.env_var(file.env_var.as_deref().unwrap_or_default())?,
            storage: self.storage(file.log_storage, &app_name)?,
            consumer_group: self.consumer_group(file.consumer_group, &app_name)?,
            private_listen: self.private_listen(file.private_listen, write_proxy_listen)?,
            write_proxy_listen,
            write_proxy_token,
            limits: Limits {
                event_size: self
                    .size("maxEventSize", file.max_event_size)?
                    .unwrap_or(limits.event_size),
                queue: self.count("appendQueue", file.append_queue)?.unwrap_or(limits.queue),
                queue_size: self
                    .size("appendQueueSize", file.append_queue_size)?
                    .unwrap_or(limits.queue_size),
                append_timeout: self
                    .time("appendTimeout", file.append_timeout)?
                    .unwrap_or(limits.append_timeout),
                ..limits
            },
            trigger: self.trigger_settings(
                file.max_attempts,
                file.trigger_concurrency,
                file.retry_delay,
                file.max_retry_delay,
            )?,
            app_name,
            topics,
            triggers,
            environments,
        };
        application.check_environment(self.environment)?;
        Ok(application)
    }

    pub fn wrong(&self, place: Place<'_>, message: impl Into<String>) -> Error {
        Error::at(locate(self.text, place), message.into())
    }

    /// A value with its variables replaced.
    pub fn text(&self, place: Place<'_>, value: &str) -> Result<String, Refused> {
        expand(value, self.env).map_err(|unresolved| {
            let error = self.wrong(place, unresolved.message());
            match unresolved {
                Unresolved::Unset(_) => Refused::Unset(error),
                Unresolved::Syntax(_) => Refused::Wrong(error),
            }
        })
    }

    fn optional_text(&self, key: &str, value: Option<String>) -> Result<Option<String>, Error> {
        Ok(value.map(|value| self.text(&[Step::Value(key)], &value)).transpose()?)
    }

    fn app_name(&self, value: Option<String>) -> Result<String, Error> {
        let name = self.optional_text("appName", value)?.unwrap_or_default();
        if name.chars().any(|c| !c.is_ascii_alphanumeric() && c != '-') {
            let message = format!("appName {name:?}: use letters, digits and \"-\"");
            return Err(self.wrong(&[Step::Value("appName")], message));
        }
        Ok(name)
    }

    fn user(&self, value: Option<String>) -> Result<Option<String>, Error> {
        let user = self.optional_text("user", value)?;
        if let Some(user) = user.as_ref().filter(|user| !is_user(user)) {
            let message = format!("user {user:?}: use the name of one of this machine's users");
            return Err(self.wrong(&[Step::Value("user")], message));
        }
        Ok(user)
    }

    fn env_var(&self, names: &[String]) -> Result<Vec<String>, Error> {
        let mut read = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let place = [Step::Value("envVar"), Step::Item(i)];
            let name = self.text(&place, name)?;
            if !is_variable(&name) {
                let message =
                    format!("envVar {name:?}: use a variable's name, of letters, digits and \"_\"");
                return Err(self.wrong(&place, message));
            }
            read.push(name);
        }
        Ok(read)
    }

    fn topics(&self, names: &[String]) -> Result<Vec<Topic>, Error> {
        let mut topics: Vec<Topic> = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let place = [Step::Value("topics"), Step::Item(i)];
            let wrong = |message: String| Err(self.wrong(&place, message));
            let topic = match Topic::new(self.text(&place, name)?) {
                Ok(topic) => topic,
                Err(error) => return wrong(error.to_string()),
            };
            if topic.dead().is_none() {
                return wrong(format!(
                    "topic \"{topic}\": names that end in {DEAD_SUFFIX} are kept for dead letters, choose another"
                ));
            }
            // Stores compare the names of tables without regard to case.
            let same = |known: &&Topic| known.as_str().eq_ignore_ascii_case(topic.as_str());
            match topics.iter().find(same) {
                None => topics.push(topic),
                Some(known) if *known == topic => {
                    return wrong(format!("topic \"{topic}\" is listed twice"))
                }
                Some(known) => {
                    let what =
                        format!("differs from \"{known}\" only in case: choose another name");
                    return wrong(format!("topic \"{topic}\" {what}"));
                }
            }
        }
        Ok(topics)
    }

    fn triggers(&self, events: Option<Events>, topics: &[Topic]) -> Result<Vec<Trigger>, Error> {
        let mut triggers = Vec::new();
        for (name, kinds) in events.map(|table| table.0).unwrap_or_default() {
            let place = [Step::Value("events"), Step::Key(&name)];
            let Some(topic) = topics.iter().find(|topic| topic.as_str() == name) else {
                let message =
                    format!("events of topic {name:?}: add it to topics, or correct the name");
                return Err(self.wrong(&place, message));
            };
            let line = locate(self.text, &place).map_or(0, |location| location.line());
            for (kind, functions) in kinds.map(|table| table.0).unwrap_or_default() {
                let steps = [Step::Value("events"), Step::Value(&name)];
                if kind != APPEND {
                    let message =
                        format!("event {kind:?} of topic {name:?}: there is only {APPEND}");
                    return Err(self.wrong(&[steps[0], steps[1], Step::Key(&kind)], message));
                }
                let chains = functions.unwrap_or_default();
                triggers.extend(self.chains(topic, line, steps, chains)?);
            }
        }
        Ok(triggers)
    }

    /// The chains of functions of a topic, each of which may be named once.
    fn chains(
        &self,
        topic: &Topic,
        line: usize,
        [events, name]: [Step<'_>; 2],
        chains: Vec<Chain>,
    ) -> Result<Vec<Trigger>, Error> {
        let mut triggers: Vec<Trigger> = Vec::new();
        for (i, chain) in chains.into_iter().enumerate() {
            let place = [events, name, Step::Value(APPEND), Step::Item(i)];
            let mut functions = Vec::new();
            for function in &chain.functions {
                let function = self.text(&place, function)?;
                if function.is_empty() {
                    return Err(self.wrong(&place, "a function has no name"));
                }
                let mut known = triggers.iter().flat_map(|trigger| &trigger.functions);
                if known.any(|name| *name == function) || functions.contains(&function) {
                    return Err(
                        self.wrong(&place, format!("function {function:?} is listed twice"))
                    );
                }
                functions.push(function);
            }
            if functions.is_empty() {
                return Err(self.wrong(&place, "a chain has no function"));
            }
            let start = self.start(&place, chain.from)?;
            triggers.push(Trigger { topic: topic.clone(), functions, start, line });
        }
        Ok(triggers)
    }

    fn start(&self, place: Place<'_>, from: Option<Scalar>) -> Result<Start, Error> {
        let Some(Scalar(from)) = from else { return Ok(Start::default()) };
        let from = self.text(place, &from)?;
        let time = || {
            let at = from.parse::<jiff::Timestamp>().ok()?;
            Some(Start::Time(Timestamp(at.as_millisecond().try_into().ok()?)))
        };
        let start = match from.as_str() {
            "beginning" => Some(Start::Earliest),
            "now" => Some(Start::Latest),
            offset if offset.bytes().all(|c| c.is_ascii_digit()) => {
                offset.parse().ok().map(Start::Offset)
            }
            _ => time(),
        };
        start.ok_or_else(|| {
            let message = format!(
                "from is {from:?}: use beginning, now, an offset, or a time such as 2026-11-21T09:30:00Z"
            );
            self.wrong(place, message)
        })
    }

    fn storage(
        &self,
        entries: Option<Table<StorageEntry>>,
        app_name: &str,
    ) -> Result<Storage, Error> {
        let mut storage = Storage::embedded(self.project, self.environment);
        for (environment, entry) in entries.map(|table| table.0).unwrap_or_default() {
            match entry.read(self, &environment, app_name) {
                Ok(found) if environment == self.environment => storage = found,
                Ok(_) => {}
                // Another environment's variables are set where it runs.
                Err(Refused::Unset(_)) if environment != self.environment => {}
                Err(refused) => return Err(refused.into()),
            }
        }
        Ok(storage)
    }

    fn consumer_group(&self, value: Option<String>, app_name: &str) -> Result<String, Error> {
        match self.optional_text("consumerGroup", value)? {
            Some(group) if group.is_empty() => {
                Err(self
                    .wrong(&[Step::Value("consumerGroup")], "consumerGroup is empty: name a group"))
            }
            Some(group) => Ok(group),
            None => Ok(default_group(app_name)),
        }
    }

    fn write_proxy_listen(
        &self,
        value: Option<Scalar>,
        has_token: bool,
    ) -> Result<Option<SocketAddr>, Error> {
        const KEY: &str = "writeProxyListen";
        let advice = "use PORT or ADDRESS:PORT, such as 9065";
        let listen = self.scalar(KEY, value, advice, listen::address)?;
        if listen.is_some_and(|address| !address.ip().is_loopback() && !has_token) {
            let message = format!("{KEY} is reached from other machines: set writeProxyToken");
            return Err(self.wrong(&[Step::Value(KEY)], message));
        }
        Ok(listen)
    }

    fn write_proxy_token(&self, value: Option<String>) -> Result<Option<String>, Error> {
        const KEY: &str = "writeProxyToken";
        let token = self.optional_text(KEY, value)?;
        let is_fit =
            |token: &String| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        match token {
            Some(token) if !is_fit(&token) => {
                let message = format!(
                    "{KEY} must be visible ASCII characters, such as those of openssl rand -hex 32"
                );
                Err(self.wrong(&[Step::Value(KEY)], message))
            }
            token => Ok(token),
        }
    }

    fn private_listen(
        &self,
        value: Option<Scalar>,
        write_proxy: Option<SocketAddr>,
    ) -> Result<Option<Listen>, Error> {
        const KEY: &str = "privateListen";
        let advice =
            "use PORT, ADDRESS:PORT with one address, such as 127.0.0.1:9066, or unix:PATH";
        let listen = self.scalar(KEY, value, advice, |text| Listen::private(text, self.project))?;
        let same = |address: &SocketAddr| listen == Some(Listen::Address(*address));
        if write_proxy.as_ref().is_some_and(same) {
            let message = format!("{KEY} is the address of writeProxyListen: use another one");
            return Err(self.wrong(&[Step::Value(KEY)], message));
        }
        Ok(listen)
    }

    fn size(&self, key: &str, value: Option<Scalar>) -> Result<Option<usize>, Error> {
        self.scalar(key, value, "use bytes, or a size such as 512k or 1m", |text| {
            units::size(text).filter(|size| *size > 0)
        })
    }

    fn trigger_settings(
        &self,
        max_attempts: Option<Scalar>,
        concurrency: Option<Scalar>,
        retry_delay: Option<Scalar>,
        max_retry_delay: Option<Scalar>,
    ) -> Result<TriggerSettings, Error> {
        let default = TriggerSettings::default();
        let retry_delay = self.time("retryDelay", retry_delay)?;
        let max_retry_delay = self.time("maxRetryDelay", max_retry_delay)?;
        let settings = TriggerSettings {
            max_attempts: self.count("maxAttempts", max_attempts)?.unwrap_or(default.max_attempts),
            concurrency: self
                .count("triggerConcurrency", concurrency)?
                .unwrap_or(default.concurrency),
            retry_delay: retry_delay.unwrap_or(default.retry_delay),
            max_retry_delay: max_retry_delay.unwrap_or(default.max_retry_delay),
        };
        if settings.retry_delay > settings.max_retry_delay {
            let (key, what) = match max_retry_delay {
                Some(_) => ("maxRetryDelay", "less than retryDelay"),
                None => ("retryDelay", "more than maxRetryDelay"),
            };
            let message =
                format!("{key} is {what}: the wait grows from retryDelay to maxRetryDelay");
            return Err(self.wrong(&[Step::Value(key)], message));
        }
        Ok(settings)
    }

    fn time(&self, key: &str, value: Option<Scalar>) -> Result<Option<Duration>, Error> {
        self.scalar(key, value, "use a time such as 500ms or 5s", |text| {
            units::time(text).filter(|time| !time.is_zero())
        })
    }

    fn count<T>(&self, key: &str, value: Option<Scalar>) -> Result<Option<T>, Error>
    where
        T: std::str::FromStr + Default + PartialEq,
    {
        self.scalar(key, value, "use a whole number above 0", |text| {
            text.parse().ok().filter(|count| *count != T::default())
        })
    }

    fn scalar<T>(
        &self,
        key: &str,
        value: Option<Scalar>,
        advice: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(Scalar(value)) = value else { return Ok(None) };
        let place = [Step::Value(key)];
        let text = self.text(&place, &value)?;
        let wrong = || self.wrong(&place, format!("{key} {text:?}: {advice}"));
        read(&text).map(Some).ok_or_else(wrong)
    }
}

/// Those of every project, and those that `logStorage` names beside them.
fn environments(entries: Option<&Table<StorageEntry>>) -> Vec<String> {
    let mut known = ENVIRONMENTS.map(String::from).to_vec();
    for (name, _) in entries.iter().flat_map(|table| &table.0) {
        if !known.contains(name) {
            known.push(name.clone());
        }
    }
    known
}

/// Whether it can be a user's name.
pub fn is_user(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !name.is_empty() && name.chars().all(allowed)
}
