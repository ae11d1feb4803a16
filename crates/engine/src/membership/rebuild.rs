//! Copies at servers that are gone for good, or are being emptied, are made anew elsewhere.
//!
//! Each owner does it for its own extents, by the same moves as everything else. It looks through all of its store's
//! records, notes those extents that are most urgent (those with the fewest good copies, of equal ones the hottest), and
//! has a few such moves under way at a time; when it has done what it noted it looks again.

use crate::config::{
    REBUILD_FULL_AT, REBUILD_MOVE_COST, REBUILD_REST, REBUILDS_MAX, REBUILDS_NOTED_MAX, SWEEP_PAGE,
};
use crate::core::Pending;
use crate::engine::Engine;
use crate::event::MoveOrder;
use crate::timers::Timer;
use evenkeel_meta::{MemberState, Revision, Route};
use evenkeel_types::store_op::{InventoryEntry, StoreOp};
use evenkeel_types::{ExtentId, ServerId, Time, VolumeId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is to be done, and what is known for it.
#[derive(Default, Debug)]
pub(crate) struct Rebuild {
    /// Since when the view has shown servers as down.
    down_since: BTreeMap<ServerId, Time>,
    /// Shares of their stores that servers use, as far as known.
    used: BTreeMap<ServerId, f64>,
    /// The hottest extents, as far as known, with their ranks.
    hot: BTreeMap<ExtentId, usize>,
    /// The records are being looked through.
    looks: bool,
    /// No pass begins before: what the last one found led to nothing.
    rest_until: Time,
    /// What was found and not begun yet: the most urgent, at most [`REBUILDS_NOTED_MAX`].
    found: BTreeSet<Found>,
    /// Whether a move was ordered since the last pass began.
    has_ordered: bool,
    /// The next move begins no earlier.
    next_at: Time,
    /// Extents with a move that was ordered for this.
    under_way: BTreeSet<ExtentId>,
    /// Whether copies are missing at servers that are gone for good, and by which view.
    misses_copies: (Revision, bool),
}

/// An extent with a replica to be replaced; the least is the most urgent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Found {
    good_copies: usize,
    /// Among the hottest extents; the same for all others.
    rank: usize,
    extent: ExtentId,
    replaces: ServerId,
}

const START: ExtentId = ExtentId { volume: VolumeId(0), index: 0 };

impl Engine {
    /// Tells how full the servers are: copies go to those with the most room.
    pub fn set_used(&mut self, used: impl IntoIterator<Item = (ServerId, f64)>) {
        self.rebuild.used = used.into_iter().collect();
    }

    /// Tells which extents here are hottest, in that order; more than [`REBUILDS_NOTED_MAX`] are of no use.
    pub fn set_hot(&mut self, extents: impl IntoIterator<Item = ExtentId>) {
        self.rebuild.hot = extents.into_iter().take(REBUILDS_NOTED_MAX).zip(0..).collect();
    }

    /// The view has changed: notes since when servers are down.
    pub(super) fn note_down(&mut self) {
        let now = self.core.now;
        let Some(view) = &self.core.view else {
            return;
        };
        let down: BTreeSet<ServerId> = view
            .members()
            .filter(|(_, kept)| kept.record.state == MemberState::Down && kept.record.incarnation.0 > 0)
            .map(|(server, _)| server)
            .collect();
        self.rebuild.down_since.retain(|server, _| down.contains(server));
        for server in down {
            self.rebuild.down_since.entry(server).or_insert(now);
        }
    }

    /// Whether a replica at that server is to be made elsewhere.
    fn is_leaving(&self, server: ServerId) -> bool {
        let member = self.core.view.as_ref().and_then(|view| view.member(server));
        let is_away = self
            .rebuild
            .down_since
            .get(&server)
            .is_some_and(|since| self.core.now.since(*since) >= self.core.config.rebuild_after);
        is_away || member.is_some_and(|kept| kept.record.draining || kept.record.forgotten)
    }

    /// Goes on: orders moves, or looks for more to do.
    pub(crate) fn continue_rebuild(&mut self) {
        let Some(view) = &self.core.view else {
            return;
        };
        if self.rebuild.misses_copies.0 != view.revision() {
            self.rebuild.misses_copies = (view.revision(), view.misses_copies());
        }
        let members: Vec<ServerId> =
            view.members().filter(|(_, kept)| kept.record.incarnation.0 > 0).map(|(id, _)| id).collect();
        let is_any_leaving =
            self.rebuild.misses_copies.1 || members.iter().any(|server| self.is_leaving(*server));
        // With many gone it is a cut or a power failure, and copying everything would help nobody.
        if !is_any_leaving || 3 * self.rebuild.down_since.len() > members.len() {
            self.rebuild.found.clear();
            return;
        }
        self.rebuild.under_way.retain(|id| self.orders.contains_key(id) || self.core.moving.contains(id));
        if self.rebuild.looks {
            return;
        }
        if !self.rebuild.found.is_empty() {
            self.order_rebuilds();
        } else if self.core.now >= self.rebuild.rest_until {
            (self.rebuild.looks, self.rebuild.has_ordered) = (true, false);
            self.core.store(Pending::Rebuild, StoreOp::List { from: START, max: SWEEP_PAGE });
        }
    }

