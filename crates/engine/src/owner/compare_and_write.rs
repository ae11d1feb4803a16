//! Compare-and-write: one atomic step, because the block is locked from before it is read until the write is durable.

use super::merge::merge;
use crate::core::Core;
use crate::extent::Extent;
use crate::operation::Stage;
use crate::slots::Key;
use evenkeel_peer::{PieceOp, ReplyOutcome};
use evenkeel_types::Bytes;
use evenkeel_types::geometry::BLOCK_BYTES;
use evenkeel_types::store_op::Content;

impl Extent {
    /// The block came: compares, and goes on to write only if it is what the initiator expects.
    pub(crate) fn handle_compare(&mut self, core: &mut Core, key: Key, block: &Bytes) {
        let Some(operation) = core.operations.get_mut(key) else {
            return;
        };
        let PieceOp::CompareAndWrite { at, expected, data } = &operation.op else {
            return;
        };
        let start = (at.offset % u64::from(BLOCK_BYTES)) as usize;
        let found = &block[start..start + expected.len()];
        if let Some(offset) = found.iter().zip(expected).position(|(found, expected)| found != expected) {
            // To say what is there is a read: it needs the lease.
            operation.stage = Stage::Leasing { outcome: ReplyOutcome::Miscompare { offset: offset as u32 } };
            self.answer_read(core, key);
            return;
        }
        let merged = merge(*at, operation.blocks, data, Some(block), None);
        self.block(core, key, Content::Data(merged));
    }
}
