//! The positions of groups, asked for and set without being a member of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as Position, TopicPartitionList};

use super::cluster::Cluster;
use super::health::Quiet;
use super::progress::finished_ahead;
use super::settings::PATIENCE;
use crate::{GroupPosition, Offset, PartitionOffsets, Result, Start, Subscription, Topic};

/// Groups whose clients are kept: making one takes longer than asking it.
const OBSERVERS: usize = 8;

/// A position and the text that Kafka keeps with it; `None` where the group has none.
pub(super) type Committed = Option<(Offset, String)>;
/// Where a group begins in the partitions that it had no position in.
pub(super) type Starts = HashMap<(Topic, u32), Offset>;

pub(super) struct Positions {
    cluster: Arc<Cluster>,
    observers: Mutex<HashMap<String, Arc<BaseConsumer<Quiet>>>>,
}

impl Positions {
    pub fn new(cluster: Arc<Cluster>) -> Positions {
        Positions { cluster, observers: Mutex::default() }
    }

    fn observer(&self, group_id: &str) -> Result<Arc<BaseConsumer<Quiet>>> {
        let mut observers = self.observers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(observer) = observers.get(group_id) {
            return Ok(observer.clone());
        }
        let context = Quiet(self.cluster.health.clone());
        let config = self.cluster.settings.observer(group_id);
        let new: BaseConsumer<Quiet> =
            config.create_with_context(context).map_err(super::health::refused_settings)?;
        let new = Arc::new(new);
        if observers.len() >= OBSERVERS {
            observers.clear();
        }
        observers.insert(group_id.to_owned(), new.clone());
        Ok(new)
    }

    fn committed(&self, group_id: &str, topic: &Topic, count: u32) -> Result<Vec<Committed>> {
        let name = self.cluster.settings.name(topic);
        let mut question = TopicPartitionList::new();
        question.add_partition_range(&name, 0, count as i32 - 1);
        let (observer, what) = (self.observer(group_id)?, "asking for a group's position");
        let answer =
            self.cluster.ask(what, || observer.committed_offsets(question.clone(), PATIENCE))?;
        (0..count)
            .map(|partition| match answer.find_partition(&name, partition as i32) {
                Some(found) => {
                    found.error().map_err(|error| self.cluster.unavailable(what, &error))?;
                    Ok(position(found.offset()).map(|at| (at, found.metadata().to_owned())))
                }
                None => Ok(None),
            })
            .collect()
    }

    /// The extent of each partition, and every group that has a position in it.
    pub fn offsets(&self, topic: &Topic) -> Result<Vec<PartitionOffsets>> {
        let count = self.cluster.partitions(topic)?;
        let mut partitions = Vec::with_capacity(count as usize);
        for partition in 0..count {
            let (first, next) = self.cluster.extent(topic, partition)?;
            partitions.push(PartitionOffsets { partition, first, next, groups: Vec::new() });
        }
        let list = self
            .cluster
            .ask("listing groups", || self.cluster.probe().fetch_group_list(None, PATIENCE))?;
        let mut ids: Vec<&str> = list.groups().iter().map(|group| group.name()).collect();
        ids.sort_unstable();
        for id in ids {
            let Some(group) = self.cluster.settings.group(id) else { continue };
            let positions = self.committed(id, topic, count)?;
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
        let group_id = self.cluster.settings.group_id(&subscription.group);
        let failed = |error: KafkaError| {
            self.cluster.unavailable("setting a group's first position", &error)
        };
        for topic in &subscription.topics {
            let count = self.cluster.partitions(topic)?;
            let committed = self.committed(&group_id, topic, count)?;
            for (partition, found) in (0..count).zip(committed) {
                if found.is_some() {
                    continue;
                }
                let offset = self.start(topic, partition, subscription.start)?;
                let at = Position::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
                commit
                    .add_partition_offset(&self.cluster.settings.name(topic), partition as i32, at)
                    .map_err(failed)?;
                starts.insert((topic.clone(), partition), offset);
            }
        }
        if starts.is_empty() {
            return Ok(starts);
        }
        match self.observer(&group_id)?.commit(&commit, CommitMode::Sync) {
            Ok(()) => Ok(starts),
            // Others are members already: theirs is the choice, unless this member gets there first.
            Err(error) if is_membership(&error) => Ok(starts),
            Err(error) => Err(failed(error)),
        }
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
