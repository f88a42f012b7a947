//! A member's own thread: it talks to the group, takes in events (`assignment`), and commits positions, each commit as
//! soon as the one before is through.
//!
//! The broker hears heartbeats while the process lives, and gives the partitions to others when it has heard none for the
//! session's time. A user who gives no sign of life for the lease, in a process that lives, makes this thread leave the
//! group until there is one again.

use std::sync::atomic::Ordering;
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::assignment::{Client, Context};
use super::member::{Place, Shared};
use super::settings::PATIENCE;

/// At most so often are positions committed.
const COMMIT_PAUSE: Duration = Duration::from_millis(20);
/// How often the thread looks without having been woken.
pub(super) const LOOK_ANYWAY: Duration = Duration::from_millis(250);

/// The life of a member's thread.
pub(super) fn run(shared: &Arc<Shared>) {
    while !serve(shared) {
        // librdkafka gave up the client, not the group its member.
        shared.state().lose_all();
        shared.changed.notify();
        thread::sleep(LOOK_ANYWAY);
    }
    let mut state = shared.state();
    state.lose_all();
    state.ended = true;
    drop(state);
    shared.changed.notify();
}

/// Is a member until it is to end. Answers `false` if another client should be made.
fn serve(shared: &Arc<Shared>) -> bool {
    let context = Context::new(shared.clone());
    let config = shared.cluster.settings.member(&shared.subscription);
    let mut client: Client = match config.create_with_context(context) {
        Ok(client) => client,
        Err(error) => {
            shared.state().fault = Some(super::health::refused_settings(error));
            return true;
        }
    };
    let waker = shared.clone();
    client.set_nonempty_callback(move || waker.wake.notify());
    let client = Arc::new(client);
    let context = client.context().clone();
    // Only set here, once.
    drop(context.client.set(Arc::downgrade(&client)));
    let over = thread::scope(|scope| {
        let (commits, wanted) = mpsc::channel();
        let (client, context) = (&client, &context);
        scope.spawn(move || commit(shared, client, context, wanted));
        Session { shared, client, context, commits, subscribed: false, polled: 0 }.run()
    });
    context.close();
    over
}

/// Carries out commits. An asynchronous one of librdkafka's says how it ended only to a callback that the binding has
/// no way to set, so they are waited for here, where nobody else waits.
fn commit(
    shared: &Shared,
    client: &Client,
    context: &Context,
    wanted: mpsc::Receiver<TopicPartitionList>,
) {
    for list in wanted {
        match client.commit(&list, CommitMode::Sync) {
            Ok(()) => shared.cluster.health.well(),
            Err(error) => {
                shared.cluster.health.trouble(&error.to_string());
                let mut state = shared.state();
                for place in context.places(&list) {
                    if let Some(progress) = state.holdings.get_mut(&place) {
                        progress.changed = true;
                    }
                }
            }
        }
        context.committing.store(false, Ordering::Release);
        shared.wake.notify();
    }
}

struct Session<'a> {
    shared: &'a Arc<Shared>,
    client: &'a Arc<Client>,
    context: &'a Context,
    commits: mpsc::Sender<TopicPartitionList>,
    subscribed: bool,
    /// How often brokers had answered when it last heard librdkafka.
    polled: u64,
}

