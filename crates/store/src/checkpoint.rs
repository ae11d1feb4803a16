//! The checkpoint: journaled blocks go into their places and changed records into their pages, so that the journal
//! and the units that were given up can be used again. Operations go on meanwhile.
//!
//! ```text
//! Idle ─▶ Data ─▶ FlushData ─▶ Pages ─▶ FlushPages ─▶ Superblock ─▶ Idle
//! ```
//!
//! Data before pages: a page promises checksums that the data must already meet. Pages before the superblock: the
//! superblock moves the tail of the journal past the records that the pages stand for. What changes while the
//! checkpoint runs is still covered by the journal behind the new tail; a page may contain such changes if they are
//! durable, and replay skips what a page already has.

use crate::disk::{IoKind, IoPieces};
use crate::extent::page;
use crate::extent::record::Record;
use crate::extent::table::NONE;
use crate::io::Purpose;
use crate::store::Store;
use crate::superblock::JournalPoint;
use bytes::Bytes;
use evenkeel_types::geometry::BLOCK_BYTES;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// Requests of a checkpoint under way at most; one extent's blocks may exceed it.
const WRITES_IN_FLIGHT_MAX: u32 = 32;
/// From this share of the ring on, in percent, a checkpoint begins by itself.
const BEGIN_PERCENT: u64 = 50;

/// Blocks with the journal sequences of their content.
pub(crate) type NamedBlocks = SmallVec<[(u16, u64); 4]>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Idle,
    Data,
    FlushData,
    Pages,
    FlushPages,
    Superblock,
}

/// State of the running checkpoint, and whether another one is wanted.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    phase: Phase,
    requested: bool,
    /// Slots whose records were dirty when it began.
    slots: Vec<u32>,
    /// Slots that the present phase has still to treat.
    queue: VecDeque<u32>,
    in_flight: u32,
    /// Units given up before it began.
    freed: Vec<u32>,
    /// Slots forgotten before it began.
    forgotten: Vec<u32>,
    tail: JournalPoint,
    ring_used: u32,
    slots_used: u32,
    clean: bool,
}

impl Checkpoint {
    pub(crate) const fn new(tail: JournalPoint) -> Self {
        Self {
            phase: Phase::Idle,
            requested: false,
            slots: Vec::new(),
            queue: VecDeque::new(),
            in_flight: 0,
            freed: Vec::new(),
            forgotten: Vec::new(),
            tail,
            ring_used: 0,
            slots_used: 0,
            clean: false,
        }
    }

    /// Asks for a checkpoint; if one is running, for another one after it.
    pub(crate) const fn request(&mut self) {
        self.requested = true;
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }
}

impl Store {
    /// Whether there is anything that a checkpoint would make final.
    pub(crate) fn has_unretired(&self) -> bool {
        self.cache.dirty_count() > 0
            || self.journal.ring.used() > 0
            || !self.freed_units.is_empty()
            || !self.forgotten.is_empty()
    }

    fn wants_checkpoint(&self) -> bool {
        self.checkpoint.requested
            || self.journal.fill_percent() >= BEGIN_PERCENT
            || self.overlay_bytes * 2 >= self.overlay_bytes_max
            || self.cache.dirty_count() * 2 >= self.cache.capacity()
    }

    /// Takes the checkpoint as far as it goes now.
    pub(crate) fn pump_checkpoint(&mut self) {
        if self.checkpoint.phase == Phase::Idle {
            let clean = self.closing && !self.closed && self.is_drained();
            if self.journal.writing || !(clean || self.wants_checkpoint()) {
                return;
            }
            self.checkpoint.requested = false;
            if !clean && !self.has_unretired() {
                return;
            }
            self.begin_checkpoint(clean);
        }
        match self.checkpoint.phase {
            Phase::Data => self.pump_data(),
            Phase::Pages => self.pump_pages(),
            Phase::Idle | Phase::FlushData | Phase::FlushPages | Phase::Superblock => {}
        }
    }

