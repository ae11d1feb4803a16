//! Writes: from "nothing keeps it" to the acknowledgement.
//!
//! A write is sequenced in one step: it gets its version, goes to the store, and goes to every copy for each region that
//! is current there. Before that step it waits for: the regions in motion (at most [`crate::config::REGION_HOLD_MAX`]),
//! replicas that are not attached, regions that are behind at a copy that has to have everything, a place for its
//! identity, and space at all copies that take it. It is acknowledged when it is durable here and at the copies, as far
//! as they have the regions; those in sync and a required target have to have all of them.

use super::{Floors, Phase, is_proven};
use crate::copies::{CopyLink, SpaceThere};
use crate::core::{Core, Pending};
use crate::extent::Extent;
use crate::operation::{Stage, WriteInFlight};
use crate::slots::Key;
use evenkeel_peer::ReplyOutcome;
use evenkeel_types::store_op::{Content, StoreError, StoreOp, StoreOutcome, StoreWrite};
use evenkeel_types::{Payload, Regions, Time};
use smallvec::SmallVec;
use std::time::Duration;

/// How long a write waits for a place for its identity before it looks again.
const IDENTITY_WAIT: Duration = Duration::from_millis(2);

/// What keeps a write from being sequenced.
enum Obstacle {
    /// Something that will wake the extent when it is gone.
    Event,
    /// Something to be looked at again at that time.
    Until(Time),
    /// It ends here.
    End(ReplyOutcome),
    /// Space has to be set aside first.
    Reserve,
}

impl Extent {
    /// Sequences a write whose content is known, or leaves it blocked.
    pub(crate) fn sequence(&mut self, core: &mut Core, key: Key) {
        match self.obstacle(core, key) {
            None => self.assign(core, key),
            Some(Obstacle::End(outcome)) => self.finish(core, key, outcome),
            Some(Obstacle::Reserve) => {
                let Some(operation) = core.operations.get_mut(key) else {
                    return;
                };
                let blocks = operation.blocks;
                operation.reserved = true;
                if let Some(reign) = &mut self.reign {
                    for region in Regions::touched_by(blocks).iter() {
                        reign.set_aside[region.index()] += 1;
                    }
                }
                if let Stage::Blocked { content } = &mut operation.stage {
                    let content = std::mem::replace(content, Content::Absent);
                    operation.stage = Stage::Reserving { content };
                    let op = StoreOp::Reserve { extent: self.id, blocks };
                    core.store(Pending::Reserve { operation: key }, op);
                }
            }
            Some(obstacle) => {
                if let Obstacle::Until(time) = obstacle {
                    core.wake_at(self.id, time);
                }
                if let Some(reign) = &mut self.reign {
                    reign.blocked.push_back(key);
                }
            }
        }
    }

