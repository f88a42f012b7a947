//! The host: it runs scripts, writes down what happened, and panics when the scheduler breaks a promise.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use coro::{FamilyId, Host, Kind, Resume, Scheduler, Step, TaskId, Wait};

use super::script::{Number, Program};

/// What a future that was made by `sleep` ends with.
pub(super) const SLEPT: i32 = 7;

/// What one that was made by `next_turn` ends with, which nobody may see.
const TURNED: i32 = 8;

/// How many light threads, and how many of the user's coroutines, a program gets.
pub const MOST: usize = 24;

thread_local! {
    static WOKEN: RefCell<Vec<TaskId>> = const { RefCell::new(Vec::new()) };
}

/// The tasks that were woken since the last call.
pub fn woken() -> Vec<TaskId> {
    WOKEN.take()
}

/// A coroutine as the scheduler knows it. What has been released is used again at once, so that whoever still holds on to it
/// finds another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(u32);

/// Where a coroutine is in [`World::coroutines`].
pub(super) type Serial = usize;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Entry,
    Light,
    User,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    Suspended,
    /// It runs or waits, or what it has resumed does.
    Active,
    Dead,
}

/// What a coroutine has stopped for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Expects {
    Start,
    Nothing,
    Status,
    Spawned(Serial),
    Joined,
}

pub(super) struct Coroutine {
    pub(super) name: String,
    pub(super) body: Number,
    pub(super) next_op: usize,
    pub(super) role: Role,
    pub(super) life: Life,
    pub(super) expects: Expects,
    pub(super) family: usize,
    pub(super) slot: Slot,
    /// A task's own: itself and what it has resumed, the innermost last.
    pub(super) chain: Vec<Serial>,
    /// A task's own: the coroutine that spawned it.
    pub(super) spawner: Option<Serial>,
    pub(super) has_ended: bool,
    pub(super) released: bool,
}

struct Source {
    number: u64,
    name: String,
    fired: bool,
    waker: Option<Waker>,
}

pub struct Family {
    pub id: FamilyId,
    pub is_ending: bool,
    pub has_ended: bool,
}

type Maker = Rc<dyn Fn(&Machine, TaskId) -> Wait>;

#[derive(Default)]
pub struct World {
    pub(super) program: Option<Rc<Program>>,
    pub(super) coroutines: Vec<Coroutine>,
    /// Who is in each slot.
    slots: Vec<Serial>,
    free: Vec<Slot>,
    /// How often it was asked whether one lives.
    pub looks: usize,
    /// Light threads that have begun.
    pub threads: Vec<(Serial, TaskId)>,
    pub(super) users: Vec<Serial>,
    pub families: Vec<Family>,
    sources: Vec<Source>,
    made: u64,
    /// The tasks that run, one inside of another's future.
    running: Vec<Serial>,
    /// The task that has stopped last.
    stopped: Serial,
    pub trace: Vec<String>,
    pub(super) makers: HashMap<String, Maker>,
}

#[derive(Clone)]
pub struct Machine {
    pub scheduler: Rc<Scheduler<Machine>>,
    pub world: Rc<RefCell<World>>,
}

impl Machine {
    pub fn new(program: Program) -> Machine {
        let world = World { program: Some(Rc::new(program)), ..World::default() };
        Machine { scheduler: Rc::new(Scheduler::new()), world: Rc::new(RefCell::new(world)) }
    }

    pub(super) fn program(&self) -> Rc<Program> {
        self.world.borrow().program.clone().unwrap()
    }

    pub fn say(&self, line: impl Into<String>) {
        self.world.borrow_mut().trace.push(line.into());
    }

    /// Makes the future for `await NAME`.
    pub fn define(&self, name: &str, maker: impl Fn(&Machine, TaskId) -> Wait + 'static) {
        self.world.borrow_mut().makers.insert(name.into(), Rc::new(maker));
    }

    /// A family whose entry task has not begun.
    pub fn begin(&self, body: Number) -> (usize, TaskId) {
        let family = self.world.borrow().families.len();
        let entry = self.create(body, Role::Entry, family, None);
        let (id, task) = self.scheduler.begin(family, self.slot(entry));
        self.world.borrow_mut().families.push(Family { id, is_ending: false, has_ended: false });
        (family, task)
    }

    /// A light thread that nobody spawned; none when the family has ended.
    pub fn add(&self, family: usize, body: Number) -> Option<TaskId> {
        if self.world.borrow().threads.len() >= MOST {
            return None;
        }
        let light = self.create(body, Role::Light, family, None);
        let id = self.world.borrow().families[family].id;
        let task = self.scheduler.add(id, self.slot(light));
        if task.is_none() {
            self.take(light);
        }
        task
    }

    pub fn end(&self, family: usize) {
        let id = self.world.borrow().families[family].id;
        self.scheduler.end(&mut self.clone(), id);
        let mut world = self.world.borrow_mut();
        world.families[family].has_ended = true;
        for coroutine in &world.coroutines {
            if coroutine.family == family && coroutine.role != Role::User {
                assert!(coroutine.released, "{} outlives its family", coroutine.name);
            }
        }
    }

    /// What coroutines wait for, in the order in which that was asked for: the names of those who wait.
    pub fn sleepers(&self) -> Vec<String> {
        self.world.borrow().sources.iter().map(|source| source.name.clone()).collect()
    }

