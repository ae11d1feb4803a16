//! The store online: operations in, disk requests out, completions in, answers out. Nothing blocks.

use crate::checkpoint::Checkpoint;
use crate::commit::Journal;
use crate::disk::{DiskError, DiskIo, IoId};
use crate::extent::cache::Cache;
use crate::extent::table::Table;
use crate::io::{IoQueue, Purpose};
use crate::layout::{BLOCK, Geometry};
use crate::op::prepare::aligned;
use crate::op::read::ReadKind;
use crate::op::{Active, MutationKind, Op};
use crate::read_cache::ReadCache;
use crate::slab::Slab;
use crate::stats::StoreStats;
use crate::stop::StopReason;
use crate::superblock::Superblock;
use crate::units::Units;
use evenkeel_types::geometry::{BLOCK_BYTES, REGION_BYTES};
use evenkeel_types::store_op::{InventoryEntry, StoreError, StoreOp, StoreOutcome, StoreReply, StoreTicket};
use evenkeel_types::{AlignedBuf, ExtentId, Incarnation, ServerId};
use std::collections::{BTreeSet, VecDeque};

/// Operations under way at most; see [`Store::has_room`].
pub const OPERATIONS_MAX: usize = 16_384;
/// Lines of an inventory that one `List` answers at most.
pub const LIST_MAX: u32 = 4096;
/// Bytes of journaled blocks held in memory at most, by default (64 MiB).
pub const OVERLAY_BYTES_MAX: u64 = 64 << 20;
/// Bytes of cached extent records, by default: 3072 of them (24 MiB).
pub const CACHE_BYTES_DEFAULT: u64 = 24 << 20;
/// Bytes of blocks kept because they were read lately, by default (32 MiB).
pub const READ_CACHE_BYTES_DEFAULT: u64 = 32 << 20;
/// Unused queues of extents that are kept for the next.
pub(crate) const SPARE_ACTIVE_MAX: usize = 256;

/// One disk's store. Made by [`Store::open`].
///
/// * [`Store::submit`] takes an operation;
/// * [`Store::poll_io`] gives disk requests to carry out, until it gives none;
/// * [`Store::handle_io`] takes their results, in any order;
/// * [`Store::poll_done`] gives answers.
///
/// After each `submit` or `handle_io` (or a batch of them, which makes group commits larger) the driver polls both.
#[derive(Debug)]
pub struct Store {
    pub(crate) geometry: Geometry,
    pub(crate) superblock: Superblock,
    pub(crate) table: Table,
    pub(crate) cache: Cache,
    pub(crate) read_cache: ReadCache,
    pub(crate) units: Units,
    pub(crate) journal: Journal,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) io: IoQueue,
    pub(crate) ops: Slab<Op>,
    pub(crate) active: Slab<Active>,
    pub(crate) spare_active: Vec<Active>,
    /// Changes that are ready for a group commit, in order.
    pub(crate) ready: VecDeque<u32>,
    /// Changes that wait for units, in order.
    pub(crate) space_waiters: VecDeque<u32>,
    /// Changes that wait for a slot.
    pub(crate) slot_waiters: VecDeque<(StoreTicket, ExtentId, MutationKind)>,
    /// Slots whose records wait for room in the cache.
    pub(crate) load_waiters: VecDeque<u32>,
    pub(crate) loads_in_flight: usize,
    lists: VecDeque<(StoreTicket, ExtentId, u32)>,
    pub(crate) mutations_submitted: u64,
    pub(crate) overlay_bytes: u64,
    pub(crate) overlay_bytes_max: u64,
    /// Units given up by durable changes, for the next checkpoint.
    pub(crate) freed_units: Vec<u32>,
    /// Slots without a record, for the next checkpoint.
    pub(crate) forgotten: Vec<u32>,
    /// Units that a checkpoint retired, and the first device read that cannot touch them.
    pub(crate) quarantine: VecDeque<(IoId, Vec<u32>)>,
    pub(crate) reads_in_flight: BTreeSet<IoId>,
    done: VecDeque<(StoreTicket, StoreOutcome)>,
    pub(crate) stats: StoreStats,
    stopped: Option<StopReason>,
    pub(crate) closing: bool,
    pub(crate) closed: bool,
}

/// What a store is made of when it was opened.
pub(crate) struct Parts {
    pub(crate) superblock: Superblock,
    pub(crate) table: Table,
    pub(crate) units: Units,
    pub(crate) cache_bytes: u64,
    pub(crate) read_cache_bytes: u64,
    pub(crate) overlay_bytes_max: u64,
}

