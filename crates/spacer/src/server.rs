//! nginx as a child process: its configuration in the project's temp/, its start, its signals, and its end.
//!
//! nginx leads a process group of its own, so that Ctrl-C reaches this command alone, which then ends nginx in order; and
//! so that no worker is overlooked at the end. Should this command be killed, the kernel ends nginx.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{fs, process, thread};

use application::Listen;
use nix::sys::prctl;
use nix::sys::signal::{self, Signal};
use nix::unistd::{getppid, Pid};

use crate::cli::ServerOptions;
use crate::config::Config;
use crate::error::Error;
use crate::project::Project;
use crate::{nginx, port};

const READY_SECONDS: u64 = 15;
const PRIVATE: &str = "privateListen in config/application.yml";
const SIGNALS: [Signal; 5] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGUSR1];

/// A project, and how it is to be served.
pub struct Site<'a> {
    pub project: &'a Project,
    pub options: &'a ServerOptions,
    pub environment: &'a str,
    nginx: PathBuf,
}

impl<'a> Site<'a> {
    /// Finds nginx and lets it check the configuration, and checks that nobody else listens where it will.
    pub fn prepare(
        project: &'a Project,
        options: &'a ServerOptions,
        environment: &'a str,
    ) -> Result<Site<'a>, Error> {
        let site =
            Site { project, options, environment, nginx: nginx::find_nginx(&options.nginx)? };
        project.make_folders()?;
        if site.config().listens_on_options()? {
            port::check_free(site.address(), "port with --port")?;
        }
        match &project.application(environment)?.private_listen {
            Some(Listen::Address(address)) if site.config().uses("private")? => {
                port::check_free(*address, PRIVATE)?;
            }
            Some(Listen::Unix(socket)) if site.config().uses("private")? => {
                port::free_socket(socket, PRIVATE)?;
            }
            _ => {}
        }
        site.install()?;
        Ok(site)
    }

    fn config(&self) -> Config<'_> {
        Config::server(self.project, self.options, self.environment)
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::new(self.options.host, self.options.port)
    }

    fn conf(&self) -> PathBuf {
        self.project.path("temp/nginx.conf")
    }

    pub fn error_log(&self) -> PathBuf {
        self.project.path("logs/error.log")
    }

    pub fn access_log(&self) -> PathBuf {
        self.project.path("logs/access.log")
    }

    /// Renders the configuration; it replaces the one in use only if nginx accepts it.
    pub fn install(&self) -> Result<(), Error> {
        let candidate = self.project.path("temp/nginx.conf.new");
        fs::write(&candidate, self.config().render()?).map_err(Error::file("write", &candidate))?;
        nginx::test(&self.nginx, self.project, &candidate)?;
        fs::rename(&candidate, self.conf()).map_err(Error::file("write", self.conf()))
    }

    pub fn start(&self) -> Result<Master, Error> {
        Master::start(&self.nginx, self.project, &self.conf(), &[("SPACER_ENV", self.environment)])
    }

    /// Waits until connections are accepted. Gives the signal that ended the wait, if one did.
    pub fn wait_until_ready(
        &self,
        master: &mut Master,
        signals: &Signals,
    ) -> Result<Option<Signal>, Error> {
        if !self.config().listens_on_options()? {
            return Ok(None);
        }
        let mut address = self.address();
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        let deadline = Instant::now() + Duration::from_secs(READY_SECONDS);
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            if let Some(status) = master.exited() {
                return Err(self.died(status));
            }
            if Instant::now() > deadline {
                return Err(Error::NotReady {
                    address: address.to_string(),
                    seconds: READY_SECONDS,
                    log: self.error_log(),
                });
            }
            let signal = signals.wait(Duration::from_millis(20));
            if let Some(Signal::SIGINT | Signal::SIGTERM | Signal::SIGQUIT) = signal {
                return Ok(signal);
            }
        }
        Ok(None)
    }

    pub fn died(&self, status: ExitStatus) -> Error {
        Error::Died { status, log: self.error_log() }
    }
}

/// The signals sent to this command, one after the other.
pub struct Signals {
    received: Receiver<Signal>,
}

impl Signals {
    pub fn new() -> Result<Signals, Error> {
        let mut source = signal_hook::iterator::Signals::new(SIGNALS.map(|signal| signal as i32))
            .map_err(Error::Signals)?;
        let (send, received) = mpsc::channel();
        thread::spawn(move || {
            for number in source.forever() {
                let Ok(signal) = Signal::try_from(number) else { continue };
                if send.send(signal).is_err() {
                    return;
                }
            }
        });
        Ok(Signals { received })
    }

    /// Whether a request to stop has come.
    pub fn stop(&self, timeout: Duration) -> bool {
        matches!(self.wait(timeout), Some(Signal::SIGINT | Signal::SIGTERM | Signal::SIGQUIT))
    }

    pub fn wait(&self, timeout: Duration) -> Option<Signal> {
        match self.received.recv_timeout(timeout) {
            Ok(signal) => Some(signal),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(timeout);
                None
            }
        }
    }
}

/// A running nginx. Dropping it ends it.
pub struct Master {
    child: Child,
    pid: Pid,
}

impl Master {
    /// Starts nginx with these environment variables beside this command's own.
    pub fn start(
        nginx: &Path,
        project: &Project,
        conf: &Path,
        variables: &[(&str, &str)],
    ) -> Result<Master, Error> {
        let mut command = Command::new(nginx);
        command
            .args(nginx::arguments(project, conf))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .process_group(0);
        let parent = Pid::from_raw(process::id() as i32);
        // SAFETY: between fork and exec only prctl and getppid are called, which are safe there.
        unsafe {
            command.pre_exec(move || {
                prctl::set_pdeathsig(Signal::SIGTERM)?;
                // The parent may have died before that took effect.
                if getppid() == parent {
                    Ok(())
                } else {
                    Err(io::ErrorKind::NotFound.into())
                }
            });
        }
        let child =
            command.spawn().map_err(|error| Error::NginxRun { path: nginx.into(), error })?;
        Ok(Master { pid: Pid::from_raw(child.id() as i32), child })
    }

    pub fn send(&self, signal: Signal) {
        // It may have exited just now, which is noticed where its end is waited for.
        let _ = signal::kill(self.pid, signal);
    }

    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends each signal in turn and gives nginx the time beside it, or as long as it wants, until it has exited. Another
    /// request to stop goes on to the next. `tick` is called all the while.
    pub fn stop(
        mut self,
        steps: &[(Signal, Option<Duration>)],
        signals: &Signals,
        mut tick: impl FnMut(),
    ) {
        for &(signal, grace) in steps {
            self.send(signal);
            let deadline = grace.map(|grace| Instant::now() + grace);
            while deadline.is_none_or(|deadline| Instant::now() < deadline) {
                tick();
                if self.exited().is_some() {
                    return;
                }
                let again = signals.wait(Duration::from_millis(20));
                if matches!(again, Some(Signal::SIGINT | Signal::SIGTERM)) {
                    break;
                }
            }
        }
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        if self.exited().is_none() || signal::killpg(self.pid, None).is_ok() {
            let _ = signal::killpg(self.pid, Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}
