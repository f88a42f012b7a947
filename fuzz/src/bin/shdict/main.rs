//! Bytes as calls of a dictionary, against the model of the crate's own tests. The first byte says whether memory is short.

#![no_main]

#[path = "../../../../crates/shdict/tests/common/mod.rs"]
mod common;

use std::cell::RefCell;

use common::model::{run_in, Call, Content};
use common::Place;
use libfuzzer_sys::fuzz_target;
use shdict::Mode;

/// Everything is looked at after each call, which takes its time.
const CALLS: usize = 300;

thread_local! {
    // Memory isn't given back, so that each length is asked for once.
    static PLACES: RefCell<[Option<Place>; 2]> = const { RefCell::new([None; 2]) };
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.iter().copied();
    let enough = bytes.next().unwrap_or(0) & 1 == 1;
    // Enough for every key with the longest string, and as many items of lists as there are calls.
    let len = if enough { 2 << 20 } else { 24 << 10 };
    let place = PLACES
        .with_borrow_mut(|places| *places[enough as usize].get_or_insert_with(|| Place::new(len)));
    let calls: Vec<_> = std::iter::from_fn(|| call(&mut bytes)).take(CALLS).collect();
    place.view(1).format(0x5eed);
    run_in(place, &calls, enough);
});

fn call(bytes: &mut impl Iterator<Item = u8>) -> Option<Call> {
    let kind = bytes.next()?;
    let key = bytes.next()? % 60;
    let mut number = || bytes.next().unwrap_or(0);
    let ttl = |byte: u8| (byte as u64).saturating_sub(200);
    Some(match kind % 15 {
        0..4 => Call::Store {
            mode: [Mode::Set, Mode::Set, Mode::Add, Mode::Replace][number() as usize % 4],
            safe: number() & 1 == 1,
            ttl: ttl(number()),
            flags: number() as u32,
            key,
            value: content(&mut number),
        },
        4 => Call::Delete(key),
        5 => Call::Get(key),
        6 => Call::Incr {
            key,
            by: number() as i8,
            init: (number() & 1 == 1).then(|| (number() as i8, ttl(number()))),
        },
        7 | 8 => Call::Push(kind & 16 == 0, key, item(&mut number)),
        9 => Call::Pop(kind & 16 == 0, key),
        10 => {
            if kind & 16 == 0 {
                Call::Len(key)
            } else {
                Call::Ttl(key)
            }
        }
        11 => Call::Expire(key, ttl(number())),
        12 => {
            if key == 0 {
                Call::FlushAll
            } else {
                Call::FlushExpired(key as usize % 4)
            }
        }
        13 => Call::Keys,
        _ => Call::Pass(key as u64),
    })
}

fn content(number: &mut impl FnMut() -> u8) -> Content {
    match number() {
        0 => Content::Boolean(true),
        byte @ 1..80 => Content::Number(byte as i32),
        byte @ 80..240 => Content::String(vec![byte; number() as usize]),
        byte => Content::String(vec![byte; number() as usize * 36]),
    }
}

/// What isn't so long that lists without end fill any memory.
fn item(number: &mut impl FnMut() -> u8) -> Content {
    match content(number) {
        Content::String(text) if text.len() > 255 => Content::String(text[..255].to_vec()),
        content => content,
    }
}
