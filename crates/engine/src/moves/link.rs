//! The attachment of a move's target.

use super::state::{Attached, CopyStage};
use super::{Link, Step};
use crate::config::{RETRY_DELAY_MAX, TARGET_ANSWER_MAX, TARGET_PATIENCE};
use crate::core::Core;
use crate::extent::{Extent, replicas_of};
use crate::operation::Stage;
use crate::slots::Key;
use evenkeel_peer::{Attach, Message, Part, Refusal};
use evenkeel_types::geometry::REGIONS_PER_EXTENT;
use evenkeel_types::{Region, Regions, ServerId, Version, WriteId};
use std::collections::BTreeMap;

impl Extent {
    /// Attaches the target if it is not, and gives the move up if that has been impossible for too long, or if the target
    /// keeps a client's write waiting for too long.
    pub(super) fn tend_link(&mut self, core: &mut Core) {
        let route = core.route(self.id);
        let Some(reign) = &mut self.reign else {
            return;
        };
        let (Some(mover), Some(route)) = (&mut reign.mover, route) else {
            return;
        };
        if let Some(since) = mover.unreachable_since {
            if core.now.since(since) >= TARGET_PATIENCE && !mover.is_required() {
                self.abort_move(core, "the target could not be reached");
                return;
            }
            core.wake_at(self.id, since + TARGET_PATIENCE);
        }
        if let Some(since) = mover.unanswered_since() {
            if core.now.since(since) >= TARGET_ANSWER_MAX {
                self.abort_move(core, "the target did not answer in time");
                return;
            }
            // A write counts from when it was sent, and comes by here at the latest when it is durable at this server.
            core.wake_at(self.id, since + TARGET_ANSWER_MAX);
        }
        let Link::Down { retry_at } = mover.link else {
            return;
        };
        if core.now < retry_at {
            core.wake_at(self.id, retry_at);
            return;
        }
        let to = mover.to;
        if core.session(to).is_some() {
            let attachment = core.serial();
            mover.link = Link::Attaching { attachment };
            let identities = reign.all_identities();
            let attach = Attach {
                extent: self.id,
                epoch: reign.epoch,
                attachment,
                part: Part::Target,
                replicas: replicas_of(&route),
                identities,
            };
            core.send(to, Message::Attach(attach));
        }
    }

