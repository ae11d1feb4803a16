//! WRITE SAME of 10 and 16 bytes (SBC-3 clauses 5.43 and 5.44).
//!
//! With UNMAP the range is cleared and its space given back, whatever the block holds. SBC-3 would have a device whose
//! unmapped blocks read as zeros (LBPRZ) write any other block out; but the initiator asked for unmapping, the targets
//! that initiators are made for (LIO, tgt) unmap, and conformance suites expect zeros to be read afterwards.
//!
//! Without UNMAP a block of zeros does the same, as nobody can see the difference. Any other block is written to
//! every block of the range.

use crate::cdb::{Cdb, invalid_byte};
use crate::command::{BlockCommand, DataOutCommand, DataOutKind, Decoded};
use crate::limits::{PATTERN_OP_BYTES_MAX, WRITE_SAME_BYTES_MAX};
use crate::logical_unit::LogicalUnit;
use crate::nexus::NexusState;
use crate::sense::{AdditionalSense, Sense};
use bytes::Bytes;
use evenkeel_types::geometry::BLOCK_BYTES;
use evenkeel_types::{AlignedBuf, BlockOp, ByteRange};

const UNMAP_BIT: u8 = 3;
const NDOB_BIT: u8 = 0;

pub(crate) fn write_same_10(unit: &LogicalUnit, _: &mut NexusState, cdb: Cdb<'_>) -> Result<Decoded, Sense> {
    let at = check(unit, cdb.u32(2).into(), cdb.u16(7).into(), 7)?;
    Ok(needs_one_block(unit, at, cdb.bit(1, UNMAP_BIT)))
}

pub(crate) fn write_same_16(unit: &LogicalUnit, _: &mut NexusState, cdb: Cdb<'_>) -> Result<Decoded, Sense> {
    let at = check(unit, cdb.u64(2), cdb.u32(10), 10)?;
    if cdb.bit(1, NDOB_BIT) {
        return Ok(Decoded::Block(BlockCommand::one(BlockOp::Zero { at })));
    }
    Ok(needs_one_block(unit, at, cdb.bit(1, UNMAP_BIT)))
}

/// The bytes of the blocks, if they exist and are not too many; `count` zero means all blocks from `lba` on
/// (WSNZ is zero).
fn check(unit: &LogicalUnit, lba: u64, count: u32, count_field: u16) -> Result<ByteRange, Sense> {
    let geometry = unit.geometry();
    let count = match count {
        0 => geometry.blocks.saturating_sub(lba),
        count => count.into(),
    };
    if count == 0 || !geometry.contains(lba, count) {
        return Err(Sense::illegal_request(AdditionalSense::LBA_OUT_OF_RANGE));
    }
    let count = u32::try_from(count).ok().filter(|count| *count <= geometry.blocks_in(WRITE_SAME_BYTES_MAX));
    Ok(geometry.byte_range(lba, count.ok_or_else(|| invalid_byte(count_field))?))
}

fn needs_one_block(unit: &LogicalUnit, at: ByteRange, unmap: bool) -> Decoded {
    let len = unit.block_bytes();
    Decoded::NeedsData { len, then: DataOutCommand { kind: DataOutKind::WriteSame { at, unmap }, len } }
}

pub(crate) fn with_data(at: ByteRange, unmap: bool, block: &Bytes) -> Decoded {
    if unmap || block.iter().all(|byte| *byte == 0) {
        return Decoded::Block(BlockCommand::one(BlockOp::Zero { at }));
    }
    let pattern = repeat(block, at.offset, at.len.min(PATTERN_OP_BYTES_MAX));
    let ops = (0..at.len.div_ceil(PATTERN_OP_BYTES_MAX))
        .map(|index| {
            let done = index * PATTERN_OP_BYTES_MAX;
            let len = (at.len - done).min(PATTERN_OP_BYTES_MAX);
            let at = ByteRange::new(at.offset + u64::from(done), len);
            BlockOp::Write { at, data: pattern.slice(..len as usize) }
        })
        .collect();
    Decoded::Block(BlockCommand { ops, expected_data_in: 0 })
}

/// `len` bytes of the block over and over, in memory as far from a multiple of 4096 as `offset` is. Operations
/// that are a multiple of 4096 apart can share them.
fn repeat(block: &[u8], offset: u64, len: u32) -> Bytes {
    let lead = (offset % u64::from(BLOCK_BYTES)) as usize;
    let mut buf = AlignedBuf::zeroed(lead + len as usize);
    buf[lead..].chunks_exact_mut(block.len()).for_each(|place| place.copy_from_slice(block));
    buf.freeze().slice(lead..)
}

#[cfg(test)]
mod tests;
