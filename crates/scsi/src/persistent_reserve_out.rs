//! PERSISTENT RESERVE OUT (SPC-4 clause 6.16): from CDB and parameter list to a [`ReservationCommand`].

use crate::cdb::{Cdb, invalid_byte};
use crate::command::{DataOutCommand, DataOutKind, Decoded};
use crate::limits::RESERVE_OUT_BYTES_MAX;
use crate::logical_unit::LogicalUnit;
use crate::nexus::NexusState;
use crate::opcodes::{SERVICE_ACTION_MASK, code};
use crate::reservations::command::{Action, Preempt, Register, RegisterAndMove, field};
use crate::reservations::transport_id::{self, TransportId};
use crate::reservations::{Nexus, ReservationCommand, ReservationType};
use crate::sense::{AdditionalSense, Sense};
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The parameter list of all service actions but REGISTER AND MOVE (SPC-4 table 214).
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct BasicList {
    pub(crate) key: U64,
    pub(crate) service_action_key: U64,
    pub(crate) obsolete: [u8; 4],
    pub(crate) flags: u8,
    pub(crate) reserved: [u8; 3],
}
const _: () = assert!(size_of::<BasicList>() == 24);

pub(crate) const SPEC_I_PT: u8 = 0x08;
pub(crate) const ALL_TG_PT: u8 = 0x04;
pub(crate) const APTPL: u8 = 0x01;

/// The parameter list of REGISTER AND MOVE (SPC-4 table 217), before its TransportID.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct MoveList {
    pub(crate) key: U64,
    pub(crate) service_action_key: U64,
    pub(crate) reserved: u8,
    pub(crate) flags: u8,
    pub(crate) port: U16,
    pub(crate) transport_id_length: U32,
}
const _: () = assert!(size_of::<MoveList>() == 24);

pub(crate) const UNREG: u8 = 0x02;

/// PARAMETER LIST LENGTH without additional data.
const LIST_BYTES: u32 = size_of::<BasicList>() as u32;
/// PARAMETER LIST LENGTH in the CDB.
const LENGTH_FIELD: usize = 5;

const fn length_error() -> Sense {
    Sense::illegal_request(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR)
}

/// A nexus without a name can have no reservation, so its logical unit has no such commands.
pub(crate) fn check_has_name(nexus: &NexusState) -> Result<(), Sense> {
    if nexus.name().is_some() {
        return Ok(());
    }
    Err(Sense::illegal_request(AdditionalSense::INVALID_OPERATION_CODE))
}

pub(crate) fn persistent_reserve_out(
    _: &LogicalUnit,
    nexus: &mut NexusState,
    cdb: Cdb<'_>,
) -> Result<Decoded, Sense> {
    check_has_name(nexus)?;
    let service_action = cdb.u8(1) & SERVICE_ACTION_MASK;
    let scope_and_type = cdb.u8(field::SCOPE_AND_TYPE.into());
    let len = cdb.u32(LENGTH_FIELD);
    let takes_more = matches!(service_action, code::REGISTER | code::REGISTER_AND_MOVE);
    if len != LIST_BYTES && !(takes_more && (LIST_BYTES..=RESERVE_OUT_BYTES_MAX).contains(&len)) {
        return Err(length_error());
    }
    if service_action == code::RESERVE && ReservationType::from_scope_and_type(scope_and_type).is_none() {
        return Err(invalid_byte(field::SCOPE_AND_TYPE));
    }
    let kind = DataOutKind::PersistentReserveOut { service_action, scope_and_type };
    Ok(Decoded::NeedsData { len, then: DataOutCommand { kind, len } })
}

