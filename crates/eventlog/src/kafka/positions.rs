//! The positions of groups, asked for and set without being a member of them.

use std::collections::HashMap;
use std::sync::Arc;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as Position, TopicPartitionList};

use super::cluster::Cluster;
use super::groups::{Committed, Groups};
use super::progress::finished_ahead;
use crate::{GroupPosition, Offset, PartitionOffsets, Result, Start, Subscription, Topic};

/// The text of a position that was carried over to other groups.
const MOVED: &str = "moved";

/// Where a group begins in the partitions that it had no position in.
pub(super) type Starts = HashMap<(Topic, u32), Offset>;

pub(super) struct Positions {
    cluster: Arc<Cluster>,
}

impl Positions {
    pub fn new(cluster: Arc<Cluster>) -> Positions {
        Positions { cluster }
    }

    /// The positions of each group in each partition of the topic.
    fn committed(&self, ids: &[String], topic: &Topic, count: u32) -> Result<Vec<Vec<Committed>>> {
        let name = self.cluster.settings.name(topic);
        let what = "asking for groups' positions";
        self.cluster.ask_groups(what, |groups| groups.positions(ids, &name, count))
    }

    /// The extent of each partition, and every group that has a position in it.
    pub fn offsets(&self, topic: &Topic) -> Result<Vec<PartitionOffsets>> {
        let count = self.cluster.partitions(topic)?;
        let mut partitions = Vec::with_capacity(count as usize);
        for partition in 0..count {
            let (first, next) = self.cluster.extent(topic, partition)?;
            partitions.push(PartitionOffsets { partition, first, next, groups: Vec::new() });
        }
        let mut ids = self.cluster.ask_groups("listing groups", Groups::list)?;
        ids.retain(|id| self.cluster.settings.group(id).is_some());
        ids.sort_unstable();
        // While a group moves between brokers, two may tell of it.
        ids.dedup();
        for (id, positions) in ids.iter().zip(self.committed(&ids, topic, count)?) {
            let Some(group) = self.cluster.settings.group(id) else { continue };
            for (partition, found) in partitions.iter_mut().zip(positions) {
                let Some((committed, text)) = found else { continue };
                let behind = partition.next.saturating_sub(committed.max(partition.first));
                let lag = behind.saturating_sub(finished_ahead(committed, &text));
                let group = group.to_owned();
                partition.groups.push(GroupPosition { group, committed, lag });
            }
        }
        Ok(partitions)
    }

    /// Gives the group a position in each partition of its topics that it has none in, so that it begins there whoever
    /// of its members gets the partition, and however long that takes.
    pub fn begin(&self, subscription: &Subscription) -> Result<Starts> {
        let (mut starts, mut commit) = (Starts::new(), TopicPartitionList::new());
        let ids = [self.cluster.settings.group_id(&subscription.group)];
        let what = "setting a group's first position";
        for topic in &subscription.topics {
            let count = self.cluster.partitions(topic)?;
            let committed = self.committed(&ids, topic, count)?;
            for (partition, found) in (0..count).zip(committed.into_iter().flatten()) {
                if found.is_some() {
                    continue;
                }
                let offset = self.start(topic, partition, subscription.start_of(topic))?;
                let at = Position::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
                commit
                    .add_partition_offset(&self.cluster.settings.name(topic), partition as i32, at)
                    .map_err(|error| self.cluster.unavailable(what, &error))?;
                starts.insert((topic.clone(), partition), offset);
            }
        }
        if starts.is_empty() {
            return Ok(starts);
        }
        self.cluster.ask_groups(what, |groups| match groups.set(&ids[0], &commit) {
            // Others are members already: theirs is the choice, unless this member gets there first.
            Err(error) if is_membership(&error) => Ok(()),
            set => set,
        })?;
        Ok(starts)
    }

    /// See [`EventLog::adopt`](crate::EventLog::adopt). Kafka sets the positions of one group at a time: they are marked as carried
    /// over at the end, and those that have been set by then aren't set again.
    pub fn adopt(&self, topic: &Topic, from: &str, groups: &[String]) -> Result<()> {
        let what = "carrying a group's position over";
        let (settings, count) = (&self.cluster.settings, self.cluster.partitions(topic)?);
        let name = settings.name(topic);
        let from = settings.group_id(from);
        let found = self.committed(std::slice::from_ref(&from), topic, count)?.pop();
        let found = found.unwrap_or_default();
        let is_left =
            |position: &Committed| position.as_ref().is_some_and(|(_, text)| text != MOVED);
        if !found.iter().any(is_left) {
            return Ok(());
        }
        let ids: Vec<String> = groups.iter().map(|group| settings.group_id(group)).collect();
        let own = self.committed(&ids, topic, count)?;
        let all = ids.iter().zip(&own).map(|(id, own)| (id, Some(own)));
        for (id, own) in all.chain([(&from, None)]) {
            let mut commit = TopicPartitionList::new();
            for (partition, position) in found.iter().enumerate() {
                let Some((offset, text)) = position else { continue };
                if own.is_some_and(|own| own.get(partition).is_some_and(Option::is_some)) {
                    continue;
                }
                let mut element = commit.add_partition(&name, partition as i32);
                let at = Position::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
                element.set_offset(at).map_err(|error| self.cluster.unavailable(what, &error))?;
                element.set_metadata(if own.is_some() { text.as_str() } else { MOVED });
            }
            if commit.count() > 0 {
                self.cluster.ask_groups(what, |groups| match groups.set(id, &commit) {
                    // It has members: those have positions, or the old group still works.
                    Err(error) if is_membership(&error) => Ok(()),
                    set => set,
                })?;
            }
        }
        Ok(())
    }

    fn start(&self, topic: &Topic, partition: u32, start: Start) -> Result<Offset> {
        match start {
            Start::Earliest => Ok(self.cluster.extent(topic, partition)?.0),
            Start::Latest => Ok(self.cluster.extent(topic, partition)?.1),
            Start::Offset(offset) => Ok(offset),
            Start::Time(time) => self.cluster.offset_at(topic, partition, time),
        }
    }
}

/// A committed position, if there is one.
pub(super) fn position(found: Position) -> Option<Offset> {
    match found {
        Position::Offset(offset) => Offset::try_from(offset).ok(),
        _ => None,
    }
}

/// Whether a commit was refused because of who is in the group.
fn is_membership(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{IllegalGeneration, RebalanceInProgress, UnknownMemberId};
    let code = error.rdkafka_error_code();
    matches!(code, Some(UnknownMemberId | IllegalGeneration | RebalanceInProgress))
}
