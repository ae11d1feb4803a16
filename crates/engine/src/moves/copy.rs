//! Copying regions.
//!
//! A region is read ahead while writes to it go on: where the disk is busy (and it often is, or the extent would not move)
//! a read takes long. If its version is still the owner's when it has been read, the region is held from then on: it is
//! in motion, and writes to it wait. It is sent with the version that it replaces at the target, and is current once the
//! answer names the version that it has here. A region that is written to all the time is held before it is read, after
//! some reads in vain.

use super::Link;
use super::state::{CopyInFlight, CopyStage};
use crate::config::{READS_AHEAD_MAX, REGION_COPIES_IN_FLIGHT_MAX, REGION_HOLD_MAX, REGION_TRIES_MAX};
use crate::core::{Core, Pending};
use crate::event::Arrival;
use crate::extent::Extent;
use evenkeel_peer::{Copied, CopyOutcome, Message, Refusal, RegionCopy};
use evenkeel_types::geometry::BLOCK_BYTES;
use evenkeel_types::store_op::{RegionImage, StoreOp, StoreOutcome, StoreReply};
use evenkeel_types::{Region, Regions, ServerId, Time};
use std::time::Duration;

impl Extent {
    /// Begins as many copies as may be in flight, after ending those that hold writes for too long.
    pub(super) fn copy_regions(&mut self, core: &mut Core) {
        self.end_slow_copies(core);
        loop {
            let Some(reign) = &mut self.reign else {
                return;
            };
            let Some(mover) = &mut reign.mover else {
                return;
            };
            let (Link::Attached(attached), now) = (&mut mover.link, core.now) else {
                return;
            };
            let under_way =
                attached.copies.keys().fold(Regions::NONE, |regions, region| regions.with(*region));
            let to_do = Regions::ALL.minus(attached.current).minus(reign.held).minus(under_way);
            if to_do.is_empty() || attached.copies.len() >= mover.copies_max {
                break;
            }
            if now < mover.next_copy_at {
                let at = mover.next_copy_at;
                core.wake_at(self.id, at);
                break;
            }
            let region = mover.order.iter().copied().find(|region| to_do.contains(*region));
            let region = region.expect("the order has all regions");
            let copy = CopyInFlight { stage: CopyStage::ReadingAhead, read: 0, overtaken: 0, until: None };
            attached.copies.insert(region, copy);
            // The throttle counts a block for each region, so that regions without data take time too; the region's
            // bytes are added when they are known.
            mover.next_copy_at = throttled(mover.next_copy_at, now, BLOCK_BYTES as usize, mover.rate);
            self.read_region(core, region, CopyStage::ReadingAhead);
        }
        self.read_quiet_regions(core);
    }

    /// Reads held regions for which no write is in flight any more.
    fn read_quiet_regions(&mut self, core: &mut Core) {
        while let Some(region) = self.quiet_copy() {
            self.read_region(core, region, CopyStage::Reading);
        }
    }

    fn read_region(&mut self, core: &mut Core, region: Region, stage: CopyStage) {
        let read = core.serial();
        let Some(mover) = self.reign.as_mut().and_then(|reign| reign.mover.as_mut()) else {
            return;
        };
        let Link::Attached(attached) = &mut mover.link else {
            return;
        };
        if let Some(copy) = attached.copies.get_mut(&region) {
            copy.stage = stage;
            copy.read = read;
            core.store(
                Pending::CopyRead { extent: self.id, region, read },
                StoreOp::ReadRegion { extent: self.id, region },
            );
        }
    }

