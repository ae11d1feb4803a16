//! A logical unit: who it is, how big it is, and the way of a CDB to its handler.

use crate::block_error;
use crate::cdb::{CDB_BYTES, Cdb, invalid_bit};
use crate::command::{BlockCommand, Completion, DataOutCommand, DataOutKind, Decoded, Response};
use crate::geometry::{Geometry, LogicalBlockSize};
use crate::nexus::NexusState;
use crate::opcodes::{self, Lookup, OnAttention};
use crate::sense::{AdditionalSense, Sense, SenseKey};
use crate::status::Status;
use crate::{
    compare_and_write, inquiry, persistent_reserve_out, report_luns, request_sense, unmap, write_same,
};
use bytes::Bytes;
use evenkeel_types::geometry::VOLUME_BYTES_MAX;
use evenkeel_types::{BlockOp, BlockOutcome, ByteRange, VolumeId};
use snafu::{Snafu, ensure};

/// The one LUN that a target has.
pub const LUN: u64 = 0;

/// Characters of a serial number at most.
pub const SERIAL_CHARS_MAX: usize = 32;
/// Bytes of an iSCSI name at most (RFC 7143 section 4.2.7.1).
pub const TARGET_NAME_BYTES_MAX: usize = 223;

/// What a logical unit says about itself. All servers of a group say the same of a volume, except for their
/// ports.
#[derive(Clone, Debug)]
pub struct LunConfig {
    /// The volume behind it.
    pub volume: VolumeId,
    /// Its name for people.
    pub name: String,
    /// Its size in bytes: whole logical blocks, at least one, at most [`VOLUME_BYTES_MAX`].
    pub capacity_bytes: u64,
    /// Size of its logical blocks.
    pub logical_block: LogicalBlockSize,
    /// T10 VENDOR IDENTIFICATION: up to 8 printable ASCII characters.
    pub vendor: String,
    /// PRODUCT IDENTIFICATION: up to 16 printable ASCII characters.
    pub product: String,
    /// PRODUCT REVISION LEVEL: up to 4 printable ASCII characters.
    pub revision: String,
    /// PRODUCT SERIAL NUMBER: 1 to [`SERIAL_CHARS_MAX`] printable ASCII characters, unique to the volume.
    pub serial: String,
    /// The lower 60 bits are the locally assigned NAA identifier (SPC-4 clause 7.8.6.6.4), unique to the
    /// volume.
    pub naa: u64,
    /// A UUID of the volume.
    pub uuid: [u8; 16],
    /// Whether writes are refused.
    pub read_only: bool,
    /// The iSCSI name of the target, at most [`TARGET_NAME_BYTES_MAX`] bytes.
    pub target_name: String,
    /// RELATIVE TARGET PORT IDENTIFIER of this server's port, from 1.
    pub relative_port: u16,
    /// TARGET PORT GROUP of this server's port; also the portal group tag in the port's name.
    pub target_port_group: u16,
}

impl LunConfig {
    /// What Evenkeel says of a volume with 512-byte blocks whose identifiers are derived from its UUID.
    #[must_use]
    pub fn new(volume: VolumeId, name: &str, capacity_bytes: u64, uuid: [u8; 16], target_name: &str) -> Self {
        let serial = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
        let [.., a, b, c, d, e, f, g, h] = uuid;
        Self {
            volume,
            name: name.to_owned(),
            capacity_bytes,
            logical_block: LogicalBlockSize::Bytes512,
            vendor: "EVENKEEL".to_owned(),
            product: "VOLUME".to_owned(),
            revision: "0001".to_owned(),
            serial,
            naa: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            uuid,
            read_only: false,
            target_name: target_name.to_owned(),
            relative_port: 1,
            target_port_group: 1,
        }
    }
}

