//! SYNCHRONIZE CACHE of 10 and 16 bytes (SBC-3 clauses 5.26 and 5.27). There is no volatile cache, so the
//! operation that it becomes ends at once; IMMED and SYNC_NV change nothing.

use crate::cdb::Cdb;
use crate::command::{BlockCommand, Decoded};
use crate::logical_unit::LogicalUnit;
use crate::nexus::NexusState;
use crate::sense::{AdditionalSense, Sense};
use evenkeel_types::BlockOp;

pub(crate) fn synchronize_cache_10(
    unit: &LogicalUnit,
    _: &mut NexusState,
    cdb: Cdb<'_>,
) -> Result<Decoded, Sense> {
    synchronize(unit, cdb.u32(2).into(), cdb.u16(7).into())
}

pub(crate) fn synchronize_cache_16(
    unit: &LogicalUnit,
    _: &mut NexusState,
    cdb: Cdb<'_>,
) -> Result<Decoded, Sense> {
    synchronize(unit, cdb.u64(2), cdb.u32(10))
}

/// `count` zero means all blocks from `lba` on.
fn synchronize(unit: &LogicalUnit, lba: u64, count: u32) -> Result<Decoded, Sense> {
    if !unit.geometry().contains(lba, count.into()) {
        return Err(Sense::illegal_request(AdditionalSense::LBA_OUT_OF_RANGE));
    }
    Ok(Decoded::Block(BlockCommand::one(BlockOp::Flush)))
}