    /// Fixes what the checkpoint is about. Between two group commits, so that everything sequenced is durable.
    fn begin_checkpoint(&mut self, clean: bool) {
        let slots = self.cache.begin_checkpoint();
        let checkpoint = &mut self.checkpoint;
        checkpoint.phase = Phase::Data;
        checkpoint.queue.extend(&slots);
        checkpoint.slots = slots;
        checkpoint.freed = std::mem::take(&mut self.freed_units);
        checkpoint.forgotten = std::mem::take(&mut self.forgotten);
        checkpoint.tail = self.journal.point();
        checkpoint.ring_used = self.journal.ring.used();
        checkpoint.slots_used = self.table.len();
        checkpoint.clean = clean;
    }

    fn pump_data(&mut self) {
        while self.checkpoint.in_flight < WRITES_IN_FLIGHT_MAX
            && let Some(slot) = self.checkpoint.queue.pop_front()
        {
            self.write_in_place(slot);
        }
        if self.checkpoint.queue.is_empty() && self.checkpoint.in_flight == 0 {
            self.checkpoint.phase = Phase::FlushData;
            self.io.issue(IoKind::Flush, Purpose::CheckpointFlush);
        }
    }

    /// Writes an extent's journaled blocks into their places, neighbours on the disk in one request.
    fn write_in_place(&mut self, slot: u32) {
        let cached = self.cache.get(self.table.slot(slot).cached);
        let mut runs: Vec<(u64, IoPieces, NamedBlocks)> = Vec::new();
        for (block, overlay) in &cached.overlay {
            let (_, within) = cached.record.place_of(*block);
            let offset = self.geometry.unit_block(overlay.unit, within);
            let named = (*block, overlay.sequence);
            match runs.last_mut() {
                Some((start, pieces, blocks))
                    if *start + blocks.len() as u64 * u64::from(BLOCK_BYTES) == offset =>
                {
                    pieces.push(overlay.data.clone());
                    blocks.push(named);
                }
                _ => runs.push((
                    offset,
                    IoPieces::from_iter([overlay.data.clone()]),
                    SmallVec::from_iter([named]),
                )),
            }
        }
        for (offset, pieces, blocks) in runs {
            self.checkpoint.in_flight += 1;
            self.stats.in_place_blocks += blocks.len() as u64;
            let kind = IoKind::Write { offset, pieces, durable: false };
            self.io.issue(kind, Purpose::InPlace { slot, blocks });
        }
    }

    /// Blocks are in their places: unless they changed again, reads may come from there.
    pub(crate) fn in_place_done(&mut self, slot: u32, blocks: &[(u16, u64)]) {
        self.checkpoint.in_flight -= 1;
        let cached = self.cache.get_mut(self.table.slot(slot).cached);
        for (block, sequence) in blocks {
            if cached.overlay.get(block).is_some_and(|overlay| overlay.sequence == *sequence) {
                cached.overlay.remove(block);
                self.overlay_bytes -= u64::from(BLOCK_BYTES);
            }
        }
    }

    fn pump_pages(&mut self) {
        // One look at each waiting slot: a record with a change in flight gets its turn when that is durable.
        for _ in 0..self.checkpoint.queue.len() {
            if self.checkpoint.in_flight >= WRITES_IN_FLIGHT_MAX {
                return;
            }
            let Some(slot) = self.checkpoint.queue.pop_front() else { break };
            if !self.write_page(slot) {
                self.checkpoint.queue.push_back(slot);
            }
        }
        if self.checkpoint.queue.is_empty() && self.checkpoint.in_flight == 0 {
            self.checkpoint.phase = Phase::FlushPages;
            self.io.issue(IoKind::Flush, Purpose::CheckpointFlush);
        }
    }

    /// Writes a record to its other place; false if it holds a change that is not durable.
    fn write_page(&mut self, slot: u32) -> bool {
        let held = self.table.slot(slot);
        let (generation, store_id) = (held.generation + 1, self.superblock.store_id);
        let (place, buf) = if held.cached == NONE {
            page::to_write(&Record::absent(held.extent), store_id, slot, generation)
        } else {
            let record = &self.cache.get(held.cached).record;
            if record.applied > self.journal.durable {
                return false;
            }
            page::to_write(record, store_id, slot, generation)
        };
        let pieces = IoPieces::from_iter([buf.freeze()]);
        let kind = IoKind::Write { offset: self.geometry.page(slot, place), pieces, durable: false };
        self.io.issue(kind, Purpose::Page { slot, generation });
        self.checkpoint.in_flight += 1;
        self.stats.pages_written += 1;
        true
    }