/// Why a logical unit cannot be presented as configured.
#[derive(Debug, Snafu, PartialEq, Eq)]
pub enum LunConfigError {
    /// The size is none that a volume can have.
    #[snafu(display(
        "a capacity of {bytes} bytes is not 1 or more whole blocks of {block} bytes, up to {VOLUME_BYTES_MAX} bytes"
    ))]
    CapacityInvalid {
        /// The size.
        bytes: u64,
        /// Size of a logical block in bytes.
        block: u32,
    },
    /// A text is empty, too long or not printable ASCII.
    #[snafu(display("{field} {text:?} is not 1 to {max} printable ASCII characters"))]
    TextInvalid {
        /// Which text.
        field: &'static str,
        /// What it is.
        text: String,
        /// Characters at most.
        max: usize,
    },
    /// The target's name is empty or too long.
    #[snafu(display("the target name {name:?} is not 1 to {TARGET_NAME_BYTES_MAX} bytes long"))]
    TargetNameInvalid {
        /// The name.
        name: String,
    },
}

/// One LUN as presented: identity and geometry, the same for all sessions of a server and immutable. A change
/// of the volume makes a new one, and a unit attention for every nexus.
#[derive(Debug)]
pub struct LogicalUnit {
    config: LunConfig,
    geometry: Geometry,
}

impl LogicalUnit {
    /// The logical unit with this configuration.
    ///
    /// # Errors
    /// If a value is outside of its range.
    pub fn new(config: LunConfig) -> Result<Self, LunConfigError> {
        let (bytes, block) = (config.capacity_bytes, config.logical_block.bytes());
        ensure!(
            bytes > 0 && bytes <= VOLUME_BYTES_MAX && bytes.is_multiple_of(block.into()),
            CapacityInvalidSnafu { bytes, block }
        );
        let texts = [
            ("vendor", &config.vendor, inquiry::VENDOR_CHARS),
            ("product", &config.product, inquiry::PRODUCT_CHARS),
            ("revision", &config.revision, inquiry::REVISION_CHARS),
            ("serial", &config.serial, SERIAL_CHARS_MAX),
        ];
        for (field, text, max) in texts {
            let printable = text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
            ensure!(printable && (1..=max).contains(&text.len()), TextInvalidSnafu { field, text, max });
        }
        ensure!(
            (1..=TARGET_NAME_BYTES_MAX).contains(&config.target_name.len()),
            TargetNameInvalidSnafu { name: &config.target_name }
        );
        let geometry = Geometry { block: config.logical_block, blocks: bytes / u64::from(block) };
        Ok(Self { config, geometry })
    }

    /// What it was made from.
    #[must_use]
    pub const fn config(&self) -> &LunConfig {
        &self.config
    }

    /// Number of logical blocks.
    #[must_use]
    pub const fn blocks(&self) -> u64 {
        self.geometry.blocks
    }

    /// Size of a logical block in bytes.
    #[must_use]
    pub const fn block_bytes(&self) -> u32 {
        self.geometry.block.bytes()
    }

    pub(crate) const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// What a CDB asks for. `lun` is the LUN field of the command, all eight bytes (SAM-5 clause 4.7); a CDB
    /// shorter than 16 bytes is followed by anything.
    #[must_use]
    pub fn decode(&self, nexus: &mut NexusState, lun: u64, cdb: &[u8; CDB_BYTES]) -> Decoded {
        let fields = Cdb(cdb);
        if lun != LUN {
            return decode_for_absent_lun(self, fields);
        }
        let command = match opcodes::find(fields) {
            Lookup::Found(command) => command,
            Lookup::UnknownServiceAction => return Response::from(unknown_service_action()).into(),
            Lookup::UnknownOpcode => {
                return Response::from(Sense::illegal_request(AdditionalSense::INVALID_OPERATION_CODE))
                    .into();
            }
        };
        if command.on_attention == OnAttention::Report
            && nexus.is_pending()
            && let Some(attention) = nexus.take()
        {
            return Response::from(attention.sense()).into();
        }
        // A conflict goes before everything that may be wrong with the command (SAM-5, status precedence).
        if nexus.check(command.access).is_err() {
            return Response::status(Status::ReservationConflict).into();
        }
        if let Some((byte, bit)) = command.reserved_bit_set_in(cdb) {
            return Response::from(invalid_bit(byte, bit)).into();
        }
        if command.writes && self.config.read_only {
            return Response::from(Sense::new(SenseKey::DataProtect, AdditionalSense::WRITE_PROTECTED))
                .into();
        }
        (command.handler)(self, nexus, fields).unwrap_or_else(|sense| Response::from(sense).into())
    }

