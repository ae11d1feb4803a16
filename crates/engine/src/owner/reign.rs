//! The state of an owner.

use super::locks::RangeLocks;
use crate::moves::Mover;
use crate::slots::Key;
use evenkeel_meta::{Replicas, Route};
use evenkeel_types::geometry::REGIONS_PER_EXTENT;
use evenkeel_types::{Epoch, Region, Regions, ServerId, Time, Version, WriteId};
use std::collections::{BTreeMap, VecDeque};

/// How far a reign is.
///
/// ```text
///  Describing ──▶ Fencing ──▶ AwaitingPromise ──▶ Serving ──▶ Draining ──▶ (over)
///       └────────────┴──── nothing to fence ────────▲  │
///                                    Fencing ◀── a higher epoch, same owner
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// The store is asked what its record says.
    Describing,
    /// The epoch is being accepted durably.
    Fencing,
    /// The owner before is attached, or its lease runs out at `guard_until`.
    AwaitingPromise {
        /// The attach that it has to answer, once it was sent.
        attachment: Option<u64>,
    },
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
    /// Before that, only the promise of the owner before allows to serve.
    pub(crate) guard_until: Time,
    /// The store has a record of the extent.
    pub(crate) record: bool,
    /// The directory says that a copy is here, and there is none.
    pub(crate) lost: bool,
    /// It has been told that this server took over.
    pub(crate) announced: bool,
    /// The version that each region has once all writes in flight are applied.
    pub(crate) versions: Box<[Version; REGIONS_PER_EXTENT]>,
    /// Writes to each region that are sequenced and not yet durable here.
    pub(crate) in_flight: [u16; REGIONS_PER_EXTENT],
    /// Writes to each region for which space is set aside, or asked for, and that are not sequenced yet.
    pub(crate) set_aside: [u16; REGIONS_PER_EXTENT],
    /// Regions that take no new writes for the moment.
    pub(crate) held: Regions,
    /// Of these, the ones whose chain of versions broke.
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
    /// Identities in the store's record, as they are once all writes in flight are applied.
    pub(crate) remembered: BTreeMap<WriteId, Version>,
    /// Begun writes by identity.
    pub(crate) open_writes: BTreeMap<WriteId, Key>,
    /// The move away from here.
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
            announced: false,
            versions: Box::new([Version::NONE; REGIONS_PER_EXTENT]),
            in_flight: [0; REGIONS_PER_EXTENT],
            set_aside: [0; REGIONS_PER_EXTENT],
            held: Regions::NONE,
            broken: Regions::NONE,
            repairing: false,
            locks: RangeLocks::default(),
            granted: VecDeque::new(),
            granting: false,
            blocked: VecDeque::new(),
            running: 0,
            remembered: BTreeMap::new(),
            open_writes: BTreeMap::new(),
            mover: None,
        }
    }

    /// Whether the reign could be begun anew without loss.
    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Serving && self.running == 0 && self.mover.is_none() && self.broken.is_empty()
    }

    /// Whether the target of a move takes part in every acknowledgement and every lease.
    pub(crate) fn is_target_required(&self) -> bool {
        self.mover.as_ref().is_some_and(|mover| mover.is_required())
    }

    /// Whether writes to a region are sequenced and not yet durable here.
    pub(crate) fn is_quiet(&self, region: Region) -> bool {
        self.in_flight[region.index()] == 0
    }
}
