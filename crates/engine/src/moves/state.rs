//! The state of a move away from here.

use crate::config::{LEASE, REGION_COPIES_IN_FLIGHT_MAX};
use crate::core::Core;
use crate::counters::MoveCounters;
use crate::event::{EngineEvent, MoveEvent, MoveStage, TxnTicket};
use crate::slots::Key;
use evenkeel_meta::MoveId;
use evenkeel_types::geometry::REGIONS_PER_EXTENT;
use evenkeel_types::{ExtentId, Region, Regions, ServerId, Time, Version};
use std::collections::BTreeMap;

/// How far a move is; see the module's head.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The extent gets a record in the store if it has none, so that a route entry never names a copy that is not
    /// there; then the directory is asked for the intent.
    Preparing { reason: serde_json::Value },
    /// The directory has the intent, or may have it; the view does not show it yet.
    Announced { since: Time },
    /// Regions are compared and copied.
    Copying {
        /// Not before that is the directory asked to decide.
        propose_at: Time,
    },
    /// All regions are current; the target gets the identities.
    Remembering {
        /// Since when.
        since: Time,
    },
    /// The directory is asked to decide.
    Proposing { ticket: TxnTicket },
    /// The directory did not answer.
    Unsettled {
        /// When to clear the intent, if the view does not tell before.
        clear_at: Time,
    },
    /// The directory has decided for the target; the view does not show it yet, or the reign drains.
    Decided,
    /// The move is given up; the intent has to go.
    Clearing {
        /// Why.
        why: &'static str,
        /// When to ask the directory (again).
        clear_at: Time,
    },
}

/// The connection to the target's copy.
#[derive(Debug)]
pub(crate) enum Link {
    /// None; to be tried at that time, or when the peer comes up.
    Down { retry_at: Time },
    /// The target has been asked.
    Attaching { attachment: u64 },
    /// The target answered.
    Attached(Box<Attached>),
}

/// What is known of the target's copy under one attachment.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) attachment: u64,
    /// Regions that have, or get by what was sent, the version that they have here.
    pub(crate) current: Regions,
    /// The version of each region as the target last told.
    pub(crate) theirs: Box<[Version; REGIONS_PER_EXTENT]>,
    /// Up to which write of this server's count the last copy of each region reached.
    pub(crate) copied: Box<[Version; REGIONS_PER_EXTENT]>,
    /// Regions on their way.
    pub(crate) copies: BTreeMap<Region, CopyInFlight>,
    /// Mirrored writes without an answer, by tag.
    pub(crate) writes: BTreeMap<u64, MirroredWrite>,
    /// The target answers heartbeats without giving a lease for this attachment.
    pub(crate) voided: bool,
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
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CopyStage {
    /// The store reads it, and writes go on.
    ReadingAhead,
    /// It is held: writes in flight have to be durable first.
    Quieting,
    /// It is held, and the store reads it.
    Reading,
    /// It is held, and on its way in this version.
    Sent(Version),
}

impl Attached {
    /// The regions in motion: those that are held for their copy.
    pub(crate) fn in_motion(&self) -> Regions {
        let held = self.copies.iter().filter(|(_, copy)| copy.until.is_some());
        held.fold(Regions::NONE, |regions, (region, _)| regions.with(*region))
    }
}

/// A part of a write that was sent to the target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MirroredWrite {
    pub(crate) operation: Key,
    pub(crate) regions: Regions,
    pub(crate) version: Version,
    pub(crate) sent_at: Time,
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Mover {
    pub(crate) extent: ExtentId,
    pub(crate) id: MoveId,
    pub(crate) to: ServerId,
    /// Bytes per second at most.
    pub(crate) rate: Option<u64>,
    /// All regions, in the order in which they are copied.
    pub(crate) order: Vec<Region>,
    pub(crate) step: Step,
    pub(crate) link: Link,
    /// The throttle: no copy begins before.
    pub(crate) next_copy_at: Time,
    /// Copies that may be on their way at once: halved when one holds writes for too long, raised with each that does
    /// not.
    pub(crate) copies_max: usize,
    /// Since when the target does not answer.
    pub(crate) unreachable_since: Option<Time>,
    /// How often the copy of a region took too long.
    pub(crate) tries: BTreeMap<Region, u8>,
    /// Somebody wants the move given up.
    pub(crate) abort: bool,
    pub(crate) next_tag: u64,
    pub(crate) counters: MoveCounters,
    /// What of the counters is in the server's sums already.
    pub(crate) summed: MoveCounters,
}

