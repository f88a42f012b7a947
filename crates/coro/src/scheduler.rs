//! What others ask of the scheduler: families that begin and end, and what a task that runs asks for.

use std::cell::Cell;

use crate::arena::{Found, Id};
use crate::family::FamilyId;
use crate::run::{Next, Outcome, Run};
use crate::tables::Tables;
use crate::task::{Asked, Host, Kind, Parent, Resume, State, Status, Task, Wait};

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
    tables: Tables<H>,
    /// How many times children were joined: each wait has a number, so that what marks the children of one says nothing in the next.
    joins: Cell<u64>,
}

impl<H: Host> Default for Scheduler<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Host> Scheduler<H> {
    pub const fn new() -> Self {
        Scheduler { tables: Tables::new(), joins: Cell::new(0) }
    }

    /// A family with its entry task, which is to be [`run`](Self::run).
    #[inline]
    pub fn begin(&self, owner: H::Owner, coroutine: H::Coroutine) -> (FamilyId, Id) {
        let family = self.tables.families.insert();
        let entry = self.tables.tasks.insert();
        family.begin(owner, entry.id());
        entry.begin(Kind::Entry, family.id(), coroutine, None);
        (FamilyId(family.id()), entry.id())
    }

    /// A light thread that nobody spawned, which is to be [`run`](Self::run); `None` when the family is gone.
    pub fn add(&self, family: FamilyId, coroutine: H::Coroutine) -> Option<Id> {
        Some(self.tables.new_light(self.tables.families.get(family.0)?, coroutine, None).id())
    }

    /// Runs a task that has not begun, with so many arguments, and then whoever of its family can run.
    #[inline]
    pub fn run(&self, host: &mut H, task: Id, arguments: i32) -> Outcome {
        let Some(task) = self.tables.tasks.get(task) else { return Outcome::Gone };
        let Some(family) = self.tables.family_of(&task) else { return Outcome::Gone };
        Run::new(&self.tables, host, family).drive(Next::Resume(task, Resume::Start(arguments)))
    }

    /// Goes on with a task that was woken, and then with whoever of its family can run. `None` when the task doesn't wait, or is
    /// gone.
    #[inline]
    pub fn proceed(&self, host: &mut H, id: Id) -> Option<Outcome> {
        let task = self.tables.tasks.get(id).filter(|task| task.is_waiting())?;
        let Some(wait) = task.wait.take() else {
            task.woken.set(true);
            return None;
        };
        let family = self.tables.family_of(&task)?;
        Some(Run::new(&self.tables, host, family).drive(Next::Poll(task, wait)))
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
        let Some(family) = self.tables.family_of(&task) else { return };
        let is_own = task.coroutine() == spawner;
        let parent = if is_own { Parent::Task(id) } else { Parent::User(spawner) };
        let child = self.tables.new_light(family, coroutine, Some(parent));
        child.with.set(Resume::Start(arguments));
        task.asked.set(Asked::Spawn(child.id()));
    }

    /// The task that asks for something, with what it asked for before given up.
    #[inline]
    fn asks(&self, host: &mut H, id: Id) -> Option<Found<'_, Task<H>>> {
        let task = self.tables.tasks.get(id)?;
        self.tables.give_up_of(host, task);
        task.is_there().then_some(task)
    }

    /// The running task won't wait for what it asked for.
    pub fn give_up(&self, host: &mut H, id: Id) {
        self.asks(host, id);
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
            let child = self.tables.tasks.get(child).filter(|child| !child.is_killed());
            is_last_gone = child.is_none();
            let Some(child) = child else { continue };
            if child.family.get() != task.family.get() || !self.tables.is_parent(caller, &child) {
                return Join::NotParent;
            }
            if let State::Zombie { well } = child.state.get() {
                self.tables.remove(child);
                return Join::Ended(child.coroutine(), well);
            }
        }
        if is_last_gone {
            return Join::Gone;
        }
        let number = self.joins.get() + 1;
        self.joins.set(number);
        for child in children.iter().filter_map(|&child| self.tables.tasks.get(child)) {
            child.joined.set(Some((id, number)));
        }
        task.joins.set(number);
        task.asked.set(Asked::Join);
        Join::Wait
    }

    /// The running task, in its own coroutine or in one of the user's, ends a light thread, whatever that waits for. One that runs, and
    /// has resumed its parent, is gone for everybody, but its coroutine is in use until it stops.
    pub fn kill(&self, host: &mut H, id: Id, caller: H::Coroutine, child: Id) -> Kill {
        let Some(task) = self.tables.tasks.get(child).filter(|task| !task.is_killed()) else {
            return Kill::Gone;
        };
        // Who kills the last task of another family would leave it to nobody.
        let is_in_family = self
            .tables
            .tasks
            .get(id)
            .is_some_and(|killer| killer.family.get() == task.family.get());
        if !is_in_family || !self.tables.is_parent(caller, &task) {
            return Kill::NotParent;
        }
        let killed = if task.is_zombie() { Kill::Ended } else { Kill::Killed };
        if task.state.get() == State::Running {
            task.state.set(State::Killed);
        } else {
            self.tables.bury(host, task);
        }
        killed
    }

    /// Whom the task's family belongs to.
    #[inline]
    pub fn owner(&self, id: Id) -> Option<H::Owner> {
        let task = self.tables.tasks.get(id)?;
        Some(self.tables.family_of(&task)?.owner())
    }

    /// Ends all tasks of the family, whatever they wait for.
    pub fn end(&self, host: &mut H, family: FamilyId) {
        if let Some(family) = self.tables.families.get(family.0) {
            self.tables.end(host, family);
        }
    }

    /// What others see of a task.
    pub fn status(&self, id: Id) -> Status {
        self.tables.status(id)
    }

    /// Whether it is a family's entry task.
    pub fn is_entry(&self, id: Id) -> bool {
        self.tables.tasks.get(id).is_some_and(|task| task.kind.get() == Kind::Entry)
    }

    /// The coroutine of a task that isn't gone.
    pub fn coroutine(&self, id: Id) -> Option<H::Coroutine> {
        self.tables.tasks.get(id).map(|task| task.coroutine())
    }
}
