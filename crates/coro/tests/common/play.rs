//! A program on the machine, and what happens to it from outside.

use coro::{Outcome, TaskId};

use super::machine::{woken, Machine};
use super::script::{Event, Program};

pub struct Play {
    pub machine: Machine,
    program: Program,
}

impl Play {
    pub fn new(program: &str) -> Play {
        Play::of(Program::parse(program))
    }

    pub fn of(program: Program) -> Play {
        woken();
        Play { machine: Machine::new(program.clone()), program }
    }

    /// Begins a family with the program's first body, and runs it.
    pub fn started(program: &str) -> Play {
        let play = Play::new(program);
        play.start(0);
        play
    }

    /// Begins a family, and runs it.
    pub fn start(&self, body: usize) {
        let (family, task) = self.machine.begin(body);
        let outcome = self.machine.scheduler.run(&mut self.machine.clone(), task, 0);
        self.settle(family, outcome);
        self.proceed_all();
    }

    /// A light thread that nobody spawned.
    pub fn add(&self, family: usize, body: usize) {
        if let Some(task) = self.machine.add(family, body) {
            let outcome = self.machine.scheduler.run(&mut self.machine.clone(), task, 0);
            self.settle(family, outcome);
            self.proceed_all();
        }
    }

    pub fn happens(&self, event: &Event) {
        let place = |number: usize, len: usize| (len > 0).then(|| number % len);
        let families = self.machine.world.borrow().families.len();
        match *event {
            Event::Begin(body) => self.start(body),
            Event::Add(family, body) => {
                if let Some(family) = place(family, families) {
                    self.add(family, body);
                }
            }
            Event::Fire(sleeper) => {
                if let Some(sleeper) = place(sleeper, self.machine.sleepers().len()) {
                    self.fire_at(sleeper);
                }
            }
            Event::Wake(thread) => {
                let woken = {
                    let threads = &self.machine.world.borrow().threads;
                    place(thread, threads.len()).map(|thread| threads[thread].1)
                };
                if let Some(task) = woken {
                    self.proceed(task);
                }
            }
            Event::End(family) => {
                if let Some(family) = place(family, families) {
                    self.end(family);
                }
            }
        }
    }

    /// What the coroutine of that name waits for has ended.
    pub fn fire(&self, name: &str) {
        let sleepers = self.machine.sleepers();
        let place = sleepers.iter().position(|sleeper| sleeper == name);
        self.fire_at(place.unwrap_or_else(|| panic!("{name} doesn't sleep: {sleepers:?}")));
    }

    pub fn fire_at(&self, place: usize) {
        self.machine.say(format!("* {}", self.machine.sleepers()[place]));
        self.machine.fire(place);
        self.proceed_all();
    }

    pub fn end(&self, family: usize) {
        self.machine.say("* the end");
        self.machine.end(family);
        self.proceed_all();
    }

    /// Ends all families, after which the machine has nothing left.
    pub fn end_all(&self) {
        let families = self.machine.world.borrow().families.len();
        for family in 0..families {
            self.end(family);
        }
    }

    /// Goes on with whoever was woken.
    pub fn proceed_all(&self) {
        loop {
            let tasks = woken();
            if tasks.is_empty() {
                return;
            }
            for task in tasks {
                self.proceed(task);
            }
        }
    }

    pub fn proceed(&self, task: TaskId) {
        let family = self.machine.scheduler.owner(task);
        if let Some(outcome) = self.machine.scheduler.proceed(&mut self.machine.clone(), task) {
            self.settle(family.expect("a task that goes on has a family"), outcome);
        }
    }

    fn settle(&self, family: usize, outcome: Outcome) {
        self.machine.say(format!("= {outcome:?}"));
        match outcome {
            Outcome::Waiting => {}
            _ => self.machine.end(family),
        }
    }

    pub fn program(&self) -> &Program {
        &self.program
    }

    /// What has happened since the last call, a line each.
    pub fn trace(&self) -> String {
        std::mem::take(&mut self.machine.world.borrow_mut().trace).join("\n")
    }

    /// Expects what has happened since the last call.
    #[track_caller]
    pub fn expect(&self, lines: &str) {
        let lines: Vec<&str> =
            lines.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let trace = self.trace();
        assert_eq!(trace.lines().collect::<Vec<_>>(), lines, "\n{trace}\n");
    }
}
