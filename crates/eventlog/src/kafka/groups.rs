//! What librdkafka's admin API knows of consumer groups, and the binding doesn't offer: which there are, their positions,
//! and setting those. It takes one group a request; many requests are under way at once, on one client.
//!
//! What librdkafka 2.12 does wrong with questions to a group's coordinator, and what is done about it:
//!
//! * When the coordinator has moved, it dereferences a null pointer if the client has no group: it has one, of which it is
//!   never a member. It also goes on asking the old coordinator, so the client is to be replaced then.
//! * A question that it gives up while it looks for the coordinator is freed twice when the coordinator is there: it gives
//!   none up. This side waits no longer than its patience, and then the client is to be replaced with all its questions.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::ptr::{self, NonNull};
use std::slice;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use sys::rd_kafka_admin_op_t as Operation;
use sys::rd_kafka_resp_err_t as Code;

use super::health::Quiet;
use super::settings::PATIENCE;
use crate::Offset;

/// How many groups are asked for at the same time: enough to hide the way to the broker and back.
const UNDER_WAY: usize = 64;
/// By how much librdkafka may be late to say that a request's time is over.
const GRACE: Duration = Duration::from_secs(1);
/// The longest time that librdkafka takes for a request's.
const LONGEST: Duration = Duration::from_secs(3600);

/// A position and the text that Kafka keeps with it; `None` where the group has none.
pub(super) type Committed = Option<(Offset, String)>;

pub(super) struct Groups(BaseConsumer<Quiet>);

impl Groups {
    /// The client must have a group.
    pub fn new(client: BaseConsumer<Quiet>) -> Groups {
        Groups(client)
    }

    pub fn client(&self) -> &BaseConsumer<Quiet> {
        &self.0
    }

    /// Every group of the cluster.
    pub fn list(&self) -> KafkaResult<Vec<String>> {
        let operation = Operation::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS;
        let call = Call::new(self, operation, PATIENCE, KafkaError::GroupListFetch)?;
        // SAFETY: the client, the options and the queue live; the options are copied.
        unsafe {
            sys::rd_kafka_ListConsumerGroups(call.client(), call.options.get(), call.queue.get())
        };
        let answer = call.answer()?;
        // SAFETY: null, or as old as the answer.
        let result = unsafe { sys::rd_kafka_event_ListConsumerGroups_result(answer.get()) };
        if result.is_null() {
            return Err(call.broken());
        }
        let (mut wrong, mut found) = (0, 0);
        // SAFETY: the arrays have as many elements as the call says, and with those they are as old as the answer.
        let (errors, groups) = unsafe {
            let errors = sys::rd_kafka_ListConsumerGroups_result_errors(result, &mut wrong);
            let groups = sys::rd_kafka_ListConsumerGroups_result_valid(result, &mut found);
            (array(errors, wrong), array(groups, found))
        };
        for error in errors {
            // SAFETY: an error of the answer.
            call.check(unsafe { sys::rd_kafka_error_code(*error) })?;
        }
        // SAFETY: a group of the answer; its name is a string that is as old.
        let name =
            |group: &*const _| unsafe { text(sys::rd_kafka_ConsumerGroupListing_group_id(*group)) };
        Ok(groups.iter().map(name).collect())
    }

