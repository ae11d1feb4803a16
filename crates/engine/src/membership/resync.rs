//! An owner compares what it owns with the copies at a syncing server.

use crate::config::{RESYNC_EXTENTS_MAX, RESYNC_PAGE};
use crate::copies::Role;
use crate::core::{Core, Pending};
use crate::engine::Engine;
use crate::event::EngineEvent;
use crate::extent::Extent;
use evenkeel_meta::{MemberState, Revision, Route};
use evenkeel_peer::{Compared, Current, Inventory, Message};
use evenkeel_types::geometry::REGIONS_PER_EXTENT;
use evenkeel_types::store_op::{InventoryEntry, StoreOp};
use evenkeel_types::{ExtentId, ServerId, VolumeId};
use std::collections::{BTreeMap, BTreeSet};

/// Numbers of inventories that the engine asks for itself; others are the driver's.
const OWN_NUMBERS_FROM: u64 = 1 << 63;

/// The comparison with one server.
#[derive(Debug)]
pub(crate) struct Resync {
    session: u64,
    /// The view by which it was begun.
    revision: Revision,
    number: u64,
    /// From which extent on the next pages are; none behind the last.
    cursor: Option<ExtentId>,
    mine: Option<Vec<InventoryEntry>>,
    theirs: Option<Vec<InventoryEntry>>,
    /// Extents that are to be promised before the end.
    open: BTreeSet<ExtentId>,
    regions: u64,
    differing: u64,
    /// Everything has been compared once.
    has_ended: bool,
}

/// The first extent behind one.
pub(crate) const fn after(extent: ExtentId) -> Option<ExtentId> {
    match (extent.index.checked_add(1), extent.volume.0.checked_add(1)) {
        (Some(index), _) => Some(ExtentId { index, ..extent }),
        (None, Some(volume)) => Some(ExtentId { volume: VolumeId(volume), index: 0 }),
        (None, None) => None,
    }
}

/// Whether an extent has another copy at a server that is present, beside the owner's.
fn is_copy(route: &Route, owner: ServerId, server: ServerId) -> bool {
    route.replicas.len() > 1
        && route.owner() == Some(owner)
        && route.present().any(|replica| replica == server)
}

impl Extent {
    /// Promises to syncing copies that all their regions are current, as soon as that is so.
    pub(crate) fn promise_current(&mut self, core: &mut Core) {
        let id = self.id;
        let Some(reign) = &mut self.reign else {
            return;
        };
        for link in reign.links.iter_mut().filter(|link| link.role == Role::Syncing) {
            let server = link.server;
            let Some(attached) = link.attached_mut() else {
                continue;
            };
            let is_current = attached.current == evenkeel_types::Regions::ALL && attached.copies.is_empty();
            if is_current && !attached.promised {
                attached.promised = true;
                let extents = vec![(id, attached.attachment)];
                core.send(server, Message::Current(Current { extents }));
                core.caught_up.push_back((server, id));
            }
        }
    }

    /// Whether a copy at a server is still to be brought up to date, or may be.
    fn owes(&self, server: ServerId) -> bool {
        let link = self.reign.as_ref().and_then(|reign| reign.link(server));
        link.is_some_and(|link| {
            link.role == Role::Syncing && link.attached().is_none_or(|attached| !attached.promised)
        })
    }
}

impl Engine {
    /// Begins and ends comparisons as the view and the connections have it, and begins those anew that are named.
    pub(crate) fn renew_resyncs(&mut self, anew: impl Fn(ServerId) -> bool) {
        let Some(view) = &self.core.view else {
            return;
        };
        let revision = view.revision();
        let me = self.core.me();
        let syncing: BTreeMap<ServerId, u64> = view
            .members()
            .filter(|(server, kept)| *server != me && kept.record.state == MemberState::Syncing)
            .filter_map(|(server, _)| Some((server, self.core.session(server)?)))
            .collect();
        let resyncs = &mut self.membership.resyncs;
        resyncs.retain(|server, resync| syncing.get(server) == Some(&resync.session) && !anew(*server));
        let new: Vec<(ServerId, u64)> =
            syncing.into_iter().filter(|(server, _)| !resyncs.contains_key(server)).collect();
        for (server, session) in new {
            let owing = self.extents.iter().filter(|(_, extent)| extent.owes(server));
            let resync = Resync {
                session,
                revision,
                number: 0,
                cursor: Some(ExtentId { volume: VolumeId(0), index: 0 }),
                mine: None,
                theirs: None,
                open: owing.map(|(id, _)| *id).collect(),
                regions: 0,
                differing: 0,
                has_ended: false,
            };
            self.membership.resyncs.insert(server, resync);
            self.continue_resync(server);
        }
    }

    /// Routes have changed that name these servers. A comparison with one of them goes on: of what was compared before only
    /// those extents are looked at again, and it speaks for the new revision.
    pub(crate) fn extend_resyncs(
        &mut self,
        named: &BTreeSet<ServerId>,
        extents: &BTreeSet<ExtentId>,
        revision: Revision,
    ) {
        let me = self.core.me();
        let affected: Vec<ServerId> =
            self.membership.resyncs.keys().copied().filter(|server| named.contains(server)).collect();
        for server in affected {
            for id in extents {
                if self.core.route(*id).is_some_and(|route| is_copy(&route, me, server)) {
                    self.want_resync(server, *id);
                }
            }
            if let Some(resync) = self.membership.resyncs.get_mut(&server) {
                resync.revision = revision;
                if resync.number == OWN_NUMBERS_FROM {
                    resync.number = 0;
                }
            }
            self.continue_resync(server);
        }
    }