    /// Orders what is most urgent, as far as moves may be under way and begin.
    fn order_rebuilds(&mut self) {
        while self.rebuild.under_way.len() < REBUILDS_MAX && !self.rebuild.found.is_empty() {
            let now = self.core.now;
            if now < self.rebuild.next_at {
                self.core.timers.at_latest(Timer::Rebuild, self.rebuild.next_at);
                return;
            }
            let Some(found) = self.rebuild.found.pop_first() else { return };
            if self.order_rebuild(found.extent, found.replaces) {
                let cost = Duration::from_micros(REBUILD_MOVE_COST * 1_000_000 / self.core.foreground.rate());
                self.rebuild.next_at = now + cost;
            }
        }
        if self.rebuild.found.is_empty() && !self.rebuild.has_ordered {
            // There is nothing to be done, or nowhere to do it: looking again at once would find the same.
            self.rebuild.rest_until = self.core.now + REBUILD_REST;
        }
    }

    /// Goes on at once behind a move that has done what it was ordered for. One that failed is no reason for haste.
    pub(crate) fn follow_rebuilds(&mut self) -> bool {
        let is_over = |id: &ExtentId| !self.orders.contains_key(id) && !self.core.moving.contains(id);
        let is_done = |id: &ExtentId| is_over(id) && self.to_replace(*id).is_none();
        let done: Vec<ExtentId> = self.rebuild.under_way.iter().copied().filter(|id| is_done(id)).collect();
        for id in &done {
            self.rebuild.under_way.remove(id);
        }
        if !done.is_empty() && !self.rebuild.looks {
            self.order_rebuilds();
        }
        !done.is_empty()
    }

    /// Gives the moves under way the rate at which hosts hardly feel them.
    pub(crate) fn throttle_rebuild(&mut self) {
        let now = self.core.now;
        if self.core.foreground.judge(now, !self.rebuild.under_way.is_empty()) {
            let each = self.core.foreground.rate() / REBUILDS_MAX as u64;
            for id in self.rebuild.under_way.clone() {
                self.set_move_rate(id, Some(each));
            }
        }
    }

    /// A page of this server's records came.
    pub(crate) fn handle_rebuild_page(&mut self, page: &[InventoryEntry]) {
        for entry in page.iter().filter(|entry| entry.has_data) {
            // Where nothing was written, the volume's next place re-routes the extent without a copy.
            let is_blank = entry.units == 0 && entry.versions_hash == 0;
            if is_blank && self.core.route(entry.extent).is_some_and(|route| route.is_placed()) {
                continue;
            }
            let extent = entry.extent;
            if let Some((good_copies, replaces)) = self.to_replace(extent) {
                let rank = self.rebuild.hot.get(&extent).copied().unwrap_or(usize::MAX);
                self.rebuild.found.insert(Found { good_copies, rank, extent, replaces });
                if self.rebuild.found.len() > REBUILDS_NOTED_MAX {
                    self.rebuild.found.pop_last();
                }
            }
        }
        let is_full = page.len() >= SWEEP_PAGE as usize;
        match page.last().filter(|_| is_full).and_then(|entry| super::resync::after(entry.extent)) {
            Some(from) => self.core.store(Pending::Rebuild, StoreOp::List { from, max: SWEEP_PAGE }),
            None => {
                self.rebuild.looks = false;
                self.order_rebuilds();
            }
        }
    }

    /// How many good copies an extent of this server has, and which replica is to be replaced; none if all may stay.
    fn to_replace(&self, id: ExtentId) -> Option<(usize, ServerId)> {
        let route = self.core.route(id)?;
        if route.owner() != Some(self.core.me()) || route.intent.is_some() || self.orders.contains_key(&id) {
            return None;
        }
        let leaving = route.replicas.iter().copied().find(|server| self.is_leaving(*server))?;
        Some((route.in_sync().filter(|server| !self.is_leaving(*server)).count(), leaving))
    }

    /// Orders a move; false if none is needed any more, or nowhere to go.
    fn order_rebuild(&mut self, id: ExtentId, replaces: ServerId) -> bool {
        let still = self.to_replace(id).is_some_and(|(_, leaving)| leaving == replaces);
        let Some(route) = self.core.route(id).filter(|_| still) else {
            return false;
        };
        let Some(to) = self.rebuild_target(id, &route, replaces) else {
            return false;
        };
        let is_gone = self.rebuild.down_since.contains_key(&replaces)
            || self.core.view.as_ref().is_some_and(|view| view.is_forgotten(replaces));
        let state = if is_gone { "is gone" } else { "is emptied" };
        let reason = serde_json::json!({ "rebuild": format!("{replaces} {state}") });
        let rate = Some(self.core.foreground.rate() / REBUILDS_MAX as u64);
        let order = MoveOrder { extent: id, to, replaces: Some(replaces), rate, reason, first: Vec::new() };
        self.rebuild.under_way.insert(id);
        self.rebuild.has_ordered = true;
        self.handle_order(order);
        true
    }

    /// The server with the most room that may hold the copy; of several that are about equal, one by the extent's number.
    fn rebuild_target(&self, id: ExtentId, route: &Route, replaces: ServerId) -> Option<ServerId> {
        let view = self.core.view.as_ref()?;
        let used = |server: ServerId| self.rebuild.used.get(&server).copied().unwrap_or(0.0);
        let may_take = |server: &ServerId| {
            view.member(*server).is_some_and(|kept| kept.record.takes_extents())
                && used(*server) < REBUILD_FULL_AT
                && !view.is_barred(id.volume, route, replaces, *server)
        };
        let candidates = view.members().map(|(server, _)| server).filter(may_take);
        candidates.min_by_key(|server| {
            let twentieths = (used(*server) * 20.0) as u32;
            let spread = u64::from(id.index).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(server.0) << 40;
            (twentieths, spread.wrapping_mul(0xbf58_476d_1ce4_e5b9))
        })
    }
}
