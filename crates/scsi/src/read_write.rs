//! READ and WRITE of 6, 10, 12 and 16 bytes (SBC-3 clauses 5.8 to 5.11 and 5.32 to 5.35).

use crate::cdb::{Cdb, invalid_byte};
use crate::command::{BlockCommand, DataOutCommand, DataOutKind, Decoded, Response};
use crate::limits::TRANSFER_BYTES_MAX;
use crate::logical_unit::LogicalUnit;
use crate::nexus::NexusState;
use crate::sense::{AdditionalSense, Sense};
use evenkeel_types::{BlockOp, ByteRange};

type Handled = Result<Decoded, Sense>;

/// The blocks that a command names, and where its CDB says how many.
struct Blocks {
    lba: u64,
    count: u32,
    count_field: u16,
}

impl Blocks {
    fn of_6(cdb: Cdb<'_>) -> Self {
        // A TRANSFER LENGTH of zero means 256 blocks, in the six-byte commands alone.
        let count = match cdb.u8(4) {
            0 => 256,
            count => count.into(),
        };
        Self { lba: (cdb.u24(1) & 0x1f_ffff).into(), count, count_field: 4 }
    }

    fn of_10(cdb: Cdb<'_>) -> Self {
        Self { lba: cdb.u32(2).into(), count: cdb.u16(7).into(), count_field: 7 }
    }

    fn of_12(cdb: Cdb<'_>) -> Self {
        Self { lba: cdb.u32(2).into(), count: cdb.u32(6), count_field: 6 }
    }

    fn of_16(cdb: Cdb<'_>) -> Self {
        Self { lba: cdb.u64(2), count: cdb.u32(10), count_field: 10 }
    }

    /// The bytes of the blocks, if they exist and are not too many.
    fn check(&self, unit: &LogicalUnit) -> Result<ByteRange, Sense> {
        let geometry = unit.geometry();
        if !geometry.contains(self.lba, self.count.into()) {
            return Err(Sense::illegal_request(AdditionalSense::LBA_OUT_OF_RANGE));
        }
        if self.count > geometry.blocks_in(TRANSFER_BYTES_MAX) {
            return Err(invalid_byte(self.count_field));
        }
        Ok(geometry.byte_range(self.lba, self.count))
    }

    fn read(&self, unit: &LogicalUnit) -> Handled {
        let at = self.check(unit)?;
        if at.len == 0 {
            return Ok(Response::good().into());
        }
        Ok(Decoded::Block(BlockCommand::one(BlockOp::Read { at })))
    }

    fn write(&self, unit: &LogicalUnit) -> Handled {
        let at = self.check(unit)?;
        if at.len == 0 {
            return Ok(Response::good().into());
        }
        Ok(Decoded::NeedsData {
            len: at.len,
            then: DataOutCommand { kind: DataOutKind::Write { at }, len: at.len },
        })
    }
}

pub(crate) fn read_6(unit: &LogicalUnit, _: &mut NexusState, cdb: Cdb<'_>) -> Handled {
    Blocks::of_6(cdb).read(unit)
}

pub(crate) fn read_10(unit: &LogicalUnit, _: &mut NexusState, cdb: Cdb<'_>) -> Handled {
    Blocks::of_10(cdb).read(unit)
}

pub(crate) fn read_12(unit: &LogicalUnit, _: &mut NexusState, cdb: Cdb<'_>) -> Handled {
    Blocks::of_12(cdb).read(unit)
}

pub(crate) fn read_16(unit: &LogicalUnit, _: &mut NexusState, cdb: Cdb<'_>) -> Handled {
    Blocks::of_16(cdb).read(unit)
}

pub(crate) fn write_6(unit: &LogicalUnit, _: &mut NexusState, cdb: Cdb<'_>) -> Handled {
    Blocks::of_6(cdb).write(unit)
}

pub(crate) fn write_10(unit: &LogicalUnit, _: &mut NexusState, cdb: Cdb<'_>) -> Handled {
    Blocks::of_10(cdb).write(unit)
}

pub(crate) fn write_12(unit: &LogicalUnit, _: &mut NexusState, cdb: Cdb<'_>) -> Handled {
    Blocks::of_12(cdb).write(unit)
}

pub(crate) fn write_16(unit: &LogicalUnit, _: &mut NexusState, cdb: Cdb<'_>) -> Handled {
    Blocks::of_16(cdb).write(unit)
}

#[cfg(test)]
mod tests;
