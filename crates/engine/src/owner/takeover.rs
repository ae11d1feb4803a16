//! The beginning and the end of a reign.
//!
//! A reign begins in this order: the record is read; the epoch is accepted durably if anybody else may act on the
//! extent in a lower one; every replica that is not down is attached, and the owner that a move replaced. Serving waits
//! until all of them have promised, or until any lease that this server ever gave one has run out; until the replicas are
//! attached in any case; and until those in sync have been made equal: this server's copy wins, also over a higher
//! version. Where the route has one replica, no owner before and no move, nobody else may act: the view itself, read
//! after this server's start, makes it refuse attaches of lower epochs, and the first write accepts the epoch with its
//! version.
//!
//! A replica that cannot be attached keeps the reign from serving until the directory says that it is down
//! ([`crate::membership`]).
//!
//! It ends by draining: nothing more is begun; what was begun is executed under the rules of the reign, as far as the
//! target of the move still answers, and else answered "moved". Then the promise is given, if a successor asked.

use super::{Phase, Reign};
use crate::config::LEASE_GUARD;
use crate::copies::{CopyLink, Role};
use crate::core::{Core, Pending, ReignStep};
use crate::event::EngineEvent;
use crate::extent::{Extent, owner_first};
use crate::operation::Stage;
use evenkeel_meta::Route;
use evenkeel_peer::ReplyOutcome;
use evenkeel_types::store_op::{ExtentDescription, StoreError, StoreOp, StoreOutcome, StoreReply};
use evenkeel_types::{Epoch, Regions};

impl Extent {
    /// The view makes this server owner.
    pub(crate) fn start_reign(&mut self, core: &mut Core, route: &Route) {
        // From here on nothing more of the owner before is applied to the copy.
        self.end_copy(core);
        let mut guard = self.lease_until.unwrap_or(core.now);
        if route.from.is_some() || route.replicas.len() > 1 {
            // What was promised before this server's start is not remembered; a lease may be older than the start.
            guard = guard.max(core.config.started + LEASE_GUARD);
        }
        let serial = core.serial();
        self.reign = Some(Box::new(Reign::new(serial, route, guard)));
        self.may_hold = true;
        self.renew_links(core, route);
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
        // Entries, of extents and of whole runs, are made only where there are records.
        reign.lost = held.is_none() && !route.is_placed();
        let list = owner_first(&reign.replicas, core.me());
        let settled = held.as_ref().is_some_and(|held| held.replicas == list);
        let accepted = held.as_ref().is_some_and(|held| held.accepted == reign.epoch);
        if let Some(held) = held {
            assert_eq!(held.versions.len(), reign.versions.len(), "a record has a version for each region");
            reign.versions.copy_from_slice(&held.versions);
            reign.remembered = held.identities.iter().map(|write| (write.id, write.regions)).collect();
        }
        if reign.lost {
            core.event(EngineEvent::CopyMissing { extent: self.id });
            self.serve(core);
            return;
        }
        let alone = reign.replicas.len() == 1 && reign.from.is_none() && route.intent.is_none();
        if alone && (settled || !reign.record) && self.lease_until.is_none() {
            self.serve(core);
        } else if settled && accepted {
            reign.phase = Phase::Fencing;
            let epoch = reign.epoch;
            self.handle_fenced(core, epoch);
        } else {
            self.fence_reign(core);
        }
    }

    pub(super) fn fence_reign(&mut self, core: &mut Core) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        reign.phase = Phase::Fencing;
        let op = StoreOp::Accept {
            extent: self.id,
            epoch: reign.epoch,
            replicas: owner_first(&reign.replicas, core.me()),
            live: true,
            reserve_all: false,
            forget_below: Vec::new(),
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
        reign.phase = Phase::Gathering;
        self.progress_reign(core);
    }

