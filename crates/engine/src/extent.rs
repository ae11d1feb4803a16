//! One extent at one server: what the server is to it at present, and the decision what it has to become.
//!
//! ```text
//!            view: owner here                    view: owner elsewhere, or a successor attaches
//!   (idle) ───────────────────▶ reign: serving ──────────────────────────▶ reign: draining ──▶ (idle) ──▶ freed
//!     │                              ▲                                                            ▲
//!     └── an owner attaches ──▶ copy: joining ─▶ attached ── view: owner here (moved) ─┘          │
//!                                      └────────────── view: neither replica nor target ──────────┘
//! ```
//! An extent that is idle needs no state in memory: everything can be asked of the store and the view again.

use crate::core::Core;
use crate::operation::{Operation, Origin, Stage};
use crate::owner::{Phase, Reign};
use crate::replica::{CopyPart, Promise};
use crate::scrub::Check;
use crate::slots::Key;
use evenkeel_meta::Route;
use evenkeel_peer::ReplyOutcome;
use evenkeel_types::{Epoch, ExtentId, ServerId, Time, WriteId};
use smallvec::SmallVec;
use std::collections::{BTreeMap, VecDeque};

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Extent {
    pub(crate) id: ExtentId,
    /// This server orders the extent's reads and writes, or did until just now.
    pub(crate) reign: Option<Box<Reign>>,
    /// This server gets or keeps a copy for another owner.
    pub(crate) copy: CopyPart,
    /// A successor waits for this server to let go.
    pub(crate) promise: Option<Promise>,
    /// Operations that wait for the extent to be served here, in order of arrival.
    pub(crate) waiting: VecDeque<Key>,
    /// Operations that resolved here and have not ended: while there is one, the copy is not freed.
    pub(crate) pins: u32,
    /// No epoch below is accepted here, as far as is known without asking the store. It may be ahead of the store: an
    /// attach that was not answered still tells that the directory has gone on.
    pub(crate) accepted: Epoch,
    /// The lowest epoch in which this server may reign again, after a reign that was ended: for its epoch it is over,
    /// whatever an old view says.
    pub(crate) reigns_from: Epoch,
    /// The store may hold a copy.
    pub(crate) may_hold: bool,
    /// The store is giving the copy up.
    pub(crate) releasing: bool,
    /// Until then an owner that had attached this server may answer reads.
    pub(crate) lease_until: Option<Time>,
    /// This server held a copy for an owner in this life; if it becomes owner, it succeeds that one.
    pub(crate) succeeds: bool,
    /// A syncing copy of the extent is to be brought up to date.
    pub(crate) resync_wanted: bool,
    /// A move of the extent waits for the reign to serve.
    pub(crate) move_wanted: bool,
    /// The scrub looks at the extent.
    pub(crate) check: Option<Box<Check>>,
    /// The lowest write to the extent that each gateway may still retry, as far as it has told: what is lost with this
    /// state is known again with its next write.
    pub(crate) floors: BTreeMap<ServerId, WriteId>,
}

impl Extent {
    pub(crate) const fn new(id: ExtentId) -> Self {
        Self {
            id,
            reign: None,
            copy: CopyPart::None,
            promise: None,
            waiting: VecDeque::new(),
            pins: 0,
            accepted: Epoch::ZERO,
            reigns_from: Epoch::ZERO,
            may_hold: false,
            releasing: false,
            lease_until: None,
            succeeds: false,
            resync_wanted: false,
            move_wanted: false,
            check: None,
            floors: BTreeMap::new(),
        }
    }

    /// The lowest epoch that may be served or attached here.
    pub(crate) fn fence(&self) -> Epoch {
        let promised = self.promise.as_ref().map_or(Epoch::ZERO, |promise| promise.epoch);
        self.accepted.max(promised).max(self.copy.epoch()).max(self.reigns_from)
    }

    /// Whether nothing would be lost if the state were forgotten. A copy that the view gives to this server stays where it
    /// is; when the view does so no longer, the store is asked for it.
    pub(crate) fn is_idle(&self, core: &Core) -> bool {
        let unused = matches!(self.copy, CopyPart::None) && self.promise.is_none() && self.pins == 0;
        let reign_is_idle = self.reign.as_ref().is_none_or(|reign| reign.is_idle());
        let route = core.route(self.id);
        let is_named = || route.as_ref().is_some_and(|route| route.names(core.me()));
        let may_have_to_go = self.may_hold && self.reign.is_none() && !is_named();
        // A view that is behind what was accepted or given up here would make this server owner again.
        let is_fenced = route.as_ref().is_some_and(|route| route.epoch < self.fence());
        unused
            && reign_is_idle
            && !may_have_to_go
            && !is_fenced
            && !self.releasing
            && !self.move_wanted
            && !self.resync_wanted
            && self.check.is_none()
            && self.lease_until.is_none()
            && !self.is_written_in_question(core)
    }

    /// Takes note of the lowest write to the extent that a gateway may still retry.
    pub(crate) fn raise_floor(&mut self, floor: WriteId) {
        let known = self.floors.entry(floor.gateway).or_insert(floor);
        if known.is_below(floor) {
            *known = floor;
        }
    }

    /// Takes an operation that was sent here.
    pub(crate) fn admit(&mut self, core: &mut Core, operation: Key) {
        self.pins += 1;
        if self.reign.as_ref().is_some_and(|reign| reign.phase == Phase::Serving) {
            self.begin(core, operation);
        } else {
            self.waiting.push_back(operation);
            self.evaluate(core);
        }
    }

