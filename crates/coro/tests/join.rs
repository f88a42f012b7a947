//! Waiting for light threads.

mod common;

use common::Play;

#[test]
fn the_first_that_ends_wins() {
    let play = Play::started(
        "main: spawn f; spawn g; join 0 1; join 0 1
         f: sleep
         g: sleep",
    );
    play.trace();
    play.fire("g");
    play.expect(
        "* g
         g: slept
         main: joined g, well
         main: joined one that is gone
         release main, to be used again
         = Waiting",
    );
}

#[test]
fn one_that_is_gone_is_passed_over_where_another_comes_after_it() {
    let play = Play::started(
        "main: spawn f; spawn g; join 0; join 0 1; say 1
         f: say 0
         g: sleep",
    );
    play.trace();
    play.fire("g");
    play.expect(
        "* g
         g: slept
         main: joined g, well
         main: 1
         release main, to be used again
         = Over",
    );
}

#[test]
fn of_several_that_have_ended_the_first_argument_wins() {
    let play = Play::started(
        "main: spawn f; spawn g; spawn h; join 2 1 0; join 0 1; join 1
         f: say 0
         g: say 0
         h: sleep",
    );
    play.expect(
        "f: 0
         main: spawned f
         g: 0
         main: spawned g
         main: spawned h
         main: joined g, well
         main: joined f, well
         main: joined one that is gone
         release main, to be used again
         = Waiting",
    );
}

#[test]
fn the_last_argument_decides_when_it_is_gone() {
    let play = Play::started(
        "main: spawn f; spawn g; join 1; join 0 1; say 1; sleep
         f: sleep
         g: say 0",
    );
    play.expect(
        "main: spawned f
         g: 0
         main: spawned g
         main: joined g, well
         main: joined one that is gone
         main: 1
         = Waiting",
    );
    // It doesn't wait for the first either.
    play.fire("f");
    play.expect(
        "* f
         f: slept
         = Waiting",
    );
}

#[test]
fn a_wait_that_is_over_is_forgotten() {
    let play = Play::started(
        "main: spawn f; spawn g; spawn h; join 0 1; sleep; join 2; join 1
         f: sleep
         g: sleep
         h: sleep",
    );
    play.fire("f");
    play.trace();
    play.fire("g");
    play.expect(
        "* g
         g: slept
         = Waiting",
    );
    play.fire("main");
    play.expect(
        "* main
         main: slept
         = Waiting",
    );
    play.fire("h");
    play.expect(
        "* h
         h: slept
         main: joined h, well
         main: joined g, well
         release main, to be used again
         = Over",
    );
}

#[test]
fn one_that_was_waited_for_before_does_not_end_a_later_wait() {
    let play = Play::started(
        "main: spawn f; spawn g; spawn h; join 0 1; join 2
         f: sleep
         g: sleep
         h: sleep",
    );
    play.fire("f");
    play.trace();
    play.fire("g");
    play.expect(
        "* g
         g: slept
         = Waiting",
    );
    play.fire("h");
    play.expect(
        "* h
         h: slept
         main: joined h, well
         release g
         release main, to be used again
         = Over",
    );
}

#[test]
fn a_users_coroutine_joins_in_whichever_task_runs_it() {
    let play = Play::started(
        "main: create u; resume 0; spawn g; sleep
         u: spawn f; yield; join 0; say 1; yield
         f: sleep
         g: resume 0; say 2",
    );
    play.trace();
    play.fire("f");
    play.expect(
        "* f
         f: slept
         u: joined f, well
         u: 1
         g: u yielded
         g: 2
         = Waiting",
    );
}

#[test]
fn a_coroutine_that_is_used_again_is_not_the_parent_of_what_it_spawned_before() {
    let play = Play::started(
        "main: spawn f
         f: sleep
         next: join 0; kill 0; say 1",
    );
    play.expect(
        "main: spawned f
         release main, to be used again
         = Waiting",
    );
    play.start(2);
    play.expect(
        "next: can't join another's
         next: can't kill f
         next: 1
         release next, to be used again
         = Over",
    );
}

#[test]
fn who_joins_itself_waits_until_the_family_ends() {
    let play = Play::started(
        "main: create u; resume 0; sleep
         u: spawn f; yield; join 0
         f: sleep; resume 0",
    );
    play.trace();
    play.fire("f");
    play.expect(
        "* f
         f: slept
         = Waiting",
    );
    play.end(0);
    play.expect(
        "* the end
         release main
         release f",
    );
}