    fn obstacle(&mut self, core: &mut Core, key: Key) -> Option<Obstacle> {
        let epoch = self.successor_epoch(core);
        let (Some(reign), Some(operation)) = (&mut self.reign, core.operations.get_mut(key)) else {
            return Some(Obstacle::Event);
        };
        if reign.phase == Phase::Draining {
            return Some(Obstacle::End(self.moved_or_deleted(core, epoch)));
        }
        if reign.phase != Phase::Serving {
            return Some(Obstacle::Event);
        }
        if !is_proven(core.now, operation) {
            return Some(Obstacle::End(ReplyOutcome::ProofTooOld));
        }
        let absent = matches!(operation.stage, Stage::Blocked { content: Content::Absent });
        if absent && !reign.record && !reign.lost && !core.store_stopped {
            // Without a record there is no block to be given back: it changes nothing, so it needs no version and no
            // identity. A retry that comes after other writes is the first that has an effect. Writes in flight that will
            // make the record are to other blocks: those to these were waited for. A move has no target before there is a
            // record.
            return Some(Obstacle::End(ReplyOutcome::Done { data: Payload::default() }));
        }
        let regions = Regions::touched_by(operation.blocks);
        if !reign.held().intersection(regions).is_empty() {
            if !operation.counted_as_waiting {
                operation.counted_as_waiting = true;
                let in_motion =
                    reign.links.iter_mut().filter(|link| !link.in_motion().intersection(regions).is_empty());
                in_motion.for_each(|link| link.count(&mut core.counters, |sum| sum.writes_waited += 1));
            }
            return Some(Obstacle::Event);
        }
        let is_missing = |link: &CopyLink| match link.attached() {
            None => link.role.is_replica() || reign.has_to_have_all(link),
            Some(attached) => reign.has_to_have_all(link) && !regions.minus(attached.current).is_empty(),
        };
        if reign.links.iter().any(is_missing) {
            return Some(Obstacle::Event);
        }
        let keeps_identity = !reign.links.is_empty()
            || operation.identity.is_some_and(|identity| identity.gateway != core.config.me);
        let (reserved, identity) = (operation.reserved, operation.identity);
        let floors = Floors { of_extent: &self.floors, of_all: &core.floors };
        if keeps_identity && identity.is_some() && !reign.forget_for(&floors, identity).1 {
            return Some(Obstacle::Until(core.now + IDENTITY_WAIT));
        }
        if reign.links.iter().all(|link| link.current().intersection(regions).is_empty()) {
            return None;
        }
        if absent {
            // Blocks that are given back need no space, at any copy. But a write that set space aside before, and is
            // not sequenced yet, counts on what its regions have: it goes first.
            let is_counted_on = regions.iter().any(|region| reign.set_aside[region.index()] > 0);
            return is_counted_on.then(|| Obstacle::Until(core.now + IDENTITY_WAIT));
        }
        match reign.space_there(core, self.id, regions) {
            SpaceThere::Enough => (!reserved).then_some(Obstacle::Reserve),
            SpaceThere::Asked => Some(Obstacle::Event),
            SpaceThere::None => Some(Obstacle::End(ReplyOutcome::NoSpace)),
        }
    }

    /// Space here for a write to several copies is set aside, or there is none.
    pub(crate) fn handle_reserved(&mut self, core: &mut Core, key: Key, outcome: &StoreOutcome) {
        let Some(operation) = core.operations.get_mut(key) else {
            return;
        };
        let Stage::Reserving { content } = &mut operation.stage else {
            return;
        };
        let content = std::mem::replace(content, Content::Absent);
        operation.stage = Stage::Blocked { content };
        match outcome {
            Ok(_) => self.sequence(core, key),
            Err(error) => {
                let outcome = super::refused(operation, *error);
                self.finish(core, key, outcome);
            }
        }
    }

    /// Takes note that a write counts no longer on the space that was set aside for it, if any was. If it is given up
    /// that space goes back to the store, but for regions that another write waits to use: the store knows only that a
    /// region is reserved, not for how many. What was sequenced before is not in question: the store carries it out
    /// before it hears that the rest is not needed.
    pub(super) fn release_space(&mut self, core: &mut Core, key: Key, is_given_up: bool) {
        let (Some(reign), Some(operation)) = (&mut self.reign, core.operations.get_mut(key)) else {
            return;
        };
        if !std::mem::take(&mut operation.reserved) {
            return;
        }
        let touched = Regions::touched_by(operation.blocks);
        for region in touched.iter() {
            reign.set_aside[region.index()] -= 1;
        }
        if is_given_up {
            self.unreserve(core, touched);
        }
    }

    /// Gives back what is set aside for regions, as far as no write waits to use it.
    pub(super) fn unreserve(&mut self, core: &mut Core, regions: Regions) {
        let Some(reign) = &self.reign else {
            return;
        };
        let unused = regions.iter().filter(|region| reign.set_aside[region.index()] == 0);
        let regions = unused.fold(Regions::NONE, Regions::with);
        if !regions.is_empty() {
            core.store(Pending::Unreserve, StoreOp::Unreserve { extent: self.id, regions });
        }
    }

