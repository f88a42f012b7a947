//! What becomes of a task when it stops, and who runs next.
//!
//! Nothing is borrowed while the host runs a coroutine, while a future is polled and while one is dropped: all of these may come
//! back.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::{Context, Poll};

use crate::arena::{Arena, Id};
use crate::task::{Asked, Host, Kind, Parent, Resume, State, Status, Step, Task, Wait};
use crate::waker::waker;

/// The tasks of one owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FamilyId(Id);

struct Family<O> {
    owner: O,
    entry: Option<Id>,
    /// All others, zombies too.
    lights: Vec<Id>,
    /// How many tasks are there that may still run.
    live: usize,
    /// Who can run, in order. The ids of tasks that were killed meanwhile are among them.
    queue: VecDeque<Id>,
}

/// How far a family got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Every task that is left waits.
    Waiting,
    /// The last task has come to its end.
    Over,
    /// The entry task failed.
    Failed,
    /// The host says that the family ends.
    Ended,
}

/// What joining some children came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Join<C> {
    /// The caller waits; it has to stop running.
    Wait,
    /// One has ended before: whether well, and with what is on the stack of its coroutine, which is the host's to release.
    Ended(C, bool),
    /// The last one is gone, and none before it has ended.
    Gone,
    /// Another coroutine spawned one of them.
    NotParent,
}

/// What killing a light thread came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kill {
    Killed,
    /// It had ended before, and is gone from here on.
    Ended,
    Gone,
    /// Another coroutine spawned it.
    NotParent,
    /// It runs: it has resumed the coroutine that spawned it.
    Running,
}

struct Inner<H: Host> {
    tasks: Arena<Task<H::Coroutine>>,
    families: Arena<Family<H::Owner>>,
}

/// All families of a worker.
pub struct Scheduler<H: Host>(RefCell<Inner<H>>);

/// What to do after a task has stopped.
enum Next<H: Host> {
    Resume(Id, Resume<H::Coroutine>),
    Poll(Id, Wait),
    Stop(Outcome),
}

/// A task that is gone: what has to be dropped and released without a borrow.
struct Removed<H: Host> {
    owner: H::Owner,
    kind: Kind,
    coroutine: H::Coroutine,
    _wait: Option<Wait>,
    asked: Asked<H::Coroutine>,
}

impl<H: Host> Removed<H> {
    fn new(owner: H::Owner, task: Task<H::Coroutine>) -> Self {
        Removed {
            owner,
            kind: task.kind,
            coroutine: task.coroutine,
            _wait: task.wait,
            asked: task.asked,
        }
    }

    fn release(self, host: &mut H, returned: bool) {
        let Removed { owner, kind, coroutine, _wait, asked } = self;
        // What it waits for may look at the coroutine, so that goes first.
        drop(_wait);
        give_up(host, owner, asked);
        host.release(owner, kind, coroutine, returned);
    }
}

/// What was asked for won't be waited for.
fn give_up<H: Host>(host: &mut H, owner: H::Owner, asked: Asked<H::Coroutine>) {
    if let Asked::Spawn { coroutine, .. } = asked {
        host.release(owner, Kind::Light, coroutine, false);
    }
}

impl<H: Host> Default for Scheduler<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Host> Scheduler<H> {
    pub const fn new() -> Self {
        Scheduler(RefCell::new(Inner { tasks: Arena::new(), families: Arena::new() }))
    }

    /// A family with its entry task, which is to be [`run`](Self::run).
    pub fn begin(&self, owner: H::Owner, coroutine: H::Coroutine) -> (FamilyId, Id) {
        let inner = &mut *self.0.borrow_mut();
        let family = inner.families.insert(Family {
            owner,
            entry: None,
            lights: Vec::new(),
            live: 1,
            queue: VecDeque::new(),
        });
        let entry = inner.tasks.insert(task(Kind::Entry, family, coroutine, None));
        if let Some(family) = inner.families.get_mut(family) {
            family.entry = Some(entry);
        }
        (FamilyId(family), entry)
    }

    /// A light thread that nobody spawned, which is to be [`run`](Self::run); `None` when the family is gone.
    pub fn add(&self, family: FamilyId, coroutine: H::Coroutine) -> Option<Id> {
        self.0.borrow_mut().add(family.0, coroutine, None)
    }

