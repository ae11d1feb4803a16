//! Giving a copy up.

use super::CopyPart;
use crate::core::{Core, Pending};
use crate::event::EngineEvent;
use crate::extent::Extent;
use evenkeel_meta::Route;
use evenkeel_types::store_op::{StoreOp, StoreOutcome};

impl Extent {
    /// Whether nothing here needs the copy at this moment: no reign, no owner that counts on it, no request that resolved
    /// here.
    fn is_unused(&self) -> bool {
        let waiting = self.waiting.len() as u32;
        self.reign.is_none()
            && matches!(self.copy, CopyPart::None)
            && self.promise.is_none()
            && self.pins == waiting
            && !self.releasing
    }

    /// Frees the copy if the view allows it: it is not older than what was accepted here, and names this server neither
    /// replica nor target.
    pub(crate) fn consider_release(&mut self, core: &mut Core, route: &Route) {
        if self.may_hold && self.is_unused() && !route.names(core.me()) && route.epoch >= self.fence() {
            self.releasing = true;
            core.store(Pending::Release { extent: self.id }, StoreOp::Free { extent: self.id });
        }
    }

    /// Removes the record of an extent whose volume was deleted for ever.
    pub(crate) fn consider_forgetting(&mut self, core: &mut Core) {
        if self.may_hold && self.is_unused() {
            self.releasing = true;
            core.store(Pending::Release { extent: self.id }, StoreOp::Forget { extent: self.id });
        }
    }

    /// The store has given the copy up.
    pub(crate) fn handle_released(&mut self, core: &mut Core, outcome: &StoreOutcome) {
        self.releasing = false;
        self.may_hold = false;
        if outcome.is_ok() {
            core.counters.freed += 1;
            core.event(EngineEvent::Freed { extent: self.id });
        }
        core.wake(self.id);
    }
}
