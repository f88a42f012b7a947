//! Consumer groups: order, sharing, positions, failures.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Mutex;
use std::thread;

use eventlog::{dead_header, Error, Outcome, Read, Settled, Start, Timestamp};

use super::*;

const LEASE: Duration = Duration::from_millis(300);

pub fn a_key_is_handled_one_at_a_time_and_in_order(store: &dyn Store) {
    let (log, orders) = orders(store);
    put_all(&*log, (0..3).map(|n| event(&orders, "a", n)).collect());
    let member = join(&*log, &orders, "m");
    for n in 0..3 {
        let found = claim(store, &*member, 10);
        assert_eq!(numbers(&found), [n]);
        claim_none(store, &*member, 10);
        assert_eq!(member.finish(&found[0].claim), Ok(Settled::Done));
    }
    claim_none(store, &*member, 10);
}

pub fn different_keys_are_handled_at_once(store: &dyn Store) {
    let (log, orders) = orders(store);
    let keys_in = ["a", "b", "a", "c", "b"];
    put_all(&*log, keys_in.iter().map(|key| event(&orders, key, 1)).collect());
    let member = join(&*log, &orders, "m");
    let found = claim(store, &*member, 10);
    assert_eq!(keys(&found), ["a", "b", "c"]);
    member.finish(&found[1].claim).expect("finished");
    assert_eq!(keys(&claim(store, &*member, 10)), ["b"]);
}

pub fn concurrency_limits_what_is_in_hand(store: &dyn Store) {
    let (log, orders) = orders(store);
    put_all(&*log, (0..9).map(|n| event(&orders, &n.to_string(), n)).collect());
    let three = Subscription { concurrency: 3, ..subscription(&orders, "m") };
    let member = log.join(three).expect("joined");
    let mut found = claim(store, &*member, 2);
    found.extend(claim(store, &*member, 10));
    assert_eq!(numbers(&found), [0, 1, 2]);
    claim_none(store, &*member, 10);
    member.finish(&found[2].claim).expect("finished");
    assert_eq!(numbers(&claim(store, &*member, 10)), [3]);
}

pub fn the_position_stops_before_the_first_unfinished_event(store: &dyn Store) {
    let (log, orders) = orders(store);
    let at = put_all(&*log, (0..4).map(|n| event(&orders, &n.to_string(), n)).collect());
    let member = join(&*log, &orders, "m");
    assert_progress(store, &*log, &orders, (at[0], 4));
    let found = claim(store, &*member, 3);
    assert_progress(store, &*log, &orders, (at[0], 4));
    member.finish(&found[1].claim).expect("finished");
    assert_progress(store, &*log, &orders, (at[0], 3));
    member.finish(&found[0].claim).expect("finished");
    assert_progress(store, &*log, &orders, (at[2], 2));
    member.finish(&found[2].claim).expect("finished");
    assert_progress(store, &*log, &orders, (at[3], 1));
}

/// Four members in four threads: every event once, no two of a key at the same time, each key in order.
pub fn members_never_share_an_event(store: &dyn Store) {
    let (log, orders) = orders(store);
    let (total, key_count) = (240, 12);
    let handled: Mutex<Vec<(String, usize)>> = Mutex::default();
    let running: Mutex<HashSet<String>> = Mutex::default();
    let (orders, handled, running) = (&orders, &handled, &running);
    thread::scope(|scope| {
        for m in 0..4 {
            scope.spawn(move || {
                let log = store.open();
                let member = join(&*log, orders, &format!("m{m}"));
                let deadline = Instant::now() + LONG;
                while handled.lock().unwrap().len() < total && Instant::now() < deadline {
                    let found = member.claim(5, SHORT).expect("claimed");
                    for delivery in &found {
                        let key = delivery.event.key.clone();
                        assert!(running.lock().unwrap().insert(key.clone()), "{key} twice");
                        let done = (key, number(&delivery.event.value));
                        handled.lock().unwrap().push(done);
                    }
                    thread::yield_now();
                    for delivery in &found {
                        running.lock().unwrap().remove(&delivery.event.key);
                    }
                    let all: Vec<_> =
                        found.iter().map(|d| (d.claim.clone(), Outcome::Finished)).collect();
                    let settled = member.settle(&all).expect("settled");
                    assert!(settled.iter().all(|s| *s == Settled::Done));
                }
            });
        }
        for batch in 0..total / 12 {
            let number = |k| batch * 12 + k;
            let key = |k| format!("k{}", number(k) % key_count);
            put_all(&*log, (0..12).map(|k| event(orders, &key(k), number(k))).collect());
        }
    });
    let mut by_key: HashMap<String, Vec<usize>> = HashMap::new();
    for (key, number) in handled.lock().unwrap().drain(..) {
        by_key.entry(key).or_default().push(number);
    }
    assert_eq!(by_key.values().map(Vec::len).sum::<usize>(), total);
    for (key, numbers) in by_key {
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{key}: {numbers:?}");
    }
    assert_lag(store, &*log, orders, 0);
}

