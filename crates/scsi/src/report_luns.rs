//! REPORT LUNS (SPC-4 clause 6.33): there is LUN 0 and nothing else.

use crate::cdb::{Cdb, invalid_byte};
use crate::command::{Decoded, Response};
use crate::logical_unit::{LUN, LogicalUnit};
use crate::nexus::{NexusState, UnitAttention};
use crate::sense::Sense;

const SELECT_REPORT_FIELD: u16 = 2;
/// LIST LENGTH and four reserved bytes.
const HEADER_BYTES: usize = 8;

pub(crate) fn report_luns(_: &LogicalUnit, nexus: &mut NexusState, cdb: Cdb<'_>) -> Result<Decoded, Sense> {
    let decoded = report(cdb)?;
    nexus.clear(UnitAttention::ReportedLunsChanged);
    Ok(decoded)
}

pub(crate) fn report(cdb: Cdb<'_>) -> Result<Decoded, Sense> {
    let luns: &[u64] = match cdb.u8(SELECT_REPORT_FIELD.into()) {
        // Logical units without well known ones, or all.
        0x00 | 0x02 => &[LUN],
        // Well known logical units only.
        0x01 => &[],
        _ => return Err(invalid_byte(SELECT_REPORT_FIELD)),
    };
    let mut data = vec![0; HEADER_BYTES];
    data[..4].copy_from_slice(&(size_of_val(luns) as u32).to_be_bytes());
    data.extend(luns.iter().flat_map(|lun| lun.to_be_bytes()));
    Ok(Response::truncated(data, cdb.u32(6)).into())
}

#[cfg(test)]
mod tests;
