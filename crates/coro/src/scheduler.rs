//! What others ask of the scheduler: families that begin and end, and what a task that runs asks for.

use std::cell::Cell;

use crate::arena::{Arena, Found, Id};
use crate::family::{Family, FamilyId};
use crate::run::{Next, Outcome, Run};
use crate::task::{Asked, Host, Kind, Parent, Places, Resume, State, Status, Task, Wait};

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
    /// Another coroutine spawned it, or it is another family's.
    NotParent,
}

/// All families of a worker.
pub struct Scheduler<H: Host> {
    pub(crate) tasks: Arena<Task<H>>,
    pub(crate) families: Arena<Family<H>>,
    /// How many times children were joined: each wait has a number, so that what marks the children of one says nothing in the next.
    joins: Cell<u64>,
}

/// A task that is gone: what has to be dropped and released.
pub(crate) struct Removed<H: Host> {
    owner: H::Owner,
    kind: Kind,
    coroutine: H::Coroutine,
    wait: Option<Wait>,
}

impl<H: Host> Removed<H> {
    fn of(owner: H::Owner, task: &Task<H>) -> Self {
        task.clear();
        Removed {
            owner,
            kind: task.kind.get(),
            coroutine: task.coroutine(),
            wait: task.wait.take(),
        }
    }

    pub fn release(self, host: &mut H, returned: bool) {
        // What it waits for may look at the coroutine, so that goes first.
        drop(self.wait);
        host.release(self.owner, self.kind, self.coroutine, returned);
    }
}

impl<H: Host> Default for Scheduler<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Host> Scheduler<H> {
    pub const fn new() -> Self {
        Scheduler { tasks: Arena::new(), families: Arena::new(), joins: Cell::new(0) }
    }

    /// A family with its entry task, which is to be [`run`](Self::run).
    #[inline]
    pub fn begin(&self, owner: H::Owner, coroutine: H::Coroutine) -> (FamilyId, Id) {
        let family = self.families.insert();
        let entry = self.tasks.insert();
        family.begin(owner, entry.id());
        entry.begin(Kind::Entry, family.id(), coroutine, None);
        (FamilyId(family.id()), entry.id())
    }

    /// A light thread that nobody spawned, which is to be [`run`](Self::run); `None` when the family is gone.
    pub fn add(&self, family: FamilyId, coroutine: H::Coroutine) -> Option<Id> {
        Some(self.new_light(self.families.get(family.0)?, coroutine, None).id())
    }

