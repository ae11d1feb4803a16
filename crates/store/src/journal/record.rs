//! One journal record: the header area of one group commit, followed by its payload blocks.

use crate::codec::Decoder;
use crate::journal::entry::Entry;
use crate::layout::BLOCK;
use crate::superblock::checksum_without;
use evenkeel_types::AlignedBuf;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First bytes of a record.
pub(crate) const RECORD_MAGIC: [u8; 8] = *b"EVKJRNL\x01";
/// Blocks of a record's header area at most.
pub(crate) const RECORD_HEADER_BLOCKS_MAX: u32 = 16;
/// Payload blocks of a record at most: one write of a whole extent that finds no free unit.
pub(crate) const RECORD_PAYLOAD_BLOCKS_MAX: u32 = 1024;
/// A record takes at most this fraction of the ring.
pub(crate) const RECORD_RING_FRACTION: u32 = 4;
/// Payload blocks after which a group commit takes no further operation (1 MiB).
pub(crate) const GROUP_PAYLOAD_BLOCKS: u32 = 256;
/// Bytes of a header before its first entry.
pub(crate) const HEADER_BYTES: usize = 128;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 8],
    checksum: U32,
    header_blocks: U16,
    reserved: [u8; 2],
    payload_blocks: U32,
    entry_count: U32,
    entry_bytes: U32,
    position: U32,
    store_id: [u8; 16],
    mount: U64,
    sequence: U64,
    known_durable: U64,
    chain: U32,
    reserved_2: [u8; 52],
}
const _: () = assert!(size_of::<RawHeader>() == HEADER_BYTES);
const CHECKSUM_AT: usize = 8;
const _: () = assert!(std::mem::offset_of!(RawHeader, checksum) == CHECKSUM_AT);

/// The fixed part of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) header_blocks: u32,
    pub(crate) payload_blocks: u32,
    pub(crate) entry_count: u32,
    pub(crate) entry_bytes: u32,
    /// Block of the ring at which the record begins.
    pub(crate) position: u32,
    pub(crate) store_id: u128,
    pub(crate) mount: u64,
    pub(crate) sequence: u64,
    pub(crate) known_durable: u64,
    pub(crate) chain: u32,
}

impl Header {
    /// Blocks of the whole record.
    pub(crate) const fn blocks(&self) -> u32 {
        self.header_blocks + self.payload_blocks
    }

    /// Reads the fixed part; `None` if it cannot be one. The checksum is not verified here.
    pub(crate) fn peek(bytes: &[u8]) -> Option<Self> {
        let (raw, _) = RawHeader::ref_from_prefix(bytes).ok()?;
        let header = Self {
            header_blocks: raw.header_blocks.get().into(),
            payload_blocks: raw.payload_blocks.get(),
            entry_count: raw.entry_count.get(),
            entry_bytes: raw.entry_bytes.get(),
            position: raw.position.get(),
            store_id: u128::from_le_bytes(raw.store_id),
            mount: raw.mount.get(),
            sequence: raw.sequence.get(),
            known_durable: raw.known_durable.get(),
            chain: raw.chain.get(),
        };
        let area = header.header_blocks as usize * BLOCK;
        let sensible = raw.magic == RECORD_MAGIC
            && (1..=RECORD_HEADER_BLOCKS_MAX).contains(&header.header_blocks)
            && header.payload_blocks <= RECORD_PAYLOAD_BLOCKS_MAX
            && header.entry_bytes as usize <= area - HEADER_BYTES;
        sensible.then_some(header)
    }

    /// Verifies the checksum of the header area and gives it, for the chain.
    pub(crate) fn verify(area: &[u8]) -> Option<u32> {
        let (raw, _) = RawHeader::ref_from_prefix(area).ok()?;
        let checksum = checksum_without(area, CHECKSUM_AT);
        (checksum == raw.checksum.get()).then_some(checksum)
    }

    /// The entries of a verified header area; `None` if they make no sense.
    pub(crate) fn entries(&self, area: &[u8]) -> Option<Vec<Entry>> {
        let mut from = Decoder(area.get(HEADER_BYTES..HEADER_BYTES + self.entry_bytes as usize)?);
        let mut entries = Vec::new();
        while !from.is_empty() {
            entries.push(Entry::decode(&mut from)?);
        }
        let payload: u32 = entries.iter().map(Entry::payload_blocks).sum();
        (entries.len() == self.entry_count as usize && payload == self.payload_blocks).then_some(entries)
    }

    /// The header area around encoded entries, and its checksum. `header_blocks` and `entry_bytes` are computed.
    pub(crate) fn encode(&self, entries: &[u8]) -> (AlignedBuf, u32) {
        let blocks = header_blocks(entries.len());
        assert!(blocks <= RECORD_HEADER_BLOCKS_MAX, "a group commit keeps its header area within its bound");
        let raw = RawHeader {
            magic: RECORD_MAGIC,
            checksum: U32::ZERO,
            header_blocks: U16::new(blocks as u16),
            reserved: [0; 2],
            payload_blocks: U32::new(self.payload_blocks),
            entry_count: U32::new(self.entry_count),
            entry_bytes: U32::new(entries.len() as u32),
            position: U32::new(self.position),
            store_id: self.store_id.to_le_bytes(),
            mount: U64::new(self.mount),
            sequence: U64::new(self.sequence),
            known_durable: U64::new(self.known_durable),
            chain: U32::new(self.chain),
            reserved_2: [0; 52],
        };
        let mut area = AlignedBuf::zeroed(blocks as usize * BLOCK);
        area[..HEADER_BYTES].copy_from_slice(raw.as_bytes());
        area[HEADER_BYTES..HEADER_BYTES + entries.len()].copy_from_slice(entries);
        let checksum = checksum_without(&area, CHECKSUM_AT);
        area[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_le_bytes());
        (area, checksum)
    }
}

/// Blocks of the header area for so many bytes of entries.
pub(crate) const fn header_blocks(entry_bytes: usize) -> u32 {
    (HEADER_BYTES + entry_bytes).div_ceil(BLOCK) as u32
}
