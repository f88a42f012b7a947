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
    /// Zombies whose parents are the user's coroutines, of whose ends nobody tells. Some are gone meanwhile.
    zombies_of_users: Vec<Id>,
    /// How many of those there may be until they are looked through.
    most_zombies_of_users: usize,
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
    /// The family was ended meanwhile: nothing is left of it, and maybe not of its owner.
    Gone,
}

/// What joining some children came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Join<C> {
    /// The caller waits; it has to stop running.
    Wait,
    /// One has ended before: whether well, and with what is on the stack of its coroutine, which is the host's to release.
    Ended(C, bool),
    /// The last one is gone, and none before it has ended; or there is none.
    Gone,
    /// Another coroutine spawned one of them, or one is another family's.
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
}

struct Inner<H: Host> {
    tasks: Arena<Task<H::Coroutine>>,
    families: Arena<Family<H::Owner>>,
    /// How many times children were joined: each wait has a number, so that what marks the children of one says nothing in the next.
    joins: u64,
}

/// All families of a worker.
pub struct Scheduler<H: Host>(RefCell<Inner<H>>);

/// What to do after a task has stopped.
enum Next<H: Host> {
    Resume(Id, Resume<H::Coroutine>),
    Poll(Id, Wait),
    Stop(Outcome),
}

