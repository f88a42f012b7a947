//! Any scripts run as a naive account says that they have to.

mod common;

use common::machine::MOST;
use common::oracle::{sorted, Oracle};
use common::script::{Event, Number, Op, Program};
use common::Play;
use proptest::prelude::*;

/// How many bodies a program has.
const BODIES: usize = 5;

/// Numbers that mean the same often, so that scripts have to do with each other.
fn thread() -> impl Strategy<Value = Number> {
    prop_oneof![4 => Just(0), 3 => Just(1), 2 => Just(2), 1 => 0..6usize]
}

fn user() -> impl Strategy<Value = Number> {
    prop_oneof![4 => Just(0), 1 => Just(1), 1 => 0..4usize]
}

/// What is spawned tends to be `f` or `g`, and what is created `u` or `v`.
fn body(first: Number) -> impl Strategy<Value = Number> {
    prop_oneof![4 => Just(first), 3 => Just(first + 1), 1 => 0..BODIES]
}

fn op() -> impl Strategy<Value = Op> {
    // Simple ones first: that is where a failing script shrinks to.
    prop_oneof![
        8 => Just(Op::Say("1".into())),
        12 => Just(Op::Yield),
        12 => Just(Op::Sleep),
        20 => body(1).prop_map(Op::Spawn),
        16 => prop::collection::vec(thread(), 1..3).prop_map(Op::Join),
        12 => thread().prop_map(Op::Kill),
        8 => thread().prop_map(Op::Status),
        8 => body(3).prop_map(Op::Create),
        20 => user().prop_map(Op::Resume),
        4 => Just(Op::Try(Box::new(Op::Sleep))),
        4 => body(1).prop_map(|body| Op::Try(Box::new(Op::Spawn(body)))),
        4 => thread().prop_map(|thread| Op::Try(Box::new(Op::Join(vec![thread])))),
        2 => Just(Op::Exit),
        1 => Just(Op::Try(Box::new(Op::Exit))),
        3 => Just(Op::Fail),
    ]
}

/// How scripts may begin, so that what is rare by chance isn't: coroutines of the user's, one that its own light thread resumes, and
/// threads that are waited for together.
const OPENINGS: [&str; 4] = [
    "main:
     f:
     g:
     u:
     v:",
    "main: create u; resume 0
     f:
     g:
     u:
     v:",
    "main: create u; resume 0
     f: resume 0
     g:
     u: spawn f; yield; kill 0
     v:",
    "main: spawn f; spawn g; join 0 1
     f: sleep
     g: sleep
     u:
     v:",
];

fn program() -> impl Strategy<Value = Program> {
    let ops = || prop::collection::vec(op(), 0..8);
    (0..OPENINGS.len(), [ops(), ops(), ops(), ops(), ops()]).prop_map(|(opening, rest)| {
        let mut program = Program::parse(OPENINGS[opening]);
        for (body, ops) in program.0.iter_mut().zip(rest) {
            body.ops.extend(ops);
        }
        program
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..4usize).prop_map(Event::Fire),
        1 => (0..MOST).prop_map(Event::Wake),
        2 => (0..BODIES).prop_map(Event::Begin),
        1 => (0..2usize, 0..BODIES).prop_map(|(family, body)| Event::Add(family, body)),
        1 => (0..2usize).prop_map(Event::End),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

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
            let (seen, expected) = (sorted(&play.trace()), sorted(&oracle.trace()));
            prop_assert!(seen == expected, "{event:?}\n\nit has to be\n{expected}\n\nand is\n{seen}\n");
        }
        play.end_all();
        prop_assert!(play.machine.sleepers().is_empty(), "what tasks waited for is left");
    }
}