pub fn a_dropped_member_gives_its_claims_back(store: &dyn Store) {
    let (log, orders) = orders(store);
    put_all(&*log, vec![event(&orders, "a", 1), event(&orders, "a", 2)]);
    let first = join(&*log, &orders, "first");
    assert_eq!(numbers(&claim(store, &*first, 1)), [1]);
    let second = join(&*log, &orders, "second");
    claim_none(store, &*second, 1);
    drop(first);
    let found = claim_one(&*second);
    assert_eq!((number(&found.event.value), found.attempt()), (1, 1));
    second.leave().expect("left");
    let third = join(&*log, &orders, "third");
    assert_eq!(numbers(&claim(store, &*third, 1)), [1]);
}

pub fn a_silent_member_loses_its_claims(store: &dyn Store) {
    let (log, orders) = orders(store);
    put_all(&*log, vec![event(&orders, "a", 1), event(&orders, "a", 2)]);
    let short = |m| Subscription { lease: LEASE, ..subscription(&orders, m) };
    let silent = log.join(short("silent")).expect("joined");
    let lost = claim(store, &*silent, 1);
    assert_eq!(numbers(&lost), [1]);

    let heir_log = store.open();
    let heir = heir_log.join(short("heir")).expect("joined");
    let found = claim_one(&*heir);
    assert_eq!((number(&found.event.value), found.attempt()), (1, 2));
    assert_eq!(silent.finish(&lost[0].claim), Ok(Settled::Lost));
    assert_eq!(silent.settle_one(&lost[0].claim, Outcome::Dead("x".into())), Ok(Settled::Lost));
    assert_eq!(heir.finish(&found.claim), Ok(Settled::Done));
    // It wasn't dead after all, and takes part again.
    let back = claim_one(&*silent);
    assert_eq!(number(&back.event.value), 2);
    assert_eq!(silent.finish(&back.claim), Ok(Settled::Done));
    assert_lag(store, &*log, &orders, 0);
    mem::forget(silent);
}

pub fn a_member_that_speaks_keeps_its_claims(store: &dyn Store) {
    let (log, orders) = orders(store);
    put(&*log, &orders, "a", 1);
    let short = |m| Subscription { lease: LEASE, ..subscription(&orders, m) };
    let slow = log.join(short("slow")).expect("joined");
    let found = claim(store, &*slow, 1);
    let other = join(&*log, &orders, "other");
    let end = Instant::now() + LEASE * 4;
    while Instant::now() < end {
        slow.extend().expect("extended");
        assert_eq!(other.claim(1, LEASE / 6).expect("claimed"), []);
    }
    assert_eq!(slow.finish(&found[0].claim), Ok(Settled::Done));
}

