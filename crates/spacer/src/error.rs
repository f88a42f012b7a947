//! What can go wrong, as a person reads it: the thing, what is wrong with it, and what to do.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} has {files}, which `spacer init` would overwrite: name another folder", dir.display())]
    Exists { dir: PathBuf, files: String },
    #[error("{} is not a Spacer project: {missing} is missing (`spacer init DIR` makes a project)", dir.display())]
    NotAProject { dir: PathBuf, missing: &'static str },
    #[error("the project's path {} contains \"$\", which nginx reads as a variable: rename the folder", .0.display())]
    DollarInPath(PathBuf),
    #[error("can't {action} {}: {error}", file.display())]
    File { action: &'static str, file: PathBuf, error: io::Error },
    #[error("{file}{}: {message}", line.map(|line| format!(":{line}")).unwrap_or_default())]
    Config { file: String, line: Option<usize>, message: String },
    #[error(transparent)]
    Application(#[from] application::Error),
    #[error(transparent)]
    Gateway(#[from] gateway::Error),
    #[error(transparent)]
    Log(#[from] eventlog::Error),
    #[error("the log of environment {environment} is in nginx's memory (driver: memory), where no command can look")]
    MemoryLog { environment: String },
    #[error(
        "environment {environment} has no event log, {} isn't there: logs are there of {others}, see --env",
        path.display()
    )]
    NoLog { environment: String, path: PathBuf, others: String },
    #[error("topic \"{name}\" is not in the log, {}", there_are(known))]
    UnknownTopic { name: String, known: String },
    #[error(
        "topic \"{name}\" is not in topics of {}, {}: add it there first",
        application::FILE,
        there_are(known)
    )]
    UndeclaredTopic { name: String, known: String },
    #[error("{}", .0.join("\n  "))]
    Letters(Vec<String>),
    #[error("{}", .0.join("\n  "))]
    Functions(Vec<String>),
    #[error("function \"{name}\": {what}")]
    Function { name: String, what: String },
    #[error("can't read the standard input: {0}")]
    Input(io::Error),
    #[error("can't write the output: {0}")]
    Output(io::Error),
    #[error("nginx is not on the PATH and not at /usr/sbin/nginx: install it, or name it with --nginx or SPACER_NGINX")]
    NoNginx,
    #[error("the nginx {} can't be run: {error}", path.display())]
    NginxRun { path: PathBuf, error: io::Error },
    #[error(
        "ngx_http_spacer_module.so was found neither beside this command nor in nginx's folder of modules ({looked}): \
         build it with `make build`, or name it with --module or SPACER_MODULE"
    )]
    NoModule { looked: String },
    #[error("the module {} does not exist (named by --module or SPACER_MODULE)", .0.display())]
    ModuleMissing(PathBuf),
    #[error("nginx refuses the configuration {}; its words are above", .0.display())]
    Refused(PathBuf),
    #[error("{address} is taken by {owner}: stop it, or choose another {setting}")]
    Taken { address: String, owner: String, setting: &'static str },
    #[error("can't listen on {address}: {error}")]
    Listen { address: String, error: io::Error },
    #[error("nginx stopped by itself ({status}); {} may say why", log.display())]
    Died { status: std::process::ExitStatus, log: PathBuf },
    #[error("nginx does not accept connections on {address} after {seconds} s; {} may say why", log.display())]
    NotReady { address: String, seconds: u64, log: PathBuf },
    #[error("the name of the socket {} is too long: set TMPDIR to a folder with a shorter name", .0.display())]
    LongSocket(PathBuf),
    #[error("{0}")]
    Replay(String),
    #[error(
        "{failed} of the events failed for good: they are in {dead}, see `spacer topics dead list`"
    )]
    ReplayFailed { failed: u64, dead: String },
    #[error("interrupted; this goes on where it stopped: {resume}")]
    Interrupted { resume: String },
    #[error("can't handle signals: {0}")]
    Signals(io::Error),
}

impl Error {
    /// For `map_err`: an I/O error with the file it is about.
    pub fn file(action: &'static str, file: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let file = file.into();
        move |error| Error::File { action, file, error }
    }
}

fn there_are(names: &str) -> String {
    match names {
        "" => "there are none".into(),
        names => format!("there are {names}"),
    }
}