    /// The positions of each of different groups in the first `count` partitions of a topic.
    pub fn positions(
        &self,
        groups: &[String],
        topic: &str,
        count: u32,
    ) -> KafkaResult<Vec<Vec<Committed>>> {
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_range(topic, 0, count as i32 - 1);
        let operation = Operation::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS;
        let call = Call::new(self, operation, LONGEST, KafkaError::OffsetFetch)?;
        call.want_stable()?;
        let mut found = HashMap::with_capacity(groups.len());
        let mut waiting = groups.iter();
        for group in waiting.by_ref().take(UNDER_WAY) {
            call.ask_for(group, &partitions)?;
        }
        for _ in groups {
            let answer = call.answer()?;
            // SAFETY: null, or as old as the answer.
            let result =
                unsafe { sys::rd_kafka_event_ListConsumerGroupOffsets_result(answer.get()) };
            if result.is_null() {
                return Err(call.broken());
            }
            let mut answers = 0;
            // SAFETY: an array of the answer, with as many elements as the call says.
            let answers = unsafe {
                let groups =
                    sys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut answers);
                array(groups, answers)
            };
            for group in answers {
                // SAFETY: a group of the answer.
                let (name, places) = unsafe { call.places(*group) }?;
                let mut positions = vec![None; count as usize];
                for (partition, committed) in places {
                    if let Some(position) = positions.get_mut(partition as usize) {
                        *position = committed;
                    }
                }
                found.insert(name, positions);
            }
            if let Some(group) = waiting.next() {
                call.ask_for(group, &partitions)?;
            }
        }
        groups.iter().map(|group| found.remove(group).ok_or_else(|| call.broken())).collect()
    }

    /// Sets the positions of a group that has no members; the broker refuses it for another.
    pub fn set(&self, group: &str, positions: &TopicPartitionList) -> KafkaResult<()> {
        let operation = Operation::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS;
        let call = Call::new(self, operation, LONGEST, KafkaError::ConsumerCommit)?;
        let name = CString::new(group)?;
        // SAFETY: name and list are copied.
        let question = unsafe {
            let made = sys::rd_kafka_AlterConsumerGroupOffsets_new(name.as_ptr(), positions.ptr());
            Owned::new(made, sys::rd_kafka_AlterConsumerGroupOffsets_destroy)
        };
        let question = question.ok_or_else(|| call.broken())?;
        // SAFETY: an array of one; everything is copied but the client and the queue, which live.
        unsafe {
            sys::rd_kafka_AlterConsumerGroupOffsets(
                call.client(),
                &mut question.get(),
                1,
                call.options.get(),
                call.queue.get(),
            );
        }
        let answer = call.answer()?;
        // SAFETY: null, or as old as the answer.
        let result = unsafe { sys::rd_kafka_event_AlterConsumerGroupOffsets_result(answer.get()) };
        if result.is_null() {
            return Err(call.broken());
        }
        let mut answers = 0;
        // SAFETY: an array of the answer, with as many elements as the call says.
        let answers = unsafe {
            let groups =
                sys::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &mut answers);
            array(groups, answers)
        };
        for group in answers {
            // SAFETY: a group of the answer.
            unsafe { call.places(*group) }?;
        }
        Ok(())
    }
}

/// Requests of one kind. Those that are under way when it goes end unheard.
struct Call<'a> {
    groups: &'a Groups,
    queue: Owned<sys::rd_kafka_queue_t>,
    options: Owned<sys::rd_kafka_AdminOptions_t>,
    failed: fn(RDKafkaErrorCode) -> KafkaError,
}

