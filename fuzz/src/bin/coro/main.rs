//! Any scripts run as a naive account says that they have to; it is that of the crate's tests.

#![no_main]

#[path = "../../../../crates/coro/tests/common/mod.rs"]
mod common;

use common::oracle::{sorted, Oracle};
use common::script::{Body, Event, Number, Op, Program};
use common::Play;
use libfuzzer_sys::fuzz_target;

const BODIES: [&str; 5] = ["main", "f", "g", "u", "v"];
/// How many operations a body may have, and how many events there may be: that much is said in no time.
const MOST_OPS: usize = 12;
const MOST_EVENTS: usize = 48;

/// What a byte says: what to do, and to which. Another than these ends a body.
fn op(byte: u8) -> Option<Op> {
    let (verb, number) = (byte & 0x1f, Number::from(byte >> 5));
    let body = number % BODIES.len();
    Some(match verb {
        0 => return None,
        1 => Op::Say("1".into()),
        2 | 3 => Op::Yield,
        4 | 5 => Op::Sleep,
        6..=9 => Op::Spawn(body),
        10..=12 => Op::Join(vec![number]),
        13 => Op::Join(vec![number, number + 1]),
        14 => Op::Join(vec![number + 1, number]),
        15..=17 => Op::Kill(number),
        18 => Op::Status(number),
        19..=21 => Op::Create(body),
        22..=25 => Op::Resume(number),
        26 => Op::Try(Box::new(Op::Sleep)),
        27 => Op::Try(Box::new(Op::Spawn(body))),
        28 => Op::Try(Box::new(Op::Join(vec![number]))),
        29 => Op::Exit,
        30 => Op::Try(Box::new(Op::Exit)),
        _ => Op::Fail,
    })
}

fn program(bytes: &mut impl Iterator<Item = u8>) -> Program {
    let mut body = |name: &str| Body {
        name: name.into(),
        ops: bytes.by_ref().map_while(op).take(MOST_OPS).collect(),
    };
    Program(BODIES.iter().map(|name| body(name)).collect())
}

fn event(byte: u8) -> Event {
    let number = Number::from(byte >> 4);
    match byte & 0xf {
        0 => Event::Begin(number % BODIES.len()),
        1 => Event::Add(number, number / 2 % BODIES.len()),
        2 => Event::Wake(number),
        3 => Event::End(number),
        _ => Event::Fire(number),
    }
}

fuzz_target!(|input: &[u8]| {
    let mut bytes = input.iter().copied();
    let program = program(&mut bytes);
    let play = Play::of(program.clone());
    let mut oracle = Oracle::new(program.clone());
    for event in std::iter::once(Event::Begin(0)).chain(bytes.map(event).take(MOST_EVENTS)) {
        play.happens(&event);
        oracle.happens(&event);
        let (seen, expected) = (sorted(&play.trace()), sorted(&oracle.trace()));
        assert!(
            seen == expected,
            "{program:?}\n\n{event:?}\n\nit has to be\n{expected}\n\nand is\n{seen}\n"
        );
    }
    play.end_all();
    assert!(play.machine.sleepers().is_empty(), "what tasks waited for is left:{program:?}");
});