    /// Carries a command on with its Data-Out. `announced` is the length that the initiator announced
    /// (Expected Data Transfer Length); `data` is the shorter of that and the length by the CDB. Gives
    /// anything but `NeedsData`.
    ///
    /// A write that was announced too short writes the whole blocks that came (the transport reports the
    /// residual); the other commands need exactly their data.
    ///
    /// # Panics
    /// If `data` has another length.
    #[must_use]
    pub fn with_data(&self, command: DataOutCommand, data: Bytes, announced: u32) -> Decoded {
        assert_eq!(data.len(), command.len.min(announced) as usize, "Data-Out was collected");
        let result = match command.kind {
            DataOutKind::Write { at } => self.write(at, data),
            DataOutKind::Unmap => unmap::with_data(self, &data),
            DataOutKind::PersistentReserveOut { service_action, scope_and_type } => {
                persistent_reserve_out::with_data(service_action, scope_and_type, &data, command.len)
            }
            DataOutKind::CompareAndWrite { at } if at.len == 0 => compare_and_write::no_blocks(announced),
            DataOutKind::WriteSame { .. } | DataOutKind::CompareAndWrite { .. }
                if announced != command.len =>
            {
                Err(Sense::illegal_request(AdditionalSense::INVALID_FIELD_IN_INFORMATION_UNIT))
            }
            DataOutKind::WriteSame { at, unmap } => Ok(write_same::with_data(at, unmap, &data)),
            DataOutKind::CompareAndWrite { at } => Ok(compare_and_write::with_data(at, &data)),
        };
        result.unwrap_or_else(|sense| Response::from(sense).into())
    }

    fn write(&self, at: ByteRange, data: Bytes) -> Result<Decoded, Sense> {
        let len = data.len() as u32;
        if !len.is_multiple_of(self.block_bytes()) {
            return Err(Sense::illegal_request(AdditionalSense::INVALID_FIELD_IN_INFORMATION_UNIT));
        }
        if data.is_empty() {
            return Ok(Response::good().into());
        }
        Ok(Decoded::Block(BlockCommand::one(BlockOp::Write { at: ByteRange::new(at.offset, len), data })))
    }

    /// Ends a command whose operations all succeeded (`outcome` is that of the last one) or of which one
    /// failed.
    #[must_use]
    pub fn complete(&self, command: &BlockCommand, outcome: BlockOutcome) -> Completion {
        block_error::complete(self.geometry, command.expected_data_in, outcome)
    }
}

/// A known operation code with a service action that is not.
const fn unknown_service_action() -> Sense {
    invalid_bit(1, 4)
}

/// Only what initiators need to find out what exists (SPC-4 clause 5.12).
fn decode_for_absent_lun(unit: &LogicalUnit, cdb: Cdb<'_>) -> Decoded {
    let not_supported = Sense::illegal_request(AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED);
    let Lookup::Found(command) = opcodes::find(cdb) else { return Response::from(not_supported).into() };
    if let Some((byte, bit)) = command.reserved_bit_set_in(cdb.0) {
        return Response::from(invalid_bit(byte, bit)).into();
    }
    let result = match command.on_absent_lun {
        opcodes::OnAbsentLun::Refuse => Err(not_supported),
        opcodes::OnAbsentLun::Inquiry => inquiry::inquiry_of_absent_lun(unit, cdb),
        opcodes::OnAbsentLun::ReportLuns => report_luns::report(cdb),
        opcodes::OnAbsentLun::RequestSense => Ok(request_sense::answer(&not_supported, cdb)),
    };
    result.unwrap_or_else(|sense| Response::from(sense).into())
}

#[cfg(test)]
mod tests;