impl Mover {
    pub(crate) fn new(
        core: &Core,
        extent: ExtentId,
        id: MoveId,
        to: ServerId,
        first: &[Region],
        step: Step,
    ) -> Self {
        let mut order = Vec::with_capacity(REGIONS_PER_EXTENT);
        for region in first.iter().copied().chain(Region::all()) {
            if !order.contains(&region) {
                order.push(region);
            }
        }
        Self {
            extent,
            id,
            to,
            rate: None,
            order,
            step,
            link: Link::Down { retry_at: core.now },
            next_copy_at: core.now,
            copies_max: REGION_COPIES_IN_FLIGHT_MAX,
            unreachable_since: Some(core.now),
            tries: BTreeMap::new(),
            abort: false,
            next_tag: 0,
            counters: MoveCounters::default(),
            summed: MoveCounters::default(),
        }
    }

    /// Whether the target takes part in every acknowledgement and every lease, and is not dropped.
    pub(crate) const fn is_required(&self) -> bool {
        matches!(self.step, Step::Proposing { .. } | Step::Unsettled { .. } | Step::Decided)
    }

    /// Since when the target owes the answer that it has owed for longest, to a write or to the identities; none if it is
    /// required or owes nothing. Tags grow with time.
    pub(crate) fn unanswered_since(&self) -> Option<Time> {
        let Link::Attached(attached) = &self.link else {
            return None;
        };
        let write = attached.writes.values().next().map(|write| write.sent_at);
        match self.step {
            Step::Remembering { since } => Some(write.map_or(since, |write| write.min(since))),
            Step::Copying { .. } => write,
            _ => None,
        }
    }

    /// Whether the target has, or should have, a copy under way.
    pub(crate) const fn is_linked(&self) -> bool {
        matches!(
            self.step,
            Step::Copying { .. }
                | Step::Remembering { .. }
                | Step::Proposing { .. }
                | Step::Unsettled { .. }
                | Step::Decided
        )
    }

    /// The regions that take writes at the target.
    pub(crate) fn current(&self) -> Regions {
        match &self.link {
            Link::Attached(attached) => attached.current,
            _ => Regions::NONE,
        }
    }

    /// The regions in motion: those that are held for their copy.
    pub(crate) fn in_motion(&self) -> Regions {
        match &self.link {
            Link::Attached(attached) => attached.in_motion(),
            _ => Regions::NONE,
        }
    }

    /// Whether a read may be answered: the target is not required, or it gave a lease that lasts.
    pub(crate) fn has_lease(&self, core: &Core) -> bool {
        if !self.is_required() {
            return true;
        }
        let Link::Attached(attached) = &self.link else {
            return false;
        };
        let from = core.peers.get(&self.to).filter(|peer| peer.up).and_then(|peer| peer.lease_from);
        !attached.voided && from.is_some_and(|from| core.now < from + LEASE)
    }

    /// Tells how far the move is, and adds what it did to the server's sums.
    pub(crate) fn report(&mut self, core: &mut Core, stage: MoveStage, why: Option<&'static str>) {
        self.sum_up(core);
        core.event(EngineEvent::Move(MoveEvent {
            extent: self.extent,
            id: self.id,
            to: self.to,
            stage,
            counters: self.counters,
            why,
        }));
    }

    /// Adds what the move did since it was last asked to the server's sums.
    pub(crate) fn sum_up(&mut self, core: &mut Core) {
        let (sums, done, now) = (&mut core.counters.moves, &self.summed, &self.counters);
        sums.writes_mirrored += now.writes_mirrored - done.writes_mirrored;
        sums.writes_waited += now.writes_waited - done.writes_waited;
        sums.writes_not_yet_copied += now.writes_not_yet_copied - done.writes_not_yet_copied;
        sums.regions_sent += now.regions_sent - done.regions_sent;
        sums.regions_equal += now.regions_equal - done.regions_equal;
        sums.bytes_sent += now.bytes_sent - done.bytes_sent;
        self.summed = self.counters;
    }
}
