//! Reads: from the overlay, from the device with a check of every block, or zeros.

use crate::disk::{DiskError, IoKind};
use crate::extent::cache::Cache;
use crate::extent::table::{NONE, Table};
use crate::io::Purpose;
use crate::layout::{BLOCK, UNIT_BLOCKS};
use crate::op::Op;
use crate::read_cache::CACHED_READ_BLOCKS_MAX;
use crate::store::Store;
use evenkeel_types::checksum::crc32c;
use evenkeel_types::geometry::{BLOCK_BYTES, BLOCKS_PER_REGION, BlockRange};
use evenkeel_types::store_op::{ExtentDescription, RegionImage, StoreError, StoreReply, StoreTicket};
use evenkeel_types::{AlignedBuf, Bytes, ExtentId, Payload, Region, Regions, Version, WriteId};
use smallvec::SmallVec;

/// Blocks of one device read at most (1 MiB).
const DEVICE_READ_BLOCKS_MAX: usize = 256;
/// How often a read is repeated because blocks changed under it.
const READ_ATTEMPTS_MAX: u32 = 8;

/// What is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReadKind {
    Blocks(BlockRange),
    Region(Region),
    Describe,
}

impl ReadKind {
    /// The blocks that are read; none where the whole record is.
    const fn blocks(self) -> Option<BlockRange> {
        match self {
            Self::Blocks(blocks) => Some(blocks),
            Self::Region(region) => Some(region.blocks()),
            Self::Describe => None,
        }
    }
}

/// A piece of what is read.
#[derive(Debug)]
enum Part {
    Zeros(u32),
    Data(Bytes),
    Device { first: u16, place: (u32, u32), crcs: SmallVec<[u32; 16]> },
}

/// A read under way.
#[derive(Debug)]
pub(crate) struct ReadOp {
    ticket: StoreTicket,
    extent: ExtentId,
    /// The extent's slot when the read began last. While it waits for the disk nothing keeps the slot: the extent may
    /// be forgotten, and another have the slot then.
    slot: u32,
    kind: ReadKind,
    parts: SmallVec<[Part; 2]>,
    parts_left: u32,
    /// Of the region, for an image.
    version: Version,
    present: u16,
    identities: Vec<WriteId>,
    /// Sequence of the record's last change when the device was asked.
    applied: u64,
    /// The first block that failed its checksum.
    bad: Option<u16>,
    /// All that did, of a region's blocks.
    bad_in_region: u16,
    failed: bool,
    /// A read over several blocks failed: they are read one by one, to know which.
    singly: bool,
    attempts: u32,
}

impl Store {
    pub(crate) fn submit_read(&mut self, ticket: StoreTicket, extent: ExtentId, kind: ReadKind) {
        let Some(slot) = self.table.find(extent) else { return self.answer_without_record(ticket, kind) };
        let op = ReadOp {
            ticket,
            extent,
            slot,
            kind,
            parts: SmallVec::new(),
            parts_left: 0,
            version: Version::NONE,
            present: 0,
            identities: Vec::new(),
            applied: 0,
            bad: None,
            bad_in_region: 0,
            failed: false,
            singly: false,
            attempts: 0,
        };
        self.begin_read(op);
    }

    /// Waits for what the read must wait for, or goes on.
    fn begin_read(&mut self, op: ReadOp) {
        let (slot, blocks) = (op.slot, op.kind.blocks());
        let active = self.table.slot(slot).active;
        if active != NONE
            && let Some(after) = self.active.get(active).last_conflict(blocks)
        {
            let key = self.ops.insert(Op::Read(Box::new(op)));
            self.active.get_mut(active).reads_behind.push((after, key));
            return;
        }
        if self.table.slot(slot).cached == NONE {
            let key = self.ops.insert(Op::Read(Box::new(op)));
            let active = self.activate(slot);
            self.active.get_mut(active).reads_loading.push(key);
            return self.load_record(slot);
        }
        self.execute_read(op);
    }

    /// A read that waited goes on, whatever came after it: otherwise changes that never cease would keep it waiting for
    /// ever. Called where no group commit is in flight, so the record says what is durable and no more: behind a group
    /// commit, and when the record was just loaded.
    pub(crate) fn resume_read(&mut self, key: u32) {
        let Op::Read(op) = self.ops.remove(key) else { unreachable!("only reads wait as reads") };
        self.execute_read(*op);
    }

    fn answer_without_record(&mut self, ticket: StoreTicket, kind: ReadKind) {
        let outcome = match kind {
            ReadKind::Blocks(blocks) => Ok(StoreReply::Data(Payload::zeros(blocks.len_bytes() as usize))),
            ReadKind::Region(_) => Err(StoreError::NoRecord),
            ReadKind::Describe => Ok(StoreReply::Description(None)),
        };
        self.answer(ticket, outcome);
    }

