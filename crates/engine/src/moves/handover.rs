//! What becomes of a move when the reign ends.

use super::{Link, Step};
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
        let Some(mover) = &mut reign.mover else {
            return;
        };
        // Only what a Propose brought about can make another server owner: it was decided for the target.
        if mover.is_required() {
            mover.step = Step::Decided;
            mover.report(core, MoveStage::HandingOver, None);
        }
        if let Link::Attached(attached) = &mut mover.link {
            attached.copies.clear();
        }
        reign.held = reign.broken;
    }

    /// The reign is over, and with it this server's part in the move.
    pub(crate) fn end_move_of_reign(&mut self, core: &mut Core) {
        let Some(mut mover) = self.reign.as_mut().and_then(|reign| reign.mover.take()) else {
            return;
        };
        core.moving.remove(&self.id);
        if matches!(mover.step, Step::Decided) && !core.is_deleted(self.id) {
            core.counters.moves_done += 1;
            mover.report(core, MoveStage::Released, None);
        } else {
            core.counters.moves_aborted += 1;
            mover.report(core, MoveStage::Aborted, Some("this server is not the owner any more"));
        }
    }
}
