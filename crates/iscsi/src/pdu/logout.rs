//! Logout Request and Logout Response, RFC 7143 sections 11.14 and 11.15.

use super::header::{Opcode, U24, pdu_header};
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Logout Request PDU header, RFC 7143 section 11.14.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct LogoutRequest {
    pub opcode: u8,
    /// F, and the reason in the low 7 bits.
    pub flags: u8,
    reserved: [u8; 2],
    pub total_ahs_len: u8,
    pub data_segment_len: U24,
    reserved_2: [u8; 8],
    pub itt: U32,
    pub cid: U16,
    reserved_3: [u8; 2],
    pub cmd_sn: U32,
    pub exp_stat_sn: U32,
    reserved_4: [u8; 16],
}
pdu_header!(LogoutRequest, Opcode::LogoutRequest);

/// Logout Response PDU header, RFC 7143 section 11.15.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct LogoutResponse {
    pub opcode: u8,
    pub flags: u8,
    /// 0 closed, 1 CID not found, 2 connection recovery not supported, 3 cleanup failed.
    pub response: u8,
    reserved: u8,
    pub total_ahs_len: u8,
    pub data_segment_len: U24,
    reserved_2: [u8; 8],
    pub itt: U32,
    reserved_3: [u8; 4],
    pub stat_sn: U32,
    pub exp_cmd_sn: U32,
    pub max_cmd_sn: U32,
    reserved_4: [u8; 4],
    pub time2wait: U16,
    pub time2retain: U16,
    reserved_5: [u8; 4],
}
pdu_header!(LogoutResponse, Opcode::LogoutResponse);

#[allow(missing_docs)]
impl LogoutResponse {
    pub const CLOSED: u8 = 0;
    pub const CID_NOT_FOUND: u8 = 1;
    pub const RECOVERY_NOT_SUPPORTED: u8 = 2;
}

/// Reasons of a logout, RFC 7143 section 11.14.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum LogoutReason {
    CloseSession = 0,
    CloseConnection = 1,
    RemoveForRecovery = 2,
}

impl LogoutReason {
    /// The reason that the flags byte of a request names, if there is one.
    #[must_use]
    pub const fn from_flags(flags: u8) -> Option<Self> {
        match flags & 0x7f {
            0 => Some(Self::CloseSession),
            1 => Some(Self::CloseConnection),
            2 => Some(Self::RemoveForRecovery),
            _ => None,
        }
    }
}
