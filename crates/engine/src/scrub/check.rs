//! The regions of one extent, one after the other.

use crate::copies::{CopyLink, Role};
use crate::core::{Core, Pending};
use crate::extent::Extent;
use crate::owner::{Phase, Reign};
use evenkeel_peer::{Checked, Found, Message};
use evenkeel_types::store_op::{RegionImage, StoreOp};
use evenkeel_types::{Region, ServerId, Time, Version};
use std::collections::BTreeMap;

/// How often a region is read again because it was written to in the meantime. What is written all the time is read by
/// nobody from a place where it could have gone bad.
const TRIES_MAX: u8 = 3;

/// An extent that is being looked at.
#[derive(Default, Debug)]
pub(crate) struct Check {
    /// The region that is looked at, or is next.
    region: u8,
    tries: u8,
    /// The store reads it.
    reading: bool,
    /// What it is here, once that is read.
    here: Option<Found>,
    /// When it last went on.
    progressed_at: Time,
    /// Copies that have been asked, under these attachments.
    asked: BTreeMap<ServerId, u64>,
}

impl Reign {
    /// The copies to compare a region with: those in sync that have it.
    fn to_be_checked(&self, region: Region) -> BTreeMap<ServerId, u64> {
        let has_it = |link: &&CopyLink| {
            link.role == Role::InSync
                && link.attached().is_some_and(|attached| {
                    attached.current.contains(region) && !attached.copies.contains_key(&region)
                })
        };
        self.links.iter().filter(has_it).filter_map(|link| Some((link.server, link.attachment()?))).collect()
    }
}

impl Extent {
    /// Goes on with the extent's check, if there is one and the extent is served.
    pub(crate) fn continue_check(&mut self, core: &mut Core) {
        let extent = self.id;
        loop {
            let (Some(check), Some(reign)) = (&mut self.check, &self.reign) else {
                return;
            };
            if reign.phase != Phase::Serving || check.reading || !check.asked.is_empty() {
                return;
            }
            let Some(region) = Region::new(check.region) else {
                self.check = None;
                core.checked.push_back(extent);
                return;
            };
            let is_written = reign.versions[region.index()] != Version::NONE;
            if !is_written || reign.lost || check.tries >= TRIES_MAX {
                check.next();
                continue;
            }
            if reign.mending.contains_key(&region) {
                // It is looked at again when it is as good as it can be.
                return;
            }
            if core.now < core.next_check_at {
                let at = core.next_check_at;
                core.wake_at(extent, at);
                return;
            }
            check.reading = true;
            check.tries += 1;
            core.store(Pending::Check { extent, region }, StoreOp::ReadRegion { extent, region });
            return;
        }
    }

    /// The store has read a region, as far as it can.
    pub(crate) fn handle_check_read(&mut self, core: &mut Core, region: Region, image: Option<RegionImage>) {
        let (extent, bytes) = (self.id, image.as_ref().map_or(0, |image| image.data.len() as u64));
        core.pace_checks(bytes);
        let (Some(check), Some(reign)) = (&mut self.check, &self.reign) else {
            return;
        };
        if !check.reading || usize::from(check.region) != region.index() {
            return;
        }
        check.reading = false;
        check.progressed_at = core.now;
        let Some(image) = image else {
            // The store has stopped, or the copy is gone.
            check.region = u8::MAX;
            return self.continue_check(core);
        };
        core.counters.scrubbed += u64::from(check.tries == 1);
        if image.bad != 0 && reign.versions[region.index()] == image.version {
            // What the copies have is looked at when it is mended here: until then it takes two to make a whole one.
            self.mend_region(core, region, image.bad);
            return self.continue_check(core);
        }
        check.here = Some(Found { version: image.version, bad: image.bad, digest: image.digest() });
        if reign.phase == Phase::Serving {
            check.asked = reign.to_be_checked(region);
            for (server, attachment) in check.asked.clone() {
                let epoch = reign.epoch;
                core.send(server, Message::Check(evenkeel_peer::Check { extent, epoch, attachment, region }));
            }
        }
        if check.asked.is_empty() {
            check.next();
        }
        self.continue_check(core);
    }

    /// A copy says what it has.
    pub(crate) fn handle_checked(&mut self, core: &mut Core, from: ServerId, checked: &Checked) {
        let region = checked.region;
        let (Some(check), Some(reign)) = (&mut self.check, &mut self.reign) else {
            return;
        };
        if check.asked.get(&from) != Some(&checked.attachment) || usize::from(check.region) != region.index()
        {
            return;
        }
        check.asked.remove(&from);
        check.progressed_at = core.now;
        let is_last = check.asked.is_empty();
        let (here, now) = (check.here, reign.versions[region.index()]);
        let is_quiet = reign.is_quiet(region);
        let mut is_comparable = !reign.mending.contains_key(&region);
        let attached = reign.link_mut(from).and_then(CopyLink::attached_mut);
        let attached = attached.filter(|attached| attached.attachment == checked.attachment);
        if let (true, Some(here), Some(there), Some(attached)) =
            (is_comparable, here, checked.found, attached)
        {
            // Compared is only what was read in the same version. A copy that has another one while nothing was written
            // has diverged too.
            is_comparable = there.version == here.version || now == here.version && is_quiet;
            let differs = (there.version, there.digest) != (here.version, here.digest);
            let has_diverged = there.bad == 0 && differs;
            if is_comparable && (there.bad != 0 || has_diverged) && attached.current.contains(region) {
                attached.theirs[region.index()] = there.version;
                attached.current = attached.current.without(region);
                attached.mending = attached.mending.with(region);
                if has_diverged {
                    core.counters.diverged += 1;
                    attached.diverged = attached.diverged.with(region);
                }
            }
        }
        if is_last {
            if is_comparable {
                check.next();
            }
            self.continue_check(core);
        }
        core.wake(self.id);
    }

    /// A copy that was asked is not attached any more: it is not waited for.
    pub(crate) fn lose_checked(&mut self, core: &mut Core, server: ServerId) {
        let Some(check) = &mut self.check else {
            return;
        };
        if check.asked.remove(&server).is_some() && check.asked.is_empty() {
            check.next();
            self.continue_check(core);
        }
    }
}

impl Check {
    pub(super) fn new(now: Time) -> Self {
        Self { progressed_at: now, ..Self::default() }
    }

    /// When it last went on.
    pub(super) const fn progressed_at(&self) -> Time {
        self.progressed_at
    }

    fn next(&mut self) {
        self.region = self.region.saturating_add(1);
        self.tries = 0;
        self.here = None;
    }
}
