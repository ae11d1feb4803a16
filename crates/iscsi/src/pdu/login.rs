//! Login Request and Login Response, RFC 7143 sections 11.12 and 11.13.

use super::header::{Opcode, U24, pdu_header};
use std::fmt;
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The initiator's part of a session's identity, RFC 7143 section 11.12.5.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    Debug,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(transparent)]
pub struct Isid(pub [u8; 6]);

impl fmt::Display for Isid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Login Request PDU header, RFC 7143 section 11.12.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct LoginRequest {
    pub opcode: u8,
    /// T, C, the current stage (bits 2 and 3) and the next stage (bits 0 and 1).
    pub flags: u8,
    pub version_max: u8,
    pub version_min: u8,
    pub total_ahs_len: u8,
    pub data_segment_len: U24,
    pub isid: Isid,
    pub tsih: U16,
    pub itt: U32,
    pub cid: U16,
    reserved: [u8; 2],
    pub cmd_sn: U32,
    pub exp_stat_sn: U32,
    reserved_2: [u8; 16],
}
pdu_header!(LoginRequest, Opcode::LoginRequest);

/// Login Response PDU header, RFC 7143 section 11.13.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct LoginResponse {
    pub opcode: u8,
    pub flags: u8,
    pub version_max: u8,
    pub version_active: u8,
    pub total_ahs_len: u8,
    pub data_segment_len: U24,
    pub isid: Isid,
    pub tsih: U16,
    pub itt: U32,
    reserved: [u8; 4],
    pub stat_sn: U32,
    pub exp_cmd_sn: U32,
    pub max_cmd_sn: U32,
    pub status_class: u8,
    pub status_detail: u8,
    reserved_2: [u8; 10],
}
pdu_header!(LoginResponse, Opcode::LoginResponse);

/// Stages of a login, RFC 7143 section 11.12.3.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Stage {
    Security = 0,
    Operational = 1,
    FullFeature = 3,
}

impl Stage {
    const fn from_bits(bits: u8) -> Option<Self> {
        match bits & 3 {
            0 => Some(Self::Security),
            1 => Some(Self::Operational),
            3 => Some(Self::FullFeature),
            _ => None,
        }
    }

    /// The current stage that the flags of a login PDU name.
    #[must_use]
    pub const fn current(flags: u8) -> Option<Self> {
        Self::from_bits(flags >> 2)
    }

    /// The next stage that the flags of a login PDU name; it means something only with the T bit.
    #[must_use]
    pub const fn next(flags: u8) -> Option<Self> {
        Self::from_bits(flags)
    }

    /// The flags bits of a current and a next stage.
    #[must_use]
    pub const fn flags(current: Self, next: Self) -> u8 {
        (current as u8) << 2 | next as u8
    }
}

/// Status class (upper byte) and detail (lower byte) of a Login Response, RFC 7143 section 11.13.5.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoginStatus(pub u16);

#[allow(missing_docs)]
impl LoginStatus {
    pub const SUCCESS: Self = Self(0x0000);
    pub const TARGET_MOVED_TEMPORARILY: Self = Self(0x0101);
    pub const TARGET_MOVED_PERMANENTLY: Self = Self(0x0102);
    pub const INITIATOR_ERROR: Self = Self(0x0200);
    pub const AUTHENTICATION_FAILURE: Self = Self(0x0201);
    pub const AUTHORIZATION_FAILURE: Self = Self(0x0202);
    pub const NOT_FOUND: Self = Self(0x0203);
    pub const TARGET_REMOVED: Self = Self(0x0204);
    pub const UNSUPPORTED_VERSION: Self = Self(0x0205);
    pub const TOO_MANY_CONNECTIONS: Self = Self(0x0206);
    pub const MISSING_PARAMETER: Self = Self(0x0207);
    pub const CANNOT_INCLUDE_IN_SESSION: Self = Self(0x0208);
    pub const SESSION_TYPE_NOT_SUPPORTED: Self = Self(0x0209);
    pub const SESSION_DOES_NOT_EXIST: Self = Self(0x020a);
    pub const INVALID_DURING_LOGIN: Self = Self(0x020b);
    pub const TARGET_ERROR: Self = Self(0x0300);
    pub const SERVICE_UNAVAILABLE: Self = Self(0x0301);
    pub const OUT_OF_RESOURCES: Self = Self(0x0302);

    /// The status of a class and a detail byte.
    #[must_use]
    pub const fn new(class: u8, detail: u8) -> Self {
        Self(u16::from_be_bytes([class, detail]))
    }

    /// The class byte: 0 success, 1 redirection, 2 initiator error, 3 target error.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// The detail byte.
    #[must_use]
    pub const fn detail(self) -> u8 {
        self.0.to_be_bytes()[1]
    }
}

impl fmt::Debug for LoginStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoginStatus({:#06x})", self.0)
    }
}

impl fmt::Display for LoginStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match *self {
            Self::SUCCESS => "success",
            Self::TARGET_MOVED_TEMPORARILY => "target moved temporarily",
            Self::TARGET_MOVED_PERMANENTLY => "target moved permanently",
            Self::INITIATOR_ERROR => "initiator error",
            Self::AUTHENTICATION_FAILURE => "authentication failure",
            Self::AUTHORIZATION_FAILURE => "authorization failure",
            Self::NOT_FOUND => "target not found",
            Self::TARGET_REMOVED => "target removed",
            Self::UNSUPPORTED_VERSION => "unsupported version",
            Self::TOO_MANY_CONNECTIONS => "too many connections",
            Self::MISSING_PARAMETER => "missing parameter",
            Self::CANNOT_INCLUDE_IN_SESSION => "cannot include in session",
            Self::SESSION_TYPE_NOT_SUPPORTED => "session type not supported",
            Self::SESSION_DOES_NOT_EXIST => "session does not exist",
            Self::INVALID_DURING_LOGIN => "request invalid during login",
            Self::TARGET_ERROR => "target error",
            Self::SERVICE_UNAVAILABLE => "service unavailable",
            Self::OUT_OF_RESOURCES => "out of resources",
            _ => "unknown status",
        };
        write!(f, "{meaning} ({:#06x})", self.0)
    }
}
