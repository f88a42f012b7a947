//! What every driver does, as tests that each driver's test file instantiates with `contract_tests!`.

// Each test file uses the part that fits its driver.
#![allow(dead_code)]

pub mod append;
pub mod dead_letters;
pub mod groups;
pub mod leases;
pub mod read;
pub mod waiting;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use eventlog::{
    Append, Consumer, Delivery, EventLog, Limits, NewEvent, Offset, PartitionOffsets, Result,
    Subscription, Topic,
};

/// A driver's store, private to a test.
pub trait Store: Send + Sync {
    /// Opens the store, as another process would. Where a driver's store can't be shared, the same log each time.
    fn open(&self) -> Arc<dyn EventLog>;
    /// An empty store of the same kind, with limits.
    fn with_limits(&self, limits: Limits) -> Arc<dyn EventLog>;
    /// How long it may take until a member has its share of the events, or others see what it did. None at all where the
    /// store itself hands out events.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }
    /// Whether a retry through another log finds what was stored.
    fn remembers_ids_elsewhere(&self) -> bool {
        true
    }
}

/// Long enough for anything that is going to happen.
pub const LONG: Duration = Duration::from_secs(10);
/// Long enough for what would happen wrongly to have happened.
pub const SHORT: Duration = Duration::from_millis(50);

#[macro_export]
macro_rules! contract_tests {
    ($store:expr; $($module:ident { $($name:ident)* })*) => {
        $(mod $module {
            use super::*;
            $(#[test]
            fn $name() {
                $crate::contract::$module::$name(&$store);
            })*
        })*
    };
    ($store:expr) => {
        $crate::contract_tests! { $store;
            append {
                offsets_follow_each_other
                a_retried_append_is_stored_once
                a_retried_append_to_several_topics_has_the_same_places
                a_retry_among_concurrent_appends_is_stored_once
                an_append_is_stored_together_or_not_at_all
                an_id_is_not_good_for_other_events
                concurrent_appends_all_get_their_own_offset
                a_reader_never_finds_an_event_below_where_it_has_read
                submit_answers_each_append
                wrong_appends_are_refused_with_the_reason
                an_append_is_held_against_the_limits_of_the_queue
                headers_and_odd_strings_come_back
            }
            read {
                from_and_limit_choose_a_range
                a_key_filters
                a_page_is_bounded_in_bytes_and_has_at_least_one_event
                last_is_the_newest_of_its_key
                an_undeclared_topic_is_an_error
                declaring_again_changes_nothing
                times_find_offsets
                dead_letter_topics_come_with_their_topic
            }
            groups {
                a_key_is_handled_one_at_a_time_and_in_order
                different_keys_are_handled_at_once
                concurrency_limits_what_is_in_hand
                the_position_stops_before_the_first_unfinished_event
                members_never_share_an_event
                a_dropped_member_gives_its_claims_back
                a_silent_member_loses_its_claims
                a_member_that_speaks_keeps_its_claims
                a_member_of_the_same_name_replaces_the_old_one
                a_group_resumes_at_its_position
                a_retried_event_comes_again_and_its_key_waits
                a_dead_event_moves_to_the_dead_topic
                a_dead_letter_of_a_dead_letter_is_refused
                a_released_event_is_not_counted
                settling_twice_is_lost
                a_new_group_replays_from_an_offset_or_a_time
                lag_counts_what_is_not_finished
                groups_do_not_disturb_each_other
                wrong_subscriptions_are_refused
                one_member_reads_several_topics
                a_position_carries_over_to_other_groups_once
                an_event_is_resumed_where_it_was_left
            }
            dead_letters {
                a_requeued_dead_letter_comes_again_once
                dead_letters_of_a_key_are_dropped_in_any_order
                who_requeues_at_the_same_moment_stores_one_event
                many_letters_end_at_once_and_in_order
                readers_of_letters_do_not_see_marks
                what_is_no_dead_letter_is_refused
            }
            waiting {
                an_append_ends_a_wait
                an_append_through_another_log_ends_a_wait
                the_end_of_an_event_frees_the_next_of_its_key_elsewhere
                the_end_of_an_event_makes_room_for_a_claim_that_waits
                a_member_without_room_waits_in_peace
                claims_and_signs_of_life_at_once_do_not_end_a_membership
                an_interrupted_wait_ends
                a_wait_ends_empty_at_its_timeout
                no_wake_up_is_missed
            }
        }
    };
}

