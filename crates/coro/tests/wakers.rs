//! Wakers: they know a task's number, and nothing else of it.

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Poll, Waker};

use common::futures::polls;
use common::machine::woken;
use common::Play;

type Wakers = Rc<RefCell<Vec<Waker>>>;

/// A program whose `await it` leaves its waker here, each poll anew, and is ready when that says so.
fn kept(program: &str) -> (Play, Wakers, Rc<Cell<bool>>) {
    let play = Play::new(program);
    let wakers = Wakers::default();
    let is_ready = Rc::new(Cell::new(false));
    let (all, ready) = (wakers.clone(), is_ready.clone());
    play.machine.define("it", move |_, _| {
        let (all, ready) = (all.clone(), ready.clone());
        polls(move |context| {
            all.borrow_mut().push(context.waker().clone());
            if ready.get() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    });
    play.start(0);
    (play, wakers, is_ready)
}

#[test]
fn a_waker_wakes_its_task() {
    let (play, wakers, is_ready) = kept("main: await it");
    is_ready.set(true);
    let first = wakers.borrow()[0].clone();
    first.wake();
    play.proceed_all();
    play.expect(
        "= Waiting
         main: slept
         release main, to be used again
         = Over",
    );
}

#[test]
fn a_task_that_is_woken_for_nothing_waits_on() {
    let (play, wakers, _) = kept("main: await it");
    let first = wakers.borrow()[0].clone();
    first.wake_by_ref();
    first.wake_by_ref();
    play.proceed_all();
    play.expect(
        "= Waiting
         = Waiting
         = Waiting",
    );
    assert_eq!(wakers.borrow().len(), 3, "it is polled each time");
}

#[test]
fn a_waker_outlives_its_task() {
    let (play, wakers, _) = kept("main: await it");
    let waker = wakers.borrow()[0].clone();
    play.end(0);
    play.trace();
    let copy = waker.clone();
    copy.wake_by_ref();
    drop(copy);
    play.proceed_all();
    // Another task is where the first was.
    play.start(0);
    play.trace();
    waker.wake();
    play.proceed_all();
    play.expect("");
}

#[test]
fn a_waker_of_a_former_wait_wakes_the_task_that_does_not_wait_for_nothing() {
    let (play, wakers, is_ready) = kept(
        "main: spawn f; await it; join 0
         f: sleep",
    );
    is_ready.set(true);
    let waker = wakers.borrow()[0].clone();
    waker.wake_by_ref();
    play.proceed_all();
    play.trace();
    // It joins.
    waker.wake();
    play.proceed_all();
    play.expect("");
    play.fire("f");
    play.expect(
        "* f
         f: slept
         main: joined f, well
         release main, to be used again
         = Over",
    );
}

#[test]
fn wakers_of_one_task_are_the_same() {
    let (play, wakers, _) = kept(
        "main: spawn f; await it
         f: await it",
    );
    let all = wakers.borrow().clone();
    all[1].wake_by_ref();
    play.proceed_all();
    let all = wakers.borrow();
    assert!(all[1].will_wake(&all[2]));
    assert!(!all[0].will_wake(&all[1]));
}

#[test]
fn a_task_that_is_woken_while_it_is_polled_is_polled_again() {
    let play = Play::new("main: await it");
    let polled = Rc::new(Cell::new(0));
    let count = polled.clone();
    play.machine.define("it", move |machine, task| {
        let (machine, count) = (machine.clone(), count.clone());
        polls(move |context| {
            count.set(count.get() + 1);
            if count.get() == 3 {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            // As a host does that goes on with tasks where they are woken.
            assert_eq!(woken(), [task]);
            assert_eq!(machine.scheduler.proceed(&mut machine.clone(), task), None);
            Poll::Pending
        })
    });
    play.start(0);
    assert_eq!(polled.get(), 3);
    play.expect(
        "main: slept
         release main, to be used again
         = Over",
    );
}

#[test]
fn a_wake_up_that_comes_with_the_result_is_not_the_next_waits() {
    let play = Play::new("main: await first; await second");
    play.machine.define("first", |machine, task| {
        let machine = machine.clone();
        polls(move |_| {
            assert_eq!(machine.scheduler.proceed(&mut machine.clone(), task), None);
            Poll::Ready(())
        })
    });
    let polled = Rc::new(Cell::new(0));
    let count = polled.clone();
    play.machine.define("second", move |_, _| {
        let count = count.clone();
        polls(move |_| {
            count.set(count.get() + 1);
            Poll::Pending
        })
    });
    play.start(0);
    play.expect(
        "main: slept
         = Waiting",
    );
    assert_eq!(polled.get(), 1);
}
