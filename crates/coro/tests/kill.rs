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
fn one_whose_child_has_ended_takes_that_along() {
    let play = Play::started(
        "main: spawn f; kill 0; status 1
         f: spawn g; sleep
         g: say 1",
    );
    play.expect(
        "g: 1
         main: spawned f
         release g
         release f
         main: killed f
         main: g is Dead
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
fn one_of_another_family_lives() {
    let play = Play::started(
        "main: create u; resume 0
         other: resume 0
         u: spawn f; yield; kill 0
         f: sleep",
    );
    play.trace();
    play.start(1);
    // It was the last of its family, which nobody would end.
    play.expect(
        "u: can't kill f
         other: u returned
         release other, to be used again
         = Over",
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

/// A thread `f` whose parent, a coroutine of the user's, is resumed by `f` itself, and kills it.
fn killed_while_it_runs(then: &str) -> Play {
    let play = Play::started(&format!(
        "main: create u; resume 0; sleep
         u: spawn f; yield; kill 0; status 0; kill 0; yield
         f: sleep; resume 0; say 1; {then}
         g: say 1"
    ));
    play.trace();
    play.fire("f");
    play
}

const KILLED: &str = "* f
    f: slept
    u: killed f
    u: f is Dead
    u: killed what was gone, f
    f: u yielded
    f: 1";

#[test]
fn one_that_runs_goes_when_it_waits() {
    let play = killed_while_it_runs("sleep; say 2");
    play.expect(&format!("{KILLED}\nrelease f\n= Waiting"));
    assert_eq!(play.machine.sleepers(), ["main"]);
}

#[test]
fn one_that_runs_goes_when_it_yields() {
    killed_while_it_runs("yield; say 2").expect(&format!("{KILLED}\nrelease f\n= Waiting"));
}

#[test]
fn one_that_runs_goes_when_it_spawns_and_what_it_spawned_does_not_begin() {
    killed_while_it_runs("spawn g; say 2")
        .expect(&format!("{KILLED}\nrelease g\nrelease f\n= Waiting"));
}

#[test]
fn one_that_runs_goes_when_it_returns() {
    // Its coroutine came to its end, and its parent is the user's: nothing is written down.
    let play = killed_while_it_runs("say 2");
    play.expect(&format!("{KILLED}\nf: 2\n= Waiting"));
    play.end(0);
}

#[test]
fn one_that_runs_is_still_reported_when_it_fails() {
    killed_while_it_runs("fail").expect(&format!("{KILLED}\nf failed, Light\n= Waiting"));
}

#[test]
fn one_that_runs_can_still_end_the_family() {
    killed_while_it_runs("exit").expect(&format!("{KILLED}\n= Ended\nrelease main\nrelease f"));
}

#[test]
fn one_that_runs_and_was_killed_can_not_be_waited_for() {
    let play = Play::started(
        "main: create u; resume 0; sleep
         u: spawn f; yield; kill 0; join 0; yield
         f: sleep; resume 0; sleep",
    );
    play.trace();
    play.fire("f");
    play.expect(
        "* f
         f: slept
         u: killed f
         u: joined one that is gone
         f: u yielded
         release f
         = Waiting",
    );
}