    fn new_light(
        &self,
        family: Found<'_, Family<H>>,
        coroutine: H::Coroutine,
        parent: Option<Parent<H::Coroutine>>,
    ) -> Found<'_, Task<H>> {
        let child = self.tasks.insert();
        child.begin(Kind::Light, family.id(), coroutine, parent);
        family.lights.push(&self.tasks, child);
        family.live.set(family.live.get() + 1);
        child
    }

    #[inline]
    fn family_of(&self, task: &Task<H>) -> Option<Found<'_, Family<H>>> {
        self.families.get(task.family.get()?)
    }

    /// Runs a task that has not begun, with so many arguments, and then whoever of its family can run.
    #[inline]
    pub fn run(&self, host: &mut H, task: Id, arguments: i32) -> Outcome {
        let Some(task) = self.tasks.get(task) else { return Outcome::Gone };
        let Some(family) = self.family_of(&task) else { return Outcome::Gone };
        Run::new(self, host, family).drive(Next::Resume(task, Resume::Start(arguments)))
    }

    /// Goes on with a task that was woken, and then with whoever of its family can run. `None` when the task doesn't wait, or is
    /// gone.
    #[inline]
    pub fn proceed(&self, host: &mut H, id: Id) -> Option<Outcome> {
        let task = self.tasks.get(id).filter(|task| task.is_waiting())?;
        let Some(wait) = task.wait.take() else {
            task.woken.set(true);
            return None;
        };
        let family = self.family_of(&task)?;
        Some(Run::new(self, host, family).drive(Next::Poll(task, wait)))
    }

    /// Leaves what the running task will wait for when it stops.
    #[inline]
    pub fn wait_for(&self, host: &mut H, id: Id, wait: Wait) {
        let Some(task) = self.asks(host, id) else { return };
        task.asked.set(Asked::Wait);
        task.wait.set(Some(wait));
    }

    /// As [`wait_for`](Self::wait_for), but the task goes on with nothing.
    #[inline]
    pub fn pause_for(&self, host: &mut H, id: Id, wait: Wait) {
        let Some(task) = self.asks(host, id) else { return };
        task.asked.set(Asked::Pause);
        task.wait.set(Some(wait));
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
        let Some(task) = self.asks(host, id) else { return };
        let Some(family) = self.family_of(&task) else { return };
        let is_own = task.coroutine() == spawner;
        let parent = if is_own { Parent::Task(id) } else { Parent::User(spawner) };
        let child = self.new_light(family, coroutine, Some(parent));
        child.with.set(Resume::Start(arguments));
        task.asked.set(Asked::Spawn(child.id()));
    }

    /// The task that asks for something, with what it asked for before given up.
    #[inline]
    fn asks(&self, host: &mut H, id: Id) -> Option<Found<'_, Task<H>>> {
        let task = self.tasks.get(id)?;
        self.give_up_of(host, task);
        task.is_there().then_some(task)
    }

    /// The running task won't wait for what it asked for.
    pub fn give_up(&self, host: &mut H, id: Id) {
        self.asks(host, id);
    }

    #[inline]
    pub(crate) fn give_up_of(&self, host: &mut H, task: Found<'_, Task<H>>) {
        match task.asked.replace(Asked::Nothing) {
            Asked::Nothing | Asked::Join => {}
            Asked::Wait | Asked::Pause => drop(task.wait.take()),
            Asked::Spawn(child) => {
                if let Some(removed) = self.tasks.get(child).and_then(|child| self.remove(child)) {
                    removed.release(host, false);
                }
            }
        }
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
        let Some(task) = self.asks(host, id) else { return Join::Gone };
        let mut is_last_gone = true;
        for &child in children {
            let child = self.tasks.get(child).filter(|child| !child.is_killed());
            is_last_gone = child.is_none();
            let Some(child) = child else { continue };
            if child.family.get() != task.family.get() || !self.is_parent(caller, &child) {
                return Join::NotParent;
            }
            if let State::Zombie { well } = child.state.get() {
                self.remove(child);
                return Join::Ended(child.coroutine(), well);
            }
        }
        if is_last_gone {
            return Join::Gone;
        }
        let number = self.joins.get() + 1;
        self.joins.set(number);
        for child in children.iter().filter_map(|&child| self.tasks.get(child)) {
            child.joined.set(Some((id, number)));
        }
        task.joins.set(number);
        task.asked.set(Asked::Join);
        Join::Wait
    }

    /// The task that waits for the end of this one.
    pub(crate) fn joining(&self, task: &Task<H>) -> Option<Found<'_, Task<H>>> {
        let (parent, number) = task.joined.get()?;
        let parent = self.tasks.get(parent)?;
        let waits = parent.state.get() == State::Joining && parent.joins.get() == number;
        waits.then_some(parent)
    }

    fn is_parent(&self, caller: H::Coroutine, task: &Task<H>) -> bool {
        match task.parent.get() {
            Some(Parent::Task(parent)) => {
                self.tasks.get(parent).is_some_and(|parent| parent.coroutine() == caller)
            }
            Some(Parent::User(coroutine)) => coroutine == caller,
            None => false,
        }
    }

    pub(crate) fn is_parent_alive(&self, host: &H, task: &Task<H>) -> bool {
        match task.parent.get() {
            Some(Parent::Task(parent)) => self.status(parent) == Status::Running,
            Some(Parent::User(coroutine)) => host.is_alive(coroutine),
            None => false,
        }
    }

    /// The running task, in its own coroutine or in one of the user's, ends a light thread, whatever that waits for. One that runs, and
    /// has resumed its parent, is gone for everybody, but its coroutine is in use until it stops.
    pub fn kill(&self, host: &mut H, id: Id, caller: H::Coroutine, child: Id) -> Kill {
        let Some(task) = self.tasks.get(child).filter(|task| !task.is_killed()) else {
            return Kill::Gone;
        };
        // Who kills the last task of another family would leave it to nobody.
        let is_in_family =
            self.tasks.get(id).is_some_and(|killer| killer.family.get() == task.family.get());
        if !is_in_family || !self.is_parent(caller, &task) {
            return Kill::NotParent;
        }
        let killed = if task.is_zombie() { Kill::Ended } else { Kill::Killed };
        if task.state.get() == State::Running {
            task.state.set(State::Killed);
        } else {
            self.bury(host, task);
        }
        killed
    }

    /// Ends all tasks of the family, whatever they wait for.
    pub fn end(&self, host: &mut H, family: FamilyId) {
        let Some(family) = self.families.get(family.0) else { return };
        self.families.remove(family);
        let owner = family.owner();
        let mut removed = Vec::new();
        let mut task = family.entry.get().and_then(|entry| self.tasks.get(entry));
        let mut light = family.lights.first(&self.tasks);
        while let Some(this) = task.or(light) {
            if task.take().is_none() {
                light = crate::task::Members::after(&self.tasks, &this);
            }
            removed.push(Removed::of(owner, &this));
            self.tasks.remove(this);
        }
        family.clear();
        for task in removed {
            task.release(host, false);
        }
    }

    /// Takes a task, and its children that have ended, out.
    pub(crate) fn bury(&self, host: &mut H, task: Found<'_, Task<H>>) {
        let mut removed = Vec::new();
        self.orphan(&task, &mut removed);
        removed.extend(self.remove(task));
        for task in removed {
            task.release(host, false);
        }
    }

    /// The parent of these goes: those that have ended are asked for no more.
    fn orphan(&self, parent: &Task<H>, removed: &mut Vec<Removed<H>>) {
        while let Some(zombie) = parent.zombies.first(&self.tasks) {
            match self.remove(zombie) {
                Some(zombie) => removed.push(zombie),
                None => return,
            }
        }
    }

    /// Before a task ends: its zombies are asked for no more, nor are those of the user's coroutines that have died.
    pub(crate) fn sweep(
        &self,
        host: &mut H,
        family: Found<'_, Family<H>>,
        task: Found<'_, Task<H>>,
    ) {
        let is_due = family.of_users.count.get() > family.of_users.most.get() + 1;
        if task.zombies.is_empty() && !is_due {
            return;
        }
        let mut removed = Vec::new();
        self.orphan(&task, &mut removed);
        if is_due {
            let mut next = family.of_users.list.first(&self.tasks);
            while let Some(zombie) = next {
                next = Places::after(&self.tasks, &zombie);
                if !self.is_parent_alive(host, &zombie) {
                    removed.extend(self.remove(zombie));
                }
            }
            // Twice as many as were kept, so that looking through them costs little for each.
            family.of_users.most.set(2 * family.of_users.count.get());
        }
        for task in removed {
            task.release(host, false);
        }
    }

    /// Takes a task out of its family.
    pub(crate) fn remove(&self, task: Found<'_, Task<H>>) -> Option<Removed<H>> {
        let family = self.family_of(&task).filter(|_| task.is_there())?;
        match task.state.get() {
            State::Ready => family.queue.remove(&self.tasks, &task),
            State::Zombie { .. } => self.leave_parent(&family, &task),
            _ => {}
        }
        if !task.is_zombie() {
            family.live.set(family.live.get() - 1);
        }
        match task.kind.get() {
            Kind::Entry => family.entry.set(None),
            Kind::Light => family.lights.remove(&self.tasks, &task),
        }
        self.tasks.remove(task);
        Some(Removed::of(family.owner(), &task))
    }

    /// A zombie is not its parent's any more.
    fn leave_parent(&self, family: &Family<H>, zombie: &Task<H>) {
        match zombie.parent.get() {
            Some(Parent::Task(parent)) => {
                if let Some(parent) = self.tasks.get(parent) {
                    parent.zombies.remove(&self.tasks, zombie);
                }
            }
            _ => {
                family.of_users.list.remove(&self.tasks, zombie);
                family.of_users.count.set(family.of_users.count.get() - 1);
            }
        }
    }

    /// Whom the task's family belongs to.
    #[inline]
    pub fn owner(&self, id: Id) -> Option<H::Owner> {
        let task = self.tasks.get(id)?;
        Some(self.family_of(&task)?.owner())
    }

    /// What others see of a task.
    pub fn status(&self, id: Id) -> Status {
        match self.tasks.get(id) {
            Some(task) if task.is_zombie() => Status::Zombie,
            Some(task) if !task.is_killed() => Status::Running,
            _ => Status::Dead,
        }
    }

    /// Whether it is a family's entry task.
    pub fn is_entry(&self, id: Id) -> bool {
        self.tasks.get(id).is_some_and(|task| task.kind.get() == Kind::Entry)
    }

    /// The coroutine of a task that isn't gone.
    pub fn coroutine(&self, id: Id) -> Option<H::Coroutine> {
        self.tasks.get(id).map(|task| task.coroutine())
    }
}
