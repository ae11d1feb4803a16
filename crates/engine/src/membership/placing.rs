//! This server's part when a volume gets another place: what that would re-route gets route entries, then the server
//! confirms. See `docs/routing.md`.
//!
//! What is needed is found in the store's records, page by page, and among the extents in use: those may have writes on
//! their way that the records do not show yet. Who owns what may change with each change of a member of the present place;
//! then everything is looked at again.

use crate::config::{
    DIRECTORY_PATIENCE, LEASE_GUARD, OTHERS_ENTERED_AFTER, PLACING_NOTED_MAX, RUN_ENTERED_FROM, SWEEP_PAGE,
};
use crate::core::{Pending, TxnFor};
use crate::engine::Engine;
use crate::owner::Phase;
use evenkeel_meta::change::{ENTERED_PER_TXN_MAX, confirm_place, enter};
use evenkeel_meta::records::PlacedRecord;
use evenkeel_meta::{DirectoryError, Revision, TxnOutcome};
use evenkeel_types::geometry::EXTENTS_PER_RUN;
use evenkeel_types::store_op::{InventoryEntry, StoreOp};
use evenkeel_types::{ExtentId, ServerId, Time, VolumeId};
use std::collections::BTreeMap;

/// What is under way for places that are to come.
#[derive(Debug)]
pub(crate) struct Placing {
    /// Records of a page.
    pub(crate) page: u32,
    /// Extents that are noted before another page is asked for.
    pub(crate) noted_max: usize,
    scan: Option<Scan>,
    /// Entries were asked for, and not answered; since when.
    entering: Option<Time>,
    /// No entries are asked for before the view shows what became of those before.
    entered: Revision,
    /// Nor before this time: the directory was away.
    enter_at: Time,
    /// A confirmation was given, and not answered; since when.
    confirming: Option<Time>,
}

impl Default for Placing {
    fn default() -> Self {
        Self {
            page: SWEEP_PAGE,
            noted_max: PLACING_NOTED_MAX,
            scan: None,
            entering: None,
            entered: Revision::ZERO,
            enter_at: Time::ZERO,
            confirming: None,
        }
    }
}

/// The search for extents of one volume that need entries.
#[derive(Debug)]
struct Scan {
    volume: VolumeId,
    /// Tells its pages from those of an earlier one.
    number: u64,
    /// A page was asked for.
    asked: bool,
    /// What it is to confirm. If that is not what is asked any more, it is of no use.
    wanted: PlacedRecord,
    /// From which extent on the next page is; none behind the last.
    cursor: Option<ExtentId>,
    began: Time,
}

impl Engine {
    /// Goes on as far as possible.
    pub(crate) fn continue_placing(&mut self) {
        let now = self.core.now;
        self.core.entries_due = true;
        for since in [&mut self.placing.entering, &mut self.placing.confirming] {
            since.take_if(|since| now.since(*since) >= 4 * DIRECTORY_PATIENCE);
        }
        let Some((volume, wanted)) = self.place_to_confirm() else {
            self.placing.scan = None;
            return;
        };
        let is_it = |scan: &Scan| scan.volume == volume && scan.wanted == wanted;
        if !self.placing.scan.as_ref().is_some_and(is_it) {
            let (number, cursor) = (self.core.serial(), Some(ExtentId { volume, index: 0 }));
            self.placing.scan = Some(Scan { volume, number, asked: false, wanted, cursor, began: now });
        }
        self.ask_for_records();
        self.confirm();
    }

    /// The first place to come that waits for this server's confirmation.
    fn place_to_confirm(&self) -> Option<(VolumeId, PlacedRecord)> {
        let me = self.core.me();
        let view = self.core.view.as_ref()?;
        view.next_places().find_map(|volume| {
            let kept = view.volume(volume)?;
            let is_asked = kept.record.place.servers().iter().any(|placed| placed.server == me);
            let publication = view.next_place(volume)?.revision;
            let wanted = PlacedRecord { publication, members: view.placing_members(volume) };
            let has_confirmed = view.placed(volume, me).is_some_and(|kept| kept.record == wanted);
            (is_asked && !has_confirmed).then_some((volume, wanted))
        })
    }

