//! Vital product data pages (SPC-4 clause 7.8, SBC-3 clause 6.5).

use crate::inquiry::{PERIPHERAL_DISK, PRODUCT_CHARS, VENDOR_CHARS, padded};
use crate::limits::{
    COMPARE_AND_WRITE_BLOCKS_MAX, TRANSFER_BYTES_MAX, TRANSFER_BYTES_OPTIMAL, TRANSFER_GRAIN_BYTES,
    UNMAP_BYTES_MAX, UNMAP_DESCRIPTORS_MAX, UNMAP_GRAIN_BYTES, WRITE_SAME_BYTES_MAX,
};
use crate::logical_unit::LogicalUnit;
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Page codes.
#[expect(missing_docs, reason = "the names of the standards say it")]
pub mod code {
    pub const SUPPORTED_PAGES: u8 = 0x00;
    pub const UNIT_SERIAL_NUMBER: u8 = 0x80;
    pub const DEVICE_IDENTIFICATION: u8 = 0x83;
    pub const BLOCK_LIMITS: u8 = 0xb0;
    pub const BLOCK_DEVICE_CHARACTERISTICS: u8 = 0xb1;
    pub const LOGICAL_BLOCK_PROVISIONING: u8 = 0xb2;
}

type Builder = fn(&LogicalUnit) -> Vec<u8>;

/// All pages in ascending order, as the first of them lists them.
static PAGES: &[(u8, Builder)] = &[
    (code::SUPPORTED_PAGES, supported_pages),
    (code::UNIT_SERIAL_NUMBER, unit_serial_number),
    (code::DEVICE_IDENTIFICATION, device_identification),
    (code::BLOCK_LIMITS, block_limits),
    (code::BLOCK_DEVICE_CHARACTERISTICS, block_device_characteristics),
    (code::LOGICAL_BLOCK_PROVISIONING, logical_block_provisioning),
];

/// The page with this code, header included. Where there is no logical unit, only the list of pages exists.
pub(crate) fn page(unit: &LogicalUnit, peripheral: u8, code: u8) -> Option<Vec<u8>> {
    let body = match (peripheral, code) {
        (PERIPHERAL_DISK, _) => PAGES.iter().find(|(own, _)| *own == code)?.1(unit),
        (_, code::SUPPORTED_PAGES) => vec![code::SUPPORTED_PAGES],
        _ => return None,
    };
    let [high, low] = (body.len() as u16).to_be_bytes();
    Some([&[peripheral, code, high, low][..], &body].concat())
}

fn supported_pages(_: &LogicalUnit) -> Vec<u8> {
    PAGES.iter().map(|(code, _)| *code).collect()
}

fn unit_serial_number(unit: &LogicalUnit) -> Vec<u8> {
    unit.config().serial.clone().into_bytes()
}

/// Block Limits (SBC-3 clause 6.5.3), behind the header.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct BlockLimits {
    write_same_non_zero: u8,
    pub(crate) maximum_compare_and_write_length: u8,
    optimal_transfer_length_granularity: U16,
    pub(crate) maximum_transfer_length: U32,
    optimal_transfer_length: U32,
    pub(crate) maximum_prefetch_length: U32,
    pub(crate) maximum_unmap_lba_count: U32,
    pub(crate) maximum_unmap_block_descriptor_count: U32,
    optimal_unmap_granularity: U32,
    unmap_granularity_alignment: U32,
    pub(crate) maximum_write_same_length: U64,
    reserved: [u8; 20],
}
const _: () = assert!(size_of::<BlockLimits>() == 0x3c);

/// UGAVALID: the alignment (zero) is meant.
const UNMAP_GRANULARITY_ALIGNMENT_VALID: u32 = 1 << 31;

fn block_limits(unit: &LogicalUnit) -> Vec<u8> {
    let blocks_in = |bytes| unit.geometry().blocks_in(bytes);
    let page = BlockLimits {
        write_same_non_zero: 0,
        maximum_compare_and_write_length: COMPARE_AND_WRITE_BLOCKS_MAX,
        optimal_transfer_length_granularity: (blocks_in(TRANSFER_GRAIN_BYTES) as u16).into(),
        maximum_transfer_length: blocks_in(TRANSFER_BYTES_MAX).into(),
        optimal_transfer_length: blocks_in(TRANSFER_BYTES_OPTIMAL).into(),
        maximum_prefetch_length: U32::ZERO,
        maximum_unmap_lba_count: blocks_in(UNMAP_BYTES_MAX).into(),
        maximum_unmap_block_descriptor_count: (UNMAP_DESCRIPTORS_MAX as u32).into(),
        optimal_unmap_granularity: blocks_in(UNMAP_GRAIN_BYTES).into(),
        unmap_granularity_alignment: UNMAP_GRANULARITY_ALIGNMENT_VALID.into(),
        maximum_write_same_length: u64::from(blocks_in(WRITE_SAME_BYTES_MAX)).into(),
        reserved: [0; 20],
    };
    page.as_bytes().to_vec()
}

