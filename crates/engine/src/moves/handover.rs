//! What becomes of a move when the reign ends.

use super::Step;
use crate::core::Core;
use crate::event::MoveStage;
use crate::extent::Extent;

impl Extent {
    /// The reign begins to drain: copies in motion are over, and if the directory decided for the target, that is the
    /// outcome of the move. The target stays required for whatever is still executed.
    pub(crate) fn settle_move(&mut self, core: &mut Core) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        for attached in reign.links.iter_mut().filter_map(|link| link.attached_mut()) {
            attached.copies.clear();
        }
        // Only what a Propose brought about can put the target in this server's place.
        let successor = self.promise.as_ref().map(|promise| promise.to);
        let replaced = core.route(self.id).filter(|route| route.intent.is_none());
        if let Some(mover) = reign.mover.as_mut().filter(|mover| mover.is_required())
            && (successor == Some(mover.to)
                || replaced.is_some_and(|route| route.replicas.contains(&mover.to)))
        {
            mover.step = Step::Decided;
            reign.report_move(core, MoveStage::HandingOver, None);
        }
    }

    /// The reign is over, and with it this server's part in the move.
    pub(crate) fn end_move_of_reign(&mut self, core: &mut Core) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        let Some(mover) = &reign.mover else {
            return;
        };
        core.moving.remove(&self.id);
        if matches!(mover.step, Step::Decided) && !core.is_deleted(self.id) {
            core.counters.moves_done += 1;
            reign.report_move(core, MoveStage::Released, None);
        } else {
            core.counters.moves_aborted += 1;
            reign.report_move(core, MoveStage::Aborted, Some("this server is not the owner any more"));
        }
        reign.mover = None;
    }
}
