//! The state of a move away from here.

use crate::core::Core;
use crate::counters::MoveCounters;
use crate::event::{EngineEvent, MoveEvent, MoveStage, TxnTicket};
use crate::owner::Reign;
use evenkeel_meta::{MoveId, MoveIntent};
use evenkeel_types::geometry::REGIONS_PER_EXTENT;
use evenkeel_types::{ExtentId, Region, ServerId, Time};

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

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Mover {
    pub(crate) extent: ExtentId,
    pub(crate) id: MoveId,
    pub(crate) to: ServerId,
    /// The replica whose place the target takes.
    pub(crate) replaces: ServerId,
    /// Bytes per second at most.
    pub(crate) rate: Option<u64>,
    /// All regions, in the order in which they are copied.
    pub(crate) order: Vec<Region>,
    pub(crate) step: Step,
    /// Somebody wants the move given up.
    pub(crate) abort: bool,
    /// What the target's copy took, once its link is gone.
    pub(crate) counters: MoveCounters,
}

impl Mover {
    pub(crate) fn new(extent: ExtentId, intent: MoveIntent, first: &[Region], step: Step) -> Self {
        let MoveIntent { to, replaces, id } = intent;
        let mut order = Vec::with_capacity(REGIONS_PER_EXTENT);
        for region in first.iter().copied().chain(Region::all()) {
            if !order.contains(&region) {
                order.push(region);
            }
        }
        let counters = MoveCounters::default();
        Self { extent, id, to, replaces, rate: None, order, step, abort: false, counters }
    }

    /// Whether the target takes part in every acknowledgement and every lease, and is not dropped.
    pub(crate) const fn is_required(&self) -> bool {
        matches!(self.step, Step::Proposing { .. } | Step::Unsettled { .. } | Step::Decided)
    }

    /// Whether the target has, or should have, a copy under way.
    pub(crate) const fn is_linked(&self) -> bool {
        self.is_copying() || self.is_required()
    }

    /// Whether regions are still copied.
    pub(crate) const fn is_copying(&self) -> bool {
        matches!(self.step, Step::Copying { .. })
    }
}

impl Reign {
    /// Tells how far the move is.
    pub(crate) fn report_move(&self, core: &mut Core, stage: MoveStage, why: Option<&'static str>) {
        let Some(mover) = &self.mover else {
            return;
        };
        let counters = self.target_link().map_or(mover.counters, |link| link.counters);
        core.event(EngineEvent::Move(MoveEvent {
            extent: mover.extent,
            id: mover.id,
            to: mover.to,
            stage,
            counters,
            why,
        }));
    }
}
