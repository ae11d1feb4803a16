//! The decision of a move.

use super::Step;
use crate::config::DIRECTORY_PATIENCE;
use crate::core::{Core, TxnFor};
use crate::event::{MoveStage, TxnTicket};
use crate::extent::Extent;
use evenkeel_meta::change::{ClearOutcome, clear_outcome, propose_move};
use evenkeel_meta::{DirectoryError, Txn, TxnOutcome};
use evenkeel_types::Regions;
use std::time::Duration;

/// How long the owner waits for its view after the directory refused a Propose, before it asks again.
const PROPOSE_AGAIN_AFTER: Duration = Duration::from_millis(100);

impl Extent {
    /// Asks the directory to decide, once all regions are current.
    pub(super) fn propose_move(&mut self, core: &mut Core) {
        let unix_ms = core.unix_ms();
        let Some(reign) = &mut self.reign else {
            return;
        };
        let attached = reign.target_link().and_then(|link| link.attached());
        let is_ready =
            attached.is_some_and(|attached| attached.current == Regions::ALL && attached.copies.is_empty());
        let epoch = reign.epoch;
        let Some(mover) = reign.mover.as_mut().filter(|mover| is_ready && !mover.abort) else {
            return;
        };
        let Step::Copying { propose_at } = mover.step else {
            return;
        };
        if core.now < propose_at {
            core.wake_at(self.id, propose_at);
            return;
        }
        let made = core.view.as_ref().map(|view| propose_move(view, core.actor(), self.id, epoch, unix_ms));
        match made {
            Some(Ok(txn)) => {
                let ticket = core.transact(TxnFor::Propose { extent: self.id }, txn);
                mover.step = Step::Proposing { ticket };
                reign.report_move(core, MoveStage::Proposing, None);
            }
            // The view has moved on; it will be looked at in this very call, or the move cannot be.
            _ => {
                mover.step = Step::Copying { propose_at: core.now + PROPOSE_AGAIN_AFTER };
                core.wake_at(self.id, core.now + PROPOSE_AGAIN_AFTER);
            }
        }
    }

    /// The directory answered a Propose.
    pub(crate) fn handle_proposed(
        &mut self,
        core: &mut Core,
        ticket: TxnTicket,
        outcome: Result<TxnOutcome, DirectoryError>,
    ) {
        let Some(mover) = self.reign.as_mut().and_then(|reign| reign.mover.as_mut()) else {
            return;
        };
        // An answer counts only for the Propose that it names.
        if !matches!(mover.step, Step::Proposing { ticket: asked } if asked == ticket) {
            return;
        }
        match outcome {
            Ok(outcome) if outcome.succeeded => {
                mover.step = Step::Decided;
            }
            Err(DirectoryError::OutcomeUnknown { .. }) => {
                let clear_at = core.now + DIRECTORY_PATIENCE;
                mover.step = Step::Unsettled { clear_at };
                core.wake_at(self.id, clear_at);
            }
            // Refused, or never carried out: this very Propose is known not to have happened.
            Ok(_) | Err(_) => {
                mover.step = Step::Copying { propose_at: core.now + PROPOSE_AGAIN_AFTER };
                self.unblock(core);
                self.continue_move(core);
            }
        }
    }

    /// The directory answered the clearing of an intent.
    pub(crate) fn handle_cleared(
        &mut self,
        core: &mut Core,
        txn: &Txn,
        outcome: Result<TxnOutcome, DirectoryError>,
    ) {
        let Some(view) = &core.view else {
            return;
        };
        let known = outcome.ok().map(|outcome| clear_outcome(view.keys(), self.id, txn, &outcome));
        let Some(mover) = self.reign.as_mut().and_then(|reign| reign.mover.as_mut()) else {
            return;
        };
        match (&mut mover.step, known) {
            (Step::Unsettled { .. }, Some(ClearOutcome::Cleared)) => {
                let again = core.now + 4 * DIRECTORY_PATIENCE;
                mover.step = Step::Clearing { why: "the directory did not answer", clear_at: again };
                self.drop_target(core);
                self.unblock(core);
            }
            (Step::Unsettled { .. }, Some(ClearOutcome::EntryChanged)) => mover.step = Step::Decided,
            (Step::Unsettled { clear_at, .. } | Step::Clearing { clear_at, .. }, None) => {
                *clear_at = core.now + DIRECTORY_PATIENCE;
                let at = *clear_at;
                core.wake_at(self.id, at);
            }
            _ => {}
        }
    }
}
