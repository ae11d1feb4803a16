//! SCSI Command and SCSI Response, RFC 7143 sections 11.3 and 11.4.

use super::header::{Opcode, U24, pdu_header};
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// SCSI Command PDU header, RFC 7143 section 11.3.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct ScsiCommand {
    pub opcode: u8,
    /// F, R, W and the task attribute in the low 3 bits.
    pub flags: u8,
    reserved: [u8; 2],
    pub total_ahs_len: u8,
    pub data_segment_len: U24,
    pub lun: U64,
    pub itt: U32,
    /// Bytes that the initiator expects to be transferred.
    pub expected_data_len: U32,
    pub cmd_sn: U32,
    pub exp_stat_sn: U32,
    pub cdb: [u8; 16],
}
pdu_header!(ScsiCommand, Opcode::ScsiCommand);

impl ScsiCommand {
    /// Task attribute SIMPLE.
    pub const ATTRIBUTE_SIMPLE: u8 = 1;
}

/// SCSI Response PDU header, RFC 7143 section 11.4.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct ScsiResponse {
    pub opcode: u8,
    /// F always; O or U for a residual count.
    pub flags: u8,
    /// 0x00: command completed at target, 0x01: target failure.
    pub response: u8,
    /// SCSI status, valid if the command completed.
    pub status: u8,
    pub total_ahs_len: u8,
    pub data_segment_len: U24,
    reserved: [u8; 8],
    pub itt: U32,
    pub snack_tag: U32,
    pub stat_sn: U32,
    pub exp_cmd_sn: U32,
    pub max_cmd_sn: U32,
    pub exp_data_sn: U32,
    pub bidirectional_residual_count: U32,
    pub residual_count: U32,
}
pdu_header!(ScsiResponse, Opcode::ScsiResponse);

impl ScsiResponse {
    /// Response value: the command was completed, and the status is valid.
    pub const COMPLETED: u8 = 0x00;
    /// Response value: the target failed and there is no status.
    pub const TARGET_FAILURE: u8 = 0x01;
}