    /// Gives a write its version, and sends it to the copies.
    fn assign(&mut self, core: &mut Core, key: Key) {
        let reserved = core.operations.get(key).is_some_and(|operation| operation.reserved);
        self.release_space(core, key, false);
        let Some(reign) = &mut self.reign else {
            return;
        };
        let version = core.next_version(reign.epoch);
        let Some(operation) = core.operations.get_mut(key) else {
            return;
        };
        let Stage::Blocked { content } = &mut operation.stage else {
            return;
        };
        let content = std::mem::replace(content, Content::Absent);
        let (blocks, writer, me) = (operation.blocks, operation.identity, core.config.me);
        let keeps = !reign.links.is_empty() || writer.is_some_and(|writer| writer.gateway != me);
        let identity = writer.filter(|_| keeps);
        let regions = Regions::touched_by(blocks);
        let floors = Floors { of_extent: &self.floors, of_all: &core.floors };
        let (forget_below, _) = reign.forget_for(&floors, identity.or(writer));
        if let Some(floor) = forget_below {
            reign.remembered.retain(|id, _| !id.is_below(floor));
        }
        if let Some(identity) = identity {
            let applied = reign.remembered.entry(identity).or_default();
            *applied = applied.union(regions);
        }
        let replaces = regions.iter().map(|region| reign.versions[region.index()]).collect();
        for region in regions.iter() {
            reign.versions[region.index()] = version;
            reign.in_flight[region.index()] += 1;
        }
        let write =
            StoreWrite { extent: self.id, blocks, content, version, replaces, identity, forget_below };
        let unanswered = reign.mirror(core, key, &write);
        if let Some(operation) = core.operations.get_mut(key) {
            operation.stage = Stage::Writing(WriteInFlight {
                regions,
                write: write.clone(),
                reserved,
                local: false,
                unanswered,
                behind: SmallVec::new(),
            });
        }
        core.store(Pending::Write { operation: key }, StoreOp::Write(write));
    }

    /// The store has applied a write, or refused it.
    pub(crate) fn handle_written_here(&mut self, core: &mut Core, key: Key, outcome: &StoreOutcome) {
        let (Some(reign), Some(operation)) = (&mut self.reign, core.operations.get_mut(key)) else {
            return;
        };
        let Stage::Writing(write) = &mut operation.stage else {
            return;
        };
        let regions = write.regions;
        for region in regions.iter() {
            reign.in_flight[region.index()] -= 1;
        }
        match outcome {
            Ok(_) => {
                write.local = true;
                reign.record = true;
                self.consider_write(core, key);
            }
            Err(StoreError::Stopped) => {
                // Whether it is durable is not known, so it must not be taken for applied when it is tried again.
                if let Some(identity) = operation.identity {
                    reign.remembered.remove(&identity);
                }
                self.finish(core, key, ReplyOutcome::Unknown);
            }
            Err(error) => self.mend_chain(core, key, *error),
        }
        self.continue_repair(core);
        self.continue_mending(core);
        self.progress_reign(core);
    }

    /// Acknowledges a write if all copies that have to have it do. Between two epochs nothing is acknowledged.
    pub(crate) fn consider_write(&mut self, core: &mut Core, key: Key) {
        let epoch = self.successor_epoch(core);
        let Some(reign) = &mut self.reign else {
            return;
        };
        let Some(Stage::Writing(write)) = core.operations.get_mut(key).map(|operation| &mut operation.stage)
        else {
            return;
        };
        for (server, regions) in &mut write.behind {
            *regions = reign.owed_by(*server, *regions);
        }
        write.behind.retain(|(_, regions)| !regions.is_empty());
        if !write.local || write.unanswered > 0 {
            return;
        }
        let is_complete = write.behind.is_empty();
        match reign.phase {
            Phase::Serving | Phase::Draining if is_complete => {
                let is_part = core.operations.get(key).is_some_and(|operation| operation.is_part);
                let done = ReplyOutcome::Done { data: Payload::default() };
                self.finish(core, key, if is_part { ReplyOutcome::Unknown } else { done });
            }
            // Some copy did not take it under this reign; whether it has it, its identity tells there.
            Phase::Draining => {
                let outcome = self.moved_or_deleted(core, epoch);
                self.finish(core, key, outcome);
            }
            _ if reign.blocked.contains(&key) => {}
            _ => reign.blocked.push_back(key),
        }
    }
}
