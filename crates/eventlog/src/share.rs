//! How a member shares its room out, so that nobody waits for all that waits elsewhere.
//!
//! Room goes to the topic of which the member has the fewest events in hand. So a topic that was idle gets the next place
//! that becomes free, however many events wait in others. Within a topic, events that nobody has looked at share with those whose moment has come: else
//! the later events of a few busy keys would always be before the first of another.

/// In one of so many claims those that nobody has looked at have half of the places, though others are due: to look at them costs more.
const OTHERS_TURN: usize = 4;

/// What is known of a topic before a claim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Source {
    /// There may be events whose moment has come,
    pub due: bool,
    /// and such that nobody has taken in.
    pub untouched: bool,
    /// What the member has in hand.
    pub in_hand: usize,
}

/// What a topic is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Quota {
    pub due: usize,
    pub untouched: usize,
}

impl Quota {
    pub fn total(&self) -> usize {
        self.due + self.untouched
    }
}

/// Shares `room` out. `turn` is another number in each claim: it decides who has the odd place.
pub(crate) fn share(sources: &[Source], room: usize, turn: usize) -> Vec<Quota> {
    let mut places = vec![0; sources.len()];
    for _ in 0..room {
        let open = (0..sources.len()).filter(|n| sources[*n].due || sources[*n].untouched);
        let order = |n: &usize| {
            let later = (n + sources.len() - turn % sources.len()) % sources.len();
            (sources[*n].in_hand + places[*n], later)
        };
        let Some(next) = open.min_by_key(order) else { break };
        places[next] += 1;
    }
    let split = |(source, places): (&Source, usize)| match (source.due, source.untouched) {
        (true, true) => {
            let untouched = if turn.is_multiple_of(OTHERS_TURN) { places.div_ceil(2) } else { 0 };
            Quota { due: places - untouched, untouched }
        }
        (true, false) => Quota { due: places, untouched: 0 },
        (false, _) => Quota { due: 0, untouched: places },
    };
    sources.iter().zip(places).map(split).collect()
}

/// Claims until the room is used up or no source has anything left: `claim` takes a source's number and its quota, and answers how many
/// events of each kind it has claimed.
pub(crate) fn claim_all<E>(
    sources: &mut [Source],
    mut room: usize,
    turn: usize,
    mut claim: impl FnMut(usize, Quota) -> Result<Quota, E>,
) -> Result<(), E> {
    while room > 0 {
        let quotas = share(sources, room, turn);
        if quotas.iter().all(|quota| quota.total() == 0) {
            break;
        }
        for (n, quota) in quotas.into_iter().enumerate().filter(|(_, quota)| quota.total() > 0) {
            let claimed = claim(n, quota)?;
            let source = &mut sources[n];
            source.due &= quota.due == 0 || claimed.due == quota.due;
            source.untouched &= quota.untouched == 0 || claimed.untouched == quota.untouched;
            source.in_hand += claimed.total();
            room = room.saturating_sub(claimed.total());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(due: bool, untouched: bool, in_hand: usize) -> Source {
        Source { due, untouched, in_hand }
    }

    fn totals(sources: &[Source], room: usize, turn: usize) -> Vec<usize> {
        share(sources, room, turn).iter().map(Quota::total).collect()
    }

    #[test]
    fn the_topic_with_the_fewest_in_hand_comes_first() {
        let (busy, idle) = (source(true, true, 15), source(false, true, 0));
        assert_eq!(totals(&[busy, idle], 1, 0), [0, 1]);
        assert_eq!(totals(&[busy, idle], 15, 0), [0, 15]);
        assert_eq!(totals(&[busy, idle], 17, 0), [1, 16]);
        assert_eq!(totals(&[source(true, false, 0); 3], 4, 1), [1, 2, 1]);
        assert_eq!(totals(&[source(false, false, 0), busy], 3, 0), [0, 3]);
        assert_eq!(totals(&[], 3, 0), [0; 0]);
    }

    #[test]
    fn untouched_events_take_turns_with_those_whose_moment_has_come() {
        let both = [source(true, true, 0)];
        assert_eq!(share(&both, 4, 0), [Quota { due: 2, untouched: 2 }]);
        let one: Vec<_> = (0..4).map(|turn| share(&both, 1, turn)[0].untouched).collect();
        assert_eq!(one, [1, 0, 0, 0]);
    }

    #[test]
    fn what_one_has_not_goes_to_the_others() {
        let mut left = [(3, 0), (2, 9)];
        let mut sources = [source(true, false, 0), source(true, true, 0)];
        let mut calls = 0;
        let claimed = claim_all(&mut sources, 12, 0, |n, quota| {
            calls += 1;
            let (due, untouched) = (quota.due.min(left[n].0), quota.untouched.min(left[n].1));
            left[n] = (left[n].0 - due, left[n].1 - untouched);
            Ok::<_, ()>(Quota { due, untouched })
        });
        assert_eq!((claimed, left), (Ok(()), [(0, 0), (0, 2)]));
        assert!(calls <= 6, "{calls}");
    }
}