/// What the end of a task's code made of the task.
enum End<H: Host> {
    /// The parent goes on with what is on the coroutine's stack.
    Joined(Id, H::Coroutine),
    Zombie,
    Removed(Removed<H>),
    /// It was gone before.
    Gone,
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
        Scheduler(RefCell::new(Inner { tasks: Arena::new(), families: Arena::new(), joins: 0 }))
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
            zombies_of_users: Vec::new(),
            most_zombies_of_users: 1,
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
        let Some((family, owner, coroutine)) = self.set_running(id) else {
            return Next::Stop(Outcome::Gone);
        };
        let step = host.resume(owner, id, coroutine, with);
        if self.owner_of(family).is_none() {
            return Next::Stop(Outcome::Gone);
        }
        match step {
            Step::Returned => self.ended(host, family, id, true),
            Step::Failed => {
                let kind = self.kind(id);
                host.report(owner, kind, coroutine);
                match kind {
                    Kind::Entry => Next::Stop(Outcome::Failed),
                    Kind::Light => self.ended(host, family, id, false),
                }
            }
            Step::Waits | Step::Yields if host.is_ending(owner) => Next::Stop(Outcome::Ended),
            Step::Waits | Step::Yields if self.is_killed(id) => {
                self.remove_killed(host, id);
                self.next(family)
            }
            Step::Waits => self.waits(host, family, id),
            Step::Yields => {
                // What it asked for before, and could not wait for.
                self.give_up(host, id);
                self.lets_others_run(host, family, id)
            }
        }
    }

    fn set_running(&self, id: Id) -> Option<(Id, H::Owner, H::Coroutine)> {
        let inner = &mut *self.0.borrow_mut();
        let task = inner.tasks.get_mut(id)?;
        task.state = State::Running;
        Some((task.family, inner.families.get(task.family)?.owner, task.coroutine))
    }

    fn owner_of(&self, family: Id) -> Option<H::Owner> {
        self.0.borrow().families.get(family).map(|family| family.owner)
    }

    fn kind(&self, id: Id) -> Kind {
        self.0.borrow().tasks.get(id).map_or(Kind::Light, |task| task.kind)
    }

    fn is_killed(&self, id: Id) -> bool {
        matches!(self.0.borrow().tasks.get(id), Some(Task { state: State::Killed, .. }))
    }

    /// A task that was killed while it ran has stopped.
    fn remove_killed(&self, host: &mut H, id: Id) {
        let mut removed = Vec::new();
        self.0.borrow_mut().bury(id, &mut removed);
        for task in removed {
            task.release(host, false);
        }
    }

    fn next(&self, family: Id) -> Next<H> {
        self.0.borrow_mut().next(family)
    }

    /// The task stopped for what it asked for.
    fn waits(&self, host: &mut H, family: Id, id: Id) -> Next<H> {
        let mut inner = self.0.borrow_mut();
        let Some(task) = inner.tasks.get_mut(id) else { return inner.next(family) };
        match std::mem::replace(&mut task.asked, Asked::Nothing) {
            Asked::Future(wait) => {
                task.state = State::Waiting { yielded: false };
                Next::Poll(id, wait)
            }
            Asked::Join(number) => {
                task.state = State::Joining(number);
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
                self.lets_others_run(host, family, id)
            }
        }
    }

    /// The task goes on after those that are queued or, where there are none, in the family's next turn.
    fn lets_others_run(&self, host: &mut H, family: Id, id: Id) -> Next<H> {
        // Giving up what it asked for may have killed it.
        if self.is_killed(id) {
            self.remove_killed(host, id);
            return self.next(family);
        }
        if let Some(next) = self.0.borrow_mut().lets_queued_run(family, id) {
            return next;
        }
        let turn = host.next_turn();
        Next::Poll(id, turn)
    }

    fn poll(&self, host: &mut H, id: Id, mut wait: Wait) -> Next<H> {
        let Some(family) = self.0.borrow().tasks.get(id).map(|task| task.family) else {
            return Next::Stop(Outcome::Gone);
        };
        let waker = waker::<H>(id);
        loop {
            let polled = wait.as_mut().poll(&mut Context::from_waker(&waker));
            let (status, pending) = match polled {
                // Dropping it may come back, so that it has to go before anything is looked at.
                Poll::Ready(status) => {
                    drop(wait);
                    (status, None)
                }
                Poll::Pending => (0, Some(wait)),
            };
            let Some(owner) = self.owner_of(family) else { return Next::Stop(Outcome::Gone) };
            let is_ending = host.is_ending(owner);
            let inner = &mut *self.0.borrow_mut();
            let Some(task) = inner.tasks.get_mut(id) else {
                // It was killed meanwhile. The future is dropped when the borrow is over: it was declared before.
                return if is_ending { Next::Stop(Outcome::Ended) } else { inner.next(family) };
            };
            let is_woken = std::mem::take(&mut task.woken);
            match pending {
                _ if is_ending => {
                    task.wait = pending;
                    return Next::Stop(Outcome::Ended);
                }
                None => {
                    let with = match task.state {
                        State::Waiting { yielded: true } => Resume::Nothing,
                        _ => Resume::Status(status),
                    };
                    return Next::Resume(id, with);
                }
                Some(again) if is_woken => wait = again,
                Some(pending) => {
                    task.wait = Some(pending);
                    return inner.next(family);
                }
            }
        }
    }

    /// The task's code came to its end.
    fn ended(&self, host: &mut H, family: Id, id: Id, well: bool) -> Next<H> {
        let alone = self.0.borrow_mut().end_alone(id);
        if let Some((owner, coroutine)) = alone {
            host.release(owner, Kind::Entry, coroutine, well);
            return Next::Stop(Outcome::Over);
        }
        self.give_up(host, id);
        self.sweep(host, family, id);
        let is_parent_alive = self.is_parent_alive(host, id);
        let end = self.0.borrow_mut().ended(id, well, is_parent_alive);
        match end {
            End::Joined(parent, coroutine) => Next::Resume(parent, Resume::Joined(coroutine, well)),
            End::Zombie => self.next(family),
            End::Removed(task) => {
                task.release(host, well);
                self.next(family)
            }
            End::Gone => self.next(family),
        }
    }

    /// Before a task ends: its zombies are asked for no more, nor are those of the user's coroutines that have died.
    fn sweep(&self, host: &mut H, family: Id, id: Id) {
        let mut removed = Vec::new();
        let of_users = {
            let inner = &mut *self.0.borrow_mut();
            inner.orphan(family, id, &mut removed);
            match inner.families.get_mut(family) {
                Some(of) if of.zombies_of_users.len() > of.most_zombies_of_users => {
                    std::mem::take(&mut of.zombies_of_users)
                }
                _ => Vec::new(),
            }
        };
        if !of_users.is_empty() {
            let (asked, unasked): (Vec<Id>, Vec<Id>) = of_users
                .into_iter()
                .filter(|&zombie| self.status(zombie) == Status::Zombie)
                .partition(|&zombie| self.is_parent_alive(host, zombie));
            let inner = &mut *self.0.borrow_mut();
            removed.extend(unasked.into_iter().filter_map(|zombie| inner.remove(zombie)));
            if let Some(of) = inner.families.get_mut(family) {
                // Twice as many as were kept, so that looking through them costs little for each.
                of.most_zombies_of_users = 2 * asked.len() + 1;
                of.zombies_of_users.extend(asked);
            }
        }
        for task in removed {
            task.release(host, false);
        }
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

    /// The running task, in its own coroutine or in one of the user's, waits until one of the light threads has ended. What it asked
    /// for before is given up.
    pub fn join(
        &self,
        host: &mut H,
        id: Id,
        caller: H::Coroutine,
        children: &[Id],
    ) -> Join<H::Coroutine> {
        self.give_up(host, id);
        self.0.borrow_mut().join(id, caller, children)
    }

    /// Ends a light thread, whatever it waits for. One that runs, and has resumed its parent, is gone for everybody, but its
    /// coroutine is in use until it stops.
    pub fn kill(&self, host: &mut H, caller: H::Coroutine, child: Id) -> Kill {
        let mut removed = Vec::new();
        let killed = {
            let inner = &mut *self.0.borrow_mut();
            let Some(task) = inner.tasks.get(child).filter(|task| !task.is_killed()) else {
                return Kill::Gone;
            };
            if !inner.is_parent(caller, task) {
                return Kill::NotParent;
            }
            let killed = match task.state {
                State::Zombie { .. } => Kill::Ended,
                _ => Kill::Killed,
            };
            match inner.tasks.get_mut(child) {
                Some(task) if matches!(task.state, State::Running) => task.state = State::Killed,
                _ => inner.bury(child, &mut removed),
            }
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
            Some(task) if !task.is_killed() => Status::Running,
            _ => Status::Dead,
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

    fn join(&mut self, id: Id, caller: H::Coroutine, children: &[Id]) -> Join<H::Coroutine> {
        let Some(family) = self.tasks.get(id).map(|task| task.family) else { return Join::Gone };
        let mut is_last_gone = true;
        for &child in children {
            let task = self.tasks.get(child).filter(|task| !task.is_killed());
            is_last_gone = task.is_none();
            let Some(task) = task else { continue };
            if task.family != family || !self.is_parent(caller, task) {
                return Join::NotParent;
            }
            if let State::Zombie { well } = task.state {
                let coroutine = task.coroutine;
                self.remove(child);
                return Join::Ended(coroutine, well);
            }
        }
        if is_last_gone {
            return Join::Gone;
        }
        self.joins += 1;
        for &child in children {
            if let Some(task) = self.tasks.get_mut(child) {
                task.joined = Some((id, self.joins));
            }
        }
        if let Some(task) = self.tasks.get_mut(id) {
            task.asked = Asked::Join(self.joins);
        }
        Join::Wait
    }

    /// The task that waits for the end of this one.
    fn joining(&self, task: &Task<H::Coroutine>) -> Option<Id> {
        let (parent, number) = task.joined?;
        match self.tasks.get(parent)?.state {
            State::Joining(waits) if waits == number => Some(parent),
            _ => None,
        }
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
            return Next::Stop(Outcome::Gone);
        };
        while let Some(id) = family.queue.pop_front() {
            if let Some(&Task { state: State::Ready(with), .. }) = self.tasks.get(id) {
                return Next::Resume(id, with);
            }
        }
        Next::Stop(if family.live == 0 { Outcome::Over } else { Outcome::Waiting })
    }

    /// The task goes on after those that are queued. Where there are none it waits for the family's next turn.
    fn lets_queued_run(&mut self, family: Id, id: Id) -> Option<Next<H>> {
        let of = self.families.get_mut(family);
        let (Some(of), true) = (of, self.tasks.get(id).is_some()) else {
            return Some(self.next(family));
        };
        while let Some(&first) = of.queue.front() {
            if matches!(self.tasks.get(first), Some(Task { state: State::Ready(_), .. })) {
                break;
            }
            of.queue.pop_front();
        }
        let is_alone = of.queue.is_empty();
        let task = self.tasks.get_mut(id)?;
        if is_alone {
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

    fn ended(&mut self, id: Id, well: bool, is_parent_alive: bool) -> End<H> {
        let Some(task) = self.tasks.get(id) else { return End::Gone };
        let (family, coroutine) = (task.family, task.coroutine);
        let is_users = matches!(task.parent, Some(Parent::User(_)));
        if task.is_killed() {
            return self.remove(id).map_or(End::Gone, End::Removed);
        }
        if let Some(parent) = self.joining(task) {
            self.remove(id);
            return End::Joined(parent, coroutine);
        }
        if !is_parent_alive {
            return self.remove(id).map_or(End::Gone, End::Removed);
        }
        if let Some(task) = self.tasks.get_mut(id) {
            task.state = State::Zombie { well };
        }
        if let Some(family) = self.families.get_mut(family) {
            family.live -= 1;
            if is_users {
                family.zombies_of_users.push(id);
            }
        }
        End::Zombie
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
