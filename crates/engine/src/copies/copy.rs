//! Copying regions.
//!
//! A region is read ahead while writes to it go on: where the disk is busy (and it often is, or the extent would not move)
//! a read takes long. If its version is still the owner's when it has been read, the region is held from then on: it is
//! in motion, and writes to it wait. It is sent with the version that it replaces at the target, and is current once the
//! answer names the version that it has here. A region that is written to all the time is held before it is read, after
//! some reads in vain.

use super::link::{CopyInFlight, CopyStage};
use super::{CopyLink, LinkState, Role};
use crate::config::{
    READS_AHEAD_MAX, REGION_COPIES_IN_FLIGHT_MAX, REGION_HOLD_MAX, REGION_TRIES_MAX, SPACE_REFUSED_FOR,
};
use crate::core::{Core, Pending};
use crate::event::{Arrival, EngineEvent};
use crate::extent::Extent;
use crate::owner::Phase;
use evenkeel_peer::{Copied, CopyOutcome, Message, Refusal, RegionCopy};
use evenkeel_types::geometry::BLOCK_BYTES;
use evenkeel_types::store_op::{RegionImage, StoreOp, StoreOutcome, StoreReply};
use evenkeel_types::{Region, Regions, ServerId, Time};
use std::time::Duration;

impl CopyLink {
    /// The region to be copied next, of those in a set that is not empty.
    fn next_of(&self, to_do: Regions) -> Option<Region> {
        let ordered = self.order.iter().copied().find(|region| to_do.contains(*region));
        ordered.or_else(|| to_do.iter().next())
    }
}

impl Extent {
    /// Begins as many copies of regions as may be in flight, after ending those that hold writes for too long. Until the
    /// reign serves, only copies in sync are made equal.
    pub(crate) fn copy_regions(&mut self, core: &mut Core) {
        let Some(reign) = &self.reign else {
            return;
        };
        let phase = reign.phase;
        let is_moving = reign.mover.as_ref().is_some_and(|mover| mover.is_linked());
        let wanted = |role: Role| match role {
            Role::InSync => matches!(phase, Phase::Gathering | Phase::Entering | Phase::Serving),
            Role::Syncing => phase == Phase::Serving,
            Role::Target => phase == Phase::Serving && is_moving,
            Role::Replaced => false,
        };
        let links = reign.links.iter().filter(|link| wanted(link.role) && link.attached().is_some());
        let servers: Vec<ServerId> = links.map(|link| link.server).collect();
        for server in servers {
            self.end_slow_copies(core, server);
            self.begin_copies(core, server);
            self.read_quiet_regions(core, server);
        }
    }

    fn begin_copies(&mut self, core: &mut Core, server: ServerId) {
        loop {
            let Some(reign) = &mut self.reign else {
                return;
            };
            let (held, now) = (reign.held(), core.now);
            let Some(link) = reign.link_mut(server) else {
                return;
            };
            let Some(attached) = link.attached() else {
                return;
            };
            let under_way =
                attached.copies.keys().fold(Regions::NONE, |regions, region| regions.with(*region));
            // A region that was held for too long is let go, and still on its way. It is not sent again before its answer,
            // nor are others beyond what may be on their way at once; but a target has only some tries for each.
            let let_go = attached.unanswered.minus(under_way);
            let is_full = under_way.union(let_go).count() as usize >= link.copies_max;
            let again = if link.role == Role::Target { let_go } else { Regions::NONE };
            let others = if is_full { Regions::NONE } else { Regions::ALL.minus(let_go) };
            let missing = Regions::ALL.minus(attached.current).minus(held).minus(under_way);
            let to_do = missing.minus(Regions::ALL.minus(again.union(others)));
            if to_do.is_empty() || attached.copies.len() >= link.copies_max {
                return;
            }
            if now < link.next_copy_at {
                let at = link.next_copy_at;
                core.wake_at(self.id, at);
                return;
            }
            let Some(region) = link.next_of(to_do) else {
                return;
            };
            let place = match link.role {
                Role::Syncing | Role::Target => match core.place_for_copy(server, self.id) {
                    Some(place) => Some(place),
                    None => return,
                },
                Role::InSync | Role::Replaced => None,
            };
            // The throttle counts a block for each region, so that regions without data take time too; the region's
            // bytes are added when they are known.
            link.next_copy_at = throttled(link.next_copy_at, now, BLOCK_BYTES as usize, link.rate);
            let stage = CopyStage::ReadingAhead;
            let copy = CopyInFlight { stage, read: 0, overtaken: 0, until: None, _place: place };
            if let Some(attached) = link.attached_mut() {
                attached.copies.insert(region, copy);
            }
            self.read_region(core, server, region, CopyStage::ReadingAhead);
        }
    }

