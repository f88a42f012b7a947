//! Triggers: runs a project's functions on the events that this worker has claimed.
//!
//! Each chain of functions has a consumer group of its own, so that chains don't wait for each other.
//! Each event is a request of the module's own ([`timer`]), in which `lua/spacer/trigger.lua` calls the functions of a chain one
//! after the other. How that ended decides what becomes of the event: it is finished, handed out again after a delay,
//! or, after the last attempt, kept in the dead-letter topic.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ptr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use eventlog::{Delivery, Fence, Outcome, Subscription, Topic};
use nginx_sys::*;

use super::consumer::{Ended, Membership, News};
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
    groups: Vec<Group>,
    /// Keeps nginx from leaving while events are in hand. It is nginx's as long as it is set.
    hold: Box<Cell<ngx_event_t>>,
}

/// A group, and this worker as its member.
struct Group {
    name: String,
    membership: RefCell<State>,
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
    /// The name of its group, by its place among the worker's.
    pub group: usize,
    /// The function that runs at this moment.
    pub function: usize,
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
    /// Joins the groups in the background. Events come back to this thread.
    pub fn start(project: &Rc<Project>, store: &Store) -> std::io::Result<Triggers> {
        let application = &project.application;
        // SAFETY: nginx's own number, set when the worker starts; its successor's too.
        let member = project.member_name(&host_name(), unsafe { ngx_worker });
        let mut groups = Vec::new();
        for (place, name) in application.groups().into_iter().enumerate() {
            let of_group =
                || application.triggers.iter().filter(|t| application.group_of(t) == name);
            let topics: Vec<Topic> = of_group().map(|trigger| trigger.topic.clone()).collect();
            let mut subscription = Subscription::new(&name, &topics, &member);
            subscription.starts = of_group().map(|t| (t.topic.clone(), t.start)).collect();
            subscription.concurrency = application.trigger.concurrency;
            subscription.backoff = application.trigger.backoff();
            let folder = project.folder.clone();
            let tell = move |news| {
                let folder = folder.clone();
                // Also the end wakes the event loop, so that a worker that shuts down sees that it may.
                bridge::post(Box::new(move || {
                    let topics = super::all().iter().find(|topics| topics.project.folder == folder);
                    if let Some(triggers) = topics.and_then(|topics| topics.triggers.as_ref()) {
                        triggers.hear(place, news);
                    }
                }));
            };
            let (store, application) = (store.shared().clone(), application.clone());
            let membership = Membership::start(store, application, subscription, tell)?;
            groups.push(Group { name, membership: RefCell::new(State::Member(membership)) });
        }
        // SAFETY: all-zero is an event that isn't armed.
        let hold = Box::new(Cell::new(unsafe { std::mem::zeroed() }));
        Ok(Triggers { project: project.clone(), groups, hold })
    }

    fn hear(&self, group: usize, news: News) {
        match news {
            News::Claimed(deliveries) => {
                for delivery in deliveries {
                    if self.is_draining() {
                        self.settle(group, delivery, Outcome::Released);
                    } else {
                        self.run(group, delivery);
                    }
                }
            }
            News::Lost => self.cancel_lost(group),
            News::Left => {}
        }
    }