    /// Looks at what the view says, and does what follows from it.
    pub(crate) fn evaluate(&mut self, core: &mut Core) {
        if self.lease_until.is_some_and(|until| until <= core.now) {
            self.lease_until = None;
        }
        if core.is_deleted(self.id) {
            self.bury(core);
            return;
        }
        let Some(route) = core.route(self.id) else {
            return;
        };
        let mine = route.owner() == Some(core.me());
        match &self.reign {
            Some(reign) if reign.phase == Phase::Draining => {
                let epoch = self.successor_epoch(core);
                if !mine || epoch > route.epoch {
                    self.turn_away(core, epoch);
                }
                self.finish_draining(core);
            }
            Some(reign) if mine && route.epoch > reign.epoch => self.advance_reign(core, &route),
            Some(_) if mine => self.consider_entry(core),
            Some(reign) if route.epoch > reign.epoch => self.begin_draining(core),
            Some(_) => {}
            None if mine => self.consider_reign(core, &route),
            None => {
                self.resync_wanted = false;
                self.check = None;
                self.turn_away(core, route.epoch);
            }
        }
        if self.copy.epoch() < route.epoch && !route.names(core.me()) {
            // The intent under which this server was attached is gone.
            self.end_copy(core);
        }
        self.progress_copy(core);
        self.progress_promise(core);
        if let Some(route) = core.route(self.id) {
            self.consider_release(core, &route);
        }
    }

    /// The view makes this server owner: begins a reign if there is use for it.
    fn consider_reign(&mut self, core: &mut Core, route: &Route) {
        if self.fence() > route.epoch {
            // Another owner is ahead of this server's view. Whoever asks learns it at once, and waits there.
            self.turn_away(core, self.fence());
            return;
        }
        let resume = route.intent.is_some();
        let succeed = !matches!(self.copy, CopyPart::None);
        let is_wanted =
            self.move_wanted || self.resync_wanted || self.check.is_some() || !self.waiting.is_empty();
        if !self.releasing && (resume || succeed || is_wanted) {
            self.start_reign(core, route);
        }
    }

    /// Answers those that wait for a reign here: another server has the extent, by this epoch. Those that come by a
    /// higher epoch know more than this server's view, and wait for it.
    pub(crate) fn turn_away(&mut self, core: &mut Core, epoch: Epoch) {
        let waiting = std::mem::take(&mut self.waiting);
        for key in waiting {
            match core.operations.get(key) {
                Some(operation) if operation.epoch > epoch => self.waiting.push_back(key),
                Some(_) => self.end(core, key, ReplyOutcome::Moved { epoch }),
                None => {}
            }
        }
    }

    /// The volume is deleted for ever.
    fn bury(&mut self, core: &mut Core) {
        for key in std::mem::take(&mut self.waiting) {
            self.end(core, key, ReplyOutcome::NoVolume);
        }
        self.end_copy(core);
        if self.reign.as_ref().is_some_and(|reign| reign.phase != Phase::Draining) {
            self.begin_draining(core);
        }
        self.finish_draining(core);
        self.progress_promise(core);
        self.consider_forgetting(core);
    }

    /// Looks at everything again that may have been waiting for the time or for something outside.
    pub(crate) fn tick(&mut self, core: &mut Core) {
        self.evaluate(core);
        self.progress_reign(core);
        self.unblock(core);
    }

    /// Ends an operation that was never begun, or that has given back what it held.
    pub(crate) fn end(&mut self, core: &mut Core, key: Key, outcome: ReplyOutcome) {
        let Some(operation) = core.operations.remove(key) else {
            return;
        };
        assert!(self.pins > 0, "an operation on {} ends that never began", self.id);
        self.pins -= 1;
        if let Origin::Remote { server, number, .. } = operation.origin {
            core.remote.remove(&(server, number));
        }
        if matches!(outcome, ReplyOutcome::Moved { .. }) {
            core.counters.moves.answered_moved += 1;
        } else if operation.crossed_cut_over {
            core.counters.moves.completed_after_cut_over += 1;
        }
        if matches!(outcome, ReplyOutcome::Done { .. }) {
            core.foreground.note(core.now.since(operation.since));
        }
        if operation.origin != Origin::Gone {
            core.finished.push_back((operation.origin, outcome));
        }
    }

    /// Gives an operation up, if that is certain: it is answered with `outcome` and never sequenced. Whether it was.
    pub(crate) fn give_up(&mut self, core: &mut Core, key: Key, outcome: ReplyOutcome) -> bool {
        let Some(operation) = core.operations.get(key) else {
            return false;
        };
        if operation.is_sequenced() {
            return false;
        }
        if matches!(operation.stage, Stage::Waiting) {
            self.waiting.retain(|waiting| *waiting != key);
            self.end(core, key, outcome);
        } else {
            self.finish(core, key, outcome);
        }
        true
    }
}

/// An operation as it arrives.
pub(crate) fn arrived(
    origin: Origin,
    extent: ExtentId,
    (epoch, admitted): (Epoch, evenkeel_meta::Revision),
    op: evenkeel_peer::PieceOp,
    identity: Option<WriteId>,
    since: Time,
    proof_at: Time,
) -> Operation {
    let blocks = op.range().touched_blocks();
    Operation {
        origin,
        extent,
        op,
        identity,
        epoch,
        admitted,
        since,
        proof_at,
        blocks,
        stage: Stage::Waiting,
        crossed_cut_over: false,
        counted_as_waiting: false,
        reserved: false,
        is_part: false,
    }
}

/// The replicas of a route as records keep them: the owner first. After the directory was restored from a backup, nothing
/// else tells which of the copies of one epoch has everything; a server that is being brought up to date accepts the epoch
/// too.
pub(crate) fn owner_first(replicas: &[ServerId], owner: ServerId) -> SmallVec<[ServerId; 3]> {
    let others = replicas.iter().copied().filter(|server| *server != owner);
    replicas.contains(&owner).then_some(owner).into_iter().chain(others).collect()
}
