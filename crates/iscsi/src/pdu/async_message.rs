//! Asynchronous Message, RFC 7143 section 11.9.

use super::header::{Opcode, U24, pdu_header};
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Asynchronous Message PDU header, RFC 7143 section 11.9.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct AsyncMessage {
    pub opcode: u8,
    pub flags: u8,
    reserved: [u8; 2],
    pub total_ahs_len: u8,
    pub data_segment_len: U24,
    pub lun: U64,
    /// Always the reserved tag.
    pub itt: U32,
    reserved_2: [u8; 4],
    pub stat_sn: U32,
    pub exp_cmd_sn: U32,
    pub max_cmd_sn: U32,
    pub event: u8,
    pub vendor_code: u8,
    pub parameter_1: U16,
    pub parameter_2: U16,
    /// Seconds, for the logout events.
    pub parameter_3: U16,
    reserved_3: [u8; 4],
}
pdu_header!(AsyncMessage, Opcode::AsyncMessage);

/// Events of an Asynchronous Message, RFC 7143 section 11.9.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AsyncEvent {
    /// 0: a SCSI event, with sense data in the data segment.
    Scsi,
    /// 1: the target asks for a logout within `parameter_3` seconds.
    LogoutRequested,
    /// 2: the target will drop, or has dropped, the connection.
    ConnectionDrop,
    /// 3: the target will drop, or has dropped, all connections of the session.
    SessionDrop,
    /// 4: the target asks for a renegotiation of parameters.
    NegotiationRequested,
    /// Any other.
    Other(u8),
}

impl AsyncEvent {
    /// The event with this code.
    #[must_use]
    pub const fn from_byte(code: u8) -> Self {
        match code {
            0 => Self::Scsi,
            1 => Self::LogoutRequested,
            2 => Self::ConnectionDrop,
            3 => Self::SessionDrop,
            4 => Self::NegotiationRequested,
            other => Self::Other(other),
        }
    }

    /// Its code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Scsi => 0,
            Self::LogoutRequested => 1,
            Self::ConnectionDrop => 2,
            Self::SessionDrop => 3,
            Self::NegotiationRequested => 4,
            Self::Other(code) => code,
        }
    }
}
