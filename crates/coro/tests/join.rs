//! Waiting for light threads.

mod common;

use common::futures::on_drop;
use common::Play;

#[test]
fn a_parent_goes_on_as_soon_as_its_child_has_ended_before_the_queue() {
    let play = Play::started(
        "main: spawn f; spawn g; join 0; say 1; sleep
         f: yield; yield; spawn h; say 0
         g: yield; yield; yield; say 2
         h: yield; say 3",
    );
    play.expect(
        "main: spawned f
         main: spawned g
         f: spawned h
         f: 0
         main: joined f, well
         main: 1
         h: 3
         release h, to be used again
         g: 2
         = Waiting",
    );
}

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
fn joining_none_comes_back_at_once() {
    Play::started("main: join; say 1").expect(
        "main: joined one that is gone
         main: 1
         release main, to be used again
         = Over",
    );
}

#[test]
fn one_that_fails_ends_the_wait_too() {
    let play = Play::started(
        "main: spawn f; spawn g; join 0; join 1
         f: fail
         g: sleep; fail",
    );
    play.expect(
        "f failed, Light
         main: spawned f
         main: spawned g
         main: joined f, failed
         = Waiting",
    );
}

#[test]
fn only_the_coroutine_that_spawned_can_join() {
    let play = Play::started(
        "main: spawn f; join 1; join 0 1; create u; resume 0; join 2
         f: spawn g; sleep
         g: join 1; join 0; sleep
         u: join 0; spawn h; join 2 0; join 2
         h: sleep",
    );
    play.expect(
        "g: can't join another's
         g: can't join another's
         main: spawned f
         main: can't join another's
         main: can't join another's
         u: can't join another's
         f: spawned g
         u: spawned h
         u: can't join another's
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
fn a_wait_that_could_not_be_waited_for_is_forgotten() {
    let play = Play::started(
        "main: spawn f; spawn g; try join 0; join 1
         f: sleep
         g: sleep",
    );
    play.trace();
    play.fire("f");
    play.expect(
        "* f
         f: slept
         = Waiting",
    );
    play.fire("g");
    play.expect(
        "* g
         g: slept
         main: joined g, well
         release f
         release main, to be used again
         = Over",
    );
}

#[test]
fn a_thread_that_was_about_to_be_spawned_is_given_up_for_a_join() {
    let play = Play::started(
        "main: spawn f; try spawn g; join 0; say 1
         f: sleep
         g: say 1",
    );
    play.expect(
        "main: spawned f
         main: can't wait
         release g
         = Waiting",
    );
}

#[test]
fn a_future_that_was_about_to_be_polled_is_dropped_for_a_join_outside_of_the_schedulers_borrows() {
    let play = Play::new(
        "main: spawn f; try await it; join 0; say 1
         f: say 0",
    );
    play.machine.define("it", |machine, task| {
        let inside = machine.clone();
        on_drop(machine.sleep("it"), move || {
            assert!(inside.scheduler.proceed(&mut inside.clone(), task).is_none());
            inside.say("dropped");
        })
    });
    play.start(0);
    play.expect(
        "f: 0
         main: spawned f
         main: can't wait
         dropped
         main: joined f, well
         main: 1
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
fn no_family_joins_anothers_thread() {
    let play = Play::started(
        "main: create u; resume 0; sleep
         u: spawn f; yield; join 0; say 1
         f: sleep
         next: resume 0",
    );
    play.trace();
    play.start(3);
    play.expect(
        "u: can't join another's
         u: 1
         next: u returned
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
