//! What the operations of a script do.

use super::{place, Asked, Coroutine, Kind, Oracle, Stop, Task, Who};
use crate::common::machine::MOST;
use crate::common::script::{Number, Op};

impl Oracle {
    /// Runs a task's script until it stops.
    pub(super) fn run(&mut self, task: Who) -> Stop {
        let me = self.innermost(task);
        let name = self.name(me);
        match std::mem::replace(&mut self.coroutines[task].task, Task::Running) {
            Task::Unborn if self.coroutines[task].kind == Kind::Light => self.threads.push(task),
            Task::Sleeping => self.say(format!("{name}: slept")),
            Task::Queued(Some(child)) => self.say(format!("{name}: spawned {}", self.name(child))),
            Task::Joining(children) => {
                let is_zombie =
                    |child: &&Who| matches!(self.coroutines[**child].task, Task::Zombie(_));
                let child = *children.iter().find(is_zombie).expect("one has ended");
                self.joined(&name, child);
            }
            _ => {}
        }
        loop {
            let me = self.innermost(task);
            let coroutine = &mut self.coroutines[me];
            coroutine.at += 1;
            let op = self.program.0[coroutine.body].ops.get(coroutine.at - 1).cloned();
            let stop = match op {
                Some(Op::Fail) => self.finish(me, task, false),
                None => self.finish(me, task, true),
                Some(op) => self.perform(&op, me, task),
            };
            if let Some(stop) = stop {
                return stop;
            }
        }
    }

    fn perform(&mut self, op: &Op, me: Who, task: Who) -> Option<Stop> {
        let name = self.name(me);
        let family = self.coroutines[task].family;
        match op {
            Op::Say(text) => self.say(format!("{name}: {text}")),
            Op::Yield if me == task => return Some(Stop::Yields),
            Op::Yield => {
                self.coroutines[me].kind = Kind::User(false);
                self.back_from(me, task, "yielded");
            }
            Op::Sleep => return self.asks(task, Asked::Sleep),
            Op::Spawn(body) => {
                let is_light = |coroutine: &&Coroutine| coroutine.kind == Kind::Light;
                if self.coroutines.iter().filter(is_light).count() < MOST {
                    let child = self.create(*body, Kind::Light, family, Some(me));
                    return self.asks(task, Asked::Spawn(child));
                }
            }
            Op::Join(threads) => return self.join(threads, me, task),
            Op::Kill(thread) => self.kill(*thread, me, family),
            Op::Status(thread) => {
                let thread = self.thread(*thread)?;
                let status = match self.coroutines[thread].task {
                    Task::Zombie(_) => "Zombie",
                    Task::Gone | Task::Killed => "Dead",
                    _ => "Running",
                };
                self.say(format!("{name}: {} is {status}", self.name(thread)));
            }
            Op::Create(body) => {
                if self.users.len() < MOST {
                    let user = self.create(*body, Kind::User(false), 0, None);
                    self.users.push(user);
                }
            }
            Op::Resume(user) => {
                let user = self.users[place(*user, self.users.len())?];
                if self.coroutines[user].kind == Kind::User(false) {
                    self.coroutines[user].kind = Kind::User(true);
                    self.coroutines[task].chain.push(user);
                } else {
                    self.say(format!("{name}: can't resume {}", self.name(user)));
                }
            }
            Op::Try(op) => {
                if self.perform(op, me, task).is_some() {
                    self.say(format!("{name}: can't wait"));
                }
            }
            Op::Exit => {
                self.families[family].is_ending = true;
                return Some(Stop::Waits);
            }
            Op::Await(_) | Op::Fail => {
                unreachable!("futures of a test's own are not for the oracle")
            }
        }
        None
    }

    fn asks(&mut self, task: Who, asked: Asked) -> Option<Stop> {
        self.give_up(task);
        self.coroutines[task].asked = asked;
        Some(Stop::Waits)
    }

    fn join(&mut self, threads: &[Number], me: Who, task: Who) -> Option<Stop> {
        let children: Option<Vec<Who>> = threads.iter().map(|&n| self.thread(n)).collect();
        let (children, name) = (children?, self.name(me));
        self.give_up(task);
        let mut is_last_gone = true;
        for &child in &children {
            is_last_gone = matches!(self.coroutines[child].task, Task::Gone | Task::Killed);
            if is_last_gone {
                continue;
            }
            if !self.may(me, self.coroutines[task].family, child) {
                self.say(format!("{name}: can't join another's"));
                return None;
            }
            if matches!(self.coroutines[child].task, Task::Zombie(_)) {
                self.joined(&name, child);
                return None;
            }
        }
        if is_last_gone {
            self.say(format!("{name}: joined one that is gone"));
            return None;
        }
        self.asks(task, Asked::Join(children))
    }

    fn joined(&mut self, name: &str, child: Who) {
        let how = if self.coroutines[child].task == Task::Zombie(true) { "well" } else { "failed" };
        self.take_out(child);
        self.say(format!("{name}: joined {}, {how}", self.name(child)));
    }

    fn kill(&mut self, thread: Number, me: Who, family: usize) {
        let Some(child) = self.thread(thread) else { return };
        let what = match self.coroutines[child].task {
            Task::Gone | Task::Killed => "killed what was gone,",
            _ if !self.may(me, family, child) => "can't kill",
            Task::Running => {
                self.coroutines[child].task = Task::Killed;
                "killed"
            }
            Task::Zombie(_) => {
                self.release(child, false);
                "killed what had ended,"
            }
            _ => {
                self.forget_children(child);
                self.release(child, false);
                "killed"
            }
        };
        self.say(format!("{}: {what} {}", self.name(me), self.name(child)));
    }

    /// Only who spawned it may ask for a light thread, and only in the family where it is.
    fn may(&self, me: Who, family: usize, child: Who) -> bool {
        self.coroutines[child].spawner == Some(me) && self.coroutines[child].family == family
    }

    fn finish(&mut self, me: Who, task: Who, well: bool) -> Option<Stop> {
        self.coroutines[me].has_ended = true;
        if me == task {
            return Some(Stop::Ended(well));
        }
        self.coroutines[me].kind = Kind::DeadUser;
        self.back_from(me, task, if well { "returned" } else { "failed" });
        None
    }

    fn back_from(&mut self, me: Who, task: Who, how: &str) {
        self.coroutines[task].chain.pop();
        self.say(format!("{}: {} {how}", self.name(self.innermost(task)), self.name(me)));
    }
}
