//! What a task is, and what the scheduler asks of its host.

use std::future::Future;
use std::pin::Pin;

use crate::arena::Id;

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

pub(crate) enum State<C> {
    Running,
    /// It runs, but was killed, and goes as soon as it stops.
    Killed,
    /// In the family's queue.
    Ready(Resume<C>),
    /// What it waits for is in its slot, or is being polled.
    Waiting {
        /// That is the family's next turn, so that nobody wants its status.
        yielded: bool,
    },
    /// Until one of the children that it joined in the wait of that number has ended.
    Joining(u64),
    Zombie {
        well: bool,
    },
}

/// What a running task has asked for and will wait for when it stops.
pub(crate) enum Asked<C> {
    Nothing,
    Future(Wait),
    Spawn {
        /// The task's own coroutine, or one of the user's that it runs.
        spawner: C,
        coroutine: C,
        arguments: i32,
    },
    Join(u64),
}

/// Who spawned a light thread. The coroutine of a task is known by the task, since it can be used again after that.
#[derive(Clone, Copy)]
pub(crate) enum Parent<C> {
    Task(Id),
    /// One of the user's coroutines, in whichever task it runs.
    User(C),
}

pub(crate) struct Task<C> {
    pub kind: Kind,
    pub family: Id,
    pub coroutine: C,
    /// None where nobody spawned it.
    pub parent: Option<Parent<C>>,
    pub state: State<C>,
    pub asked: Asked<C>,
    /// What it waits for, while that isn't being polled.
    pub wait: Option<Wait>,
    /// Woken while its future was being polled.
    pub woken: bool,
    /// The task that has last asked to wait for its end, and the number of that wait.
    pub joined: Option<(Id, u64)>,
}

impl<C> Task<C> {
    pub fn is_killed(&self) -> bool {
        matches!(self.state, State::Killed)
    }
}
