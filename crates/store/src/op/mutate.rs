//! The way of a change from submission into the queue of its extent, and on to the group commit.

use crate::disk::{DiskError, IoKind};
use crate::extent::cache::Full;
use crate::extent::page;
use crate::extent::record::Record;
use crate::extent::table::NONE;
use crate::io::Purpose;
use crate::layout::PAGE_BYTES;
use crate::op::{Active, Mutation, MutationKind, Op, Pending};
use crate::stop::StopReason;
use crate::store::Store;
use evenkeel_types::geometry::BlockRange;
use evenkeel_types::store_op::{StoreError, StoreReply, StoreTicket};
use evenkeel_types::{AlignedBuf, ExtentId, Regions};
use smallvec::SmallVec;

impl Store {
    pub(crate) fn submit_mutation(&mut self, ticket: StoreTicket, extent: ExtentId, kind: MutationKind) {
        let slot = match self.table.find(extent) {
            Some(slot) => slot,
            None if kind.creates() => match self.table.allocate(extent) {
                Some(slot) => slot,
                None if self.table.has_forgotten() => return self.wait_for_slot(ticket, extent, kind),
                None => return self.answer(ticket, Err(StoreError::NoSpace)),
            },
            None if matches!(kind, MutationKind::Install { .. }) => {
                return self.answer(ticket, Err(StoreError::NoRecord));
            }
            // Nothing to give up: a repeated request finds its work done.
            None => return self.answer(ticket, Ok(StoreReply::Done)),
        };
        let idle = self.table.slot(slot).active == NONE;
        let at_once = match &kind {
            MutationKind::Reserve { blocks } if idle => Some(self.reserve(slot, *blocks)),
            MutationKind::Unreserve { regions } if idle => {
                self.unreserve(slot, *regions);
                Some(Ok(()))
            }
            _ => None,
        };
        if let Some(outcome) = at_once {
            self.drop_unused_slot(slot);
            return self.answer(ticket, outcome.map(|()| StoreReply::Done));
        }
        let conflict = kind.conflict();
        let crcs = SmallVec::new();
        let prepared = SmallVec::new();
        let mutation =
            Mutation { ticket, slot, kind, crcs, prepared, writes_left: 0, no_room: false, stalls: 0 };
        let op = self.ops.insert(Op::Mutation(Box::new(mutation)));
        let active = self.activate(slot);
        self.mutations_submitted += 1;
        let number = self.mutations_submitted;
        self.active.get_mut(active).mutations.push_back(Pending { op, number, conflict });
        self.prepare(op);
        self.dispatch(slot);
    }

    /// All slots are taken, but a checkpoint will free some.
    fn wait_for_slot(&mut self, ticket: StoreTicket, extent: ExtentId, kind: MutationKind) {
        self.stats.space_waits += 1;
        self.slot_waiters.push_back((ticket, extent, kind));
        self.checkpoint.request();
    }

    /// Sets units aside for the blocks' regions that have none.
    pub(crate) fn reserve(&mut self, slot: u32, blocks: BlockRange) -> Result<(), StoreError> {
        let held = self.table.slot_mut(slot);
        let missing = Regions::touched_by(blocks).0 & !held.mapped & !held.reserved;
        if !self.units.reserve(missing.count_ones()) {
            return Err(StoreError::NoSpace);
        }
        held.reserved |= missing;
        Ok(())
    }

    /// Gives back the units that are set aside for some regions, unless the whole extent has them.
    pub(crate) fn unreserve(&mut self, slot: u32, regions: Regions) {
        let held = self.table.slot_mut(slot);
        if !held.reserve_all {
            let given_back = regions.0 & held.reserved;
            held.reserved &= !given_back;
            self.units.unreserve(given_back.count_ones());
        }
    }

    /// The extent's active state, made if there is none.
    pub(crate) fn activate(&mut self, slot: u32) -> u32 {
        let held = self.table.slot_mut(slot);
        if held.active == NONE {
            held.active = self.active.insert(self.spare_active.pop().unwrap_or_default());
        }
        held.active
    }

    /// Takes the active state away when nothing goes on any more.
    pub(crate) fn settle(&mut self, slot: u32) {
        let key = self.table.slot(slot).active;
        if key == NONE || !self.active.get(key).is_idle() {
            return;
        }
        let active: Active = self.active.remove(key);
        assert!(active.dispatched == 0 && !active.stalled, "an idle extent has nothing on its way");
        if self.spare_active.len() < crate::store::SPARE_ACTIVE_MAX {
            self.spare_active.push(active);
        }
        self.table.slot_mut(slot).active = NONE;
        self.drop_unused_slot(slot);
    }

    /// A slot whose record is gone, or was never made, goes to the next checkpoint, which says so on the disk.
    fn drop_unused_slot(&mut self, slot: u32) {
        let held = self.table.slot(slot);
        if held.live || held.reserved != 0 || held.active != NONE {
            return;
        }
        self.table.forget(slot);
        self.forgotten.push(slot);
        let key = self.table.slot(slot).cached;
        if key != NONE {
            self.cache.mark_dirty(key);
        }
    }