impl Session<'_> {
    fn run(&mut self) -> bool {
        let (mut next_commit, mut next_probe) = (Instant::now(), Instant::now());
        loop {
            let seen = self.shared.wake.count();
            self.poll();
            if let Some((code, reason)) = self.client.client().fatal_error() {
                return self.fatal(code, &reason);
            }
            let (ending, silent, down) = {
                let state = self.shared.state();
                (state.ending, state.silent(self.shared.subscription.lease), state.down)
            };
            if ending {
                self.give_up(true);
                self.leave();
                return true;
            }
            match (silent, self.subscribed) {
                (true, true) => self.give_up(false),
                (false, false) => self.subscribe(),
                _ => {}
            }
            if self.context.fetch() {
                self.shared.changed.notify();
            }
            let mut until = Instant::now() + LOOK_ANYWAY;
            if Instant::now() < next_commit {
                until = until.min(next_commit);
            } else if self.commit() {
                next_commit = Instant::now() + COMMIT_PAUSE;
            }
            // An answer to another client may be older than its trouble.
            let doubted = down.is_some_and(|at| at != self.shared.cluster.health.answers());
            if doubted || down.is_some() && Instant::now() >= next_probe {
                self.probe();
                next_probe = Instant::now() + Duration::from_secs(1);
            }
            self.shared.wake.wait(seen, until);
        }
    }

    /// Lets librdkafka call back, and hears what it has to say.
    fn poll(&mut self) {
        let polled = self.shared.cluster.health.answers();
        // A callback ends a poll, and its queue says only once that there is something in it.
        for _ in 0..4 {
            match self.client.poll(Duration::ZERO) {
                // It came before its partition had a queue of its own.
                Some(Ok(message)) => {
                    if let Some(place) = self.context.place(message.topic(), message.partition()) {
                        self.context.receive(&mut self.shared.state(), place, &message);
                        self.shared.changed.notify();
                    }
                }
                Some(Err(error)) => {
                    let health = &self.shared.cluster.health;
                    health.complaint(&error, &error.to_string());
                    let code = error.rdkafka_error_code();
                    if matches!(code, Some(RDKafkaErrorCode::AllBrokersDown)) {
                        // It may have waited since the last time.
                        self.shared.state().down = Some(self.polled);
                    }
                }
                None => {}
            }
        }
        self.polled = polled;
    }

    /// Begins a commit if there is something to commit and none is under way. Answers whether it did.
    fn commit(&self) -> bool {
        if self.context.committing.load(Ordering::Acquire) {
            return false;
        }
        let (mut state, mut commit) = (self.shared.state(), TopicPartitionList::new());
        for (place, progress) in state.holdings.iter_mut().filter(|(_, p)| p.changed) {
            self.context.add(&mut commit, *place, progress);
            progress.changed = false;
        }
        drop(state);
        if commit.count() == 0 {
            return false;
        }
        self.context.committing.store(true, Ordering::Release);
        // The receiver lives as long as this sender.
        self.commits.send(commit).is_ok()
    }

    /// Whether a broker answers again.
    fn probe(&self) {
        let name = self.shared.cluster.settings.name(&self.shared.subscription.topics[0]);
        let cluster = &self.shared.cluster;
        let before = cluster.health.answers();
        let answer = cluster.probe().fetch_metadata(Some(&name), Duration::from_secs(1));
        self.shared.state().down = match answer {
            Ok(_) => {
                cluster.health.well();
                None
            }
            Err(_) => Some(before),
        };
    }

    fn subscribe(&mut self) {
        let settings = &self.shared.cluster.settings;
        let mut names: Vec<String> =
            self.shared.subscription.topics.iter().map(|topic| settings.name(topic)).collect();
        names.sort_unstable();
        names.dedup();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match self.client.subscribe(&names) {
            Ok(()) => self.subscribed = true,
            Err(error) => self.shared.cluster.health.trouble(&error.to_string()),
        }
    }

    /// Commits what is finished, and leaves the group. The claims are lost from here on.
    fn give_up(&mut self, given_back: bool) {
        let mut state = self.shared.state();
        let places: Vec<Place> = state.holdings.keys().copied().collect();
        let commit = self.context.take(&mut state, &places, given_back);
        drop(state);
        self.shared.changed.notify();
        self.context.commit_last(self.client, &commit);
        self.client.unsubscribe();
        self.subscribed = false;
    }

    /// Waits until librdkafka has let go of the partitions, which is when it tells the group.
    fn leave(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.poll();
            if self.client.assignment().is_ok_and(|assignment| assignment.count() == 0) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn fatal(&self, code: RDKafkaErrorCode, reason: &str) -> bool {
        self.shared.cluster.health.trouble(reason);
        let replaced = code == RDKafkaErrorCode::FencedInstanceId;
        let mut state = self.shared.state();
        if replaced && state.fault.is_none() {
            state.fault = Some(self.shared.subscription.replaced());
        }
        replaced || state.ending
    }
}
