//! The private nginx: started behind a socket in a folder of its own, and gone with the replay.

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::cli::NginxOptions;
use crate::config::{escaped, Config, Template};
use crate::error::Error;
use crate::nginx;
use crate::project::Project;
use crate::server::{Master, Signals};

const TEMPLATE: Template = Template {
    file: "config/replay.conf",
    text: include_str!("../../../../nginx-conf/replay.conf"),
};
const READY_SECONDS: u64 = 15;
/// The kernel's limit for the name of a socket (unix(7)), with room for nginx's own.
const SOCKET_NAME_MAX: usize = 100;
/// Functions have ended by then; what they left to timers may finish.
const STOP: [(Signal, Option<Duration>); 2] = [
    (Signal::SIGQUIT, Some(Duration::from_secs(12))),
    (Signal::SIGTERM, Some(Duration::from_secs(2))),
];

pub struct Child {
    master: Master,
    log: PathBuf,
    socket: PathBuf,
    token: String,
    // Removed after nginx has ended.
    _run: TempDir,
}

impl Child {
    pub fn start(
        project: &Project,
        options: &NginxOptions,
        environment: &str,
        signals: &Signals,
    ) -> Result<Child, Error> {
        project.make_folders()?;
        let run = private_folder()?;
        let socket = run.path().join("replay.sock");
        if socket.as_os_str().len() > SOCKET_NAME_MAX {
            return Err(Error::LongSocket(socket));
        }
        let places = vec![("run", escaped(run.path())), ("socket", escaped(&socket))];
        let text = Config::new(project, options, environment, &TEMPLATE, places).render()?;
        let conf = run.path().join("nginx.conf");
        fs::write(&conf, text).map_err(Error::file("write", &conf))?;
        let path = nginx::find_nginx(options)?;
        nginx::test(&path, project, &conf)?;
        let token = token()?;
        let variables = [("SPACER_ENV", environment), ("SPACER_PRIVATE_TOKEN", &token)];
        let master = Master::start(&path, project, &conf, &variables)?;
        let log = project.path("logs/replay.log");
        let mut child = Child { master, log, socket, token, _run: run };
        child.wait_until_ready(signals)?;
        Ok(child)
    }

    fn wait_until_ready(&mut self, signals: &Signals) -> Result<(), Error> {
        let deadline = Instant::now() + Duration::from_secs(READY_SECONDS);
        while UnixStream::connect(&self.socket).is_err() {
            self.check()?;
            if Instant::now() > deadline {
                return Err(Error::NotReady {
                    address: self.socket.display().to_string(),
                    seconds: READY_SECONDS,
                    log: self.log.clone(),
                });
            }
            if signals.stop(Duration::from_millis(20)) {
                return Err(Error::Interrupted { resume: super::command_line() });
            }
        }
        Ok(())
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What opens `spacer_trigger` there, in every environment.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Fails when nginx has ended.
    pub fn check(&mut self) -> Result<(), Error> {
        match self.master.exited() {
            Some(status) => Err(Error::Died { status, log: self.log.clone() }),
            None => Ok(()),
        }
    }

    /// Ends nginx in order; another request to stop hurries it.
    pub fn stop(self, signals: &Signals) {
        self.master.stop(&STOP, signals, || ());
    }
}

/// A folder that nobody else can enter.
fn private_folder() -> Result<TempDir, Error> {
    let folder = std::env::temp_dir();
    tempfile::Builder::new()
        .prefix("spacer-replay-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .map_err(Error::file("make a folder in", folder))
}

/// A secret that nobody has had before.
fn token() -> Result<String, Error> {
    let mut bytes = [0u8; 16];
    let file = "/dev/urandom";
    let mut source = File::open(file).map_err(Error::file("open", file))?;
    source.read_exact(&mut bytes).map_err(Error::file("read", file))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_the_socket_is_private_and_goes() {
        let folder = private_folder().unwrap();
        let path = folder.path().to_owned();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        drop(folder);
        assert!(!path.exists());
    }
}
