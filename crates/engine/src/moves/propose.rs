//! The decision of a move.

use super::{Link, Step};
use crate::config::{DIRECTORY_PATIENCE, TARGET_ANSWER_MAX};
use crate::core::{Core, TxnFor};
use crate::event::{MoveStage, TxnTicket};
use crate::extent::Extent;
use evenkeel_meta::change::{ClearOutcome, clear_outcome, propose_move};
use evenkeel_meta::{DirectoryError, Txn, TxnOutcome};
use evenkeel_peer::{Message, Remember, Remembered};
use evenkeel_types::{Regions, ServerId};
use std::time::Duration;

/// How long the owner waits for its view after the directory refused a Propose, before it asks again.
const PROPOSE_AGAIN_AFTER: Duration = Duration::from_millis(100);

impl Extent {
    /// Once all regions are current: hands over the identities, then asks the directory.
    pub(super) fn remember_or_propose(&mut self, core: &mut Core) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        let Some(mover) = &reign.mover else {
            return;
        };
        let (Step::Copying { propose_at }, Link::Attached(attached)) = (&mover.step, &mover.link) else {
            return;
        };
        if attached.current != Regions::ALL || !attached.copies.is_empty() || mover.abort {
            return;
        }
        if core.now < *propose_at {
            let at = *propose_at;
            core.wake_at(self.id, at);
            return;
        }
        let (attachment, to) = (attached.attachment, mover.to);
        let identities = reign.all_identities();
        if let Some(mover) = &mut reign.mover {
            mover.step = Step::Remembering { since: core.now };
            core.wake_at(self.id, core.now + TARGET_ANSWER_MAX);
        }
        core.send(
            to,
            Message::Remember(Remember { extent: self.id, epoch: reign.epoch, attachment, identities }),
        );
    }

    /// The target remembers the identities: nothing is missing there any more.
    pub(crate) fn handle_remembered(&mut self, core: &mut Core, from: ServerId, answer: &Remembered) {
        let unix_ms = core.unix_ms();
        let Some(reign) = &mut self.reign else {
            return;
        };
        let Some(mover) = reign.mover.as_mut().filter(|mover| mover.to == from) else {
            return;
        };
        let (Step::Remembering { .. }, Link::Attached(attached)) = (&mover.step, &mover.link) else {
            return;
        };
        if attached.attachment != answer.attachment {
            return;
        }
        if let Some(refusal) = answer.refusal {
            self.handle_remember_refused(core, answer.attachment, refusal);
            return;
        }
        if attached.current != Regions::ALL || mover.abort {
            mover.step = Step::Copying { propose_at: core.now };
            self.continue_move(core);
            return;
        }
        let made =
            core.view.as_ref().map(|view| propose_move(view, core.actor(), self.id, reign.epoch, unix_ms));
        match made {
            Some(Ok(txn)) => {
                mover.report(core, MoveStage::Proposing, None);
                let ticket = core.transact(TxnFor::Propose { extent: self.id }, txn);
                mover.step = Step::Proposing { ticket };
            }
            // The view has moved on; it will be looked at in this very call, or the move cannot be.
            _ => mover.step = Step::Copying { propose_at: core.now + PROPOSE_AGAIN_AFTER },
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
                self.detach_target(core);
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