pub fn a_member_of_the_same_name_replaces_the_old_one(store: &dyn Store) {
    let (log, orders) = orders(store);
    put(&*log, &orders, "a", 1);
    let old = join(&*log, &orders, "m");
    let lost = claim(store, &*old, 1);
    let new = join(&*store.open(), &orders, "m");
    assert_eq!(numbers(&claim(store, &*new, 1)), [1]);
    thread::sleep(store.patience());
    assert_eq!(old.finish(&lost[0].claim), Ok(Settled::Lost));
    let replaced = Error::Replaced { group: "group".into(), member: "m".into() };
    assert_eq!(fail(old.extend()), replaced);
    assert_eq!(fail(old.claim(1, Duration::ZERO)), replaced);
    drop(old);
    new.extend().expect("the new member is not hurt");
}

pub fn a_group_resumes_at_its_position(store: &dyn Store) {
    let (log, orders) = orders(store);
    put_all(&*log, (0..6).map(|n| event(&orders, &n.to_string(), n)).collect());
    let member = join(&*log, &orders, "m");
    let found = claim(store, &*member, 4);
    member.finish(&found[0].claim).expect("finished");
    member.finish(&found[2].claim).expect("finished");
    // What was finished a moment before a crash may be repeated.
    thread::sleep(store.patience() / 10);
    // A crash: its successor has the same name.
    mem::forget(member);
    let member = join(&*store.open(), &orders, "m");
    let found = claim(store, &*member, 10);
    assert_eq!(numbers(&found), [1, 3, 4, 5]);
    assert_eq!(found.iter().map(Delivery::attempt).collect::<Vec<_>>(), [2, 2, 1, 1]);
}

pub fn a_retried_event_comes_again_and_its_key_waits(store: &dyn Store) {
    let (log, orders) = orders(store);
    let keys_in = ["a", "a", "b"];
    put_all(&*log, keys_in.iter().enumerate().map(|(n, key)| event(&orders, key, n)).collect());
    let member = join(&*log, &orders, "m");
    let found = claim(store, &*member, 10);
    assert_eq!(numbers(&found), [0, 2]);
    let delay = Duration::from_millis(200) + store.patience() / 4;
    let (failed, due) = (&found[0].claim, Instant::now() + delay);
    assert_eq!(member.settle_one(failed, Outcome::Retry(delay)), Ok(Settled::Done));
    member.finish(&found[1].claim).expect("finished");
    put(&*log, &orders, "c", 3);
    assert_eq!(numbers(&claim(store, &*member, 10)), [3]);
    let again = claim_one(&*member);
    // The store counts in whole milliseconds.
    assert!(Instant::now() + Duration::from_millis(2) >= due, "came too early");
    assert_eq!((number(&again.event.value), again.attempt()), (0, 2));
    claim_none(store, &*member, 10);
    member.finish(&again.claim).expect("finished");
    assert_eq!(numbers(&claim(store, &*member, 10)), [1]);
}

pub fn a_dead_event_moves_to_the_dead_topic(store: &dyn Store) {
    let (log, orders) = orders(store);
    let mut first = event(&orders, "a", 1);
    first.headers = vec![("trace".into(), "t1".into())];
    let at = put_all(&*log, vec![first, event(&orders, "a", 2)]);
    let member = join(&*log, &orders, "m");
    let found = claim(store, &*member, 1);
    let dead = Outcome::Dead("boom: line 3".into());
    assert_eq!(member.settle_one(&found[0].claim, dead), Ok(Settled::Done));
    assert_eq!(numbers(&claim(store, &*member, 1)), [2]);
    assert_progress(store, &*log, &orders, (at[1], 1));

    let letters = log.read(&topic("orders.dead"), &Read::default()).expect("read");
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!((letter.key.as_str(), &letter.value[..]), ("a", &b"1"[..]));
    let offset = at[0].to_string();
    for (name, value) in [
        ("trace", "t1"),
        (dead_header::ERROR, "boom: line 3"),
        (dead_header::TOPIC, "orders"),
        (dead_header::PARTITION, "0"),
        (dead_header::OFFSET, &offset),
        (dead_header::GROUP, "group"),
        (dead_header::ATTEMPTS, "1"),
    ] {
        assert_eq!(letter.header(name), Some(value), "{name}");
    }
}

