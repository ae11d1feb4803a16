//! COMPARE AND WRITE (SBC-3 clause 5.2): one atomic step, which cluster file systems build their locks on.

use crate::cdb::{Cdb, invalid_byte};
use crate::command::{BlockCommand, DataOutCommand, DataOutKind, Decoded, Response};
use crate::limits::COMPARE_AND_WRITE_BLOCKS_MAX;
use crate::logical_unit::LogicalUnit;
use crate::nexus::NexusState;
use crate::sense::{AdditionalSense, Sense};
use bytes::Bytes;
use evenkeel_types::{BlockOp, ByteRange};

const COUNT_FIELD: u16 = 13;

pub(crate) fn compare_and_write(
    unit: &LogicalUnit,
    _: &mut NexusState,
    cdb: Cdb<'_>,
) -> Result<Decoded, Sense> {
    let (lba, count) = (cdb.u64(2), cdb.u8(COUNT_FIELD.into()));
    if !unit.geometry().contains(lba, count.into()) {
        return Err(Sense::illegal_request(AdditionalSense::LBA_OUT_OF_RANGE));
    }
    if count > COMPARE_AND_WRITE_BLOCKS_MAX {
        return Err(invalid_byte(COUNT_FIELD));
    }
    let at = unit.geometry().byte_range(lba, count.into());
    // The blocks to compare with come first, those to write after them.
    let len = 2 * at.len;
    Ok(Decoded::NeedsData { len, then: DataOutCommand { kind: DataOutKind::CompareAndWrite { at }, len } })
}

/// The end of a command without blocks: nothing to do, and no error. A NUMBER OF LOGICAL BLOCKS of zero with data is
/// refused: that initiator means a number that its one byte cannot hold, and must not believe that its lock is taken.
pub(crate) fn no_blocks(announced: u32) -> Result<Decoded, Sense> {
    if announced > 0 { Err(invalid_byte(COUNT_FIELD)) } else { Ok(Response::good().into()) }
}

pub(crate) fn with_data(at: ByteRange, data: &Bytes) -> Decoded {
    let half = at.len as usize;
    let (expected, data) = (data.slice(..half), data.slice(half..));
    Decoded::Block(BlockCommand::one(BlockOp::CompareAndWrite { at, expected, data }))
}

#[cfg(test)]
mod tests;