    fn execute_read(&mut self, mut op: ReadOp) {
        let key = self.table.slot(op.slot).cached;
        self.cache.touch(key);
        let cached = self.cache.get(key);
        let record = &cached.record;
        if let Some(block) = op.bad.take()
            && (op.applied == record.applied || op.attempts >= READ_ATTEMPTS_MAX)
        {
            self.stats.checksum_failures += 1;
            return self.answer_damaged(op, block);
        }
        op.bad_in_region = 0;
        if !record.live {
            return self.answer_without_record(op.ticket, op.kind);
        }
        op.applied = record.applied;
        op.parts.clear();
        let blocks = match op.kind {
            ReadKind::Describe => {
                let description = describe(record);
                return self.answer(op.ticket, Ok(StoreReply::Description(Some(description))));
            }
            ReadKind::Region(region) => {
                op.version = record.versions[region.index()];
                op.present = record.present[region.index()];
                op.identities = record.identities_of(region);
                region.blocks()
            }
            ReadKind::Blocks(blocks) => blocks,
        };
        let zeros = matches!(op.kind, ReadKind::Blocks(_));
        let is_cached = op.may_be_cached();
        for block in blocks.first..blocks.end() {
            if !record.is_present(block) {
                if zeros {
                    push_zeros(&mut op.parts);
                }
            } else if let Some(overlay) = cached.overlay.get(&block) {
                self.stats.overlay_blocks_read += 1;
                op.parts.push(Part::Data(overlay.data.clone()));
            } else if is_cached && let Some(data) = self.read_cache.get(op.slot, block) {
                self.stats.cached_blocks_read += 1;
                op.parts.push(Part::Data(data));
            } else {
                let most = if op.singly { 1 } else { DEVICE_READ_BLOCKS_MAX };
                push_device(&mut op.parts, block, record.place_of(block), record.crcs[block as usize], most);
            }
        }
        self.issue_read(op);
    }

    fn issue_read(&mut self, mut op: ReadOp) {
        op.parts_left = op.parts.iter().filter(|part| matches!(part, Part::Device { .. })).count() as u32;
        if op.parts_left == 0 {
            return self.finish_read(op);
        }
        let key = self.ops.insert(Op::Read(Box::new(op)));
        let Op::Read(op) = self.ops.get(key) else { unreachable!("just inserted") };
        for (part, what) in op.parts.iter().enumerate() {
            if let Part::Device { place: (unit, block), crcs, .. } = what {
                let offset = self.geometry.unit_block(*unit, *block);
                let kind = IoKind::Read { offset, len: crcs.len() as u32 * BLOCK_BYTES };
                self.stats.blocks_read += crcs.len() as u64;
                let id = self.io.issue(kind, Purpose::Read { op: key, part: part as u32 });
                self.reads_in_flight.insert(id);
            }
        }
    }

    /// A device read came back.
    pub(crate) fn read_done(&mut self, key: u32, part: u32, result: Result<Option<AlignedBuf>, DiskError>) {
        let Op::Read(op) = self.ops.get_mut(key) else { unreachable!("a device read belongs to a read") };
        let Part::Device { first, crcs, .. } = &op.parts[part as usize] else {
            unreachable!("each part is read once")
        };
        match result {
            Ok(Some(buf)) if buf.len() == crcs.len() * BLOCK => {
                let checked = buf.chunks_exact(BLOCK).zip(crcs).map(|(block, crc)| crc32c(block) == *crc);
                let (first, bad) = (*first, (0u16..).zip(checked).filter(|(_, is_good)| !is_good));
                let bad: SmallVec<[u16; 2]> = bad.map(|(index, _)| first + index).collect();
                let data = buf.freeze();
                if !bad.is_empty() {
                    op.note_bad(bad);
                } else if op.may_be_cached() && is_unchanged(&self.table, &self.cache, op) {
                    self.read_cache.insert(op.slot, first, &data);
                }
                op.parts[part as usize] = Part::Data(data);
            }
            _ => {
                self.stats.read_errors += 1;
                let blocks = *first..*first + crcs.len() as u16;
                op.parts[part as usize] = Part::Zeros(u32::from(blocks.end - blocks.start));
                op.note_bad(blocks);
                op.failed = true;
            }
        }
        op.parts_left -= 1;
        if op.parts_left > 0 {
            return;
        }
        let Op::Read(mut op) = self.ops.remove(key) else { unreachable!("looked at above") };
        match op.bad {
            None => self.finish_read(*op),
            Some(block) if op.failed && op.singly => self.answer_damaged(*op, block),
            Some(_) => {
                if op.failed {
                    // Which of the blocks, and whether it lasts, is seen when they are read one by one.
                    (op.singly, op.failed, op.bad) = (true, false, None);
                }
                // The block may have been written in place meanwhile; if nothing changed, it is damaged.
                self.stats.reads_repeated += 1;
                op.attempts += 1;
                match self.table.find(op.extent) {
                    Some(slot) => self.begin_read(ReadOp { slot, ..*op }),
                    None => self.answer_without_record(op.ticket, op.kind),
                }
            }
        }
    }