    /// Runs a task that has not begun, with so many arguments, and then whoever of its family can run.
    pub fn run(&self, host: &mut H, task: Id, arguments: i32) -> Outcome {
        self.drive(host, Next::Resume(task, Resume::Start(arguments)))
    }

    /// Goes on with a task that was woken, and then with whoever of its family can run. `None` when the task doesn't wait, or is
    /// gone.
    pub fn proceed(&self, host: &mut H, id: Id) -> Option<Outcome> {
        let wait = {
            let inner = &mut *self.0.borrow_mut();
            let task = inner.tasks.get_mut(id)?;
            if !matches!(task.state, State::Waiting { .. }) {
                return None;
            }
            let Some(wait) = task.wait.take() else {
                task.woken = true;
                return None;
            };
            wait
        };
        Some(self.drive(host, Next::Poll(id, wait)))
    }

    fn drive(&self, host: &mut H, mut next: Next<H>) -> Outcome {
        loop {
            next = match next {
                Next::Stop(outcome) => return outcome,
                Next::Resume(id, with) => self.resume(host, id, with),
                Next::Poll(id, wait) => self.poll(host, id, wait),
            }
        }
    }

    fn resume(&self, host: &mut H, id: Id, with: Resume<H::Coroutine>) -> Next<H> {
        let Some((owner, coroutine)) = self.set_running(id) else {
            return Next::Stop(Outcome::Waiting);
        };
        match host.resume(owner, id, coroutine, with) {
            Step::Returned => self.ended(host, id, true),
            Step::Failed => {
                let kind = self.kind(id);
                host.report(owner, kind, coroutine);
                match kind {
                    Kind::Entry => Next::Stop(Outcome::Failed),
                    Kind::Light => self.ended(host, id, false),
                }
            }
            Step::Waits | Step::Yields if host.is_ending(owner) => Next::Stop(Outcome::Ended),
            Step::Waits => self.waits(host, id),
            Step::Yields => self.yields(host, id),
        }
    }

    fn set_running(&self, id: Id) -> Option<(H::Owner, H::Coroutine)> {
        let inner = &mut *self.0.borrow_mut();
        let task = inner.tasks.get_mut(id)?;
        task.state = State::Running;
        Some((inner.families.get(task.family)?.owner, task.coroutine))
    }

    fn kind(&self, id: Id) -> Kind {
        self.0.borrow().tasks.get(id).map_or(Kind::Light, |task| task.kind)
    }

    /// The task stopped for what it asked for.
    fn waits(&self, host: &mut H, id: Id) -> Next<H> {
        let mut inner = self.0.borrow_mut();
        let Some(task) = inner.tasks.get_mut(id) else { return Next::Stop(Outcome::Waiting) };
        let family = task.family;
        match std::mem::replace(&mut task.asked, Asked::Nothing) {
            Asked::Future(wait) => {
                task.state = State::Waiting { yielded: false };
                Next::Poll(id, wait)
            }
            Asked::Join => {
                task.state = State::Joining;
                inner.next(family)
            }
            Asked::Spawn { spawner, coroutine, arguments } => {
                task.state = State::Ready(Resume::Spawned(coroutine));
                let is_own = task.coroutine == spawner;
                let parent = if is_own { Parent::Task(id) } else { Parent::User(spawner) };
                match inner.add(family, coroutine, Some(parent)) {
                    Some(child) => {
                        inner.queue(family, id);
                        Next::Resume(child, Resume::Start(arguments))
                    }
                    None => inner.next(family),
                }
            }
            Asked::Nothing => {
                drop(inner);
                self.lets_others_run(host, id)
            }
        }
    }

    /// The task stopped of its own accord; what it had asked for before, and could not wait for, is given up.
    fn yields(&self, host: &mut H, id: Id) -> Next<H> {
        self.give_up(host, id);
        self.lets_others_run(host, id)
    }

    /// The task goes on after those that are queued or, where there are none, in the family's next turn.
    fn lets_others_run(&self, host: &mut H, id: Id) -> Next<H> {
        if let Some(next) = self.0.borrow_mut().lets_queued_run(id) {
            return next;
        }
        let turn = host.next_turn();
        Next::Poll(id, turn)
    }

