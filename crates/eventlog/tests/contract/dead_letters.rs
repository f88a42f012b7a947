//! Dead letters: listing, requeuing, dropping.

use std::thread;

use eventlog::dead_letter::{self, Ended};
use eventlog::{Event, Invalid, Outcome, Read, Settled, Stored};

use super::*;

/// Lets an event die.
fn kill(member: &dyn Consumer) {
    let delivery = claim_one(member);
    let dead = Outcome::Dead("boom".into());
    assert_eq!(member.settle_one(&delivery.claim, dead), Ok(Settled::Done));
}

fn letters(log: &dyn EventLog, topic: &Topic) -> Vec<(Event, Option<Ended>)> {
    let mut found = Vec::new();
    let visit = |letter, ended| {
        found.push((letter, ended));
        Ok(())
    };
    dead_letter::each(log, topic, visit).expect("read");
    found
}

fn states(log: &dyn EventLog, topic: &Topic) -> Vec<(usize, Option<Ended>)> {
    let all = letters(log, topic);
    all.iter().map(|(letter, ended)| (number(&letter.value), *ended)).collect()
}

pub fn a_requeued_dead_letter_comes_again_once(store: &dyn Store) {
    let (log, orders) = orders(store);
    let mut first = event(&orders, "a", 1);
    first.headers = vec![("trace".into(), "t1".into())];
    put_all(&*log, vec![first.clone()]);
    let member = join(&*log, &orders, "m");
    kill(&*member);
    assert_eq!(states(&*log, &orders), [(1, None)]);

    let letter = letters(&*log, &orders).remove(0).0;
    assert_eq!(dead_letter::requeue(&*log, &letter), Ok(Settled::Done));
    assert_eq!(states(&*log, &orders), [(1, Some(Ended::Requeued))]);
    let again = claim_one(&*member);
    assert_eq!((&again.event.headers, again.attempt()), (&first.headers, 1));
    assert_eq!(again.event.value, first.value);

    assert_eq!(dead_letter::requeue(&*store.open(), &letter), Ok(Settled::Lost));
    assert_eq!(dead_letter::drop(&*log, &letter), Ok(Settled::Lost));
    assert_eq!(states(&*log, &orders), [(1, Some(Ended::Requeued))]);
    claim_none(store, &*member, 1);

    // It may die again: that is another letter.
    let dead = Outcome::Dead("boom".into());
    assert_eq!(member.settle_one(&again.claim, dead), Ok(Settled::Done));
    assert_eq!(states(&*log, &orders), [(1, Some(Ended::Requeued)), (1, None)]);
}

pub fn dead_letters_of_a_key_are_dropped_in_any_order(store: &dyn Store) {
    let (log, orders) = orders(store);
    put_all(&*log, (0..3).map(|n| event(&orders, "a", n)).collect());
    let member = join(&*log, &orders, "m");
    (0..3).for_each(|_| kill(&*member));
    let (second, _) = letters(&*log, &orders).remove(1);
    assert_eq!(dead_letter::drop(&*log, &second), Ok(Settled::Done));
    let dropped = Some(Ended::Dropped);
    assert_eq!(states(&*log, &orders), [(0, None), (1, dropped), (2, None)]);
    assert_eq!(dead_letter::requeue(&*log, &second), Ok(Settled::Lost));
    let (first, _) = letters(&*log, &orders).remove(0);
    assert_eq!(dead_letter::drop(&*log, &first), Ok(Settled::Done));
    assert_eq!(states(&*log, &orders), [(0, dropped), (1, dropped), (2, None)]);
    claim_none(store, &*member, 1);
}

pub fn who_requeues_at_the_same_moment_stores_one_event(store: &dyn Store) {
    let (log, orders) = orders(store);
    put(&*log, &orders, "a", 1);
    let member = join(&*log, &orders, "m");
    kill(&*member);
    let letter = letters(&*log, &orders).remove(0).0;
    let letter = &letter;
    thread::scope(|scope| {
        for n in 0..6 {
            let log = elsewhere(store, &log);
            scope.spawn(move || match n % 3 {
                0 => dead_letter::drop(&*log, letter).expect("ended"),
                _ => dead_letter::requeue(&*log, letter).expect("ended"),
            });
        }
    });
    let ended = letters(&*log, &orders).remove(0).1;
    let stored = log.read(&orders, &Read::default()).expect("read").len();
    match ended {
        Some(Ended::Requeued) => assert_eq!(stored, 2),
        Some(Ended::Dropped) => assert_eq!(stored, 1),
        None => panic!("the letter did not end"),
    }
    let dead = log.read(&topic("orders.dead"), &Read::default()).expect("read");
    assert_eq!(dead.len(), 2, "a letter and its mark");
}

