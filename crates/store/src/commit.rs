//! Group commit: whoever finds the journal idle takes all changes that wait, as far as one record holds them, and
//! writes them with one durable request. Only one record is in flight, so each record proves the ones before durable.

use crate::disk::{IoKind, IoPieces};
use crate::io::Purpose;
use crate::journal::entry::{Change, Entry, Section, SectionKind};
use crate::journal::record::{
    GROUP_PAYLOAD_BLOCKS, HEADER_BYTES, Header, RECORD_HEADER_BLOCKS_MAX, RECORD_RING_FRACTION, header_blocks,
};
use crate::journal::ring::Ring;
use crate::layout::{BLOCK, NO_UNIT};
use crate::op::sequence::{Turn, content_offset, footprint};
use crate::op::{Mutation, MutationKind};
use crate::read_cache::ReadCache;
use crate::store::Store;
use crate::superblock::JournalPoint;
use bytes::Bytes;
use evenkeel_types::AlignedBuf;
use evenkeel_types::geometry::BLOCK_BYTES;
use evenkeel_types::store_op::{Content, StoreError};

/// Operations of one group commit at most.
const GROUP_OPERATIONS_MAX: usize = 512;
/// Bytes of entries in one group commit at most.
const GROUP_ENTRY_BYTES_MAX: usize = RECORD_HEADER_BLOCKS_MAX as usize * BLOCK - HEADER_BYTES;
/// Checkpoints that a change waits for at most: others may take the units first.
const STALLS_MAX: u32 = 16;
/// Blocks that go through the journal are kept in memory by a copy, if they are a smaller part of their write than one
/// in so many.
const OVERLAY_SHARE_MIN: usize = 2;
/// From this share of the ring on, in percent, changes wait for a checkpoint.
const BACKPRESSURE_PERCENT: u64 = 75;

/// The writer's end of the journal.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) ring: Ring,
    /// Sequence of the next record.
    pub(crate) next_sequence: u64,
    /// Checksum of the last record.
    pub(crate) chain: u32,
    /// Sequence of the last durable record.
    pub(crate) durable: u64,
    /// A record is in flight.
    pub(crate) writing: bool,
    batch: Batch,
}

/// What the record in flight does when it is durable.
#[derive(Default, Debug)]
struct Batch {
    sequence: u64,
    ops: Vec<(u32, Result<(), StoreError>)>,
    effects: Vec<Effect>,
    entries: Vec<u8>,
    entry_count: u32,
    payload_blocks: u32,
}

/// A consequence that must wait until the record is durable.
#[derive(Debug)]
enum Effect {
    Insert { slot: u32, block: u16, unit: u32, data: Bytes },
    Drop { slot: u32, block: u16 },
    DropAll { slot: u32 },
    FreeUnit(u32),
}

impl Journal {
    pub(crate) fn new(blocks: u32, start: JournalPoint) -> Self {
        Self {
            ring: Ring::new(blocks, start.position),
            next_sequence: start.sequence,
            chain: start.chain,
            durable: start.sequence - 1,
            writing: false,
            batch: Batch::default(),
        }
    }

    /// The place behind the last record; only between records.
    pub(crate) fn point(&self) -> JournalPoint {
        assert!(!self.writing, "a record is in flight");
        JournalPoint { position: self.ring.head(), sequence: self.next_sequence, chain: self.chain }
    }

    /// Used share of the ring in percent.
    pub(crate) fn fill_percent(&self) -> u64 {
        u64::from(self.ring.used()) * 100 / u64::from(self.ring.blocks())
    }
}

impl Store {
    /// Starts a group commit if the journal is idle and something waits.
    pub(crate) fn try_commit(&mut self) {
        // Refusals and reservations make no record: what waits behind them gets its turn at once.
        while !self.journal.writing && !self.ready.is_empty() && self.commit_once() {}
    }

