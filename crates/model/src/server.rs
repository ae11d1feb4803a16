//! What a server is to the extent.

use crate::directory::Directory;
use crate::history::{History, Writes};
use crate::rule::{Rule, Rules};
use crate::set::{SERVERS_MAX, ServerId, Servers};
use std::hash::{Hash, Hasher};

/// Regions of the extent: two are enough for one to be current where the other is not.
pub(crate) const REGIONS: usize = 2;
/// Writes that an owner has in flight at once.
pub(crate) const WRITES_IN_FLIGHT: usize = 2;

/// What is written to a region, named by its place.
pub(crate) type Region = u8;

/// The number of a write to a region.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub(crate) struct Version {
    pub(crate) epoch: u8,
    pub(crate) sequence: u8,
}

/// A server's copy of a region. Without a version there is no copy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub(crate) struct RegionCopy {
    pub(crate) version: Version,
    pub(crate) content: History,
}

impl RegionCopy {
    /// Before the first write.
    pub(crate) const NEW: Self = Self { version: Version { epoch: 1, sequence: 0 }, content: History::EMPTY };
    pub(crate) const NONE: Self =
        Self { version: Version { epoch: 0, sequence: 0 }, content: History::EMPTY };
}

/// How far a reign is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Phase {
    /// The epoch is accepted; replicas are attached, and regions made equal.
    Settling,
    Serving,
}

/// A write that has a version and is not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct InFlight {
    pub(crate) write: u8,
    pub(crate) region: Region,
    pub(crate) version: Version,
    /// What it replaces.
    pub(crate) previous: Version,
    pub(crate) waits_for: Servers,
    /// Durable at the owner for certain: a later write is acknowledged, and the journal is in order.
    pub(crate) durable: bool,
}

/// A region on its way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Copying {
    pub(crate) to: ServerId,
    pub(crate) region: Region,
}

/// What an owner knows and does in an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Reign {
    pub(crate) phase: Phase,
    pub(crate) epoch: u8,
    /// Of the last write in this epoch.
    pub(crate) sequence: u8,
    pub(crate) attached: Servers,
    /// Where each region has, or gets by what was sent, the version that it has here.
    pub(crate) current: [Servers; REGIONS],
    /// Who gave a lease that lasts.
    pub(crate) leases: Servers,
    pub(crate) copying: Option<Copying>,
    /// In the order of their versions.
    pub(crate) writes: [Option<InFlight>; WRITES_IN_FLIGHT],
    /// A Propose is out, and its outcome is not known.
    pub(crate) proposed: bool,
}

impl Reign {
    pub(crate) fn new(epoch: u8) -> Self {
        Self {
            phase: Phase::Settling,
            epoch,
            sequence: 0,
            attached: Servers::NONE,
            current: [Servers::NONE; REGIONS],
            leases: Servers::NONE,
            copying: None,
            writes: [None; WRITES_IN_FLIGHT],
            proposed: false,
        }
    }

    pub(crate) fn is_current(&self, region: usize, at: ServerId) -> bool {
        self.current[region].contains(at)
    }

    pub(crate) fn all_current(&self, at: ServerId) -> bool {
        self.current.iter().all(|replicas| replicas.contains(at))
    }

    pub(crate) fn in_flight(&self) -> impl Iterator<Item = &InFlight> {
        self.writes.iter().flatten()
    }

    pub(crate) fn in_flight_to(&self, region: usize) -> bool {
        self.in_flight().any(|write| usize::from(write.region) == region)
    }

    pub(crate) fn awaits(&self, server: ServerId) -> bool {
        let copying = self.copying.is_some_and(|copying| copying.to == server);
        copying || self.in_flight().any(|write| write.waits_for.contains(server))
    }

    /// The answer of a server counts for the writes that `which` names.
    pub(crate) fn answered(&mut self, server: ServerId, which: impl Fn(&InFlight) -> bool) {
        for write in self.writes.iter_mut().flatten().filter(|write| which(write)) {
            write.waits_for = write.waits_for.without(server);
        }
    }

