//! Text Request and Text Response, RFC 7143 sections 11.10 and 11.11.

use super::header::{Opcode, U24, pdu_header};
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Text Request PDU header, RFC 7143 section 11.10.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct TextRequest {
    pub opcode: u8,
    /// F and C.
    pub flags: u8,
    reserved: [u8; 2],
    pub total_ahs_len: u8,
    pub data_segment_len: U24,
    pub lun: U64,
    pub itt: U32,
    pub ttt: U32,
    pub cmd_sn: U32,
    pub exp_stat_sn: U32,
    reserved_2: [u8; 16],
}
pdu_header!(TextRequest, Opcode::TextRequest);

/// Text Response PDU header, RFC 7143 section 11.11.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct TextResponse {
    pub opcode: u8,
    /// F and C.
    pub flags: u8,
    reserved: [u8; 2],
    pub total_ahs_len: u8,
    pub data_segment_len: U24,
    pub lun: U64,
    pub itt: U32,
    pub ttt: U32,
    pub stat_sn: U32,
    pub exp_cmd_sn: U32,
    pub max_cmd_sn: U32,
    reserved_2: [u8; 12],
}
pdu_header!(TextResponse, Opcode::TextResponse);
