//! Blocks that cannot be read here are mended from other copies.
//!
//! The region is held: writes in flight to it end first, and new ones wait. It is read with all its bad blocks, and copies
//! are asked for it one after the other, until each bad block has been found good somewhere; then the whole is put in its
//! place, and whoever met a bad block begins anew. Two copies with different bad blocks mend each other.
//!
//! What holds:
//! * **Whose block.** A copy with the version that the region has here has the same content. A copy in sync with another
//!   version differs, once the reign has served, by writes of this reign only that are not answered yet: blocks that none
//!   of those touches are the same too. Before the reign has served nobody knows what a difference is made of: then the
//!   copy's region is taken as a whole, with its version and identities. Both have everything that was acknowledged, and
//!   nobody has read anything else ([`Extent::adopt_region`]). A mixture of both would claim writes that are not in it.
//! * **Writes under way** are known here: a block that one of them has written is taken from it.
//! * **Good nowhere** is only what all copies in sync were asked for and none has. Until all of them are attached nothing
//!   is concluded. It is an error for just those blocks, noted until a copy is attached anew.
//! * **An error travels** to another copy only as what is good nowhere, some time after that was found: never over a block
//!   of a copy in sync that was not asked. What the scrub found to differ in the same version is asked for nothing.

use super::{Phase, Reign};
use crate::config::{DAMAGE_CONFIRMED_AFTER, RETRY_DELAY_MAX};
use crate::copies::{CopyLink, Role};
use crate::core::{Core, Pending};
use crate::event::EngineEvent;
use crate::extent::Extent;
use crate::operation::Stage;
use crate::slots::Key;
use evenkeel_peer::{Fetch, Fetched, Message, Refusal, ReplyOutcome};
use evenkeel_types::geometry::{BLOCK_BYTES, BLOCKS_PER_REGION};
use evenkeel_types::store_op::{RegionImage, StoreOp, StoreOutcome};
use evenkeel_types::{Payload, Region, Regions, ServerId, Time, Version, WriteId};
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
    /// A copy has a block good that it cannot give: a write to it is under way.
    withheld: bool,
    /// A copy in sync that has another version is asked for all of it.
    adopts: bool,
    /// The last try came to nothing for a reason that may pass.
    retry_at: Option<Time>,
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

/// Blocks of a region that are good nowhere in this version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Damage {
    version: Version,
    blocks: u16,
    found_at: Time,
}

impl Reign {
    /// Since when it is known that these blocks of a region are good nowhere.
    fn damage(&self, region: Region, blocks: u16) -> Option<Time> {
        let version = self.versions[region.index()];
        let damage = self.damaged.get(&region)?;
        (damage.version == version && blocks & !damage.blocks == 0).then_some(damage.found_at)
    }

    /// A copy that has not been asked and may have the region.
    fn mender(&self, region: Region, mending: &Mending) -> Option<(ServerId, u64)> {
        let may_give = |link: &&CopyLink| {
            let Some(attached) = link.attached() else { return false };
            let is_candidate = match link.role {
                Role::InSync => !attached.diverged.contains(region),
                Role::Syncing | Role::Target => !mending.adopts && attached.current.contains(region),
                Role::Replaced => false,
            };
            is_candidate && !mending.asked.contains(&link.server)
        };
        self.links.iter().find(may_give).and_then(|link| Some((link.server, link.attachment()?)))
    }

    /// Whether every copy that could have a block can be asked. One that is to be attached again, or to be marked down,
    /// cannot.
    fn can_ask_all(&self) -> bool {
        self.phase == Phase::Serving
            && self.links.iter().all(|link| !link.role.is_replica() || link.attached().is_some())
    }

    /// Blocks that are bad in an image of this server's copy and that a write under way has written: as it wrote them.
    fn written_lately(&self, core: &Core, region: Region, image: &RegionImage) -> RegionImage {
        let mut known =
            RegionImage { present: 0, bad: 0, data: Payload::default(), identities: Vec::new(), ..*image };
        for number in (0..BLOCKS_PER_REGION).filter(|number| image.bad >> number & 1 == 1) {
            let block = region.blocks().first + number;
            let writing = self.open_writes.values().filter_map(|key| core.operations.get(*key));
            let mut content = writing.filter_map(|operation| match &operation.stage {
                Stage::Writing(write) => write.content_of(block),
                _ => None,
            });
            if let Some(content) = content.next() {
                known.present |= 1 << number;
                known.data.push(content);
            }
        }
        known
    }

    fn are_in_sync_attached(&self) -> bool {
        self.links.iter().all(|link| link.role != Role::InSync || link.attached().is_some())
    }

    /// Blocks of a region that may differ between copies: writes touch them which have their version and are not answered,
    /// or were refused here and may have been applied at a copy.
    fn being_written(&self, core: &Core, region: Region) -> u16 {
        let writing = self.open_writes.values().filter_map(|key| core.operations.get(*key));
        let writing = writing.filter(|operation| matches!(operation.stage, Stage::Writing(_)));
        let of_region = region.blocks();
        let refused = self.refused.get(&region).copied().unwrap_or(0);
        writing.fold(refused, |mask, operation| {
            let blocks = operation.blocks;
            let touched = (of_region.first..of_region.end())
                .filter(|block| (blocks.first..blocks.end()).contains(block))
                .fold(0, |mask, block| mask | 1 << (block % BLOCKS_PER_REGION));
            mask | touched
        })
    }
}