    /// Takes one batch; false if nothing can be done before a checkpoint.
    fn commit_once(&mut self) -> bool {
        let full = self.journal.fill_percent() >= BACKPRESSURE_PERCENT;
        if full || self.overlay_bytes >= self.overlay_bytes_max {
            self.checkpoint.request();
            return false;
        }
        let mut batch = std::mem::take(&mut self.journal.batch);
        batch.sequence = self.journal.next_sequence;
        let mut pieces = IoPieces::new();
        pieces.push(Bytes::new());
        self.fill_batch(&mut batch, &mut pieces);
        if batch.entry_count == 0 {
            // Nothing to make durable: refusals and reservations are answered at once.
            let progress = !batch.ops.is_empty();
            self.journal.batch = batch;
            self.finish_batch();
            return progress;
        }
        let blocks = header_blocks(batch.entries.len()) + batch.payload_blocks;
        let position = self.journal.ring.place(blocks);
        let header = Header {
            header_blocks: 0,
            entry_bytes: 0,
            payload_blocks: batch.payload_blocks,
            entry_count: batch.entry_count,
            position,
            store_id: self.superblock.store_id,
            mount: self.superblock.mount,
            sequence: batch.sequence,
            known_durable: self.journal.durable,
            chain: self.journal.chain,
        };
        let (area, checksum) = header.encode(&batch.entries);
        pieces[0] = area.freeze();
        self.stats.commits += 1;
        self.stats.commit_operations += batch.ops.len() as u64;
        self.stats.commit_operations_max = self.stats.commit_operations_max.max(batch.ops.len() as u64);
        self.stats.journaled_blocks += u64::from(batch.payload_blocks);
        self.journal.batch = batch;
        self.journal.chain = checksum;
        self.journal.next_sequence += 1;
        self.journal.writing = true;
        let offset = self.geometry.journal_block(position);
        self.io.issue(IoKind::Write { offset, pieces, durable: true }, Purpose::Journal);
        true
    }

    /// Takes changes that wait into the batch, in order, as long as they fit.
    fn fill_batch(&mut self, batch: &mut Batch, pieces: &mut IoPieces) {
        let ring = &self.journal.ring;
        let largest_ever = ring.blocks() / RECORD_RING_FRACTION;
        let blocks_max = ring.largest().min(largest_ever);
        while let Some(key) = self.ready.front().copied() {
            let mutation = self.ops.mutation(key);
            if self.is_stalled(key) {
                self.ready.pop_front();
                self.space_waiters.push_back(key);
                continue;
            }
            let no_room = mutation.no_room;
            let (entry_bytes, payload) = footprint(mutation);
            let entries = batch.entries.len() + entry_bytes;
            let blocks = header_blocks(entries) + batch.payload_blocks + payload;
            let fits = entries <= GROUP_ENTRY_BYTES_MAX && blocks <= blocks_max;
            if !batch.ops.is_empty()
                && (!fits
                    || batch.ops.len() >= GROUP_OPERATIONS_MAX
                    || batch.payload_blocks + payload > GROUP_PAYLOAD_BLOCKS)
            {
                return;
            }
            if !fits && blocks <= largest_ever && entries <= GROUP_ENTRY_BYTES_MAX {
                return self.checkpoint.request();
            }
            self.ready.pop_front();
            let turn = match fits {
                _ if no_room => Turn::Refused(StoreError::NoSpace),
                true => self.sequence(key),
                false => Turn::Stalled,
            };
            match turn {
                Turn::Entry(entry) => {
                    self.add_entry(batch, pieces, key, &entry);
                    batch.ops.push((key, Ok(())));
                }
                Turn::Nothing => batch.ops.push((key, Ok(()))),
                Turn::Refused(error) => {
                    self.refuse(key);
                    batch.ops.push((key, Err(error)));
                }
                Turn::Stalled => {
                    if let Err(error) = self.stall(key) {
                        self.refuse(key);
                        batch.ops.push((key, Err(error)));
                    }
                }
            }
        }
    }

