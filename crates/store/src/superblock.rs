//! The superblock: who the store is, where everything lies, and where replay begins. Two copies, written in turn.

use crate::disk::Disk;
use crate::fault::{
    DiskSnafu, NewerFormatSnafu, NotAStoreSnafu, StoreFault, SuperblockDamagedSnafu, SuperblockInvalidSnafu,
    TruncatedSnafu,
};
use crate::layout::{BLOCK, COUNTER_END, Geometry, JOURNAL_OFFSET, SLOT_BYTES, SUPERBLOCK_OFFSETS};
use evenkeel_types::checksum::Crc32c;
use evenkeel_types::geometry::{BLOCK_BYTES, REGION_BYTES};
use evenkeel_types::{AlignedBuf, Incarnation, ServerId};
use snafu::{ResultExt, ensure};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First bytes of a superblock.
pub(crate) const MAGIC: [u8; 8] = *b"EVNKEEL\x01";
/// Version of the format that this program writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;
/// Longest group name, in bytes.
pub const GROUP_NAME_BYTES_MAX: usize = 64;

/// The superblock as it lies on the disk. The first 16 bytes keep their place and meaning in every format version.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawSuperblock {
    magic: [u8; 8],
    format_version: U32,
    checksum: U32,
    generation: U64,
    store_id: [u8; 16],
    server: U32,
    group_len: U32,
    group: [u8; GROUP_NAME_BYTES_MAX],
    journal_offset: U64,
    journal_blocks: U32,
    slots: U32,
    table_offset: U64,
    units_offset: U64,
    units: U32,
    slots_used: U32,
    mount: U64,
    incarnation: U64,
    tail_sequence: U64,
    known_durable: U64,
    tail_position: U32,
    tail_chain: U32,
    clean: u8,
    reserved: [u8; 3903],
}
const _: () = assert!(size_of::<RawSuperblock>() == BLOCK);
const _: () = assert!(std::mem::offset_of!(RawSuperblock, checksum) == CHECKSUM_AT);
const CHECKSUM_AT: usize = 12;

/// A superblock whose checksum and numbers were verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Superblock {
    pub(crate) generation: u64,
    pub(crate) store_id: u128,
    pub(crate) server: ServerId,
    pub(crate) group: String,
    pub(crate) geometry: Geometry,
    /// Slots whose pages were initialised; pages behind them mean nothing.
    pub(crate) slots_used: u32,
    /// Grows with each open, which leaves nothing to replay: a record of another mount is a stale one.
    pub(crate) mount: u64,
    pub(crate) incarnation: Incarnation,
    /// Where replay begins.
    pub(crate) tail: JournalPoint,
    /// Records up to this sequence were durable when the superblock was written.
    pub(crate) known_durable: u64,
    /// The store was closed with nothing to replay.
    pub(crate) clean: bool,
}

/// A place between two records of the journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct JournalPoint {
    /// Block of the ring at which the next record begins, unless it does not fit before the ring's end.
    pub(crate) position: u32,
    /// Sequence of the next record.
    pub(crate) sequence: u64,
    /// Checksum of the record before.
    pub(crate) chain: u32,
}

/// CRC-32C of `bytes` with the four bytes at `at` taken as zeros.
pub(crate) fn checksum_without(bytes: &[u8], at: usize) -> u32 {
    let mut crc = Crc32c::default();
    crc.update(&bytes[..at]);
    crc.update(&[0; 4]);
    crc.update(&bytes[at + 4..]);
    crc.value()
}