pub fn a_dead_letter_of_a_dead_letter_is_refused(store: &dyn Store) {
    let (log, _) = orders(store);
    let dead = topic("orders.dead");
    put(&*log, &dead, "a", 1);
    let member = join(&*log, &dead, "m");
    let found = claim(store, &*member, 1);
    let error = fail(member.settle_one(&found[0].claim, Outcome::Dead("x".into())));
    let text = "topic \"orders.dead\" holds dead letters and has no dead-letter topic of its own";
    assert_eq!(error.to_string(), text);
    assert_eq!(member.finish(&found[0].claim), Ok(Settled::Done));
}

pub fn a_released_event_is_not_counted(store: &dyn Store) {
    let (log, orders) = orders(store);
    put(&*log, &orders, "a", 1);
    let member = join(&*log, &orders, "m");
    let found = claim(store, &*member, 1);
    assert_eq!(member.settle_one(&found[0].claim, Outcome::Released), Ok(Settled::Done));
    assert_eq!(claim(store, &*member, 1)[0].attempt(), 1);
}

pub fn settling_twice_is_lost(store: &dyn Store) {
    let (log, orders) = orders(store);
    put(&*log, &orders, "a", 1);
    let member = join(&*log, &orders, "m");
    let first = claim(store, &*member, 1).remove(0).claim;
    let retry = Outcome::Retry(Duration::ZERO);
    let twice = [(first.clone(), retry), (first.clone(), Outcome::Finished)];
    assert_eq!(member.settle(&twice), Ok(vec![Settled::Done, Settled::Lost]));
    let second = claim_one(&*member).claim;
    assert_eq!(member.finish(&first), Ok(Settled::Lost));
    assert_eq!(member.finish(&second), Ok(Settled::Done));
    assert_eq!(member.finish(&second), Ok(Settled::Lost));
}

pub fn a_new_group_replays_from_an_offset_or_a_time(store: &dyn Store) {
    let (log, orders) = orders(store);
    let mut at = put_all(&*log, (0..3).map(|n| event(&orders, &n.to_string(), n)).collect());
    thread::sleep(Duration::from_millis(5));
    let time = Timestamp::now();
    at.extend(put_all(&*log, (3..5).map(|n| event(&orders, &n.to_string(), n)).collect()));
    let replay = |group: &str, start| {
        let s = Subscription::new(group, std::slice::from_ref(&orders), "m");
        let member = log.join(Subscription { start, ..s }).expect("joined");
        let found = claim(store, &*member, 10);
        for delivery in &found {
            member.finish(&delivery.claim).expect("finished");
        }
        numbers(&found)
    };
    assert_eq!(replay("all", Start::Earliest), [0, 1, 2, 3, 4]);
    assert_eq!(replay("offset", Start::Offset(at[2])), [2, 3, 4]);
    assert_eq!(replay("time", Start::Time(time)), [3, 4]);
    assert_eq!(replay("latest", Start::Latest), [0; 0]);
    // A group that has a position keeps it.
    assert_eq!(replay("offset", Start::Earliest), [0; 0]);
}

pub fn lag_counts_what_is_not_finished(store: &dyn Store) {
    let (log, orders) = orders(store);
    let member = join(&*log, &orders, "m");
    assert_lag(store, &*log, &orders, 0);
    put_all(&*log, (0..5).map(|n| event(&orders, if n < 3 { "a" } else { "b" }, n)).collect());
    assert_lag(store, &*log, &orders, 5);
    let found = claim(store, &*member, 10);
    assert_lag(store, &*log, &orders, 5);
    member.finish(&found[1].claim).expect("finished");
    assert_lag(store, &*log, &orders, 4);
    let found = offsets(&*log, &orders);
    assert_eq!(found.next, found.first + 5);
}

