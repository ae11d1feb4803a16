//! GET LBA STATUS (SBC-3 clause 5.4).
//!
//! The answer is one descriptor from the address asked for to the end, "mapped or unknown". That is true of every
//! block, costs no look at the owners of the extents, and tells initiators to read: a block that was never written is
//! read as zeros without touching a disk. An initiator that asks range by range asks once.

use crate::cdb::Cdb;
use crate::command::{Decoded, Response};
use crate::logical_unit::LogicalUnit;
use crate::nexus::NexusState;
use crate::sense::{AdditionalSense, Sense};
use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes, KnownLayout, Unaligned};

/// GET LBA STATUS parameter data with one descriptor.
#[derive(IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct LbaStatus {
    data_length: U32,
    reserved: [u8; 4],
    lba: U64,
    blocks: U32,
    provisioning_status: u8,
    reserved_too: [u8; 3],
}
const _: () = assert!(size_of::<LbaStatus>() == 24);

/// PROVISIONING STATUS: mapped, or not known.
const MAPPED_OR_UNKNOWN: u8 = 0;

pub(crate) fn get_lba_status(unit: &LogicalUnit, _: &mut NexusState, cdb: Cdb<'_>) -> Result<Decoded, Sense> {
    let lba = cdb.u64(2);
    if !unit.geometry().contains(lba, 1) {
        return Err(Sense::illegal_request(AdditionalSense::LBA_OUT_OF_RANGE));
    }
    let data = LbaStatus {
        // PARAMETER DATA LENGTH counts what is behind it.
        data_length: (size_of::<LbaStatus>() as u32 - 4).into(),
        reserved: [0; 4],
        lba: lba.into(),
        blocks: u32::try_from(unit.blocks() - lba).unwrap_or(u32::MAX).into(),
        provisioning_status: MAPPED_OR_UNKNOWN,
        reserved_too: [0; 3],
    };
    Ok(Response::truncated(data.as_bytes().to_vec(), cdb.u32(10)).into())
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{BLOCKS, assert_refused, config, decode, good_data, unit};
    use crate::logical_unit::{LogicalUnit, LunConfig};
    use crate::sense::AdditionalSense;

    fn cdb(lba: u64, allocation_length: u32) -> Vec<u8> {
        [&[0x9e, 0x12], &lba.to_be_bytes()[..], &allocation_length.to_be_bytes(), &[0, 0]].concat()
    }

    #[test]
    fn one_descriptor_reaches_from_the_address_to_the_end() {
        for lba in [0, 1, BLOCKS - 1] {
            let data = good_data(decode(&unit(), &cdb(lba, 64)));
            assert_eq!(data[..8], [0, 0, 0, 20, 0, 0, 0, 0]);
            assert_eq!(data[8..16], lba.to_be_bytes());
            assert_eq!(data[16..20], ((BLOCKS - lba) as u32).to_be_bytes());
            assert_eq!(data[20..], [0; 4]);
        }
        assert_eq!(good_data(decode(&unit(), &cdb(0, 7))).len(), 7);
    }

    #[test]
    fn more_blocks_than_the_field_can_tell_are_told_as_its_greatest_value() {
        let unit = LogicalUnit::new(LunConfig { capacity_bytes: 3 << 40, ..config() }).unwrap();
        assert_eq!(good_data(decode(&unit, &cdb(0, 24)))[16..20], [0xff; 4]);
        let near_the_end = good_data(decode(&unit, &cdb(unit.blocks() - 5, 24)));
        assert_eq!(near_the_end[16..20], [0, 0, 0, 5]);
    }

    #[test]
    fn an_address_behind_the_end_is_refused() {
        for lba in [BLOCKS, BLOCKS + 1, 1 << 63, u64::MAX] {
            assert_refused(decode(&unit(), &cdb(lba, 24)), AdditionalSense::LBA_OUT_OF_RANGE);
        }
    }
}
