//! A write that the store refused after it had its version.
//!
//! Later writes to its regions name its version as the one that they replace, so the store refuses them too. The regions
//! take no new writes until all in flight were answered; then the record says which versions they have, and the refused
//! writes are sequenced anew. A write that was refused for a reason of its own (no space) ends with that reason.

use crate::core::{Core, Pending, ReignStep};
use crate::extent::Extent;
use crate::operation::Stage;
use crate::slots::Key;
use evenkeel_types::geometry::BLOCKS_PER_REGION;
use evenkeel_types::store_op::{ExtentDescription, StoreError, StoreOp};
use evenkeel_types::{Region, Regions, ServerId};

impl Extent {
    /// Holds the regions of a refused write, and ends it or keeps it for later.
    pub(super) fn mend_chain(&mut self, core: &mut Core, key: Key, error: StoreError) {
        let (Some(reign), Some(operation)) = (&mut self.reign, core.operations.get_mut(key)) else {
            return;
        };
        let Stage::Writing(write) = &mut operation.stage else {
            return;
        };
        let write = write.clone();
        reign.broken = reign.broken.union(write.regions);
        if let Some(identity) = operation.identity {
            reign.remembered.remove(&identity);
        }
        operation.stage = Stage::Blocked { content: write.write.content };
        // The copies may have it or not; its regions are compared again when they are copied next.
        reign.forget_write(key, write.regions);
        for (number, piece) in write.write.blocks.split_by_region() {
            if let Some(region) = Region::new(number) {
                let blocks =
                    (piece.first..piece.end()).fold(0, |mask, block| mask | 1 << (block % BLOCKS_PER_REGION));
                *reign.refused.entry(region).or_insert(0) |= blocks;
            }
        }
        // What was promised to a copy does not hold any more: only a new attach makes it know.
        let promised =
            reign.links.iter().filter(|link| link.attached().is_some_and(|attached| attached.promised));
        let promised: Vec<ServerId> = promised.map(|link| link.server).collect();
        if write.reserved {
            // It asks for space anew, if it still goes to two copies.
            self.unreserve(core, write.regions);
        }
        for server in promised {
            self.drop_link(core, server);
        }
        let Some(reign) = &mut self.reign else {
            return;
        };
        match error {
            StoreError::VersionMismatch { .. } | StoreError::IdentitiesFull => reign.blocked.push_back(key),
            StoreError::StaleEpoch { accepted } => {
                self.accepted = self.accepted.max(accepted);
                let epoch = self.successor_epoch(core);
                self.finish(core, key, evenkeel_peer::ReplyOutcome::Moved { epoch });
                self.begin_draining(core);
            }
            error => {
                let operation = core.operations.get(key).expect("just looked up");
                let outcome = super::refused(operation, error);
                self.finish(core, key, outcome);
            }
        }
    }

    /// Asks for the versions of broken regions as soon as no write to them is in flight.
    pub(super) fn continue_repair(&mut self, core: &mut Core) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        if reign.broken.is_empty()
            || reign.repairing
            || !reign.broken.iter().all(|region| reign.is_quiet(region))
        {
            return;
        }
        reign.repairing = true;
        core.store(
            Pending::Reign { extent: self.id, reign: reign.serial, step: ReignStep::Repair },
            StoreOp::Describe { extent: self.id },
        );
    }

    /// The record's versions came; regions that broke since then wait for the next answer.
    pub(super) fn handle_repair(&mut self, core: &mut Core, description: Option<&ExtentDescription>) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        reign.repairing = false;
        let mended: Regions =
            reign.broken.iter().filter(|region| reign.is_quiet(*region)).fold(Regions::NONE, Regions::with);
        for region in mended.iter() {
            let known = description.map(|description| description.versions[region.index()]);
            reign.versions[region.index()] = known.unwrap_or_default();
        }
        if let Some(description) = description {
            // Identities of writes in flight are not in the record yet.
            for write in &description.identities {
                reign.remembered.entry(write.id).or_insert(write.regions);
            }
            let open = &reign.open_writes;
            reign.remembered.retain(|id, _| {
                open.contains_key(id) || description.identities.iter().any(|write| write.id == *id)
            });
        }
        reign.broken = reign.broken.minus(mended);
        self.continue_repair(core);
        self.unblock(core);
        self.progress_reign(core);
    }
}
