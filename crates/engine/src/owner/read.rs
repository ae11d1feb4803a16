//! Reads.

use super::Phase;
use crate::core::Core;
use crate::extent::Extent;
use crate::operation::Stage;
use crate::slots::Key;
use evenkeel_peer::ReplyOutcome;
use evenkeel_types::Payload;
use evenkeel_types::geometry::BLOCK_BYTES;

impl Extent {
    /// The blocks of a read came; the lease is looked at only now, just before the answer leaves.
    pub(crate) fn handle_read(&mut self, core: &mut Core, key: Key, blocks: &Payload) {
        let Some(operation) = core.operations.get_mut(key) else {
            return;
        };
        let at = operation.op.range();
        let start = (at.offset % u64::from(BLOCK_BYTES)) as usize;
        let data = blocks.slice(start, at.len as usize);
        assert_eq!(data.len(), at.len as usize, "a store answers a read with all blocks asked for");
        operation.stage = Stage::Leasing { outcome: ReplyOutcome::Done { data } };
        self.answer_read(core, key);
    }

    /// Tells what was read if the lease is good, else leaves it for when it is.
    pub(crate) fn answer_read(&mut self, core: &mut Core, key: Key) {
        let Some(reign) = &mut self.reign else {
            return;
        };
        let good = reign.has_leases(core);
        if !good && reign.phase != Phase::Draining {
            if !reign.blocked.contains(&key) {
                core.counters.reads_waited_for_lease += 1;
                core.awaiting_lease.insert(self.id);
                reign.blocked.push_back(key);
            }
            return;
        }
        let epoch = self.successor_epoch(core);
        let Some(operation) = core.operations.get_mut(key) else {
            return;
        };
        let Stage::Leasing { outcome } = &mut operation.stage else {
            return;
        };
        let outcome =
            if good { std::mem::replace(outcome, ReplyOutcome::Busy) } else { ReplyOutcome::Moved { epoch } };
        self.finish(core, key, outcome);
    }
}