    /// Sends changes of an extent on into the group commit, in order, as far as they are prepared.
    pub(crate) fn dispatch(&mut self, slot: u32) {
        let key = self.table.slot(slot).active;
        if key == NONE {
            return;
        }
        loop {
            let active = self.active.get_mut(key);
            let Some(pending) = active.mutations.get(active.dispatched).copied() else { return };
            let mutation = self.ops.mutation(pending.op);
            if mutation.writes_left > 0 {
                return;
            }
            let cached = self.table.slot(slot).cached;
            if cached == NONE {
                return self.load_record(slot);
            }
            active.dispatched += 1;
            self.cache.get_mut(cached).pins += 1;
            self.ready.push_back(pending.op);
        }
    }

    /// Brings an extent's record into the cache.
    pub(crate) fn load_record(&mut self, slot: u32) {
        let key = self.activate(slot);
        let active = self.active.get_mut(key);
        if active.loading {
            return;
        }
        active.loading = true;
        self.load_or_wait(slot);
    }

    fn load_or_wait(&mut self, slot: u32) {
        match self.cache.make_room(self.loads_in_flight) {
            Err(Full) => {
                self.load_waiters.push_back(slot);
                self.checkpoint.request();
                return;
            }
            Ok(Some(evicted)) => self.table.slot_mut(evicted).cached = NONE,
            Ok(None) => {}
        }
        let held = self.table.slot(slot);
        let fresh = Record::absent(held.extent);
        if held.generation == 0 || !held.live {
            return self.record_loaded(slot, fresh);
        }
        let place = page::place_of(held.generation);
        let kind = IoKind::Read { offset: self.geometry.page(slot, place), len: PAGE_BYTES as u32 };
        self.loads_in_flight += 1;
        self.io.issue(kind, Purpose::Load { slot });
    }

    /// Loads that waited for room are tried again, in order, until there is none.
    pub(crate) fn retry_loads(&mut self) {
        let mut waiting = std::mem::take(&mut self.load_waiters);
        while self.load_waiters.is_empty()
            && let Some(slot) = waiting.pop_front()
        {
            self.load_or_wait(slot);
        }
        self.load_waiters.append(&mut waiting);
    }

    /// A metadata page came back.
    pub(crate) fn load_done(
        &mut self,
        slot: u32,
        offset: Option<u64>,
        result: &Result<Option<AlignedBuf>, DiskError>,
    ) {
        self.loads_in_flight -= 1;
        self.stats.records_loaded += 1;
        let held = self.table.slot(slot);
        let found = match result {
            Ok(Some(buf)) => {
                page::decode(buf, self.superblock.store_id, slot, page::place_of(held.generation))
            }
            Ok(None) => None,
            Err(source) => {
                let doing = Purpose::Load { slot }.doing();
                return self.stop(StopReason::Disk { doing, offset, source: *source });
            }
        };
        match found {
            Some(page) if page.generation == held.generation && page.record.extent == held.extent => {
                self.record_loaded(slot, page.record);
            }
            // Without its record nothing can be said about the extent, and other records may be no better.
            _ => self.stop(StopReason::DamagedRecord { slot, offset: offset.unwrap_or_default() }),
        }
    }

    fn record_loaded(&mut self, slot: u32, record: Box<Record>) {
        let key = self.cache.insert(slot, record);
        self.table.slot_mut(slot).cached = key;
        let active = self.activate(slot);
        let active = self.active.get_mut(active);
        active.loading = false;
        let reads = std::mem::take(&mut active.reads_loading);
        // Changes first: their pins keep the record until they are done with it.
        self.dispatch(slot);
        for read in reads {
            self.resume_read(read);
        }
        self.settle(slot);
    }

    /// The first change of an extent is durable, or was refused: it leaves the queue.
    pub(crate) fn mutation_done(&mut self, op: u32, outcome: Result<(), StoreError>) {
        let Op::Mutation(mutation) = self.ops.remove(op) else {
            unreachable!("a group commit holds changes")
        };
        let slot = mutation.slot;
        let cached = self.table.slot(slot).cached;
        self.cache.get_mut(cached).pins -= 1;
        let key = self.table.slot(slot).active;
        let active = self.active.get_mut(key);
        let first = active.mutations.pop_front().expect("a change on its way is in its extent's queue");
        assert!(first.op == op && active.dispatched > 0, "changes of an extent end in order");
        active.dispatched -= 1;
        self.answer(mutation.ticket, outcome.map(|()| StoreReply::Done));
        let active = self.active.get_mut(key);
        if !active.reads_behind.is_empty() {
            let reads = std::mem::take(&mut active.reads_behind);
            let (now, later): (Vec<_>, Vec<_>) =
                reads.into_iter().partition(|(after, _)| *after <= first.number);
            active.reads_behind = later;
            for (_, read) in now {
                self.resume_read(read);
            }
        }
        self.settle(slot);
    }
}
