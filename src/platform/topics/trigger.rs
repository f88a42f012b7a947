//! Triggers: runs a project's functions on the events that this worker has claimed.
//!
//! Each event is a request of the module's own ([`timer`]), in which `lua/spacer/trigger.lua` calls the functions one
//! after the other. How that ended decides what becomes of the event: it is finished, handed out again after a delay,
//! or, after the last attempt, kept in the dead-letter topic.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ptr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use eventlog::{Delivery, Outcome, Subscription, Topic};
use nginx_sys::*;

use super::consumer::{Ended, Membership};
use super::project::Project;
use super::store::Store;
use crate::lua::chunks;
use crate::nginx::cell::Worker;
use crate::nginx::{self, log_error, Request};
use crate::phase::timer::{self, Origin};
use crate::run::bridge;

/// Where `spacer.boot` has the function that runs an event's functions.
const TRIGGER: usize = 1;

/// How a worker that shuts down looks whether its triggers are done.
const LOOK: ngx_msec_t = 50;

/// The triggers of a project in this worker.
pub struct Triggers {
    project: Rc<Project>,
    membership: RefCell<State>,
    /// Keeps nginx from leaving while events are in hand. It is nginx's as long as it is set.
    hold: Box<Cell<ngx_event_t>>,
}

enum State {
    Member(Membership),
    /// Every event is settled, and the member about to leave.
    Leaving(Ended),
    Left,
}

/// An event and its functions, while they run.
pub struct Run {
    pub project: Rc<Project>,
    pub functions: Rc<[String]>,
    pub delivery: Delivery,
    /// Why the event is not finished, when Lua has said so.
    pub failure: Option<String>,
    /// Lua has come to the end of the functions.
    pub done: bool,
}

/// By the request that an event runs in.
static RUNS: Worker<Option<HashMap<Request, Run>>> = Worker::new(None);

fn runs() -> &'static mut HashMap<Request, Run> {
    // SAFETY: one thread, and no reference is kept while Lua runs or another one is asked for.
    unsafe { (*RUNS.get()).get_or_insert_default() }
}

/// The event that the request runs for.
pub fn run_of<'a>(r: Request) -> Option<&'a mut Run> {
    runs().get_mut(&r)
}

impl Triggers {
    /// Joins the group in the background. Events come back to this thread.
    pub fn start(project: &Rc<Project>, store: &Store) -> std::io::Result<Triggers> {
        let application = &project.application;
        let topics: Vec<Topic> =
            application.triggers.iter().map(|trigger| trigger.topic.clone()).collect();
        // SAFETY: nginx's own number, set when the worker starts; its successor's too.
        let name = project.member_name(&host_name(), unsafe { ngx_worker });
        let mut subscription = Subscription::new(&application.consumer_group, &topics, &name);
        subscription.concurrency = application.trigger.concurrency;
        let folder = project.folder.clone();
        let deliver = move |deliveries: Vec<Delivery>| {
            let folder = folder.clone();
            bridge::post(Box::new(move || {
                let topics = super::all().iter().find(|topics| topics.project.folder == folder);
                if let Some(triggers) = topics.and_then(|topics| topics.triggers.as_ref()) {
                    triggers.deliver(deliveries);
                }
            }));
        };
        // Wakes the event loop, so that a worker that shuts down sees that it may.
        let left = || bridge::post(Box::new(|| {}));
        let membership = Membership::start(store.shared().clone(), subscription, deliver, left)?;
        // SAFETY: all-zero is an event that isn't armed.
        let hold = Box::new(Cell::new(unsafe { std::mem::zeroed() }));
        let membership = RefCell::new(State::Member(membership));
        Ok(Triggers { project: project.clone(), membership, hold })
    }

