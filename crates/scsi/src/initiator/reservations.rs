//! PERSISTENT RESERVE IN and OUT, RESERVE and RELEASE: builders of the requests, and readers of what is answered.

use super::answer::AnswerError;
use super::request::{Builder, Request};
use crate::opcodes::code;
use crate::persistent_reserve_in::{
    Capabilities, HOLDER, ListHeader, ReservationDescriptor, StatusDescriptor,
};
use crate::persistent_reserve_out::{ALL_TG_PT, APTPL, BasicList, MoveList, SPEC_I_PT, UNREG};
use crate::reservations::transport_id::{self, TransportId};
use crate::reservations::{InitiatorPort, Nexus, ReservationType};
use zerocopy::{FromBytes, IntoBytes};

/// RESERVE(6) for the whole logical unit.
#[must_use]
pub fn reserve_6() -> Request {
    Request::without_data(Builder::new(code::RESERVE_6).0)
}

/// RELEASE(6) for the whole logical unit.
#[must_use]
pub fn release_6() -> Request {
    Request::without_data(Builder::new(code::RELEASE_6).0)
}

/// PERSISTENT RESERVE IN with a service action of [`crate::opcodes::code`].
#[must_use]
pub fn persistent_reserve_in(service_action: u8, allocation_length: u16) -> Request {
    let cdb = Builder::new(code::PERSISTENT_RESERVE_IN).u8(1, service_action).u16(7, allocation_length).0;
    Request::data_in(cdb, allocation_length.into())
}

/// What PERSISTENT RESERVE OUT says. Which of it counts depends on the service action.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReserveOut<'a> {
    /// The type, with the logical unit as the scope.
    pub kind: Option<ReservationType>,
    /// RESERVATION KEY.
    pub key: u64,
    /// SERVICE ACTION RESERVATION KEY.
    pub service_action_key: u64,
    /// APTPL.
    pub aptpl: bool,
    /// ALL_TG_PT: register at all target ports.
    pub all_target_ports: bool,
    /// SPEC_I_PT, if there are any: other initiator ports to register.
    pub initiators: &'a [InitiatorPort],
}

/// PERSISTENT RESERVE OUT with a service action of [`crate::opcodes::code`], other than REGISTER AND MOVE.
#[must_use]
pub fn persistent_reserve_out(service_action: u8, out: &ReserveOut<'_>) -> Request {
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    let head = BasicList {
        key: out.key.into(),
        service_action_key: out.service_action_key.into(),
        obsolete: [0; 4],
        flags: flag(!out.initiators.is_empty(), SPEC_I_PT)
            | flag(out.all_target_ports, ALL_TG_PT)
            | flag(out.aptpl, APTPL),
        reserved: [0; 3],
    };
    let mut list = head.as_bytes().to_vec();
    if !out.initiators.is_empty() {
        let ids: Vec<u8> = out.initiators.iter().flat_map(transport_id::encode).collect();
        list.extend_from_slice(&(ids.len() as u32).to_be_bytes());
        list.extend_from_slice(&ids);
    }
    reserve_out(service_action, out.kind.map_or(0, ReservationType::code), list)
}

/// REGISTER AND MOVE of the reservation to another nexus, which gets this key. With `unregister`, the registration of the
/// nexus that sends it ends.
#[must_use]
pub fn register_and_move(key: u64, to: &Nexus, new_key: u64, unregister: bool, aptpl: bool) -> Request {
    let id = transport_id::encode(&to.initiator);
    let head = MoveList {
        key: key.into(),
        service_action_key: new_key.into(),
        reserved: 0,
        flags: if unregister { UNREG } else { 0 } | if aptpl { APTPL } else { 0 },
        port: to.port.into(),
        transport_id_length: (id.len() as u32).into(),
    };
    reserve_out(code::REGISTER_AND_MOVE, 0, [head.as_bytes(), &id].concat())
}

fn reserve_out(service_action: u8, scope_and_type: u8, list: Vec<u8>) -> Request {
    let cdb = Builder::new(code::PERSISTENT_RESERVE_OUT)
        .u8(1, service_action)
        .u8(2, scope_and_type)
        .u32(5, list.len() as u32)
        .0;
    Request::data_out(cdb, list.into())
}

/// The entries behind the head of a list, as far as they were not cut off by the allocation length, and the generation.
fn entries<'a>(bytes: &'a [u8], what: &'static str) -> Result<(u32, &'a [u8]), AnswerError> {
    let too_short = |_| AnswerError::AnswerTooShort { what, len: bytes.len() };
    let (header, entries) = ListHeader::ref_from_prefix(bytes).map_err(too_short)?;
    let len = entries.len().min(header.additional_length.get() as usize);
    Ok((header.generation.get(), &entries[..len]))
}

fn read_type(scope_and_type: u8, what: &'static str) -> Result<ReservationType, AnswerError> {
    let invalid = AnswerError::FieldInvalid { what, field: "SCOPE and TYPE", value: scope_and_type.into() };
    ReservationType::from_scope_and_type(scope_and_type).ok_or(invalid)
}

