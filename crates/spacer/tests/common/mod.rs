//! The built command, and projects to run it on.

// Each test file uses its own part of this one.
#![allow(dead_code)]

pub mod functions;
pub mod replay;
pub mod topics;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A configuration that any nginx can serve, without the Spacer module.
pub const PLAIN: &str = "pid \"{{temp}}/nginx.pid\";\nerror_log \"{{logs}}/error.log\" {{log_level}};\n\
    {{user}}\n{{env}}\nevents {}\nhttp {\n  log_format short '[$status] $request';\n  access_log \"{{logs}}/access.log\" short;\n\
    client_body_temp_path \"{{temp}}/body\";\n  server {\n    listen {{listen}};\n    location / { return 200 one; }\n\
    location /missing { return 404; }\n  }\n}\n";

pub fn spacer() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spacer"));
    command.env_remove("SPACER_MODULE").env_remove("NO_COLOR");
    command
}

pub struct Project {
    dir: TempDir,
}

impl Project {
    pub fn new() -> Project {
        let project = Project { dir: TempDir::new().unwrap() };
        let output = spacer().arg("init").arg(project.dir.path().join("shop_2")).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        project
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("shop_2")
    }

    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.path().join(file), text).unwrap();
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        spacer().args(arguments).current_dir(self.path()).output().unwrap()
    }

    /// Runs a command that must fail, and gives what it says.
    #[track_caller]
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
        text(&output.stderr)
    }
}

/// A server in the background, with its output in a file.
pub struct Server {
    pub child: Child,
    pub port: u16,
    output: PathBuf,
}

impl Server {
    pub fn start(project: &Project, arguments: &[&str]) -> Server {
        let port = free_port();
        let output = project.path().join("temp/output");
        let file = fs::File::create(&output).unwrap();
        let child = spacer()
            .args(arguments)
            .args(["--port", &port.to_string()])
            .current_dir(project.path())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let server = Server { child, port, output };
        server.wait_for(|_| TcpStream::connect(("127.0.0.1", port)).is_ok());
        server
    }

    pub fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }

    #[track_caller]
    pub fn wait_for(&self, is_so: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_so(&self.output()) {
            assert!(Instant::now() < deadline, "waited in vain; the output is\n{}", self.output());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end and for the port to be free; gives the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        self.wait_for(|_| TcpListener::bind(("127.0.0.1", self.port)).is_ok());
        code
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The processes whose command line names a folder.
pub fn processes_of(dir: &Path) -> Vec<String> {
    let needle = dir.to_str().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| text(&line))
        .filter(|line| line.contains(needle) && line.contains("nginx"))
        .collect()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