    fn ask_for_records(&mut self) {
        let Some(scan) = self.placing.scan.as_mut().filter(|scan| !scan.asked) else {
            return;
        };
        let (number, volume) = (scan.number, scan.volume);
        // The records do not show yet what is on its way to a copy here, and its owner may be gone.
        let is_copy = |pending: &Pending| match pending {
            Pending::ReplicaWrite { extent, .. } | Pending::Install { extent, .. } => {
                extent.volume == volume && self.core.is_to_be_placed(*extent)
            }
            _ => false,
        };
        if self.core.pending.values().any(|(_, pending)| is_copy(pending)) {
            return;
        }
        if let Some(from) = scan.cursor.filter(|_| self.core.to_enter.len() < self.placing.noted_max) {
            scan.asked = true;
            let max = self.placing.page;
            self.core.store(Pending::Placing { number }, StoreOp::List { from, max });
        }
    }

    /// A page of this server's records came. None comes if the store has stopped, and nothing is confirmed.
    pub(crate) fn handle_placing_page(&mut self, number: u64, page: &[InventoryEntry]) {
        let Some(scan) = self.placing.scan.as_mut().filter(|scan| scan.number == number) else {
            return;
        };
        scan.asked = false;
        let volume = scan.volume;
        let last = page.last().filter(|_| page.len() >= self.placing.page as usize).map(|entry| entry.extent);
        scan.cursor = last.and_then(super::resync::after).filter(|next| next.volume == volume);
        for entry in page.iter().filter(|entry| entry.extent.volume == volume) {
            // A copy in which nothing was ever written may stay behind when others become replicas.
            let is_written = entry.has_data && (entry.units > 0 || entry.versions_hash != 0);
            if is_written && self.needs_entry(entry.extent) {
                self.core.note_entry(entry.extent, true);
            }
        }
        self.continue_placing();
    }

    /// Whether an extent needs an entry, if something was written to it: also if that is known only from a copy here. Where
    /// the owner's record shows nothing of it, it was never acknowledged; but the copy would come to life again with a later
    /// place that makes this server owner, if it was not freed in time.
    fn needs_entry(&self, id: ExtentId) -> bool {
        let me = self.core.me();
        self.core.is_to_be_placed(id) && self.core.route(id).is_some_and(|route| route.replicas.contains(&me))
    }

    fn is_mine(&self, id: ExtentId) -> bool {
        self.core.route(id).is_some_and(|route| route.owner() == Some(self.core.me()))
    }

    /// Asks for entries, one transaction at a time, if anything may have changed about what is due.
    pub(crate) fn enter_extents(&mut self) {
        if !std::mem::take(&mut self.core.entries_due)
            || self.core.to_enter.is_empty()
            || self.placing.entering.is_some()
        {
            return;
        }
        let seen = self.core.view.as_ref().map_or(Revision::ZERO, |view| view.revision());
        if seen < self.placing.entered || self.core.now < self.placing.enter_at {
            return;
        }
        let mut to_enter = std::mem::take(&mut self.core.to_enter);
        to_enter.retain(|id, is_written| self.needs_entry(*id) && (*is_written || self.is_waiting(*id)));
        self.core.to_enter = to_enter;
        let due = self.core.to_enter.keys().filter(|id| self.is_due(**id));
        let mut due = due.peekable();
        let Some(volume) = due.peek().map(|id| id.volume) else {
            return;
        };
        let mut by_run: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for id in due.filter(|id| id.volume == volume) {
            by_run.entry(id.index / EXTENTS_PER_RUN).or_default().push(id.index);
        }
        let (mut extents, mut runs) = (Vec::new(), Vec::new());
        for (run, of_run) in by_run {
            if self.is_whole(volume, run, of_run.len()) && self.may_stay(volume, run) {
                runs.push(run);
            } else {
                extents.extend(of_run);
            }
        }
        runs.truncate(ENTERED_PER_TXN_MAX);
        extents.truncate(ENTERED_PER_TXN_MAX - runs.len());
        if extents.is_empty() && runs.is_empty() {
            return;
        }
        let Some(view) = &self.core.view else {
            return;
        };
        if let Ok(txn) = enter(view, self.core.actor(), volume, &extents, &runs) {
            self.placing.entering = Some(self.core.now);
            self.core.transact(TxnFor::Enter, txn);
        }
    }

