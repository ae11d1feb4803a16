//! The reader's end of the journal: records in order from the tail, and a look ahead behind the first bad one.

use crate::disk::Disk;
use crate::fault::{DiskSnafu, StoreFault};
use crate::journal::entry::{Entry, SectionKind};
use crate::journal::record::{Header, RECORD_MAGIC};
use crate::layout::{BLOCK, Geometry};
use crate::superblock::{JournalPoint, Superblock};
use evenkeel_types::AlignedBuf;
use evenkeel_types::checksum::crc32c;
use snafu::ResultExt;

/// Blocks read at once (1 MiB).
const WINDOW_BLOCKS: u32 = 256;

/// Reads the journal through a window that moves along.
pub(crate) struct Reader<'a> {
    disk: &'a dyn Disk,
    geometry: Geometry,
    store_id: u128,
    mount: u64,
    window: AlignedBuf,
    window_start: u32,
}

/// A record that passed every check.
#[derive(Debug)]
pub(crate) struct Found {
    /// Position of the first payload block.
    pub(crate) payload: u32,
    /// Blocks of the ring that it takes.
    pub(crate) blocks: u32,
    /// The entries; `None` if the record is intact and its entries make no sense.
    pub(crate) entries: Option<Vec<Entry>>,
    pub(crate) sequence: u64,
    pub(crate) known_durable: u64,
    /// Where the next record begins.
    pub(crate) next: JournalPoint,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(disk: &'a dyn Disk, superblock: &Superblock) -> Self {
        Self {
            disk,
            geometry: superblock.geometry,
            store_id: superblock.store_id,
            mount: superblock.mount,
            window: AlignedBuf::zeroed(0),
            window_start: 0,
        }
    }

    /// Blocks of the ring, within its end.
    pub(crate) fn blocks(&mut self, position: u32, count: u32) -> Result<&[u8], StoreFault> {
        let have = (self.window.len() / BLOCK) as u32;
        if position < self.window_start || position + count > self.window_start + have {
            let len = count.max(WINDOW_BLOCKS).min(self.geometry.journal_blocks - position);
            let mut window = AlignedBuf::zeroed(len as usize * BLOCK);
            let offset = self.geometry.journal_block(position);
            self.disk.read_at(offset, &mut window).context(DiskSnafu { doing: "reading the journal" })?;
            (self.window, self.window_start) = (window, position);
        }
        let start = (position - self.window_start) as usize * BLOCK;
        Ok(&self.window[start..start + count as usize * BLOCK])
    }

    /// The record at a point: there, or at the ring's start if it did not fit before the end.
    pub(crate) fn next(&mut self, point: JournalPoint) -> Result<Option<Found>, StoreFault> {
        if let Some(found) = self.record_at(point.position, point)? {
            return Ok(Some(found));
        }
        if point.position == 0 { Ok(None) } else { self.record_at(0, point) }
    }

    fn record_at(&mut self, position: u32, point: JournalPoint) -> Result<Option<Found>, StoreFault> {
        let Some((header, checksum)) = self.header_at(position)? else { return Ok(None) };
        let expected =
            header.sequence == point.sequence && header.chain == point.chain && header.mount == self.mount;
        if !expected {
            return Ok(None);
        }
        let area = self.blocks(position, header.header_blocks)?;
        let entries = header.entries(area);
        let payload = position + header.header_blocks;
        if let Some(entries) = &entries
            && !self.payload_intact(entries, payload, header.payload_blocks)?
        {
            return Ok(None);
        }
        let next = JournalPoint {
            position: (position + header.blocks()) % self.geometry.journal_blocks,
            sequence: header.sequence + 1,
            chain: checksum,
        };
        let (sequence, known_durable) = (header.sequence, header.known_durable);
        Ok(Some(Found { payload, blocks: header.blocks(), entries, sequence, known_durable, next }))
    }

    /// An intact header area of this store at its own position.
    fn header_at(&mut self, position: u32) -> Result<Option<(Header, u32)>, StoreFault> {
        let ring = self.geometry.journal_blocks;
        let store_id = self.store_id;
        let Some(header) = Header::peek(self.blocks(position, 1)?) else { return Ok(None) };
        let ours =
            header.store_id == store_id && header.position == position && position + header.blocks() <= ring;
        if !ours {
            return Ok(None);
        }
        let area = self.blocks(position, header.header_blocks)?;
        Ok(Header::verify(area).map(|checksum| (header, checksum)))
    }

    fn payload_intact(&mut self, entries: &[Entry], payload: u32, blocks: u32) -> Result<bool, StoreFault> {
        if blocks == 0 {
            return Ok(true);
        }
        let mut data = self.blocks(payload, blocks)?.chunks_exact(BLOCK);
        let mut crcs = entries.iter().flat_map(sections).flat_map(|section| &section.crcs);
        Ok(crcs.all(|crc| data.next().is_some_and(|block| crc32c(block) == *crc)))
    }

    /// The sequence that the bytes at a position claim, whatever their checksum says.
    pub(crate) fn sequence_at(&mut self, position: u32) -> Result<Option<u64>, StoreFault> {
        Ok(Header::peek(self.blocks(position, 1)?).map(|header| header.sequence))
    }

    /// The highest sequence above `sequence` among all intact headers in the ring. As only one record is in flight
    /// at a time, such a record proves that the one at `sequence` was durable once.
    pub(crate) fn highest_beyond(&mut self, sequence: u64) -> Result<Option<u64>, StoreFault> {
        let mut highest = None;
        for position in 0..self.geometry.journal_blocks {
            if self.blocks(position, 1)?[..8] != RECORD_MAGIC {
                continue;
            }
            if let Some((header, _)) = self.header_at(position)?
                && header.sequence > sequence
            {
                highest = highest.max(Some(header.sequence));
            }
        }
        Ok(highest)
    }
}

/// The sections of an entry whose blocks are in the payload.
pub(crate) fn sections(entry: &Entry) -> impl Iterator<Item = &crate::journal::entry::Section> {
    entry.change.sections().iter().filter(|section| section.kind == SectionKind::Blocks)
}
