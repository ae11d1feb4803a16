//! Blocks that cannot be read here are mended from other copies.
//!
//! The region is held: writes in flight to it end first, and new ones wait. It is read with all its bad blocks, and copies
//! at which it is current are asked for it one after the other, until each bad block has been found good somewhere; then
//! the whole is put in its place, and whoever met a bad block begins anew. Two copies with different bad blocks mend each
//! other. If a block is good nowhere, whoever asks for it ends with a medium error, and nothing was changed.
//!
//! Before the owner serves, a copy in sync may have another version of the region. Both have everything that was
//! acknowledged, and nobody has read anything else. So where the owner cannot read its own, it takes the copy's as it is.

use super::{Phase, Reign};
use crate::copies::{CopyLink, Role};
use crate::core::{Core, Pending};
use crate::event::EngineEvent;
use crate::extent::Extent;
use crate::operation::Stage;
use crate::slots::Key;
use evenkeel_peer::{Fetch, Fetched, Message, ReplyOutcome};
use evenkeel_types::geometry::{BLOCK_BYTES, BLOCKS_PER_REGION};
use evenkeel_types::store_op::{RegionImage, StoreOp, StoreOutcome};
use evenkeel_types::{Region, Regions, ServerId, Version, WriteId};
use std::collections::BTreeSet;

/// A region that is being mended.
#[derive(Default, Debug)]
pub(crate) struct Mending {
    stage: MendStage,
    /// Operations that wait for it, each with the bad block that it met.
    waiting: Vec<(Key, u16)>,
    /// The region as it is here, as far as it could be mended.
    image: Option<RegionImage>,
    /// Copies that have been asked.
    asked: BTreeSet<ServerId>,
    /// Who gave a block last.
    from: Option<ServerId>,
    /// A copy in sync that has another version is asked for all of it.
    adopts: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum MendStage {
    #[default]
    Idle,
    /// The store reads the region.
    Reading,
    /// A copy has been asked, under this attachment.
    Asked { server: ServerId, attachment: u64 },
    /// The store puts the region in its place.
    Installing,
}

/// Blocks of a region that no copy could give in this version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Damage {
    version: Version,
    blocks: u16,
}

impl Reign {
    /// Whether it is known already that these blocks of a region are good nowhere.
    pub(crate) fn is_damaged(&self, region: Region, blocks: u16) -> bool {
        let version = self.versions[region.index()];
        self.damaged
            .get(&region)
            .is_some_and(|damage| damage.version == version && blocks & !damage.blocks == 0)
    }

    fn mender(&self, region: Region, mending: &Mending) -> Option<(ServerId, u64)> {
        let may_give = |link: &&CopyLink| {
            let has_it = if mending.adopts {
                link.role == Role::InSync && link.attached().is_some()
            } else {
                link.current().contains(region)
            };
            has_it && !mending.asked.contains(&link.server)
        };
        self.links.iter().find(may_give).and_then(|link| Some((link.server, link.attachment()?)))
    }
}

impl Extent {
    /// An operation met a block that cannot be read: has it wait for the block to be mended, if another copy may have it.
    /// Whether it waits.
    pub(super) fn mend_block(&mut self, core: &mut Core, key: Key, block: u16) -> bool {
        let Some(region) = Region::new((block / BLOCKS_PER_REGION) as u8) else {
            return false;
        };
        if !self.begin_mending(core, region, 1 << (block % BLOCKS_PER_REGION)) {
            return false;
        }
        if let Some(operation) = core.operations.get_mut(key) {
            operation.stage = Stage::Locking;
        }
        if let Some(mending) = self.reign.as_mut().and_then(|reign| reign.mending.get_mut(&region)) {
            mending.waiting.push((key, block));
        }
        self.continue_mending(core);
        true
    }

    /// Blocks of a region were found bad by somebody who does not wait for them.
    pub(crate) fn mend_region(&mut self, core: &mut Core, region: Region, blocks: u16) {
        if self.begin_mending(core, region, blocks) {
            self.continue_mending(core);
        } else {
            // What is good nowhere is copied as it is.
            core.wake(self.id);
        }
    }

    /// Whether there is something to be tried; else it is noted that the blocks are good nowhere.
    fn begin_mending(&mut self, core: &mut Core, region: Region, blocks: u16) -> bool {
        let Some(reign) = &mut self.reign else {
            return false;
        };
        if reign.is_damaged(region, blocks) {
            return false;
        }
        if reign.links.iter().all(|link| !link.current().contains(region)) {
            self.note_damage(core, region, blocks);
            return false;
        }
        reign.mending.entry(region).or_default();
        true
    }

