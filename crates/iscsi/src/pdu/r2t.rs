//! Ready To Transfer, RFC 7143 section 11.8.

use super::header::{Opcode, U24, pdu_header};
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// R2T PDU header, RFC 7143 section 11.8.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct R2t {
    pub opcode: u8,
    pub flags: u8,
    reserved: [u8; 2],
    pub total_ahs_len: u8,
    pub data_segment_len: U24,
    pub lun: U64,
    pub itt: U32,
    pub ttt: U32,
    /// The next StatSN; an R2T does not use it up.
    pub stat_sn: U32,
    pub exp_cmd_sn: U32,
    pub max_cmd_sn: U32,
    pub r2t_sn: U32,
    pub buffer_offset: U32,
    pub desired_data_len: U32,
}
pdu_header!(R2t, Opcode::R2t);
