//! The state of an owner.

use super::locks::RangeLocks;
use super::{Damage, Mending};
use crate::copies::{CopyLink, Role};
use crate::core::Core;
use crate::moves::Mover;
use crate::slots::Key;
use evenkeel_meta::{Replicas, Route};
use evenkeel_types::geometry::REGIONS_PER_EXTENT;
use evenkeel_types::{Epoch, Region, Regions, ServerId, Time, Version, WriteId};
use std::collections::{BTreeMap, VecDeque};

/// How far a reign is.
///
/// ```text
///  Describing ──▶ Fencing ──▶ Gathering ──▶ Serving ──▶ Draining ──▶ (over)
///       └────────────┴── nobody else ─────────▲  │ ▲
///                              Fencing ◀── a higher epoch, same owner
///                                                ▼ │
///                                             Entering: another place is to come
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// The store is asked what its record says.
    Describing,
    /// The epoch is being accepted durably.
    Fencing,
    /// The copies are attached, earlier owners promise or lose their leases, and copies in sync are made equal.
    Gathering,
    /// All is as for serving, but the extent, which nothing was written to, gets a route entry first, if it is used.
    Entering,
    /// Operations are executed.
    Serving,
    /// No operation is begun any more; those that were are executed, if they can be.
    Draining,
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Reign {
    /// Tells answers to this reign from those to an earlier one.
    pub(crate) serial: u64,
    pub(crate) epoch: Epoch,
    pub(crate) replicas: Replicas,
    pub(crate) from: Option<ServerId>,
    pub(crate) phase: Phase,
    /// Before that, an earlier owner that has not promised may still have its lease.
    pub(crate) guard_until: Time,
    /// The store has a record of the extent.
    pub(crate) record: bool,
    /// The directory says that a copy is here, and there is none.
    pub(crate) lost: bool,
    /// It has served: what copies in sync lack, or have more, are writes of this reign that are not answered yet.
    pub(crate) has_served: bool,
    /// It has been told that this server took over.
    pub(crate) announced: bool,
    /// The version that each region has once all writes in flight are applied.
    pub(crate) versions: Box<[Version; REGIONS_PER_EXTENT]>,
    /// Writes to each region that are sequenced and not yet durable here.
    pub(crate) in_flight: [u16; REGIONS_PER_EXTENT],
    /// Writes to each region for which space is set aside, or asked for, and that are not sequenced yet.
    pub(crate) set_aside: [u16; REGIONS_PER_EXTENT],
    /// Regions whose chain of versions broke: they take no new writes for the moment.
    pub(crate) broken: Regions,
    /// The store is asked for the versions of the broken regions.
    pub(crate) repairing: bool,
    pub(crate) locks: RangeLocks,
    /// Operations that got their lock by the end of another, and have not gone on yet.
    pub(crate) granted: VecDeque<Key>,
    /// Those are going on, one after the other.
    pub(crate) granting: bool,
    /// Operations that have their lock and cannot go on.
    pub(crate) blocked: VecDeque<Key>,
    /// Operations that were begun and have not ended.
    pub(crate) running: u32,
    /// Identities in the store's record with the regions that have the write, as they are once all writes in flight are
    /// applied.
    pub(crate) remembered: BTreeMap<WriteId, Regions>,
    /// Begun writes by identity.
    pub(crate) open_writes: BTreeMap<WriteId, Key>,
    /// Regions with a block that could not be read, which another copy is asked for.
    pub(crate) mending: BTreeMap<Region, Mending>,
    /// Blocks that are good nowhere, as far as the copies that are attached have told.
    pub(crate) damaged: BTreeMap<Region, Damage>,
    /// Blocks of regions that writes touched which were refused here, and may have been applied at copies: until the
    /// region is the same everywhere again.
    pub(crate) refused: BTreeMap<Region, u16>,
    /// The copies at other servers, as far as they are not down.
    pub(crate) links: Vec<CopyLink>,
    /// The move of a copy, this server's or another's.
    pub(crate) mover: Option<Box<Mover>>,
}

