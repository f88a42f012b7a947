//! What holds as far as a lease can promise it, and how a member's places are shared out.

use eventlog::{dead_header, Append, Backoff, Error, Fence, Outcome, Read, Settled, Subscription};

use super::*;

const LEASE: Duration = Duration::from_millis(600);

fn short(topic: &Topic, member: &str) -> Subscription {
    Subscription { lease: LEASE, ..subscription(topic, member) }
}

/// While the store is away nobody can extend a lease: to the store that looks as if all were dead.
pub fn after_an_outage_every_member_has_a_lease(store: &dyn Store) {
    let (log, orders) = orders(store);
    put_all(&*log, vec![event(&orders, "a", 1), event(&orders, "a", 2)]);
    let slow = log.join(short(&orders, "slow")).expect("joined");
    let held = claim(store, &*slow, 1);
    let other = store.open();
    let first_back = other.join(short(&orders, "first back")).expect("joined");
    let until = Instant::now() + LEASE * 2;
    while Instant::now() < until {
        slow.extend().expect("extended");
        assert_eq!(first_back.claim(1, LEASE / 6).expect("claimed"), []);
    }
    thread::sleep(LEASE * 2);
    assert_eq!(first_back.claim(1, LEASE / 6).expect("claimed"), []);
    slow.extend().expect("extended");
    assert!(slow.holds(&held[0].claim));
    assert_eq!(slow.finish(&held[0].claim), Ok(Settled::Done));
    // One that stays silent is missed all the same.
    let second = claim(store, &*slow, 1);
    assert_eq!(numbers(&second), [2]);
    assert_eq!(number(&claim_one(&*first_back).event.value), 2);
    assert_eq!(slow.finish(&second[0].claim), Ok(Settled::Lost));
}

pub fn who_has_lost_an_event_appends_nothing(store: &dyn Store) {
    let (log, orders) = orders(store);
    let totals = topic("totals");
    log.declare(std::slice::from_ref(&totals)).expect("declared");
    put(&*log, &orders, "a", 1);
    let append = |delivery: &Delivery, number| {
        let mut append = Append::new(vec![event(&totals, "a", number)]);
        let claim = delivery.claim.clone();
        append.fence = Some(Box::new(Fence { group: "group".into(), claim }));
        log.append(append)
    };
    let silent = log.join(short(&orders, "silent")).expect("joined");
    let before = silent.generation();
    let lost = claim(store, &*silent, 1).remove(0);
    append(&lost, 1).expect("appended while it is held");
    let heir = store.open().join(short(&orders, "heir")).expect("joined");
    let held = claim_one(&*heir);
    let refused = append(&lost, 2).expect_err("an error");
    assert_eq!(refused, Error::Fenced { topic: "orders".into(), offset: lost.claim.offset });
    assert!(!refused.retry());
    append(&held, 3).expect("appended by its holder");
    let all = log.read(&totals, &Read::default()).expect("read");
    assert_eq!(all.iter().map(|e| number(&e.value)).collect::<Vec<_>>(), [1, 3]);
    assert!(held.claim.token() > lost.claim.token());
    // It learns so from the next call, too.
    silent.extend().expect("extended");
    assert!(silent.generation() != before && !silent.holds(&lost.claim));
    heir.finish(&held.claim).expect("finished");
    assert!(append(&held, 4).is_err());
}

pub fn tokens_grow_with_each_handing_out(store: &dyn Store) {
    let (log, orders) = orders(store);
    put_all(&*log, vec![event(&orders, "a", 1), event(&orders, "a", 2)]);
    let member = join(&*log, &orders, "m");
    let outcomes = [
        Outcome::Released,
        Outcome::Retry(Duration::ZERO),
        Outcome::Released,
        Outcome::Finished,
        Outcome::Finished,
    ];
    let mut tokens = Vec::new();
    for outcome in outcomes {
        let found = claim_one(&*member);
        tokens.push(found.claim.token());
        assert_eq!(member.settle_one(&found.claim, outcome), Ok(Settled::Done));
    }
    assert!(tokens.windows(2).all(|pair| pair[0] < pair[1]), "{tokens:?}");
}

