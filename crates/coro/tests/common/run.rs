//! How the machine runs scripts: a task's own coroutine, and in it whichever of the user's it has resumed.

use coro::{Join, Kill, Resume, Step, TaskId};

use super::machine::{Expects, Life, Machine, Role, Serial, MOST, SLEPT};
use super::script::{Number, Op};

impl Machine {
    /// What the innermost coroutine's stop returns.
    pub(super) fn receive(&self, own: Serial, with: Resume<super::machine::Slot>) {
        let me = self.innermost(own);
        let expects = std::mem::replace(
            &mut self.world.borrow_mut().coroutines[me].expects,
            Expects::Nothing,
        );
        let name = self.name(me);
        match (expects, with) {
            (Expects::Start, Resume::Start(0)) => {
                self.world.borrow_mut().coroutines[me].life = Life::Active;
            }
            (Expects::Nothing, Resume::Nothing) => {}
            (Expects::Status, Resume::Status(SLEPT)) => self.say(format!("{name}: slept")),
            (Expects::Spawned(child), Resume::Spawned(slot)) => {
                assert_eq!(self.serial(slot), child);
                self.say(format!("{name}: spawned {}", self.name(child)));
            }
            (Expects::Joined, Resume::Joined(slot, well)) => self.joined(me, slot, well),
            (expects, with) => panic!("{name} expects {expects:?} and gets {with:?}"),
        }
    }

