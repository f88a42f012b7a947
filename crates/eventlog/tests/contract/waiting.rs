//! Waiting: what ends it, and that nothing is missed.

use std::sync::Barrier;
use std::thread;

use eventlog::Outcome;

use super::*;

pub fn an_append_ends_a_wait(store: &dyn Store) {
    let (log, orders) = orders(store);
    wait_for_append(&*log, &*log, &orders);
}

pub fn an_append_through_another_log_ends_a_wait(store: &dyn Store) {
    let (log, orders) = orders(store);
    let other = store.open();
    wait_for_append(&*log, &*other, &orders);
}

fn wait_for_append(consumer: &dyn EventLog, appender: &dyn EventLog, orders: &Topic) {
    let member = join(consumer, orders, "m");
    thread::scope(|scope| {
        let waiter = scope.spawn(|| member.claim(1, LONG).expect("claimed"));
        thread::sleep(SHORT);
        assert!(!waiter.is_finished());
        put(appender, orders, "a", 1);
        assert_eq!(numbers(&waiter.join().expect("no panic")), [1]);
    });
}

pub fn the_end_of_an_event_frees_the_next_of_its_key_elsewhere(store: &dyn Store) {
    let (log, orders) = orders(store);
    put_all(&*log, vec![event(&orders, "a", 1), event(&orders, "a", 2)]);
    let (here, other) = (join(&*log, &orders, "here"), store.open());
    let found = claim(store, &*here, 1);
    let there = join(&*other, &orders, "there");
    thread::scope(|scope| {
        let waiter = scope.spawn(|| there.claim(1, LONG).expect("claimed"));
        thread::sleep(SHORT);
        assert!(!waiter.is_finished());
        here.finish(&found[0].claim).expect("finished");
        assert_eq!(numbers(&waiter.join().expect("no panic")), [2]);
    });
}

/// Each round would take as long as a driver waits between looks, if the end of an event were no reason for one.
pub fn the_end_of_an_event_makes_room_for_a_claim_that_waits(store: &dyn Store) {
    let (log, orders) = orders(store);
    let rounds = 40;
    put_all(&*log, (0..=rounds).map(|n| event(&orders, &n.to_string(), n)).collect());
    let one = Subscription { concurrency: 1, ..subscription(&orders, "m") };
    let member = log.join(one).expect("joined");
    let mut in_hand = claim_one(&*member);
    let begun = Instant::now();
    for n in 1..=rounds {
        let next = thread::scope(|scope| {
            let waiter = scope.spawn(|| claim_one(&*member));
            thread::sleep(Duration::from_millis(5));
            member.finish(&in_hand.claim).expect("finished");
            waiter.join().expect("no panic")
        });
        assert_eq!(number(&next.event.value), n);
        in_hand = next;
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

/// An event that is due but finds no room must not keep the member looking: the wait would burn a core.
pub fn a_member_without_room_waits_in_peace(store: &dyn Store) {
    let (log, orders) = orders(store);
    put_all(&*log, vec![event(&orders, "a", 1), event(&orders, "b", 2)]);
    let one = Subscription { concurrency: 1, ..subscription(&orders, "m") };
    let member = log.join(one).expect("joined");
    let found = claim_one(&*member);
    let retry = Outcome::Retry(Duration::ZERO);
    member.settle_one(&found.claim, retry).expect("settled");
    claim_one(&*member);
    let before = cpu_time();
    assert_eq!(member.claim(1, Duration::from_millis(800)).expect("claimed"), []);
    let used = cpu_time() - before;
    assert!(used < Duration::from_millis(200), "{used:?} of CPU in a wait");
}

/// This thread's; the drivers' waits and looks are in it.
fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

pub fn claims_and_signs_of_life_at_once_do_not_end_a_membership(store: &dyn Store) {
    let (log, orders) = orders(store);
    let short = Duration::from_millis(20);
    let s = Subscription { lease: short, ..subscription(&orders, "m") };
    let member = log.join(s).expect("joined");
    let other = join(&*log, &orders, "other");
    for _ in 0..10 {
        // Silent for so long that another one ends its life, and it has to begin again.
        thread::sleep(short * 2);
        other.claim(1, Duration::ZERO).expect("claimed");
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| member.extend().expect("extended"));
                scope.spawn(|| member.claim(1, Duration::ZERO).expect("claimed"));
            }
        });
    }
}

pub fn an_interrupted_wait_ends(store: &dyn Store) {
    let (log, orders) = orders(store);
    let member = join(&*log, &orders, "m");
    thread::scope(|scope| {
        let begun = Instant::now();
        let waiter = scope.spawn(|| member.claim(1, LONG).expect("claimed"));
        thread::sleep(SHORT);
        member.interrupt();
        assert_eq!(waiter.join().expect("no panic"), []);
        assert_eq!(member.claim(1, LONG).expect("claimed"), []);
        assert!(begun.elapsed() < LONG);
    });
}

pub fn a_wait_ends_empty_at_its_timeout(store: &dyn Store) {
    let (log, orders) = orders(store);
    let member = join(&*log, &orders, "m");
    let begun = Instant::now();
    assert_eq!(member.claim(1, SHORT).expect("claimed"), []);
    assert!(begun.elapsed() >= SHORT);
}

/// A hundred hand-overs, each begun at the same moment as the wait. Were a wake-up missed, the second that a driver
/// may take to look without one would show in the sum.
pub fn no_wake_up_is_missed(store: &dyn Store) {
    let (log, orders) = orders(store);
    let other = store.open();
    let member = join(&*log, &orders, "m");
    let (rounds, together) = (100, Barrier::new(2));
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..rounds {
                together.wait();
                put(&*other, &orders, "a", n);
            }
        });
        for n in 0..rounds {
            together.wait();
            let delivery = claim_one(&*member);
            assert_eq!(number(&delivery.event.value), n);
            member.finish(&delivery.claim).expect("finished");
        }
    });
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
