//! Futures that come back into the scheduler, while they are polled and while they are dropped.

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use common::futures::{does, does_and_waits, on_drop};
use common::machine::{woken, Machine};
use common::Play;
use coro::{Kill, TaskId};

fn kill_by_entry(machine: &Machine, entry: TaskId, child: TaskId) {
    let caller = machine.scheduler.coroutine(entry).unwrap();
    let killed = machine.scheduler.kill(&mut machine.clone(), entry, caller, child);
    assert_eq!(killed, Kill::Killed);
}

/// The entry of the first family, which is asked for before it runs.
fn with_entry(program: &str, define: impl FnOnce(&Play, Rc<Cell<Option<TaskId>>>)) -> Play {
    let play = Play::new(program);
    let entry = Rc::new(Cell::new(None));
    define(&play, entry.clone());
    play.machine.define("start", move |machine, task| {
        entry.set(Some(task));
        machine.sleep("start")
    });
    play.start(0);
    play.trace();
    play.fire("start");
    play
}

#[test]
fn polling_can_end_the_family() {
    for is_ready in [false, true] {
        let play = Play::new(
            "main: spawn f; say 1
             f: await end; say 1",
        );
        play.machine.define("end", move |machine, _| {
            let inside = machine.clone();
            let end = move || inside.end(0);
            if is_ready {
                does(end)
            } else {
                does_and_waits(end)
            }
        });
        play.start(0);
        play.expect(
            "release main
             release f
             = Gone",
        );
    }
}

#[test]
fn polling_can_end_a_family_that_proceeds() {
    let play = Play::new(
        "main: spawn f; sleep
         f: sleep; await end; say 1",
    );
    play.machine.define("end", |machine, _| {
        let inside = machine.clone();
        does(move || inside.end(0))
    });
    play.start(0);
    play.trace();
    play.fire("f");
    play.expect(
        "* f
         f: slept
         release main
         release f
         = Gone",
    );
}

#[test]
fn polling_can_kill_its_own_task_and_the_queue_goes_on() {
    let program = "main: await start; spawn f; say 1; yield; say 2
        f: spawn g; say 1
        g: await kill; say 1";
    // `f` has spawned `g`, and both it and the entry are queued.
    let play = with_entry(program, |play, _| {
        play.machine.define("kill", |machine, task| {
            let inside = machine.clone();
            does(move || {
                let parent = inside.world.borrow().threads[0].1;
                kill_by_entry(&inside, parent, task);
            })
        });
    });
    play.expect(
        "* start
         main: slept
         release g
         main: spawned f
         main: 1
         f: spawned g
         f: 1
         main: 2
         release f
         release main, to be used again
         = Over",
    );
}

#[test]
fn polling_can_kill_its_own_task_which_was_the_last() {
    // A thread of a user's coroutine: that is all that is left of its parent.
    let play = Play::new(
        "main: create u; resume 0
         u: spawn f; yield
         f: sleep; await kill",
    );
    play.machine.define("kill", |machine, task| {
        let inside = machine.clone();
        does(move || {
            let caller = inside.users_slot(0);
            let killed = inside.scheduler.kill(&mut inside.clone(), task, caller, task);
            assert_eq!(killed, Kill::Killed);
        })
    });
    play.start(0);
    play.trace();
    play.fire("f");
    play.expect(
        "* f
         f: slept
         release f
         = Over",
    );
}

#[test]
fn polling_can_kill_another() {
    let program = "main: await start; spawn f; spawn g; say 1; sleep
        f: sleep
        g: await kill; say 1";
    let play = with_entry(program, |play, entry| {
        play.machine.define("kill", move |machine, _| {
            let (inside, entry) = (machine.clone(), entry.clone());
            does(move || {
                let other = inside.world.borrow().threads[0].1;
                kill_by_entry(&inside, entry.get().unwrap(), other);
            })
        });
    });
    play.expect(
        "* start
         main: slept
         main: spawned f
         release f
         g: slept
         g: 1
         main: spawned g
         main: 1
         = Waiting",
    );
}

#[test]
fn polling_can_go_on_with_another_of_the_family() {
    let play = Play::new(
        "main: spawn f; spawn g; say 1
         f: sleep; say 1
         g: await wake; say 1",
    );
    play.machine.define("wake", |machine, _| {
        let inside = machine.clone();
        does(move || {
            inside.fire(0);
            for task in woken() {
                let outcome = inside.scheduler.proceed(&mut inside.clone(), task);
                inside.say(format!("in it: {outcome:?}"));
            }
        })
    });
    play.start(0);
    // The entry is queued, so it runs inside as well.
    play.expect(
        "main: spawned f
         f: slept
         f: 1
         main: spawned g
         main: 1
         release f
         release main, to be used again
         in it: Some(Waiting)
         g: slept
         g: 1
         release g, to be used again
         = Over",
    );
}