    /// The store has read a region: sends it, or reads it again.
    pub(crate) fn handle_region_read(
        &mut self,
        core: &mut Core,
        region: Region,
        read: u64,
        outcome: StoreOutcome,
    ) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        let Some(mover) = &mut reign.mover else {
            return;
        };
        let Link::Attached(attached) = &mut mover.link else {
            return;
        };
        let Some(copy) = attached.copies.get_mut(&region).filter(|copy| copy.read == read) else {
            return;
        };
        let Ok(StoreReply::Image(image)) = outcome else {
            self.release_region(core, region);
            self.abort_move(core, "a region cannot be read");
            return;
        };
        let is_of_now =
            image.version == reign.versions[region.index()] && reign.in_flight[region.index()] == 0;
        match copy.stage {
            CopyStage::ReadingAhead if reign.broken.contains(region) => self.release_region(core, region),
            CopyStage::ReadingAhead if is_of_now => {
                self.hold_region(core, region);
                self.send_region(core, region, image);
            }
            CopyStage::ReadingAhead => {
                copy.overtaken += 1;
                if copy.overtaken < READS_AHEAD_MAX {
                    self.read_region(core, region, CopyStage::ReadingAhead);
                } else {
                    copy.stage = CopyStage::Quieting;
                    self.hold_region(core, region);
                    self.read_quiet_regions(core);
                }
            }
            CopyStage::Reading if is_of_now => self.send_region(core, region, image),
            CopyStage::Reading => {
                // Not what this owner knows to be there: nothing to be sent on.
                self.release_region(core, region);
                self.abort_move(core, "a region is not what it was");
            }
            CopyStage::Quieting | CopyStage::Sent(_) => {}
        }
    }

    /// From now on writes to the region wait for its copy.
    fn hold_region(&mut self, core: &mut Core, region: Region) {
        let until = core.now + REGION_HOLD_MAX;
        if let Some(reign) = &mut self.reign
            && let Some(mover) = &mut reign.mover
            && let Link::Attached(attached) = &mut mover.link
            && let Some(copy) = attached.copies.get_mut(&region)
        {
            reign.held = reign.held.with(region);
            copy.until = Some(until);
            core.wake_at(self.id, until);
        }
    }

    /// Sends a region that is held, with the version that it has here.
    fn send_region(&mut self, core: &mut Core, region: Region, image: RegionImage) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        let Some(mover) = &mut reign.mover else {
            return;
        };
        let Link::Attached(attached) = &mut mover.link else {
            return;
        };
        let Some(copy) = attached.copies.get_mut(&region) else {
            return;
        };
        copy.stage = CopyStage::Sent(image.version);
        let bytes = image.data.len();
        mover.next_copy_at = throttled(mover.next_copy_at, core.now, bytes, mover.rate);
        mover.counters.regions_sent += 1;
        mover.counters.bytes_sent += bytes as u64;
        let message = RegionCopy {
            extent: self.id,
            epoch: reign.epoch,
            attachment: attached.attachment,
            region,
            replaces: attached.theirs[region.index()],
            version: image.version,
            present: image.present,
            data: image.data,
        };
        let to = mover.to;
        mover.sum_up(core);
        core.out.push_back(crate::event::Output::Arrived(Arrival::Copy {
            extent: self.id,
            bytes: bytes as u32,
            received: false,
        }));
        core.send(to, Message::Copy(message));
    }

    /// The target answered a copy.
    pub(crate) fn handle_copied(&mut self, core: &mut Core, from: ServerId, answer: &Copied) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        let Some(mover) = reign.mover.as_mut().filter(|mover| mover.to == from) else {
            return;
        };
        let Link::Attached(attached) = &mut mover.link else {
            return;
        };
        if attached.attachment != answer.attachment {
            return;
        }
        let region = answer.region;
        let here = reign.versions[region.index()];
        match answer.outcome {
            CopyOutcome::Applied => {
                attached.theirs[region.index()] = answer.version;
                attached.copied[region.index()] = answer.version;
                // The answer counts for the version that it names, and for no other.
                if answer.version == here {
                    attached.current = attached.current.with(region);
                    mover.tries.remove(&region);
                    mover.copies_max = REGION_COPIES_IN_FLIGHT_MAX.min(mover.copies_max + 1);
                }
                self.release_region(core, region);
            }
            CopyOutcome::Mismatch { region: mismatched, found } if mismatched == region => {
                attached.theirs[region.index()] = found;
                if found == here {
                    attached.current = attached.current.with(region);
                    self.release_region(core, region);
                } else if attached
                    .copies
                    .get(&region)
                    .is_some_and(|copy| copy.stage == CopyStage::Sent(answer.version))
                {
                    self.read_region(core, region, CopyStage::Reading);
                }
            }
            CopyOutcome::Mismatch { .. } => {
                self.handle_target_refused(core, answer.attachment, Refusal::NotAttached);
            }
            CopyOutcome::Refused(refusal) => self.handle_target_refused(core, answer.attachment, refusal),
        }
        self.continue_move(core);
    }

    /// Ends the motion of a region: writes go on, to the target too if it is current now.
    pub(super) fn release_region(&mut self, core: &mut Core, region: Region) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        if let Some(mover) = &mut reign.mover
            && let Link::Attached(attached) = &mut mover.link
            && attached.copies.remove(&region).is_some()
        {
            if !reign.broken.contains(region) {
                reign.held = reign.held.without(region);
            }
            self.unblock(core);
        }
    }

    /// Lets writes go on in regions whose copy takes too long. After some tries the target is too slow for the move.
    fn end_slow_copies(&mut self, core: &mut Core) {
        let now = core.now;
        let Some(mover) = self.reign.as_mut().and_then(|reign| reign.mover.as_mut()) else {
            return;
        };
        let Link::Attached(attached) = &mover.link else {
            return;
        };
        let is_slow = |copy: &CopyInFlight| copy.until.is_some_and(|until| until <= now);
        let slow: Vec<Region> =
            attached.copies.iter().filter(|(_, copy)| is_slow(copy)).map(|(region, _)| *region).collect();
        if !slow.is_empty() {
            mover.copies_max = (mover.copies_max / 2).max(1);
        }
        let mut tries_max = 0;
        for region in &slow {
            let tries = mover.tries.entry(*region).or_insert(0);
            *tries = tries.saturating_add(1);
            tries_max = tries_max.max(*tries);
        }
        for region in slow {
            self.release_region(core, region);
        }
        if tries_max >= REGION_TRIES_MAX {
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