    fn run(&self, group: usize, delivery: Delivery) {
        let application = &self.project.application;
        let name = self.groups.get(group).map(|group| &group.name);
        let trigger = application.triggers.iter().find(|trigger| {
            trigger.topic == delivery.event.topic && Some(&application.group_of(trigger)) == name
        });
        let Some(trigger) = trigger else {
            // The group has this topic from an earlier configuration.
            return self.settle(group, delivery, Outcome::Released);
        };
        if delivery.attempt() > application.trigger.max_attempts {
            // Whatever ended the process in the last attempt would end this one.
            let failure = format!(
                "its worker process ended while it ran: attempt {} did not come to an end",
                delivery.attempt() - 1
            );
            self.report(&delivery, delivery.attempt() - 1, &failure, None);
            return self.settle(group, delivery, Outcome::GivenUp(failure));
        }
        // SAFETY: the worker runs on its cycle; the request is new, and known before its Lua runs.
        unsafe {
            let origin = Origin::first_server();
            let r = origin.map_or(ptr::null_mut(), |origin| timer::create(&origin, ended));
            if r.is_null() {
                let delay = self.project.application.trigger.max_retry_delay;
                return self.settle(group, delivery, Outcome::Retry(delay));
            }
            for (name, value) in &delivery.event.headers {
                if name.starts_with("x-spacer-") {
                    timer::add_header(r, name.as_bytes(), value.as_bytes());
                }
            }
            // The chain may have become shorter since it was begun.
            let step = delivery.step() as usize;
            let function = if step < trigger.functions.len() { step } else { 0 };
            let run = Run {
                project: self.project.clone(),
                functions: trigger.functions.iter().cloned().collect(),
                function,
                delivery,
                group,
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
        let Run { delivery, failure, done, group, function, .. } = run;
        let failure = match (done, failure) {
            (true, failure) => failure,
            (false, failure) => Some(failure.unwrap_or_else(|| {
                // The log has the reason: Lua could not even report it.
                "the function was ended from outside, see the error log".to_owned()
            })),
        };
        let Some(failure) = failure else {
            return self.settle(group, delivery, Outcome::Finished);
        };
        let delay = self.project.application.trigger.delay_after(delivery.attempt());
        self.report(&delivery, delivery.attempt(), &failure, delay);
        let outcome = match delay {
            // The functions before this one have returned.
            Some(delay) => Outcome::Resume { delay, step: function as u32 },
            None => Outcome::Dead(failure),
        };
        self.settle(group, delivery, outcome);
    }

    /// What a failed attempt leaves in the log.
    fn report(&self, delivery: &Delivery, attempt: u32, failure: &str, delay: Option<Duration>) {
        let event = &delivery.event;
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

    fn settle(&self, group: usize, delivery: Delivery, outcome: Outcome) {
        self.with_member(group, |membership| membership.settle(delivery.claim, outcome));
    }

    fn with_member<T>(&self, group: usize, f: impl FnOnce(&Membership) -> T) -> Option<T> {
        match &*self.groups.get(group)?.membership.borrow() {
            State::Member(membership) => Some(f(membership)),
            State::Leaving(_) | State::Left => None,
        }
    }

    /// What a function's appends are stored with, so that they aren't once its event is another worker's.
    pub fn fence(&self, run: &Run) -> Option<Fence> {
        let group = self.groups.get(run.group)?.name.clone();
        Some(Fence { group, claim: run.delivery.claim.clone() })
    }

    /// Ends the functions whose events are other workers' by now. They wait for something at this moment.
    fn cancel_lost(&self, group: usize) {
        let is_lost = |run: &Run| {
            let is_of_group = Rc::ptr_eq(&run.project, &self.project) && run.group == group;
            let held = || self.with_member(group, |m| m.holds(&run.delivery.claim));
            is_of_group && held() == Some(false)
        };
        self.end_runs(is_lost, "it was handed to another worker");
    }

    /// Ends runs, and answers what they were.
    fn end_runs(&self, which: impl Fn(&Run) -> bool, why: &str) -> Vec<Run> {
        let ended = runs().iter().filter(|(_, run)| which(run)).map(|(r, _)| *r);
        let mut gone = Vec::new();
        for r in ended.collect::<Vec<Request>>() {
            let Some(run) = runs().remove(&r) else { continue };
            let event = &run.delivery.event;
            // SAFETY: the request is live, as its run was; this is called from an event handler, outside Lua.
            unsafe {
                log_error!(
                    NGX_LOG_WARN,
                    (*ngx_cycle).log,
                    "event {} of topic \"{}\", key \"{}\": its function was ended, {why}",
                    event.offset,
                    event.topic,
                    event.key
                );
                timer::cancel(r);
            }
            gone.push(run);
        }
        gone
    }

    fn is_draining(&self) -> bool {
        // SAFETY: nginx's own flags, on its thread.
        unsafe { ngx_exiting != 0 || ngx_quit != 0 || ngx_terminate != 0 }
    }

    fn in_hand(&self) -> bool {
        runs().values().any(|run| Rc::ptr_eq(&run.project, &self.project))
    }

    /// Claims nothing more, and keeps the worker until the events in hand are settled and the members have left.
    pub fn drain(&self) {
        for group in 0..self.groups.len() {
            self.with_member(group, Membership::stop);
        }
        self.look();
    }

    /// Has the members settle what is left and leave, unless they are about to.
    fn leave(&self) {
        for group in &self.groups {
            let state = group.membership.replace(State::Left);
            group.membership.replace(match state {
                State::Member(membership) => State::Leaving(membership.end()),
                State::Leaving(_) | State::Left => state,
            });
        }
    }

    /// One look at what is left to do; comes again by timer while there is something.
    fn look(&self) {
        if !self.in_hand() {
            self.leave();
        }
        let has_left = |group: &Group| {
            let left = match &*group.membership.borrow() {
                State::Leaving(ended) => ended.wait(Instant::now()),
                State::Member(_) => false,
                State::Left => true,
            };
            if left {
                group.membership.replace(State::Left);
            }
            left
        };
        if self.groups.iter().filter(|group| !has_left(group)).count() == 0 {
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
        let mine = |run: &Run| Rc::ptr_eq(&run.project, &self.project);
        let why = "worker_shutdown_timeout is over: the event is handed out again";
        for run in self.end_runs(mine, why) {
            self.settle(run.group, run.delivery, Outcome::Released);
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

    /// Leaves the groups and waits for that until the deadline; answers whether it came to that. Functions that still
    /// run end with the process, and their events are handed out again.
    pub fn stop(self, deadline: Instant) -> bool {
        self.let_go();
        let leave = |group: Group| match group.membership.into_inner() {
            State::Member(membership) => Some(membership.end()),
            State::Leaving(ended) => Some(ended),
            State::Left => None,
        };
        // All are on their way before the first is waited for.
        let leaving: Vec<Ended> = self.groups.into_iter().filter_map(leave).collect();
        leaving.iter().filter(|ended| !ended.wait(deadline)).count() == 0
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
