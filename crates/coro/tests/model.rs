//! Any scripts run as a naive account says that they have to.

mod common;

use common::machine::MOST;
use common::oracle::Oracle;
use common::script::{Body, Event, Op, Program};
use common::Play;
use proptest::prelude::*;

const BODIES: [&str; 5] = ["main", "f", "g", "u", "v"];

fn op() -> impl Strategy<Value = Op> {
    let body = 0..BODIES.len();
    let thread = 0..6usize;
    // Simple ones first: that is where a failing script shrinks to.
    prop_oneof![
        8 => Just(Op::Say("1".into())),
        12 => Just(Op::Yield),
        12 => Just(Op::Sleep),
        20 => body.clone().prop_map(Op::Spawn),
        16 => prop::collection::vec(thread.clone(), 1..3).prop_map(Op::Join),
        12 => thread.clone().prop_map(Op::Kill),
        8 => thread.clone().prop_map(Op::Status),
        12 => body.clone().prop_map(Op::Create),
        20 => thread.clone().prop_map(Op::Resume),
        4 => Just(Op::Try(Box::new(Op::Sleep))),
        4 => body.prop_map(|body| Op::Try(Box::new(Op::Spawn(body)))),
        4 => thread.prop_map(|thread| Op::Try(Box::new(Op::Join(vec![thread])))),
        2 => Just(Op::Exit),
        1 => Just(Op::Try(Box::new(Op::Exit))),
        3 => Just(Op::Fail),
    ]
}

fn program() -> impl Strategy<Value = Program> {
    let ops = || prop::collection::vec(op(), 0..8);
    [ops(), ops(), ops(), ops(), ops()].prop_map(|all| {
        let bodies = BODIES.iter().zip(all).map(|(&name, ops)| Body { name: name.into(), ops });
        Program(bodies.collect())
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..4usize).prop_map(Event::Fire),
        1 => (0..MOST).prop_map(Event::Wake),
        2 => (0..BODIES.len()).prop_map(Event::Begin),
        1 => (0..2usize, 0..BODIES.len()).prop_map(|(family, body)| Event::Add(family, body)),
        1 => (0..2usize).prop_map(Event::End),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn scripts_run_as_the_oracle_says(
        program in program(),
        events in prop::collection::vec(event(), 0..16),
    ) {
        let play = Play::of(program.clone());
        let mut oracle = Oracle::new(program);
        for event in [Event::Begin(0)].iter().chain(&events) {
            play.happens(event);
            oracle.happens(event);
            let (seen, expected) = (play.trace(), oracle.trace());
            prop_assert!(seen == expected, "{event:?}\n\nit has to be\n{expected}\n\nand is\n{seen}\n");
        }
        play.end_all();
        prop_assert!(play.machine.sleepers().is_empty(), "what tasks waited for is left");
    }
}
