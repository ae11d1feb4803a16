//! Requests: a CDB, the data that goes with it, and how much is expected back.

use crate::capacity::{Capacity10, Capacity16};
use crate::limits::UNMAP_DESCRIPTORS_MAX;
use crate::opcodes::code;
use crate::sense::FIXED_SENSE_BYTES;
use crate::unmap::{BlockDescriptor, ParameterListHeader};
use bytes::Bytes;
use zerocopy::IntoBytes;

/// One command as an initiator sends it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The CDB, filled up with zeros.
    pub cdb: [u8; 16],
    /// Data to the logical unit; empty if there is none.
    pub data_out: Bytes,
    /// Bytes of data that the logical unit sends at most.
    pub data_in_len: u32,
}

impl Request {
    pub(super) fn without_data(cdb: [u8; 16]) -> Self {
        Self::data_in(cdb, 0)
    }

    pub(super) fn data_in(cdb: [u8; 16], data_in_len: u32) -> Self {
        Self { cdb, data_out: Bytes::new(), data_in_len }
    }

    pub(super) fn data_out(cdb: [u8; 16], data_out: Bytes) -> Self {
        Self { cdb, data_out, data_in_len: 0 }
    }
}

/// Fields of a CDB by their first byte.
pub(super) struct Builder(pub(super) [u8; 16]);

impl Builder {
    pub(super) fn new(opcode: u8) -> Self {
        let mut cdb = [0; 16];
        cdb[0] = opcode;
        Self(cdb)
    }

    fn put<const N: usize>(mut self, at: usize, field: [u8; N]) -> Self {
        self.0[at..at + N].copy_from_slice(&field);
        self
    }

    pub(super) fn u8(self, at: usize, field: u8) -> Self {
        self.put(at, [field])
    }

    pub(super) fn u16(self, at: usize, field: u16) -> Self {
        self.put(at, field.to_be_bytes())
    }

    pub(super) fn u32(self, at: usize, field: u32) -> Self {
        self.put(at, field.to_be_bytes())
    }

    fn u64(self, at: usize, field: u64) -> Self {
        self.put(at, field.to_be_bytes())
    }
}

/// TEST UNIT READY.
#[must_use]
pub fn test_unit_ready() -> Request {
    Request::without_data(Builder::new(code::TEST_UNIT_READY).0)
}

/// REQUEST SENSE, in fixed format.
#[must_use]
pub fn request_sense() -> Request {
    let len = FIXED_SENSE_BYTES as u8;
    Request::data_in(Builder::new(code::REQUEST_SENSE).u8(4, len).0, len.into())
}

/// INQUIRY for the standard data.
#[must_use]
pub fn inquiry(allocation_length: u16) -> Request {
    Request::data_in(Builder::new(code::INQUIRY).u16(3, allocation_length).0, allocation_length.into())
}

/// INQUIRY for a page of [`crate::vpd::code`].
#[must_use]
pub fn inquiry_page(page: u8, allocation_length: u16) -> Request {
    let cdb = Builder::new(code::INQUIRY).u8(1, 1).u8(2, page).u16(3, allocation_length).0;
    Request::data_in(cdb, allocation_length.into())
}

/// REPORT LUNS for all but well known logical units.
#[must_use]
pub fn report_luns(allocation_length: u32) -> Request {
    Request::data_in(Builder::new(code::REPORT_LUNS).u32(6, allocation_length).0, allocation_length)
}

/// READ CAPACITY(10).
#[must_use]
pub fn read_capacity_10() -> Request {
    Request::data_in(Builder::new(code::READ_CAPACITY_10).0, size_of::<Capacity10>() as u32)
}

/// READ CAPACITY(16).
#[must_use]
pub fn read_capacity_16() -> Request {
    let len = size_of::<Capacity16>() as u32;
    let cdb = Builder::new(code::SERVICE_ACTION_IN_16).u8(1, code::READ_CAPACITY_16).u32(10, len).0;
    Request::data_in(cdb, len)
}

/// MODE SENSE(6) for current values of a page of [`crate::mode::code`], without block descriptors.
#[must_use]
pub fn mode_sense_6(page: u8, allocation_length: u8) -> Request {
    let cdb = Builder::new(code::MODE_SENSE_6).u8(1, 0x08).u8(2, page).u8(4, allocation_length).0;
    Request::data_in(cdb, allocation_length.into())
}

/// READ(10) of `count` blocks.
///
/// # Panics
/// If the data is 4 GiB or more.
#[must_use]
pub fn read_10(lba: u32, count: u16, block_bytes: u32) -> Request {
    Request::data_in(
        Builder::new(code::READ_10).u32(2, lba).u16(7, count).0,
        data_len(count.into(), block_bytes),
    )
}

/// READ(16) of `count` blocks.
///
/// # Panics
/// If the data is 4 GiB or more.
#[must_use]
pub fn read_16(lba: u64, count: u32, block_bytes: u32) -> Request {
    Request::data_in(Builder::new(code::READ_16).u64(2, lba).u32(10, count).0, data_len(count, block_bytes))
}