    /// A change waits for units: those that it needs, or those that let its content bypass a journal too small for
    /// it. What no checkpoint can help is refused.
    fn stall(&mut self, key: u32) -> Result<(), StoreError> {
        let hopeless = self.units.freed() == 0;
        let mutation = self.ops.mutation_mut(key);
        mutation.stalls += 1;
        if hopeless || mutation.stalls > STALLS_MAX {
            return Err(StoreError::NoSpace);
        }
        let slot = mutation.slot;
        self.stats.space_waits += 1;
        self.active.get_mut(self.table.slot(slot).active).stalled = true;
        self.space_waiters.push_back(key);
        self.checkpoint.request();
        Ok(())
    }

    /// A refused change gives back the units that it took, and the extent gets its whole reservation again.
    fn refuse(&mut self, key: u32) {
        let mutation = self.ops.mutation_mut(key);
        let slot = mutation.slot;
        for (_, unit) in std::mem::take(&mut mutation.prepared) {
            self.units.give_back(unit);
        }
        self.renew_reservation(slot);
    }

    /// Encodes an entry, applies it to the record, and notes what must wait for durability.
    fn add_entry(&mut self, batch: &mut Batch, pieces: &mut IoPieces, key: u32, entry: &Entry) {
        entry.encode(&mut batch.entries);
        batch.entry_count += 1;
        let slot = entry.slot;
        let cached = self.table.slot(slot).cached;
        let released = self.cache.get_mut(cached).record.apply(&entry.change, batch.sequence);
        self.cache.touch(cached);
        self.cache.mark_dirty(cached);
        batch.effects.extend(released.iter().map(|(_, unit)| Effect::FreeUnit(*unit)));
        self.units.note_freed(released.len() as u32);
        let mutation = self.ops.mutation(key);
        match &entry.change {
            Change::Write { .. } | Change::Install { .. } => {
                let held = self.table.slot_mut(slot);
                let record = &self.cache.get(cached).record;
                for section in entry.change.sections() {
                    let bit = 1u64 << section.region.index();
                    let mapped = record.units[section.region.index()] != NO_UNIT;
                    held.mapped = if mapped { held.mapped | bit } else { held.mapped & !bit };
                    if mapped && held.reserved & bit != 0 {
                        held.reserved &= !bit;
                        self.units.unreserve(1);
                    }
                    match section.kind {
                        SectionKind::Blocks => {
                            add_payload(batch, pieces, &mut self.read_cache, mutation, section);
                        }
                        SectionKind::Switch => {
                            self.stats.regions_switched += 1;
                            let blocks = section.region.blocks();
                            self.read_cache.remove(slot, (blocks.first, blocks.end() - 1));
                            let drop = |block| Effect::Drop { slot, block };
                            batch.effects.extend((blocks.first..blocks.end()).map(drop));
                        }
                        SectionKind::Absent => {
                            let blocks = section.region.blocks();
                            self.read_cache.remove(slot, (blocks.first, blocks.end() - 1));
                            batch.effects.extend(section.blocks().map(|block| Effect::Drop { slot, block }));
                        }
                    }
                }
            }
            Change::Accept { reserve_all, .. } => {
                let held = self.table.slot_mut(slot);
                if !reserve_all && held.reserve_all {
                    self.units.unreserve(held.reserved.count_ones());
                    held.reserved = 0;
                }
            }
            Change::Free | Change::Forget => {
                self.read_cache.remove(slot, (0, u16::MAX));
                batch.effects.push(Effect::DropAll { slot });
                let held = self.table.slot_mut(slot);
                self.units.unreserve(held.reserved.count_ones());
                held.reserved = 0;
                held.mapped = 0;
            }
        }
        self.table.slot_mut(slot).mirror(&self.cache.get(cached).record);
        self.renew_reservation(slot);
    }

    /// The record is durable: its consequences take place, and its changes are answered in order.
    pub(crate) fn commit_done(&mut self) {
        assert!(self.journal.writing, "a record was in flight");
        self.journal.writing = false;
        self.journal.durable = self.journal.batch.sequence;
        self.finish_batch();
        self.answer_lists();
    }