impl Call<'_> {
    fn new(
        groups: &Groups,
        operation: Operation,
        time: Duration,
        failed: fn(RDKafkaErrorCode) -> KafkaError,
    ) -> KafkaResult<Call<'_>> {
        let client = groups.0.client().native_ptr();
        // SAFETY: the client lives longer than this, and what it makes here is this side's to destroy.
        let (queue, options) = unsafe {
            (
                Owned::new(sys::rd_kafka_queue_new(client), sys::rd_kafka_queue_destroy),
                Owned::new(
                    sys::rd_kafka_AdminOptions_new(client, operation),
                    sys::rd_kafka_AdminOptions_destroy,
                ),
            )
        };
        let missing = || failed(RDKafkaErrorCode::CriticalSystemResource);
        let (queue, options) = (queue.ok_or_else(missing)?, options.ok_or_else(missing)?);
        // SAFETY: no text of the error is wanted.
        let code = unsafe {
            sys::rd_kafka_AdminOptions_set_request_timeout(
                options.get(),
                milliseconds(time),
                ptr::null_mut(),
                0,
            )
        };
        let call = Call { groups, queue, options, failed };
        call.check(code)?;
        Ok(call)
    }

    fn client(&self) -> *mut sys::rd_kafka_t {
        self.groups.0.client().native_ptr()
    }

    /// No position of a transaction that may still be undone.
    fn want_stable(&self) -> KafkaResult<()> {
        // SAFETY: the options live; an error is this side's to destroy.
        let error = unsafe {
            let error =
                sys::rd_kafka_AdminOptions_set_require_stable_offsets(self.options.get(), 1);
            Owned::new(error, sys::rd_kafka_error_destroy)
        };
        match error {
            // SAFETY: the error lives.
            Some(error) => self.check(unsafe { sys::rd_kafka_error_code(error.get()) }),
            None => Ok(()),
        }
    }

    fn ask_for(&self, group: &str, partitions: &TopicPartitionList) -> KafkaResult<()> {
        let name = CString::new(group)?;
        // SAFETY: name and list are copied.
        let question = unsafe {
            let made = sys::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), partitions.ptr());
            Owned::new(made, sys::rd_kafka_ListConsumerGroupOffsets_destroy)
        };
        let question = question.ok_or_else(|| self.broken())?;
        // SAFETY: an array of one; everything is copied but the client and the queue, which live.
        unsafe {
            sys::rd_kafka_ListConsumerGroupOffsets(
                self.client(),
                &mut question.get(),
                1,
                self.options.get(),
                self.queue.get(),
            );
        }
        Ok(())
    }

    /// The next answer, to whichever of the requests.
    fn answer(&self) -> KafkaResult<Owned<sys::rd_kafka_event_t>> {
        // SAFETY: the queue lives, and the event is this side's to destroy.
        let event = unsafe {
            let event = sys::rd_kafka_queue_poll(self.queue.get(), milliseconds(PATIENCE + GRACE));
            Owned::new(event, sys::rd_kafka_event_destroy)
        };
        let event = event.ok_or_else(|| (self.failed)(RDKafkaErrorCode::OperationTimedOut))?;
        // SAFETY: the event lives.
        self.check(unsafe { sys::rd_kafka_event_error(event.get()) })?;
        Ok(event)
    }

    /// The name of a group in an answer, and its positions.
    ///
    /// # Safety
    ///
    /// The answer lives.
    unsafe fn places(
        &self,
        group: *const sys::rd_kafka_group_result_t,
    ) -> KafkaResult<(String, Vec<(i32, Committed)>)> {
        // SAFETY: the error, null if there is none, the name and the list are the group's.
        let (error, name, list) = unsafe {
            (
                sys::rd_kafka_group_result_error(group),
                text(sys::rd_kafka_group_result_name(group)),
                sys::rd_kafka_group_result_partitions(group),
            )
        };
        if !error.is_null() {
            // SAFETY: it was looked at a line before.
            self.check(unsafe { sys::rd_kafka_error_code(error) })?;
        }
        // SAFETY: null, or the group's, and it says how many elements it has.
        let partitions = unsafe { list.as_ref().map(|list| array(list.elems, list.cnt as usize)) };
        let partitions = partitions.unwrap_or_default();
        let mut places = Vec::with_capacity(partitions.len());
        for found in partitions {
            self.check(found.err)?;
            let text = match found.metadata.is_null() {
                true => String::new(),
                // SAFETY: it has that many bytes.
                false => unsafe {
                    let bytes = slice::from_raw_parts(found.metadata.cast(), found.metadata_size);
                    String::from_utf8_lossy(bytes).into_owned()
                },
            };
            // Those that say that there is none are negative.
            let committed = Offset::try_from(found.offset).ok().map(|offset| (offset, text));
            places.push((found.partition, committed));
        }
        Ok((name, places))
    }

    fn check(&self, code: Code) -> KafkaResult<()> {
        match code {
            Code::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            code => Err((self.failed)(code.into())),
        }
    }

    /// librdkafka answered what its manual doesn't allow.
    fn broken(&self) -> KafkaError {
        (self.failed)(RDKafkaErrorCode::Fail)
    }
}

/// What librdkafka made and this side destroys.
struct Owned<T> {
    made: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// `None` for a null pointer.
    ///
    /// # Safety
    ///
    /// `destroy` ends what was made, and nothing else does.
    unsafe fn new(made: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Option<Owned<T>> {
        NonNull::new(made).map(|made| Owned { made, destroy })
    }

    fn get(&self) -> *mut T {
        self.made.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: `new`'s caller promised it.
        unsafe { (self.destroy)(self.get()) }
    }
}

/// # Safety
///
/// An array of `length` elements that live for `'a`; a null pointer is an empty one.
unsafe fn array<'a, T>(first: *const T, length: usize) -> &'a [T] {
    match first.is_null() {
        true => &[],
        // SAFETY: the caller's promise.
        false => unsafe { slice::from_raw_parts(first, length) },
    }
}

/// # Safety
///
/// A string with a zero behind it.
unsafe fn text(string: *const std::ffi::c_char) -> String {
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

fn milliseconds(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
