//! MODE SENSE of 6 and 10 bytes (SPC-4 clauses 6.11 and 6.12). No mode parameter can be changed.

use crate::cdb::{Cdb, invalid_byte};
use crate::command::{Decoded, Response};
use crate::logical_unit::LogicalUnit;
use crate::nexus::NexusState;
use crate::sense::{AdditionalSense, Sense};

/// Mode page codes.
#[expect(missing_docs, reason = "the names of the standards say it")]
pub mod code {
    pub const CACHING: u8 = 0x08;
    pub const CONTROL: u8 = 0x0a;
    pub const INFORMATIONAL_EXCEPTIONS: u8 = 0x1c;
    pub const ALL_PAGES: u8 = 0x3f;
    pub const ALL_SUBPAGES: u8 = 0xff;
}

const PAGE_FIELD: u16 = 2;
const SUBPAGE_FIELD: u16 = 3;
const DBD_BIT: u8 = 3;
const LLBAA_BIT: u8 = 4;

/// DEVICE-SPECIFIC PARAMETER (SBC-3 clause 6.4.1): writes are refused.
const WP: u8 = 0x80;
/// DEVICE-SPECIFIC PARAMETER: DPO and FUA are understood.
const DPOFUA: u8 = 0x10;
const LONGLBA: u8 = 0x01;

/// Which values of the parameters are asked for.
#[derive(Clone, Copy)]
enum PageControl {
    Current,
    Changeable,
    Default,
}

impl PageControl {
    fn of(cdb: Cdb<'_>) -> Result<Self, Sense> {
        Ok(match cdb.u8(PAGE_FIELD.into()) >> 6 {
            0b00 => Self::Current,
            0b01 => Self::Changeable,
            0b10 => Self::Default,
            _ => return Err(Sense::illegal_request(AdditionalSense::SAVING_PARAMETERS_NOT_SUPPORTED)),
        })
    }
}

/// Current values of all pages, in ascending order. Byte 0 is the page code, byte 1 the length of the rest.
///
/// Caching (SBC-3 clause 6.4.5): WCE and RCD are zero: reads may be cached, writes are durable when answered.
/// Control (SPC-4 clause 7.5.8): one task set for all nexuses, sense data in fixed format (D_SENSE zero),
/// commands may be reordered (QUEUE ALGORITHM MODIFIER 1), commands aborted by others end silently (TAS
/// zero). Informational Exceptions Control (SBC-3 clause 6.4.8): DEXCPT: none are reported.
static PAGES: [&[u8]; 3] = [
    &[code::CACHING, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    &[code::CONTROL, 0x0a, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0],
    &[code::INFORMATIONAL_EXCEPTIONS, 0x0a, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0],
];

pub(crate) fn mode_sense_6(unit: &LogicalUnit, _: &mut NexusState, cdb: Cdb<'_>) -> Result<Decoded, Sense> {
    let pages = pages(cdb)?;
    let descriptor = if cdb.bit(1, DBD_BIT) { Vec::new() } else { short_descriptor(unit) };
    // MODE DATA LENGTH counts what is behind it; all pages together are far below 255 bytes.
    let length = (3 + descriptor.len() + pages.len()) as u8;
    let header = [length, 0, device_specific(unit), descriptor.len() as u8];
    let data = [&header[..], &descriptor, &pages].concat();
    Ok(Response::truncated(data, cdb.u8(4).into()).into())
}

pub(crate) fn mode_sense_10(unit: &LogicalUnit, _: &mut NexusState, cdb: Cdb<'_>) -> Result<Decoded, Sense> {
    let pages = pages(cdb)?;
    let (descriptor, long) = match (cdb.bit(1, DBD_BIT), cdb.bit(1, LLBAA_BIT)) {
        (true, _) => (Vec::new(), 0),
        (false, true) => (long_descriptor(unit), LONGLBA),
        (false, false) => (short_descriptor(unit), 0),
    };
    let [length_high, length_low] = ((6 + descriptor.len() + pages.len()) as u16).to_be_bytes();
    let header = [length_high, length_low, 0, device_specific(unit), long, 0, 0, descriptor.len() as u8];
    let data = [&header[..], &descriptor, &pages].concat();
    Ok(Response::truncated(data, cdb.u16(7).into()).into())
}

fn device_specific(unit: &LogicalUnit) -> u8 {
    DPOFUA | if unit.config().read_only { WP } else { 0 }
}

/// The pages that the CDB asks for, one after the other. Page 0 and subpages do not exist.
fn pages(cdb: Cdb<'_>) -> Result<Vec<u8>, Sense> {
    let control = PageControl::of(cdb)?;
    let (page, subpage) = (cdb.u8(PAGE_FIELD.into()) & 0x3f, cdb.u8(SUBPAGE_FIELD.into()));
    if subpage != 0 && subpage != code::ALL_SUBPAGES {
        return Err(invalid_byte(SUBPAGE_FIELD));
    }
    let mut out = Vec::new();
    for current in PAGES.iter().filter(|current| page == code::ALL_PAGES || page == current[0]) {
        match control {
            PageControl::Current | PageControl::Default => out.extend_from_slice(current),
            PageControl::Changeable => {
                out.extend_from_slice(&current[..2]);
                out.resize(out.len() + current.len() - 2, 0);
            }
        }
    }
    if out.is_empty() { Err(Sense::invalid_field_in_cdb(PAGE_FIELD, Some(5))) } else { Ok(out) }
}

/// Short LBA mode parameter block descriptor (SBC-3 clause 6.4.2.2).
fn short_descriptor(unit: &LogicalUnit) -> Vec<u8> {
    let blocks = u32::try_from(unit.blocks()).unwrap_or(u32::MAX);
    // LOGICAL BLOCK LENGTH has three bytes, behind a reserved one.
    [blocks.to_be_bytes(), unit.block_bytes().to_be_bytes()].concat()
}

/// Long LBA mode parameter block descriptor (SBC-3 clause 6.4.2.3).
fn long_descriptor(unit: &LogicalUnit) -> Vec<u8> {
    [&unit.blocks().to_be_bytes()[..], &[0; 4], &unit.block_bytes().to_be_bytes()].concat()
}

#[cfg(test)]
mod tests;