    /// Takes a write out, and closes the gap.
    pub(crate) fn end_write(&mut self, at: usize) {
        self.writes[at..].rotate_left(1);
        self.writes[WRITES_IN_FLIGHT - 1] = None;
    }

    /// Nothing more is expected of a server.
    pub(crate) fn drop_replica(&mut self, server: ServerId) {
        self.attached = self.attached.without(server);
        self.leases = self.leases.without(server);
        for replicas in &mut self.current {
            *replicas = replicas.without(server);
        }
        self.copying = self.copying.filter(|copying| copying.to != server);
        self.answered(server, |_| true);
    }
}

/// A server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Server {
    pub(crate) alive: bool,
    pub(crate) incarnation: u8,
    pub(crate) view: Directory,
    /// The highest epoch that it accepted; durable.
    pub(crate) accepted: u8,
    pub(crate) copies: [RegionCopy; REGIONS],
    /// A copy that a loss of power would undo, and what was there before; only without durable answers.
    pub(crate) fragile: Option<(Region, RegionCopy)>,
    /// Writes that its copies hold without their identities: it would not know them again.
    pub(crate) nameless: [Writes; REGIONS],
    /// Owners whose heartbeat it answered less than G ago.
    pub(crate) guards: Servers,
    /// In which epoch the owner said that all regions are current here.
    pub(crate) promise: Option<u8>,
    pub(crate) reign: Option<Reign>,
}

impl Server {
    pub(crate) fn new(view: Directory) -> Self {
        Self {
            alive: true,
            incarnation: 1,
            view,
            accepted: 0,
            copies: [RegionCopy::NONE; REGIONS],
            fragile: None,
            nameless: [Writes::NONE; REGIONS],
            guards: Servers::NONE,
            promise: None,
            reign: None,
        }
    }

    pub(crate) fn has_copy(&self) -> bool {
        self.copies != [RegionCopy::NONE; REGIONS]
    }

    /// Whether its own view makes it owner.
    pub(crate) fn owns(&self, me: ServerId, rules: Rules) -> bool {
        let record = self.view.member(me);
        self.view.owner(rules) == Some(me)
            && record.incarnation == self.incarnation
            && record.state != crate::directory::MemberState::Down
    }

    /// The reign, if it is of the epoch that its own view gives.
    pub(crate) fn present_reign(&self, me: ServerId, rules: Rules) -> Option<&Reign> {
        let reign = self.reign.as_ref().filter(|_| self.alive && self.owns(me, rules));
        reign.filter(|reign| reign.epoch == self.view.epoch(rules))
    }

    /// Whose leases it needs to answer a read.
    pub(crate) fn lease_set(&self, me: ServerId, rules: Rules) -> Servers {
        let view = &self.view;
        let mut needed = view.in_sync(rules);
        if rules.have(Rule::LeaseOfSyncing) {
            needed = needed.and(view.present());
        }
        if self.reign.is_some_and(|reign| reign.proposed)
            && let Some(intent) = view.entry.intent
        {
            if rules.have(Rule::TargetLease) {
                needed = needed.with(intent.to);
            }
            if !rules.have(Rule::ReplacedStaysRequired) {
                needed = needed.without(intent.replaces);
            }
        }
        needed.without(me)
    }

    /// Whether it would answer a read.
    pub(crate) fn serves(&self, me: ServerId, rules: Rules) -> bool {
        self.present_reign(me, rules).is_some_and(|reign| {
            reign.phase == Phase::Serving && self.lease_set(me, rules).minus(reign.leases).is_empty()
        })
    }
}

impl Hash for Server {
    /// Without the view, which most servers share with the directory: the state tells it.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { alive, incarnation, view: _, accepted, copies, fragile, nameless, guards, promise, reign } =
            self;
        (alive, incarnation, accepted, copies, fragile, nameless, guards, promise, reign).hash(state);
    }
}

const _: () = assert!(SERVERS_MAX <= 8 && REGIONS <= 8, "sets of both are bytes");