    /// A region cannot be read here, and a copy in sync has another version of it. Whether that can be taken.
    pub(crate) fn adopt_region(&mut self, core: &mut Core, region: Region) -> bool {
        let Some(reign) = &mut self.reign else {
            return false;
        };
        let writes = |key: &Key| match core.operations.get(*key).map(|operation| &operation.stage) {
            Some(Stage::Writing(write)) => write.regions.contains(region),
            _ => false,
        };
        // A write that is under way has its version here, and would lose it.
        if reign.phase != Phase::Gathering || reign.open_writes.values().any(writes) {
            return false;
        }
        reign.mending.entry(region).or_insert_with(|| Mending { adopts: true, ..Mending::default() });
        self.continue_mending(core);
        true
    }

    /// Goes on with the regions that are being mended, as soon as no write to them is in flight.
    pub(crate) fn continue_mending(&mut self, core: &mut Core) {
        let Some(reign) = &self.reign else {
            return;
        };
        let is_ready = |region: &Region| reign.is_quiet(*region) && !reign.broken.contains(*region);
        let idle = reign.mending.iter().filter(|(_, mending)| mending.stage == MendStage::Idle);
        let idle: Vec<Region> = idle.map(|(region, _)| *region).filter(is_ready).collect();
        for region in idle {
            self.continue_mending_of(core, region);
        }
    }

    fn continue_mending_of(&mut self, core: &mut Core, region: Region) {
        let extent = self.id;
        let Some(reign) = &mut self.reign else {
            return;
        };
        let Some(mending) = reign.mending.get(&region).filter(|mending| mending.stage == MendStage::Idle)
        else {
            return;
        };
        let is_read = mending.adopts || mending.image.is_some();
        let is_whole = mending.image.as_ref().is_some_and(|image| image.bad == 0);
        let next = if is_whole { None } else { reign.mender(region, mending) };
        // A replica that is to be attached again, or to be marked down, has not been asked.
        let are_all_there =
            reign.links.iter().all(|link| !link.role.is_replica() || link.attached().is_some());
        let (epoch, here) = (reign.epoch, reign.versions[region.index()]);
        let Some(mending) = reign.mending.get_mut(&region) else {
            return;
        };
        if !is_read {
            mending.stage = MendStage::Reading;
            core.store(Pending::MendRead { extent, region }, StoreOp::ReadRegion { extent, region });
        } else if let Some((server, attachment)) = next {
            mending.asked.insert(server);
            mending.stage = MendStage::Asked { server, attachment };
            core.send(server, Message::Fetch(Fetch { extent, epoch, attachment, region }));
        } else if let (true, Some(image)) = (mending.from.is_some(), &mending.image)
            && (is_whole || are_all_there)
        {
            let image = image.clone();
            let replaces = if mending.adopts { here } else { image.version };
            mending.stage = MendStage::Installing;
            core.store(
                Pending::Mend { extent, region },
                StoreOp::InstallRegion { extent, region, replaces, image },
            );
        } else if are_all_there {
            self.end_mending(core, region, false);
        }
    }

