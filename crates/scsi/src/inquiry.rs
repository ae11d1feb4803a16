//! INQUIRY (SPC-4 clause 6.6): the standard data, and the way to the vital product data pages.

use crate::cdb::{Cdb, invalid_byte};
use crate::command::{Decoded, Response};
use crate::logical_unit::LogicalUnit;
use crate::nexus::{NexusState, UnitAttention};
use crate::sense::Sense;
use crate::vpd;
use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Characters of T10 VENDOR IDENTIFICATION.
pub(crate) const VENDOR_CHARS: usize = 8;
/// Characters of PRODUCT IDENTIFICATION.
pub(crate) const PRODUCT_CHARS: usize = 16;
/// Characters of PRODUCT REVISION LEVEL.
pub(crate) const REVISION_CHARS: usize = 4;

/// Peripheral qualifier and type of the logical unit: connected, direct access block device.
pub(crate) const PERIPHERAL_DISK: u8 = 0x00;
/// Peripheral qualifier and type where there is none: not capable of a logical unit, type unknown.
pub(crate) const PERIPHERAL_NONE: u8 = 0x7f;

const VERSION_SPC_4: u8 = 0x06;
const HISUP: u8 = 0x10;
const RESPONSE_DATA_FORMAT: u8 = 0x02;
const CMDQUE: u8 = 0x02;
/// SAM-5, iSCSI, SPC-4 and SBC-3, no version claimed (SPC-4 table 142).
const VERSION_DESCRIPTORS: [u16; 4] = [0x00a0, 0x0960, 0x0460, 0x04c0];

/// Standard INQUIRY data (SPC-4 clause 6.6.2).
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct StandardData {
    peripheral: u8,
    removable: u8,
    version: u8,
    response_data_format: u8,
    additional_length: u8,
    flags: [u8; 3],
    vendor: [u8; VENDOR_CHARS],
    product: [u8; PRODUCT_CHARS],
    revision: [u8; REVISION_CHARS],
    vendor_specific: [u8; 20],
    reserved: [u8; 2],
    version_descriptors: [U16; 8],
    reserved_end: [u8; 22],
}
const _: () = assert!(size_of::<StandardData>() == 96);

/// Bytes up to and with ADDITIONAL LENGTH.
const BYTES_BEFORE_ADDITIONAL: usize = 5;
const EVPD_BIT: u8 = 0;
const PAGE_FIELD: u16 = 2;

pub(crate) fn inquiry(unit: &LogicalUnit, nexus: &mut NexusState, cdb: Cdb<'_>) -> Result<Decoded, Sense> {
    let response = inquire(unit, PERIPHERAL_DISK, cdb)?;
    nexus.clear(UnitAttention::InquiryDataChanged);
    Ok(response.into())
}

pub(crate) fn inquiry_of_absent_lun(unit: &LogicalUnit, cdb: Cdb<'_>) -> Result<Decoded, Sense> {
    Ok(inquire(unit, PERIPHERAL_NONE, cdb)?.into())
}

fn inquire(unit: &LogicalUnit, peripheral: u8, cdb: Cdb<'_>) -> Result<Response, Sense> {
    let (page, allocation_length) = (cdb.u8(PAGE_FIELD.into()), u32::from(cdb.u16(3)));
    let data = match (cdb.bit(1, EVPD_BIT), page) {
        (true, page) => vpd::page(unit, peripheral, page).ok_or_else(|| invalid_byte(PAGE_FIELD))?,
        (false, 0) => standard_data(unit, peripheral),
        (false, _) => return Err(invalid_byte(PAGE_FIELD)),
    };
    Ok(Response::truncated(data, allocation_length))
}

fn standard_data(unit: &LogicalUnit, peripheral: u8) -> Vec<u8> {
    let config = unit.config();
    let mut version_descriptors = [U16::ZERO; 8];
    for (place, descriptor) in version_descriptors.iter_mut().zip(VERSION_DESCRIPTORS) {
        *place = descriptor.into();
    }
    let data = StandardData {
        peripheral,
        removable: 0,
        version: VERSION_SPC_4,
        response_data_format: HISUP | RESPONSE_DATA_FORMAT,
        additional_length: (size_of::<StandardData>() - BYTES_BEFORE_ADDITIONAL) as u8,
        flags: [0, 0, CMDQUE],
        vendor: padded(&config.vendor),
        product: padded(&config.product),
        revision: padded(&config.revision),
        vendor_specific: [0; 20],
        reserved: [0; 2],
        version_descriptors,
        reserved_end: [0; 22],
    };
    data.as_bytes().to_vec()
}

/// Left-aligned ASCII, filled up with spaces (SPC-4 clause 4.3.1). The configuration's check made sure that
/// it fits.
pub(crate) fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut out = [b' '; N];
    out[..text.len()].copy_from_slice(text.as_bytes());
    out
}

#[cfg(test)]
mod tests;