impl Reign {
    pub(crate) fn new(serial: u64, route: &Route, guard_until: Time) -> Self {
        Self {
            serial,
            epoch: route.epoch,
            replicas: route.replicas,
            from: route.from,
            phase: Phase::Describing,
            guard_until,
            record: false,
            lost: false,
            has_served: false,
            announced: false,
            versions: Box::new([Version::NONE; REGIONS_PER_EXTENT]),
            in_flight: [0; REGIONS_PER_EXTENT],
            set_aside: [0; REGIONS_PER_EXTENT],
            broken: Regions::NONE,
            repairing: false,
            locks: RangeLocks::default(),
            granted: VecDeque::new(),
            granting: false,
            blocked: VecDeque::new(),
            running: 0,
            remembered: BTreeMap::new(),
            open_writes: BTreeMap::new(),
            mending: BTreeMap::new(),
            damaged: BTreeMap::new(),
            refused: BTreeMap::new(),
            links: Vec::new(),
            mover: None,
        }
    }

    /// Whether the reign could be begun anew without loss. What is owed to a syncing copy is kept in mind.
    pub(crate) fn is_idle(&self) -> bool {
        let owes = |link: &CopyLink| match link.role {
            Role::Syncing => link.attached().is_none_or(|attached| !attached.promised),
            // What the scrub found there would be forgotten, and the versions do not tell it.
            Role::InSync => link.attached().is_some_and(|attached| !attached.mending.is_empty()),
            Role::Target | Role::Replaced => false,
        };
        matches!(self.phase, Phase::Serving | Phase::Entering)
            && self.running == 0
            && self.mover.is_none()
            && self.broken.is_empty()
            && self.mending.is_empty()
            && !self.links.iter().any(owes)
    }

    /// Whether nothing is to be done at other servers: all copies have all regions and know it, no move is under way, no
    /// block is being mended.
    pub(crate) fn is_settled(&self) -> bool {
        let is_settled = |link: &CopyLink| {
            link.attached().is_some_and(|attached| {
                attached.current == Regions::ALL
                    && attached.copies.is_empty()
                    && (link.role != Role::Syncing || attached.promised)
            })
        };
        self.mover.is_none() && self.mending.is_empty() && self.links.iter().all(is_settled)
    }

    /// Whether the target of a move takes part in every acknowledgement and every lease.
    pub(crate) fn is_target_required(&self) -> bool {
        self.mover.as_ref().is_some_and(|mover| mover.is_required())
    }

    /// What is known of the copy at a server.
    pub(crate) fn link(&self, server: ServerId) -> Option<&CopyLink> {
        self.links.iter().find(|link| link.server == server)
    }

    pub(crate) fn link_mut(&mut self, server: ServerId) -> Option<&mut CopyLink> {
        self.links.iter_mut().find(|link| link.server == server)
    }

    /// The copy that a move makes.
    pub(crate) fn target_link(&self) -> Option<&CopyLink> {
        self.links.iter().find(|link| link.role == Role::Target)
    }

    /// Whether the copy at a server has to have everything that is acknowledged.
    pub(crate) fn is_required(&self, server: ServerId) -> bool {
        self.link(server).is_some_and(|link| self.has_to_have_all(link))
    }

    pub(crate) fn has_to_have_all(&self, link: &CopyLink) -> bool {
        match link.role {
            Role::InSync => true,
            Role::Target => self.is_target_required(),
            Role::Syncing | Role::Replaced => false,
        }
    }

    /// Whether a write waits for regions at a copy: those of `regions` that are left, or nothing.
    pub(crate) fn owed_by(&self, server: ServerId, regions: Regions) -> Regions {
        let Some(link) = self.link(server) else {
            return Regions::NONE;
        };
        match link.attached() {
            // Whether they are current there, the next attach tells.
            None if link.role.is_replica() || self.has_to_have_all(link) => regions,
            Some(attached) if self.has_to_have_all(link) => regions.minus(attached.current),
            _ => Regions::NONE,
        }
    }

    /// Regions that take no new writes for the moment: those in motion to a copy, those that are being mended, and those
    /// whose chain of versions broke.
    pub(crate) fn held(&self) -> Regions {
        let mending = self.mending.keys().fold(self.broken, |held, region| held.with(*region));
        self.links.iter().fold(mending, |held, link| held.union(link.in_motion()))
    }

    /// Whether an answer to a reader may leave: all whose lease is needed give one.
    pub(crate) fn has_leases(&self, core: &Core) -> bool {
        self.links.iter().all(|link| match link.role {
            Role::InSync | Role::Syncing => link.has_lease(core),
            Role::Target => !self.is_target_required() || link.has_lease(core),
            Role::Replaced => true,
        })
    }

    /// Whether writes to a region are sequenced and not yet durable here.
    pub(crate) fn is_quiet(&self, region: Region) -> bool {
        self.in_flight[region.index()] == 0
    }
}
