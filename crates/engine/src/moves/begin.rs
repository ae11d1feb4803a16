//! The beginning of a move, and its end without success.

use super::{Mover, Step};
use crate::config::DIRECTORY_PATIENCE;
use crate::core::{Core, Pending, ReignStep, TxnFor};
use crate::event::{EngineEvent, MoveOrder, MoveStage};
use crate::extent::Extent;
use crate::owner::Phase;
use evenkeel_meta::change::{PrepareMove, clear_intent, prepare_move};
use evenkeel_meta::{DirectoryError, MoveId, MoveIntent, Route, TxnOutcome};
use evenkeel_types::store_op::StoreOp;
use smallvec::SmallVec;
use std::time::Duration;

/// How long a Prepare without an answer is waited for; if its intent shows later, the move is resumed.
const ANNOUNCEMENT_PATIENCE: Duration = Duration::from_secs(5);

impl Extent {
    /// Begins a move that was ordered. The reign serves.
    pub(crate) fn begin_move(&mut self, core: &mut Core, order: &MoveOrder) {
        self.move_wanted = false;
        let refusal = match &self.reign {
            Some(reign) if reign.phase != Phase::Serving => Some("the extent is not served yet"),
            Some(reign) if reign.lost => Some("the copy is missing"),
            Some(reign) if reign.mover.is_some() => Some("another move is under way"),
            Some(_) if order.to == core.me() => Some("the extent is there already"),
            Some(_) => None,
            None => Some("this server does not own the extent"),
        };
        let number = core.move_number();
        let id = MoveId::new(core.me(), core.config.incarnation, number);
        let (Some(reign), Some(id), None) = (&mut self.reign, id, refusal) else {
            let why = refusal.unwrap_or("no move ids are left").to_owned();
            core.event(EngineEvent::MoveRefused { extent: self.id, to: order.to, why });
            return;
        };
        let step = Step::Preparing { reason: order.reason.clone() };
        let intent = MoveIntent { to: order.to, replaces: order.replaces.unwrap_or(core.me()), id };
        let mut mover = Mover::new(self.id, intent, &order.first, step);
        mover.rate = order.rate;
        reign.mover = Some(Box::new(mover));
        reign.report_move(core, MoveStage::Preparing, None);
        core.moving.insert(self.id);
        if reign.record {
            self.prepare_move(core);
            return;
        }
        let op = StoreOp::Accept {
            extent: self.id,
            epoch: reign.epoch,
            replicas: SmallVec::from_slice(&reign.replicas),
            live: true,
            reserve_all: false,
            forget_below: Vec::new(),
        };
        core.store(Pending::Reign { extent: self.id, reign: reign.serial, step: ReignStep::Record }, op);
    }

    /// Asks the directory for the intent; the extent has a record.
    pub(crate) fn prepare_move(&mut self, core: &mut Core) {
        let unix_ms = core.unix_ms();
        let Some(reign) = &mut self.reign else {
            return;
        };
        let Some(mover) = &mut reign.mover else {
            return;
        };
        let Step::Preparing { reason } = &mover.step else {
            return;
        };
        let new = PrepareMove {
            extent: self.id,
            epoch: reign.epoch,
            to: mover.to,
            replaces: mover.replaces,
            id: mover.id,
            started_unix_ms: unix_ms,
            reason: reason.clone(),
        };
        let made = core.view.as_ref().map(|view| prepare_move(view, core.actor(), &new));
        match made {
            Some(Ok(txn)) => {
                core.transact(TxnFor::Prepare { extent: self.id }, txn);
            }
            Some(Err(error)) => self.refuse_move(core, error.to_string()),
            None => self.refuse_move(core, "the directory is not known yet".to_owned()),
        }
    }

    /// The directory answered a Prepare.
    pub(crate) fn handle_prepared(&mut self, core: &mut Core, outcome: Result<TxnOutcome, DirectoryError>) {
        let Some(mover) = self.reign.as_mut().and_then(|reign| reign.mover.as_mut()) else {
            return;
        };
        if !matches!(mover.step, Step::Preparing { .. }) {
            return;
        }
        match outcome {
            Ok(outcome) if !outcome.succeeded => {
                self.refuse_move(core, "the directory has changed: try again".to_owned());
            }
            Ok(_) | Err(DirectoryError::OutcomeUnknown { .. }) => {
                mover.step = Step::Announced { since: core.now };
                core.wake_at(self.id, core.now + ANNOUNCEMENT_PATIENCE);
            }
            Err(error) => self.refuse_move(core, error.to_string()),
        }
    }