    pub(crate) fn page_done(&mut self, slot: u32, generation: u64) {
        self.checkpoint.in_flight -= 1;
        let held = self.table.slot_mut(slot);
        held.generation = generation;
        if held.cached != NONE {
            self.cache.get_mut(held.cached).in_checkpoint = false;
        }
    }

    /// A flush ended the data or the pages.
    pub(crate) fn checkpoint_flushed(&mut self) {
        match self.checkpoint.phase {
            Phase::FlushData => {
                self.checkpoint.phase = Phase::Pages;
                let slots = std::mem::take(&mut self.checkpoint.slots);
                self.checkpoint.queue.extend(&slots);
                // Every slot below the superblock's mark must have a page, if only an empty one.
                let fresh = self.superblock.slots_used..self.checkpoint.slots_used;
                let without_page = |slot: &u32| slots.binary_search(slot).is_err();
                self.checkpoint.queue.extend(fresh.filter(without_page));
            }
            Phase::FlushPages => self.write_superblock(),
            phase => unreachable!("no flush is under way in {phase:?}"),
        }
    }

    fn write_superblock(&mut self) {
        self.checkpoint.phase = Phase::Superblock;
        self.superblock.generation += 1;
        self.superblock.tail = self.checkpoint.tail;
        self.superblock.slots_used = self.checkpoint.slots_used;
        self.superblock.known_durable = self.journal.durable;
        self.superblock.clean = self.checkpoint.clean;
        let pieces = IoPieces::from_iter([self.superblock.encode().freeze()]);
        let kind = IoKind::Write { offset: self.superblock.offset(), pieces, durable: true };
        self.io.issue(kind, Purpose::Superblock);
    }

    /// The checkpoint holds: what it retired is free.
    pub(crate) fn checkpoint_done(&mut self) {
        self.checkpoint.phase = Phase::Idle;
        self.stats.checkpoints += 1;
        self.journal.ring.retire(self.checkpoint.ring_used);
        for slot in std::mem::take(&mut self.checkpoint.forgotten) {
            let cached = std::mem::replace(&mut self.table.slot_mut(slot).cached, NONE);
            if cached != NONE {
                self.cache.remove(cached);
            }
            self.table.release(slot);
        }
        let freed = std::mem::take(&mut self.checkpoint.freed);
        self.quarantine.push_back((self.io.next_id(), freed));
        // Nothing was under way when it began, and nothing is taken since: the superblock says so for good.
        self.closed = self.checkpoint.clean;
        assert!(!self.closed || self.is_drained(), "a closed store has nothing under way");
        self.release_quarantine();
        self.retry_stalled();
    }

    /// Units that were given up become free when no read that may touch them is under way.
    pub(crate) fn release_quarantine(&mut self) {
        let oldest = self.reads_in_flight.first().copied();
        while let Some((barrier, _)) = self.quarantine.front() {
            if oldest.is_some_and(|read| read < *barrier) {
                return;
            }
            let (_, units) = self.quarantine.pop_front().expect("looked at above");
            units.into_iter().for_each(|unit| self.units.retire(unit));
            if self.quarantine.is_empty() && !self.space_waiters.is_empty() {
                self.retry_stalled();
            }
        }
    }

    /// A durable journaled block waits in memory for its place.
    pub(crate) fn insert_overlay(&mut self, slot: u32, block: u16, unit: u32, data: Bytes, sequence: u64) {
        let cached = self.cache.get_mut(self.table.slot(slot).cached);
        let overlay = crate::extent::cache::OverlayBlock { data, unit, sequence };
        if cached.overlay.insert(block, overlay).is_none() {
            self.overlay_bytes += u64::from(BLOCK_BYTES);
        }
    }

    pub(crate) fn drop_overlay(&mut self, slot: u32, block: u16) {
        let cached = self.cache.get_mut(self.table.slot(slot).cached);
        if cached.overlay.remove(&block).is_some() {
            self.overlay_bytes -= u64::from(BLOCK_BYTES);
        }
    }

    pub(crate) fn drop_overlay_all(&mut self, slot: u32) {
        let cached = self.cache.get_mut(self.table.slot(slot).cached);
        self.overlay_bytes -= cached.overlay.len() as u64 * u64::from(BLOCK_BYTES);
        cached.overlay.clear();
    }
}
