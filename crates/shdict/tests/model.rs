//! Random calls: see `common/model.rs`.

mod common;

use common::model::{run, Call, Content};
use proptest::prelude::*;
use shdict::Mode;

fn contents() -> impl Strategy<Value = Content> {
    prop_oneof![
        1 => any::<bool>().prop_map(Content::Boolean),
        3 => any::<i32>().prop_map(Content::Number),
        5 => (any::<u8>(), 0usize..200).prop_map(|(c, len)| Content::String(vec![c; len])),
        1 => (any::<u8>(), 0usize..9000).prop_map(|(c, len)| Content::String(vec![c; len])),
    ]
}

fn calls() -> impl Strategy<Value = Call> {
    let ttl = || prop_oneof![2 => Just(0), 1 => 1u64..50];
    let key = || 0u8..60;
    let mode = prop_oneof![4 => Just(Mode::Set), 1 => Just(Mode::Add), 1 => Just(Mode::Replace)];
    prop_oneof![
        8 => (mode, any::<bool>(), key(), contents(), ttl(), 0u32..3).prop_map(
            |(mode, safe, key, value, ttl, flags)| Call::Store { mode, safe, key, value, ttl, flags }
        ),
        2 => key().prop_map(Call::Delete),
        6 => key().prop_map(Call::Get),
        3 => (key(), any::<i8>(), proptest::option::of((any::<i8>(), ttl())))
            .prop_map(|(key, by, init)| Call::Incr { key, by, init }),
        4 => (any::<bool>(), key(), contents()).prop_map(|(l, key, c)| Call::Push(l, key, c)),
        3 => (any::<bool>(), key()).prop_map(|(left, key)| Call::Pop(left, key)),
        1 => key().prop_map(Call::Len),
        1 => key().prop_map(Call::Ttl),
        1 => (key(), ttl()).prop_map(|(key, ttl)| Call::Expire(key, ttl)),
        1 => Just(Call::Keys),
        2 => (0u64..20).prop_map(Call::Pass),
        1 => prop_oneof![
            1 => Just(Call::FlushAll),
            5 => (0usize..5).prop_map(Call::FlushExpired)
        ],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn with_enough_memory_nothing_is_forgotten(calls in proptest::collection::vec(calls(), 1..400)) {
        run(8 << 20, &calls, true);
    }

    #[test]
    fn with_little_memory_what_is_there_is_right(calls in proptest::collection::vec(calls(), 500..900)) {
        run(24 << 10, &calls, false);
    }
}
