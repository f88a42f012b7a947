//! Runs a function on an event: the one HTTP request that the private nginx answers.
//!
//! `POST /trigger` with the event and the function's name. The answer is 200 when the function returned, and otherwise
//! an error status and `{"error": message}`.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use eventlog::Event;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::Agent;

use crate::output;

/// The host stands for the socket.
const TRIGGER: &str = "http://spacer/trigger";
/// How much of an answer is read for its message.
const ERROR_SIZE: u64 = 64 << 10;

pub struct Client {
    agent: Agent,
    token: String,
}

/// Why a function did not return.
#[derive(Debug)]
pub enum Failure {
    /// It failed, with this message.
    Function(String),
    /// nginx gave no answer.
    Connection(String),
}

#[derive(Serialize)]
struct Request<'a> {
    topic: &'a str,
    function: &'a str,
    key: &'a str,
    partition: u32,
    offset: u64,
    /// Milliseconds since 1970.
    time: u64,
    attempt: u32,
    headers: serde_json::Map<String, serde_json::Value>,
    value: Box<RawValue>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl Client {
    /// A client of the server at a socket, which keeps so many connections; `token` is that server's secret.
    pub fn new(socket: &Path, token: &str, connections: usize) -> Client {
        let config = Config::builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            .max_idle_age(std::time::Duration::from_secs(3600))
            .build();
        let connector = UnixConnector { socket: socket.into() };
        Client { agent: Agent::with_parts(config, connector, NoResolver), token: token.into() }
    }

    pub fn run(&self, function: &str, event: &Event, attempt: u32) -> Result<(), Failure> {
        let body = request(function, event, attempt)
            .map_err(|error| Failure::Function(error.to_string()))?;
        let gone = |error: &dyn std::fmt::Display| Failure::Connection(error.to_string());
        let request = self.agent.post(TRIGGER).content_type("application/json");
        let request = request.header("X-Spacer-Private-Token", &self.token);
        let mut answer = request.send(&body[..]).map_err(|error| gone(&error))?;
        let status = answer.status();
        let mut text = Vec::new();
        let mut reader = answer.body_mut().as_reader();
        // All of it is read, so that the connection can be used again.
        reader.by_ref().take(ERROR_SIZE).read_to_end(&mut text).map_err(|error| gone(&error))?;
        io::copy(&mut reader, &mut io::sink()).map_err(|error| gone(&error))?;
        if status.is_success() {
            return Ok(());
        }
        let message = match serde_json::from_slice::<Refusal>(&text) {
            Ok(refusal) => refusal.error,
            Err(_) => format!("status {status} without a message"),
        };
        Err(Failure::Function(message))
    }
}

fn request(function: &str, event: &Event, attempt: u32) -> Result<Vec<u8>, crate::error::Error> {
    let headers = event.headers.iter().rev();
    let request = Request {
        topic: event.topic.as_str(),
        function,
        key: &event.key,
        partition: event.partition,
        offset: event.offset,
        time: event.time.0,
        attempt,
        // Of headers with the same name, the first counts.
        headers: headers.map(|(name, value)| (name.clone(), value.as_str().into())).collect(),
        value: output::raw(&event.value)?,
    };
    serde_json::to_vec(&request).map_err(|error| crate::error::Error::Output(error.into()))
}

#[derive(Debug)]
struct UnixConnector {
    socket: PathBuf,
}

impl<In: Transport> Connector<In> for UnixConnector {
    type Out = UnixTransport;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<In>,
    ) -> Result<Option<UnixTransport>, ureq::Error> {
        let stream = UnixStream::connect(&self.socket)?;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(UnixTransport { stream, buffers }))
    }
}

/// A connection without timeouts: a function may take its time, and the end of nginx ends the wait.
struct UnixTransport {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl std::fmt::Debug for UnixTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnixTransport").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Transport for UnixTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.write_all(&self.buffers.output()[..amount])?;
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// Between requests the server has nothing to say; an end of file says that it has closed.
    fn is_open(&mut self) -> bool {
        let mut probe = || -> io::Result<usize> {
            self.stream.set_nonblocking(true)?;
            let read = self.stream.read(&mut [0]);
            self.stream.set_nonblocking(false)?;
            read
        };
        probe().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// There is nothing to resolve.
#[derive(Debug)]
struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}
