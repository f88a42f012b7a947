//! What has to happen when scripts run, told a second time and as simply as possible: lists that are searched through, no ids, no
//! futures, and one rule after the other. It writes the lines that the machine writes.

mod scripts;

use super::machine::MOST;
use super::script::{Event, Number, Program};

/// Where a coroutine is in [`Oracle::coroutines`].
type Who = usize;

#[derive(Clone, PartialEq, Debug)]
enum Task {
    Unborn,
    Running,
    /// Runs, and is dead for everybody else.
    Killed,
    /// In its family's queue, and what it has spawned before.
    Queued(Option<Who>),
    Sleeping,
    /// Lets others run, and nobody else can.
    Resting,
    Joining(Vec<Who>),
    Zombie(bool),
    Gone,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Entry,
    Light,
    /// `true` while it runs, waits or has resumed another.
    User(bool),
    DeadUser,
}

/// What a coroutine has asked for last, and what it stops for.
#[derive(Clone, PartialEq, Debug)]
enum Asked {
    Nothing,
    Sleep,
    Spawn(Who),
    Join(Vec<Who>),
}

struct Coroutine {
    name: String,
    body: Number,
    at: usize,
    kind: Kind,
    family: usize,
    /// None where nobody spawned it.
    spawner: Option<Who>,
    has_ended: bool,
    // Only of tasks, from here on.
    task: Task,
    asked: Asked,
    /// Itself, and what it has resumed, the innermost last.
    chain: Vec<Who>,
}

#[derive(Default)]
struct Family {
    /// The entry, then the light threads in the order in which they were spawned.
    tasks: Vec<Who>,
    queue: Vec<Who>,
    is_ending: bool,
    has_ended: bool,
}

/// How a task stopped.
enum Stop {
    Ended(bool),
    Waits,
    Yields,
}

/// A trace in which tasks that are released one after the other are sorted: their order is nobody's business.
pub fn sorted(trace: &str) -> String {
    let mut lines: Vec<&str> = trace.lines().collect();
    let is_release = |line: &&str| line.starts_with("release ");
    for lines in lines.chunk_by_mut(|one, next| is_release(one) && is_release(next)) {
        lines.sort_unstable();
    }
    lines.join("\n")
}

pub struct Oracle {
    program: Program,
    coroutines: Vec<Coroutine>,
    families: Vec<Family>,
    /// In the order in which they began.
    threads: Vec<Who>,
    users: Vec<Who>,
    /// Tasks that sleep or rest, in the order in which they began to.
    sleepers: Vec<(String, Who)>,
    trace: Vec<String>,
}

impl Oracle {
    pub fn new(program: Program) -> Oracle {
        let (coroutines, families, threads) = (Vec::new(), Vec::new(), Vec::new());
        let (users, sleepers, trace) = (Vec::new(), Vec::new(), Vec::new());
        Oracle { program, coroutines, families, threads, users, sleepers, trace }
    }

    pub fn trace(&mut self) -> String {
        std::mem::take(&mut self.trace).join("\n")
    }

    pub fn happens(&mut self, event: &Event) {
        match *event {
            Event::Begin(body) => {
                self.families.push(Family::default());
                let family = self.families.len() - 1;
                let entry = self.create(body, Kind::Entry, family, None);
                self.families[family].tasks.push(entry);
                self.turn(family, entry);
            }
            Event::Add(family, body) => {
                let Some(family) = place(family, self.families.len()) else { return };
                if self.threads.len() >= MOST {
                    return;
                }
                let light = self.create(body, Kind::Light, family, None);
                if self.families[family].has_ended {
                    return;
                }
                self.families[family].tasks.push(light);
                self.turn(family, light);
            }
            Event::Fire(sleeper) => {
                let Some(sleeper) = place(sleeper, self.sleepers.len()) else { return };
                let (name, task) = self.sleepers.remove(sleeper);
                self.say(format!("* {name}"));
                let family = self.coroutines[task].family;
                if self.families[family].is_ending {
                    self.stops(family, "Ended");
                } else {
                    self.turn(family, task);
                }
            }
            Event::Wake(thread) => {
                let Some(thread) = place(thread, self.threads.len()) else { return };
                let Coroutine { family, ref task, .. } = self.coroutines[self.threads[thread]];
                // It looks whether it may go on, and may not.
                if matches!(task, Task::Sleeping | Task::Resting) {
                    let is_ending = self.families[family].is_ending;
                    self.stops(family, if is_ending { "Ended" } else { "Waiting" });
                }
            }
            Event::End(family) => {
                let Some(family) = place(family, self.families.len()) else { return };
                self.say("* the end".into());
                self.end(family);
            }
        }
    }

