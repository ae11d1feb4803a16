//! Looking through the store for copies that may go: after a start, when a volume is deleted or placed anew, and when an
//! extent is moved of which nothing is kept in memory.

use crate::config::SWEEP_PAGE;
use crate::core::{Core, Pending};
use crate::engine::Engine;
use crate::membership::after;
use evenkeel_types::store_op::{InventoryEntry, StoreOp, StoreOutcome, StoreReply};
use evenkeel_types::{ExtentId, VolumeId};
use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// What is still to be looked through. One page is asked for at a time.
#[derive(Default, Debug)]
pub(crate) struct Sweep {
    /// From which extent on, and up to which.
    to_do: VecDeque<RangeInclusive<ExtentId>>,
    /// Of which the store has been asked for the first page.
    asked: Option<RangeInclusive<ExtentId>>,
}

impl Sweep {
    /// Looks through all records.
    pub(crate) fn begin(&mut self, core: &mut Core) {
        self.to_do.clear();
        let (first, last) = (VolumeId(0), VolumeId(u64::MAX));
        self.add(core, ExtentId { volume: first, index: 0 }..=ExtentId { volume: last, index: u32::MAX });
    }

    /// Looks through the records of a volume.
    pub(crate) fn add_volume(&mut self, core: &mut Core, volume: VolumeId) {
        self.add(core, ExtentId { volume, index: 0 }..=ExtentId { volume, index: u32::MAX });
    }

    /// Looks at the record of an extent.
    pub(crate) fn add_extent(&mut self, core: &mut Core, id: ExtentId) {
        self.add(core, id..=id);
    }

    fn add(&mut self, core: &mut Core, range: RangeInclusive<ExtentId>) {
        self.to_do.push_back(range);
        self.ask(core);
    }

    fn ask(&mut self, core: &mut Core) {
        if self.asked.is_none()
            && let Some(range) = self.to_do.pop_front()
        {
            let max = if range.start() == range.end() { 1 } else { SWEEP_PAGE };
            core.store(Pending::Sweep, StoreOp::List { from: *range.start(), max });
            self.asked = Some(range);
        }
    }

    /// A page came; gives the records in it that belong to what is swept.
    fn take_page(&mut self, mut entries: Vec<InventoryEntry>) -> Vec<InventoryEntry> {
        let Some(range) = self.asked.take() else {
            return Vec::new();
        };
        let is_full = entries.len() == SWEEP_PAGE as usize;
        entries.retain(|entry| range.contains(&entry.extent));
        if let (true, Some(last)) = (is_full && entries.len() == SWEEP_PAGE as usize, entries.last())
            && let Some(next) = after(last.extent)
        {
            self.to_do.push_front(next..=*range.end());
        }
        entries
    }
}

impl Engine {
    /// A page of the store's records came.
    pub(crate) fn handle_sweep(&mut self, outcome: StoreOutcome) {
        let entries = match outcome {
            Ok(StoreReply::Inventory(entries)) => entries,
            _ => Vec::new(),
        };
        for entry in self.sweep.take_page(entries) {
            // A copy that the view gives to this server, as a replica or as a target, is looked for again when it does so
            // no longer.
            let me = self.core.me();
            let elsewhere = self.core.route(entry.extent).is_some_and(|route| !route.names(me));
            let deleted = self.core.is_deleted(entry.extent);
            if deleted || entry.has_data && elsewhere {
                let extent = self.extent_mut(entry.extent);
                extent.may_hold = true;
                extent.accepted = extent.accepted.max(entry.accepted);
                self.core.wake(entry.extent);
            }
        }
        self.sweep.ask(&mut self.core);
    }
}