    /// Reads held regions for which no write is in flight any more.
    fn read_quiet_regions(&mut self, core: &mut Core, server: ServerId) {
        while let Some(region) = self.quiet_copy(server) {
            self.read_region(core, server, region, CopyStage::Reading);
        }
    }

    /// A region that is held for its copy and quiet now.
    fn quiet_copy(&self, server: ServerId) -> Option<Region> {
        let reign = self.reign.as_ref()?;
        let mut copies = reign.link(server)?.attached()?.copies.iter();
        let quiet =
            copies.find(|(region, copy)| copy.stage == CopyStage::Quieting && reign.is_quiet(**region));
        quiet.map(|(region, _)| *region)
    }

    fn copy_mut(&mut self, server: ServerId, region: Region) -> Option<&mut CopyInFlight> {
        let link = self.reign.as_mut()?.link_mut(server)?;
        link.attached_mut()?.copies.get_mut(&region)
    }

    fn read_region(&mut self, core: &mut Core, server: ServerId, region: Region, stage: CopyStage) {
        let read = core.serial();
        let extent = self.id;
        if let Some(copy) = self.copy_mut(server, region) {
            copy.stage = stage;
            copy.read = read;
            core.store(
                Pending::CopyRead { extent, server, region, read },
                StoreOp::ReadRegion { extent, region },
            );
        }
    }