pub fn groups_do_not_disturb_each_other(store: &dyn Store) {
    let (log, orders) = orders(store);
    put(&*log, &orders, "a", 1);
    let topics = [orders.clone()];
    let one = log.join(Subscription::new("one", &topics, "m")).expect("joined");
    let two = log.join(Subscription::new("two", &topics, "m")).expect("joined");
    let found = claim(store, &*one, 1);
    assert_eq!(numbers(&claim(store, &*two, 1)), [1]);
    one.finish(&found[0].claim).expect("finished");
    let lags = || {
        let groups = offsets(&*log, &orders).groups.into_iter();
        groups.map(|g| (g.group, g.lag)).collect::<Vec<_>>()
    };
    assert_soon(store, lags, vec![("one".to_owned(), 0), ("two".to_owned(), 1)]);
}

pub fn wrong_subscriptions_are_refused(store: &dyn Store) {
    let (log, orders) = orders(store);
    let good = subscription(&orders, "m");
    for (wrong, reason) in [
        (Subscription { group: String::new(), ..good.clone() }, "the group has no name"),
        (Subscription { member: String::new(), ..good.clone() }, "the member has no name"),
        (Subscription { topics: Vec::new(), ..good.clone() }, "no topic is named"),
        (Subscription { concurrency: 0, ..good.clone() }, "a concurrency of 0 claims nothing"),
        (Subscription { lease: Duration::ZERO, ..good.clone() }, "a lease of 0 ends at once"),
    ] {
        let error = log.join(wrong).err().expect("an error").to_string();
        assert!(error.ends_with(reason), "{error}");
    }
}

pub fn one_member_reads_several_topics(store: &dyn Store) {
    let (log, orders) = orders(store);
    let payments = topic("payments");
    log.declare(std::slice::from_ref(&payments)).expect("declared");
    put_all(&*log, vec![event(&orders, "a", 1), event(&payments, "a", 2)]);
    let topics = [orders, payments];
    let member = log.join(Subscription::new("group", &topics, "m")).expect("joined");
    // The same key in two topics is two keys, and there is no order between topics.
    let mut numbers = numbers(&claim(store, &*member, 10));
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
}

pub fn a_position_carries_over_to_other_groups_once(store: &dyn Store) {
    let (log, orders) = orders(store);
    let keys_in = ["a", "b", "a", "c", "d"];
    put_all(&*log, keys_in.iter().enumerate().map(|(n, key)| event(&orders, key, n)).collect());
    let old = join(&*log, &orders, "m");
    let found = claim(store, &*old, 3);
    assert_eq!(numbers(&found), [0, 1, 3]);
    old.finish(&found[1].claim).expect("finished");
    old.leave().expect("left");
    let groups = ["bill", "stock"].map(String::from);
    let of = |group: &str| {
        let s = Subscription::new(group, std::slice::from_ref(&orders), "m");
        let member = log.join(s).expect("joined");
        numbers(&claim(store, &*member, 10))
    };
    log.adopt(&orders, "group", &groups).expect("adopted");
    log.adopt(&orders, "group", &groups).expect("nothing is left to adopt");
    assert_eq!(of("bill"), [0, 3, 4]);
    assert_eq!(of("stock"), [0, 3, 4]);
    // One that is added later begins at the beginning.
    log.adopt(&orders, "group", &[String::from("added")]).expect("nothing is left to adopt");
    assert_eq!(of("added"), [0, 1, 3, 4]);
}

pub fn an_event_is_resumed_where_it_was_left(store: &dyn Store) {
    let (log, orders) = orders(store);
    put(&*log, &orders, "a", 1);
    let member = join(&*log, &orders, "m");
    let delay = Duration::ZERO;
    let mut steps = Vec::new();
    for outcome in [
        Outcome::Resume { delay, step: 1 },
        Outcome::Retry(delay),
        Outcome::Released,
        Outcome::Finished,
    ] {
        let found = claim_one(&*member);
        steps.push((found.attempt(), found.step()));
        member.settle_one(&found.claim, outcome).expect("settled");
    }
    assert_eq!(steps, [(1, 0), (2, 1), (3, 1), (3, 1)]);
}