impl Store {
    pub(crate) fn from_parts(parts: Parts) -> Self {
        let Parts { superblock, table, units, cache_bytes, read_cache_bytes, overlay_bytes_max } = parts;
        let mut store = Self {
            geometry: superblock.geometry,
            journal: Journal::new(superblock.geometry.journal_blocks, superblock.tail),
            checkpoint: Checkpoint::new(superblock.tail),
            superblock,
            table,
            units,
            cache: Cache::new(cache_bytes),
            read_cache: ReadCache::new(read_cache_bytes),
            io: IoQueue::default(),
            ops: Slab::default(),
            active: Slab::default(),
            spare_active: Vec::new(),
            ready: VecDeque::new(),
            space_waiters: VecDeque::new(),
            slot_waiters: VecDeque::new(),
            load_waiters: VecDeque::new(),
            loads_in_flight: 0,
            lists: VecDeque::new(),
            mutations_submitted: 0,
            overlay_bytes: 0,
            overlay_bytes_max: overlay_bytes_max.max(u64::from(REGION_BYTES)),
            freed_units: Vec::new(),
            forgotten: Vec::new(),
            quarantine: VecDeque::new(),
            reads_in_flight: BTreeSet::new(),
            done: VecDeque::new(),
            stats: StoreStats::default(),
            stopped: None,
            closing: false,
            closed: false,
        };
        for slot in 0..store.table.len() {
            store.renew_reservation(slot);
        }
        store
    }