/// WRITE(10) of whole blocks.
///
/// # Panics
/// If the data is not whole blocks, or more of them than fit in 16 bits.
#[must_use]
pub fn write_10(lba: u32, data: Bytes, block_bytes: u32) -> Request {
    let count = u16::try_from(count_of(&data, block_bytes)).expect("the caller keeps to the command's range");
    Request::data_out(Builder::new(code::WRITE_10).u32(2, lba).u16(7, count).0, data)
}

/// WRITE(16) of whole blocks.
///
/// # Panics
/// If the data is not whole blocks.
#[must_use]
pub fn write_16(lba: u64, data: Bytes, block_bytes: u32) -> Request {
    let count = count_of(&data, block_bytes);
    Request::data_out(Builder::new(code::WRITE_16).u64(2, lba).u32(10, count).0, data)
}

/// COMPARE AND WRITE: if the blocks are as expected, put others there of the same number.
///
/// # Panics
/// If the data is not whole blocks, at most 255, and as many as expected ones.
#[must_use]
pub fn compare_and_write(lba: u64, expected: &[u8], data: &[u8], block_bytes: u32) -> Request {
    assert_eq!(expected.len(), data.len(), "as many blocks are written as compared");
    let count = u8::try_from(count_of(data, block_bytes)).expect("the caller keeps to the command's range");
    let cdb = Builder::new(code::COMPARE_AND_WRITE).u64(2, lba).u8(13, count).0;
    Request::data_out(cdb, [expected, data].concat().into())
}

/// SYNCHRONIZE CACHE(10) for the whole logical unit.
#[must_use]
pub fn synchronize_cache_10() -> Request {
    Request::without_data(Builder::new(code::SYNCHRONIZE_CACHE_10).0)
}

/// SYNCHRONIZE CACHE(16) for `count` blocks, or for all from `lba` on if it is zero.
#[must_use]
pub fn synchronize_cache_16(lba: u64, count: u32) -> Request {
    Request::without_data(Builder::new(code::SYNCHRONIZE_CACHE_16).u64(2, lba).u32(10, count).0)
}

/// UNMAP of ranges of blocks: first block, number of blocks.
///
/// # Panics
/// If there are more than [`UNMAP_DESCRIPTORS_MAX`].
#[must_use]
pub fn unmap(ranges: &[(u64, u32)]) -> Request {
    assert!(ranges.len() <= UNMAP_DESCRIPTORS_MAX, "{} ranges in one UNMAP", ranges.len());
    let descriptors_len = (size_of::<BlockDescriptor>() * ranges.len()) as u16;
    let len = size_of::<ParameterListHeader>() as u16 + descriptors_len;
    let header = ParameterListHeader {
        data_length: (len - 2).into(),
        block_descriptor_data_length: descriptors_len.into(),
        reserved: [0; 4],
    };
    let mut list = header.as_bytes().to_vec();
    for (lba, count) in ranges {
        let descriptor = BlockDescriptor { lba: (*lba).into(), count: (*count).into(), reserved: [0; 4] };
        list.extend_from_slice(descriptor.as_bytes());
    }
    Request::data_out(Builder::new(code::UNMAP).u16(7, len).0, list.into())
}

/// WRITE SAME(10) of one block to `count` blocks, or to all from `lba` on if it is zero.
#[must_use]
pub fn write_same_10(lba: u32, count: u16, block: Bytes, unmap: bool) -> Request {
    let cdb = Builder::new(code::WRITE_SAME_10).u8(1, u8::from(unmap) << 3).u32(2, lba).u16(7, count).0;
    Request::data_out(cdb, block)
}

/// WRITE SAME(16) of one block, or of zeros that are not sent (NDOB) if it is empty, to `count` blocks, or to
/// all from
/// `lba` on if it is zero.
#[must_use]
pub fn write_same_16(lba: u64, count: u32, block: Bytes, unmap: bool) -> Request {
    let flags = u8::from(unmap) << 3 | u8::from(block.is_empty());
    Request::data_out(Builder::new(code::WRITE_SAME_16).u8(1, flags).u64(2, lba).u32(10, count).0, block)
}

/// REPORT SUPPORTED OPERATION CODES for all commands.
#[must_use]
pub fn report_supported_operation_codes(timeouts: bool, allocation_length: u32) -> Request {
    let cdb = Builder::new(code::MAINTENANCE_IN)
        .u8(1, code::REPORT_SUPPORTED_OPERATION_CODES)
        .u8(2, u8::from(timeouts) << 7)
        .u32(6, allocation_length)
        .0;
    Request::data_in(cdb, allocation_length)
}

fn data_len(count: u32, block_bytes: u32) -> u32 {
    count.checked_mul(block_bytes).expect("the caller asks for less than 4 GiB")
}

fn count_of(data: &[u8], block_bytes: u32) -> u32 {
    assert!(data.len().is_multiple_of(block_bytes as usize), "{} bytes are not whole blocks", data.len());
    u32::try_from(data.len() / block_bytes as usize).expect("the caller sends less than 4 GiB")
}