    fn poll(&self, host: &mut H, id: Id, mut wait: Wait) -> Next<H> {
        let waker = waker::<H>(id);
        loop {
            let polled = wait.as_mut().poll(&mut Context::from_waker(&waker));
            let is_ending = self.owner(id).is_some_and(|owner| host.is_ending(owner));
            let inner = &mut *self.0.borrow_mut();
            let Some(task) = inner.tasks.get_mut(id) else {
                // Polling has ended the family. The future is dropped when the borrow is over: it was declared before.
                return Next::Stop(Outcome::Waiting);
            };
            let family = task.family;
            match polled {
                _ if is_ending => {
                    task.wait = Some(wait);
                    return Next::Stop(Outcome::Ended);
                }
                Poll::Ready(status) => {
                    let with = match task.state {
                        State::Waiting { yielded: true } => Resume::Nothing,
                        _ => Resume::Status(status),
                    };
                    return Next::Resume(id, with);
                }
                Poll::Pending if std::mem::take(&mut task.woken) => {}
                Poll::Pending => {
                    task.wait = Some(wait);
                    return inner.next(family);
                }
            }
        }
    }

    /// The task's code came to its end.
    fn ended(&self, host: &mut H, id: Id, well: bool) -> Next<H> {
        let alone = self.0.borrow_mut().end_alone(id);
        if let Some((owner, coroutine)) = alone {
            host.release(owner, Kind::Entry, coroutine, well);
            return Next::Stop(Outcome::Over);
        }
        self.give_up(host, id);
        let is_parent_alive = self.is_parent_alive(host, id);
        let mut zombies = Vec::new();
        let (next, task) = self.0.borrow_mut().ended(id, well, is_parent_alive, &mut zombies);
        for zombie in zombies {
            zombie.release(host, false);
        }
        if let Some(task) = task {
            task.release(host, well);
        }
        next
    }

    fn is_parent_alive(&self, host: &H, id: Id) -> bool {
        let parent = match self.0.borrow().tasks.get(id) {
            Some(Task { parent: Some(parent), .. }) => *parent,
            _ => return false,
        };
        match parent {
            Parent::Task(parent) => self.status(parent) == Status::Running,
            Parent::User(coroutine) => host.is_alive(coroutine),
        }
    }

    /// Leaves what the running task will wait for when it stops.
    pub fn wait_for(&self, host: &mut H, id: Id, wait: Wait) {
        self.ask(host, id, Asked::Future(wait));
    }

    /// The running task, or a coroutine of the user's that it runs, spawns a light thread: it has to stop then, and the thread begins
    /// with so many arguments.
    pub fn spawn(
        &self,
        host: &mut H,
        id: Id,
        spawner: H::Coroutine,
        coroutine: H::Coroutine,
        arguments: i32,
    ) {
        self.ask(host, id, Asked::Spawn { spawner, coroutine, arguments });
    }

    fn ask(&self, host: &mut H, id: Id, asked: Asked<H::Coroutine>) {
        let (owner, before) = {
            let inner = &mut *self.0.borrow_mut();
            let Some(task) = inner.tasks.get_mut(id) else { return };
            let before = std::mem::replace(&mut task.asked, asked);
            (inner.families.get(task.family).map(|family| family.owner), before)
        };
        if let Some(owner) = owner {
            give_up(host, owner, before);
        }
    }

    /// The running task won't wait for what it asked for.
    pub fn give_up(&self, host: &mut H, id: Id) {
        self.ask(host, id, Asked::Nothing);
    }

    /// The running task, in its own coroutine or in one of the user's, waits until one of the light threads has ended.
    pub fn join(
        &self,
        host: &mut H,
        id: Id,
        caller: H::Coroutine,
        children: &[Id],
    ) -> Join<H::Coroutine> {
        let mut inner = self.0.borrow_mut();
        for (i, &child) in children.iter().enumerate() {
            let Some(task) = inner.tasks.get(child) else {
                if i + 1 == children.len() {
                    return Join::Gone;
                }
                continue;
            };
            if !inner.is_parent(caller, task) {
                return Join::NotParent;
            }
            if let State::Zombie { well } = task.state {
                let coroutine = task.coroutine;
                inner.remove(child);
                return Join::Ended(coroutine, well);
            }
        }
        for &child in children {
            if let Some(task) = inner.tasks.get_mut(child) {
                task.joined = Some(id);
            }
        }
        drop(inner);
        self.ask(host, id, Asked::Join);
        Join::Wait
    }