pub fn many_letters_end_at_once_and_in_order(store: &dyn Store) {
    let (log, orders) = orders(store);
    put_all(&*log, (0..50).map(|n| event(&orders, "a", n)).collect());
    let member = join(&*log, &orders, "m");
    (0..50).for_each(|_| kill(&*member));
    let all: Vec<Event> = letters(&*log, &orders).into_iter().map(|(letter, _)| letter).collect();
    assert_eq!(dead_letter::drop(&*log, &all[7]), Ok(Settled::Done));
    let endings = dead_letter::end_all(&*log, &all, Ended::Requeued);
    assert_eq!(endings.len(), 50);
    let mut places = Vec::new();
    for (at, ending) in endings.into_iter().enumerate() {
        let ending = ending.expect("an ending");
        let expected = if at == 7 { Settled::Lost } else { Settled::Done };
        assert_eq!((ending.settled, ending.requeued.is_some()), (expected, at != 7), "{at}");
        places.extend(ending.requeued);
    }
    for (place, letter) in places.iter().zip(all.iter().filter(|letter| **letter != all[7])) {
        let Stored { partition, offset } = *place;
        let read = Read { partition, from: offset, limit: 1, ..Read::default() };
        let again = log.read(&orders, &read).expect("read").remove(0);
        assert_eq!((again.offset, &again.value), (offset, &letter.value));
    }
    assert!(places.is_sorted());
    let ends = states(&*log, &orders).into_iter().map(|(_, ended)| ended);
    let expected = |at| if at == 7 { Ended::Dropped } else { Ended::Requeued };
    assert!(ends.eq((0..50).map(|at| Some(expected(at)))));
    // Who asks for the same gets the same answer.
    let repeated =
        dead_letter::end_all(&*elsewhere(store, &log), &all[..1], Ended::Requeued).remove(0);
    assert_eq!(repeated.expect("an ending").requeued, places.first().copied());
}

pub fn readers_of_letters_do_not_see_marks(store: &dyn Store) {
    let (log, orders) = orders(store);
    put_all(&*log, vec![event(&orders, "a", 1), event(&orders, "a", 2), event(&orders, "b", 3)]);
    let member = join(&*log, &orders, "m");
    (0..2).for_each(|_| kill(&*member));
    let before: Vec<Event> = letters(&*log, &orders).into_iter().map(|(event, _)| event).collect();
    for letter in &before {
        assert_eq!(dead_letter::drop(&*log, letter), Ok(Settled::Done));
    }
    // A letter after the marks.
    kill(&*member);
    let dead = topic("orders.dead");
    let all: Vec<Event> = letters(&*log, &orders).into_iter().map(|(event, _)| event).collect();
    assert_eq!(all.len(), 3);
    let page = |from, limit| {
        let read = Read { from, limit, ..Read::default() };
        dead_letter::read(&*log, &dead, &read).expect("read")
    };
    let (found, next) = page(0, 100);
    assert_eq!(found, all);
    assert!(next > all[2].offset);
    assert_eq!(page(next, 100), (vec![], next));
    let (found, next) = page(0, 2);
    assert_eq!(found, all[..2]);
    assert_eq!(page(next, 1).0, all[2..]);
    let of = |key: &str| dead_letter::last(&*log, &dead, key).expect("read");
    for key in ["a", "b", "c"] {
        assert_eq!(of(key), all.iter().rfind(|letter| letter.key == key).cloned(), "{key}");
    }
}

pub fn what_is_no_dead_letter_is_refused(store: &dyn Store) {
    let (log, orders) = orders(store);
    let offset = put(&*log, &orders, "a", 1);
    let member = join(&*log, &orders, "m");
    let wrong = log.read(&orders, &Read::default()).expect("read").remove(0);
    let error = fail(dead_letter::requeue(&*log, &wrong));
    assert_eq!(error, Invalid::NoDeadLetter { topic: "orders".into(), offset }.into());
    kill(&*member);
    let dead = topic("orders.dead");
    let letter = letters(&*log, &orders).remove(0).0;
    dead_letter::drop(&*log, &letter).expect("dropped");
    let from = letter.offset + 1;
    let mark = log.read(&dead, &Read { from, ..Read::default() }).expect("read").remove(0);
    assert!(dead_letter::drop(&*log, &mark).is_err());
    let error = fail(dead_letter::each(&*log, &dead, |_, _| Ok(())));
    assert_eq!(error, Invalid::NoDeadLetterTopic("orders.dead".into()).into());
}
