//! Records in memory, with the journaled blocks that are not in their places yet. The cache has a named size; dirty
//! records stay until a checkpoint wrote them.

use crate::extent::record::Record;
use crate::slab::Slab;
use bytes::Bytes;
use std::collections::BTreeMap;

/// Memory that a cached record takes, in bytes.
pub(crate) const CACHED_RECORD_BYTES: u64 = 8192;
/// Records cached at least, whatever the options say.
const CACHED_RECORDS_MIN: usize = 64;

/// A journaled block that is not in its place yet.
#[derive(Clone, Debug)]
pub(crate) struct OverlayBlock {
    pub(crate) data: Bytes,
    /// The unit that it belongs into.
    pub(crate) unit: u32,
    /// The journal record that holds it.
    pub(crate) sequence: u64,
}

/// A record in memory.
#[derive(Debug)]
pub(crate) struct Cached {
    pub(crate) slot: u32,
    pub(crate) record: Box<Record>,
    /// By block within the extent; durable content only.
    pub(crate) overlay: BTreeMap<u16, OverlayBlock>,
    /// Operations on their way into the journal that need the record.
    pub(crate) pins: u32,
    /// Changed since the last checkpoint took it in hand.
    pub(crate) dirty: bool,
    /// The running checkpoint has still to write it.
    pub(crate) in_checkpoint: bool,
    referenced: bool,
}

impl Cached {
    fn is_evictable(&self) -> bool {
        !self.dirty && !self.in_checkpoint && self.pins == 0 && self.overlay.is_empty()
    }
}

/// The cache.
#[derive(Debug)]
pub(crate) struct Cache {
    items: Slab<Cached>,
    /// Keys in the order in which the clock hand visits them.
    clock: Vec<u32>,
    hand: usize,
    capacity: usize,
    dirty: Vec<u32>,
}

impl Cache {
    pub(crate) fn new(bytes: u64) -> Self {
        let capacity = ((bytes / CACHED_RECORD_BYTES) as usize).max(CACHED_RECORDS_MIN);
        Self { items: Slab::default(), clock: Vec::new(), hand: 0, capacity, dirty: Vec::new() }
    }

    pub(crate) const fn len(&self) -> usize {
        self.items.len()
    }
    pub(crate) const fn capacity(&self) -> usize {
        self.capacity
    }
    pub(crate) const fn dirty_count(&self) -> usize {
        self.dirty.len()
    }
    pub(crate) fn get(&self, key: u32) -> &Cached {
        self.items.get(key)
    }
    pub(crate) fn get_mut(&mut self, key: u32) -> &mut Cached {
        self.items.get_mut(key)
    }

    /// Notes a use, so that the record stays a while.
    pub(crate) fn touch(&mut self, key: u32) {
        self.items.get_mut(key).referenced = true;
    }

    /// Makes room for one more record: gives the slot of the record that went, or none if there was room, or an
    /// error if every record must stay.
    /// Loads under way count as records.
    pub(crate) fn make_room(&mut self, loading: usize) -> Result<Option<u32>, Full> {
        if self.items.len() + loading < self.capacity {
            return Ok(None);
        }
        // Two rounds: the first takes the second chances away.
        for _ in 0..2 * self.clock.len() {
            self.hand = (self.hand + 1) % self.clock.len();
            let key = self.clock[self.hand];
            let item = self.items.get_mut(key);
            if !item.is_evictable() {
                continue;
            }
            if std::mem::take(&mut item.referenced) {
                continue;
            }
            self.clock.swap_remove(self.hand);
            return Ok(Some(self.items.remove(key).slot));
        }
        Err(Full)
    }

    pub(crate) fn insert(&mut self, slot: u32, record: Box<Record>) -> u32 {
        let overlay = BTreeMap::new();
        let item =
            Cached { slot, record, overlay, pins: 0, dirty: false, in_checkpoint: false, referenced: true };
        let key = self.items.insert(item);
        self.clock.push(key);
        key
    }

    /// Removes the record of a forgotten slot.
    pub(crate) fn remove(&mut self, key: u32) {
        assert!(self.items.get(key).is_evictable(), "a record that is needed cannot go");
        self.items.remove(key);
        self.clock.retain(|other| *other != key);
    }

    /// Notes a change.
    pub(crate) fn mark_dirty(&mut self, key: u32) {
        let item = self.items.get_mut(key);
        if !item.dirty {
            item.dirty = true;
            self.dirty.push(key);
        }
    }

    /// Hands all dirty records to a checkpoint: their slots.
    pub(crate) fn begin_checkpoint(&mut self) -> Vec<u32> {
        let keys = std::mem::take(&mut self.dirty);
        let mut slots = Vec::with_capacity(keys.len());
        for key in keys {
            let item = self.items.get_mut(key);
            item.dirty = false;
            item.in_checkpoint = true;
            slots.push(item.slot);
        }
        slots.sort_unstable();
        slots
    }
}

/// Every cached record must stay.
#[derive(Debug)]
pub(crate) struct Full;
