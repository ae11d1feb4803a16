//! What the owner knows of one copy.

use super::pace::Place;
use crate::config::{LEASE, REGION_COPIES_IN_FLIGHT_MAX};
use crate::core::Core;
use crate::counters::{Counters, MoveCounters};
use crate::slots::Key;
use evenkeel_peer::Part;
use evenkeel_types::geometry::REGIONS_PER_EXTENT;
use evenkeel_types::{Region, Regions, ServerId, Time, Version};
use std::collections::BTreeMap;

/// What another server is to the extent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// A replica that the directory counts as good.
    InSync,
    /// A replica that is being brought up to date.
    Syncing,
    /// It gets a copy by a move.
    Target,
    /// It was owner before and has no part any more: its promise is wanted, and nothing else.
    Replaced,
}

impl Role {
    /// Whether the server is one of the extent's replicas, and not down.
    pub(crate) const fn is_replica(self) -> bool {
        matches!(self, Self::InSync | Self::Syncing)
    }

    /// How an attach names it.
    pub(super) const fn part(self) -> Part {
        match self {
            Self::InSync | Self::Syncing => Part::Replica,
            Self::Target => Part::Target,
            Self::Replaced => Part::Replaced,
        }
    }
}

/// How far the connection to a copy is.
#[derive(Debug)]
pub(crate) enum LinkState {
    /// There is none; to be tried at that time, or when the peer comes up.
    Down { retry_at: Time },
    /// The server has been asked.
    Attaching { attachment: u64 },
    /// The server answered.
    Attached(Box<Attached>),
}

/// What is known of a copy under one attachment.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) attachment: u64,
    /// Regions that have, or get by what was sent, the version that they have here.
    pub(crate) current: Regions,
    /// The version of each region as the copy last told.
    pub(crate) theirs: Box<[Version; REGIONS_PER_EXTENT]>,
    /// Up to which write of this server's count the last copy of each region reached.
    pub(crate) copied: Box<[Version; REGIONS_PER_EXTENT]>,
    /// Regions on their way.
    pub(crate) copies: BTreeMap<Region, CopyInFlight>,
    /// Regions that were sent and not answered, be they held still or not.
    pub(crate) unanswered: Regions,
    /// Writes sent and not answered, by tag.
    pub(crate) writes: BTreeMap<u64, SentWrite>,
    /// The server answers heartbeats without giving a lease for this attachment.
    pub(crate) voided: bool,
    /// Regions to which data can be written without asking for space.
    pub(crate) space: Regions,
    /// Regions for which space is being asked, and whether for more than what is needed at once.
    pub(crate) space_asked: Option<(Regions, bool)>,
    /// Until when no more is asked for than what is needed at once.
    pub(crate) space_short_until: Option<Time>,
    /// Regions for which there was none, until when that is believed.
    pub(crate) space_refused: Option<(Regions, Time)>,
    /// Regions whose content there is bad: they are copied again, in the version that they have.
    pub(crate) mending: Regions,
    /// Those of them that could be read there.
    pub(crate) diverged: Regions,
    /// A syncing copy has the promise that all its regions are current.
    pub(crate) promised: bool,
}

/// A region on its way.
#[derive(Debug)]
pub(crate) struct CopyInFlight {
    pub(crate) stage: CopyStage,
    /// The number of the last read of it: an answer counts only for the read that it names.
    pub(crate) read: u64,
    /// Reads ahead that writes have overtaken.
    pub(crate) overtaken: u8,
    /// When writes may be held no longer; none while they are not.
    pub(crate) until: Option<Time>,
    /// Its place among what is on its way to the server; a copy in sync needs none.
    pub(crate) _place: Option<Place>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CopyStage {
    /// The store reads it, and writes go on.
    ReadingAhead,
    /// It is held: writes in flight have to be durable first.
    Quieting,
    /// It is held, and the store reads it.
    Reading,
    /// It is held, and on its way in this version since then, with data or empty.
    Sent { version: Version, has_data: bool, at: Time },
}

impl Attached {
    pub(super) fn new(attachment: u64, current: Regions, theirs: Box<[Version; REGIONS_PER_EXTENT]>) -> Self {
        Self {
            attachment,
            current,
            theirs,
            copied: Box::new([Version::NONE; REGIONS_PER_EXTENT]),
            copies: BTreeMap::new(),
            unanswered: Regions::NONE,
            writes: BTreeMap::new(),
            voided: false,
            space: Regions::NONE,
            space_asked: None,
            space_short_until: None,
            space_refused: None,
            mending: Regions::NONE,
            diverged: Regions::NONE,
            promised: false,
        }
    }

