//! A connection on which nothing is waited for beyond a deadline.
//!
//! A server that hangs, in a stopped virtual machine for instance, says nothing, and its kernel goes on acknowledging what is
//! sent: neither TCP's timeouts nor the server's own end the wait. So each call of the log has a deadline, and what
//! waits for the server waits in tokio's timer as well, which costs no system call. A connection
//! that doesn't answer in time is closed and not used again, because the answer that comes later would be taken for the
//! next one's. The server then rolls back what wasn't committed, and what was is found by whoever tries again.
//!
//! `tokio-postgres` is driven by the calling thread on a runtime of the connection's own, and only while it waits.

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use postgres_openssl::TlsStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout_at;
use tokio_postgres::{AsyncMessage, Connection, Notification, Row, SimpleQueryMessage};
use tokio_postgres::{Client as Sender, Error, Socket, Statement};

use super::connection::Failure;
use super::conninfo::Conninfo;
use super::session::Params;

pub(super) struct Client {
    conninfo: Arc<Conninfo>,
    /// None when the connection is of no use any more.
    open: Option<Open>,
    deadline: Instant,
    /// Whether a server that answers others is waited for beyond the deadline.
    at_length: bool,
    notifications: Vec<Notification>,
}

struct Open {
    runtime: Runtime,
    sender: Sender,
    connection: Connection<Socket, TlsStream<Socket>>,
}

impl Client {
    pub fn connect(conninfo: &Arc<Conninfo>, deadline: Instant) -> Result<Client, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::Lost(format!("no event loop: {error}")))?;
        let attempt = async { timeout_at(deadline.into(), conninfo.connect(deadline)).await };
        match runtime.block_on(attempt) {
            Ok(Ok((sender, connection))) => {
                let open = Some(Open { runtime, sender, connection });
                let (conninfo, notifications) = (conninfo.clone(), Vec::new());
                Ok(Client { conninfo, open, deadline, at_length: false, notifications })
            }
            outcome => {
                // Doesn't wait for a look-up of names that may be under way.
                runtime.shutdown_background();
                Err(outcome.map_or_else(
                    |_| no_answer(conninfo),
                    |outcome| outcome.err().unwrap_or_else(|| no_answer(conninfo)),
                ))
            }
        }
    }

    pub fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// For work that may take its time, such as an index on a large table: as long as others can connect, the server
    /// works, and is waited for.
    pub fn set_at_length(&mut self, at_length: bool) {
        self.at_length = at_length;
    }

    pub fn prepare(&mut self, sql: &str) -> Result<Statement, Failure> {
        self.ask(async |sender| sender.prepare(sql).await)
    }

    pub fn query(&mut self, sql: &Statement, params: Params<'_>) -> Result<Vec<Row>, Failure> {
        self.ask(async |sender| sender.query(sql, params).await)
    }

    pub fn query_one(&mut self, sql: &Statement, params: Params<'_>) -> Result<Row, Failure> {
        self.ask(async |sender| sender.query_one(sql, params).await)
    }

    pub fn query_opt(
        &mut self,
        sql: &Statement,
        params: Params<'_>,
    ) -> Result<Option<Row>, Failure> {
        self.ask(async |sender| sender.query_opt(sql, params).await)
    }

    pub fn execute(&mut self, sql: &Statement, params: Params<'_>) -> Result<u64, Failure> {
        self.ask(async |sender| sender.execute(sql, params).await)
    }

    pub fn batch(&mut self, sql: &str) -> Result<(), Failure> {
        self.ask(async |sender| sender.batch_execute(sql).await)
    }

    pub fn simple(&mut self, sql: &str) -> Result<Vec<SimpleQueryMessage>, Failure> {
        self.ask(async |sender| sender.simple_query(sql).await)
    }

    /// What has been notified, after a wait of at most this long.
    pub fn notifications(&mut self, wait: Duration) -> Result<Vec<Notification>, Failure> {
        let Some(open) = &mut self.open else { return Err(closed()) };
        let arrived = &mut self.notifications;
        let Open { runtime, connection, .. } = open;
        let outcome = runtime.block_on(async {
            let arriving = poll_fn(|cx| match drive(connection, arrived, cx) {
                Ok(true) => Poll::Ready(Err(closed())),
                Ok(false) if arrived.is_empty() => Poll::Pending,
                Ok(false) => Poll::Ready(Ok(())),
                Err(error) => Poll::Ready(Err(error.into())),
            });
            tokio::time::timeout(wait, arriving).await
        });
        if let Ok(Err(failure)) = outcome {
            self.give_up();
            return Err(failure);
        }
        Ok(std::mem::take(&mut self.notifications))
    }

    /// Sends something, and waits for the answer.
    fn ask<T>(
        &mut self,
        question: impl AsyncFnOnce(&Sender) -> Result<T, Error>,
    ) -> Result<T, Failure> {
        let Some(Open { runtime, sender, connection }) = &mut self.open else {
            return Err(closed());
        };
        let mut lost = false;
        let outcome = {
            let mut answer = pin!(question(sender));
            loop {
                if Instant::now() < self.deadline {
                    let answered =
                        poll_fn(|cx| match drive(connection, &mut self.notifications, cx) {
                            // The question is told that there is no connection any more.
                            Ok(over) => {
                                lost |= over;
                                answer.as_mut().poll(cx).map_err(Failure::from)
                            }
                            Err(error) => {
                                lost = true;
                                Poll::Ready(Err(error.into()))
                            }
                        });
                    let deadline = self.deadline.into();
                    if let Ok(outcome) =
                        runtime.block_on(async { timeout_at(deadline, answered).await })
                    {
                        break outcome;
                    }
                }
                let next = Instant::now() + self.conninfo.patience;
                if !self.at_length || Client::connect(&self.conninfo, next).is_err() {
                    lost = true;
                    break Err(no_answer(&self.conninfo));
                }
                self.deadline = Instant::now() + self.conninfo.patience;
            }
        };
        if lost {
            self.give_up();
        }
        outcome
    }

    fn give_up(&mut self) {
        if let Some(Open { runtime, sender, connection }) = self.open.take() {
            drop((sender, connection));
            runtime.shutdown_background();
        }
    }
}

impl Drop for Client {
    /// Says good-bye, as far as that needs no waiting.
    fn drop(&mut self) {
        if let Some(Open { runtime, sender, mut connection }) = self.open.take() {
            drop(sender);
            let farewell = poll_fn(|cx| {
                let ended = drive(&mut connection, &mut self.notifications, cx);
                // Nobody is left to be told how it ended.
                drop(ended);
                Poll::Ready(())
            });
            runtime.block_on(farewell);
            runtime.shutdown_background();
        }
    }
}

/// Lets the connection do what can be done at this moment. Answers whether it is over.
fn drive(
    connection: &mut Connection<Socket, TlsStream<Socket>>,
    notifications: &mut Vec<Notification>,
    cx: &mut Context<'_>,
) -> Result<bool, Error> {
    loop {
        match connection.poll_message(cx) {
            Poll::Ready(Some(Ok(AsyncMessage::Notification(one)))) => notifications.push(one),
            // A warning is no failure.
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(error))) => return Err(error),
            Poll::Ready(None) => return Ok(true),
            Poll::Pending => return Ok(false),
        }
    }
}

fn no_answer(conninfo: &Conninfo) -> Failure {
    Failure::Lost(format!("no answer within {:?}", conninfo.patience))
}

fn closed() -> Failure {
    Failure::Lost("the connection is closed".into())
}