    fn deliver(&self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            if self.is_draining() {
                self.settle(delivery, Outcome::Released);
            } else {
                self.run(delivery);
            }
        }
    }

    fn run(&self, delivery: Delivery) {
        let triggers = &self.project.application.triggers;
        let trigger = triggers.iter().find(|trigger| trigger.topic == delivery.event.topic);
        let Some(trigger) = trigger else {
            // The group has this topic from an earlier configuration.
            return self.settle(delivery, Outcome::Released);
        };
        // SAFETY: the worker runs on its cycle; the request is new, and known before its Lua runs.
        unsafe {
            let origin = Origin::first_server();
            let r = origin.map_or(ptr::null_mut(), |origin| timer::create(&origin, ended));
            if r.is_null() {
                let delay = self.project.application.trigger.max_retry_delay;
                return self.settle(delivery, Outcome::Retry(delay));
            }
            for (name, value) in &delivery.event.headers {
                if name.starts_with("x-spacer-") {
                    timer::add_header(r, name.as_bytes(), value.as_bytes());
                }
            }
            let run = Run {
                project: self.project.clone(),
                functions: trigger.functions.iter().cloned().collect(),
                delivery,
                failure: None,
                done: false,
            };
            runs().insert(r, run);
            timer::run(r, |ctx, l| {
                chunks::push_reference(l, ctx.vm().entry(TRIGGER));
                Ok(0)
            });
        }
    }

    fn finished(&self, run: Run) {
        let Run { delivery, failure, done, .. } = run;
        let failure = match (done, failure) {
            (true, failure) => failure,
            (false, failure) => Some(failure.unwrap_or_else(|| {
                // The log has the reason: Lua could not even report it.
                "the function was ended from outside, see the error log".to_owned()
            })),
        };
        let Some(failure) = failure else {
            return self.settle(delivery, Outcome::Finished);
        };
        let delay = self.project.application.trigger.delay_after(delivery.attempt());
        self.report(&delivery, &failure, delay);
        let outcome = match delay {
            Some(delay) => Outcome::Retry(delay),
            None => Outcome::Dead(failure),
        };
        self.settle(delivery, outcome);
    }

    /// What a failed attempt leaves in the log.
    fn report(&self, delivery: &Delivery, failure: &str, delay: Option<Duration>) {
        let (event, attempt) = (&delivery.event, delivery.attempt());
        let attempts = self.project.application.trigger.max_attempts;
        let (level, next) = match delay {
            Some(delay) => (NGX_LOG_WARN, format!("it is tried again in {} ms", delay.as_millis())),
            None => (NGX_LOG_ERR, format!("it goes to topic \"{}.dead\"", event.topic)),
        };
        // SAFETY: a worker has a cycle.
        unsafe {
            log_error!(
                level,
                (*ngx_cycle).log,
                "event {} of topic \"{}\", key \"{}\": attempt {attempt} of {attempts} failed, {next}: {failure}",
                event.offset,
                event.topic,
                event.key
            );
        }
    }

    fn settle(&self, delivery: Delivery, outcome: Outcome) {
        if let State::Member(membership) = &*self.membership.borrow() {
            membership.settle(delivery.claim, outcome);
        }
    }

    fn is_draining(&self) -> bool {
        // SAFETY: nginx's own flags, on its thread.
        unsafe { ngx_exiting != 0 || ngx_quit != 0 || ngx_terminate != 0 }
    }

    fn in_hand(&self) -> bool {
        runs().values().any(|run| Rc::ptr_eq(&run.project, &self.project))
    }

    /// Claims nothing more, and keeps the worker until the events in hand are settled and the member has left.
    pub fn drain(&self) {
        if let State::Member(membership) = &*self.membership.borrow() {
            membership.stop();
        }
        self.look();
    }

    /// Has the member settle what is left and leave, unless it is about to.
    fn leave(&self) {
        let state = self.membership.replace(State::Left);
        self.membership.replace(match state {
            State::Member(membership) => State::Leaving(membership.end()),
            State::Leaving(_) | State::Left => state,
        });
    }

    /// One look at what is left to do; comes again by timer while there is something.
    fn look(&self) {
        if !self.in_hand() {
            self.leave();
        }
        let left = match &*self.membership.borrow() {
            State::Leaving(ended) => ended.wait(Instant::now()),
            State::Member(_) => false,
            State::Left => true,
        };
        if left {
            self.membership.replace(State::Left);
            return;
        }
        let hold = self.hold.as_ptr();
        // SAFETY: the event stays where it is until `stop`, which takes it out of nginx's tree.
        unsafe {
            (*hold).handler = Some(hold_on);
            (*hold).log = (*ngx_cycle).log;
            (*hold).data = ptr::from_ref(self).cast_mut().cast();
            if (*hold).timer_set() == 0 {
                ngx_add_timer(hold, LOOK);
            }
        }
    }

    /// Gives up the events in hand: other workers get them. nginx is kept no longer; [`stop`](Triggers::stop) has a
    /// bound of its own.
    pub fn cancel(&self) {
        let mine: Vec<Request> = runs()
            .iter()
            .filter(|(_, run)| Rc::ptr_eq(&run.project, &self.project))
            .map(|(r, _)| *r)
            .collect();
        for r in mine {
            let Some(run) = runs().remove(&r) else { continue };
            // SAFETY: the request is live, as its run was; this is called from an event handler, outside Lua.
            unsafe {
                log_error!(
                    NGX_LOG_WARN,
                    (*ngx_cycle).log,
                    "event {} of topic \"{}\", key \"{}\": worker_shutdown_timeout ended its function, the event is \
                     handed out again",
                    run.delivery.event.offset,
                    run.delivery.event.topic,
                    run.delivery.event.key
                );
                timer::cancel(r);
            }
            self.settle(run.delivery, Outcome::Released);
        }
        self.leave();
        self.let_go();
    }

    /// Takes the timer away that keeps nginx.
    fn let_go(&self) {
        let hold = self.hold.as_ptr();
        // SAFETY: the event is this worker's own.
        unsafe {
            if (*hold).timer_set() != 0 {
                ngx_del_timer(hold);
            }
        }
    }

    /// Leaves the group and waits for that until the deadline; answers whether it came to that. Functions that still
    /// run end with the process, and their events are handed out again.
    pub fn stop(self, deadline: Instant) -> bool {
        self.let_go();
        match self.membership.into_inner() {
            State::Member(membership) => membership.end().wait(deadline),
            State::Leaving(ended) => ended.wait(deadline),
            State::Left => true,
        }
    }
}

unsafe extern "C" fn hold_on(event: *mut ngx_event_t) {
    // SAFETY: `data` is what armed the event, and takes it away when it goes.
    unsafe {
        nginx::guard((*event).log, (), || {
            (*(*event).data.cast::<Triggers>()).look();
        });
    }
}

/// A run's Lua is over.
fn ended(r: Request) {
    let Some(run) = runs().remove(&r) else { return };
    let topics = super::all().iter().find(|topics| Rc::ptr_eq(&topics.project, &run.project));
    if let Some(triggers) = topics.and_then(|topics| topics.triggers.as_ref()) {
        triggers.finished(run);
    }
}

fn host_name() -> String {
    let mut host = [0u8; 256];
    // SAFETY: the buffer keeps a NUL at its end.
    unsafe { libc::gethostname(host.as_mut_ptr().cast(), host.len() - 1) };
    let len = host.iter().position(|&byte| byte == 0).unwrap_or(0);
    nginx::NgxStr::from_bytes(&host[..len]).to_string()
}