    /// Blocks cannot be read: an image names them, any other read fails.
    fn answer_damaged(&mut self, op: ReadOp, block: u16) {
        if matches!(op.kind, ReadKind::Region(_)) {
            self.finish_read(op);
        } else {
            self.answer(op.ticket, Err(StoreError::BadBlock { block }));
        }
    }

    fn finish_read(&mut self, op: ReadOp) {
        let mut data = Payload::default();
        for part in op.parts {
            match part {
                Part::Zeros(blocks) => data.push_zeros(blocks as usize * BLOCK),
                Part::Data(bytes) => data.push(bytes),
                Part::Device { .. } => unreachable!("all parts were read"),
            }
        }
        let reply = match op.kind {
            ReadKind::Blocks(_) => StoreReply::Data(data),
            ReadKind::Region(_) => {
                let (version, present, identities) = (op.version, op.present, op.identities);
                let bad = op.bad_in_region;
                let data = without_blocks(data, present, bad);
                StoreReply::Image(RegionImage { version, present, bad, data, identities })
            }
            ReadKind::Describe => unreachable!("answered from memory"),
        };
        self.answer(op.ticket, Ok(reply));
    }
}

/// Zeros in place of blocks that cannot be read: what a damaged device gave is nobody's content.
fn without_blocks(data: Payload, present: u16, bad: u16) -> Payload {
    if bad == 0 {
        return data;
    }
    let mut rest = Payload::default();
    let present_blocks = (0..16).filter(|block| present >> block & 1 == 1);
    for (index, block) in present_blocks.enumerate() {
        if bad >> block & 1 == 1 {
            rest.push_zeros(BLOCK);
        } else {
            rest.append(data.slice(index * BLOCK, BLOCK));
        }
    }
    rest
}

impl ReadOp {
    fn note_bad(&mut self, blocks: impl IntoIterator<Item = u16>) {
        for block in blocks {
            self.bad = Some(self.bad.map_or(block, |earlier| earlier.min(block)));
            self.bad_in_region |= 1 << (block % BLOCKS_PER_REGION);
        }
    }

    /// Whether the cache is asked for the blocks, and keeps them.
    fn may_be_cached(&self) -> bool {
        matches!(self.kind, ReadKind::Blocks(blocks) if usize::from(blocks.count) <= CACHED_READ_BLOCKS_MAX)
    }
}

/// Whether the record still says what it said when the device was asked.
fn is_unchanged(table: &Table, cache: &Cache, op: &ReadOp) -> bool {
    let key = table.slot(op.slot).cached;
    key != NONE && {
        let record = &cache.get(key).record;
        record.live && record.applied == op.applied
    }
}

impl Op {
    /// Whose operation it is.
    pub(crate) fn ticket(&self) -> StoreTicket {
        match self {
            Self::Read(op) => op.ticket,
            Self::Mutation(op) => op.ticket,
        }
    }
}

fn describe(record: &crate::extent::record::Record) -> ExtentDescription {
    let allocated = Region::all().filter(|region| record.present[region.index()] != 0);
    ExtentDescription {
        accepted: record.accepted,
        replicas: record.replicas.clone(),
        has_data: record.has_data,
        versions: record.versions.to_vec().into_boxed_slice(),
        allocated: allocated.fold(Regions::NONE, Regions::with),
        identities: record.identities.clone(),
    }
}

fn push_zeros(parts: &mut SmallVec<[Part; 2]>) {
    if let Some(Part::Zeros(blocks)) = parts.last_mut() {
        *blocks += 1;
    } else {
        parts.push(Part::Zeros(1));
    }
}

fn push_device(parts: &mut SmallVec<[Part; 2]>, block: u16, place: (u32, u32), crc: u32, most: usize) {
    let linear = |(unit, block): (u32, u32)| u64::from(unit) * u64::from(UNIT_BLOCKS) + u64::from(block);
    if let Some(Part::Device { place: start, crcs, .. }) = parts.last_mut()
        && crcs.len() < most
        && linear(*start) + crcs.len() as u64 == linear(place)
    {
        crcs.push(crc);
        return;
    }
    parts.push(Part::Device { first: block, place, crcs: SmallVec::from_slice(&[crc]) });
}