    /// Goes on with whatever the reign needs from other servers.
    pub(crate) fn progress_reign(&mut self, core: &mut Core) {
        self.continue_check(core);
        let Some(reign) = &self.reign else {
            return;
        };
        match reign.phase {
            Phase::Gathering => {
                self.tend_links(core);
                self.copy_regions(core);
                self.continue_mending(core);
                self.consider_serving(core);
            }
            Phase::Entering => {
                // A move whose intent got lost ends here too: as long as it waits for that, no other entry is asked for.
                self.continue_move(core);
                self.tend_links(core);
                self.copy_regions(core);
            }
            // Nearly every call, once the copies are equal: each write comes by here.
            Phase::Serving if reign.is_settled() => {}
            Phase::Serving => {
                self.continue_move(core);
                self.tend_links(core);
                self.copy_regions(core);
                self.promise_current(core);
                self.continue_mending(core);
                self.continue_move(core);
            }
            Phase::Describing | Phase::Fencing | Phase::Draining => {}
        }
    }

    /// Serves, if nothing is missing for it.
    fn consider_serving(&mut self, core: &mut Core) {
        let Some(reign) = &self.reign else {
            return;
        };
        // A replica that is down, and whoever was replaced and cannot be reached, has not promised.
        let mut others =
            reign.replicas.iter().copied().chain(reign.from).filter(|server| *server != core.me());
        let promised = others.all(|server| reign.link(server).is_some_and(|link| link.attached().is_some()));
        if !promised && core.now < reign.guard_until {
            let at = reign.guard_until;
            core.wake_at(self.id, at);
            return;
        }
        let is_ready = |link: &CopyLink| match link.attached() {
            Some(attached) => link.role != Role::InSync || attached.current == Regions::ALL,
            None => !link.role.is_replica(),
        };
        if reign.links.iter().all(is_ready) {
            self.serve(core);
        }
    }

    fn serve(&mut self, core: &mut Core) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        if !reign.lost && !reign.announced && (reign.from.is_some() || self.succeeds) {
            reign.announced = true;
            core.counters.takeovers += 1;
            let promised = core.now < reign.guard_until;
            let event = EngineEvent::TookOver { extent: self.id, epoch: reign.epoch, promised };
            core.event(event);
        }
        // Whoever owned the extent before has let go, in this epoch and in all higher ones.
        reign.guard_until = core.now;
        self.lease_until = None;
        self.succeeds = false;
        self.resync_wanted = false;
        self.resume_serving(core);
    }

    /// Begins everything that waited for the reign to serve.
    pub(super) fn resume_serving(&mut self, core: &mut Core) {
        if core.is_to_be_placed(self.id) {
            self.await_entry(core);
            return;
        }
        let Some(reign) = &mut self.reign else {
            return;
        };
        reign.phase = Phase::Serving;
        reign.has_served = true;
        for key in std::mem::take(&mut self.waiting) {
            self.begin(core, key);
        }
        self.unblock(core);
        self.consider_move(core);
        self.progress_reign(core);
    }

    /// The epoch grew, and this server is still owner: it serves nothing until the new epoch is as safe as the old one.
    /// Writes in flight are finished in the new epoch.
    pub(crate) fn advance_reign(&mut self, core: &mut Core, route: &Route) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        let was_serving = reign.phase == Phase::Serving;
        reign.epoch = route.epoch;
        reign.replicas = route.replicas;
        reign.from = route.from;
        if reign.phase != Phase::Describing {
            // From here on nothing is served in the epoch before.
            reign.phase = Phase::Fencing;
        }
        let (describing, lost) = (reign.phase == Phase::Describing, reign.lost);
        self.renew_move(core, route);
        self.renew_links(core, route);
        if describing {
            return;
        }
        let alone = route.replicas.len() == 1 && route.from.is_none() && route.intent.is_none();
        if alone && was_serving || lost {
            self.resume_serving(core);
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
        let outcome = self.moved_or_deleted(core, epoch);
        self.end_all_mending(core, &outcome);
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
