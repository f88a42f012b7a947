//! The tasks and families that there are, what ties them to each other, and how they go.

use crate::arena::{Arena, Found, Id};
use crate::family::Family;
use crate::task::{Asked, Host, Kind, Members, Parent, Places, State, Status, Task, Wait};

pub(crate) struct Tables<H: Host> {
    pub tasks: Arena<Task<H>>,
    pub families: Arena<Family<H>>,
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

impl<H: Host> Tables<H> {
    pub const fn new() -> Self {
        Tables { tasks: Arena::new(), families: Arena::new() }
    }

    pub fn new_light(
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
    pub fn family_of(&self, task: &Task<H>) -> Option<Found<'_, Family<H>>> {
        self.families.get(task.family.get()?)
    }

    #[inline]
    pub fn give_up_of(&self, host: &mut H, task: Found<'_, Task<H>>) {
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

    /// The task that waits for the end of this one.
    pub fn joining(&self, task: &Task<H>) -> Option<Found<'_, Task<H>>> {
        let (parent, number) = task.joined.get()?;
        let parent = self.tasks.get(parent)?;
        let waits = parent.state.get() == State::Joining && parent.joins.get() == number;
        waits.then_some(parent)
    }

    pub fn is_parent(&self, caller: H::Coroutine, task: &Task<H>) -> bool {
        match task.parent.get() {
            Some(Parent::Task(parent)) => {
                self.tasks.get(parent).is_some_and(|parent| parent.coroutine() == caller)
            }
            Some(Parent::User(coroutine)) => coroutine == caller,
            None => false,
        }
    }

    pub fn is_parent_alive(&self, host: &H, task: &Task<H>) -> bool {
        match task.parent.get() {
            Some(Parent::Task(parent)) => self.status(parent) == Status::Running,
            Some(Parent::User(coroutine)) => host.is_alive(coroutine),
            None => false,
        }
    }

    /// Takes a task, and its children that have ended, out.
    pub fn bury(&self, host: &mut H, task: Found<'_, Task<H>>) {
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
    pub fn sweep(&self, host: &mut H, family: Found<'_, Family<H>>, task: Found<'_, Task<H>>) {
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
    pub fn remove(&self, task: Found<'_, Task<H>>) -> Option<Removed<H>> {
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

    /// Ends all tasks of the family, whatever they wait for.
    pub fn end(&self, host: &mut H, family: Found<'_, Family<H>>) {
        self.families.remove(family);
        let owner = family.owner();
        let mut removed = Vec::new();
        let mut task = family.entry.get().and_then(|entry| self.tasks.get(entry));
        let mut light = family.lights.first(&self.tasks);
        while let Some(this) = task.or(light) {
            if task.take().is_none() {
                light = Members::after(&self.tasks, &this);
            }
            removed.push(Removed::of(owner, &this));
            self.tasks.remove(this);
        }
        family.clear();
        for task in removed {
            task.release(host, false);
        }
    }

    /// What others see of a task.
    pub fn status(&self, id: Id) -> Status {
        match self.tasks.get(id) {
            Some(task) if task.is_zombie() => Status::Zombie,
            Some(task) if !task.is_killed() => Status::Running,
            _ => Status::Dead,
        }
    }
}
