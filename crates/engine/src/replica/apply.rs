//! Writes, regions and identities for a copy here.

use super::CopyPart;
use crate::core::{Core, Pending};
use crate::event::{Arrival, Output};
use crate::extent::Extent;
use evenkeel_peer::{
    Check, Checked, Copied, CopyOutcome, Detach, Fetch, Fetched, Message, Refusal, RegionCopy, ReplicaWrite,
    Reserve, Reserved, Written,
};
use evenkeel_types::geometry::BLOCKS_PER_REGION;
use evenkeel_types::store_op::{Content, StoreError, StoreOp, StoreOutcome, StoreWrite};
use evenkeel_types::{BlockRange, Epoch, Region, ServerId};

impl Extent {
    /// Whether what comes under this attachment is to be applied; the connection over which to answer.
    fn admits(&self, core: &mut Core, from: ServerId, attachment: u64, epoch: Epoch) -> Result<u64, Refusal> {
        let session = core.session(from).ok_or(Refusal::NotAttached)?;
        let incarnation = core.peers.get(&from).map(|peer| peer.incarnation);
        let known = core.known_incarnation(from);
        let attached = match &self.copy {
            CopyPart::Attached { owner, incarnation: then, attachment: present, epoch: accepted, .. } => {
                *owner == from
                    && *present == attachment
                    && *accepted == epoch
                    && incarnation == Some(*then)
                    && *then >= known
            }
            _ => false,
        };
        if attached {
            return Ok(session);
        }
        core.counters.stale_refusals += 1;
        let seen = core.route(self.id).map_or(Epoch::ZERO, |route| route.epoch);
        let known = seen.max(self.fence()).max(self.reign.as_ref().map_or(Epoch::ZERO, |reign| reign.epoch));
        Err(if known > epoch { Refusal::Stale { known } } else { Refusal::NotAttached })
    }

    /// The owner mirrors a write.
    pub(crate) fn handle_replica_write(&mut self, core: &mut Core, from: ServerId, write: ReplicaWrite) {
        let (extent, attachment, tag, version) = (self.id, write.attachment, write.tag, write.version);
        match self.admits(core, from, attachment, write.epoch) {
            Ok(session) => {
                core.out.push_back(Output::Arrived(Arrival::Copy {
                    extent,
                    bytes: write.data.len() as u32,
                    received: true,
                }));
                let content = if write.has_data { Content::Data(write.data) } else { Content::Absent };
                let op = StoreWrite {
                    extent,
                    blocks: write.blocks,
                    content,
                    version,
                    replaces: write.replaces.into_iter().collect(),
                    identity: write.identity,
                    forget_below: write.forget_below,
                };
                let pending =
                    Pending::ReplicaWrite { server: from, session, extent, attachment, tag, version };
                core.store(pending, StoreOp::Write(op));
            }
            Err(refusal) => {
                let outcome = CopyOutcome::Refused(refusal);
                core.send(from, Message::Written(Written { extent, attachment, tag, version, outcome }));
            }
        }
    }

    /// The owner sends a region.
    pub(crate) fn handle_region(&mut self, core: &mut Core, from: ServerId, copy: RegionCopy) {
        let RegionCopy { attachment, region, replaces, image, .. } = copy;
        let (extent, version) = (self.id, image.version);
        match self.admits(core, from, attachment, copy.epoch) {
            Ok(session) => {
                core.counters.regions_received += 1;
                core.out.push_back(Output::Arrived(Arrival::Copy {
                    extent,
                    bytes: image.data.len() as u32,
                    received: true,
                }));
                core.store(
                    Pending::Install { server: from, session, extent, attachment, region, version },
                    StoreOp::InstallRegion { extent, region, replaces, image },
                );
            }
            Err(refusal) => {
                let outcome = CopyOutcome::Refused(refusal);
                core.send(from, Message::Copied(Copied { extent, attachment, region, version, outcome }));
            }
        }
    }

    /// The owner wants space for writes.
    pub(crate) fn handle_reserve(&mut self, core: &mut Core, from: ServerId, reserve: &Reserve) {
        let (extent, attachment, regions) = (self.id, reserve.attachment, reserve.regions);
        match self.admits(core, from, attachment, reserve.epoch) {
            Ok(session) => {
                let last = regions.iter().last().map_or(0, Region::index);
                let first = regions.iter().next().map_or(0, Region::index);
                let blocks = BlockRange {
                    first: first as u16 * BLOCKS_PER_REGION,
                    count: (last - first + 1) as u16 * BLOCKS_PER_REGION,
                };
                core.store(
                    Pending::ReplicaReserve { server: from, session, extent, attachment, regions },
                    StoreOp::Reserve { extent, blocks },
                );
            }
            Err(refusal) => {
                let refused = Reserved { extent, attachment, regions, refusal: Some(refusal) };
                core.send(from, Message::Reserved(refused));
            }
        }
    }

    /// The owner cannot read a region of its own copy, and asks for the one here.
    pub(crate) fn handle_fetch(&mut self, core: &mut Core, from: ServerId, fetch: &Fetch) {
        let (extent, attachment, region) = (self.id, fetch.attachment, fetch.region);
        // Whoever is refused here finds the attachment ended, and asks elsewhere.
        if let Ok(session) = self.admits(core, from, attachment, fetch.epoch) {
            core.store(
                Pending::Fetch { server: from, session, extent, attachment, region },
                StoreOp::ReadRegion { extent, region },
            );
        } else {
            core.send(from, Message::Fetched(Fetched { extent, attachment, region, image: None }));
        }
    }

    /// The owner compares a region with the one here.
    pub(crate) fn handle_check(&mut self, core: &mut Core, from: ServerId, check: &Check) {
        let (extent, attachment, region) = (self.id, check.attachment, check.region);
        if let Ok(session) = self.admits(core, from, attachment, check.epoch) {
            core.store(
                Pending::CheckForOwner { server: from, session, extent, attachment, region },
                StoreOp::ReadRegion { extent, region },
            );
        } else {
            core.send(from, Message::Checked(Checked { extent, attachment, region, found: None }));
        }
    }

    /// The owner needs the copy no longer. What it holds stays until the view says that it may go.
    pub(crate) fn handle_detach(&mut self, core: &mut Core, from: ServerId, detach: &Detach) {
        if let CopyPart::Attached { owner, attachment, .. } = self.copy
            && owner == from
            && attachment == detach.attachment
        {
            self.end_copy(core);
            // The owner itself gave the attachment up: it answers no read by a lease of it.
            self.lease_until = None;
            core.voided.remove(&(from, self.id));
            core.wake(self.id);
        }
    }
}

/// What became of a write or a region in the store here.
pub(crate) fn copy_outcome(outcome: &StoreOutcome) -> CopyOutcome {
    match outcome {
        Ok(_) => CopyOutcome::Applied,
        Err(StoreError::VersionMismatch { region, found }) => {
            CopyOutcome::Mismatch { region: *region, found: *found }
        }
        Err(StoreError::StaleEpoch { accepted }) => CopyOutcome::Refused(Refusal::Stale { known: *accepted }),
        Err(StoreError::NoSpace) => CopyOutcome::Refused(Refusal::NoSpace),
        // A new attach makes a record, and forgets identities that may be forgotten.
        Err(StoreError::NoRecord | StoreError::IdentitiesFull) => CopyOutcome::Refused(Refusal::NotAttached),
        Err(StoreError::Stopped | StoreError::BadBlock { .. }) => CopyOutcome::Refused(Refusal::Stopped),
    }
}
