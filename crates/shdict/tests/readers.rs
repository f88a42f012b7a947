//! Readers and writers at once.

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::thread;

use common::{new, Place, Short};
use shdict::{Mode, Store, Value};

const KEYS: u8 = 40;

/// A value that shows whether it is whole and its key's: so many bytes of the key.
fn value(key: u8, round: usize) -> Vec<u8> {
    vec![key; 1 + (round * 37 + key as usize * 11) % 700]
}

#[test]
fn readers_find_whole_values_of_their_keys_while_writers_change_and_evict_them() {
    let place = Place::new(24 << 10);
    let done = AtomicBool::new(false);
    let (found, forced) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for reader in 1..=2 {
            let (done, found) = (&done, &found);
            scope.spawn(move || {
                let dict = place.view(reader);
                for n in (0..KEYS).cycle() {
                    if let Some(text) = dict.text(&[n]) {
                        assert!(
                            !text.is_empty() && text.iter().all(|&byte| byte == n),
                            "torn: {text:?}"
                        );
                        found.fetch_add(1, Relaxed);
                    }
                    if done.load(Relaxed) {
                        return;
                    }
                }
            });
        }
        let writers: Vec<_> = (3..=4)
            .map(|writer| {
                let forced = &forced;
                scope.spawn(move || {
                    let dict = place.view(writer);
                    for round in 0..20_000 {
                        let key = (round * writer as usize % KEYS as usize) as u8;
                        match round % 7 {
                            0 => dict.delete(&[key]),
                            _ => {
                                let stored = dict.set(&[key], &value(key, round));
                                forced.fetch_add(stored.forcible as usize, Relaxed);
                            }
                        }
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().expect("no panic");
        }
        done.store(true, Relaxed);
    });
    assert!(found.into_inner() > 1000 && forced.into_inner() > 1000);
    place.view(5).check().unwrap();
}

#[test]
fn counters_lose_nothing() {
    let place = Place::new(1 << 20);
    thread::scope(|scope| {
        for counter in 1..=3 {
            scope.spawn(move || {
                let dict = place.view(counter);
                for _ in 0..20_000 {
                    dict.incr(b"n", 1.0, Some((0.0, 0)), 1).0.unwrap();
                }
            });
        }
    });
    let got = place.view(1).get(b"n", 1, &mut Vec::new()).unwrap();
    assert_eq!(got.number, 60_000.0);
}

#[test]
fn a_reader_whose_bucket_is_never_still_gets_an_answer() {
    let place = Place::new(1 << 20);
    let done = AtomicBool::new(false);
    place.view(1).set(b"k", b"v");
    thread::scope(|scope| {
        scope.spawn(|| {
            let dict = place.view(2);
            for flags in 0.. {
                dict.store(&Store { flags, ..new(Mode::Set, b"k", Value::String(b"v")) }, 1);
                if done.load(Relaxed) {
                    return;
                }
            }
        });
        let dict = place.view(3);
        for _ in 0..5000 {
            assert_eq!(dict.text(b"k"), Some(b"v".to_vec()));
            assert_eq!(dict.ttl(b"k", 1), Some(None));
        }
        done.store(true, Relaxed);
    });
}