    /// The target is attached: regions with equal versions are equal. At a target that is required, all regions were
    /// current; what it misses now are writes that are still open here, and it gets them again.
    pub(crate) fn handle_target_attached(
        &mut self,
        core: &mut Core,
        from: ServerId,
        answer: &evenkeel_peer::Attached,
    ) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        let Some(mover) = &mut reign.mover else {
            return;
        };
        let expected =
            matches!(mover.link, Link::Attaching { attachment } if attachment == answer.attachment);
        if !expected || mover.to != from || answer.epoch != reign.epoch {
            return;
        }
        let Ok(theirs) =
            <Box<[Version; REGIONS_PER_EXTENT]>>::try_from(answer.versions.clone().into_boxed_slice())
        else {
            return;
        };
        let open = if mover.is_required() { open_writes(core, &reign.open_writes) } else { Vec::new() };
        let mut expected = theirs.clone();
        for (version, _, regions) in &open {
            regions
                .iter()
                .for_each(|region| expected[region.index()] = expected[region.index()].max(*version));
        }
        let equal = |region: &Region| reign.versions[region.index()] == expected[region.index()];
        let current = Region::all().filter(equal).fold(Regions::NONE, Regions::with);
        mover.counters.regions_equal += u64::from(current.count());
        mover.unreachable_since = None;
        let missing = |(version, _, regions): &&(Version, Key, Regions)| {
            regions.iter().any(|region| theirs[region.index()] < *version)
        };
        let resend: Vec<Key> = open.iter().filter(missing).map(|(_, key, _)| *key).collect();
        mover.link = Link::Attached(Box::new(Attached {
            attachment: answer.attachment,
            current,
            theirs,
            copied: Box::new([Version::NONE; REGIONS_PER_EXTENT]),
            copies: BTreeMap::new(),
            writes: BTreeMap::new(),
            voided: false,
        }));
        for key in resend {
            self.resend(core, key);
        }
        self.unblock(core);
        self.continue_move(core);
    }

    /// Sends a write to a required target again. It may become owner at any moment: so it gets the write as a write, with
    /// its identity, and never as a part of a region without it.
    fn resend(&mut self, core: &mut Core, key: Key) {
        let Some(mover) = self.reign.as_mut().and_then(|reign| reign.mover.as_mut()) else {
            return;
        };
        let write = match core.operations.get(key).map(|operation| &operation.stage) {
            Some(Stage::Writing(in_flight)) if in_flight.regions.minus(mover.current()).is_empty() => {
                in_flight.write.clone()
            }
            _ => return,
        };
        let messages = mover.mirror(core, key, &write);
        if let Some(Stage::Writing(in_flight)) =
            core.operations.get_mut(key).map(|operation| &mut operation.stage)
        {
            in_flight.unanswered += messages;
        }
    }

    /// The target refused an attach, or something under it.
    pub(crate) fn handle_target_refused(&mut self, core: &mut Core, attachment: u64, refusal: Refusal) {
        let Some(mover) = self.reign.as_mut().and_then(|reign| reign.mover.as_mut()) else {
            return;
        };
        let known = match &mover.link {
            Link::Down { .. } => None,
            Link::Attaching { attachment } => Some(*attachment),
            Link::Attached(attached) => Some(attached.attachment),
        };
        if known != Some(attachment) {
            return;
        }
        core.counters.stale_refusals += u64::from(matches!(refusal, Refusal::Stale { .. }));
        self.drop_link(core);
        let Some(mover) = self.reign.as_mut().and_then(|reign| reign.mover.as_mut()) else {
            return;
        };
        if !matches!(refusal, Refusal::NotAttached) {
            mover.link = Link::Down { retry_at: core.now + RETRY_DELAY_MAX };
            core.wake_at(self.id, core.now + RETRY_DELAY_MAX);
        }
        match refusal {
            Refusal::NoSpace => self.abort_move(core, "the target has no space"),
            Refusal::Stopped => self.abort_move(core, "the target's store has stopped"),
            Refusal::Stale { .. } | Refusal::Busy | Refusal::NotAttached => {}
        }
        self.continue_move(core);
    }

    /// Forgets the attachment: nothing is known of the target's copy any more. Where the target is required, writes
    /// that it has not answered stay unanswered until their regions are current again.
    pub(crate) fn drop_link(&mut self, core: &mut Core) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        let Some(mover) = &mut reign.mover else {
            return;
        };
        let link = std::mem::replace(&mut mover.link, Link::Down { retry_at: core.now });
        mover.unreachable_since.get_or_insert(core.now);
        if let Step::Remembering { .. } = mover.step {
            mover.step = Step::Copying { propose_at: core.now };
        }
        let Link::Attached(attached) = link else {
            return;
        };
        let required = mover.is_required();
        reign.held = reign.held.minus(attached.in_motion()).union(reign.broken);
        let mut unanswered = Vec::new();
        for write in attached.writes.values() {
            if let Some(Stage::Writing(in_flight)) =
                core.operations.get_mut(write.operation).map(|operation| &mut operation.stage)
            {
                in_flight.unanswered -= 1;
                if required {
                    in_flight.behind = in_flight.behind.union(write.regions);
                }
                unanswered.push(write.operation);
            }
        }
        for operation in unanswered {
            self.consider_write(core, operation);
        }
        self.unblock(core);
    }

    /// Whether a region that is held for its copy is quiet now.
    pub(super) fn quiet_copy(&self) -> Option<Region> {
        let reign = self.reign.as_ref()?;
        let Link::Attached(attached) = &reign.mover.as_ref()?.link else {
            return None;
        };
        let mut copies = attached.copies.iter();
        let quiet =
            copies.find(|(region, copy)| copy.stage == CopyStage::Quieting && reign.is_quiet(**region));
        quiet.map(|(region, _)| *region)
    }
}

/// The writes that have their version and have not ended, in the order of their versions.
fn open_writes(core: &Core, open: &BTreeMap<WriteId, Key>) -> Vec<(Version, Key, Regions)> {
    let mut writes: Vec<_> = open
        .values()
        .filter_map(|key| match &core.operations.get(*key)?.stage {
            Stage::Writing(in_flight) => Some((in_flight.write.version, *key, in_flight.regions)),
            _ => None,
        })
        .collect();
    writes.sort_unstable_by_key(|(version, ..)| *version);
    writes
}
