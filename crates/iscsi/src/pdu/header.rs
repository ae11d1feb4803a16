//! What all PDUs have in common: opcode, lengths, initiator task tag (RFC 7143 section 11.2).

use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a basic header segment.
pub const BHS_BYTES: usize = 48;

/// The tag value that names no task and no transfer.
pub const RESERVED_TAG: u32 = 0xffff_ffff;

/// A basic header segment of any kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Bhs {
    /// Immediate bit (0x40 in requests) and opcode.
    pub opcode: u8,
    /// Flags of the kind of PDU; see [`crate::pdu::flags`].
    pub flags: u8,
    /// Depends on the kind.
    pub specific: [u8; 2],
    /// Length of all additional header segments, in words of 4 bytes.
    pub total_ahs_len: u8,
    /// Length of the data segment without padding, in bytes.
    pub data_segment_len: U24,
    /// LUN, or depends on the kind.
    pub lun: U64,
    /// Initiator task tag.
    pub itt: U32,
    /// Depends on the kind.
    pub rest: [u8; 28],
}

const _: () = assert!(size_of::<Bhs>() == BHS_BYTES);

impl Bhs {
    /// A header of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; BHS_BYTES]) -> Self {
        zerocopy::transmute!(bytes)
    }

    /// The kind of PDU, if it is one that exists.
    #[must_use]
    pub const fn kind(&self) -> Option<Opcode> {
        Opcode::from_byte(self.opcode)
    }

    /// Whether the immediate bit is set; it means something in requests only.
    #[must_use]
    pub const fn is_immediate(&self) -> bool {
        self.opcode & super::flags::IMMEDIATE != 0
    }

    /// Whether a flag bit is set.
    #[must_use]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The same bytes as the kind of PDU that the caller has found by the opcode.
    #[must_use]
    pub fn view<T: PduHeader>(&self) -> &T {
        T::ref_from_bytes(self.as_bytes()).expect("every header view is as long as a basic header segment")
    }

    /// The bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; BHS_BYTES] {
        zerocopy::transmute!(self)
    }
}

/// A view of a basic header segment.
pub trait PduHeader: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned {
    /// The opcode of this kind.
    const OPCODE: Opcode;

    /// A header with the opcode set and zeros elsewhere.
    #[must_use]
    fn empty() -> Self
    where
        Self: Sized,
    {
        let mut bytes = [0u8; BHS_BYTES];
        bytes[0] = Self::OPCODE as u8;
        Self::read_from_bytes(&bytes).expect("every header view is as long as a basic header segment")
    }

    /// The bytes of the header.
    #[must_use]
    fn bhs(&self) -> Bhs {
        Bhs::read_from_bytes(self.as_bytes()).expect("every header view is as long as a basic header segment")
    }
}

/// Declares that a struct is the header of a kind of PDU, and checks its size.
macro_rules! pdu_header {
    ($name:ident, $opcode:expr) => {
        const _: () = assert!(size_of::<$name>() == $crate::pdu::BHS_BYTES);
        impl $crate::pdu::PduHeader for $name {
            const OPCODE: $crate::pdu::Opcode = $opcode;
        }
    };
}
pub(crate) use pdu_header;

/// Kinds of PDUs, RFC 7143 section 11.2.1.2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Opcode {
    NopOut = 0x00,
    ScsiCommand = 0x01,
    TaskManagementRequest = 0x02,
    LoginRequest = 0x03,
    TextRequest = 0x04,
    DataOut = 0x05,
    LogoutRequest = 0x06,
    SnackRequest = 0x10,
    NopIn = 0x20,
    ScsiResponse = 0x21,
    TaskManagementResponse = 0x22,
    LoginResponse = 0x23,
    TextResponse = 0x24,
    DataIn = 0x25,
    LogoutResponse = 0x26,
    R2t = 0x31,
    AsyncMessage = 0x32,
    Reject = 0x3f,
}

impl Opcode {
    /// The kind that the first byte of a header names, if there is one.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte & 0x3f {
            0x00 => Self::NopOut,
            0x01 => Self::ScsiCommand,
            0x02 => Self::TaskManagementRequest,
            0x03 => Self::LoginRequest,
            0x04 => Self::TextRequest,
            0x05 => Self::DataOut,
            0x06 => Self::LogoutRequest,
            0x10 => Self::SnackRequest,
            0x20 => Self::NopIn,
            0x21 => Self::ScsiResponse,
            0x22 => Self::TaskManagementResponse,
            0x23 => Self::LoginResponse,
            0x24 => Self::TextResponse,
            0x25 => Self::DataIn,
            0x26 => Self::LogoutResponse,
            0x31 => Self::R2t,
            0x32 => Self::AsyncMessage,
            0x3f => Self::Reject,
            _ => return None,
        })
    }
}

/// Three bytes, big-endian: the length of a data segment.
#[derive(
    Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct U24([u8; 3]);

impl U24 {
    /// Largest value.
    pub const MAX: u32 = 0xff_ffff;

    /// The number as three bytes; it must not be above [`U24::MAX`].
    #[must_use]
    pub const fn new(value: u32) -> Self {
        assert!(value <= Self::MAX, "a data segment is shorter than 16 MiB");
        let [_, high, middle, low] = value.to_be_bytes();
        Self([high, middle, low])
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        u32::from_be_bytes([0, self.0[0], self.0[1], self.0[2]])
    }
}

/// What the additional header segments of a PDU hold (RFC 7143 section 11.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct AhsSummary {
    /// An extended CDB: the command descriptor block goes on behind the first 16 bytes.
    pub extended_cdb: bool,
    /// The expected data-in length of a command that transfers both ways.
    pub bidirectional_read_len: Option<u32>,
}

impl AhsSummary {
    const EXTENDED_CDB: u8 = 1;
    const BIDIRECTIONAL_READ_LEN: u8 = 2;
    /// Length, type, and the first type-specific byte.
    const PREFIX_BYTES: usize = 4;

    /// Reads the additional header segments; `None` if their lengths do not fit together. Unknown types are skipped.
    #[must_use]
    pub fn parse(mut ahs: &[u8]) -> Option<Self> {
        let mut summary = Self::default();
        while !ahs.is_empty() {
            let prefix = ahs.first_chunk::<{ Self::PREFIX_BYTES }>()?;
            // AHSLength counts what follows the type byte, without padding; the byte in the prefix is part of it.
            let specific = usize::from(u16::from_be_bytes([prefix[0], prefix[1]]));
            let whole = (3 + specific).next_multiple_of(4);
            let segment = ahs.get(..whole.max(Self::PREFIX_BYTES))?;
            match prefix[2] & 0x3f {
                Self::EXTENDED_CDB => summary.extended_cdb = true,
                Self::BIDIRECTIONAL_READ_LEN => {
                    let len = segment.get(4..8)?.first_chunk::<4>()?;
                    summary.bidirectional_read_len = Some(u32::from_be_bytes(*len));
                }
                _ => {}
            }
            ahs = &ahs[segment.len()..];
        }
        Some(summary)
    }
}
