//! What a task is, and what the scheduler asks of its host.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;

use crate::arena::Id;
use crate::list::{Linked, Links, List};

/// What a task waits for; the output is the status with which it goes on.
pub type Wait = Pin<Box<dyn Future<Output = i32>>>;

/// Who resumes coroutines, and whom families belong to.
pub trait Host {
    /// A coroutine of the virtual machine's.
    type Coroutine: Copy + PartialEq;
    /// Whom a family belongs to.
    type Owner: Copy;

    /// Runs the coroutine until it returns, fails or yields.
    fn resume(
        &mut self,
        owner: Self::Owner,
        task: Id,
        coroutine: Self::Coroutine,
        with: Resume<Self::Coroutine>,
    ) -> Step;

    /// Whether what has just run, or was polled, asked for the family's end.
    fn is_ending(&self, owner: Self::Owner) -> bool;

    /// Whether the coroutine, one of the user's own that spawned light threads, has not come to its end.
    fn is_alive(&self, coroutine: Self::Coroutine) -> bool;

    /// The task failed: its coroutine has the error on its stack.
    fn report(&mut self, owner: Self::Owner, kind: Kind, coroutine: Self::Coroutine);

    /// The task is gone. `returned` says that its code came to its end, so that the coroutine can be used again.
    fn release(
        &mut self,
        owner: Self::Owner,
        kind: Kind,
        coroutine: Self::Coroutine,
        returned: bool,
    );

    /// The family's next turn, for a task that yields while no other can run.
    fn next_turn(&mut self) -> Wait;

    /// What a task waits for has made progress. Called from wherever that happens.
    fn wake(task: Id);
}

/// What a coroutine goes on with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resume<C> {
    /// It begins, with its function and so many arguments on its stack.
    Start(i32),
    /// Its yield returns nothing.
    Nothing,
    /// What it waited for has ended with this status.
    Status(i32),
    /// It spawned a light thread, whose coroutine this is.
    Spawned(C),
    /// A light thread that it joined has ended: whether well, and with what is on the stack of its coroutine.
    Joined(C, bool),
}

/// How a coroutine stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Returned,
    Failed,
    /// It waits for what it asked the scheduler for.
    Waits,
    /// It lets others run.
    Yields,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Entry,
    Light,
}

/// What others see of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Running,
    Zombie,
    /// The task is gone.
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// It runs, but was killed, and goes as soon as it stops.
    Killed,
    /// In the family's queue.
    Ready,
    /// What it waits for is in its place, or is being polled.
    Waiting,
    /// As `Waiting`, for what goes on with no status.
    Pausing,
    /// Until one of the children that it joined has ended.
    Joining,
    Zombie {
        well: bool,
    },
}

/// What a running task has asked for and will wait for when it stops.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Nothing,
    /// The future is in its place.
    Wait,
    Pause,
    /// The children are joined with its number.
    Join,
    /// The light thread has not begun.
    Spawn(Id),
}

/// Who spawned a light thread. The coroutine of a task is known by the task, since it can be used again after that.
#[derive(Clone, Copy)]
pub(crate) enum Parent<C> {
    Task(Id),
    /// One of the user's coroutines, in whichever task it runs.
    User(C),
}

/// The light threads of a family, in the order of their births.
pub(crate) type Members = List<0>;
/// The queue, and zombies by their parents: where a task is depends on its state, and it is in one at most.
pub(crate) type Places = List<1>;

pub(crate) struct Task<H: Host> {
    pub kind: Cell<Kind>,
    pub state: Cell<State>,
    pub asked: Cell<Asked>,
    /// Woken while its future was being polled.
    pub woken: Cell<bool>,
    pub family: Cell<Option<Id>>,
    pub coroutine: Cell<Option<H::Coroutine>>,
    /// What it goes on with from the queue, or begins with.
    pub with: Cell<Resume<H::Coroutine>>,
    /// What it waits for or, while it runs, will; not while that is being polled.
    pub wait: Cell<Option<Wait>>,
    /// None where nobody spawned it.
    pub parent: Cell<Option<Parent<H::Coroutine>>>,
    /// The number of the wait in which it joins its children.
    pub joins: Cell<u64>,
    /// The task that has last asked to wait for its end, and the number of that wait.
    pub joined: Cell<Option<(Id, u64)>>,
    /// Its children that have ended.
    pub zombies: Places,
    pub links: [Links; 2],
}

impl<H: Host> Linked for Task<H> {
    #[inline]
    fn links(&self, which: usize) -> &Links {
        &self.links[which]
    }
}

impl<H: Host> Default for Task<H> {
    fn default() -> Self {
        Task {
            kind: Cell::new(Kind::Entry),
            state: Cell::new(State::Running),
            asked: Cell::new(Asked::Nothing),
            woken: Cell::new(false),
            family: Cell::new(None),
            coroutine: Cell::new(None),
            with: Cell::new(Resume::Nothing),
            wait: Cell::new(None),
            parent: Cell::new(None),
            joins: Cell::new(0),
            joined: Cell::new(None),
            zombies: Places::default(),
            links: <[Links; 2]>::default(),
        }
    }
}

impl<H: Host> Task<H> {
    /// Makes another of it; it was [`clear`](Self::clear)ed, or ended with nothing left over.
    #[inline]
    pub fn begin(
        &self,
        kind: Kind,
        family: Id,
        coroutine: H::Coroutine,
        parent: Option<Parent<H::Coroutine>>,
    ) {
        self.kind.set(kind);
        self.state.set(State::Running);
        self.family.set(Some(family));
        self.coroutine.set(Some(coroutine));
        self.parent.set(parent);
    }

    /// Forgets what the next one in its place must not find.
    pub fn clear(&self) {
        self.asked.set(Asked::Nothing);
        self.woken.set(false);
        self.joined.set(None);
        self.zombies.clear();
    }

    pub fn coroutine(&self) -> H::Coroutine {
        self.coroutine.get().expect("a task has a coroutine")
    }

    pub fn is_killed(&self) -> bool {
        self.state.get() == State::Killed
    }

    pub fn is_zombie(&self) -> bool {
        matches!(self.state.get(), State::Zombie { .. })
    }

    /// Whether it waits for a future.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state.get(), State::Waiting | State::Pausing)
    }
}
