//! What becomes of a task when it stops, and who runs next.

use std::task::{Context, Poll};

use crate::arena::Found;
use crate::family::Family;
use crate::tables::Tables;
use crate::task::{Asked, Host, Kind, Parent, Resume, State, Step, Task, Wait};
use crate::waker::waker;

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

/// What to do after a task has stopped.
pub(crate) enum Next<'a, H: Host> {
    Resume(Found<'a, Task<H>>, Resume<H::Coroutine>),
    Poll(Found<'a, Task<H>>, Wait),
    Stop(Outcome),
}

/// A family that runs.
pub(crate) struct Run<'a, H: Host> {
    tables: &'a Tables<H>,
    host: &'a mut H,
    family: Found<'a, Family<H>>,
    owner: H::Owner,
}

impl<'a, H: Host> Run<'a, H> {
    #[inline]
    pub fn new(tables: &'a Tables<H>, host: &'a mut H, family: Found<'a, Family<H>>) -> Run<'a, H> {
        let owner = family.owner();
        Run { tables, host, family, owner }
    }

    /// Goes on until nobody of the family can.
    pub fn drive(mut self, mut next: Next<'a, H>) -> Outcome {
        loop {
            next = match next {
                Next::Stop(outcome) => return outcome,
                Next::Resume(task, with) => self.resume(task, with),
                Next::Poll(task, wait) => self.poll(task, wait),
            }
        }
    }

    #[inline]
    fn resume(&mut self, task: Found<'a, Task<H>>, with: Resume<H::Coroutine>) -> Next<'a, H> {
        task.state.set(State::Running);
        let step = self.host.resume(self.owner, task.id(), task.coroutine(), with);
        if !self.family.is_there() {
            return Next::Stop(Outcome::Gone);
        }
        match step {
            Step::Returned => self.returned(task),
            Step::Failed => self.failed(task),
            Step::Waits | Step::Yields if self.host.is_ending(self.owner) => {
                Next::Stop(Outcome::Ended)
            }
            Step::Waits | Step::Yields if task.is_killed() => self.killed(task),
            Step::Waits => self.waits(task),
            Step::Yields => {
                // What it asked for before, and could not wait for.
                self.tables.give_up_of(self.host, task);
                self.lets_others_run(task)
            }
        }
    }

    #[inline]
    fn returned(&mut self, task: Found<'a, Task<H>>) -> Next<'a, H> {
        // What most families come to.
        let is_entry = task.kind.get() == Kind::Entry;
        if is_entry && self.family.lights.is_empty() && task.asked.get() == Asked::Nothing {
            let coroutine = task.coroutine();
            self.tables.tasks.remove(task);
            self.tables.families.remove(self.family);
            self.host.release(self.owner, Kind::Entry, coroutine, true);
            return Next::Stop(Outcome::Over);
        }
        self.ended(task, true)
    }

    #[cold]
    fn failed(&mut self, task: Found<'a, Task<H>>) -> Next<'a, H> {
        let kind = task.kind.get();
        self.host.report(self.owner, kind, task.coroutine());
        match kind {
            Kind::Entry => Next::Stop(Outcome::Failed),
            Kind::Light => self.ended(task, false),
        }
    }

    /// A task that was killed while it ran has stopped.
    #[cold]
    fn killed(&mut self, task: Found<'a, Task<H>>) -> Next<'a, H> {
        self.tables.give_up_of(self.host, task);
        self.tables.bury(self.host, task);
        self.next()
    }

    /// Who runs next of the family.
    fn next(&self) -> Next<'a, H> {
        if !self.family.is_there() {
            return Next::Stop(Outcome::Gone);
        }
        if let Some(task) = self.family.queue.first(&self.tables.tasks) {
            self.family.queue.remove(&self.tables.tasks, &task);
            return Next::Resume(task, task.with.get());
        }
        let is_over = self.family.live.get() == 0;
        Next::Stop(if is_over { Outcome::Over } else { Outcome::Waiting })
    }

    fn queue(&self, task: Found<'a, Task<H>>, with: Resume<H::Coroutine>) {
        task.state.set(State::Ready);
        task.with.set(with);
        self.family.queue.push(&self.tables.tasks, task);
    }

    /// The task stopped for what it asked for.
    fn waits(&mut self, task: Found<'a, Task<H>>) -> Next<'a, H> {
        match task.asked.replace(Asked::Nothing) {
            Asked::Wait => self.begins_to_wait(task, State::Waiting),
            Asked::Pause => self.begins_to_wait(task, State::Pausing),
            Asked::Join => {
                task.state.set(State::Joining);
                self.next()
            }
            Asked::Spawn(child) => match self.tables.tasks.get(child) {
                Some(child) => {
                    self.queue(task, Resume::Spawned(child.coroutine()));
                    Next::Resume(child, child.with.get())
                }
                None => self.next(),
            },
            Asked::Nothing => self.lets_others_run(task),
        }
    }

    fn begins_to_wait(&mut self, task: Found<'a, Task<H>>, state: State) -> Next<'a, H> {
        task.state.set(state);
        match task.wait.take() {
            Some(wait) => Next::Poll(task, wait),
            None => self.next(),
        }
    }

    /// The task goes on after those that are queued or, where there are none, in the family's next turn.
    fn lets_others_run(&mut self, task: Found<'a, Task<H>>) -> Next<'a, H> {
        // Giving up what it asked for may have killed it, or ended its family.
        if !self.family.is_there() {
            return Next::Stop(Outcome::Gone);
        }
        if task.is_killed() {
            return self.killed(task);
        }
        if self.family.queue.is_empty() {
            task.state.set(State::Pausing);
            return Next::Poll(task, self.host.next_turn());
        }
        self.queue(task, Resume::Nothing);
        self.next()
    }

    #[inline]
    fn poll(&mut self, task: Found<'a, Task<H>>, mut wait: Wait) -> Next<'a, H> {
        let waker = waker::<H>(task.id());
        loop {
            let polled = wait.as_mut().poll(&mut Context::from_waker(&waker));
            // Dropping it may come back, so that it has to go before anything is looked at.
            let (status, pending) = match polled {
                Poll::Ready(status) => {
                    drop(wait);
                    (status, None)
                }
                Poll::Pending => (0, Some(wait)),
            };
            if !self.family.is_there() {
                return Next::Stop(Outcome::Gone);
            }
            let is_ending = self.host.is_ending(self.owner);
            if !task.is_there() {
                // It was killed meanwhile.
                drop(pending);
                return if is_ending { Next::Stop(Outcome::Ended) } else { self.next() };
            }
            let is_woken = task.woken.replace(false);
            match pending {
                _ if is_ending => {
                    task.wait.set(pending);
                    return Next::Stop(Outcome::Ended);
                }
                None if task.state.get() == State::Pausing => {
                    return Next::Resume(task, Resume::Nothing);
                }
                None => return Next::Resume(task, Resume::Status(status)),
                Some(again) if is_woken => wait = again,
                Some(pending) => {
                    task.wait.set(Some(pending));
                    return self.next();
                }
            }
        }
    }

    /// The task's code came to its end.
    fn ended(&mut self, task: Found<'a, Task<H>>, well: bool) -> Next<'a, H> {
        let tables = self.tables;
        tables.give_up_of(self.host, task);
        tables.sweep(self.host, self.family, task);
        let is_parent_alive = tables.is_parent_alive(self.host, &task);
        if !task.is_there() {
            return self.next();
        }
        let joining = match task.is_killed() {
            true => None,
            false => tables.joining(&task),
        };
        if let Some(parent) = joining {
            let coroutine = task.coroutine();
            tables.remove(task);
            return Next::Resume(parent, Resume::Joined(coroutine, well));
        }
        if task.is_killed() || !is_parent_alive {
            if let Some(removed) = tables.remove(task) {
                removed.release(self.host, well);
            }
            return self.next();
        }
        task.state.set(State::Zombie { well });
        self.family.live.set(self.family.live.get() - 1);
        match task.parent.get() {
            Some(Parent::Task(parent)) => {
                if let Some(parent) = tables.tasks.get(parent) {
                    parent.zombies.push(&tables.tasks, task);
                }
            }
            _ => {
                let of_users = &self.family.of_users;
                of_users.list.push(&tables.tasks, task);
                of_users.count.set(of_users.count.get() + 1);
            }
        }
        self.next()
    }
}
