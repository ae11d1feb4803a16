//! A write is applied once, however often its gateway sends it.
//!
//! Identities are kept in the extent's record, together with the write, as long as the gateway may retry it: each
//! request carries the lowest number of a write to the extent that it may. A record has room for a bounded number; a
//! write waits rather than have one forgotten that may be retried. The number is the extent's own: a write to another
//! extent may stay open for long, because its owner is slow or away, and nothing here has to wait for that.
//!
//! A write of this very server's front end needs no identity while there is one copy: whoever would retry it hears the
//! store's answer, or dies with it.

use super::Reign;
use crate::core::Core;
use crate::extent::Extent;
use crate::operation::Origin;
use crate::slots::Key;
use evenkeel_peer::ReplyOutcome;
use evenkeel_types::store_op::IDENTITIES_PER_EXTENT_MAX;
use evenkeel_types::{Payload, Regions, ServerId, WriteId};
use std::collections::{BTreeMap, BTreeSet};

impl Extent {
    /// Answers a write that was applied before, or has it wait for its first sending. Whether it was one.
    pub(crate) fn answer_duplicate(&mut self, core: &mut Core, key: Key) -> bool {
        let (Some(reign), Some(operation)) = (&mut self.reign, core.operations.get(key)) else {
            return false;
        };
        let Some(identity) = operation.identity else {
            return false;
        };
        if let Some(first) = reign.open_writes.get(&identity).copied() {
            core.counters.duplicates += 1;
            let origin = operation.origin;
            // The gateway waits for the answer to its latest sending only.
            let earlier =
                core.operations.get_mut(first).map(|first| std::mem::replace(&mut first.origin, origin));
            if let Some(Origin::Remote { server, number, .. }) = earlier {
                core.remote.remove(&(server, number));
            }
            if let Some(operation) = core.operations.get_mut(key) {
                operation.origin = Origin::Gone;
            }
            self.end(core, key, ReplyOutcome::Busy);
            if let Origin::Remote { server, number, .. } = origin {
                core.remote.insert((server, number), first);
            }
            return true;
        }
        let Some(applied) = reign.remembered.get(&identity).copied() else {
            return false;
        };
        core.counters.duplicates += 1;
        let missing = Regions::touched_by(operation.blocks).minus(applied);
        if missing.is_empty() {
            self.end(core, key, ReplyOutcome::Done { data: Payload::default() });
            return true;
        }
        // This copy has it in some of its regions only: those were made equal to an owner's that is no more. The others
        // get it now, and only they: in the first ones a newer write may have come.
        if let Some(operation) = core.operations.get_mut(key) {
            operation.narrow_to(missing);
        }
        false
    }
}

/// What each gateway may still retry of writes to one extent: it has told for the extent, and for all together.
pub(crate) struct Floors<'a> {
    pub(crate) of_extent: &'a BTreeMap<ServerId, WriteId>,
    pub(crate) of_all: &'a BTreeMap<ServerId, WriteId>,
}

impl Floors<'_> {
    /// Those of all gateways that have told.
    pub(crate) fn all(&self) -> Vec<WriteId> {
        let gateways: BTreeSet<ServerId> = self.of_extent.keys().chain(self.of_all.keys()).copied().collect();
        gateways.into_iter().filter_map(|gateway| self.of(gateway)).collect()
    }

    /// The higher one of both.
    pub(crate) fn of(&self, gateway: ServerId) -> Option<WriteId> {
        let told = (self.of_extent.get(&gateway).copied(), self.of_all.get(&gateway).copied());
        match told {
            (Some(own), Some(all)) => Some(if own.is_below(all) { all } else { own }),
            (own, all) => own.or(all),
        }
    }
}

impl Reign {
    /// Makes room for an identity: which gateway's old ones are forgotten with the next write, and whether there is
    /// room then. The writer's own are the first choice; if the record is half full of others', those with the most.
    ///
    /// The last place is for a write at its gateway's floor. All others may have come later than one that waits, and
    /// none of them is forgotten before it has ended: if they took every place, it could never be sequenced. The one in
    /// the last place ends, the floor rises above it, and the place is free for the next.
    pub(super) fn forget_for(&self, floors: &Floors, writer: Option<WriteId>) -> (Option<WriteId>, bool) {
        let below = |floor: WriteId| self.remembered.keys().filter(|id| id.is_below(floor)).count();
        let own = writer.and_then(|writer| floors.of(writer.gateway));
        let mut best = own.map(|floor| (below(floor), floor));
        if self.remembered.len() >= IDENTITIES_PER_EXTENT_MAX / 2 {
            // Identities are in the order of their gateways.
            let mut last = None;
            let gateways = self.remembered.keys().map(|id| id.gateway);
            let gateways = gateways.filter(|gateway| last.replace(*gateway) != Some(*gateway));
            for floor in gateways.filter_map(|gateway| floors.of(gateway)) {
                let count = below(floor);
                if best.is_none_or(|(most, _)| count > most) {
                    best = Some((count, floor));
                }
            }
        }
        let forgotten = best.map_or(0, |(count, _)| count);
        let is_oldest = writer.zip(own).is_some_and(|(writer, floor)| writer.number <= floor.number);
        let places = if is_oldest { IDENTITIES_PER_EXTENT_MAX } else { IDENTITIES_PER_EXTENT_MAX - 1 };
        let room = self.remembered.len() - forgotten < places;
        (best.filter(|(count, _)| *count > 0).map(|(_, floor)| floor), room)
    }
}
