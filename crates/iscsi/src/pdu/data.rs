//! SCSI Data-Out and SCSI Data-In, RFC 7143 section 11.7.

use super::header::{Opcode, U24, pdu_header};
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// SCSI Data-Out PDU header, RFC 7143 section 11.7.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct DataOut {
    pub opcode: u8,
    /// F in the last PDU of a sequence.
    pub flags: u8,
    reserved: [u8; 2],
    pub total_ahs_len: u8,
    pub data_segment_len: U24,
    pub lun: U64,
    pub itt: U32,
    /// Target transfer tag of the R2T that this answers; reserved value for unsolicited data.
    pub ttt: U32,
    reserved_2: [u8; 4],
    pub exp_stat_sn: U32,
    reserved_3: [u8; 4],
    pub data_sn: U32,
    pub buffer_offset: U32,
    reserved_4: [u8; 4],
}
pdu_header!(DataOut, Opcode::DataOut);

/// SCSI Data-In PDU header, RFC 7143 section 11.7.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct DataIn {
    pub opcode: u8,
    /// F in the last PDU of a sequence, A for an acknowledgement, O, U and S (status in this header).
    pub flags: u8,
    reserved: u8,
    /// SCSI status if S is set.
    pub status: u8,
    pub total_ahs_len: u8,
    pub data_segment_len: U24,
    pub lun: U64,
    pub itt: U32,
    pub ttt: U32,
    /// Valid if S is set.
    pub stat_sn: U32,
    pub exp_cmd_sn: U32,
    pub max_cmd_sn: U32,
    pub data_sn: U32,
    pub buffer_offset: U32,
    pub residual_count: U32,
}
pdu_header!(DataIn, Opcode::DataIn);
