//! What a dictionary does by itself, without others.

mod common;

use common::{new, stored, Place, Short, NO_MEMORY};
use shdict::{End, Item, Kind, Mode, NotAList, Popped, PushError, Store, StoreError, Value};

const NOW: u64 = 1_000_000;

#[test]
fn every_kind_comes_back_as_it_was_stored() {
    let dict = Place::new(100 << 10).view(1);
    let long = vec![b'x'; 50_000];
    let values = [
        Value::Boolean(true),
        Value::Boolean(false),
        Value::Number(-0.5),
        Value::Number(f64::NAN),
        Value::Number(f64::INFINITY),
        Value::String(b""),
        Value::String(b"a\0b"),
        Value::String(b"eight888"),
        Value::String(&long),
    ];
    for (flags, value) in values.into_iter().enumerate() {
        let flags = u32::MAX - flags as u32;
        let store = Store { flags, ..new(Mode::Set, b"k\0ey", value) };
        assert_eq!(dict.store(&store, NOW), stored(false), "{value:?}");
        let mut text = b"before".to_vec();
        let got = dict.get(b"k\0ey", NOW, &mut text).unwrap();
        assert_eq!((got.flags, got.expired), (flags, false));
        match value {
            Value::Boolean(on) => {
                assert_eq!((got.kind, got.number), (Kind::Boolean, on as u8 as f64))
            }
            Value::Number(n) => {
                assert_eq!((got.kind, got.number.to_bits()), (Kind::Number, n.to_bits()));
            }
            Value::String(s) => assert_eq!((got.kind, &text[..]), (Kind::String, s)),
        }
        assert_eq!(dict.check(), Ok(1));
    }
}

#[test]
fn keys_that_differ_in_length_or_zeros_are_different() {
    let dict = Place::new(1 << 20).view(1);
    let keys: Vec<Vec<u8>> = (1..40).flat_map(|n| [vec![0; n], vec![b'a'; n]]).collect();
    for key in &keys {
        assert_eq!(dict.set(key, key), stored(false));
    }
    for key in &keys {
        assert_eq!(dict.text(key).as_ref(), Some(key));
    }
    assert_eq!(dict.all_keys(1), keys);
    let longest = vec![b'k'; shdict::MAX_KEY];
    assert_eq!(dict.set(&longest, b"v"), stored(false));
    assert_eq!(dict.text(&longest), Some(b"v".to_vec()));
    let longer = vec![b'k'; shdict::MAX_KEY + 1];
    assert_eq!(dict.set(&longer, b"v").result, NO_MEMORY);
    assert_eq!(dict.text(&longer), None);
}

#[test]
fn add_and_replace_mind_what_has_expired() {
    let dict = Place::new(1 << 20).view(1);
    let at = |mode, now| dict.store(&Store { ttl: 10, ..new(mode, b"k", Value::Number(1.0)) }, now);
    assert_eq!(at(Mode::Replace, NOW).result, Err(StoreError::NotFound));
    assert_eq!(at(Mode::Add, NOW), stored(false));
    assert_eq!(at(Mode::Add, NOW + 9).result, Err(StoreError::Exists));
    assert_eq!(at(Mode::Replace, NOW + 10).result, Err(StoreError::NotFound));
    assert_eq!(at(Mode::Add, NOW + 10), stored(false));
    assert_eq!(at(Mode::Replace, NOW + 11), stored(false));
    let got = |now| dict.get(b"k", now, &mut Vec::new()).unwrap().expired;
    assert_eq!((got(NOW + 20), got(NOW + 21)), (false, true));
}

#[test]
fn a_time_to_live_ends_and_can_be_changed() {
    let dict = Place::new(1 << 20).view(1);
    assert_eq!(dict.ttl(b"k", NOW), None);
    assert!(!dict.expire(b"k", 5, NOW));
    dict.store(&Store { ttl: 100, ..new(Mode::Set, b"k", Value::Number(1.0)) }, NOW);
    assert_eq!(dict.ttl(b"k", NOW + 30), Some(Some(70)));
    assert_eq!(dict.ttl(b"k", NOW + 130), Some(Some(-30)));
    assert!(dict.expire(b"k", 5, NOW + 130));
    assert_eq!(dict.ttl(b"k", NOW + 130), Some(Some(5)));
    assert!(dict.expire(b"k", 0, NOW));
    assert_eq!(dict.ttl(b"k", NOW), Some(None));
    assert!(dict.expire(b"k", u64::MAX, NOW));
    assert!(!dict.get(b"k", 1 << 62, &mut Vec::new()).unwrap().expired);
    assert_eq!(dict.ttl(b"k", NOW), Some(Some(i64::MAX - NOW as i64)));
}