    /// The regions in motion: those that are held for their copy.
    pub(crate) fn in_motion(&self) -> Regions {
        let held = self.copies.iter().filter(|(_, copy)| copy.until.is_some());
        held.fold(Regions::NONE, |regions, (region, _)| regions.with(*region))
    }
}

/// A part of a write that was sent to a copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentWrite {
    pub(crate) operation: Key,
    pub(crate) regions: Regions,
    pub(crate) version: Version,
    pub(crate) sent_at: Time,
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct CopyLink {
    pub(crate) server: ServerId,
    pub(crate) role: Role,
    pub(crate) state: LinkState,
    /// Bytes of regions per second at most.
    pub(crate) rate: Option<u64>,
    /// All regions, in the order in which they are copied; empty for their own order.
    pub(crate) order: Vec<Region>,
    /// The throttle: no copy begins before.
    pub(crate) next_copy_at: Time,
    /// Copies that may be on their way at once: halved when one holds writes for too long, raised with each that does
    /// not.
    pub(crate) copies_max: usize,
    /// Since when the server does not answer.
    pub(crate) unreachable_since: Option<Time>,
    /// How often the copy of a region took too long.
    pub(crate) tries: BTreeMap<Region, u8>,
    pub(crate) next_tag: u64,
    pub(crate) counters: MoveCounters,
}

impl CopyLink {
    pub(crate) fn new(now: Time, server: ServerId, role: Role) -> Self {
        Self {
            server,
            role,
            state: LinkState::Down { retry_at: now },
            rate: None,
            order: Vec::new(),
            next_copy_at: now,
            copies_max: REGION_COPIES_IN_FLIGHT_MAX,
            unreachable_since: Some(now),
            tries: BTreeMap::new(),
            next_tag: 0,
            counters: MoveCounters::default(),
        }
    }

    /// What is known of the copy, if it is attached.
    pub(crate) fn attached(&self) -> Option<&Attached> {
        match &self.state {
            LinkState::Attached(attached) => Some(attached),
            _ => None,
        }
    }

    pub(crate) fn attached_mut(&mut self) -> Option<&mut Attached> {
        match &mut self.state {
            LinkState::Attached(attached) => Some(attached),
            _ => None,
        }
    }

    /// The number of the present attach, answered or not.
    pub(crate) fn attachment(&self) -> Option<u64> {
        match &self.state {
            LinkState::Down { .. } => None,
            LinkState::Attaching { attachment } => Some(*attachment),
            LinkState::Attached(attached) => Some(attached.attachment),
        }
    }

    /// The regions that take writes at the copy.
    pub(crate) fn current(&self) -> Regions {
        self.attached().map_or(Regions::NONE, |attached| attached.current)
    }

    /// The regions in motion.
    pub(crate) fn in_motion(&self) -> Regions {
        self.attached().map_or(Regions::NONE, Attached::in_motion)
    }

    /// Whether the server gives a lease that lasts.
    pub(crate) fn has_lease(&self, core: &Core) -> bool {
        let Some(attached) = self.attached() else {
            return false;
        };
        let from = core.peers.get(&self.server).filter(|peer| peer.up).and_then(|peer| peer.lease_from);
        !attached.voided && from.is_some_and(|from| core.now < from + LEASE)
    }

    /// Since when the server has owed the answer to a write; none if it owes none. Tags grow with time.
    pub(crate) fn unanswered_since(&self) -> Option<Time> {
        self.attached()?.writes.values().next().map(|write| write.sent_at)
    }

    /// Adds to what was done for this copy, and to the server's sums.
    pub(crate) fn count(&mut self, sums: &mut Counters, add: impl Fn(&mut MoveCounters)) {
        add(&mut self.counters);
        add(if self.role == Role::Target { &mut sums.moves } else { &mut sums.resync });
    }
}