/// Bytes of the Block Device Characteristics page behind its header (SBC-3 clause 6.5.2).
const CHARACTERISTICS_BYTES: usize = 0x3c;
const NON_ROTATING: u16 = 0x0001;

fn block_device_characteristics(_: &LogicalUnit) -> Vec<u8> {
    let mut page = vec![0; CHARACTERISTICS_BYTES];
    page[..2].copy_from_slice(&NON_ROTATING.to_be_bytes());
    page
}

/// Unmapping works by UNMAP, by WRITE SAME(16) and (10); unmapped blocks read as zeros; nothing can be
/// anchored.
const LBPU: u8 = 0x80;
const LBPWS: u8 = 0x40;
const LBPWS10: u8 = 0x20;
const LBPRZ: u8 = 0x04;
const THIN_PROVISIONED: u8 = 0x02;

/// Logical Block Provisioning (SBC-3 clause 6.5.4), without threshold and descriptor.
fn logical_block_provisioning(_: &LogicalUnit) -> Vec<u8> {
    vec![0, LBPU | LBPWS | LBPWS10 | LBPRZ, THIN_PROVISIONED, 0]
}

/// Designator types (SPC-4 clause 7.8.6; the UUID is of SPC-5).
const T10_VENDOR_ID: u8 = 0x1;
const NAA: u8 = 0x3;
const RELATIVE_TARGET_PORT: u8 = 0x4;
const TARGET_PORT_GROUP: u8 = 0x5;
const SCSI_NAME_STRING: u8 = 0x8;
const UUID: u8 = 0xa;

/// What a designator names.
const LOGICAL_UNIT: u8 = 0x00;
const TARGET_PORT: u8 = 0x10;
const TARGET_DEVICE: u8 = 0x20;

const BINARY: u8 = 0x1;
const ASCII: u8 = 0x2;
const UTF_8: u8 = 0x3;

/// PROTOCOL IDENTIFIER of iSCSI, in the upper half of a designator's first byte, and PIV that makes it valid.
const ISCSI: u8 = 0x50;
const PROTOCOL_IDENTIFIER_VALID: u8 = 0x80;

const NAA_LOCALLY_ASSIGNED: u64 = 0x3 << 60;
const UUID_OF_RFC_4122: u8 = 0x10;

/// Device Identification: the same logical unit has the same names at every port, which is how hosts find
/// that two paths lead to one volume.
fn device_identification(unit: &LogicalUnit) -> Vec<u8> {
    let config = unit.config();
    let vendor: [u8; VENDOR_CHARS] = padded(&config.vendor);
    let product: [u8; PRODUCT_CHARS] = padded(&config.product);
    let t10 = [&vendor[..], &product, config.serial.as_bytes()].concat();
    let naa = NAA_LOCALLY_ASSIGNED | (config.naa & !(0xf << 60));
    let uuid = [&[UUID_OF_RFC_4122, 0][..], &config.uuid].concat();
    let port_name = format!("{},t,0x{:04x}", config.target_name, config.target_port_group);

    let mut page = Vec::new();
    push_designator(&mut page, ASCII, LOGICAL_UNIT | T10_VENDOR_ID, &t10);
    push_designator(&mut page, BINARY, LOGICAL_UNIT | NAA, &naa.to_be_bytes());
    push_designator(&mut page, BINARY, LOGICAL_UNIT | UUID, &uuid);
    push_designator(&mut page, BINARY, TARGET_PORT | RELATIVE_TARGET_PORT, &low_half(config.relative_port));
    push_designator(&mut page, BINARY, TARGET_PORT | TARGET_PORT_GROUP, &low_half(config.target_port_group));
    push_designator(&mut page, UTF_8, TARGET_PORT | SCSI_NAME_STRING, &name_string(&port_name));
    push_designator(&mut page, UTF_8, TARGET_DEVICE | SCSI_NAME_STRING, &name_string(&config.target_name));
    page
}

fn push_designator(page: &mut Vec<u8>, code_set: u8, association_and_type: u8, designator: &[u8]) {
    let len = u8::try_from(designator.len()).expect("the configuration's check bounds every designator");
    let of_port_or_device = association_and_type & (TARGET_PORT | TARGET_DEVICE) != 0;
    let (protocol, valid) = if of_port_or_device { (ISCSI, PROTOCOL_IDENTIFIER_VALID) } else { (0, 0) };
    page.extend_from_slice(&[protocol | code_set, valid | association_and_type, 0, len]);
    page.extend_from_slice(designator);
}

/// Two reserved bytes and a number.
const fn low_half(number: u16) -> [u8; 4] {
    (number as u32).to_be_bytes()
}

/// UTF-8 with at least one NUL at the end and a length that is a multiple of four (SPC-4 clause 7.8.6.11).
fn name_string(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize((name.len() + 1).next_multiple_of(4), 0);
    bytes
}

#[cfg(test)]
mod tests;
