//! UNMAP (SBC-3 clause 5.28). Every descriptor is checked before the first block is touched.

use crate::cdb::Cdb;
use crate::command::{BlockCommand, DataOutCommand, DataOutKind, Decoded, Response};
use crate::limits::{BLOCK_OPS_MAX, UNMAP_BYTES_MAX, UNMAP_DESCRIPTORS_MAX, ZERO_OP_BYTES_MAX};
use crate::logical_unit::LogicalUnit;
use crate::nexus::NexusState;
use crate::sense::{AdditionalSense, Sense};
use evenkeel_types::{BlockOp, ByteRange};
use smallvec::SmallVec;
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Head of an UNMAP parameter list.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ParameterListHeader {
    pub(crate) data_length: U16,
    pub(crate) block_descriptor_data_length: U16,
    pub(crate) reserved: [u8; 4],
}
const _: () = assert!(size_of::<ParameterListHeader>() == 8);

/// UNMAP block descriptor.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct BlockDescriptor {
    pub(crate) lba: U64,
    pub(crate) count: U32,
    pub(crate) reserved: [u8; 4],
}
const _: () = assert!(size_of::<BlockDescriptor>() == 16);

/// Where BLOCK DESCRIPTOR DATA LENGTH is in the parameter list.
const DESCRIPTORS_LENGTH_FIELD: u16 = 2;
/// Where the count is in a descriptor.
const COUNT_IN_DESCRIPTOR: usize = 8;

pub(crate) fn unmap(_: &LogicalUnit, _: &mut NexusState, cdb: Cdb<'_>) -> Result<Decoded, Sense> {
    let len = u32::from(cdb.u16(7));
    match len as usize {
        0 => Ok(Response::good().into()),
        short if short < size_of::<ParameterListHeader>() => Err(length_error()),
        _ => Ok(Decoded::NeedsData { len, then: DataOutCommand { kind: DataOutKind::Unmap, len } }),
    }
}

const fn length_error() -> Sense {
    Sense::illegal_request(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR)
}

pub(crate) fn with_data(unit: &LogicalUnit, list: &[u8]) -> Result<Decoded, Sense> {
    let ranges = checked_ranges(unit, descriptors(list)?)?;
    if ranges.is_empty() {
        return Ok(Response::good().into());
    }
    let ops: SmallVec<[BlockOp; 1]> = ranges.into_iter().flat_map(ops_of).collect();
    assert!(ops.len() <= BLOCK_OPS_MAX, "{} operations in one command", ops.len());
    Ok(Decoded::Block(BlockCommand { ops, expected_data_in: 0 }))
}

/// The whole descriptors of a parameter list; an incomplete one at the end is ignored.
fn descriptors(list: &[u8]) -> Result<&[BlockDescriptor], Sense> {
    let (header, rest) = ParameterListHeader::ref_from_prefix(list).map_err(|_| length_error())?;
    let len = usize::from(header.block_descriptor_data_length.get());
    let bytes = rest.get(..len).ok_or_else(length_error)?;
    let count = len / size_of::<BlockDescriptor>();
    if count > UNMAP_DESCRIPTORS_MAX {
        return Err(Sense::invalid_field_in_parameter_list(DESCRIPTORS_LENGTH_FIELD));
    }
    let (descriptors, _) = <[BlockDescriptor]>::ref_from_prefix_with_elems(bytes, count)
        .expect("descriptors are unaligned and the bytes are enough");
    Ok(descriptors)
}

/// What the descriptors name, as far as it is not empty, with neighbours in the list joined.
fn checked_ranges(unit: &LogicalUnit, descriptors: &[BlockDescriptor]) -> Result<Vec<ByteRange>, Sense> {
    let geometry = unit.geometry();
    let mut left = geometry.blocks_in(UNMAP_BYTES_MAX);
    let mut ranges: Vec<ByteRange> = Vec::with_capacity(descriptors.len());
    for (index, descriptor) in descriptors.iter().enumerate() {
        let (lba, count) = (descriptor.lba.get(), descriptor.count.get());
        if !geometry.contains(lba, count.into()) {
            return Err(Sense::illegal_request(AdditionalSense::LBA_OUT_OF_RANGE));
        }
        left = left.checked_sub(count).ok_or_else(|| too_many_blocks(index))?;
        let at = geometry.byte_range(lba, count);
        match ranges.last_mut() {
            _ if count == 0 => {}
            Some(last) if last.end() == at.offset => last.len += at.len,
            _ => ranges.push(at),
        }
    }
    Ok(ranges)
}

/// The descriptor at `index` goes beyond what one command may clear.
const fn too_many_blocks(index: usize) -> Sense {
    let descriptor = size_of::<ParameterListHeader>() + index * size_of::<BlockDescriptor>();
    Sense::invalid_field_in_parameter_list((descriptor + COUNT_IN_DESCRIPTOR) as u16)
}

/// A range in pieces that one operation may clear.
fn ops_of(range: ByteRange) -> impl Iterator<Item = BlockOp> {
    (0..range.len.div_ceil(ZERO_OP_BYTES_MAX)).map(move |index| {
        let done = index * ZERO_OP_BYTES_MAX;
        let at = ByteRange::new(range.offset + u64::from(done), (range.len - done).min(ZERO_OP_BYTES_MAX));
        BlockOp::Zero { at }
    })
}

#[cfg(test)]
mod tests;