    /// Whether an extent's entry is to be asked for now: at once if somebody waits for it, else when it is known how many
    /// of its run need one; that of another owner's extent when the owner has had the time for it. A move that is being
    /// prepared brings an entry of its own.
    fn is_due(&self, id: ExtentId) -> bool {
        if self.core.moving.contains(&id) {
            return false;
        }
        if self.is_waiting(id) {
            return true;
        }
        if !self.is_mine(id) {
            let began = self.placing.scan.as_ref().map(|scan| scan.began);
            return began.is_some_and(|began| self.core.now.since(began) >= OTHERS_ENTERED_AFTER);
        }
        if self.core.to_enter.len() >= self.placing.noted_max {
            // No more is looked for before some of it is done.
            return true;
        }
        let behind = (id.index / EXTENTS_PER_RUN + 1).saturating_mul(EXTENTS_PER_RUN);
        match &self.placing.scan {
            Some(scan) if scan.volume == id.volume => scan.cursor.is_none_or(|next| next.index >= behind),
            _ => false,
        }
    }

    /// Whether the extent waits for its entry, with a record at each copy that is present.
    fn is_waiting(&self, id: ExtentId) -> bool {
        let reign = self.extents.get(&id).and_then(|extent| extent.reign.as_ref());
        reign.is_some_and(|reign| reign.phase == Phase::Entering && reign.record)
    }

    /// Whether so many extents that need entries are all of a run that have none yet. Each that follows the run's entry then has
    /// a record; a run that the volume's end cuts short may grow.
    fn is_whole(&self, volume: VolumeId, run: u32, count: usize) -> bool {
        let entered = self.core.view.as_ref().map_or(0, |view| view.entered_of_run(volume, run));
        count >= RUN_ENTERED_FROM && count + entered == EXTENTS_PER_RUN as usize
    }

    /// Whether all of a run may stay where it is: no replica of it is to leave.
    fn may_stay(&self, volume: VolumeId, run: u32) -> bool {
        let first = ExtentId { volume, index: run * EXTENTS_PER_RUN };
        let member = |server: ServerId| self.core.view.as_ref().and_then(|view| view.member(server));
        let stays = |server: &ServerId| member(*server).is_some_and(|kept| kept.record.is_to_stay());
        let replicas = (first.index..first.index + EXTENTS_PER_RUN)
            .map(|index| ExtentId { index, ..first })
            .find(|id| self.core.is_to_be_placed(*id))
            .and_then(|id| self.core.route(id))
            .map(|route| route.replicas);
        replicas.is_some_and(|replicas| replicas.iter().all(stays))
    }

    /// The directory answered; what it took, the view shows.
    pub(crate) fn handle_entered(&mut self, outcome: &Result<TxnOutcome, DirectoryError>) {
        self.placing.entering = None;
        self.core.entries_due = true;
        match outcome {
            Ok(outcome) if outcome.succeeded => self.placing.entered = outcome.revision,
            // The view will show why not.
            Ok(_) | Err(_) => self.placing.enter_at = self.core.now + DIRECTORY_PATIENCE,
        }
    }

    /// Confirms, if everything has been looked through and nothing needs an entry any more.
    fn confirm(&mut self) {
        let Some(Scan { volume, cursor: None, asked: false, .. }) = self.placing.scan else {
            return;
        };
        // A lease that was given before this start may last, and is not remembered.
        let is_fresh = self.core.now < self.core.config.started + LEASE_GUARD;
        if self.placing.confirming.is_some() || is_fresh {
            return;
        }
        let first = ExtentId { volume, index: 0 };
        let (mut is_ready, mut to_look_at) = (true, Vec::new());
        for (id, extent) in self.extents.range(first..).take_while(|(id, _)| id.volume == volume) {
            if !self.core.is_to_be_placed(*id) {
                continue;
            }
            let is_mine = self.is_mine(*id);
            if !extent.may_be_placed(self.core.now, is_mine) {
                is_ready = false;
                to_look_at.push(*id);
            }
            let is_written = extent.reign.as_ref().is_some_and(|reign| reign.record && !reign.is_blank());
            if is_written && is_mine {
                self.core.note_entry(*id, true);
            }
        }
        // One that lost its first write again, for want of space, has nothing else that ends its serving.
        to_look_at.into_iter().for_each(|id| self.core.wake(id));
        // What waits for its entry and was never written to may wait at the next owner as well.
        let is_written = |(id, is_written): (&ExtentId, &bool)| id.volume == volume && *is_written;
        if !is_ready || self.core.to_enter.iter().any(is_written) {
            return;
        }
        let made = self.core.view.as_ref().map(|view| confirm_place(view, self.core.actor(), volume));
        if let Some(Ok(txn)) = made {
            self.placing.confirming = Some(self.core.now);
            self.core.transact(TxnFor::ConfirmPlace, txn);
        }
    }

    /// The directory answered; the view shows whether it is confirmed.
    pub(crate) fn handle_confirmed(&mut self) {
        self.placing.confirming = None;
    }
}
