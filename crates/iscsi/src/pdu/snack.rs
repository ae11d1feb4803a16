//! SNACK Request, RFC 7143 section 11.16. Error recovery level 0 does not use it; it is known so that it can be
//! refused by name.

use super::header::{Opcode, U24, pdu_header};
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// SNACK Request PDU header, RFC 7143 section 11.16.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct SnackRequest {
    pub opcode: u8,
    pub flags: u8,
    reserved: [u8; 2],
    pub total_ahs_len: u8,
    pub data_segment_len: U24,
    pub lun: U64,
    pub itt: U32,
    pub ttt: U32,
    reserved_2: [u8; 4],
    pub exp_stat_sn: U32,
    reserved_3: [u8; 8],
    pub beg_run: U32,
    pub run_length: U32,
}
pdu_header!(SnackRequest, Opcode::SnackRequest);
