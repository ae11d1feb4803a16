//! RESERVE and RELEASE of 6 and 10 bytes, as SPC-2 has them (clauses 7.21 and 7.22): for the whole logical unit and for the
//! nexus itself. Reservations of extents and for third parties are obsolete; their bits are refused.

use crate::cdb::Cdb;
use crate::command::Decoded;
use crate::logical_unit::LogicalUnit;
use crate::nexus::NexusState;
use crate::persistent_reserve_out::check_has_name;
use crate::reservations::ReservationCommand;
use crate::reservations::command::Action;
use crate::sense::Sense;

pub(crate) fn reserve(_: &LogicalUnit, nexus: &mut NexusState, _: Cdb<'_>) -> Result<Decoded, Sense> {
    check_has_name(nexus)?;
    Ok(Decoded::Reserve(ReservationCommand(Action::Spc2Reserve)))
}

pub(crate) fn release(_: &LogicalUnit, nexus: &mut NexusState, _: Cdb<'_>) -> Result<Decoded, Sense> {
    check_has_name(nexus)?;
    Ok(Decoded::Reserve(ReservationCommand(Action::Spc2Release)))
}