    /// Until the task returns, fails or stops.
    pub(super) fn run(&self, own: Serial, task: TaskId) -> Step {
        loop {
            let me = self.innermost(own);
            let op = {
                let world = &mut *self.world.borrow_mut();
                let coroutine = &mut world.coroutines[me];
                coroutine.next_op += 1;
                world.program.as_ref().unwrap().0[coroutine.body]
                    .ops
                    .get(coroutine.next_op - 1)
                    .cloned()
            };
            let step = match op {
                Some(op) => self.perform(&op, me, own, task),
                None => self.finish(me, own, Step::Returned, "returned"),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn innermost(&self, own: Serial) -> Serial {
        *self.world.borrow().coroutines[own].chain.last().unwrap()
    }

    fn perform(&self, op: &Op, me: Serial, own: Serial, task: TaskId) -> Option<Step> {
        let name = self.name(me);
        let host = &mut self.clone();
        match op {
            Op::Say(text) => self.say(format!("{name}: {text}")),
            Op::Yield if me == own => return self.stop(me, Expects::Nothing, Step::Yields),
            Op::Yield => {
                self.world.borrow_mut().coroutines[me].life = Life::Suspended;
                self.back(me, own, "yielded");
            }
            Op::Sleep => {
                self.scheduler.wait_for(host, task, self.sleep(&name));
                return self.stop(me, Expects::Status, Step::Waits);
            }
            Op::Await(future) => {
                let maker = self.world.borrow().makers[future].clone();
                self.scheduler.wait_for(host, task, maker(self, task));
                return self.stop(me, Expects::Status, Step::Waits);
            }
            Op::Spawn(body) => {
                if self.count(Role::Light) >= MOST {
                    return None;
                }
                let family = self.world.borrow().coroutines[own].family;
                let child = self.create(*body, Role::Light, family, Some(me));
                self.scheduler.spawn(host, task, self.slot(me), self.slot(child), 0);
                return self.stop(me, Expects::Spawned(child), Step::Waits);
            }
            Op::Join(threads) => return self.join(me, task, threads),
            Op::Kill(thread) => self.kill(me, task, *thread),
            Op::Status(thread) => {
                let (thread, id) = self.thread(*thread)?;
                let status = self.scheduler.status(id);
                self.say(format!("{name}: {} is {status:?}", self.name(thread)));
            }
            Op::Create(body) => {
                if self.count(Role::User) < MOST {
                    let user = self.create(*body, Role::User, 0, None);
                    self.world.borrow_mut().users.push(user);
                }
            }
            Op::Resume(user) => self.go_into(me, own, *user),
            Op::Try(op) => {
                let step = self.perform(op, me, own, task);
                self.world.borrow_mut().coroutines[me].expects = Expects::Nothing;
                match step {
                    None => {}
                    Some(Step::Waits) => self.say(format!("{name}: can't wait")),
                    Some(step) => panic!("try {op:?} is {step:?}"),
                }
            }
            Op::Exit => {
                let world = &mut *self.world.borrow_mut();
                let family = world.coroutines[own].family;
                world.families[family].is_ending = true;
                return Some(Step::Waits);
            }
            Op::Fail => return self.finish(me, own, Step::Failed, "failed"),
        }
        None
    }

    fn stop(&self, me: Serial, expects: Expects, step: Step) -> Option<Step> {
        self.world.borrow_mut().coroutines[me].expects = expects;
        Some(step)
    }

    fn finish(&self, me: Serial, own: Serial, step: Step, how: &str) -> Option<Step> {
        self.world.borrow_mut().coroutines[me].has_ended = true;
        if me == own {
            return Some(step);
        }
        self.world.borrow_mut().coroutines[me].life = Life::Dead;
        self.back(me, own, how);
        None
    }

    /// Who resumed it goes on.
    fn back(&self, me: Serial, own: Serial, how: &str) {
        self.world.borrow_mut().coroutines[own].chain.pop();
        self.say(format!("{}: {} {how}", self.name(self.innermost(own)), self.name(me)));
    }

    fn go_into(&self, me: Serial, own: Serial, user: Number) {
        let user = {
            let users = &self.world.borrow().users;
            match users.len() {
                0 => return,
                n => users[user % n],
            }
        };
        if self.world.borrow().coroutines[user].life != Life::Suspended {
            return self.say(format!("{}: can't resume {}", self.name(me), self.name(user)));
        }
        let world = &mut *self.world.borrow_mut();
        world.coroutines[user].life = Life::Active;
        world.coroutines[own].chain.push(user);
    }

    fn join(&self, me: Serial, task: TaskId, threads: &[Number]) -> Option<Step> {
        let ids: Vec<TaskId> =
            threads.iter().filter_map(|&n| self.thread(n)).map(|(_, id)| id).collect();
        if ids.len() < threads.len() {
            return None;
        }
        let name = self.name(me);
        match self.scheduler.join(&mut self.clone(), task, self.slot(me), &ids) {
            Join::Wait => return self.stop(me, Expects::Joined, Step::Waits),
            Join::Ended(slot, well) => self.joined(me, slot, well),
            Join::Gone => self.say(format!("{name}: joined one that is gone")),
            Join::NotParent => self.say(format!("{name}: can't join another's")),
        }
        None
    }

    fn joined(&self, me: Serial, slot: super::machine::Slot, well: bool) {
        let child = self.serial(slot);
        self.take(child);
        let how = if well { "well" } else { "failed" };
        self.say(format!("{}: joined {}, {how}", self.name(me), self.name(child)));
    }

    fn kill(&self, me: Serial, task: TaskId, thread: Number) {
        let Some((child, id)) = self.thread(thread) else { return };
        let what = match self.scheduler.kill(&mut self.clone(), task, self.slot(me), id) {
            Kill::Killed => "killed",
            Kill::Ended => "killed what had ended,",
            Kill::Gone => "killed what was gone,",
            Kill::NotParent => "can't kill",
        };
        self.say(format!("{}: {what} {}", self.name(me), self.name(child)));
    }

    /// The light thread of that number. When the scheduler finds out about a user's coroutine that died is its own business, so
    /// those that ended before are asked for no more.
    fn thread(&self, number: Number) -> Option<(Serial, TaskId)> {
        let world = self.world.borrow();
        let &(serial, id) = world.threads.get(number.checked_rem(world.threads.len())?)?;
        let thread = &world.coroutines[serial];
        let is_dead_user = |spawner: Serial| {
            let spawner = &world.coroutines[spawner];
            spawner.role == Role::User && spawner.life == Life::Dead
        };
        let is_forgotten = thread.has_ended && thread.spawner.is_some_and(is_dead_user);
        (!is_forgotten).then_some((serial, id))
    }

    fn count(&self, role: Role) -> usize {
        self.world.borrow().coroutines.iter().filter(|coroutine| coroutine.role == role).count()
    }
}
