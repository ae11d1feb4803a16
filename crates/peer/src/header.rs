//! The 64 bytes in front of every message.

use evenkeel_types::checksum::crc32c;
use evenkeel_types::geometry::{BLOCK_BYTES, EXTENT_BYTES};
use evenkeel_types::{Epoch, Incarnation, ServerId};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the header in bytes.
pub const HEADER_BYTES: usize = 64;
/// Version of the frames and of the messages in them. Servers of different versions do not talk to each other.
pub const WIRE_VERSION: u16 = 1;
/// Longest body, in bytes: far above the longest message (an inventory reply).
pub const BODY_BYTES_MAX: u32 = 32 << 10;
/// Longest payload, in bytes: a write of a whole extent, and room for the two data parts of a compare-and-write.
pub const PAYLOAD_BYTES_MAX: u32 = EXTENT_BYTES + 2 * BLOCK_BYTES;

const MAGIC: [u8; 4] = *b"EvKp";

/// A hash of the group's name: servers of different groups that reach each other by mistake notice it at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct GroupHash(pub u64);

impl GroupHash {
    /// The hash of a group's name: FNV-1a, 64 bits.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self(name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        }))
    }
}

/// The header as it is on the wire; all numbers are little-endian.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct WireHeader {
    pub(crate) magic: [u8; 4],
    pub(crate) version: U16,
    pub(crate) kind: U16,
    pub(crate) sender: U32,
    pub(crate) body_len: U32,
    pub(crate) group: U64,
    pub(crate) incarnation: U64,
    pub(crate) request: U64,
    pub(crate) epoch: U64,
    pub(crate) payload_len: U32,
    pub(crate) body_crc: U32,
    pub(crate) payload_crc: U32,
    pub(crate) header_crc: U32,
}

const _: () = assert!(size_of::<WireHeader>() == HEADER_BYTES);
const _: () = assert!(std::mem::offset_of!(WireHeader, header_crc) == HEADER_BYTES - 4);

/// What a header says, checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Who sent the frame.
    pub sender: ServerId,
    /// In which of its lives.
    pub incarnation: Incarnation,
    /// The sender's group.
    pub group: GroupHash,
    /// The kind of the message, [`crate::Message::kind`].
    pub kind: u16,
    /// The number that ties a reply to its request; zero where the message has none.
    pub request: u64,
    /// The epoch that the message is about; zero where it has none.
    pub epoch: Epoch,
}

/// Lengths and checksums of the parts behind a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Parts {
    pub(crate) body_len: u32,
    pub(crate) payload_len: u32,
    pub(crate) body_crc: u32,
    pub(crate) payload_crc: u32,
}

/// Why a header is not one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HeaderError {
    Magic([u8; 4]),
    Version(u16),
    Checksum,
    BodyLength(u32),
    PayloadLength(u32),
}

impl Header {
    pub(crate) fn encode(self, parts: Parts) -> [u8; HEADER_BYTES] {
        assert!(parts.body_len <= BODY_BYTES_MAX, "message body of {} bytes", parts.body_len);
        assert!(parts.payload_len <= PAYLOAD_BYTES_MAX, "message payload of {} bytes", parts.payload_len);
        let mut wire = WireHeader {
            magic: MAGIC,
            version: U16::new(WIRE_VERSION),
            kind: U16::new(self.kind),
            sender: U32::new(self.sender.0),
            body_len: U32::new(parts.body_len),
            group: U64::new(self.group.0),
            incarnation: U64::new(self.incarnation.0),
            request: U64::new(self.request),
            epoch: U64::new(self.epoch.0),
            payload_len: U32::new(parts.payload_len),
            body_crc: U32::new(parts.body_crc),
            payload_crc: U32::new(parts.payload_crc),
            header_crc: U32::ZERO,
        };
        wire.header_crc = U32::new(crc32c(&wire.as_bytes()[..HEADER_BYTES - 4]));
        zerocopy::transmute!(wire)
    }

    /// Checks the parts in the order in which they can be trusted: magic, version, checksum, then the lengths.
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<(Self, Parts), HeaderError> {
        let wire: &WireHeader = zerocopy::transmute_ref!(bytes);
        if wire.magic != MAGIC {
            return Err(HeaderError::Magic(wire.magic));
        }
        if wire.version.get() != WIRE_VERSION {
            return Err(HeaderError::Version(wire.version.get()));
        }
        if wire.header_crc.get() != crc32c(&bytes[..HEADER_BYTES - 4]) {
            return Err(HeaderError::Checksum);
        }
        let parts = Parts {
            body_len: wire.body_len.get(),
            payload_len: wire.payload_len.get(),
            body_crc: wire.body_crc.get(),
            payload_crc: wire.payload_crc.get(),
        };
        if parts.body_len > BODY_BYTES_MAX {
            return Err(HeaderError::BodyLength(parts.body_len));
        }
        if parts.payload_len > PAYLOAD_BYTES_MAX {
            return Err(HeaderError::PayloadLength(parts.payload_len));
        }
        let header = Self {
            sender: ServerId(wire.sender.get()),
            incarnation: Incarnation(wire.incarnation.get()),
            group: GroupHash(wire.group.get()),
            kind: wire.kind.get(),
            request: wire.request.get(),
            epoch: Epoch(wire.epoch.get()),
        };
        Ok((header, parts))
    }
}