/// READ KEYS data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegisteredKeys {
    /// PRGENERATION.
    pub generation: u32,
    /// The key of each registered nexus, as far as they were not cut off.
    pub keys: Vec<u64>,
}

impl RegisteredKeys {
    /// Reads READ KEYS data.
    ///
    /// # Errors
    /// If it is shorter than its head.
    pub fn parse(bytes: &[u8]) -> Result<Self, AnswerError> {
        let (generation, entries) = entries(bytes, "READ KEYS")?;
        let keys = entries.as_chunks().0.iter().map(|key| u64::from_be_bytes(*key)).collect();
        Ok(Self { generation, keys })
    }
}

/// READ RESERVATION data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeldReservation {
    /// PRGENERATION.
    pub generation: u32,
    /// Key of the holder (zero if all registered nexuses hold it) and type, if something is reserved.
    pub held: Option<(u64, ReservationType)>,
}

impl HeldReservation {
    /// Reads READ RESERVATION data.
    ///
    /// # Errors
    /// If it is too short or of an unknown type.
    pub fn parse(bytes: &[u8]) -> Result<Self, AnswerError> {
        let what = "READ RESERVATION";
        let (generation, entries) = entries(bytes, what)?;
        if entries.is_empty() {
            return Ok(Self { generation, held: None });
        }
        let too_short = |_| AnswerError::AnswerTooShort { what, len: bytes.len() };
        let (descriptor, _) = ReservationDescriptor::ref_from_prefix(entries).map_err(too_short)?;
        let held = Some((descriptor.key.get(), read_type(descriptor.scope_and_type, what)?));
        Ok(Self { generation, held })
    }
}

/// REPORT CAPABILITIES data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReservationCapabilities {
    /// CRH: RESERVE and RELEASE are answered with GOOD to those that take part in a persistent reservation.
    pub compatible_reserve: bool,
    /// SIP_C: other initiator ports can be registered.
    pub specifies_initiators: bool,
    /// ATP_C: all target ports can be registered at once.
    pub all_target_ports: bool,
    /// PTPL_C and PTPL_A: reservations can outlive a loss of power, and were asked to.
    pub persists: (bool, bool),
    /// The types that can be asked for; none if that is not said.
    pub types: Option<Vec<ReservationType>>,
}

impl ReservationCapabilities {
    /// Reads REPORT CAPABILITIES data.
    ///
    /// # Errors
    /// If it is too short.
    pub fn parse(bytes: &[u8]) -> Result<Self, AnswerError> {
        let too_short = |_| AnswerError::AnswerTooShort { what: "REPORT CAPABILITIES", len: bytes.len() };
        let (data, _) = Capabilities::ref_from_prefix(bytes).map_err(too_short)?;
        let mask = u16::from_le_bytes(data.types);
        let known = ReservationType::ALL.into_iter().filter(|kind| mask >> kind.code() & 1 == 1);
        Ok(Self {
            compatible_reserve: data.capabilities & 0x10 != 0,
            specifies_initiators: data.capabilities & 0x08 != 0,
            all_target_ports: data.capabilities & 0x04 != 0,
            persists: (data.capabilities & 0x01 != 0, data.flags & 0x01 != 0),
            types: (data.flags & 0x80 != 0).then(|| known.collect()),
        })
    }
}

/// A registration as READ FULL STATUS shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegistrationStatus {
    /// The reservation key.
    pub key: u64,
    /// Type of the reservation, if the nexus holds it.
    pub holds: Option<ReservationType>,
    /// RELATIVE TARGET PORT IDENTIFIER; none if it stands for all target ports.
    pub port: Option<u16>,
    /// The initiator port, or the initiator.
    pub initiator: TransportId,
}

/// READ FULL STATUS data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FullStatus {
    /// PRGENERATION.
    pub generation: u32,
    /// All registrations, as far as they were not cut off.
    pub registrations: Vec<RegistrationStatus>,
}

impl FullStatus {
    /// Reads READ FULL STATUS data.
    ///
    /// # Errors
    /// If it is shorter than its head, or a registration makes no sense.
    pub fn parse(bytes: &[u8]) -> Result<Self, AnswerError> {
        let what = "READ FULL STATUS";
        let (generation, mut left) = entries(bytes, what)?;
        let mut registrations = Vec::new();
        while let Ok((descriptor, rest)) = StatusDescriptor::ref_from_prefix(left) {
            let len = descriptor.additional_length.get();
            let Some((id, behind)) = rest.split_at_checked(len as usize) else { break };
            let invalid = AnswerError::FieldInvalid { what, field: "TransportID length", value: len.into() };
            let (initiator, _) = transport_id::parse(id).ok_or(invalid)?;
            let holds = (descriptor.flags & HOLDER != 0).then(|| read_type(descriptor.scope_and_type, what));
            registrations.push(RegistrationStatus {
                key: descriptor.key.get(),
                holds: holds.transpose()?,
                port: (descriptor.flags & 0x02 == 0).then(|| descriptor.port.get()),
                initiator,
            });
            left = behind;
        }
        Ok(Self { generation, registrations })
    }
}