    /// Ends a light thread, whatever it waits for.
    pub fn kill(&self, host: &mut H, caller: H::Coroutine, child: Id) -> Kill {
        let mut removed = Vec::new();
        let killed = {
            let inner = &mut *self.0.borrow_mut();
            let Some(task) = inner.tasks.get(child) else { return Kill::Gone };
            if !inner.is_parent(caller, task) {
                return Kill::NotParent;
            }
            let killed = match task.state {
                State::Zombie { .. } => Kill::Ended,
                State::Running => return Kill::Running,
                _ => Kill::Killed,
            };
            inner.bury(child, &mut removed);
            killed
        };
        for task in removed {
            task.release(host, false);
        }
        killed
    }

    /// Ends all tasks of the family, whatever they wait for.
    pub fn end(&self, host: &mut H, family: FamilyId) {
        let (owner, tasks) = {
            let inner = &mut *self.0.borrow_mut();
            let Some(family) = inner.families.remove(family.0) else { return };
            if family.entry.is_none() && family.lights.is_empty() {
                return;
            }
            let ids = family.entry.into_iter().chain(family.lights);
            let tasks: Vec<_> = ids.filter_map(|id| inner.tasks.remove(id)).collect();
            (family.owner, tasks)
        };
        for task in tasks {
            Removed::<H>::new(owner, task).release(host, false);
        }
    }

    /// Whom the task's family belongs to.
    pub fn owner(&self, id: Id) -> Option<H::Owner> {
        let inner = self.0.borrow();
        let family = inner.tasks.get(id)?.family;
        inner.families.get(family).map(|family| family.owner)
    }

    /// What others see of a task.
    pub fn status(&self, id: Id) -> Status {
        match self.0.borrow().tasks.get(id) {
            Some(Task { state: State::Zombie { .. }, .. }) => Status::Zombie,
            Some(_) => Status::Running,
            None => Status::Dead,
        }
    }

    /// Whether it is a family's entry task.
    pub fn is_entry(&self, id: Id) -> bool {
        self.0.borrow().tasks.get(id).is_some_and(|task| task.kind == Kind::Entry)
    }

    /// The coroutine of a task that isn't gone.
    pub fn coroutine(&self, id: Id) -> Option<H::Coroutine> {
        self.0.borrow().tasks.get(id).map(|task| task.coroutine)
    }

    /// Whether the task is one of the family's.
    pub fn is_in(&self, id: Id, family: FamilyId) -> bool {
        self.0.borrow().tasks.get(id).is_some_and(|task| task.family == family.0)
    }
}

fn task<C>(kind: Kind, family: Id, coroutine: C, parent: Option<Parent<C>>) -> Task<C> {
    Task {
        kind,
        family,
        coroutine,
        parent,
        state: State::Running,
        asked: Asked::Nothing,
        wait: None,
        woken: false,
        joined: None,
    }
}

impl<H: Host> Inner<H> {
    fn add(
        &mut self,
        family: Id,
        coroutine: H::Coroutine,
        parent: Option<Parent<H::Coroutine>>,
    ) -> Option<Id> {
        let of = self.families.get_mut(family)?;
        let child = self.tasks.insert(task(Kind::Light, family, coroutine, parent));
        of.lights.push(child);
        of.live += 1;
        Some(child)
    }

    fn is_parent(&self, caller: H::Coroutine, task: &Task<H::Coroutine>) -> bool {
        match task.parent {
            Some(Parent::Task(parent)) => {
                self.tasks.get(parent).is_some_and(|parent| parent.coroutine == caller)
            }
            Some(Parent::User(coroutine)) => coroutine == caller,
            None => false,
        }
    }

    fn queue(&mut self, family: Id, id: Id) {
        if let Some(family) = self.families.get_mut(family) {
            family.queue.push_back(id);
        }
    }

    /// Who runs next of the family.
    fn next(&mut self, family: Id) -> Next<H> {
        let Some(family) = self.families.get_mut(family) else {
            return Next::Stop(Outcome::Waiting);
        };
        while let Some(id) = family.queue.pop_front() {
            if let Some(&Task { state: State::Ready(with), .. }) = self.tasks.get(id) {
                return Next::Resume(id, with);
            }
        }
        Next::Stop(if family.live == 0 { Outcome::Over } else { Outcome::Waiting })
    }