/// What drivers do that hand out events themselves.
#[macro_export]
macro_rules! lease_tests {
    ($store:expr) => {
        $crate::contract_tests! { $store;
            leases {
                after_an_outage_every_member_has_a_lease
                who_has_lost_an_event_appends_nothing
                tokens_grow_with_each_handing_out
                an_attempt_that_ended_with_its_member_has_failed
                an_idle_topic_has_the_next_place
                a_new_key_has_its_turn_beside_busy_ones
                no_pair_of_names_clashes
            }
        }
    };
}

pub fn topic(name: &str) -> Topic {
    Topic::new(name).expect("a good name")
}

/// A log with a topic `orders`.
pub fn orders(store: &dyn Store) -> (Arc<dyn EventLog>, Topic) {
    let log = store.open();
    let orders = topic("orders");
    log.declare(std::slice::from_ref(&orders)).expect("declared");
    (log, orders)
}

pub fn event(topic: &Topic, key: &str, number: usize) -> NewEvent {
    NewEvent::new(topic, key, number.to_string())
}

/// Appends one event and answers its offset.
pub fn put(log: &dyn EventLog, topic: &Topic, key: &str, number: usize) -> Offset {
    put_all(log, vec![event(topic, key, number)])[0]
}

pub fn put_all(log: &dyn EventLog, events: Vec<NewEvent>) -> Vec<Offset> {
    let stored = log.append(Append::new(events)).expect("appended");
    stored.iter().map(|at| at.offset).collect()
}

pub fn number(value: &[u8]) -> usize {
    std::str::from_utf8(value).expect("text").parse().expect("a number")
}

pub fn join(log: &dyn EventLog, topic: &Topic, member: &str) -> Box<dyn Consumer> {
    log.join(subscription(topic, member)).expect("joined")
}

pub fn subscription(topic: &Topic, member: &str) -> Subscription {
    Subscription::new("group", std::slice::from_ref(topic), member)
}

/// Another log of the store, or the same one where only that remembers which appends it was given.
pub fn elsewhere(store: &dyn Store, log: &Arc<dyn EventLog>) -> Arc<dyn EventLog> {
    if store.remembers_ids_elsewhere() {
        store.open()
    } else {
        log.clone()
    }
}

/// Claims what there is.
pub fn claim(store: &dyn Store, consumer: &dyn Consumer, max: usize) -> Vec<Delivery> {
    let mut found = consumer.claim(max, store.patience()).expect("claimed");
    while !store.patience().is_zero() && !found.is_empty() && found.len() < max {
        let more = consumer.claim(max - found.len(), store.patience() / 10).expect("claimed");
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    found
}

pub fn claim_none(store: &dyn Store, consumer: &dyn Consumer, max: usize) {
    assert_eq!(consumer.claim(max, store.patience() / 10).expect("claimed"), []);
}

/// Claims one event, waiting for it.
pub fn claim_one(consumer: &dyn Consumer) -> Delivery {
    let deadline = Instant::now() + LONG;
    while Instant::now() < deadline {
        if let Some(delivery) = consumer.claim(1, LONG).expect("claimed").pop() {
            return delivery;
        }
    }
    panic!("no event arrived");
}

pub fn keys(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.event.key.as_str()).collect()
}

pub fn numbers(deliveries: &[Delivery]) -> Vec<usize> {
    deliveries.iter().map(|delivery| number(&delivery.event.value)).collect()
}

pub fn offsets(log: &dyn EventLog, topic: &Topic) -> PartitionOffsets {
    log.offsets(topic).expect("offsets").remove(0)
}

/// The committed position and the lag of the group.
pub fn progress(log: &dyn EventLog, topic: &Topic) -> (Offset, u64) {
    let group = offsets(log, topic).groups.into_iter().find(|group| group.group == "group");
    group.map(|group| (group.committed, group.lag)).expect("the group")
}

pub fn assert_progress(
    store: &dyn Store,
    log: &dyn EventLog,
    topic: &Topic,
    expected: (Offset, u64),
) {
    assert_soon(store, || progress(log, topic), expected);
}

pub fn assert_lag(store: &dyn Store, log: &dyn EventLog, topic: &Topic, expected: u64) {
    assert_soon(store, || progress(log, topic).1, expected);
}

/// At once, or within the store's patience.
pub fn assert_soon<T: PartialEq + std::fmt::Debug>(
    store: &dyn Store,
    found: impl Fn() -> T,
    expected: T,
) {
    let deadline = Instant::now() + store.patience();
    while Instant::now() < deadline && found() != expected {
        std::thread::sleep(SHORT);
    }
    assert_eq!(found(), expected);
}

pub fn fail<T: std::fmt::Debug>(result: Result<T>) -> eventlog::Error {
    result.expect_err("an error")
}
