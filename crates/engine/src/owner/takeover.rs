//! The beginning and the end of a reign.
//!
//! A reign begins in this order: the record is read; the epoch is accepted durably if anybody else may act on the
//! extent in a lower one; the owner before is attached, and serving waits for its promise, or until any lease that this
//! server gave it has run out. Where the route has one replica, no owner before and no move, nobody else may act: the
//! view itself, read after this server's start, makes it refuse attaches of lower epochs, and the first write accepts
//! the epoch with its version.
//!
//! It ends by draining: nothing more is begun; what was begun is executed under the rules of the reign, as far as the
//! target of the move still answers, and else answered "moved". Then the promise is given, if a successor asked.

use super::{Phase, Reign};
use crate::config::LEASE_GUARD;
use crate::core::{Core, Pending, ReignStep};
use crate::event::EngineEvent;
use crate::extent::{Extent, replicas_of};
use crate::operation::Stage;
use evenkeel_meta::Route;
use evenkeel_peer::{Attach, Attached, Message, Part, Refusal, ReplyOutcome};
use evenkeel_types::store_op::{
    ExtentDescription, IdentityChange, StoreError, StoreOp, StoreOutcome, StoreReply,
};
use evenkeel_types::{Epoch, ServerId};
use smallvec::SmallVec;

impl Extent {
    /// The view makes this server owner.
    pub(crate) fn start_reign(&mut self, core: &mut Core, route: &Route) {
        // From here on nothing more of the owner before is applied to the copy.
        self.end_copy(core);
        let mut guard = self.lease_until.unwrap_or(core.now);
        if route.from.is_some() {
            // What was promised before this server's start is not remembered; a lease may be older than the start.
            guard = guard.max(core.config.started + LEASE_GUARD);
        }
        let serial = core.serial();
        self.reign = Some(Box::new(Reign::new(serial, route, guard)));
        self.may_hold = true;
        core.store(
            Pending::Reign { extent: self.id, reign: serial, step: ReignStep::Describe },
            StoreOp::Describe { extent: self.id },
        );
    }

    /// The store has done its part in a reign.
    pub(crate) fn handle_reign_step(
        &mut self,
        core: &mut Core,
        serial: u64,
        step: ReignStep,
        outcome: StoreOutcome,
    ) {
        if self.reign.as_ref().is_none_or(|reign| reign.serial != serial) {
            return;
        }
        match (step, outcome) {
            (ReignStep::Describe, Ok(StoreReply::Description(description))) => {
                self.handle_description(core, description);
            }
            (ReignStep::Fence { epoch }, Ok(_)) => self.handle_fenced(core, epoch),
            (ReignStep::Record, Ok(_)) => {
                if let Some(reign) = &mut self.reign {
                    reign.record = true;
                }
                self.prepare_move(core);
            }
            (ReignStep::Repair, Ok(StoreReply::Description(description))) => {
                self.handle_repair(core, description.as_ref());
            }
            (_, Err(StoreError::StaleEpoch { accepted })) => {
                // Only a successor can have been ahead. The view will say who.
                self.accepted = self.accepted.max(accepted);
                self.begin_draining(core);
            }
            (ReignStep::Record, Err(error)) if error != StoreError::Stopped => {
                // Nothing is known of the move outside, and the extent is served as before.
                let why = match error {
                    StoreError::NoSpace => "the store has no room for the extent's record".to_owned(),
                    error => format!("the store makes no record of the extent: {error:?}"),
                };
                self.refuse_move(core, why);
            }
            // The store has stopped; nothing is served until it is opened again.
            _ => {}
        }
    }

    fn handle_description(&mut self, core: &mut Core, description: Option<ExtentDescription>) {
        let (Some(reign), Some(route)) = (&mut self.reign, core.route(self.id)) else {
            return;
        };
        if reign.phase != Phase::Describing {
            return;
        }
        if let Some(description) = &description {
            self.accepted = self.accepted.max(description.accepted);
            if self.accepted > reign.epoch {
                // A successor is ahead of this server's view: no reign before the view is there too.
                self.begin_draining(core);
                return;
            }
        }
        let held = description.filter(|description| description.has_data);
        reign.record = held.is_some();
        reign.lost = held.is_none() && route.entry_revision.is_some();
        let settled = held.as_ref().is_some_and(|held| held.replicas[..] == reign.replicas[..]);
        if let Some(held) = held {
            assert_eq!(held.versions.len(), reign.versions.len(), "a record has a version for each region");
            reign.versions.copy_from_slice(&held.versions);
            reign.remembered = held.identities.iter().map(|write| (write.id, write.version)).collect();
        }
        if reign.lost {
            core.event(EngineEvent::CopyMissing { extent: self.id });
            self.serve(core, false);
            return;
        }
        let alone = reign.replicas.len() == 1 && reign.from.is_none() && route.intent.is_none();
        if alone && (settled || !reign.record) && self.lease_until.is_none() {
            self.serve(core, false);
        } else {
            self.fence_reign(core);
        }
    }