impl Extent {
    /// An operation met a block that cannot be read: has it wait for the block to be mended. Whether it waits.
    pub(super) fn mend_block(&mut self, core: &mut Core, key: Key, block: u16) -> bool {
        let Some(region) = Region::new((block / BLOCKS_PER_REGION) as u8) else {
            return false;
        };
        let Some(reign) = &mut self.reign else {
            return false;
        };
        let is_ending = reign.phase == Phase::Draining;
        if is_ending || reign.damage(region, 1 << (block % BLOCKS_PER_REGION)).is_some() {
            return false;
        }
        if let Some(operation) = core.operations.get_mut(key) {
            operation.stage = Stage::Locking;
        }
        reign.mending.entry(region).or_default().waiting.push((key, block));
        self.continue_mending(core);
        true
    }

    /// Blocks of a region were found bad by somebody who does not wait for them.
    pub(crate) fn mend_region(&mut self, core: &mut Core, region: Region, blocks: u16) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        if reign.damage(region, blocks).is_none() {
            reign.mending.entry(region).or_default();
            self.continue_mending(core);
        }
    }

    /// A region is to be copied to a server, and cannot be read here as a whole. Whether it is to be sent as it is, with
    /// its bad blocks as errors; else it is being mended, and copied later.
    pub(crate) fn may_copy_damaged(
        &mut self,
        core: &mut Core,
        server: ServerId,
        region: Region,
        bad: u16,
    ) -> bool {
        let Some(reign) = &mut self.reign else {
            return false;
        };
        if !reign.has_served {
            self.adopt_region(core, region);
            return false;
        }
        let Some(found_at) = reign.damage(region, bad) else {
            self.mend_region(core, region, bad);
            return false;
        };
        let confirmed_at = found_at + DAMAGE_CONFIRMED_AFTER;
        if core.now < confirmed_at {
            if let Some(link) = reign.link_mut(server) {
                link.next_copy_at = link.next_copy_at.max(confirmed_at);
            }
            core.wake_at(self.id, confirmed_at);
            return false;
        }
        true
    }

    /// A region cannot be read here, and a copy in sync has another version of it, from before this reign: that is taken
    /// instead.
    fn adopt_region(&mut self, core: &mut Core, region: Region) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        reign.mending.entry(region).or_insert_with(|| Mending { adopts: true, ..Mending::default() });
        self.continue_mending(core);
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
        if let Some(at) = mending.retry_at.filter(|at| *at > core.now) {
            core.wake_at(extent, at);
            return;
        }
        let is_read = mending.adopts || mending.image.is_some();
        let is_whole = mending.image.as_ref().is_some_and(|image| image.bad == 0);
        let next = if is_whole { None } else { reign.mender(region, mending) };
        let can_ask_all = if mending.adopts { reign.are_in_sync_attached() } else { reign.can_ask_all() };
        let (epoch, here) = (reign.epoch, reign.versions[region.index()]);
        let Some(mending) = reign.mending.get_mut(&region) else {
            return;
        };
        mending.retry_at = None;
        if !is_read {
            mending.stage = MendStage::Reading;
            core.store(Pending::MendRead { extent, region }, StoreOp::ReadRegion { extent, region });
        } else if let Some((server, attachment)) = next {
            mending.asked.insert(server);
            mending.stage = MendStage::Asked { server, attachment };
            core.send(server, Message::Fetch(Fetch { extent, epoch, attachment, region }));
        } else if let (true, Some(image)) = (mending.from.is_some(), &mending.image)
            && (is_whole || can_ask_all)
        {
            let image = image.clone();
            let replaces = if mending.adopts { here } else { image.version };
            mending.stage = MendStage::Installing;
            core.store(
                Pending::Mend { extent, region },
                StoreOp::InstallRegion { extent, region, replaces, image },
            );
        } else if mending.adopts || mending.withheld {
            self.mend_later(core, region);
        } else if can_ask_all {
            self.end_mending(core, region, false);
        }
    }

    /// Begins anew after a while.
    fn mend_later(&mut self, core: &mut Core, region: Region) {
        if let Some(mending) = self.reign.as_mut().and_then(|reign| reign.mending.get_mut(&region)) {
            let (waiting, adopts) = (std::mem::take(&mut mending.waiting), mending.adopts);
            let at = core.now + RETRY_DELAY_MAX;
            *mending = Mending { waiting, adopts, retry_at: Some(at), ..Mending::default() };
            core.wake_at(self.id, at);
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
            // It was written anew before it was held, or the device had an error that passed.
            Some(image) if image.bad == 0 => self.end_mending(core, region, true),
            Some(mut image) => {
                let known = reign.written_lately(core, region, &image);
                if let Some(mending) = reign.mending.get_mut(&region) {
                    mending.from = image.mend_from(&known, u16::MAX).then_some(core.me());
                    mending.image = Some(image);
                }
                self.continue_mending_of(core, region);
            }
            None => self.mend_later(core, region),
        }
    }

    /// A copy sent a region, or cannot.
    pub(crate) fn handle_fetched(&mut self, core: &mut Core, from: ServerId, fetched: Fetched) {
        let Fetched { attachment, region, image, .. } = fetched;
        let Some(reign) = &mut self.reign else {
            return;
        };
        let asked = MendStage::Asked { server: from, attachment };
        if reign.mending.get(&region).is_none_or(|mending| mending.stage != asked) {
            return;
        }
        let Some(image) = image else {
            // It has said nothing of the block: it is asked again once it is attached again.
            self.handle_link_refused(core, from, attachment, Refusal::NotAttached);
            return;
        };
        let is_in_sync = reign.link(from).is_some_and(|link| link.role == Role::InSync);
        let is_equal = image.version == reign.versions[region.index()];
        let may_give = match (is_equal, is_in_sync && reign.has_served) {
            (true, _) => u16::MAX,
            (false, true) => !reign.being_written(core, region),
            (false, false) => 0,
        };
        let Some(mending) = reign.mending.get_mut(&region) else {
            return;
        };
        mending.stage = MendStage::Idle;
        if mending.adopts {
            // The one with the fewest errors, if none is whole.
            if mending.image.as_ref().is_none_or(|best| image.bad.count_ones() < best.bad.count_ones()) {
                mending.from = Some(from);
                mending.image = Some(image);
            }
        } else if let Some(mine) = &mut mending.image {
            mending.withheld |= mine.bad & image.present & !image.bad & !may_give != 0;
            if mine.mend_from(&image, may_give) {
                mending.from = Some(from);
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
        let may_conclude = !mending.withheld && !mending.adopts;
        if outcome.is_err() {
            // A store without room takes no region with an error in it: if nobody waits for the rest, writes go on.
            let is_waited_for = mending.waiting.iter().any(|(key, _)| core.operations.get(*key).is_some());
            if image.bad != 0 && may_conclude && !is_waited_for {
                self.end_mending(core, region, false);
            } else {
                self.mend_later(core, region);
            }
            return;
        }
        if mending.adopts {
            reign.adopt(region, image.version, &image.identities);
        }
        core.counters.mended += 1;
        core.event(EngineEvent::Mended { extent: self.id, region, from });
        if image.bad != 0 && may_conclude {
            self.note_damage(core, region, image.version, image.bad);
        }
        self.end_mending(core, region, true);
    }

    /// A copy that was asked is not attached any more.
    pub(crate) fn lose_mender(&mut self, core: &mut Core, server: ServerId) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        for mending in reign.mending.values_mut() {
            mending.asked.remove(&server);
            if matches!(mending.stage, MendStage::Asked { server: asked, .. } if asked == server) {
                mending.stage = MendStage::Idle;
            }
        }
        self.continue_mending(core);
    }

    /// The reign ends: nobody waits here for a block any more.
    pub(super) fn end_all_mending(&mut self, core: &mut Core, outcome: &ReplyOutcome) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        let mut waiting = Vec::new();
        for mending in reign.mending.values_mut() {
            waiting.append(&mut mending.waiting);
        }
        // What the store or a copy was asked for is answered yet.
        reign.mending.retain(|_, mending| mending.stage != MendStage::Idle);
        for (key, _) in waiting {
            self.finish(core, key, outcome.clone());
        }
    }

    /// Blocks are good nowhere: told once, and the next who meets them does not ask again.
    fn note_damage(&mut self, core: &mut Core, region: Region, version: Version, blocks: u16) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        if reign.damage(region, blocks).is_some() {
            return;
        }
        let known = reign.damaged.get(&region).filter(|damage| damage.version == version);
        let blocks = blocks | known.map_or(0, |damage| damage.blocks);
        reign.damaged.insert(region, Damage { version, blocks, found_at: core.now });
        core.counters.unreadable += 1;
        core.event(EngineEvent::Unreadable { extent: self.id, region, blocks });
    }

    /// Everybody who waits begins anew if the region was mended; else what is bad in it is good nowhere.
    fn end_mending(&mut self, core: &mut Core, region: Region, is_mended: bool) {
        let mending = self.reign.as_mut().and_then(|reign| reign.mending.remove(&region));
        let Some(Mending { waiting, image, .. }) = mending else {
            return;
        };
        let bad = image.as_ref().map_or(0, |image| image.bad);
        if let (false, Some(image)) = (is_mended, &image) {
            self.note_damage(core, region, image.version, image.bad);
        }
        for (key, block) in waiting {
            if is_mended || bad >> (block % BLOCKS_PER_REGION) & 1 == 0 {
                self.run(core, key);
            } else {
                let start =
                    core.operations.get(key).map_or(0, |operation| operation.op.range().offset as u32);
                let offset = start.max(u32::from(block) * BLOCK_BYTES);
                self.finish(core, key, ReplyOutcome::Medium { offset });
            }
        }
        self.unblock(core);
        // Its copy may go on, and the scrub.
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
