//! REPORT SUPPORTED OPERATION CODES (SPC-4 clause 6.35): the table of commands as initiators see it.

use crate::cdb::{Cdb, invalid_bit, invalid_byte};
use crate::command::{Decoded, Response};
use crate::logical_unit::LogicalUnit;
use crate::nexus::NexusState;
use crate::opcodes::{self, COMMANDS, Command, Lookup};
use crate::sense::Sense;
use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Command descriptor of the list of all commands.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct CommandDescriptor {
    opcode: u8,
    reserved: u8,
    service_action: U16,
    reserved_too: u8,
    flags: u8,
    cdb_length: U16,
}
const _: () = assert!(size_of::<CommandDescriptor>() == 8);

/// Command timeouts descriptor.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct TimeoutsDescriptor {
    descriptor_length: U16,
    reserved: u8,
    command_specific: u8,
    nominal_processing_seconds: U32,
    recommended_seconds: U32,
}
const _: () = assert!(size_of::<TimeoutsDescriptor>() == 12);

/// How long an initiator should wait for any command before it gives it up. Retries within the group end long
/// before.
const RECOMMENDED_TIMEOUT_SECONDS: u32 = 30;

const RCTD_BIT: u8 = 7;
const REPORTING_OPTIONS_FIELD: u16 = 2;
const REPORTING_OPTIONS_TOP_BIT: u8 = 2;
const OPCODE_FIELD: u16 = 3;
const SERVICE_ACTION_FIELD: u16 = 4;

const CTDP_IN_LIST: u8 = 0x02;
const SERVACTV: u8 = 0x01;
const CTDP_OF_ONE: u8 = 0x80;
const NOT_SUPPORTED: u8 = 0x1;
const SUPPORTED_BY_STANDARD: u8 = 0x3;

pub(crate) fn report_supported_operation_codes(
    _: &LogicalUnit,
    _: &mut NexusState,
    cdb: Cdb<'_>,
) -> Result<Decoded, Sense> {
    let timeouts = cdb.bit(REPORTING_OPTIONS_FIELD.into(), RCTD_BIT);
    let (opcode, service_action) = (cdb.u8(OPCODE_FIELD.into()), cdb.u16(SERVICE_ACTION_FIELD.into()));
    let has_service_actions = opcodes::has_service_actions(opcode);
    let data = match cdb.u8(REPORTING_OPTIONS_FIELD.into()) & 0x07 {
        0b000 => all(timeouts),
        0b001 if has_service_actions => return Err(invalid_byte(OPCODE_FIELD)),
        0b001 => one(find(opcode, 0), timeouts),
        0b010 if !has_service_actions => return Err(invalid_byte(OPCODE_FIELD)),
        0b010 => one(find(opcode, service_action), timeouts),
        0b011 if !has_service_actions && service_action != 0 => one(None, timeouts),
        0b011 => one(find(opcode, service_action), timeouts),
        _ => return Err(invalid_bit(REPORTING_OPTIONS_FIELD, REPORTING_OPTIONS_TOP_BIT)),
    };
    Ok(Response::truncated(data, cdb.u32(6)).into())
}

fn find(opcode: u8, service_action: u16) -> Option<&'static Command> {
    match opcodes::find_codes(opcode, service_action) {
        Lookup::Found(command) => Some(command),
        Lookup::UnknownServiceAction | Lookup::UnknownOpcode => None,
    }
}

/// All commands, behind the length of the list.
fn all(timeouts: bool) -> Vec<u8> {
    let mut list = Vec::new();
    for command in COMMANDS {
        let servactv = if command.service_action.is_some() { SERVACTV } else { 0 };
        let descriptor = CommandDescriptor {
            opcode: command.opcode,
            reserved: 0,
            service_action: u16::from(command.service_action.unwrap_or(0)).into(),
            reserved_too: 0,
            flags: servactv | if timeouts { CTDP_IN_LIST } else { 0 },
            cdb_length: u16::from(command.cdb_len).into(),
        };
        list.extend_from_slice(descriptor.as_bytes());
        if timeouts {
            push_timeouts(&mut list);
        }
    }
    [&(list.len() as u32).to_be_bytes()[..], &list].concat()
}

/// One command and which bits of its CDB mean something.
fn one(command: Option<&Command>, timeouts: bool) -> Vec<u8> {
    let Some(command) = command else { return vec![0, NOT_SUPPORTED, 0, 0] };
    let ctdp = if timeouts { CTDP_OF_ONE } else { 0 };
    let mut data = vec![0, ctdp | SUPPORTED_BY_STANDARD, 0, command.cdb_len];
    data.extend_from_slice(&command.usage()[..command.cdb_len.into()]);
    if timeouts {
        push_timeouts(&mut data);
    }
    data
}

fn push_timeouts(data: &mut Vec<u8>) {
    let descriptor = TimeoutsDescriptor {
        descriptor_length: (size_of::<TimeoutsDescriptor>() as u16 - 2).into(),
        reserved: 0,
        command_specific: 0,
        nominal_processing_seconds: U32::ZERO,
        recommended_seconds: RECOMMENDED_TIMEOUT_SECONDS.into(),
    };
    data.extend_from_slice(descriptor.as_bytes());
}

#[cfg(test)]
mod tests;