    fn fence_reign(&mut self, core: &mut Core) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        reign.phase = Phase::Fencing;
        let op = StoreOp::Accept {
            extent: self.id,
            epoch: reign.epoch,
            replicas: SmallVec::from_slice(&reign.replicas),
            live: true,
            reserve_all: false,
            identities: IdentityChange::Keep,
        };
        let step = ReignStep::Fence { epoch: reign.epoch };
        core.store(Pending::Reign { extent: self.id, reign: reign.serial, step }, op);
    }

    fn handle_fenced(&mut self, core: &mut Core, epoch: Epoch) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        // An epoch that was left behind in the meantime allows nothing.
        if reign.phase != Phase::Fencing || reign.epoch != epoch {
            return;
        }
        self.accepted = self.accepted.max(epoch);
        reign.record = true;
        if core.now >= reign.guard_until {
            self.serve(core, false);
        } else {
            reign.phase = Phase::AwaitingPromise { attachment: None };
            let guard = reign.guard_until;
            core.wake_at(self.id, guard);
            self.attach_predecessor(core);
        }
    }

    /// Asks the owner before for its promise, or finds that its lease is over.
    pub(crate) fn attach_predecessor(&mut self, core: &mut Core) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        let Phase::AwaitingPromise { attachment } = &mut reign.phase else {
            return;
        };
        if core.now >= reign.guard_until {
            self.serve(core, false);
            return;
        }
        let (Some(from), Some(route), None) = (reign.from, core.route(self.id), *attachment) else {
            return;
        };
        if core.session(from).is_some() {
            let serial = core.serial();
            *attachment = Some(serial);
            let attach = Attach {
                extent: self.id,
                epoch: reign.epoch,
                attachment: serial,
                part: Part::Replaced,
                replicas: replicas_of(&route),
                identities: Vec::new(),
            };
            core.send(from, Message::Attach(attach));
        }
    }

    /// The owner before has let go: nothing of it can be answered any more.
    pub(crate) fn handle_promise(&mut self, core: &mut Core, from: ServerId, attached: &Attached) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        if reign.phase == (Phase::AwaitingPromise { attachment: Some(attached.attachment) })
            && reign.from == Some(from)
            && reign.epoch == attached.epoch
        {
            self.lease_until = None;
            core.voided.remove(&(from, self.id));
            self.serve(core, true);
        }
    }

    /// The owner before does not let go: it knows a higher epoch, so this server's view is behind; or it cannot now.
    pub(crate) fn handle_promise_refused(&mut self, core: &mut Core, attachment: u64, refusal: Refusal) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        if let Phase::AwaitingPromise { attachment: asked } = &mut reign.phase
            && *asked == Some(attachment)
        {
            core.counters.stale_refusals += u64::from(matches!(refusal, Refusal::Stale { .. }));
            *asked = None;
            core.wake_at(self.id, core.now + crate::config::RETRY_DELAY_MAX);
        }
    }

    fn serve(&mut self, core: &mut Core, promised: bool) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        if reign.from.is_some() && !reign.lost && !reign.announced {
            reign.announced = true;
            core.counters.takeovers += 1;
            let event = EngineEvent::TookOver { extent: self.id, epoch: reign.epoch, promised };
            core.event(event);
        }
        // Whoever owned the extent before has let go, in this epoch and in all higher ones.
        reign.guard_until = core.now;
        self.lease_until = None;
        self.resume_serving(core);
    }

    /// Begins everything that waited for the reign to serve.
    fn resume_serving(&mut self, core: &mut Core) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        reign.phase = Phase::Serving;
        for key in std::mem::take(&mut self.waiting) {
            self.begin(core, key);
        }
        self.unblock(core);
        self.consider_move(core);
    }

    /// The epoch grew, and this server is still owner: it serves nothing until the new epoch is as safe as the old one.
    /// Writes in flight are finished in the new epoch.
    pub(crate) fn advance_reign(&mut self, core: &mut Core, route: &Route) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        reign.epoch = route.epoch;
        reign.replicas = route.replicas;
        reign.from = route.from;
        if reign.phase == Phase::Describing {
            return;
        }
        self.renew_move(core, route);
        let Some(reign) = &mut self.reign else {
            return;
        };
        let alone = route.replicas.len() == 1 && route.from.is_none() && route.intent.is_none();
        if alone && reign.phase == Phase::Serving || reign.lost {
            self.unblock(core);
            self.consider_move(core);
        } else {
            self.fence_reign(core);
        }
    }

    /// Ends a reign: another server is owner, or is about to be.
    pub(crate) fn begin_draining(&mut self, core: &mut Core) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        if reign.phase == Phase::Draining {
            return;
        }
        reign.phase = Phase::Draining;
        // Those that wait for their range have not begun; they begin at the new owner.
        let waiting = reign.locks.waiting();
        let epoch = self.successor_epoch(core);
        for key in waiting {
            self.finish(core, key, self.moved_or_deleted(core, epoch));
        }
        for operation in core.operations.values_mut() {
            if operation.extent == self.id && !matches!(operation.stage, Stage::Waiting) {
                operation.crossed_cut_over = true;
            }
        }
        self.settle_move(core);
        self.unblock(core);
        core.wake(self.id);
    }

    /// What operations are answered that cannot be executed here any more.
    pub(crate) fn moved_or_deleted(&self, core: &Core, epoch: Epoch) -> ReplyOutcome {
        if core.is_deleted(self.id) { ReplyOutcome::NoVolume } else { ReplyOutcome::Moved { epoch } }
    }

    /// The epoch to be named to those that are turned away.
    pub(crate) fn successor_epoch(&self, core: &Core) -> Epoch {
        let known = core.route(self.id).map_or(Epoch::ZERO, |route| route.epoch);
        known.max(self.fence())
    }

    /// Ends the draining once nothing runs any more.
    pub(crate) fn finish_draining(&mut self, core: &mut Core) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        if reign.phase != Phase::Draining || reign.running > 0 {
            return;
        }
        self.reigns_from = self.reigns_from.max(Epoch(reign.epoch.0 + 1));
        self.end_move_of_reign(core);
        self.reign = None;
        core.wake(self.id);
    }
}
