//! NOP-Out and NOP-In, RFC 7143 sections 11.18 and 11.19.

use super::header::{Opcode, U24, pdu_header};
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// NOP-Out PDU header, RFC 7143 section 11.18.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct NopOut {
    pub opcode: u8,
    pub flags: u8,
    reserved: [u8; 2],
    pub total_ahs_len: u8,
    pub data_segment_len: U24,
    pub lun: U64,
    /// The reserved tag if no answer is wanted.
    pub itt: U32,
    /// Copied from the NOP-In that this answers; else the reserved tag.
    pub ttt: U32,
    pub cmd_sn: U32,
    pub exp_stat_sn: U32,
    reserved_2: [u8; 16],
}
pdu_header!(NopOut, Opcode::NopOut);

/// NOP-In PDU header, RFC 7143 section 11.19.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct NopIn {
    pub opcode: u8,
    pub flags: u8,
    reserved: [u8; 2],
    pub total_ahs_len: u8,
    pub data_segment_len: U24,
    pub lun: U64,
    pub itt: U32,
    pub ttt: U32,
    /// The next StatSN; used up only if this answers a NOP-Out.
    pub stat_sn: U32,
    pub exp_cmd_sn: U32,
    pub max_cmd_sn: U32,
    reserved_2: [u8; 12],
}
pdu_header!(NopIn, Opcode::NopIn);