#[test]
fn a_counter_starts_where_it_is_told_and_only_then_expires() {
    let dict = Place::new(1 << 20).view(1);
    assert_eq!(dict.incr(b"n", 1.0, None, NOW).0, Err(StoreError::NotFound));
    assert_eq!(dict.incr(b"n", 1.0, Some((10.0, 50)), NOW), (Ok(11.0), false));
    assert_eq!(dict.incr(b"n", -0.5, Some((10.0, 70)), NOW + 49), (Ok(10.5), false));
    assert_eq!(dict.incr(b"n", 1.0, None, NOW + 50).0, Err(StoreError::NotFound));
    assert_eq!(dict.incr(b"n", 1.0, Some((1.0, 0)), NOW + 50), (Ok(2.0), false));
    assert_eq!(dict.ttl(b"n", NOW), Some(None));
    dict.set(b"n", b"1");
    assert_eq!(dict.incr(b"n", 1.0, Some((1.0, 0)), NOW).0, Err(StoreError::NotANumber));
}

#[test]
fn lists_have_two_ends_and_are_gone_with_their_last_item() {
    let dict = Place::new(1 << 20).view(1);
    let mut text = Vec::new();
    assert_eq!(dict.len(b"l", NOW), Ok(0));
    assert_eq!(dict.push(End::Right, b"l", Item::Number(1.5), NOW), Ok(1));
    assert_eq!(dict.push(End::Left, b"l", Item::String(b"left"), NOW), Ok(2));
    assert_eq!(dict.push(End::Right, b"l", Item::String(b""), NOW), Ok(3));
    assert_eq!(dict.len(b"l", NOW), Ok(3));
    assert_eq!(dict.get(b"l", NOW, &mut text).map(|got| got.kind), Some(Kind::List));
    assert_eq!(dict.incr(b"l", 1.0, Some((0.0, 0)), NOW).0, Err(StoreError::NotANumber));
    assert_eq!(dict.check(), Ok(1));
    assert_eq!(dict.pop(End::Right, b"l", NOW, &mut text), Ok(Some(Popped::String)));
    assert_eq!(text, b"");
    assert_eq!(dict.pop(End::Left, b"l", NOW, &mut text), Ok(Some(Popped::String)));
    assert_eq!(text, b"left");
    assert_eq!(dict.pop(End::Left, b"l", NOW, &mut text), Ok(Some(Popped::Number(1.5))));
    assert_eq!(dict.pop(End::Left, b"l", NOW, &mut text), Ok(None));
    assert_eq!(dict.check(), Ok(0));

    dict.set(b"l", b"text");
    assert_eq!(dict.push(End::Left, b"l", Item::Number(1.0), 1), Err(PushError::NotAList));
    assert_eq!(dict.pop(End::Left, b"l", 1, &mut text), Err(NotAList));
    assert_eq!(dict.len(b"l", 1), Err(NotAList));
    dict.delete(b"l");
    dict.push(End::Left, b"l", Item::Number(1.0), 1).unwrap();
    assert!(dict.expire(b"l", 5, 1));
    assert_eq!(dict.push(End::Left, b"l", Item::Number(2.0), 6), Ok(1));
    assert_eq!(dict.ttl(b"l", 6), Some(None));
    dict.set(b"l", b"text");
    assert_eq!((dict.text(b"l"), dict.check()), (Some(b"text".to_vec()), Ok(1)));
}

#[test]
fn what_is_flushed_can_still_be_read_as_stale_until_it_is_removed() {
    let dict = Place::new(1 << 20).view(1);
    for n in 0..100u8 {
        dict.set(&[n], &[n]);
    }
    dict.push(End::Left, b"list", Item::Number(1.0), NOW).unwrap();
    dict.flush_all();
    assert_eq!(dict.all_keys(NOW), Vec::<Vec<u8>>::new());
    let mut text = Vec::new();
    assert!(dict.get(&[7], NOW, &mut text).unwrap().expired);
    assert_eq!(dict.flush_expired(40, NOW), 40);
    assert_eq!(dict.flush_expired(0, NOW), 61);
    assert_eq!((dict.flush_expired(0, NOW), dict.check()), (0, Ok(0)));
}