    /// The task goes on, and after it whoever of its family can.
    fn turn(&mut self, family: usize, task: Who) {
        let outcome = self.run_all(family, task);
        self.stops(family, outcome);
    }

    fn stops(&mut self, family: usize, outcome: &str) {
        self.say(format!("= {outcome}"));
        if outcome != "Waiting" {
            self.end(family);
        }
    }

    fn run_all(&mut self, family: usize, first: Who) -> &'static str {
        let mut next = Some(first);
        while let Some(task) = next {
            let stop = self.run(task);
            let is_killed = self.coroutines[task].task == Task::Killed;
            next = match stop {
                Stop::Ended(well) => {
                    let kind = self.coroutines[task].kind;
                    if !well {
                        self.say(format!("{} failed, {kind:?}", self.name(task)));
                    }
                    if !well && kind == Kind::Entry {
                        return "Failed";
                    }
                    self.ended(task, well)
                }
                _ if self.families[family].is_ending => return "Ended",
                _ if is_killed => {
                    self.forget_children(task);
                    self.release(task, false);
                    None
                }
                Stop::Waits => self.waits(task),
                Stop::Yields => {
                    self.give_up(task);
                    self.rests(task);
                    None
                }
            };
            next = next.or_else(|| self.next_of_queue(family));
        }
        let may_run = |&task: &Who| !matches!(self.coroutines[task].task, Task::Zombie(_));
        if self.families[family].tasks.iter().any(may_run) {
            "Waiting"
        } else {
            "Over"
        }
    }

    fn next_of_queue(&mut self, family: usize) -> Option<Who> {
        let queue = &mut self.families[family].queue;
        (!queue.is_empty()).then(|| queue.remove(0))
    }

    /// The task stopped for what it asked for last. Says who goes on at once.
    fn waits(&mut self, task: Who) -> Option<Who> {
        let family = self.coroutines[task].family;
        match std::mem::replace(&mut self.coroutines[task].asked, Asked::Nothing) {
            Asked::Nothing => unreachable!("a script asks before it waits"),
            Asked::Sleep => {
                self.coroutines[task].task = Task::Sleeping;
                let name = self.name(self.innermost(task));
                self.sleepers.push((name, task));
                None
            }
            Asked::Join(children) => {
                self.coroutines[task].task = Task::Joining(children);
                None
            }
            Asked::Spawn(child) => {
                self.coroutines[task].task = Task::Queued(Some(child));
                self.families[family].queue.push(task);
                self.families[family].tasks.push(child);
                Some(child)
            }
        }
    }

    fn rests(&mut self, task: Who) {
        let family = self.coroutines[task].family;
        if self.families[family].queue.is_empty() {
            self.coroutines[task].task = Task::Resting;
            self.sleepers.push((self.name(task), task));
        } else {
            self.coroutines[task].task = Task::Queued(None);
            self.families[family].queue.push(task);
        }
    }

    /// The task's code came to its end. Says who goes on at once.
    fn ended(&mut self, task: Who, well: bool) -> Option<Who> {
        self.give_up(task);
        self.forget_children(task);
        if self.coroutines[task].task == Task::Killed {
            self.release(task, well);
            return None;
        }
        let waits_for_it = |who: &Who| matches!(&self.coroutines[*who].task, Task::Joining(all) if all.contains(&task));
        if let Some(parent) = (0..self.coroutines.len()).find(waits_for_it) {
            self.coroutines[task].task = Task::Zombie(well);
            return Some(parent);
        }
        let may_be_asked_for =
            match self.coroutines[task].spawner.map(|parent| &self.coroutines[parent]) {
                None | Some(Coroutine { kind: Kind::DeadUser, .. }) => false,
                Some(Coroutine { kind: Kind::User(_), .. }) => true,
                Some(parent) => !matches!(parent.task, Task::Killed | Task::Zombie(_) | Task::Gone),
            };
        if may_be_asked_for {
            self.coroutines[task].task = Task::Zombie(well);
        } else {
            self.release(task, well);
        }
        None
    }

    /// A task's children that have ended are asked for no more.
    fn forget_children(&mut self, parent: Who) {
        for task in self.families[self.coroutines[parent].family].tasks.clone() {
            let coroutine = &self.coroutines[task];
            if coroutine.spawner == Some(parent) && matches!(coroutine.task, Task::Zombie(_)) {
                self.release(task, false);
            }
        }
    }

    fn give_up(&mut self, task: Who) {
        let asked = std::mem::replace(&mut self.coroutines[task].asked, Asked::Nothing);
        if let Asked::Spawn(child) = asked {
            self.release(child, false);
        }
    }

    fn end(&mut self, family: usize) {
        for task in self.families[family].tasks.clone() {
            self.release(task, false);
        }
        self.families[family].has_ended = true;
    }

    /// Nothing is left of the task but its coroutine's name.
    fn release(&mut self, task: Who, well: bool) {
        self.give_up(task);
        self.take_out(task);
        let coroutine = &self.coroutines[task];
        let is_users = coroutine.spawner.is_some_and(|spawner| self.is_user(spawner));
        if !(coroutine.has_ended && is_users) {
            let again = if well { ", to be used again" } else { "" };
            self.say(format!("release {}{again}", self.name(task)));
        }
    }

    fn take_out(&mut self, task: Who) {
        let family = &mut self.families[self.coroutines[task].family];
        family.tasks.retain(|&other| other != task);
        family.queue.retain(|&other| other != task);
        self.sleepers.retain(|&(_, sleeper)| sleeper != task);
        self.coroutines[task].task = Task::Gone;
    }

    fn create(&mut self, body: Number, kind: Kind, family: usize, spawner: Option<Who>) -> Who {
        let name = &self.program.0[body].name;
        let same = self.coroutines.iter().filter(|coroutine| coroutine.body == body).count();
        let who = self.coroutines.len();
        self.coroutines.push(Coroutine {
            name: if same == 0 { name.clone() } else { format!("{name}{}", same + 1) },
            body,
            at: 0,
            kind,
            family,
            spawner,
            has_ended: false,
            task: Task::Unborn,
            asked: Asked::Nothing,
            chain: vec![who],
        });
        who
    }

    /// The light thread of that number, unless nobody says when what is left of it goes.
    fn thread(&self, number: Number) -> Option<Who> {
        let thread = self.threads[place(number, self.threads.len())?];
        let coroutine = &self.coroutines[thread];
        let is_dead = |spawner: Who| self.coroutines[spawner].kind == Kind::DeadUser;
        (!(coroutine.has_ended && coroutine.spawner.is_some_and(is_dead))).then_some(thread)
    }

    fn is_user(&self, who: Who) -> bool {
        matches!(self.coroutines[who].kind, Kind::User(_) | Kind::DeadUser)
    }

    fn innermost(&self, task: Who) -> Who {
        *self.coroutines[task].chain.last().expect("a task's own coroutine")
    }

    fn name(&self, who: Who) -> String {
        self.coroutines[who].name.clone()
    }

    fn say(&mut self, line: String) {
        self.trace.push(line);
    }
}

/// A number that is too large counts from the front again.
fn place(number: Number, len: usize) -> Option<usize> {
    (len > 0).then(|| number % len)
}
