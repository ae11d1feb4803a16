//! A block that cannot be read here is mended from another copy.
//!
//! The region is held: writes in flight to it end first, and new ones wait. A copy at which it is current is asked for it;
//! if what comes has the version that the region has here, it is put in its place, and whoever met the bad block begins
//! anew. If no copy can give it, they end with a medium error, and nothing was changed.

use super::Phase;
use crate::core::{Core, Pending};
use crate::event::EngineEvent;
use crate::extent::Extent;
use crate::operation::Stage;
use crate::slots::Key;
use evenkeel_peer::{Fetch, Fetched, Message, ReplyOutcome};
use evenkeel_types::store_op::{RegionImage, StoreOp, StoreOutcome};
use evenkeel_types::{Region, ServerId};
use std::collections::BTreeSet;

/// A region that is being mended.
#[derive(Debug)]
pub(crate) struct Mending {
    /// The first bad block that was met, for whoever is told that it cannot be mended.
    block: u16,
    /// Operations that wait for it.
    waiting: Vec<Key>,
    /// Copies that have been asked.
    asked: BTreeSet<ServerId>,
    /// The copy that was asked last, and its attachment, until it has answered.
    from: Option<(ServerId, u64)>,
    /// The store puts the region in its place.
    installing: bool,
}

impl Extent {
    /// An operation met a block that cannot be read: has it wait for the block to be mended, if there is another copy.
    /// Whether it waits.
    pub(super) fn mend_block(&mut self, core: &mut Core, key: Key, block: u16) -> bool {
        let Some(region) = Region::new((block / evenkeel_types::geometry::BLOCKS_PER_REGION) as u8) else {
            return false;
        };
        let Some(reign) = &mut self.reign else {
            return false;
        };
        if reign.links.iter().all(|link| !link.current().contains(region)) {
            return false;
        }
        if let Some(operation) = core.operations.get_mut(key) {
            operation.stage = Stage::Locking;
        }
        let mending = reign.mending.entry(region).or_insert_with(|| Mending {
            block,
            waiting: Vec::new(),
            asked: BTreeSet::new(),
            from: None,
            installing: false,
        });
        mending.waiting.push(key);
        self.continue_mending(core);
        true
    }

    /// Asks copies for the regions that are being mended, as soon as no write to them is in flight.
    pub(crate) fn continue_mending(&mut self, core: &mut Core) {
        let id = self.id;
        let Some(reign) = &mut self.reign else {
            return;
        };
        let idle = reign.mending.iter().filter(|(_, mending)| mending.from.is_none() && !mending.installing);
        let regions: Vec<Region> = idle.map(|(region, _)| *region).collect();
        for region in
            regions.into_iter().filter(|region| reign.in_flight[region.index()] == 0).collect::<Vec<_>>()
        {
            let epoch = reign.epoch;
            let Some(mending) = reign.mending.get_mut(&region) else {
                continue;
            };
            let next = reign
                .links
                .iter()
                .find(|link| link.current().contains(region) && !mending.asked.contains(&link.server));
            let next = next.and_then(|link| Some((link.server, link.attachment()?)));
            if let Some((server, attachment)) = next {
                mending.asked.insert(server);
                mending.from = Some((server, attachment));
                core.send(server, Message::Fetch(Fetch { extent: id, epoch, attachment, region }));
            } else if reign.links.iter().all(|link| !link.role.is_replica() || link.attached().is_some()) {
                self.end_mending(core, region, false);
                return self.continue_mending(core);
            }
            // Else a replica is to be attached again, or to be marked down, before all have been asked.
        }
    }

    /// A copy sent a region, or cannot.
    pub(crate) fn handle_fetched(&mut self, core: &mut Core, from: ServerId, fetched: Fetched) {
        let (id, region) = (self.id, fetched.region);
        let Some(reign) = &mut self.reign else {
            return;
        };
        let here = reign.versions[region.index()];
        let Some(mending) = reign.mending.get_mut(&region) else {
            return;
        };
        if mending.from != Some((from, fetched.attachment)) {
            return;
        }
        mending.from = None;
        if fetched.refusal.is_none() && fetched.version == here {
            mending.installing = true;
            let Fetched { version, present, identities, data, .. } = fetched;
            let image = RegionImage { version, present, identities, data };
            core.store(
                Pending::Mend { extent: id, region, from },
                StoreOp::InstallRegion { extent: id, region, replaces: here, image },
            );
        } else {
            self.continue_mending(core);
        }
    }

    /// The store has put a region in its place.
    pub(crate) fn handle_mended(
        &mut self,
        core: &mut Core,
        region: Region,
        from: ServerId,
        outcome: &StoreOutcome,
    ) {
        if let Some(mending) = self.reign.as_mut().and_then(|reign| reign.mending.get_mut(&region)) {
            mending.installing = false;
        }
        if outcome.is_ok() {
            core.counters.mended += 1;
            core.event(EngineEvent::Mended { extent: self.id, region, from });
            self.end_mending(core, region, true);
        } else {
            self.continue_mending(core);
        }
    }

    /// A copy that was asked is not attached any more.
    pub(crate) fn lose_mender(&mut self, core: &mut Core, server: ServerId) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        for mending in reign.mending.values_mut() {
            if mending.from.take_if(|(asked, _)| *asked == server).is_some() {
                mending.asked.remove(&server);
            }
        }
        self.continue_mending(core);
    }

    fn end_mending(&mut self, core: &mut Core, region: Region, is_mended: bool) {
        let mending = self.reign.as_mut().and_then(|reign| reign.mending.remove(&region));
        let Some(Mending { block, waiting, .. }) = mending else {
            return;
        };
        let epoch = self.successor_epoch(core);
        let is_draining = self.reign.as_ref().is_some_and(|reign| reign.phase == Phase::Draining);
        for key in waiting {
            if is_mended {
                self.run(core, key);
            } else if is_draining {
                let outcome = self.moved_or_deleted(core, epoch);
                self.finish(core, key, outcome);
            } else {
                let start =
                    core.operations.get(key).map_or(0, |operation| operation.op.range().offset as u32);
                let offset = start.max(u32::from(block) * evenkeel_types::geometry::BLOCK_BYTES);
                self.finish(core, key, ReplyOutcome::Medium { offset });
            }
        }
        self.unblock(core);
    }
}