#[test]
fn keys_are_listed_from_the_oldest_up_to_a_limit() {
    let dict = Place::new(1 << 20).view(1);
    for n in 0..10u8 {
        dict.store(
            &Store { ttl: 1 + (n % 2) as u64, ..new(Mode::Set, &[n], Value::Boolean(true)) },
            NOW,
        );
    }
    assert_eq!(dict.all_keys(NOW + 1), [[1], [3], [5], [7], [9]]);
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    dict.keys(2, NOW + 1, &mut bytes, &mut ends);
    assert_eq!((bytes, ends), (vec![1, 3], vec![1, 2]));
}

/// A dictionary of strings of `len` bytes under the keys 0 and so on, as many as fit; how many.
fn full(dict: &shdict::Dict<common::Owned>, len: usize) -> u32 {
    for n in 0u32.. {
        let (key, value) = (n.to_be_bytes(), vec![1; len]);
        let store = Store { safe: true, ..new(Mode::Set, &key, Value::String(&value)) };
        if dict.store(&store, 1).result == NO_MEMORY {
            return n;
        }
    }
    unreachable!()
}

#[test]
fn the_oldest_make_room_and_what_was_read_is_spared() {
    let dict = Place::new(100 << 10).view(1);
    let count = full(&dict, 50);
    assert_eq!(dict.free_space(), 0);
    let key = |n: u32| n.to_be_bytes();
    for n in [0, 2, 3] {
        assert!(dict.text(&key(n)).is_some());
    }
    for n in count..count + 3 {
        assert_eq!(dict.set(&key(n), &[1; 50]), stored(true));
    }
    let there: Vec<_> = (0..8).filter(|&n| dict.ttl(&key(n), 1).is_some()).collect();
    // A mark is shared by some, which may spare one more; 1 is certain to go.
    assert!(there.starts_with(&[0, 2, 3]), "{there:?}");
    assert_eq!(dict.all_keys(1).len(), count as usize);
}

#[test]
fn what_has_expired_makes_room_without_force() {
    let dict = Place::new(100 << 10).view(1);
    let count = full(&dict, 50);
    dict.flush_all();
    for n in 0..count {
        assert_eq!(dict.set(&(n + count).to_be_bytes(), &[2; 50]), stored(false), "{n}");
    }
    assert_eq!(dict.check(), Ok(count as usize));
}

#[test]
fn a_safe_store_takes_nothing_away() {
    let dict = Place::new(100 << 10).view(1);
    let count = full(&dict, 50);
    let oldest = 0u32.to_be_bytes();
    let store = |key: &[u8], value: &[u8]| {
        dict.store(&Store { safe: true, ..new(Mode::Set, key, Value::String(value)) }, 1)
    };
    assert_eq!(store(b"new!", &[3; 500]).result, NO_MEMORY);
    assert_eq!(store(&oldest, &[3; 500]).result, NO_MEMORY);
    assert_eq!(dict.text(&oldest), Some(vec![1; 50]));
    assert_eq!(store(&oldest, &[4; 49]), stored(false));
    assert_eq!(dict.check(), Ok(count as usize));
}

#[test]
fn what_can_never_fit_makes_no_more_than_thirty_go() {
    let dict = Place::new(100 << 10).view(1);
    let count = full(&dict, 50) as usize;
    let huge = vec![0; 10 << 20];
    assert_eq!(dict.set(b"huge", &huge).result, NO_MEMORY);
    assert_eq!(dict.check(), Ok(count - 30));
    assert_eq!(dict.push(End::Left, b"list", Item::String(&huge), 1), Err(PushError::NoMemory));
    assert_eq!(dict.check(), Ok(count - 30));
}

#[test]
fn what_fits_alone_gets_its_room_from_many_small_ones() {
    let dict = Place::new(100 << 10).view(1);
    full(&dict, 50);
    assert_eq!(dict.set(b"large", &[5; 20_000]), stored(true));
    assert_eq!(dict.text(b"large"), Some(vec![5; 20_000]));
    dict.check().unwrap();
}

#[test]
fn memory_comes_back_whole() {
    let dict = Place::new(200 << 10).view(1);
    let free = dict.free_space();
    for len in [1, 100, 1000, 3000, 5000, 20_000, 60_000] {
        let count = full(&dict, len);
        assert!(count > 0);
        // Every second first, so that neighbours are merged from both sides.
        for n in (0..count).step_by(2).chain((1..count).step_by(2)) {
            dict.delete(&n.to_be_bytes());
            dict.check().unwrap();
        }
        assert_eq!((dict.check(), dict.free_space()), (Ok(0), free), "{len}");
    }
}
