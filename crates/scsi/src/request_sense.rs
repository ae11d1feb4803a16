//! TEST UNIT READY and REQUEST SENSE (SPC-4 clauses 6.47 and 6.39).

use crate::cdb::Cdb;
use crate::command::{Decoded, Response};
use crate::logical_unit::LogicalUnit;
use crate::nexus::{NexusState, UnitAttention};
use crate::sense::{AdditionalSense, Sense, SenseKey};

const DESC_BIT: u8 = 0;

pub(crate) fn test_unit_ready(_: &LogicalUnit, _: &mut NexusState, _: Cdb<'_>) -> Result<Decoded, Sense> {
    Ok(Response::good().into())
}

/// Every failure carries its sense data with it, so all that can be asked for is a pending unit attention
/// condition.
pub(crate) fn request_sense(_: &LogicalUnit, nexus: &mut NexusState, cdb: Cdb<'_>) -> Result<Decoded, Sense> {
    let nothing = Sense::new(SenseKey::NoSense, AdditionalSense::NONE);
    let sense = nexus.take().map_or(nothing, UnitAttention::sense);
    Ok(answer(&sense, cdb))
}

/// Sense data as data, in the format that the CDB asks for.
pub(crate) fn answer(sense: &Sense, cdb: Cdb<'_>) -> Decoded {
    let data = if cdb.bit(1, DESC_BIT) { sense.to_descriptor() } else { sense.to_fixed().to_vec() };
    Response::truncated(data, cdb.u8(4).into()).into()
}

#[cfg(test)]
mod tests;
