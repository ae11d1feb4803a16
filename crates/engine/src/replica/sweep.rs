//! Looking through the store for copies that may go: after a start, and when a volume is deleted.

use crate::config::SWEEP_PAGE;
use crate::core::{Core, Pending};
use crate::engine::Engine;
use evenkeel_types::store_op::{InventoryEntry, StoreOp, StoreOutcome, StoreReply};
use evenkeel_types::{ExtentId, VolumeId};
use std::collections::VecDeque;

/// What is still to be looked through. One page is asked for at a time.
#[derive(Default, Debug)]
pub(crate) struct Sweep {
    /// From which extent on, and for which volume only.
    to_do: VecDeque<(ExtentId, Option<VolumeId>)>,
    asked: bool,
}

impl Sweep {
    /// Looks through the records of one volume, or of all.
    pub(crate) fn begin(&mut self, core: &mut Core, volume: Option<VolumeId>) {
        let from = ExtentId { volume: volume.unwrap_or(VolumeId(0)), index: 0 };
        if volume.is_none() {
            self.to_do.clear();
        }
        self.to_do.push_back((from, volume));
        self.ask(core);
    }

    fn ask(&mut self, core: &mut Core) {
        if let (false, Some((from, _))) = (self.asked, self.to_do.front()) {
            self.asked = true;
            core.store(Pending::Sweep, StoreOp::List { from: *from, max: SWEEP_PAGE });
        }
    }

    /// A page came; gives the records in it that belong to what is swept.
    fn take_page(&mut self, entries: Vec<InventoryEntry>) -> Vec<InventoryEntry> {
        self.asked = false;
        let Some((from, only)) = self.to_do.pop_front() else {
            return Vec::new();
        };
        let in_range = |entry: &InventoryEntry| only.is_none_or(|volume| entry.extent.volume == volume);
        let next = entries.last().map(|entry| entry.extent).filter(|last| *last >= from);
        if let Some(last) =
            next.filter(|_| entries.len() == SWEEP_PAGE as usize && entries.last().is_some_and(in_range))
            && let Some(next) = after(last)
        {
            self.to_do.push_front((next, only));
        }
        entries.into_iter().filter(in_range).collect()
    }
}

fn after(extent: ExtentId) -> Option<ExtentId> {
    match extent.index.checked_add(1) {
        Some(index) => Some(ExtentId { index, ..extent }),
        None => Some(ExtentId { volume: VolumeId(extent.volume.0.checked_add(1)?), index: 0 }),
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
            // Also the copy of a move's target, which may go only later: it is kept in mind until the directory decides.
            let me = Some(self.core.me());
            let elsewhere = self.core.route(entry.extent).is_some_and(|route| route.owner() != me);
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
