//! Reject, RFC 7143 section 11.17.

use super::header::{Opcode, U24, pdu_header};
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Reject PDU header, RFC 7143 section 11.17. The data segment holds the header of the rejected PDU.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Reject {
    pub opcode: u8,
    pub flags: u8,
    /// See [`RejectReason`].
    pub reason: u8,
    reserved: u8,
    pub total_ahs_len: u8,
    pub data_segment_len: U24,
    reserved_2: [u8; 8],
    /// Always the reserved tag.
    pub itt: U32,
    reserved_3: [u8; 4],
    pub stat_sn: U32,
    pub exp_cmd_sn: U32,
    pub max_cmd_sn: U32,
    pub data_sn: U32,
    reserved_4: [u8; 8],
}
pdu_header!(Reject, Opcode::Reject);

/// Why a PDU was rejected, RFC 7143 section 11.17.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum RejectReason {
    DataDigestError = 0x02,
    SnackReject = 0x03,
    ProtocolError = 0x04,
    CommandNotSupported = 0x05,
    TooManyImmediateCommands = 0x06,
    TaskInProgress = 0x07,
    InvalidDataAck = 0x08,
    InvalidPduField = 0x09,
    LongOperationReject = 0x0a,
    WaitingForLogout = 0x0c,
}