    /// The store has read a region: sends it, or reads it again.
    pub(crate) fn handle_region_read(
        &mut self,
        core: &mut Core,
        server: ServerId,
        region: Region,
        read: u64,
        outcome: StoreOutcome,
    ) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        let is_broken = reign.broken.contains(region);
        let (here, in_flight) = (reign.versions[region.index()], reign.in_flight[region.index()]);
        if self.copy_mut(server, region).is_none_or(|copy| copy.read != read) {
            return;
        }
        let Ok(StoreReply::Image(image)) = outcome else {
            self.release_region(core, server, region);
            self.fail_copy(core, server, "a region cannot be read");
            return;
        };
        let is_of_now = image.version == here && in_flight == 0;
        if is_of_now && image.bad != 0 && !self.may_copy_damaged(core, server, region, image.bad) {
            self.release_region(core, server, region);
            return;
        }
        let Some(copy) = self.copy_mut(server, region) else {
            return;
        };
        match copy.stage {
            CopyStage::ReadingAhead if is_broken => self.release_region(core, server, region),
            CopyStage::ReadingAhead if is_of_now => {
                self.hold_region(core, server, region);
                self.send_region(core, server, region, image);
            }
            CopyStage::ReadingAhead => {
                copy.overtaken += 1;
                if copy.overtaken < READS_AHEAD_MAX {
                    self.read_region(core, server, region, CopyStage::ReadingAhead);
                } else {
                    copy.stage = CopyStage::Quieting;
                    self.hold_region(core, server, region);
                    self.read_quiet_regions(core, server);
                }
            }
            CopyStage::Reading if is_of_now => self.send_region(core, server, region, image),
            CopyStage::Reading => {
                // Not what this owner knows to be there: nothing to be sent on.
                self.release_region(core, server, region);
                self.fail_copy(core, server, "a region is not what it was");
            }
            CopyStage::Quieting | CopyStage::Sent { .. } => {}
        }
    }

    /// A region cannot be copied. A move is given up for that; a replica stays behind until it can.
    fn fail_copy(&mut self, core: &mut Core, server: ServerId, why: &'static str) {
        let role = self.reign.as_ref().and_then(|reign| reign.link(server)).map(|link| link.role);
        if role == Some(Role::Target) {
            self.abort_move(core, why);
            return;
        }
        if let Some(link) = self.reign.as_mut().and_then(|reign| reign.link_mut(server)) {
            link.next_copy_at = link.next_copy_at.max(core.now + crate::config::RETRY_DELAY_MAX);
            core.wake_at(self.id, link.next_copy_at);
        }
    }

    /// From now on writes to the region wait for its copy.
    fn hold_region(&mut self, core: &mut Core, server: ServerId, region: Region) {
        let until = core.now + REGION_HOLD_MAX;
        if let Some(copy) = self.copy_mut(server, region) {
            copy.until = Some(until);
            core.wake_at(self.id, until);
        }
    }

    /// Sends a region that is held, with the version that it has here.
    fn send_region(&mut self, core: &mut Core, server: ServerId, region: Region, image: RegionImage) {
        let id = self.id;
        let Some(reign) = &mut self.reign else {
            return;
        };
        let epoch = reign.epoch;
        let Some(link) = reign.link_mut(server) else {
            return;
        };
        let (bytes, now) = (image.data.len(), core.now);
        let LinkState::Attached(attached) = &mut link.state else {
            return;
        };
        let Some(copy) = attached.copies.get_mut(&region) else {
            return;
        };
        copy.stage = CopyStage::Sent { version: image.version, has_data: image.present != 0, at: now };
        attached.unanswered = attached.unanswered.with(region);
        let message = RegionCopy {
            extent: id,
            epoch,
            attachment: attached.attachment,
            region,
            replaces: attached.theirs[region.index()],
            image,
        };
        link.next_copy_at = throttled(link.next_copy_at, now, bytes, link.rate);
        link.count(&mut core.counters, |sum| {
            sum.regions_sent += 1;
            sum.bytes_sent += bytes as u64;
        });
        core.out.push_back(crate::event::Output::Arrived(Arrival::Copy {
            extent: id,
            bytes: bytes as u32,
            received: false,
        }));
        core.send(server, Message::Copy(message));
    }

    /// A server answered the copy of a region.
    pub(crate) fn handle_copied(&mut self, core: &mut Core, from: ServerId, answer: &Copied) {
        let region = answer.region;
        let Some(reign) = &mut self.reign else {
            return;
        };
        let here = reign.versions[region.index()];
        let Some(link) = reign.link_mut(from) else {
            return;
        };
        let LinkState::Attached(attached) = &mut link.state else {
            return;
        };
        if attached.attachment != answer.attachment {
            return;
        }
        let sent = attached.copies.get(&region).map(|copy| copy.stage);
        attached.unanswered = attached.unanswered.without(region);
        if let Some(CopyStage::Sent { at, .. }) = sent {
            core.note_copy_answered(from, at);
        }
        match answer.outcome {
            CopyOutcome::Applied => {
                attached.theirs[region.index()] = answer.version;
                attached.copied[region.index()] = answer.version;
                if let Some(CopyStage::Sent { has_data, .. }) = sent {
                    let space = attached.space.without(region);
                    attached.space = if has_data { space.with(region) } else { space };
                }
                if link.role == Role::Target {
                    // Everything was set aside for it.
                    attached.space = Regions::ALL;
                }
                // The answer counts for the version that it names, and for no other.
                if answer.version == here {
                    attached.current = attached.current.with(region);
                    if attached.mending.contains(region) {
                        let had_diverged = attached.diverged.contains(region);
                        attached.mending = attached.mending.without(region);
                        attached.diverged = attached.diverged.without(region);
                        core.counters.copies_mended += 1;
                        let (extent, at) = (self.id, from);
                        core.event(EngineEvent::CopyMended { extent, region, at, had_diverged });
                    }
                    link.tries.remove(&region);
                    link.copies_max = REGION_COPIES_IN_FLIGHT_MAX.min(link.copies_max + 1);
                }
                if let Some(reign) = &mut self.reign
                    && reign
                        .links
                        .iter()
                        .all(|link| !link.role.is_replica() || link.current().contains(region))
                {
                    reign.refused.remove(&region);
                }
                self.release_region(core, from, region);
            }
            CopyOutcome::Mismatch { region: mismatched, found } if mismatched == region => {
                attached.theirs[region.index()] = found;
                if found == here && !attached.mending.contains(region) {
                    attached.current = attached.current.with(region);
                    self.release_region(core, from, region);
                } else if matches!(sent, Some(CopyStage::Sent { version, .. }) if version == answer.version) {
                    self.read_region(core, from, region, CopyStage::Reading);
                }
            }
            CopyOutcome::Mismatch { .. } => {
                self.handle_link_refused(core, from, answer.attachment, Refusal::NotAttached);
            }
            // It stays attached: what it has is as good as before, and space may come.
            CopyOutcome::Refused(Refusal::NoSpace) if link.role.is_replica() => {
                if attached.mending.contains(region)
                    && !attached.diverged.contains(region)
                    && attached.theirs[region.index()] == here
                {
                    // It is no worse than it was: writes go on in their places, and the next scrub tries again.
                    attached.mending = attached.mending.without(region);
                    attached.current = attached.current.with(region);
                }
                link.next_copy_at = link.next_copy_at.max(core.now + SPACE_REFUSED_FOR);
                self.release_region(core, from, region);
            }
            CopyOutcome::Refused(refusal) => {
                self.handle_link_refused(core, from, answer.attachment, refusal);
            }
        }
        self.progress_reign(core);
    }

    /// Ends the motion of a region: writes go on, to the copy too if it is current now.
    pub(super) fn release_region(&mut self, core: &mut Core, server: ServerId, region: Region) {
        let link = self.reign.as_mut().and_then(|reign| reign.link_mut(server));
        if link.and_then(|link| link.attached_mut()?.copies.remove(&region)).is_some() {
            self.unblock(core);
        }
    }

    /// Lets writes go on in regions whose copy takes too long. After some tries a target is too slow for the move. Writes
    /// to a region that a copy in sync lacks wait in any case.
    fn end_slow_copies(&mut self, core: &mut Core, server: ServerId) {
        let now = core.now;
        let Some(link) = self.reign.as_mut().and_then(|reign| reign.link_mut(server)) else {
            return;
        };
        let LinkState::Attached(attached) = &link.state else {
            return;
        };
        if link.role == Role::InSync {
            return;
        }
        let is_slow = |copy: &CopyInFlight| copy.until.is_some_and(|until| until <= now);
        let slow: Vec<Region> =
            attached.copies.iter().filter(|(_, copy)| is_slow(copy)).map(|(region, _)| *region).collect();
        if !slow.is_empty() {
            link.copies_max = (link.copies_max / 2).max(1);
        }
        let mut tries_max = 0;
        for region in &slow {
            let tries = link.tries.entry(*region).or_insert(0);
            *tries = tries.saturating_add(1);
            tries_max = tries_max.max(*tries);
        }
        let is_target = link.role == Role::Target;
        for region in slow {
            if let Some(CopyStage::Sent { at, .. }) = self.copy_mut(server, region).map(|copy| copy.stage) {
                core.note_copy_answered(server, at);
            }
            self.release_region(core, server, region);
        }
        if tries_max >= REGION_TRIES_MAX && is_target {
            self.abort_move(core, "copying a region held writes for too long");
        }
    }
}

/// When the next copy may begin after these bytes.
fn throttled(next: Time, now: Time, bytes: usize, rate: Option<u64>) -> Time {
    match rate {
        None => next,
        Some(rate) => {
            let nanos = (bytes as u128 * 1_000_000_000) / u128::from(rate.max(1));
            next.max(now) + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        }
    }
}
