//! Who runs when.

mod common;

use common::Play;

#[test]
fn a_child_runs_before_its_parent_goes_on() {
    let play = Play::started(
        "main: spawn f; say 2; spawn g; say 4
         f: say 1
         g: say 3",
    );
    play.expect(
        "f: 1
         main: spawned f
         main: 2
         g: 3
         main: spawned g
         main: 4
         release f
         release g
         release main, to be used again
         = Over",
    );
}

#[test]
fn those_who_yield_take_turns() {
    let play = Play::started(
        "main: spawn f; spawn g; yield; say a; yield; say b; sleep
         f: say a; yield; say b; yield; say c
         g: say a; yield; say b; yield; say c",
    );
    play.expect(
        "f: a
         main: spawned f
         g: a
         f: b
         main: spawned g
         g: b
         f: c
         main: a
         g: c
         main: b
         = Waiting",
    );
}

#[test]
fn a_users_coroutine_that_waits_makes_its_resumers_wait() {
    let play = Play::started(
        "main: create u; resume 0; say 3; resume 0; resume 0
         u: say 1; sleep; say 2; yield; say 4",
    );
    play.expect(
        "u: 1
         = Waiting",
    );
    play.fire("u");
    play.expect(
        "* u
         u: slept
         u: 2
         main: u yielded
         main: 3
         u: 4
         main: u returned
         main: can't resume u
         release main, to be used again
         = Over",
    );
}

#[test]
fn a_users_coroutine_spawns_as_its_task_would() {
    let play = Play::started(
        "main: create u; create v; resume 0; say 2
         u: resume 1; yield
         v: spawn f; say 1; yield
         f: sleep",
    );
    play.expect(
        "v: spawned f
         v: 1
         u: v yielded
         main: u yielded
         main: 2
         release main, to be used again
         = Waiting",
    );
}
