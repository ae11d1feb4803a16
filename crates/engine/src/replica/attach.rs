//! Becoming a copy.
//!
//! What the record holds is read first, and the versions in it are the ones that are answered: until the answer, nothing is
//! applied to the copy. Then the epoch is accepted. Whatever promise an earlier attach brought is void from then on. The
//! identities of writes stay with the content that has them; where the owner's copy has other content, it brings its own.

use super::{CopyPart, Joining};
use crate::config::MOVES_IN_MAX;
use crate::core::{Core, JoinStep, Pending};
use crate::extent::Extent;
use crate::owner::Floors;
use evenkeel_peer::{Attach, AttachRefused, Attached, Message, Part, Refusal};
use evenkeel_types::geometry::REGIONS_PER_EXTENT;
use evenkeel_types::store_op::{StoreError, StoreOp, StoreOutcome, StoreReply};
use evenkeel_types::{Epoch, Regions, ServerId, Version};
use smallvec::SmallVec;

impl Extent {
    /// An owner asks for this server's part.
    pub(crate) fn handle_attach(&mut self, core: &mut Core, from: ServerId, attach: Attach) {
        let Some(peer) = core.peers.get(&from).copied() else {
            return;
        };
        if let Some(refusal) = self.refusal(core, from, &attach) {
            core.counters.stale_refusals += u64::from(matches!(refusal, Refusal::Stale { .. }));
            let refused = AttachRefused { extent: self.id, attachment: attach.attachment, refusal };
            core.send(from, Message::AttachRefused(refused));
            return;
        }
        self.accepted = self.accepted.max(attach.epoch);
        match attach.part {
            Part::Target | Part::Replica => {
                self.end_copy(core);
                // This attach replaces every earlier one of the same owner.
                core.voided.remove(&(from, self.id));
                core.copies_in += usize::from(attach.part == Part::Target);
                core.promises.remove(&self.id);
                self.copy = CopyPart::Joining(Joining {
                    owner: from,
                    incarnation: peer.incarnation,
                    session: peer.session,
                    attach,
                    submitted: false,
                    versions: Vec::new(),
                    space: Regions::NONE,
                });
                self.may_hold = true;
            }
            Part::Replaced => {
                self.promise = Some(super::Promise {
                    to: from,
                    session: peer.session,
                    epoch: attach.epoch,
                    attachment: attach.attachment,
                    replicas: attach.replicas,
                    submitted: false,
                });
            }
        }
        // A reign of a lower epoch ends here; the answer waits for it.
        self.begin_draining(core);
        self.evaluate(core);
    }

    fn refusal(&self, core: &Core, from: ServerId, attach: &Attach) -> Option<Refusal> {
        let route = core.route(self.id);
        let seen = route.map_or(Epoch::ZERO, |route| route.epoch);
        let reigning = self.reign.as_ref().map_or(Epoch::ZERO, |reign| reign.epoch);
        let known = seen.max(self.fence()).max(reigning);
        let incarnation = core.peers.get(&from).map(|peer| peer.incarnation);
        let fenced = incarnation.is_none_or(|incarnation| incarnation < core.known_incarnation(from));
        // An epoch has one owner: whoever else claims it is wrong.
        let contradicts = route
            .is_some_and(|route| route.epoch == attach.epoch && route.owner() != Some(from))
            || self.copy.epoch() == attach.epoch && self.copy.owner().is_some_and(|owner| owner != from);
        if attach.epoch < known || fenced || contradicts || reigning == attach.epoch {
            return Some(Refusal::Stale { known });
        }
        if core.view.is_none() {
            return Some(Refusal::Busy);
        }
        if core.is_deleted(self.id) {
            return Some(Refusal::NotAttached);
        }
        if core.store_stopped {
            return Some(Refusal::Stopped);
        }
        if core.rejoining {
            // Whether this server is up is being decided; what is attached meanwhile would not be part of it.
            return Some(Refusal::Busy);
        }
        let joins = attach.part == Part::Target && matches!(self.copy, CopyPart::None);
        let full = joins && core.copies_in >= MOVES_IN_MAX;
        let releasing = self.releasing && attach.part != Part::Replaced;
        (full || releasing).then_some(Refusal::Busy)
    }

    /// Goes on with an attach once no reign is left here.
    pub(crate) fn progress_copy(&mut self, core: &mut Core) {
        let CopyPart::Joining(joining) = &mut self.copy else {
            return;
        };
        if self.reign.is_some() || joining.submitted {
            return;
        }
        joining.submitted = true;
        let attachment = joining.attach.attachment;
        core.store(
            Pending::Join { extent: self.id, attachment, step: JoinStep::Describe },
            StoreOp::Describe { extent: self.id },
        );
    }

    /// The store has done its part in an attach.
    pub(crate) fn handle_join_step(
        &mut self,
        core: &mut Core,
        attachment: u64,
        step: JoinStep,
        outcome: StoreOutcome,
    ) {
        let CopyPart::Joining(joining) = &mut self.copy else {
            return;
        };
        if joining.attach.attachment != attachment {
            return;
        }
        let (owner, session, epoch) = (joining.owner, joining.session, joining.attach.epoch);
        match (step, outcome) {
            (JoinStep::Describe, Ok(StoreReply::Description(description))) => {
                let held = description.filter(|description| description.has_data);
                let is_target = joining.attach.part == Part::Target;
                joining.space = held.as_ref().map_or(Regions::NONE, |held| held.allocated);
                joining.versions = held
                    .map_or_else(|| vec![Version::NONE; REGIONS_PER_EXTENT], |held| held.versions.to_vec());
                let op = StoreOp::Accept {
                    extent: self.id,
                    epoch,
                    replicas: SmallVec::from_slice(&joining.attach.replicas),
                    live: true,
                    reserve_all: is_target,
                    forget_below: Floors { of_extent: &self.floors, of_all: &core.floors }.all(),
                };
                core.store(Pending::Join { extent: self.id, attachment, step: JoinStep::Accept }, op);
            }
            (JoinStep::Accept, Ok(_)) => {
                let (incarnation, versions) = (joining.incarnation, std::mem::take(&mut joining.versions));
                let (space, part) = (joining.space, joining.attach.part);
                self.accepted = self.accepted.max(epoch);
                self.succeeds = true;
                self.copy = CopyPart::Attached { owner, incarnation, attachment, epoch, part };
                let answer = Attached { extent: self.id, epoch, attachment, versions, space };
                core.answer(owner, session, Message::Attached(answer));
            }
            (_, outcome) => {
                let refusal = match outcome {
                    Err(StoreError::StaleEpoch { accepted }) => {
                        self.accepted = self.accepted.max(accepted);
                        Refusal::Stale { known: accepted }
                    }
                    Err(StoreError::NoSpace) => Refusal::NoSpace,
                    _ => Refusal::Stopped,
                };
                self.end_copy(core);
                let refused = AttachRefused { extent: self.id, attachment, refusal };
                core.answer(owner, session, Message::AttachRefused(refused));
                core.wake(self.id);
            }
        }
    }
}