pub fn an_attempt_that_ended_with_its_member_has_failed(store: &dyn Store) {
    let (log, orders) = orders(store);
    put_all(&*log, vec![event(&orders, "a", 1), event(&orders, "b", 2)]);
    let wait = Duration::from_millis(300);
    let backoff = Backoff { first: wait, longest: wait * 8 };
    let join = || log.join(Subscription { backoff, ..subscription(&orders, "m") }).expect("joined");
    let mut attempts = Vec::new();
    for n in 1..=3 {
        let member = join();
        let begun = Instant::now();
        let found = claim_one(&*member);
        attempts.push(found.attempt());
        if n > 1 {
            // The store counts in whole milliseconds.
            let least = backoff.after(n - 1) - Duration::from_millis(20);
            assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
        }
        if n < 3 {
            if n == 1 {
                let other = claim(store, &*member, 1).remove(0);
                member.finish(&other.claim).expect("finished");
            }
            // It dies: its successor has the same name.
            std::mem::forget(member);
            continue;
        }
        let why = "its worker has died".to_owned();
        assert_eq!(member.settle_one(&found.claim, Outcome::GivenUp(why)), Ok(Settled::Done));
    }
    assert_eq!(attempts, [1, 2, 3]);
    let letter = log.last(&topic("orders.dead"), "a").expect("read").expect("a letter");
    assert_eq!(letter.header(dead_header::ATTEMPTS), Some("2"));
    assert_eq!(letter.header(dead_header::ERROR), Some("its worker has died"));
}

pub fn an_idle_topic_has_the_next_place(store: &dyn Store) {
    let (log, busy) = orders(store);
    let idle = topic("zebra");
    log.declare(std::slice::from_ref(&idle)).expect("declared");
    put_all(&*log, (0..100).map(|n| event(&busy, &format!("k{}", n % 30), n)).collect());
    let topics = [busy.clone(), idle.clone()];
    let s = Subscription::new("group", &topics, "m");
    let member = log.join(Subscription { concurrency: 8, ..s }).expect("joined");
    let found = claim(store, &*member, 8);
    assert_eq!(found.len(), 8);
    put(&*log, &idle, "x", 1000);
    member.finish(&found[0].claim).expect("finished");
    assert_eq!(claim_one(&*member).event.topic, idle);
}

pub fn a_new_key_has_its_turn_beside_busy_ones(store: &dyn Store) {
    let (log, orders) = orders(store);
    put_all(&*log, (0..400).map(|n| event(&orders, &format!("k{}", n % 4), n)).collect());
    let member = join(&*log, &orders, "m");
    let finish = |found: &[Delivery]| {
        let all: Vec<_> = found.iter().map(|d| (d.claim.clone(), Outcome::Finished)).collect();
        member.settle(&all).expect("settled");
    };
    // With room for another key, all of them are looked through.
    let found = claim(store, &*member, 5);
    assert_eq!(found.len(), 4);
    put(&*log, &orders, "new", 1000);
    finish(&found);
    for _ in 0..5 {
        let found = claim(store, &*member, 4);
        if keys(&found).contains(&"new") {
            return;
        }
        finish(&found);
    }
    panic!("the new key waits for the others");
}

pub fn no_pair_of_names_clashes(store: &dyn Store) {
    let log = store.open();
    let names = [
        "api",
        "api_key",
        "api_pkey",
        "api_key_key",
        "api_pkey_key",
        "api_msg_offset_seq",
        "api_hashtextextended_msg_offset_idx",
        "key_of_topic_api",
        "topic_api",
        "topic_api_key",
        "api.x",
        "api-x",
        "api_x",
    ];
    for name in names {
        log.declare(&[topic(name)]).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for name in names.iter().rev() {
        let name = format!("r_{name}");
        log.declare(&[topic(&name)]).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let log = store.open();
    for (n, name) in names.iter().enumerate() {
        put(&*log, &topic(name), "k", n);
        put(&*log, &topic(&format!("r_{name}")), "k", n);
    }
    for (n, name) in names.iter().enumerate() {
        let last = log.last(&topic(name), "k").expect("read").expect("an event");
        assert_eq!(number(&last.value), n, "{name}");
    }
}
