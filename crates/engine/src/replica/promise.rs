//! Letting go of an extent: the promise to its next owner.

use crate::core::{Core, Pending};
use crate::extent::Extent;
use evenkeel_peer::{AttachRefused, Attached, Message, Refusal};
use evenkeel_types::Regions;
use evenkeel_types::store_op::{StoreError, StoreOp, StoreOutcome};
use smallvec::SmallVec;

impl Extent {
    /// Goes on with a promise once the reign here is over: the successor's epoch is accepted durably. What this server
    /// holds stays as it is; if it was freed already, no record comes to life again.
    pub(crate) fn progress_promise(&mut self, core: &mut Core) {
        let Some(promise) = &mut self.promise else {
            return;
        };
        if self.reign.is_some() || promise.submitted {
            return;
        }
        promise.submitted = true;
        let op = StoreOp::Accept {
            extent: self.id,
            epoch: promise.epoch,
            replicas: SmallVec::from_slice(&promise.replicas),
            live: false,
            reserve_all: false,
            forget_below: Vec::new(),
        };
        let attachment = promise.attachment;
        core.store(Pending::Promise { extent: self.id, attachment }, op);
    }

    /// The epoch is accepted, or a higher one was.
    pub(crate) fn handle_promised(&mut self, core: &mut Core, attachment: u64, outcome: &StoreOutcome) {
        let Some(promise) = self.promise.take_if(|promise| promise.attachment == attachment) else {
            return;
        };
        let message = match outcome {
            Ok(_) => {
                self.accepted = self.accepted.max(promise.epoch);
                let (extent, epoch) = (self.id, promise.epoch);
                let (versions, space) = (Vec::new(), Regions::NONE);
                Message::Attached(Attached { extent, epoch, attachment, versions, space })
            }
            Err(error) => {
                let refusal = match error {
                    StoreError::StaleEpoch { accepted } => {
                        self.accepted = self.accepted.max(*accepted);
                        Refusal::Stale { known: *accepted }
                    }
                    _ => Refusal::Stopped,
                };
                Message::AttachRefused(AttachRefused { extent: self.id, attachment, refusal })
            }
        };
        core.answer(promise.to, promise.session, message);
        core.wake(self.id);
    }
}
