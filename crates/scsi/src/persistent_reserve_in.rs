//! PERSISTENT RESERVE IN (SPC-4 clause 6.15): what is registered and reserved, as the nexus knows it.

use crate::cdb::Cdb;
use crate::command::{Decoded, Response};
use crate::logical_unit::LogicalUnit;
use crate::nexus::NexusState;
use crate::reservations::{Nexus, ReservationState, ReservationType, transport_id};
use crate::sense::Sense;
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The head of all lists: keys, a reservation or full status descriptors follow.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Default)]
#[repr(C)]
pub(crate) struct ListHeader {
    pub(crate) generation: U32,
    pub(crate) additional_length: U32,
}
const _: () = assert!(size_of::<ListHeader>() == 8);

/// READ RESERVATION descriptor (SPC-4 table 204).
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Default)]
#[repr(C)]
pub(crate) struct ReservationDescriptor {
    pub(crate) key: U64,
    pub(crate) obsolete: [u8; 4],
    pub(crate) reserved: u8,
    pub(crate) scope_and_type: u8,
    pub(crate) obsolete_end: [u8; 2],
}
const _: () = assert!(size_of::<ReservationDescriptor>() == 16);

/// Full status descriptor before its TransportID (SPC-4 table 211).
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Default)]
#[repr(C)]
pub(crate) struct StatusDescriptor {
    pub(crate) key: U64,
    pub(crate) reserved: [u8; 4],
    pub(crate) flags: u8,
    pub(crate) scope_and_type: u8,
    pub(crate) reserved_2: [u8; 4],
    pub(crate) port: U16,
    pub(crate) additional_length: U32,
}
const _: () = assert!(size_of::<StatusDescriptor>() == 24);

/// R_HOLDER.
pub(crate) const HOLDER: u8 = 0x01;

/// REPORT CAPABILITIES parameter data (SPC-4 table 207).
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Default)]
#[repr(C)]
pub(crate) struct Capabilities {
    pub(crate) length: U16,
    pub(crate) capabilities: u8,
    pub(crate) flags: u8,
    pub(crate) types: [u8; 2],
    pub(crate) reserved: [u8; 2],
}
const _: () = assert!(size_of::<Capabilities>() == 8);

/// RESERVE and RELEASE are handled compatibly (SPC-4 clause 5.13.3).
const CRH: u8 = 0x10;
/// SPEC_I_PT, ALL_TG_PT and APTPL are supported.
const SIP_C: u8 = 0x08;
const ATP_C: u8 = 0x04;
const PTPL_C: u8 = 0x01;
/// The mask of types counts.
const TMV: u8 = 0x80;
/// ALLOW COMMANDS 100b: what may be allowed through reservations of others is (SPC-4 table 208).
const ALLOW_COMMANDS: u8 = 0x40;
/// Reservations were asked to outlive a loss of power.
const PTPL_A: u8 = 0x01;

/// ALLOCATION LENGTH.
const ALLOCATION_LENGTH_FIELD: usize = 7;

pub(crate) fn read_keys(_: &LogicalUnit, nexus: &mut NexusState, cdb: Cdb<'_>) -> Result<Decoded, Sense> {
    let state = nexus.reservations();
    let keys: Vec<u8> = state.registrations().flat_map(|(_, key)| key.to_be_bytes()).collect();
    Ok(list(state, &keys, cdb))
}

pub(crate) fn read_reservation(
    _: &LogicalUnit,
    nexus: &mut NexusState,
    cdb: Cdb<'_>,
) -> Result<Decoded, Sense> {
    let state = nexus.reservations();
    let Some(reservation) = state.reservation() else { return Ok(list(state, &[], cdb)) };
    // Zero if all registered nexuses hold it.
    let key = reservation.holder.as_ref().and_then(|holder| state.key_of(holder)).unwrap_or(0);
    let descriptor = ReservationDescriptor {
        key: key.into(),
        scope_and_type: reservation.kind.code(),
        ..ReservationDescriptor::default()
    };
    Ok(list(state, descriptor.as_bytes(), cdb))
}

pub(crate) fn read_full_status(
    _: &LogicalUnit,
    nexus: &mut NexusState,
    cdb: Cdb<'_>,
) -> Result<Decoded, Sense> {
    let state = nexus.reservations();
    let descriptors: Vec<u8> =
        state.registrations().flat_map(|(registered, key)| full_status(state, registered, key)).collect();
    Ok(list(state, &descriptors, cdb))
}

/// One descriptor for each nexus, also where one could stand for all target ports.
fn full_status(state: &ReservationState, nexus: &Nexus, key: u64) -> Vec<u8> {
    let transport_id = transport_id::encode(&nexus.initiator);
    let kind = state.reservation().filter(|_| state.is_holder(nexus)).map(|reservation| reservation.kind);
    let descriptor = StatusDescriptor {
        key: key.into(),
        flags: if kind.is_some() { HOLDER } else { 0 },
        scope_and_type: kind.map_or(0, ReservationType::code),
        port: nexus.port.into(),
        additional_length: (transport_id.len() as u32).into(),
        ..StatusDescriptor::default()
    };
    [descriptor.as_bytes(), &transport_id].concat()
}

pub(crate) fn report_capabilities(
    _: &LogicalUnit,
    nexus: &mut NexusState,
    cdb: Cdb<'_>,
) -> Result<Decoded, Sense> {
    let mask = ReservationType::ALL.iter().fold(0u16, |mask, kind| mask | 1 << kind.code());
    let active = if nexus.reservations().aptpl() { PTPL_A } else { 0 };
    let data = Capabilities {
        length: (size_of::<Capabilities>() as u16).into(),
        capabilities: CRH | SIP_C | ATP_C | PTPL_C,
        flags: TMV | ALLOW_COMMANDS | active,
        // The byte of the lower codes comes first.
        types: mask.to_le_bytes(),
        reserved: [0; 2],
    };
    Ok(answer(data.as_bytes().to_vec(), cdb))
}

fn list(state: &ReservationState, entries: &[u8], cdb: Cdb<'_>) -> Decoded {
    let header = ListHeader {
        generation: state.generation().into(),
        additional_length: (entries.len() as u32).into(),
    };
    answer([header.as_bytes(), entries].concat(), cdb)
}

fn answer(data: Vec<u8>, cdb: Cdb<'_>) -> Decoded {
    Response::truncated(data, cdb.u16(ALLOCATION_LENGTH_FIELD).into()).into()
}

#[cfg(test)]
mod tests;