#[test]
fn polling_can_run_another_family() {
    let play = Play::new(
        "main: await run; say 1
         other: spawn f; sleep; say 2
         f: say 1; await end",
    );
    play.machine.define("run", |machine, _| {
        let inside = machine.clone();
        does(move || {
            let (_, task) = inside.begin(1);
            let outcome = inside.scheduler.run(&mut inside.clone(), task, 0);
            inside.say(format!("in it: {outcome:?}"));
        })
    });
    // The family that runs inside ends the outer one.
    play.machine.define("end", |machine, _| {
        let inside = machine.clone();
        does(move || inside.end(0))
    });
    play.start(0);
    play.expect(
        "f: 1
         release main
         f: slept
         other: spawned f
         in it: Waiting
         = Gone",
    );
    play.fire("other");
    play.expect(
        "* other
         other: slept
         other: 2
         release f
         release other, to be used again
         = Over",
    );
}

/// A program whose `await it` does something when it is dropped.
fn on_drop_of_it(program: &str, action: impl Fn(&Machine, TaskId) + 'static) -> Play {
    let play = Play::new(program);
    let action = Rc::new(action);
    play.machine.define("it", move |machine, task| {
        let (inside, action) = (machine.clone(), action.clone());
        on_drop(machine.sleep("it"), move || action(&inside, task))
    });
    play.start(0);
    play
}

#[test]
fn dropping_can_come_back_while_its_task_is_killed() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let all = seen.clone();
    let play = on_drop_of_it(
        "main: spawn f; kill 0; say 1
         f: await it",
        move |machine, task| {
            let scheduler = &machine.scheduler;
            all.borrow_mut().push(scheduler.status(task));
            assert_eq!(scheduler.proceed(&mut machine.clone(), task), None);
        },
    );
    play.expect(
        "main: spawned f
         release f
         main: killed f
         main: 1
         release main, to be used again
         = Over",
    );
    assert_eq!(*seen.borrow(), [coro::Status::Dead]);
}

#[test]
fn dropping_can_come_back_while_its_family_ends() {
    let play = on_drop_of_it(
        "main: spawn f; spawn f; sleep
         f: await it",
        |machine, task| {
            let scheduler = &machine.scheduler;
            assert_eq!(scheduler.proceed(&mut machine.clone(), task), None);
            let id = machine.world.borrow().families[0].id;
            scheduler.end(&mut machine.clone(), id);
            machine.say("dropped");
        },
    );
    play.trace();
    play.end(0);
    play.expect(
        "* the end
         release main
         dropped
         release f
         dropped
         release f2",
    );
}

#[test]
fn dropping_what_is_ready_can_end_the_family() {
    let play = on_drop_of_it(
        "main: spawn f; sleep
         f: await it; say 1",
        |machine, _| machine.end(0),
    );
    play.trace();
    play.fire("it");
    play.expect(
        "* it
         release main
         release f
         = Gone",
    );
}

#[test]
fn dropping_what_is_ready_can_kill_its_task_and_the_queue_goes_on() {
    let program = "main: await start; spawn f; say 1
        f: await it; say 1";
    let play = with_entry(program, |play, entry| {
        play.machine.define("it", move |machine, task| {
            let (inside, entry) = (machine.clone(), entry.clone());
            on_drop(does(|| {}), move || {
                kill_by_entry(&inside, entry.get().unwrap(), task);
            })
        });
    });
    play.expect(
        "* start
         main: slept
         release f
         main: spawned f
         main: 1
         release main, to be used again
         = Over",
    );
}

#[test]
fn dropping_what_was_given_up_can_end_the_family() {
    for last in ["", "; yield; say 1"] {
        let play = on_drop_of_it(
            &format!(
                "main: spawn f; sleep
                 f: sleep; try await it; say 0{last}"
            ),
            |machine, _| machine.end(0),
        );
        play.trace();
        play.fire("f");
        play.expect(
            "* f
             f: slept
             f: can't wait
             f: 0
             release main
             release f
             = Gone",
        );
    }
}

#[test]
fn dropping_what_was_given_up_can_kill_its_task() {
    let program = "main: await start; spawn f; say 1
        f: try await it; yield; say 1";
    let play = with_entry(program, |play, entry| {
        play.machine.define("it", move |machine, task| {
            let (inside, entry) = (machine.clone(), entry.clone());
            on_drop(machine.sleep("it"), move || {
                kill_by_entry(&inside, entry.get().unwrap(), task);
            })
        });
    });
    play.expect(
        "* start
         main: slept
         f: can't wait
         release f
         main: spawned f
         main: 1
         release main, to be used again
         = Over",
    );
}
