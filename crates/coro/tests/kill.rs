//! Killing light threads, in each state.

mod common;

use common::Play;

#[test]
fn one_that_waits() {
    let play = Play::started(
        "main: spawn f; kill 0; status 0; kill 0; join 0
         f: sleep; say 1",
    );
    play.expect(
        "main: spawned f
         release f
         main: killed f
         main: f is Dead
         main: killed what was gone, f
         main: joined one that is gone
         release main, to be used again
         = Over",
    );
    assert!(play.machine.sleepers().is_empty(), "what it waited for is dropped");
}

#[test]
fn one_that_is_queued() {
    let play = Play::started(
        "main: spawn f; spawn g; kill 0; yield; say 1
         f: yield; say 1; yield; say 2; yield; say 3
         g: yield; say 1",
    );
    play.expect(
        "main: spawned f
         f: 1
         main: spawned g
         release f
         main: killed f
         g: 1
         main: 1
         release g
         release main, to be used again
         = Over",
    );
}

#[test]
fn one_that_joins_whose_child_lives_on() {
    let play = Play::started(
        "main: spawn f; kill 0; sleep
         f: spawn g; join 1; say 1
         g: sleep; say 2",
    );
    play.trace();
    play.fire("g");
    play.expect(
        "* g
         g: slept
         g: 2
         release g, to be used again
         = Waiting",
    );
}

#[test]
fn one_that_has_ended() {
    let play = Play::started(
        "main: spawn f; status 0; kill 0; status 0; kill 0; join 0
         f: say 1",
    );
    play.expect(
        "f: 1
         main: spawned f
         main: f is Zombie
         release f
         main: killed what had ended, f
         main: f is Dead
         main: killed what was gone, f
         main: joined one that is gone
         release main, to be used again
         = Over",
    );
}

#[test]
fn one_that_another_coroutine_spawned_lives() {
    let play = Play::started(
        "main: spawn f; sleep; kill 1; create u; resume 0
         f: spawn g; sleep
         g: kill 1; sleep
         u: kill 0; kill 1",
    );
    play.expect(
        "g: can't kill g
         main: spawned f
         f: spawned g
         = Waiting",
    );
    play.fire("main");
    play.expect(
        "* main
         main: slept
         main: can't kill g
         u: can't kill f
         u: can't kill g
         main: u returned
         release main, to be used again
         = Waiting",
    );
}

#[test]
fn one_that_nobody_spawned_lives() {
    let play = Play::started(
        "main: sleep; kill 0
         f: sleep",
    );
    play.add(0, 1);
    play.trace();
    play.fire("main");
    play.expect(
        "* main
         main: slept
         main: can't kill f
         release main, to be used again
         = Waiting",
    );
}

#[test]
fn a_thread_that_runs_its_spawner_is_not_killed_by_it() {
    let play = Play::started(
        "main: create u; resume 0; sleep
         u: spawn f; yield; kill 0; yield
         f: sleep; resume 0; say 1",
    );
    play.trace();
    play.fire("f");
    play.expect(
        "* f
         f: slept
         u: can't kill running f
         f: u yielded
         f: 1
         = Waiting",
    );
}