    /// Ends what the sleeper of that place waits for, and wakes it.
    pub fn fire(&self, place: usize) {
        let waker = {
            let source = &mut self.world.borrow_mut().sources[place];
            source.fired = true;
            source.waker.clone()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn create(
        &self,
        body: Number,
        role: Role,
        family: usize,
        spawner: Option<Serial>,
    ) -> Serial {
        let world = &mut *self.world.borrow_mut();
        let serial = world.coroutines.len();
        let slot = world.free.pop().unwrap_or_else(|| {
            world.slots.push(serial);
            Slot(world.slots.len() as u32 - 1)
        });
        world.slots[slot.0 as usize] = serial;
        let name = &world.program.as_ref().unwrap().0[body].name;
        let same = world.coroutines.iter().filter(|coroutine| coroutine.body == body).count();
        world.coroutines.push(Coroutine {
            name: if same == 0 { name.clone() } else { format!("{name}{}", same + 1) },
            body,
            next_op: 0,
            role,
            life: Life::Suspended,
            expects: Expects::Start,
            family,
            slot,
            chain: vec![serial],
            spawner,
            has_ended: false,
            released: false,
        });
        serial
    }

    pub(super) fn slot(&self, serial: Serial) -> Slot {
        self.world.borrow().coroutines[serial].slot
    }

    pub(super) fn serial(&self, slot: Slot) -> Serial {
        self.world.borrow().slots[slot.0 as usize]
    }

    pub fn users_slot(&self, user: Number) -> Slot {
        self.slot(self.world.borrow().users[user])
    }

    pub fn name(&self, serial: Serial) -> String {
        self.world.borrow().coroutines[serial].name.clone()
    }

    /// The slot is free from here on.
    pub(super) fn take(&self, serial: Serial) {
        let world = &mut *self.world.borrow_mut();
        let coroutine = &mut world.coroutines[serial];
        assert!(!coroutine.released, "{} is released twice", coroutine.name);
        assert!(!world.running.contains(&serial), "{} is released while it runs", coroutine.name);
        coroutine.released = true;
        coroutine.life = Life::Dead;
        world.free.push(coroutine.slot);
    }

    /// A future that is ready when it has been fired.
    fn source(&self, name: String, status: i32) -> Wait {
        let world = &mut *self.world.borrow_mut();
        world.made += 1;
        world.sources.push(Source { number: world.made, name, fired: false, waker: None });
        Box::pin(Fired { world: self.world.clone(), number: world.made, status })
    }

    /// Whatever the scheduler calls may call it.
    fn come_back(&self) {
        let nobody = TaskId::from_bits(1 << 32 | u64::from(u32::MAX)).unwrap();
        assert!(self.scheduler.proceed(&mut self.clone(), nobody).is_none());
    }

    /// `sleep`'s future.
    pub fn sleep(&self, name: &str) -> Wait {
        self.source(name.into(), SLEPT)
    }
}

struct Fired {
    world: Rc<RefCell<World>>,
    number: u64,
    status: i32,
}

impl Future for Fired {
    type Output = i32;

    fn poll(self: Pin<&mut Self>, context: &mut Context) -> Poll<i32> {
        let sources = &mut self.world.borrow_mut().sources;
        let source = sources.iter_mut().find(|source| source.number == self.number).unwrap();
        if source.fired {
            return Poll::Ready(self.status);
        }
        source.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Fired {
    fn drop(&mut self) {
        self.world.borrow_mut().sources.retain(|source| source.number != self.number);
    }
}

impl Host for Machine {
    type Coroutine = Slot;
    type Owner = usize;

    fn resume(&mut self, family: usize, task: TaskId, slot: Slot, with: Resume<Slot>) -> Step {
        self.come_back();
        let own = self.serial(slot);
        {
            let world = &mut *self.world.borrow_mut();
            assert!(!world.families[family].has_ended, "a task runs after its family's end");
            assert_eq!(world.coroutines[own].family, family);
            assert!(!world.coroutines[own].released);
            world.running.push(own);
            if matches!(with, Resume::Start(_)) && world.coroutines[own].role == Role::Light {
                world.threads.push((own, task));
            }
        }
        self.receive(own, with);
        let step = self.run(own, task);
        let world = &mut *self.world.borrow_mut();
        world.running.pop();
        world.stopped = own;
        step
    }

    fn is_ending(&self, family: usize) -> bool {
        self.come_back();
        let family = &self.world.borrow().families[family];
        assert!(!family.has_ended, "a family's owner is asked for after its end");
        family.is_ending
    }

    fn is_alive(&self, slot: Slot) -> bool {
        self.come_back();
        self.world.borrow_mut().looks += 1;
        let coroutine = &self.world.borrow().coroutines[self.serial(slot)];
        assert_eq!(coroutine.role, Role::User, "{} is not the user's", coroutine.name);
        coroutine.life != Life::Dead
    }

    fn report(&mut self, _family: usize, kind: Kind, slot: Slot) {
        self.come_back();
        let name = self.name(self.serial(slot));
        self.say(format!("{name} failed, {kind:?}"));
    }

    fn release(&mut self, family: usize, kind: Kind, slot: Slot, returned: bool) {
        self.come_back();
        assert!(!self.world.borrow().families[family].has_ended, "released after the family's end");
        let serial = self.serial(slot);
        self.take(serial);
        let line = {
            let world = self.world.borrow();
            let coroutine = &world.coroutines[serial];
            assert_eq!(coroutine.role == Role::Entry, kind == Kind::Entry);
            let is_users = |serial: Serial| world.coroutines[serial].role == Role::User;
            // When the scheduler finds out about a user's coroutine that died is its own business.
            if coroutine.has_ended && coroutine.spawner.is_some_and(is_users) {
                return;
            }
            let again = if returned { ", to be used again" } else { "" };
            format!("release {}{again}", coroutine.name)
        };
        self.say(line);
    }

    fn next_turn(&mut self) -> Wait {
        self.come_back();
        let name = self.name(self.world.borrow().stopped);
        self.source(name, TURNED)
    }

    fn wake(task: TaskId) {
        WOKEN.with_borrow_mut(|woken| woken.push(task));
    }
}