/// Puts in the checksum.
pub(crate) fn seal(block: &mut [u8]) {
    let checksum = checksum_without(block, CHECKSUM_AT);
    block[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// What one copy of the superblock holds.
#[derive(Debug)]
pub(crate) enum Copy {
    /// An intact superblock of a known format.
    Intact(Box<Superblock>),
    /// An intact superblock of a newer format.
    Newer(u32),
    /// Not a superblock at all.
    Missing([u8; 8]),
    /// A superblock that fails its checksum.
    Damaged,
    /// An intact superblock with impossible numbers.
    Invalid(StoreFault),
}

impl Superblock {
    /// The block to be written.
    pub(crate) fn encode(&self) -> AlignedBuf {
        assert!(
            self.group.len() <= GROUP_NAME_BYTES_MAX,
            "group name was checked when the store was formatted"
        );
        let mut group = [0; GROUP_NAME_BYTES_MAX];
        group[..self.group.len()].copy_from_slice(self.group.as_bytes());
        let raw = RawSuperblock {
            magic: MAGIC,
            format_version: U32::new(FORMAT_VERSION),
            checksum: U32::ZERO,
            generation: U64::new(self.generation),
            store_id: self.store_id.to_le_bytes(),
            server: U32::new(self.server.0),
            group_len: U32::new(self.group.len() as u32),
            group,
            journal_offset: U64::new(JOURNAL_OFFSET),
            journal_blocks: U32::new(self.geometry.journal_blocks),
            slots: U32::new(self.geometry.slots),
            table_offset: U64::new(self.geometry.table_offset),
            units_offset: U64::new(self.geometry.units_offset),
            units: U32::new(self.geometry.units),
            slots_used: U32::new(self.slots_used),
            mount: U64::new(self.mount),
            incarnation: U64::new(self.incarnation.0),
            tail_sequence: U64::new(self.tail.sequence),
            known_durable: U64::new(self.known_durable),
            tail_position: U32::new(self.tail.position),
            tail_chain: U32::new(self.tail.chain),
            clean: u8::from(self.clean),
            reserved: [0; 3903],
        };
        let mut buf = AlignedBuf::copy_of(raw.as_bytes());
        seal(&mut buf);
        buf
    }

    /// Judges one copy.
    pub(crate) fn decode(bytes: &[u8]) -> Copy {
        let Ok((raw, _)) = RawSuperblock::ref_from_prefix(bytes) else { return Copy::Damaged };
        if raw.magic != MAGIC {
            return Copy::Missing(raw.magic);
        }
        if checksum_without(&bytes[..BLOCK], CHECKSUM_AT) != raw.checksum.get() {
            return Copy::Damaged;
        }
        if raw.format_version.get() > FORMAT_VERSION {
            return Copy::Newer(raw.format_version.get());
        }
        match Self::validate(raw) {
            Ok(superblock) => Copy::Intact(Box::new(superblock)),
            Err(fault) => Copy::Invalid(fault),
        }
    }

    fn validate(raw: &RawSuperblock) -> Result<Self, StoreFault> {
        let check = |field: &'static str, value: u64, ok: bool| {
            ensure!(ok, SuperblockInvalidSnafu { field, value });
            Ok(())
        };
        let region = u64::from(REGION_BYTES);
        let group_len = raw.group_len.get();
        check("format_version", raw.format_version.get().into(), raw.format_version.get() == FORMAT_VERSION)?;
        check("group_len", group_len.into(), group_len as usize <= GROUP_NAME_BYTES_MAX)?;
        check("journal_offset", raw.journal_offset.get(), raw.journal_offset.get() == JOURNAL_OFFSET)?;
        let geometry = Geometry {
            journal_blocks: raw.journal_blocks.get(),
            table_offset: raw.table_offset.get(),
            slots: raw.slots.get(),
            units_offset: raw.units_offset.get(),
            units: raw.units.get(),
        };
        let journal_ok = geometry.journal_bytes() >= crate::layout::JOURNAL_BYTES_MIN
            && geometry.journal_bytes() <= crate::layout::JOURNAL_BYTES_MAX;
        check("journal_blocks", geometry.journal_blocks.into(), journal_ok)?;
        let table_ok = geometry.table_offset == JOURNAL_OFFSET + geometry.journal_bytes();
        check("table_offset", geometry.table_offset, table_ok)?;
        let table_end = geometry.table_offset + u64::from(geometry.slots) * SLOT_BYTES;
        let units_ok = geometry.units_offset >= table_end && geometry.units_offset.is_multiple_of(region);
        check("units_offset", geometry.units_offset, units_ok && geometry.units_offset < u64::MAX / 2)?;
        check("units", geometry.units.into(), geometry.units > 0 && geometry.units < u32::MAX)?;
        check("slots_used", raw.slots_used.get().into(), raw.slots_used.get() <= geometry.slots)?;
        let position = raw.tail_position.get();
        check("tail_position", position.into(), position < geometry.journal_blocks)?;
        let sequence = raw.tail_sequence.get();
        check("tail_sequence", sequence, (1..COUNTER_END).contains(&sequence))?;
        let counters =
            [("generation", raw.generation), ("mount", raw.mount), ("incarnation", raw.incarnation)];
        for (field, value) in counters {
            check(field, value.get(), value.get() < COUNTER_END)?;
        }
        Ok(Self {
            generation: raw.generation.get(),
            store_id: u128::from_le_bytes(raw.store_id),
            server: ServerId(raw.server.get()),
            group: String::from_utf8_lossy(&raw.group[..group_len as usize]).into_owned(),
            geometry,
            slots_used: raw.slots_used.get(),
            mount: raw.mount.get(),
            incarnation: Incarnation(raw.incarnation.get()),
            tail: JournalPoint { position, sequence, chain: raw.tail_chain.get() },
            known_durable: raw.known_durable.get(),
            clean: raw.clean == 1,
        })
    }

    /// Where this generation is written.
    pub(crate) const fn offset(&self) -> u64 {
        SUPERBLOCK_OFFSETS[(self.generation % 2) as usize]
    }

    /// Reads both copies.
    pub(crate) fn read_copies(disk: &dyn Disk) -> Result<[Copy; 2], StoreFault> {
        let read = |offset| {
            let mut buf = AlignedBuf::zeroed(BLOCK);
            if offset + u64::from(BLOCK_BYTES) > disk.len() {
                return Ok(Copy::Missing([0; 8]));
            }
            disk.read_at(offset, &mut buf).context(DiskSnafu { doing: "reading the superblock" })?;
            Ok(Self::decode(&buf))
        };
        Ok([read(SUPERBLOCK_OFFSETS[0])?, read(SUPERBLOCK_OFFSETS[1])?])
    }

    /// The newer intact copy, and whether the other one is damaged.
    pub(crate) fn choose(copies: [Copy; 2], disk_bytes: u64) -> Result<(Self, bool), StoreFault> {
        let mut best: Option<Self> = None;
        let (mut damaged, mut newer, mut missing, mut invalid) = (0, None, None, None);
        for copy in copies {
            match copy {
                Copy::Intact(found) if best.as_ref().is_none_or(|b| found.generation > b.generation) => {
                    best = Some(*found);
                }
                Copy::Intact(_) => {}
                Copy::Newer(version) => newer = Some(version),
                Copy::Missing(bytes) => missing = missing.or(Some(bytes)),
                Copy::Damaged => damaged += 1,
                Copy::Invalid(fault) => invalid = Some(fault),
            }
        }
        if let Some(found) = newer {
            return NewerFormatSnafu { found, known: FORMAT_VERSION }.fail();
        }
        if let Some(fault) = invalid {
            return Err(fault);
        }
        let Some(best) = best else {
            return match missing {
                Some(bytes) if damaged == 0 => {
                    NotAStoreSnafu { found: bytes.iter().map(|b| format!("{b:02x}")).collect::<String>() }
                        .fail()
                }
                _ => SuperblockDamagedSnafu.fail(),
            };
        };
        let needed = best.geometry.end();
        ensure!(disk_bytes >= needed, TruncatedSnafu { found: disk_bytes, needed });
        Ok((best, damaged > 0 || missing.is_some()))
    }

    /// Writes this superblock to its place and flushes.
    pub(crate) fn write(&self, disk: &mut dyn Disk) -> Result<(), StoreFault> {
        let doing = "writing the superblock";
        disk.write_at(self.offset(), &self.encode()).context(DiskSnafu { doing })?;
        disk.flush().context(DiskSnafu { doing })
    }
}