    /// The store has read the region, as far as it can.
    pub(crate) fn handle_read_to_mend(
        &mut self,
        core: &mut Core,
        region: Region,
        image: Option<RegionImage>,
    ) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        let here = reign.versions[region.index()];
        let mending = reign.mending.get_mut(&region);
        let Some(mending) = mending.filter(|mending| mending.stage == MendStage::Reading) else {
            return;
        };
        mending.stage = MendStage::Idle;
        match image.filter(|image| image.version == here) {
            // It was written anew before it was held.
            Some(image) if image.bad == 0 => self.end_mending(core, region, true),
            Some(image) => {
                mending.image = Some(image);
                self.continue_mending_of(core, region);
            }
            None => self.end_mending(core, region, false),
        }
    }

    /// A copy sent a region, or cannot.
    pub(crate) fn handle_fetched(&mut self, core: &mut Core, from: ServerId, fetched: Fetched) {
        let Fetched { attachment, region, image, .. } = fetched;
        let Some(mending) = self.reign.as_mut().and_then(|reign| reign.mending.get_mut(&region)) else {
            return;
        };
        if mending.stage != (MendStage::Asked { server: from, attachment }) {
            return;
        }
        mending.stage = MendStage::Idle;
        if let Some(image) = image {
            let is_taken = match &mut mending.image {
                Some(mine) => mine.mend_from(&image),
                None => image.bad == 0,
            };
            if is_taken {
                mending.from = Some(from);
                if mending.adopts {
                    mending.image = Some(image);
                }
            }
        }
        self.continue_mending_of(core, region);
    }

    /// The store has put a region in its place.
    pub(crate) fn handle_mended(&mut self, core: &mut Core, region: Region, outcome: &StoreOutcome) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        let mending = reign.mending.get_mut(&region);
        let Some(mending) = mending.filter(|mending| mending.stage == MendStage::Installing) else {
            return;
        };
        mending.stage = MendStage::Idle;
        let (Some(image), Some(from)) = (mending.image.clone(), mending.from) else {
            return;
        };
        if outcome.is_err() {
            return self.end_mending(core, region, false);
        }
        if mending.adopts {
            reign.adopt(region, image.version, &image.identities);
        }
        core.counters.mended += 1;
        core.event(EngineEvent::Mended { extent: self.id, region, from });
        if image.bad != 0 {
            self.note_damage(core, region, image.bad);
        }
        self.end_mending(core, region, true);
    }

    /// A copy that was asked is not attached any more.
    pub(crate) fn lose_mender(&mut self, core: &mut Core, server: ServerId) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        for mending in reign.mending.values_mut() {
            if matches!(mending.stage, MendStage::Asked { server: asked, .. } if asked == server) {
                mending.stage = MendStage::Idle;
                mending.asked.remove(&server);
            }
        }
        self.continue_mending(core);
    }

    /// Blocks are good nowhere: told once, and the next who meets them does not ask again.
    fn note_damage(&mut self, core: &mut Core, region: Region, blocks: u16) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        if reign.is_damaged(region, blocks) {
            return;
        }
        let version = reign.versions[region.index()];
        let known = reign.damaged.get(&region).filter(|damage| damage.version == version);
        let blocks = blocks | known.map_or(0, |damage| damage.blocks);
        reign.damaged.insert(region, Damage { version, blocks });
        core.counters.unreadable += 1;
        core.event(EngineEvent::Unreadable { extent: self.id, region, blocks });
    }

    fn end_mending(&mut self, core: &mut Core, region: Region, is_mended: bool) {
        let mending = self.reign.as_mut().and_then(|reign| reign.mending.remove(&region));
        let Some(Mending { waiting, image, adopts, .. }) = mending else {
            return;
        };
        if !is_mended {
            let bad = waiting.iter().fold(0, |bad, (_, block)| bad | 1 << (block % BLOCKS_PER_REGION));
            // What was to be taken whole and is whole nowhere is left as it is, and copied with what is bad in it.
            let bad = if adopts { u16::MAX } else { image.map_or(bad, |image| bad | image.bad) };
            self.note_damage(core, region, bad);
        }
        let epoch = self.successor_epoch(core);
        let is_draining = self.reign.as_ref().is_some_and(|reign| reign.phase == Phase::Draining);
        for (key, block) in waiting {
            if is_mended {
                self.run(core, key);
            } else if is_draining {
                let outcome = self.moved_or_deleted(core, epoch);
                self.finish(core, key, outcome);
            } else {
                let start =
                    core.operations.get(key).map_or(0, |operation| operation.op.range().offset as u32);
                let offset = start.max(u32::from(block) * BLOCK_BYTES);
                self.finish(core, key, ReplyOutcome::Medium { offset });
            }
        }
        self.unblock(core);
        // Its copy may go on.
        core.wake(self.id);
    }
}

impl Reign {
    /// This server's copy of a region is from now on what another copy had.
    fn adopt(&mut self, region: Region, version: Version, identities: &[WriteId]) {
        self.versions[region.index()] = version;
        for regions in self.remembered.values_mut() {
            *regions = regions.without(region);
        }
        for id in identities {
            let regions = self.remembered.entry(*id).or_insert(Regions::NONE);
            *regions = regions.with(region);
        }
        self.remembered.retain(|_, regions| !regions.is_empty());
        for attached in self.links.iter_mut().filter_map(CopyLink::attached_mut) {
            let is_equal = attached.theirs[region.index()] == version;
            let others = attached.current.without(region);
            attached.current = if is_equal { others.with(region) } else { others };
        }
    }
}