    fn finish_batch(&mut self) {
        let mut batch = std::mem::take(&mut self.journal.batch);
        for effect in batch.effects.drain(..) {
            match effect {
                Effect::Insert { slot, block, unit, data } => {
                    self.insert_overlay(slot, block, unit, data, batch.sequence);
                }
                Effect::Drop { slot, block } => self.drop_overlay(slot, block),
                Effect::DropAll { slot } => self.drop_overlay_all(slot),
                Effect::FreeUnit(unit) => self.freed_units.push(unit),
            }
        }
        for (key, outcome) in batch.ops.drain(..) {
            self.mutation_done(key, outcome);
        }
        batch.entries.clear();
        batch.entry_count = 0;
        batch.payload_blocks = 0;
        self.journal.batch = batch;
    }

    /// Whether a change of the same extent waits for space before this one.
    fn is_stalled(&self, key: u32) -> bool {
        self.active.get(self.table.slot(self.ops.mutation(key).slot).active).stalled
    }

    /// Changes that waited for space get their turn again, in order.
    pub(crate) fn retry_stalled(&mut self) {
        let mut waiting = std::mem::take(&mut self.space_waiters);
        if !waiting.is_empty() {
            // Those behind them whose turn did not come belong to them.
            let (behind, others): (Vec<u32>, Vec<u32>) =
                std::mem::take(&mut self.ready).into_iter().partition(|key| self.is_stalled(*key));
            self.ready.extend(others);
            waiting.extend(behind);
        }
        // All go back into the queues of their extents, to be prepared again: now there may be units.
        for key in &waiting {
            let held = self.table.slot(self.ops.mutation(*key).slot);
            let active = self.active.get_mut(held.active);
            active.dispatched -= 1;
            active.stalled = false;
            self.cache.get_mut(held.cached).pins -= 1;
        }
        for key in &waiting {
            self.prepare_again(*key);
        }
        for key in waiting {
            let slot = self.ops.mutation(key).slot;
            self.dispatch(slot);
        }
        for (ticket, extent, kind) in std::mem::take(&mut self.slot_waiters) {
            self.submit_mutation(ticket, extent, kind);
        }
    }
}

/// Appends a section's blocks to the payload, shared with the caller's data, and to the overlay to be; those that are
/// cached are renewed.
fn add_payload(
    batch: &mut Batch,
    pieces: &mut IoPieces,
    cache: &mut ReadCache,
    mutation: &Mutation,
    section: &Section,
) {
    let data = match &mutation.kind {
        MutationKind::Write(write) => match &write.content {
            Content::Data(data) => data,
            Content::Absent => unreachable!("absent content has no payload"),
        },
        MutationKind::Install { data, .. } => data,
        _ => unreachable!("only writes and images have content"),
    };
    let mut blocks = section.blocks();
    let first = blocks.next().expect("a section of blocks has one at least");
    let start = content_offset(mutation, first);
    let end = start + section.crcs.len() * BLOCK;
    batch.payload_blocks += section.crcs.len() as u32;
    match pieces.last_mut() {
        Some(last) if pieces_join(last, data, start) => {
            let from = start - last.len();
            *last = data.slice(from..end);
        }
        _ => pieces.push(data.slice(start..end)),
    }
    // The overlay keeps what it counts: not the whole of a large write for the few blocks at its ends.
    let kept = if (end - start) * OVERLAY_SHARE_MIN >= data.len() {
        data.slice(start..end)
    } else {
        AlignedBuf::copy_of(&data[start..end]).freeze()
    };
    let (slot, unit, is_part) = (mutation.slot, section.unit, data.len() > BLOCK);
    for (index, block) in section.blocks().enumerate() {
        let at = index * BLOCK;
        let data = kept.slice(at..at + BLOCK_BYTES as usize);
        cache.replace(slot, block, &data, is_part);
        batch.effects.push(Effect::Insert { slot, block, unit, data });
    }
}

/// Whether a piece is the part of `data` that ends at `start`.
fn pieces_join(piece: &Bytes, data: &Bytes, start: usize) -> bool {
    !piece.is_empty()
        && piece.len() <= start
        && piece.as_ptr() as usize == data.as_ptr() as usize + start - piece.len()
}
