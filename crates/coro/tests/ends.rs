//! How a family ends, and that everything is released then.

mod common;

use std::panic::{catch_unwind, AssertUnwindSafe};

use common::futures::{does, on_drop, polls};
use common::Play;

#[test]
fn a_family_is_over_when_its_last_task_has_ended() {
    let play = Play::started(
        "main: spawn f; spawn g; say 1
         f: sleep
         g: sleep",
    );
    play.expect(
        "main: spawned f
         main: spawned g
         main: 1
         release main, to be used again
         = Waiting",
    );
    play.fire("f");
    play.expect(
        "* f
         f: slept
         release f, to be used again
         = Waiting",
    );
    play.fire("g");
    play.expect(
        "* g
         g: slept
         release g, to be used again
         = Over",
    );
}

#[test]
fn an_entry_that_fails_ends_the_family() {
    let play = Play::started(
        "main: spawn f; spawn g; fail
         f: sleep
         g: say 1",
    );
    play.expect(
        "main: spawned f
         g: 1
         main: spawned g
         main failed, Entry
         = Failed
         release main
         release f
         release g",
    );
    assert!(play.machine.sleepers().is_empty());
}

#[test]
fn a_light_thread_that_fails_ends_nobody_else() {
    let play = Play::started(
        "main: spawn f; status 0; sleep
         f: sleep; fail",
    );
    play.trace();
    play.fire("f");
    play.expect(
        "* f
         f: slept
         f failed, Light
         = Waiting",
    );
    play.fire("main");
    play.expect(
        "* main
         main: slept
         release f
         release main, to be used again
         = Over",
    );
}

#[test]
fn the_last_light_thread_may_fail() {
    let play = Play::started(
        "main: spawn f
         f: sleep; fail",
    );
    play.trace();
    play.fire("f");
    play.expect(
        "* f
         f: slept
         f failed, Light
         release f
         = Over",
    );
}

#[test]
fn any_coroutine_can_end_the_family() {
    let threads = "f: sleep; exit; say 1\nu: exit; say 1";
    let play = Play::started(&format!("main: spawn f; exit; say 1\n{threads}"));
    play.expect(
        "main: spawned f
         = Ended
         release main
         release f",
    );
    let play = Play::started(&format!("main: spawn f; sleep\n{threads}"));
    play.trace();
    play.fire("f");
    play.expect(
        "* f
         f: slept
         = Ended
         release main
         release f",
    );
    let play = Play::started(&format!("main: create u; resume 0; say 1\n{threads}"));
    play.expect(
        "= Ended
         release main",
    );
}

#[test]
fn a_child_that_ends_the_family_leaves_its_parent_where_it_was() {
    let play = Play::started(
        "main: spawn f; say 1
         f: exit",
    );
    play.expect(
        "= Ended
         release main
         release f",
    );
}

#[test]
fn what_a_task_asked_for_and_could_not_wait_for_ends_with_the_task() {
    for (how, outcome) in [("exit", "= Ended"), ("fail", "main failed, Entry\n= Failed")] {
        let play = Play::started(&format!(
            "main: try spawn f; {how}
             f: say 1"
        ));
        play.expect(&format!("main: can't wait\n{outcome}\nrelease main\nrelease f"));
    }
    let play = Play::started(
        "main: try spawn f; say 1
         f: say 1",
    );
    play.expect(
        "main: can't wait
         main: 1
         release f
         release main, to be used again
         = Over",
    );
    let play = Play::started("main: try sleep; exit");
    assert!(play.machine.sleepers().is_empty());
}

#[test]
fn what_a_task_asked_for_is_given_up_for_what_it_asks_for_next() {
    let play = Play::started(
        "main: try spawn f; try sleep; try spawn f; yield; say 1
         f: say 1",
    );
    play.expect(
        "main: can't wait
         release f
         main: can't wait
         main: can't wait
         release f2
         = Waiting",
    );
    assert_eq!(play.machine.sleepers(), ["main"], "its next turn");
}

/// A family with a task in each state, and others that have begun nothing.
fn every_state() -> Play {
    let play = Play::started(
        "main: spawn waiting; spawn joining; spawn zombie; create u; resume 0; spawn child; join 6
         waiting: sleep
         joining: spawn waiting; join 2
         zombie: say 1
         u: spawn waiting; spawn zombie; yield
         child: sleep; yield
         next: exit
         last: spawn exits
         exits: exit",
    );
    assert_eq!(play.machine.world.borrow().threads.len(), 7);
    play.machine.add(0, 1);
    play.trace();
    play
}

#[test]
fn a_family_can_end_in_every_state() {
    let play = every_state();
    play.end(0);
    assert!(play.machine.sleepers().is_empty());

    // While somebody is queued.
    let play = every_state();
    play.add(0, 7);
    assert!(play.trace().contains("= Ended"));
    assert!(play.machine.sleepers().is_empty());

    // From where its own code runs.
    let play = every_state();
    play.add(0, 6);
    assert!(play.trace().starts_with("= Ended"));
    assert!(play.machine.sleepers().is_empty());
}

#[test]
fn a_family_that_has_not_begun_can_end() {
    let play = Play::new("main: say 1");
    play.machine.begin(0);
    play.end(0);
    play.expect(
        "* the end
         release main",
    );
}

#[test]
fn a_family_ends_once() {
    let play = Play::started(
        "main: spawn f; sleep
         f: sleep",
    );
    let task = play.machine.world.borrow().threads[0].1;
    play.end(0);
    play.expect(
        "main: spawned f
         = Waiting
         * the end
         release main
         release f",
    );
    play.end(0);
    play.expect("* the end");
    assert!(play.machine.add(0, 1).is_none());
    let scheduler = &play.machine.scheduler;
    assert_eq!(scheduler.owner(task), None);
    assert_eq!(scheduler.coroutine(task), None);
    assert_eq!(scheduler.status(task), coro::Status::Dead);
    assert_eq!(scheduler.proceed(&mut play.machine.clone(), task), None);
}

#[test]
fn what_a_task_waits_for_is_dropped_before_its_coroutine_is_released() {
    let play = Play::new("main: await it");
    play.machine.define("it", |machine, _| {
        let inside = machine.clone();
        on_drop(machine.sleep("it"), move || inside.say("dropped"))
    });
    play.start(0);
    play.end(0);
    play.expect(
        "= Waiting
         * the end
         dropped
         release main",
    );
}

#[test]
fn a_future_can_end_the_family_that_its_task_waits_in() {
    let play = Play::new(
        "main: spawn f; spawn g; say 1
         f: sleep
         g: await end",
    );
    play.machine.define("end", |machine, _| {
        let inside = machine.clone();
        does(move || inside.world.borrow_mut().families[0].is_ending = true)
    });
    play.start(0);
    play.expect(
        "main: spawned f
         = Ended
         release main
         release f
         release g",
    );
}

#[test]
fn a_family_can_end_after_a_panic() {
    let play = Play::new(
        "main: spawn f; say 1
         f: await panic",
    );
    play.machine.define("panic", |_, _| polls(|_| panic!("as expected")));
    assert!(catch_unwind(AssertUnwindSafe(|| play.start(0))).is_err());
    play.end(0);
    play.expect(
        "* the end
         release main
         release f",
    );
}
