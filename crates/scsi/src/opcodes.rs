//! The table of all commands that the logical unit knows.

use crate::cdb::{CDB_BYTES, Cdb};
use crate::command::Decoded;
use crate::logical_unit::LogicalUnit;
use crate::nexus::NexusState;
use crate::reservations::Access;
use crate::sense::Sense;
use crate::{
    capacity, compare_and_write, inquiry, lba_status, mode, persistent_reserve_in, persistent_reserve_out,
    read_write, report_luns, report_opcodes, request_sense, reserve_release, synchronize_cache, unmap,
    write_same,
};

#[expect(missing_docs, reason = "the names of the standards say it")]
pub mod code {
    pub const TEST_UNIT_READY: u8 = 0x00;
    pub const REQUEST_SENSE: u8 = 0x03;
    pub const READ_6: u8 = 0x08;
    pub const WRITE_6: u8 = 0x0a;
    pub const INQUIRY: u8 = 0x12;
    pub const RESERVE_6: u8 = 0x16;
    pub const RELEASE_6: u8 = 0x17;
    pub const MODE_SENSE_6: u8 = 0x1a;
    pub const READ_CAPACITY_10: u8 = 0x25;
    pub const READ_10: u8 = 0x28;
    pub const WRITE_10: u8 = 0x2a;
    pub const SYNCHRONIZE_CACHE_10: u8 = 0x35;
    pub const WRITE_SAME_10: u8 = 0x41;
    pub const UNMAP: u8 = 0x42;
    pub const RESERVE_10: u8 = 0x56;
    pub const RELEASE_10: u8 = 0x57;
    pub const MODE_SENSE_10: u8 = 0x5a;
    pub const PERSISTENT_RESERVE_IN: u8 = 0x5e;
    pub const PERSISTENT_RESERVE_OUT: u8 = 0x5f;
    pub const READ_16: u8 = 0x88;
    pub const COMPARE_AND_WRITE: u8 = 0x89;
    pub const WRITE_16: u8 = 0x8a;
    pub const SYNCHRONIZE_CACHE_16: u8 = 0x91;
    pub const WRITE_SAME_16: u8 = 0x93;
    pub const SERVICE_ACTION_IN_16: u8 = 0x9e;
    pub const REPORT_LUNS: u8 = 0xa0;
    pub const MAINTENANCE_IN: u8 = 0xa3;
    pub const READ_12: u8 = 0xa8;
    pub const WRITE_12: u8 = 0xaa;

    /// Service action of [`PERSISTENT_RESERVE_IN`].
    pub const READ_KEYS: u8 = 0x00;
    /// Service action of [`PERSISTENT_RESERVE_IN`].
    pub const READ_RESERVATION: u8 = 0x01;
    /// Service action of [`PERSISTENT_RESERVE_IN`].
    pub const REPORT_CAPABILITIES: u8 = 0x02;
    /// Service action of [`PERSISTENT_RESERVE_IN`].
    pub const READ_FULL_STATUS: u8 = 0x03;
    /// Service action of [`PERSISTENT_RESERVE_OUT`].
    pub const REGISTER: u8 = 0x00;
    /// Service action of [`PERSISTENT_RESERVE_OUT`].
    pub const RESERVE: u8 = 0x01;
    /// Service action of [`PERSISTENT_RESERVE_OUT`].
    pub const RELEASE: u8 = 0x02;
    /// Service action of [`PERSISTENT_RESERVE_OUT`].
    pub const CLEAR: u8 = 0x03;
    /// Service action of [`PERSISTENT_RESERVE_OUT`].
    pub const PREEMPT: u8 = 0x04;
    /// Service action of [`PERSISTENT_RESERVE_OUT`].
    pub const PREEMPT_AND_ABORT: u8 = 0x05;
    /// Service action of [`PERSISTENT_RESERVE_OUT`].
    pub const REGISTER_AND_IGNORE_EXISTING_KEY: u8 = 0x06;
    /// Service action of [`PERSISTENT_RESERVE_OUT`].
    pub const REGISTER_AND_MOVE: u8 = 0x07;
    /// Service action of [`SERVICE_ACTION_IN_16`].
    pub const READ_CAPACITY_16: u8 = 0x10;
    /// Service action of [`SERVICE_ACTION_IN_16`].
    pub const GET_LBA_STATUS: u8 = 0x12;
    /// Service action of [`MAINTENANCE_IN`].
    pub const REPORT_SUPPORTED_OPERATION_CODES: u8 = 0x0c;
}

