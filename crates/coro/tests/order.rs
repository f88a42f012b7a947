//! Who runs when.

mod common;

use common::Play;

#[test]
fn the_example_of_the_references_manual() {
    let play = Play::started(
        "main: say 0; yield; say 1; spawn f; say 2; yield; say 3; yield; say 4
         f: say 1; yield; say 2; yield; say 3",
    );
    play.expect(
        "main: 0
         = Waiting",
    );
    play.fire("main");
    play.expect(
        "* main
         main: 1
         f: 1
         main: spawned f
         main: 2
         f: 2
         main: 3
         f: 3
         main: 4
         release f
         release main, to be used again
         = Over",
    );
}

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
fn parents_go_to_the_end_of_the_queue() {
    let play = Play::started(
        "main: spawn f; say 2
         f: spawn g; say 3
         g: say 1; sleep",
    );
    play.expect(
        "g: 1
         main: spawned f
         main: 2
         release main, to be used again
         f: spawned g
         f: 3
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
fn who_yields_alone_goes_on_in_the_next_turn() {
    let play = Play::started("main: yield; say 1; yield; say 2");
    play.expect("= Waiting");
    play.fire("main");
    play.expect(
        "* main
         main: 1
         = Waiting",
    );
    play.fire("main");
    play.expect(
        "* main
         main: 2
         release main, to be used again
         = Over",
    );
}

#[test]
fn who_yields_beside_one_that_was_killed_in_the_queue_goes_on_in_the_next_turn() {
    let play = Play::started(
        "main: spawn f; kill 0; yield; say 1
         f: yield",
    );
    play.expect(
        "main: spawned f
         release f
         main: killed f
         = Waiting",
    );
    play.fire("main");
    play.expect(
        "* main
         main: 1
         release main, to be used again
         = Over",
    );
}

#[test]
fn who_is_woken_runs_before_those_that_it_lets_run() {
    let play = Play::started(
        "main: spawn f; spawn g; sleep
         f: sleep; spawn h; say 1; yield; say 2
         g: sleep; say 1
         h: say 1; yield; say 2; yield; say 3",
    );
    play.trace();
    play.fire("f");
    play.expect(
        "* f
         f: slept
         h: 1
         f: spawned h
         f: 1
         h: 2
         f: 2
         h: 3
         release h, to be used again
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

#[test]
fn a_thread_that_nobody_spawned_runs_beside_the_others() {
    let play = Play::started(
        "main: spawn f; sleep; say 1
         f: sleep
         g: spawn h; say 1; sleep
         h: say 1",
    );
    play.trace();
    play.add(0, 2);
    play.expect(
        "h: 1
         g: spawned h
         g: 1
         = Waiting",
    );
    for name in ["main", "f"] {
        play.fire(name);
    }
    play.trace();
    play.fire("g");
    play.expect(
        "* g
         g: slept
         release h
         release g, to be used again
         = Over",
    );
}

#[test]
fn families_do_not_run_in_each_others_turns() {
    let play = Play::started(
        "main: spawn f; yield; say 1; sleep
         f: sleep",
    );
    play.trace();
    play.start(0);
    play.expect(
        "main2: spawned f2
         = Waiting",
    );
    play.fire("main");
    play.expect(
        "* main
         main: 1
         = Waiting",
    );
}
