//! Epochs and routes: who holds an extent, and since when.

use crate::directory::Revision;
use crate::records::{MemberRecord, MemberState, MoveIntent, Replicas};
use evenkeel_types::{Epoch, ServerId};

/// The epoch of an extent: the highest revision among the keys that its route is computed from. `base` is the revision
/// of its route entry, or of its volume's record if it has none; `members` are the revisions of the member records of
/// its replicas and of the target of a move under way; `generation` is the directory's.
///
/// It never falls: each of these keys' revisions only grows, and a change of *which* keys count is itself a put of the
/// route entry or of the volume's record, in a revision higher than all of them.
#[must_use]
pub fn epoch_of(generation: u16, base: Revision, members: impl IntoIterator<Item = Revision>) -> Epoch {
    Epoch::new(generation, members.into_iter().fold(base, Revision::max).0)
}

/// The route of one extent in one epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Grows with each change of anything below.
    pub epoch: Epoch,
    /// Who holds a copy, in the order in which they would own it.
    pub replicas: Replicas,
    /// Bit n is set if replica n is in sync.
    pub(crate) in_sync: u8,
    /// Bit n is set if replica n is not down.
    pub(crate) present: u8,
    /// The owner that the last move replaced: whoever takes over attaches it too.
    pub from: Option<ServerId>,
    /// The move under way.
    pub intent: Option<MoveIntent>,
    /// The revision of the extent's own route entry; `None` if it follows its run's, or its volume's placement.
    pub entry_revision: Option<Revision>,
    /// The revision of its run's route entry, if that is what it follows.
    pub run_revision: Option<Revision>,
    /// All servers that held a copy are gone for good: what was written is lost, and nobody will own the extent.
    pub is_lost: bool,
}

impl Route {
    /// The one replica that orders reads and writes: the first that is in sync. `None` if it is not known which copy
    /// is good, because no replica is up and none ever left `up`, and if the extent is lost.
    #[must_use]
    pub fn owner(&self) -> Option<ServerId> {
        self.in_sync().next()
    }

    /// The replicas whose copies count as good.
    pub fn in_sync(&self) -> impl Iterator<Item = ServerId> {
        select(self.replicas, self.in_sync)
    }

    /// The replicas whose servers are not down: those that an owner attaches and whose leases it needs.
    pub fn present(&self) -> impl Iterator<Item = ServerId> {
        select(self.replicas, self.present)
    }

    /// Whether the extent follows its volume's placement.
    #[must_use]
    pub const fn is_placed(&self) -> bool {
        self.entry_revision.is_none() && self.run_revision.is_none()
    }

    /// Whether the server holds a copy or is getting one.
    #[must_use]
    pub fn names(&self, server: ServerId) -> bool {
        self.replicas.contains(&server) || self.intent.is_some_and(|intent| intent.to == server)
    }
}

fn select(replicas: Replicas, set: u8) -> impl Iterator<Item = ServerId> {
    (0..replicas.len()).filter(move |n| set >> n & 1 == 1).map(move |n| replicas[n])
}

/// Which replicas are in sync, and which are not down, as bits in the order of the replicas.
///
/// In sync are those that are up. If none is, the one whose server left `up` last is alone in sync: it has every write
/// that was acknowledged, and it owns the extent as soon as it is back. Servers that are gone for good are not counted;
/// with one replica left there is no choice.
pub(crate) fn replica_sets(members: &[&MemberRecord]) -> (u8, u8) {
    let bits = |holds: &dyn Fn(&MemberRecord) -> bool| {
        members.iter().enumerate().fold(0u8, |set, (n, member)| set | u8::from(holds(member)) << n)
    };
    let present = bits(&|member| member.state != MemberState::Down);
    let up = bits(&MemberRecord::is_up);
    if up != 0 {
        return (up, present);
    }
    let left_over = || (0..members.len()).filter(|n| !members[*n].forgotten);
    let last = match left_over().count() {
        1 => left_over().next(),
        _ => left_over().filter(|n| members[*n].left.is_some()).max_by_key(|n| members[*n].left),
    };
    (last.map_or(0, |n| 1 << n), present)
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_types::Incarnation;

    fn member(state: MemberState, left: Option<u64>) -> MemberRecord {
        MemberRecord {
            state,
            draining: false,
            incarnation: Incarnation(1),
            left,
            leaves: false,
            forgotten: false,
        }
    }

    #[test]
    fn the_replicas_that_are_up_are_in_sync() {
        let (up, syncing) = (member(MemberState::Up, None), member(MemberState::Syncing, Some(9)));
        assert_eq!(replica_sets(&[&syncing, &up]), (0b10, 0b11));
        assert_eq!(replica_sets(&[&up, &member(MemberState::Down, Some(9)), &up]), (0b101, 0b101));
    }

    #[test]
    fn with_none_up_the_last_to_leave_is_alone_in_sync() {
        let first = member(MemberState::Syncing, Some(3));
        let last = member(MemberState::Down, Some(4));
        assert_eq!(replica_sets(&[&first, &last]), (0b10, 0b01));
        assert_eq!(replica_sets(&[&first, &member(MemberState::Syncing, None)]), (0b01, 0b11));
    }

    #[test]
    fn what_is_gone_for_good_is_not_counted_and_the_best_of_the_rest_takes_its_place() {
        let gone = |left| MemberRecord { forgotten: true, ..member(MemberState::Down, left) };
        let (early, late) = (member(MemberState::Down, Some(3)), member(MemberState::Syncing, Some(5)));
        assert_eq!(replica_sets(&[&gone(Some(9)), &early, &late]), (0b100, 0b100));
        assert_eq!(replica_sets(&[&gone(Some(9)), &member(MemberState::Down, None)]).0, 0b10);
        assert_eq!(replica_sets(&[&gone(Some(9)), &gone(None)]), (0, 0));
    }

    #[test]
    fn without_knowing_who_left_last_nobody_owns() {
        let down = member(MemberState::Down, None);
        assert_eq!(replica_sets(&[&down, &down]).0, 0);
        assert_eq!(replica_sets(&[&down]).0, 1);
    }

    #[test]
    fn an_epoch_is_the_highest_revision_under_the_generation() {
        let members = [Revision(9), Revision(4)];
        assert_eq!(epoch_of(0, Revision(7), members), Epoch(9));
        assert_eq!(epoch_of(0, Revision(12), members), Epoch(12));
        assert!(epoch_of(1, Revision(1), []) > epoch_of(0, Revision(u64::MAX >> 16), []));
    }
}
