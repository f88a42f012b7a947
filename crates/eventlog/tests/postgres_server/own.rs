//! A server of a test's own, to be stopped, crashed and paused.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

pub struct OwnServer {
    folder: TempDir,
    bin: PathBuf,
    port: u16,
}

impl OwnServer {
    pub fn start() -> OwnServer {
        let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
            .expect("PostgreSQL is missing: install Debian's postgresql")
            .map(|entry| entry.expect("read").path().join("bin"))
            .filter(|bin| bin.join("postgres").exists())
            .collect();
        found.sort();
        let bin = found.pop().expect("PostgreSQL is missing: install Debian's postgresql");
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let server = OwnServer { folder, bin, port };
        if is_root() {
            // PostgreSQL refuses to run as root.
            run(Command::new("chown").arg("postgres:").arg(server.folder.path()));
        }
        let data = server.data();
        let mut initdb = server.command("initdb");
        run(initdb.arg("-D").arg(&data).args(["-U", "postgres", "--auth=trust", "-E", "UTF8"]));
        server.start_again();
        server
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, name: &str) -> Command {
        let program = self.bin.join(name);
        let mut command = match is_root() {
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(program);
                command
            }
            false => Command::new(program),
        };
        command.current_dir(self.folder.path());
        command
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Writes files into the data folder, adds settings, sets who may connect, and starts the server again.
    pub fn configure(&self, files: &[(&str, &[u8])], settings: &str, hba: &str) {
        for (name, contents) in files {
            let path = self.data().join(name);
            fs::write(&path, contents).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
            if is_root() {
                run(Command::new("chown").arg("postgres:").arg(&path));
            }
        }
        let path = self.data().join("postgresql.conf");
        let before = fs::read_to_string(&path).expect("read");
        fs::write(&path, format!("{before}\n{settings}\n")).expect("written");
        fs::write(self.data().join("pg_hba.conf"), hba).expect("written");
        self.stop(false);
        self.start_again();
    }

    pub fn conninfo(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    pub fn start_again(&self) {
        let options = format!("-p {} -c listen_addresses=127.0.0.1", self.port);
        let options = format!("{options} -c unix_socket_directories=''");
        let options = format!("{options} -c max_prepared_transactions=10");
        let log = self.folder.path().join("log");
        let mut command = self.command("pg_ctl");
        command.arg("-D").arg(self.data()).arg("-l").arg(log);
        run(command.args(["-s", "-w", "-t", "60", "-o", &options, "start"]));
    }

    /// Ends the server; `crash` leaves its files as a crash would.
    pub fn stop(&self, crash: bool) {
        let mode = if crash { "immediate" } else { "fast" };
        let mut command = self.command("pg_ctl");
        run(command.arg("-D").arg(self.data()).args(["-s", "-w", "-m", mode, "stop"]));
    }

    /// Stops every process of the server where it is.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = fs::read_to_string(self.data().join("postmaster.pid")).expect("a server's file");
        let pid = pid.lines().next().expect("a process id");
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.expect("the server's processes");
        run(Command::new("kill").arg(signal).arg(pid).args(children.split_whitespace()));
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let mut command = self.command("pg_ctl");
        command.arg("-D").arg(self.data()).args(["-s", "-w", "-m", "immediate", "stop"]);
        // A test that fails may have left it stopped, or none at all.
        drop(command.output());
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

fn run(command: &mut Command) {
    // pg_ctl leaves the server behind, which mustn't hold a pipe that is waited for.
    let (null, out) = (std::process::Stdio::null(), std::process::Stdio::null());
    let status = command.stdin(null).stdout(out).stderr(std::process::Stdio::null()).status();
    assert!(status.expect("run").success(), "{command:?} failed");
}
