//! Writes that begin or end within a block: the owner puts the rest of the block to them, under the range lock.

use crate::core::{Core, Pending};
use crate::extent::Extent;
use crate::operation::Stage;
use crate::slots::Key;
use evenkeel_peer::PieceOp;
use evenkeel_types::geometry::BLOCK_BYTES;
use evenkeel_types::store_op::{Content, StoreOp};
use evenkeel_types::{AlignedBuf, BlockRange, ByteRange, Bytes};

const FIRST: u8 = 0;
const LAST: u8 = 1;

/// Asks the store for the first and the last block, as far as the write covers them only in part.
pub(super) fn read_edges(core: &mut Core, key: Key) {
    let Some(operation) = core.operations.get_mut(key) else {
        return;
    };
    let (extent, blocks, at) = (operation.extent, operation.blocks, operation.op.range());
    let single = blocks.count == 1;
    let first = !at.offset.is_multiple_of(u64::from(BLOCK_BYTES)) || single;
    let last = !at.end().is_multiple_of(u64::from(BLOCK_BYTES)) && !single;
    operation.stage = Stage::Reading { left: u8::from(first) + u8::from(last), old: [None, None] };
    let block = |number| BlockRange { first: number, count: 1 };
    if first {
        let op = StoreOp::Read { extent, blocks: block(blocks.first) };
        core.store(Pending::Read { operation: key, part: FIRST }, op);
    }
    if last {
        let op = StoreOp::Read { extent, blocks: block(blocks.end() - 1) };
        core.store(Pending::Read { operation: key, part: LAST }, op);
    }
}

impl Extent {
    /// A block at an edge came.
    pub(crate) fn handle_edge(&mut self, core: &mut Core, key: Key, part: u8, block: Bytes) {
        let Some(operation) = core.operations.get_mut(key) else {
            return;
        };
        let Stage::Reading { left, old } = &mut operation.stage else {
            return;
        };
        old[usize::from(part)] = Some(block);
        *left -= 1;
        if *left > 0 {
            return;
        }
        let [first, last] = std::mem::take(old);
        let PieceOp::Write { at, data } = &operation.op else {
            return;
        };
        let merged = merge(*at, operation.blocks, data, first.as_deref(), last.as_deref());
        self.block(core, key, Content::Data(merged));
    }
}

/// The whole blocks that a write of part of them leaves.
pub(super) fn merge(
    at: ByteRange,
    blocks: BlockRange,
    data: &[u8],
    first: Option<&[u8]>,
    last: Option<&[u8]>,
) -> Bytes {
    let block_len = BLOCK_BYTES as usize;
    let mut merged = AlignedBuf::zeroed(blocks.len_bytes() as usize);
    if let Some(first) = first {
        merged[..block_len].copy_from_slice(first);
    }
    if let Some(last) = last {
        let start = merged.len() - block_len;
        merged[start..].copy_from_slice(last);
    }
    let start = (at.offset - blocks.bytes().offset) as usize;
    merged[start..start + data.len()].copy_from_slice(data);
    merged.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_inside_one_block_keeps_what_is_around_it() {
        let at = ByteRange::new(4096 + 512, 512);
        let merged = merge(at, at.touched_blocks(), &[2; 512], Some(&[1; 4096]), None);
        assert_eq!(merged.len(), 4096);
        assert!(merged[..512].iter().chain(&merged[1024..]).all(|byte| *byte == 1));
        assert!(merged[512..1024].iter().all(|byte| *byte == 2));
    }

    #[test]
    fn a_write_over_blocks_keeps_both_edges() {
        let at = ByteRange::new(512, 8192);
        let merged = merge(at, at.touched_blocks(), &[2; 8192], Some(&[1; 4096]), Some(&[3; 4096]));
        assert_eq!(merged.len(), 3 * 4096);
        assert!(merged[..512].iter().all(|byte| *byte == 1));
        assert!(merged[512..8704].iter().all(|byte| *byte == 2));
        assert!(merged[8704..].iter().all(|byte| *byte == 3));
    }
}
