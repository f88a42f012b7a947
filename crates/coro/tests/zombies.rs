//! Light threads that have ended and may still be asked for.

mod common;

use common::Play;

#[test]
fn one_stays_until_its_parent_ends() {
    let play = Play::started(
        "main: spawn f; sleep; status 0
         f: say 1",
    );
    play.expect(
        "f: 1
         main: spawned f
         = Waiting",
    );
    play.fire("main");
    play.expect(
        "* main
         main: slept
         main: f is Zombie
         release f
         release main, to be used again
         = Over",
    );
}

#[test]
fn one_that_outlives_its_parent_is_gone_when_it_ends() {
    let play = Play::started(
        "main: spawn f
         f: sleep; say 1",
    );
    play.trace();
    play.fire("f");
    play.expect(
        "* f
         f: slept
         f: 1
         release f, to be used again
         = Over",
    );
}

#[test]
fn one_does_not_keep_its_family_alive() {
    let play = Play::started(
        "main: create u; resume 0
         u: spawn f; yield
         f: say 1",
    );
    // Its parent could be resumed again, but there is nobody left to do that.
    play.expect(
        "f: 1
         u: spawned f
         main: u yielded
         release main, to be used again
         = Over",
    );
}

#[test]
fn one_has_no_zombies() {
    let play = Play::started(
        "main: spawn f; sleep; status 1
         f: spawn g; say 1
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
fn the_end_of_one_is_the_end_of_its_own() {
    let play = Play::started(
        "main: spawn f; status 0; status 1
         f: spawn g; say 1
         g: say 2",
    );
    play.expect(
        "g: 2
         main: spawned f
         main: f is Running
         main: g is Zombie
         release main, to be used again
         f: spawned g
         f: 1
         release g
         release f, to be used again
         = Over",
    );
}

#[test]
fn a_thread_whose_parent_was_killed_is_gone_when_it_ends() {
    let play = Play::started(
        "main: spawn f; kill 0; sleep; status 1
         f: spawn g; sleep
         g: sleep",
    );
    play.trace();
    play.fire("g");
    play.expect(
        "* g
         g: slept
         release g, to be used again
         = Waiting",
    );
}

/// How many light threads the scheduler still holds.
fn held(play: &Play) -> usize {
    let world = play.machine.world.borrow();
    world.threads.iter().filter(|&&(_, id)| play.machine.scheduler.coroutine(id).is_some()).count()
}

#[test]
fn a_thread_of_a_users_coroutine_is_one_as_long_as_that_lives() {
    let play = Play::started(
        "main: create u; resume 0; create v; resume 1; sleep
         u: spawn f; yield
         v: spawn g; say 1
         f: sleep
         g: sleep",
    );
    assert_eq!(held(&play), 2);
    play.fire("f");
    assert_eq!(held(&play), 2, "its parent has yielded");
    play.fire("g");
    assert_eq!(held(&play), 1, "its parent has returned");
}

#[test]
fn a_thread_of_a_users_coroutine_outlives_the_task_that_ran_it() {
    let play = Play::started(
        "main: create u; spawn f; spawn g
         f: resume 0
         u: spawn h; yield; join 1; say 1
         h: say 1
         g: sleep; resume 0",
    );
    play.trace();
    play.fire("g");
    play.expect(
        "* g
         g: slept
         u: joined h, well
         u: 1
         g: u returned
         release g, to be used again
         = Over",
    );
}

#[test]
fn a_coroutine_that_is_used_again_is_not_asked_for_what_it_spawned_before() {
    let play = Play::started(
        "main: spawn f
         f: sleep
         next: sleep",
    );
    play.start(2);
    play.trace();
    play.fire("f");
    play.expect(
        "* f
         f: slept
         release f, to be used again
         = Over",
    );
}

#[test]
fn those_of_users_coroutines_that_died_do_not_pile_up() {
    let often: String = (0..20).map(|n| format!("create u; resume {n}; ")).collect();
    let play = Play::started(&format!(
        "main: {often} sleep
         u: spawn f
         f: say 1"
    ));
    assert_eq!(play.machine.world.borrow().threads.len(), 20);
    assert!(held(&play) <= 3, "{}", held(&play));
}

#[test]
fn those_of_users_coroutines_that_live_are_not_looked_through_each_time() {
    let often: String = (0..24).map(|n| format!("create u; resume {n}; ")).collect();
    let play = Play::started(&format!(
        "main: {often} sleep
         u: spawn f; yield
         f: say 1"
    ));
    assert_eq!(held(&play), 24);
    let looks = play.machine.world.borrow().looks;
    assert!((1..=72).contains(&looks), "{looks}");
}
