//! READ CAPACITY of 10 and 16 bytes (SBC-3 clauses 5.15 and 5.16).

use crate::cdb::Cdb;
use crate::command::{Decoded, Response};
use crate::logical_unit::LogicalUnit;
use crate::nexus::NexusState;
use crate::sense::Sense;
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// READ CAPACITY(10) parameter data.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Capacity10 {
    pub(crate) last_lba: U32,
    pub(crate) block_bytes: U32,
}
const _: () = assert!(size_of::<Capacity10>() == 8);

/// READ CAPACITY(16) parameter data.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Capacity16 {
    pub(crate) last_lba: U64,
    pub(crate) block_bytes: U32,
    pub(crate) protection: u8,
    pub(crate) per_physical_exponent: u8,
    pub(crate) provisioning_and_lowest_aligned_lba: U16,
    pub(crate) reserved: [u8; 16],
}
const _: () = assert!(size_of::<Capacity16>() == 32);

/// LBPME: thin provisioned.
pub(crate) const PROVISIONING_MANAGED: u16 = 0x8000;
/// LBPRZ: unmapped blocks read as zeros.
pub(crate) const UNMAPPED_READ_AS_ZEROS: u16 = 0x4000;

pub(crate) fn read_capacity_10(unit: &LogicalUnit, _: &mut NexusState, _: Cdb<'_>) -> Result<Decoded, Sense> {
    // All ones tell the initiator to ask with READ CAPACITY(16).
    let last_lba = u32::try_from(unit.geometry().last_lba()).unwrap_or(u32::MAX);
    let data = Capacity10 { last_lba: last_lba.into(), block_bytes: unit.block_bytes().into() };
    Ok(Response::truncated(data.as_bytes().to_vec(), u32::MAX).into())
}

pub(crate) fn read_capacity_16(
    unit: &LogicalUnit,
    _: &mut NexusState,
    cdb: Cdb<'_>,
) -> Result<Decoded, Sense> {
    let geometry = unit.geometry();
    let data = Capacity16 {
        last_lba: geometry.last_lba().into(),
        block_bytes: unit.block_bytes().into(),
        protection: 0,
        per_physical_exponent: geometry.block.per_physical_exponent(),
        provisioning_and_lowest_aligned_lba: (PROVISIONING_MANAGED | UNMAPPED_READ_AS_ZEROS).into(),
        reserved: [0; 16],
    };
    Ok(Response::truncated(data.as_bytes().to_vec(), cdb.u32(10)).into())
}

#[cfg(test)]
mod tests;
