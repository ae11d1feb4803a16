//! The table of slots: what stays in memory of every extent (about 120 bytes), whether its record is cached or not.

use crate::extent::record::Record;
use crate::journal::entry::REPLICAS_MAX;
use crate::layout::NO_UNIT;
use evenkeel_types::store_op::InventoryEntry;
use evenkeel_types::{Epoch, ExtentId, ServerId};
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// Stands for "none" in the keys of a slot.
pub(crate) const NONE: u32 = u32::MAX;

/// What a slot is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SlotState {
    /// Nothing.
    Free,
    /// An extent has it, with or without a record so far.
    Held,
    /// Its record is gone; usable again after the checkpoint that says so on the disk.
    Forgotten,
}

/// One slot.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) extent: ExtentId,
    pub(crate) state: SlotState,
    /// Whether there is a record. This and what follows mirror the record, with the changes that are in flight.
    pub(crate) live: bool,
    pub(crate) has_data: bool,
    pub(crate) reserve_all: bool,
    pub(crate) accepted: Epoch,
    pub(crate) replicas: SmallVec<[ServerId; REPLICAS_MAX]>,
    pub(crate) versions_hash: u64,
    /// Regions with a unit.
    pub(crate) mapped: u64,
    /// Regions without a unit for which one is reserved.
    pub(crate) reserved: u64,
    /// Units at which the extent's region 0 would lie if it lay with its latest neighbours; hints only.
    pub(crate) homes: [u32; 2],
    /// Generation of the newest page; 0 if there is none.
    pub(crate) generation: u64,
    /// Key of the cached record, or [`NONE`].
    pub(crate) cached: u32,
    /// Key of what goes on with the extent, or [`NONE`].
    pub(crate) active: u32,
}

impl Slot {
    fn new(extent: ExtentId) -> Self {
        Self {
            extent,
            state: SlotState::Held,
            live: false,
            has_data: false,
            reserve_all: false,
            accepted: Epoch::ZERO,
            replicas: SmallVec::new(),
            versions_hash: 0,
            mapped: 0,
            reserved: 0,
            homes: [NO_UNIT; 2],
            generation: 0,
            cached: NONE,
            active: NONE,
        }
    }

    /// Takes over what is mirrored, except for the unit map.
    pub(crate) fn mirror(&mut self, record: &Record) {
        self.live = record.live;
        self.has_data = record.has_data;
        self.reserve_all = record.reserve_all;
        self.accepted = record.accepted;
        self.replicas.clone_from(&record.replicas);
        self.versions_hash = record.versions_hash;
    }

    /// Takes over everything from a record found on the disk.
    pub(crate) fn restore(&mut self, record: &Record) {
        self.extent = record.extent;
        self.state = if record.live { SlotState::Held } else { SlotState::Free };
        self.mirror(record);
        self.mapped = record.mapped();
        self.homes = [NO_UNIT; 2];
        if self.mapped != 0 {
            let region = self.mapped.trailing_zeros();
            self.homes[0] = record.units[region as usize].checked_sub(region).unwrap_or(NO_UNIT);
        }
    }

    /// Units that would continue the runs of which the extent has units already.
    pub(crate) fn hints(&self, region: usize) -> [u32; 2] {
        self.homes.map(|home| if home == NO_UNIT { NO_UNIT } else { home.saturating_add(region as u32) })
    }

    /// Remembers where a unit was found.
    pub(crate) fn note_home(&mut self, region: usize, unit: u32) {
        let home = unit.checked_sub(region as u32).unwrap_or(NO_UNIT);
        if !self.homes.contains(&home) {
            self.homes = [home, self.homes[0]];
        }
    }

    /// The line of the inventory.
    pub(crate) fn inventory(&self) -> InventoryEntry {
        InventoryEntry {
            extent: self.extent,
            accepted: self.accepted,
            replicas: self.replicas.to_vec(),
            has_data: self.has_data,
            units: self.mapped.count_ones(),
            versions_hash: self.versions_hash,
        }
    }
}

/// All slots, and where each extent's is.
#[derive(Debug)]
pub(crate) struct Table {
    by_extent: BTreeMap<ExtentId, u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    limit: u32,
}

impl Table {
    /// A table of `slots` found on the disk, of `limit` that the disk has room for. Gives an extent with two records,
    /// and the slot of the second, as an error.
    pub(crate) fn new(slots: Vec<Slot>, limit: u32) -> Result<Self, (ExtentId, u32)> {
        let mut table = Self { by_extent: BTreeMap::new(), slots, free: Vec::new(), limit };
        for (number, slot) in table.slots.iter().enumerate() {
            match slot.state {
                SlotState::Held => {
                    if table.by_extent.insert(slot.extent, number as u32).is_some() {
                        return Err((slot.extent, number as u32));
                    }
                }
                SlotState::Free => table.free.push(number as u32),
                SlotState::Forgotten => {}
            }
        }
        table.free.reverse();
        Ok(table)
    }

    /// A slot that was never used, as replay needs it behind the initialised ones.
    pub(crate) fn unused_slot() -> Slot {
        let nobody = ExtentId { volume: evenkeel_types::VolumeId(0), index: 0 };
        Slot { state: SlotState::Free, ..Slot::new(nobody) }
    }

    pub(crate) fn find(&self, extent: ExtentId) -> Option<u32> {
        self.by_extent.get(&extent).copied()
    }

    /// A slot for an extent that has none; `None` if the table is full.
    pub(crate) fn allocate(&mut self, extent: ExtentId) -> Option<u32> {
        let number = match self.free.pop() {
            Some(number) => {
                let generation = self.slots[number as usize].generation;
                self.slots[number as usize] = Slot { generation, ..Slot::new(extent) };
                number
            }
            None if (self.slots.len() as u32) < self.limit => {
                self.slots.push(Slot::new(extent));
                self.slots.len() as u32 - 1
            }
            None => return None,
        };
        assert!(self.by_extent.insert(extent, number).is_none(), "extent {extent} has a slot already");
        Some(number)
    }

    /// The extent loses its slot, which is not yet usable again.
    pub(crate) fn forget(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        assert!(slot.state == SlotState::Held && !slot.live, "only an empty slot is forgotten");
        slot.state = SlotState::Forgotten;
        self.by_extent.remove(&slot.extent);
    }

    /// A forgotten slot becomes usable again.
    pub(crate) fn release(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        assert!(slot.state == SlotState::Forgotten, "only a forgotten slot is released");
        slot.state = SlotState::Free;
        self.free.push(number);
    }

    pub(crate) const fn len(&self) -> u32 {
        self.slots.len() as u32
    }
    /// Whether a slot could be allocated, now or after a checkpoint.
    pub(crate) fn has_forgotten(&self) -> bool {
        self.by_extent.len() + self.free.len() < self.slots.len()
    }
    pub(crate) fn extents(&self) -> usize {
        self.by_extent.len()
    }
    pub(crate) fn slot(&self, number: u32) -> &Slot {
        &self.slots[number as usize]
    }
    pub(crate) fn slot_mut(&mut self, number: u32) -> &mut Slot {
        &mut self.slots[number as usize]
    }

    /// Records from an extent on, in order.
    pub(crate) fn list(&self, from: ExtentId, max: usize) -> Vec<InventoryEntry> {
        let slots = self.by_extent.range(from..).map(|(_, slot)| self.slot(*slot));
        slots.filter(|slot| slot.live).take(max).map(Slot::inventory).collect()
    }
}