    /// An extent is to be attached at a syncing server, and its copy promised to be current.
    fn want_resync(&mut self, server: ServerId, id: ExtentId) {
        if let Some(resync) = self.membership.resyncs.get_mut(&server) {
            resync.open.insert(id);
            self.extent_mut(id).resync_wanted = true;
            self.core.wake(id);
        }
    }

    /// Waits no longer for copies that are none of a syncing server any more: they moved away, or were deleted.
    pub(crate) fn shorten_resyncs(&mut self) {
        let me = self.core.me();
        let mut shorter = Vec::new();
        for (server, resync) in &mut self.membership.resyncs {
            let before = resync.open.len();
            resync.open.retain(|id| self.core.route(*id).is_some_and(|route| is_copy(&route, me, *server)));
            if resync.open.len() < before {
                shorter.push(*server);
            }
        }
        for server in shorter {
            self.continue_resync(server);
        }
    }

    /// Asks for the next pages, or ends the comparison.
    fn continue_resync(&mut self, server: ServerId) {
        let Some(resync) = self.membership.resyncs.get_mut(&server) else {
            return;
        };
        if resync.number != 0 {
            return;
        }
        if let Some(from) = resync.cursor {
            if resync.open.len() < RESYNC_EXTENTS_MAX {
                let number = OWN_NUMBERS_FROM | self.core.serial();
                resync.number = number;
                let max = RESYNC_PAGE;
                self.core.store(Pending::Compare { server, number }, StoreOp::List { from, max });
                self.core.send(server, Message::Inventory(Inventory { number, from, max }));
            }
        } else if resync.open.is_empty() {
            let (regions, differing) = (resync.regions, resync.differing);
            let compared = Compared { revision: resync.revision.0, regions, differing };
            // It stays, so that it is not begun again in this connection without need.
            resync.number = OWN_NUMBERS_FROM;
            let is_first = !std::mem::replace(&mut resync.has_ended, true);
            self.core.send(server, Message::Compared(compared));
            if is_first {
                self.core.event(EngineEvent::Compared { server, regions, differing });
            }
        }
    }

    /// A page of this server's records came.
    pub(crate) fn handle_own_page(&mut self, server: ServerId, number: u64, page: Vec<InventoryEntry>) {
        let resync = self.membership.resyncs.get_mut(&server).filter(|resync| resync.number == number);
        if let Some(resync) = resync {
            resync.mine = Some(page);
            self.compare_pages(server);
        }
    }

    /// A page of a peer's records came; whether it was asked for here.
    pub(crate) fn handle_peer_page(
        &mut self,
        from: ServerId,
        number: u64,
        page: Option<Vec<InventoryEntry>>,
    ) -> Option<Option<Vec<InventoryEntry>>> {
        if number < OWN_NUMBERS_FROM {
            return Some(page);
        }
        let resync = self.membership.resyncs.get_mut(&from).filter(|resync| resync.number == number);
        if let (Some(resync), Some(page)) = (resync, page) {
            resync.theirs = Some(page);
            self.compare_pages(from);
        }
        None
    }

    /// Compares as far as both pages reach.
    fn compare_pages(&mut self, server: ServerId) {
        let Some(resync) = self.membership.resyncs.get_mut(&server) else {
            return;
        };
        let (Some(mine), Some(theirs)) = (&resync.mine, &resync.theirs) else {
            return;
        };
        // A full page may have more behind it: nothing is said about what lies beyond its last entry.
        let end = |page: &[InventoryEntry]| {
            (page.len() >= RESYNC_PAGE as usize).then(|| page.last().map(|entry| entry.extent)).flatten()
        };
        let end = match (end(mine), end(theirs)) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let mut hashes: BTreeMap<ExtentId, [Option<u64>; 2]> = BTreeMap::new();
        for (side, page) in [mine, theirs].into_iter().enumerate() {
            for entry in page.iter().filter(|entry| end.is_none_or(|end| entry.extent <= end)) {
                // What was given up is as if it had never been there; a copy in which nothing was written is one: where
                // the directory has an entry for the extent, a replica without it would be an alarm one day.
                hashes.entry(entry.extent).or_default()[side] = entry.has_data.then_some(entry.versions_hash);
            }
        }
        resync.cursor = end.and_then(after);
        resync.number = 0;
        (resync.mine, resync.theirs) = (None, None);
        for (id, [here, there]) in hashes {
            self.compare(server, id, here == there);
        }
        self.continue_resync(server);
    }

    fn compare(&mut self, server: ServerId, id: ExtentId, is_equal: bool) {
        let me = self.core.me();
        let is_mine = self.core.route(id).is_some_and(|route| is_copy(&route, me, server));
        let Some(resync) = self.membership.resyncs.get_mut(&server).filter(|_| is_mine) else {
            return;
        };
        resync.regions += REGIONS_PER_EXTENT as u64;
        resync.differing += if is_equal { 0 } else { REGIONS_PER_EXTENT as u64 };
        let is_used = self.extents.get(&id).is_some_and(|extent| extent.reign.is_some());
        if is_equal && !is_used {
            // Nothing changes there without an attach, and with one it is promised like all others.
            return;
        }
        let has_promised = self.extents.get(&id).is_some_and(|extent| {
            extent.reign.as_ref().is_some_and(|reign| reign.link(server).is_some()) && !extent.owes(server)
        });
        if !has_promised {
            self.want_resync(server, id);
        }
    }

    /// Takes note of copies that were promised to be current, and goes on.
    pub(crate) fn continue_resyncs(&mut self) -> bool {
        let mut is_any = false;
        while let Some((server, id)) = self.core.caught_up.pop_front() {
            is_any = true;
            if let Some(resync) = self.membership.resyncs.get_mut(&server) {
                resync.open.remove(&id);
            }
            self.continue_resync(server);
        }
        is_any
    }
}