    /// The server's incarnation; [`Store::open`] raised it.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.superblock.incarnation
    }

    /// The server that the store belongs to.
    #[must_use]
    pub const fn server(&self) -> ServerId {
        self.superblock.server
    }

    /// Identity given when the store was formatted.
    #[must_use]
    pub const fn store_id(&self) -> u128 {
        self.superblock.store_id
    }

    /// Bytes of user data that the store has room for.
    #[must_use]
    pub fn capacity_bytes(&self) -> u64 {
        u64::from(self.units.count()) * u64::from(REGION_BYTES)
    }

    /// Whether another operation may be submitted.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.ops.len() + self.slot_waiters.len() + self.lists.len() < OPERATIONS_MAX
    }

    /// Whether the store stopped after an error.
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Why the store stopped, if it did.
    #[must_use]
    pub const fn stop_reason(&self) -> Option<&StopReason> {
        self.stopped.as_ref()
    }

    /// Takes an operation; [`Store::poll_done`] gives its answer under the ticket.
    ///
    /// # Panics
    /// Without [`Store::has_room`], and when content is not as long as the blocks that it is for.
    pub fn submit(&mut self, ticket: StoreTicket, op: StoreOp) {
        if self.is_stopped() || self.closing {
            return self.answer(ticket, Err(StoreError::Stopped));
        }
        assert!(self.has_room(), "more than {OPERATIONS_MAX} operations under way");
        match op {
            StoreOp::Read { extent, blocks } => self.submit_read(ticket, extent, ReadKind::Blocks(blocks)),
            StoreOp::ReadRegion { extent, region } => {
                self.submit_read(ticket, extent, ReadKind::Region(region));
            }
            StoreOp::Describe { extent } => self.submit_read(ticket, extent, ReadKind::Describe),
            StoreOp::Write(write) => self.submit_mutation(ticket, write.extent, MutationKind::Write(write)),
            StoreOp::InstallRegion { extent, region, replaces, image } => {
                let (version, present, bad) = (image.version, image.present, image.bad);
                let identities = image.identities;
                let data = aligned(image.data.into_bytes());
                assert_eq!(
                    data.len(),
                    present.count_ones() as usize * BLOCK,
                    "an image holds its present blocks"
                );
                let kind =
                    MutationKind::Install { region, replaces, version, present, bad, data, identities };
                self.submit_mutation(ticket, extent, kind);
            }
            StoreOp::Accept { extent, epoch, replicas, live, reserve_all, forget_below } => {
                let kind = MutationKind::Accept { epoch, replicas, holds: live, reserve_all, forget_below };
                self.submit_mutation(ticket, extent, kind);
            }
            StoreOp::Reserve { extent, blocks } => {
                self.submit_mutation(ticket, extent, MutationKind::Reserve { blocks });
            }
            StoreOp::Unreserve { extent, regions } => {
                self.submit_mutation(ticket, extent, MutationKind::Unreserve { regions });
            }
            StoreOp::Free { extent } => self.submit_mutation(ticket, extent, MutationKind::Free),
            StoreOp::Forget { extent } => self.submit_mutation(ticket, extent, MutationKind::Forget),
            StoreOp::List { from, max } => {
                self.lists.push_back((ticket, from, max.min(LIST_MAX)));
                if !self.journal.writing {
                    self.answer_lists();
                }
            }
        }
    }

    /// The next disk request to carry out, if any. Changes that were submitted since the last call share one journal
    /// record if the journal is idle.
    pub fn poll_io(&mut self) -> Option<DiskIo> {
        if !self.is_stopped() {
            self.pump();
        }
        self.io.poll()
    }

    /// The next answer, if any.
    pub fn poll_done(&mut self) -> Option<(StoreTicket, StoreOutcome)> {
        self.done.pop_front()
    }

    /// Takes the result of a disk request: a buffer for a read. Unknown ids are ignored. Any error of a write or
    /// flush stops the store, but for content that found no room and that no record names yet: it is refused.
    pub fn handle_io(&mut self, id: IoId, result: Result<Option<AlignedBuf>, DiskError>) {
        let Some((purpose, offset)) = self.io.complete(id) else { return };
        let is_read = self.reads_in_flight.remove(&id);
        if self.is_stopped() {
            return;
        }
        if let Err(source) = result
            && !matches!(purpose, Purpose::Read { .. } | Purpose::Load { .. })
        {
            match (&purpose, source) {
                (Purpose::Content { op }, DiskError::NoSpace { .. }) => {
                    self.ops.mutation_mut(*op).no_room = true;
                }
                _ => return self.stop(StopReason::Disk { doing: purpose.doing(), offset, source }),
            }
        }
        match purpose {
            Purpose::Journal => self.commit_done(),
            Purpose::Content { op } => self.content_done(op),
            Purpose::Read { op, part } => self.read_done(op, part, result),
            Purpose::Load { slot } => self.load_done(slot, offset, &result),
            Purpose::InPlace { slot, blocks } => self.in_place_done(slot, &blocks),
            Purpose::Page { slot, generation } => self.page_done(slot, generation),
            Purpose::CheckpointFlush => self.checkpoint_flushed(),
            Purpose::Superblock => self.checkpoint_done(),
        }
        if is_read {
            self.release_quarantine();
        }
        // Here, not only when polled: between two group commits every record may be written to its page.
        self.pump_checkpoint();
    }

    fn pump(&mut self) {
        self.pump_checkpoint();
        if !self.load_waiters.is_empty() {
            self.retry_loads();
        }
        self.try_commit();
        // What waits may have asked for a checkpoint; nobody polls again before there is something to do.
        self.pump_checkpoint();
    }

    /// Begins a checkpoint if there is anything to make final: for idle moments and timers.
    pub fn maybe_checkpoint(&mut self) {
        if !self.is_stopped() && self.checkpoint.is_idle() && self.has_unretired() {
            self.checkpoint.request();
        }
    }

    /// Ends the store: operations under way are finished, new ones refused, and a last checkpoint leaves nothing to
    /// replay. The driver polls until [`Store::is_quiescent`].
    pub fn shutdown(&mut self) {
        self.closing = true;
    }

    /// Whether nothing is under way; after [`Store::shutdown`], whether the store is closed.
    #[must_use]
    pub fn is_quiescent(&self) -> bool {
        if self.is_stopped() {
            return self.io.is_empty();
        }
        self.is_drained() && self.io.is_empty() && self.checkpoint.is_idle() && (!self.closing || self.closed)
    }

    /// Whether no operation is under way.
    pub(crate) fn is_drained(&self) -> bool {
        self.ops.len() == 0 && self.slot_waiters.is_empty() && self.lists.is_empty()
    }

    /// Counters and levels.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let block = u64::from(BLOCK_BYTES);
        let (units, free, freed) = (self.units.count(), self.units.free(), self.units.freed());
        StoreStats {
            units: units.into(),
            units_used: u64::from(units - free - freed),
            units_freed: freed.into(),
            units_reserved: self.units.reserved().into(),
            extents: self.table.extents() as u64,
            journal_bytes: self.geometry.journal_bytes(),
            journal_used_bytes: u64::from(self.journal.ring.used()) * block,
            overlay_bytes: self.overlay_bytes,
            read_cache_bytes: self.read_cache.bytes(),
            records_cached: self.cache.len() as u64,
            records_dirty: self.cache.dirty_count() as u64,
            operations: (self.ops.len() + self.slot_waiters.len() + self.lists.len()) as u64,
            ..self.stats
        }
    }

    /// All records in order, as the store has them now: for tests and tools.
    #[must_use]
    pub fn inventory(&self) -> Vec<InventoryEntry> {
        let first = ExtentId { volume: evenkeel_types::VolumeId(0), index: 0 };
        self.table.list(first, usize::MAX)
    }

    pub(crate) fn answer(&mut self, ticket: StoreTicket, outcome: StoreOutcome) {
        self.done.push_back((ticket, outcome));
    }

    /// Lists are answered between two group commits, when everything in memory is durable.
    pub(crate) fn answer_lists(&mut self) {
        while let Some((ticket, from, max)) = self.lists.pop_front() {
            let entries = self.table.list(from, max as usize);
            self.answer(ticket, Ok(StoreReply::Inventory(entries)));
        }
    }

    /// After an error nothing is guessed: everything under way and to come is answered `Stopped`.
    pub(crate) fn stop(&mut self, reason: StopReason) {
        self.stopped = Some(reason);
        self.io.cancel();
        self.ready.clear();
        self.space_waiters.clear();
        let tickets: Vec<_> = self.ops.drain().map(|op| op.ticket()).collect();
        let waiting = std::mem::take(&mut self.slot_waiters);
        let lists = std::mem::take(&mut self.lists);
        let others = waiting
            .into_iter()
            .map(|(ticket, ..)| ticket)
            .chain(lists.into_iter().map(|(ticket, ..)| ticket));
        for ticket in tickets.into_iter().chain(others) {
            self.answer(ticket, Err(StoreError::Stopped));
        }
    }
}
