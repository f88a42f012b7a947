//! What answers for functions where there is no Spacer module: a server on a socket, behind the nginx that the command
//! starts, that records every request.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

/// Answers a request's body with a status and an error message.
type Answer = dyn Fn(&Value) -> (u16, &'static str) + Send + Sync;

pub struct Functions {
    dir: TempDir,
    requests: Arc<Mutex<Vec<Value>>>,
    /// The secrets that requests came with.
    tokens: Arc<Mutex<BTreeSet<String>>>,
}

impl Functions {
    pub fn new(
        answer: impl Fn(&Value) -> (u16, &'static str) + Send + Sync + 'static,
    ) -> Functions {
        let functions = Functions {
            dir: TempDir::new().unwrap(),
            requests: Arc::default(),
            tokens: Arc::default(),
        };
        let listener = UnixListener::bind(functions.socket()).unwrap();
        let (requests, tokens) = (functions.requests.clone(), functions.tokens.clone());
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (requests, tokens) = (requests.clone(), tokens.clone());
                let answer = answer.clone();
                thread::spawn(move || serve(stream, &requests, &tokens, answer.as_ref()));
            }
        });
        functions
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("functions.sock")
    }

    /// A project's config/replay.conf that reaches this server.
    pub fn conf(&self) -> String {
        format!(
            "pid \"{{{{run}}}}/nginx.pid\";\nerror_log \"{{{{logs}}}}/replay.log\" {{{{log_level}}}};\n{{{{user}}}}\n\
             events {{}}\nhttp {{\n  access_log off;\n  client_body_temp_path \"{{{{temp}}}}/body\";\n  proxy_read_timeout 1d;\n\
             keepalive_requests 100000;\n  server {{\n    listen \"unix:{{{{socket}}}}\";\n\
             location = /trigger {{ proxy_pass http://unix:{}:/trigger; }}\n  }}\n}}\n",
            self.socket().display()
        )
    }

    pub fn requests(&self) -> Vec<Value> {
        self.requests.lock().unwrap().clone()
    }

    pub fn tokens(&self) -> BTreeSet<String> {
        self.tokens.lock().unwrap().clone()
    }

    /// The offsets that a function was asked to handle, as they came.
    pub fn offsets(&self, function: &str) -> Vec<u64> {
        let requests = self.requests();
        let of_function = requests.iter().filter(|request| request["function"] == function);
        of_function.map(|request| request["offset"].as_u64().unwrap()).collect()
    }
}

/// One request: nginx closes the connection after each.
fn serve(
    stream: UnixStream,
    requests: &Mutex<Vec<Value>>,
    tokens: &Mutex<BTreeSet<String>>,
    answer: &Answer,
) {
    let mut reader = BufReader::new(&stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("x-spacer-private-token:") {
            tokens.lock().unwrap().insert(value.trim().into());
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let request: Value = serde_json::from_slice(&body).unwrap();
    requests.lock().unwrap().push(request.clone());
    let (status, message) = answer(&request);
    let body = match status {
        200 => "{\"data\":null}".into(),
        _ => serde_json::json!({ "error": message }).to_string(),
    };
    // The command may have been killed meanwhile.
    let _ = write!(&stream, "HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
}