    /// The task goes on after those that are queued. Where there are none it waits for the family's next turn.
    fn lets_queued_run(&mut self, id: Id) -> Option<Next<H>> {
        let Some(task) = self.tasks.get_mut(id) else {
            return Some(Next::Stop(Outcome::Waiting));
        };
        let family = task.family;
        if self.families.get(family).is_none_or(|family| family.queue.is_empty()) {
            task.state = State::Waiting { yielded: true };
            return None;
        }
        task.state = State::Ready(Resume::Nothing);
        self.queue(family, id);
        Some(self.next(family))
    }

    /// Takes out an entry task that was alone, and its family with it: what most families come to.
    fn end_alone(&mut self, id: Id) -> Option<(H::Owner, H::Coroutine)> {
        let task = self.tasks.get(id)?;
        let family = self.families.get(task.family)?;
        let alone = task.kind == Kind::Entry && family.lights.is_empty();
        if !alone || !matches!(task.asked, Asked::Nothing) {
            return None;
        }
        let (owner, coroutine, family) = (family.owner, task.coroutine, task.family);
        self.tasks.clear(id);
        self.families.clear(family);
        Some((owner, coroutine))
    }

    fn ended(
        &mut self,
        id: Id,
        well: bool,
        is_parent_alive: bool,
        zombies: &mut Vec<Removed<H>>,
    ) -> (Next<H>, Option<Removed<H>>) {
        let Some(task) = self.tasks.get_mut(id) else {
            return (Next::Stop(Outcome::Waiting), None);
        };
        let (family, coroutine, joined) = (task.family, task.coroutine, task.joined);
        self.orphan(family, id, zombies);
        let joining = joined.filter(|&parent| {
            matches!(self.tasks.get(parent), Some(Task { state: State::Joining, .. }))
        });
        if let Some(parent) = joining {
            self.remove(id);
            self.unjoin(family, parent);
            return (Next::Resume(parent, Resume::Joined(coroutine, well)), None);
        }
        if !is_parent_alive {
            let removed = self.remove(id);
            return (self.next(family), removed);
        }
        if let Some(task) = self.tasks.get_mut(id) {
            task.state = State::Zombie { well };
        }
        if let Some(family) = self.families.get_mut(family) {
            family.live -= 1;
        }
        (self.next(family), None)
    }

    /// The parent of these has gone: those that have ended are asked for no more.
    fn orphan(&mut self, family: Id, parent: Id, removed: &mut Vec<Removed<H>>) {
        let Some(of) = self.families.get(family) else { return };
        if of.lights.is_empty() {
            return;
        }
        let is_zombie_child = |&id: &Id| match self.tasks.get(id) {
            Some(Task { state: State::Zombie { .. }, parent: Some(Parent::Task(of)), .. }) => {
                *of == parent
            }
            _ => false,
        };
        let zombies: Vec<Id> = of.lights.iter().copied().filter(is_zombie_child).collect();
        for zombie in zombies {
            removed.extend(self.remove(zombie));
        }
    }

    /// The parent has heard from one of the children that it joined.
    fn unjoin(&mut self, family: Id, parent: Id) {
        let Some(family) = self.families.get(family) else { return };
        for &id in &family.lights {
            if let Some(task) = self.tasks.get_mut(id).filter(|task| task.joined == Some(parent)) {
                task.joined = None;
            }
        }
    }

    /// Takes a task, and its children that have ended, out.
    fn bury(&mut self, id: Id, removed: &mut Vec<Removed<H>>) {
        let Some(task) = self.tasks.get(id) else { return };
        self.orphan(task.family, id, removed);
        removed.extend(self.remove(id));
    }

    /// Takes a task out of its family.
    fn remove(&mut self, id: Id) -> Option<Removed<H>> {
        let task = self.tasks.remove(id)?;
        let family = self.families.get_mut(task.family)?;
        if !matches!(task.state, State::Zombie { .. }) {
            family.live -= 1;
        }
        match task.kind {
            Kind::Entry => family.entry = None,
            Kind::Light => family.lights.retain(|&light| light != id),
        }
        Some(Removed::new(family.owner, task))
    }
}