    /// A move that never had an intent is over.
    pub(crate) fn refuse_move(&mut self, core: &mut Core, why: String) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        reign.report_move(core, MoveStage::Aborted, Some("the intent was not written"));
        let Some(mover) = reign.mover.take() else {
            return;
        };
        core.moving.remove(&self.id);
        core.entries_due = true;
        core.event(EngineEvent::MoveRefused { extent: self.id, to: mover.to, why });
        self.unblock(core);
    }

    /// The epoch changed, and this server is still owner: looks at what the route entry says about the move.
    pub(crate) fn renew_move(&mut self, core: &mut Core, route: &Route) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        let Some(mover) = &mut reign.mover else {
            return;
        };
        match route.intent {
            Some(intent) if mover.id == intent.id => match mover.step {
                Step::Preparing { .. } | Step::Announced { .. } => {
                    mover.step = Step::Copying { propose_at: core.now };
                    reign.report_move(core, MoveStage::Copying, None);
                }
                // The entry is as it was, and another key that the Propose compares has changed in a revision that the
                // view has: it did not happen before that revision, or the view would show it, and it cannot happen
                // after it.
                Step::Proposing { .. } | Step::Unsettled { .. } => {
                    mover.step = Step::Copying { propose_at: core.now };
                }
                _ => {}
            },
            None if matches!(mover.step, Step::Preparing { .. } | Step::Announced { .. }) => {}
            None if mover.is_required() && route.replicas.contains(&mover.to) => {
                // The target is a replica now, in the place of one that was not the owner.
                mover.step = Step::Decided;
                core.moving.remove(&self.id);
                core.counters.moves_done += 1;
                reign.report_move(core, MoveStage::Released, None);
                reign.mover = None;
            }
            _ => self.end_cleared_move(core),
        }
    }

    /// The intent is gone, and this server is still owner: the move did not happen.
    fn end_cleared_move(&mut self, core: &mut Core) {
        self.drop_target(core);
        let Some(reign) = &mut self.reign else {
            return;
        };
        let why = match reign.mover.as_ref().map(|mover| &mover.step) {
            Some(Step::Clearing { why, .. }) => why,
            _ => "the intent was cleared",
        };
        core.moving.remove(&self.id);
        core.counters.moves_aborted += 1;
        reign.report_move(core, MoveStage::Aborted, Some(why));
        reign.mover = None;
    }

    /// The reign serves: goes on with a move that the route entry names, after a start or a change of owner.
    pub(crate) fn consider_move(&mut self, core: &mut Core) {
        let (Some(reign), Some(route)) = (&mut self.reign, core.route(self.id)) else {
            return;
        };
        if let (None, Some(intent), false) = (&reign.mover, route.intent, reign.lost) {
            let step = Step::Copying { propose_at: core.now };
            reign.mover = Some(Box::new(Mover::new(self.id, intent, &[], step)));
            core.moving.insert(self.id);
            core.counters.moves_resumed += 1;
            reign.report_move(core, MoveStage::Copying, None);
        }
        self.continue_move(core);
    }

    /// Gives the move up, if no Propose is out: the target is dropped at once, the intent as soon as the directory can.
    pub(crate) fn abort_move(&mut self, core: &mut Core, why: &'static str) {
        let Some(mover) = self.reign.as_mut().and_then(|reign| reign.mover.as_mut()) else {
            return;
        };
        match mover.step {
            Step::Preparing { .. } | Step::Announced { .. } => mover.abort = true,
            Step::Copying { .. } => {
                mover.step = Step::Clearing { why, clear_at: core.now };
                self.drop_target(core);
                self.clear_intent(core);
            }
            Step::Proposing { .. } | Step::Unsettled { .. } | Step::Decided | Step::Clearing { .. } => {}
        }
    }

    /// Asks the directory to clear the intent, if it is time.
    pub(crate) fn clear_intent(&mut self, core: &mut Core) {
        let unix_ms = core.unix_ms();
        let Some(mover) = self.reign.as_mut().and_then(|reign| reign.mover.as_mut()) else {
            return;
        };
        let (Step::Clearing { clear_at, .. } | Step::Unsettled { clear_at, .. }) = &mut mover.step else {
            return;
        };
        if core.now < *clear_at {
            let at = *clear_at;
            core.wake_at(self.id, at);
            return;
        }
        // Asked again if the answer does not come; each asks for the same change of the same entry.
        *clear_at = core.now + 4 * DIRECTORY_PATIENCE;
        core.wake_at(self.id, core.now + 4 * DIRECTORY_PATIENCE);
        let made = core.view.as_ref().map(|view| clear_intent(view, core.actor(), self.id, unix_ms));
        if let Some(Ok(txn)) = made {
            core.transact(TxnFor::Clear { extent: self.id, txn: txn.clone() }, txn);
        }
    }

    /// Goes on with a move as far as possible.
    pub(crate) fn continue_move(&mut self, core: &mut Core) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        let (serving, Some(mover)) = (reign.phase == Phase::Serving, &mut reign.mover) else {
            return;
        };
        let target_is_up =
            core.view.as_ref().and_then(|view| view.member(mover.to)).is_some_and(|kept| kept.record.is_up());
        match &mover.step {
            Step::Announced { since } if core.now.since(*since) >= ANNOUNCEMENT_PATIENCE => {
                self.refuse_move(core, "the directory did not answer".to_owned());
                return;
            }
            // Asked for each time: what wakes the extent before that takes the place of a later wake.
            Step::Announced { since } => core.wake_at(self.id, *since + ANNOUNCEMENT_PATIENCE),
            Step::Copying { .. } if mover.abort => {
                self.abort_move(core, "given up on request");
                return;
            }
            Step::Copying { .. } if !target_is_up => {
                self.abort_move(core, "the target is not up any more");
                return;
            }
            _ => {}
        }
        if serving && mover.is_linked() && !matches!(mover.step, Step::Decided) {
            self.link_target(core);
            self.judge_target(core);
            self.propose_move(core);
        }
        self.clear_intent(core);
    }
}