/// Reads the parameter list, of which `len` bytes were announced in the CDB.
pub(crate) fn with_data(
    service_action: u8,
    scope_and_type: u8,
    list: &[u8],
    len: u32,
) -> Result<Decoded, Sense> {
    if list.len() != len as usize {
        return Err(Sense::illegal_request(AdditionalSense::INVALID_FIELD_IN_INFORMATION_UNIT));
    }
    let action = match service_action {
        code::REGISTER_AND_MOVE => Action::RegisterAndMove(read_move(list)?),
        _ => read_basic(service_action, scope_and_type, list)?,
    };
    Ok(Decoded::Reserve(ReservationCommand(action)))
}

fn read_basic(service_action: u8, scope_and_type: u8, list: &[u8]) -> Result<Action, Sense> {
    let (basic, additional) = BasicList::ref_from_prefix(list).map_err(|_| length_error())?;
    let (key, service_action_key) = (basic.key.get(), basic.service_action_key.get());
    let specifies_ports = basic.flags & SPEC_I_PT != 0;
    if specifies_ports && service_action != code::REGISTER {
        return Err(Sense::invalid_field_in_parameter_list(field::FLAGS));
    }
    if !specifies_ports && !additional.is_empty() {
        return Err(length_error());
    }
    let register = |key, others| {
        Action::Register(Register {
            key,
            new_key: service_action_key,
            aptpl: basic.flags & APTPL != 0,
            all_ports: basic.flags & ALL_TG_PT != 0,
            others,
        })
    };
    Ok(match service_action {
        code::REGISTER if specifies_ports => register(Some(key), Some(read_initiators(additional)?)),
        code::REGISTER => register(Some(key), None),
        code::REGISTER_AND_IGNORE_EXISTING_KEY => register(None, None),
        code::RESERVE => {
            let kind = ReservationType::from_scope_and_type(scope_and_type);
            Action::Reserve { key, kind: kind.ok_or(invalid_byte(field::SCOPE_AND_TYPE))? }
        }
        code::RELEASE => Action::Release { key, scope_and_type },
        code::CLEAR => Action::Clear { key },
        code::PREEMPT | code::PREEMPT_AND_ABORT => {
            let abort = service_action == code::PREEMPT_AND_ABORT;
            Action::Preempt(Preempt { key, victim: service_action_key, scope_and_type, abort })
        }
        // The table has no other service actions.
        _ => return Err(invalid_byte(1)),
    })
}

/// The list of TransportIDs behind its length (SPC-4 table 215). What follows them is not looked at.
fn read_initiators(additional: &[u8]) -> Result<Vec<TransportId>, Sense> {
    let (length, ids) = U32::ref_from_prefix(additional).map_err(|_| length_error())?;
    let mut left = ids.get(..length.get() as usize).ok_or_else(length_error)?;
    let mut initiators = Vec::new();
    while !left.is_empty() {
        let at = size_of::<BasicList>() + size_of::<U32>() + (length.get() as usize - left.len());
        let invalid = || Sense::invalid_field_in_parameter_list(at as u16);
        let (initiator, rest) = transport_id::parse(left).ok_or_else(invalid)?;
        initiators.push(initiator);
        left = rest;
    }
    Ok(initiators)
}

fn read_move(list: &[u8]) -> Result<RegisterAndMove, Sense> {
    let (head, rest) = MoveList::ref_from_prefix(list).map_err(|_| length_error())?;
    let id = rest.get(..head.transport_id_length.get() as usize).ok_or_else(length_error)?;
    let invalid = || Sense::invalid_field_in_parameter_list(field::MOVE_TRANSPORT_ID);
    // There is one destination: an initiator as such, which may have several ports, is none.
    let (TransportId::Port(initiator), []) = transport_id::parse(id).ok_or_else(invalid)? else {
        return Err(invalid());
    };
    Ok(RegisterAndMove {
        key: head.key.get(),
        new_key: head.service_action_key.get(),
        aptpl: head.flags & APTPL != 0,
        unregister: head.flags & UNREG != 0,
        to: Nexus::new(initiator, head.port.get()),
    })
}

#[cfg(test)]
mod tests;