/// What a command does while a unit attention condition is pending (SAM-5 clause 5.14.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnAttention {
    /// It is not carried out; the condition is reported and cleared.
    Report,
    /// It is carried out, and the condition stays.
    Ignore,
}

/// What a command does when it is sent to a LUN that does not exist (SPC-4 clause 5.12).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnAbsentLun {
    /// LOGICAL UNIT NOT SUPPORTED.
    Refuse,
    /// Data that says that there is no logical unit.
    Inquiry,
    /// The same as to LUN 0.
    ReportLuns,
    /// LOGICAL UNIT NOT SUPPORTED as data.
    RequestSense,
}

pub(crate) type Handler = fn(&LogicalUnit, &mut NexusState, Cdb<'_>) -> Result<Decoded, Sense>;

/// A row of the table.
#[derive(Debug)]
pub struct Command {
    /// The standard's name.
    pub name: &'static str,
    /// OPERATION CODE.
    pub opcode: u8,
    /// SERVICE ACTION (bits 4 to 0 of byte 1), for operation codes that have them.
    pub service_action: Option<u8>,
    /// Length of the CDB in bytes.
    pub cdb_len: u8,
    /// Bits of the CDB that may be set, apart from operation code and service action.
    pub fields: [u8; CDB_BYTES],
    /// Whether it changes the volume.
    pub writes: bool,
    /// What it does as far as reservations are concerned.
    pub access: Access,
    /// What it does while a unit attention condition is pending.
    pub on_attention: OnAttention,
    /// What it does when it is sent to a LUN that does not exist.
    pub on_absent_lun: OnAbsentLun,
    pub(crate) handler: Handler,
}

/// SERVICE ACTION in byte 1.
pub(crate) const SERVICE_ACTION_MASK: u8 = 0x1f;

impl Command {
    const fn new(name: &'static str, opcode: u8, fields: &[u8], handler: Handler) -> Self {
        let mut padded = [0; CDB_BYTES];
        padded.split_at_mut(fields.len()).0.copy_from_slice(fields);
        Self {
            name,
            opcode,
            service_action: None,
            cdb_len: fields.len() as u8,
            fields: padded,
            writes: false,
            access: Access::Read,
            on_attention: OnAttention::Report,
            on_absent_lun: OnAbsentLun::Refuse,
            handler,
        }
    }

    const fn service_action(self, service_action: u8) -> Self {
        Self { service_action: Some(service_action), ..self }
    }

    const fn writes(self) -> Self {
        Self { writes: true, access: Access::Write, ..self }
    }

    const fn access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    const fn answered_always(self, on_absent_lun: OnAbsentLun) -> Self {
        Self { on_attention: OnAttention::Ignore, on_absent_lun, ..self }
    }

    /// CDB USAGE DATA (SPC-4 clause 6.35.3): which bits of the CDB have a meaning.
    #[must_use]
    pub const fn usage(&self) -> [u8; CDB_BYTES] {
        let mut usage = self.fields;
        usage[0] = self.opcode;
        if let Some(service_action) = self.service_action {
            usage[1] |= service_action;
        }
        usage
    }

    /// The first bit of the CDB that is set and has no meaning: byte and bit, 7 to 0. What is behind the
    /// CDB's length is not looked at.
    #[must_use]
    pub fn reserved_bit_set_in(&self, cdb: &[u8; CDB_BYTES]) -> Option<(u16, u8)> {
        let stray = u128::from_be_bytes(*cdb) & self.reserved();
        if stray == 0 {
            return None;
        }
        let first = stray.leading_zeros();
        Some(((first / 8) as u16, 7 - (first % 8) as u8))
    }

    const fn reserved(&self) -> u128 {
        let mut allowed = u128::from_be_bytes(self.fields) | (0xff << 120);
        if self.service_action.is_some() {
            allowed |= (SERVICE_ACTION_MASK as u128) << 112;
        }
        let behind_the_cdb = 8 * (CDB_BYTES as u32 - self.cdb_len as u32);
        !allowed & (u128::MAX << behind_the_cdb)
    }
}

/// All commands in the order of their operation codes and service actions.
///
/// In the columns: byte 1 of reads and writes allows DPO, FUA and the obsolete FUA_NV, which ask for less
/// than every command gives; protection (RDPROTECT, WRPROTECT) is not supported. GROUP NUMBER is accepted and
/// means nothing. CONTROL must be zero, NACA in particular.
#[rustfmt::skip]
pub static COMMANDS: &[Command] = &[
    Command::new("TEST UNIT READY", code::TEST_UNIT_READY,
        &[0, 0, 0, 0, 0, 0], request_sense::test_unit_ready).access(Access::Ready),
    Command::new("REQUEST SENSE", code::REQUEST_SENSE,
        &[0, 0x01, 0, 0, 0xff, 0], request_sense::request_sense).answered_always(OnAbsentLun::RequestSense)
        .access(Access::Always),
    Command::new("READ(6)", code::READ_6,
        &[0, 0x1f, 0xff, 0xff, 0xff, 0], read_write::read_6),
    Command::new("WRITE(6)", code::WRITE_6,
        &[0, 0x1f, 0xff, 0xff, 0xff, 0], read_write::write_6).writes(),
    Command::new("INQUIRY", code::INQUIRY,
        &[0, 0x01, 0xff, 0xff, 0xff, 0], inquiry::inquiry).answered_always(OnAbsentLun::Inquiry)
        .access(Access::Always),
    Command::new("RESERVE(6)", code::RESERVE_6,
        &[0, 0, 0, 0, 0, 0], reserve_release::reserve).access(Access::ReserveRelease),
    Command::new("RELEASE(6)", code::RELEASE_6,
        &[0, 0, 0, 0, 0, 0], reserve_release::release).access(Access::ReserveRelease),
    Command::new("MODE SENSE(6)", code::MODE_SENSE_6,
        &[0, 0x08, 0xff, 0xff, 0xff, 0], mode::mode_sense_6),
    Command::new("READ CAPACITY(10)", code::READ_CAPACITY_10,
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0], capacity::read_capacity_10).access(Access::Always),
    Command::new("READ(10)", code::READ_10,
        &[0, 0x1a, 0xff, 0xff, 0xff, 0xff, 0x3f, 0xff, 0xff, 0], read_write::read_10),
    Command::new("WRITE(10)", code::WRITE_10,
        &[0, 0x1a, 0xff, 0xff, 0xff, 0xff, 0x3f, 0xff, 0xff, 0], read_write::write_10).writes(),
    Command::new("SYNCHRONIZE CACHE(10)", code::SYNCHRONIZE_CACHE_10,
        &[0, 0x06, 0xff, 0xff, 0xff, 0xff, 0x3f, 0xff, 0xff, 0], synchronize_cache::synchronize_cache_10)
        .access(Access::Write),
    Command::new("WRITE SAME(10)", code::WRITE_SAME_10,
        &[0, 0x08, 0xff, 0xff, 0xff, 0xff, 0x3f, 0xff, 0xff, 0], write_same::write_same_10).writes(),
    Command::new("UNMAP", code::UNMAP,
        &[0, 0, 0, 0, 0, 0, 0x3f, 0xff, 0xff, 0], unmap::unmap).writes(),
    Command::new("RESERVE(10)", code::RESERVE_10,
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0], reserve_release::reserve).access(Access::ReserveRelease),
    Command::new("RELEASE(10)", code::RELEASE_10,
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0], reserve_release::release).access(Access::ReserveRelease),
    Command::new("MODE SENSE(10)", code::MODE_SENSE_10,
        &[0, 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0], mode::mode_sense_10),
    Command::new("PERSISTENT RESERVE IN, READ KEYS", code::PERSISTENT_RESERVE_IN,
        &[0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0], persistent_reserve_in::read_keys)
        .service_action(code::READ_KEYS).access(Access::PersistentReserveIn),
    Command::new("PERSISTENT RESERVE IN, READ RESERVATION", code::PERSISTENT_RESERVE_IN,
        &[0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0], persistent_reserve_in::read_reservation)
        .service_action(code::READ_RESERVATION).access(Access::PersistentReserveIn),
    Command::new("PERSISTENT RESERVE IN, REPORT CAPABILITIES", code::PERSISTENT_RESERVE_IN,
        &[0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0], persistent_reserve_in::report_capabilities)
        .service_action(code::REPORT_CAPABILITIES).access(Access::PersistentReserveIn),
    Command::new("PERSISTENT RESERVE IN, READ FULL STATUS", code::PERSISTENT_RESERVE_IN,
        &[0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0], persistent_reserve_in::read_full_status)
        .service_action(code::READ_FULL_STATUS).access(Access::PersistentReserveIn),
    Command::new("PERSISTENT RESERVE OUT, REGISTER", code::PERSISTENT_RESERVE_OUT,
        &[0, 0, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0], persistent_reserve_out::persistent_reserve_out)
        .service_action(code::REGISTER).access(Access::PersistentReserveOut),
    Command::new("PERSISTENT RESERVE OUT, RESERVE", code::PERSISTENT_RESERVE_OUT,
        &[0, 0, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0], persistent_reserve_out::persistent_reserve_out)
        .service_action(code::RESERVE).access(Access::PersistentReserveOut),
    Command::new("PERSISTENT RESERVE OUT, RELEASE", code::PERSISTENT_RESERVE_OUT,
        &[0, 0, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0], persistent_reserve_out::persistent_reserve_out)
        .service_action(code::RELEASE).access(Access::PersistentReserveOut),
    Command::new("PERSISTENT RESERVE OUT, CLEAR", code::PERSISTENT_RESERVE_OUT,
        &[0, 0, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0], persistent_reserve_out::persistent_reserve_out)
        .service_action(code::CLEAR).access(Access::PersistentReserveOut),
    Command::new("PERSISTENT RESERVE OUT, PREEMPT", code::PERSISTENT_RESERVE_OUT,
        &[0, 0, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0], persistent_reserve_out::persistent_reserve_out)
        .service_action(code::PREEMPT).access(Access::PersistentReserveOut),
    Command::new("PERSISTENT RESERVE OUT, PREEMPT AND ABORT", code::PERSISTENT_RESERVE_OUT,
        &[0, 0, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0], persistent_reserve_out::persistent_reserve_out)
        .service_action(code::PREEMPT_AND_ABORT).access(Access::PersistentReserveOut),
    Command::new("PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY", code::PERSISTENT_RESERVE_OUT,
        &[0, 0, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0], persistent_reserve_out::persistent_reserve_out)
        .service_action(code::REGISTER_AND_IGNORE_EXISTING_KEY).access(Access::PersistentReserveOut),
    Command::new("PERSISTENT RESERVE OUT, REGISTER AND MOVE", code::PERSISTENT_RESERVE_OUT,
        &[0, 0, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0], persistent_reserve_out::persistent_reserve_out)
        .service_action(code::REGISTER_AND_MOVE).access(Access::PersistentReserveOut),
    Command::new("READ(16)", code::READ_16,
        &[0, 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, 0],
        read_write::read_16),
    Command::new("COMPARE AND WRITE", code::COMPARE_AND_WRITE,
        &[0, 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0xff, 0x3f, 0],
        compare_and_write::compare_and_write).writes(),
    Command::new("WRITE(16)", code::WRITE_16,
        &[0, 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, 0],
        read_write::write_16).writes(),
    Command::new("SYNCHRONIZE CACHE(16)", code::SYNCHRONIZE_CACHE_16,
        &[0, 0x06, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, 0],
        synchronize_cache::synchronize_cache_16).access(Access::Write),
    Command::new("WRITE SAME(16)", code::WRITE_SAME_16,
        &[0, 0x09, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, 0],
        write_same::write_same_16).writes(),
    Command::new("READ CAPACITY(16)", code::SERVICE_ACTION_IN_16,
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0], capacity::read_capacity_16)
        .service_action(code::READ_CAPACITY_16).access(Access::Always),
    Command::new("GET LBA STATUS", code::SERVICE_ACTION_IN_16,
        &[0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
        lba_status::get_lba_status).service_action(code::GET_LBA_STATUS),
    Command::new("REPORT LUNS", code::REPORT_LUNS,
        &[0, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0],
        report_luns::report_luns).answered_always(OnAbsentLun::ReportLuns).access(Access::Always),
    Command::new("REPORT SUPPORTED OPERATION CODES", code::MAINTENANCE_IN,
        &[0, 0, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
        report_opcodes::report_supported_operation_codes)
        .service_action(code::REPORT_SUPPORTED_OPERATION_CODES),
    Command::new("READ(12)", code::READ_12,
        &[0, 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, 0], read_write::read_12),
    Command::new("WRITE(12)", code::WRITE_12,
        &[0, 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, 0], read_write::write_12).writes(),
];

/// For each operation code its first row, or [`ABSENT`].
static FIRST_ROW: [u8; 256] = first_rows();
const ABSENT: u8 = u8::MAX;

const fn first_rows() -> [u8; 256] {
    let mut rows = [ABSENT; 256];
    let mut row = COMMANDS.len();
    assert!(row < ABSENT as usize);
    while row > 0 {
        row -= 1;
        rows[COMMANDS[row].opcode as usize] = row as u8;
    }
    rows
}

/// What the table knows of a CDB.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lookup {
    Found(&'static Command),
    UnknownServiceAction,
    UnknownOpcode,
}

/// The row of a CDB's operation code and service action.
pub(crate) fn find(cdb: Cdb<'_>) -> Lookup {
    find_codes(cdb.u8(0), u16::from(cdb.u8(1) & SERVICE_ACTION_MASK))
}

/// What a command does as far as reservations are concerned; one that is not known does nothing.
#[must_use]
pub fn access_of(cdb: &[u8; CDB_BYTES]) -> Access {
    match find(Cdb(cdb)) {
        Lookup::Found(command) => command.access,
        Lookup::UnknownServiceAction | Lookup::UnknownOpcode => Access::Always,
    }
}

/// The row of an operation code and, if it has service actions, of one of those.
pub(crate) fn find_codes(opcode: u8, service_action: u16) -> Lookup {
    let first = usize::from(FIRST_ROW[usize::from(opcode)]);
    let Some(rows) = COMMANDS.get(first..) else { return Lookup::UnknownOpcode };
    rows.iter()
        .take_while(|row| row.opcode == opcode)
        .find(|row| row.service_action.is_none_or(|own| u16::from(own) == service_action))
        .map_or(Lookup::UnknownServiceAction, Lookup::Found)
}

/// Whether an operation code is known and has service actions.
pub(crate) fn has_service_actions(opcode: u8) -> bool {
    COMMANDS.get(usize::from(FIRST_ROW[usize::from(opcode)])).is_some_and(|row| row.service_action.is_some())
}

#[cfg(test)]
mod tests;
