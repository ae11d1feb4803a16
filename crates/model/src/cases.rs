//! Which bounds are searched: small ones with all rules, one for each rule without it, and deep ones.

use crate::bound::Bound;
use crate::check::Property;
use crate::rule::Rule;

/// A search with all rules.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Within this bound.
    pub bound: Bound,
    /// Whether each state is asked for a way back to a group that serves too.
    pub heals: bool,
}

const fn held(bound: Bound) -> Held {
    Held { bound, heals: false }
}

const fn healing(bound: Bound) -> Held {
    Held { bound, heals: true }
}

/// Writes to one region: what needs no second one is found in fewer states.
const NARROW: Bound = Bound { one_region: true, ..Bound::QUIET };
/// One crash, one mark, one lost lease.
const FAULT: Bound = Bound { name: "fault", crashes: 1, marks: 1, expiries: 1, ..Bound::QUIET };
/// One crash and one mark, on one region.
const CRASH: Bound = Bound { name: "crash", crashes: 1, marks: 1, own_loss: true, ..NARROW };
/// Servers suspect each other.
const MARKS: Bound = Bound { name: "marks", marks: 2, expiries: 1, ..NARROW };
/// They do so again and again.
const MORE_MARKS: Bound = Bound { name: "more-marks", marks: 3, ..NARROW };
/// The transaction to up is slow.
const SLOW_UP: Bound = Bound { name: "slow-up", marks: 2, slow_up: true, ..NARROW };
/// One write after the other, beside a fault.
const LATER_WRITE: Bound =
    Bound { name: "later-write", writes: 2, crashes: 1, marks: 1, expiries: 1, ..NARROW };
/// The same, and the owner may lose a write that it did not answer.
const LOST_WRITE: Bound = Bound { name: "lost-write", own_loss: true, ..LATER_WRITE };
/// A gateway repeats what was not answered.
const RETRY: Bound = Bound { name: "retry", retries: true, ..LATER_WRITE };
/// Two writes in flight at once to one region, and a failover.
const TWO_WRITES: Bound =
    Bound { name: "two-writes", writes: 2, in_flight: 2, marks: 1, expiries: 1, servers: 2, ..NARROW };
/// The same, and the owner crashes and loses either or both.
const TWO_WRITES_LOST: Bound =
    Bound { name: "two-writes-lost", crashes: 1, own_loss: true, marks: 0, ..TWO_WRITES };
/// Two writes in flight at once, to the same region and to different ones, and a failover.
const TWO_WRITES_APART: Bound =
    Bound { name: "two-writes-apart", one_region: false, expiries: 0, servers: 3, ..TWO_WRITES };
/// A move of any replica, to a server that has an old copy.
const MOVE: Bound = Bound { name: "move", moves: 1, expiries: 1, warm: true, ..NARROW };
/// The same beside a mark.
const MOVE_AND_MARK: Bound = Bound { name: "move-and-mark", marks: 1, expiries: 0, ..MOVE };
/// A move from the first region on; who is named no more frees its copy.
const MOVE_AND_FREE: Bound =
    Bound { name: "move-and-free", moves: 1, expiries: 1, frees: true, ..Bound::QUIET };
/// The same, and the accepted epoch is forgotten.
const MOVE_AND_FORGET: Bound =
    Bound { name: "move-and-forget", moves: 1, warm: true, frees: true, forgets: true, ..NARROW };
/// A replica that is down is replaced, and may come back meanwhile.
const REBUILD: Bound =
    Bound { name: "rebuild", one_down: true, moves: 1, rebuilds_only: true, warm: true, ..NARROW };
/// It does not come back, and the owner crashes.
const REBUILD_GONE: Bound =
    Bound { name: "rebuild-gone", one_gone: true, crashes: 1, own_loss: true, expiries: 1, ..REBUILD };
/// The owner changes between replicas.
const SWITCH: Bound = Bound { name: "switch", switches: 1, marks: 1, ..NARROW };
/// The owner changes while it has two writes in flight.
const SWITCH_AND_WRITES: Bound =
    Bound { name: "switch-and-writes", switches: 1, writes: 2, in_flight: 2, expiries: 1, ..NARROW };
/// A move and a switch.
const MOVE_AND_SWITCH: Bound = Bound { name: "move-and-switch", moves: 1, switches: 1, warm: true, ..NARROW };

/// Bounds that are searched whole in seconds.
pub const QUICK: &[Held] = &[
    held(FAULT),
    healing(CRASH),
    held(MARKS),
    held(SLOW_UP),
    held(TWO_WRITES),
    held(TWO_WRITES_LOST),
    held(TWO_WRITES_APART),
    held(MOVE),
    healing(REBUILD_GONE),
    healing(SWITCH),
    held(SWITCH_AND_WRITES),
];

/// Bounds that are searched whole in minutes.
pub const DEEP: &[Held] = &[
    healing(Bound { name: "two-crashes", crashes: 2, expiries: 1, slow_up: true, ..CRASH }),
    held(Bound { name: "marks-and-crash", crashes: 1, own_loss: true, ..MARKS }),
    held(Bound { name: "two-writes-and-fault", marks: 1, servers: 3, lost_answers: true, ..TWO_WRITES_LOST }),
    held(Bound { name: "retries", own_loss: true, in_flight: 2, ..RETRY }),
    held(Bound { name: "move-and-crash", crashes: 1, own_loss: true, ..MOVE }),
    held(Bound { name: "move-and-marks", expiries: 1, ..MOVE_AND_MARK }),
    held(MOVE_AND_FREE),
    held(MOVE_AND_FORGET),
    held(MOVE_AND_SWITCH),
    healing(REBUILD),
    held(Bound { name: "switch-and-crash", crashes: 1, own_loss: true, expiries: 1, ..SWITCH }),
    held(Bound { name: "three-replicas", replicas: 3, marks: 1, expiries: 1, ..NARROW }),
];

/// Bounds for random walks: too wide to be searched whole.
pub const WIDE: &[Bound] = &[
    Bound {
        name: "wide-faults",
        crashes: 3,
        marks: 4,
        writes: 3,
        in_flight: 2,
        lost_answers: true,
        ..WIDE_QUIET
    },
    Bound {
        name: "wide-retries",
        crashes: 2,
        marks: 2,
        writes: 3,
        in_flight: 2,
        retries: true,
        ..WIDE_QUIET
    },
    Bound { name: "wide-moves", crashes: 1, marks: 2, moves: 3, frees: true, forgets: true, ..WIDE_QUIET },
    Bound { name: "wide-rebuilds", crashes: 1, marks: 3, moves: 2, warm: true, one_down: true, ..WIDE_QUIET },
    Bound { name: "wide-switches", crashes: 2, marks: 2, switches: 3, writes: 3, in_flight: 2, ..WIDE_QUIET },
    Bound {
        name: "wide-all",
        crashes: 2,
        marks: 2,
        moves: 2,
        switches: 2,
        in_flight: 2,
        frees: true,
        forgets: true,
        warm: true,
        ..WIDE_QUIET
    },
    Bound { name: "wide-three", replicas: 3, crashes: 2, marks: 3, switches: 2, in_flight: 2, ..WIDE_QUIET },
    Bound {
        name: "wide-four",
        servers: 4,
        replicas: 3,
        crashes: 1,
        marks: 2,
        moves: 2,
        warm: true,
        switches: 1,
        ..WIDE_QUIET
    },
];
const WIDE_QUIET: Bound = Bound { writes: 2, own_loss: true, expiries: 3, slow_up: true, ..Bound::QUIET };

/// How a rule is shown to be needed.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Within this bound,
    pub bound: Bound,
    /// this is broken without it.
    pub property: Property,
}

impl Case {
    /// The case of a rule.
    #[must_use]
    pub const fn of(rule: Rule) -> Self {
        use Property::{
            AppliedOnce, EqualContentEqualVersions, EqualVersionsEqualContent, Heals, InSyncHasAcknowledged,
            OneOwner, ReadsAreCurrent,
        };
        let (bound, property) = match rule {
            Rule::EpochOfAllKeys => (MARKS, ReadsAreCurrent),
            Rule::LastUp => (MARKS, InSyncHasAcknowledged),
            Rule::LeftOnLeavingUp => (MORE_MARKS, InSyncHasAcknowledged),
            Rule::RecordAtStart => (LOST_WRITE, EqualVersionsEqualContent),
            Rule::DurableAnswers => (FAULT, InSyncHasAcknowledged),
            Rule::GuardWaited | Rule::GuardSurvivesStart | Rule::LeaseShorterThanGuard => (FAULT, OneOwner),
            Rule::EqualBeforeServing | Rule::ReadWaits => (FAULT, ReadsAreCurrent),
            Rule::BeginsAgain => (MOVE_AND_MARK, InSyncHasAcknowledged),
            Rule::AttachKnowsView | Rule::AttachVoidsPromise => (MARKS, InSyncHasAcknowledged),
            Rule::AttachEndsReign | Rule::LeaseOfSyncing => (MARKS, OneOwner),
            Rule::AcceptedFences => (MARKS, ReadsAreCurrent),
            Rule::UpIsAwaited => (SLOW_UP, InSyncHasAcknowledged),
            Rule::UpNeedsPromise | Rule::SyncingRequired | Rule::AcknowledgedByAll => {
                (FAULT, InSyncHasAcknowledged)
            }
            Rule::VersionsKept => (FAULT, EqualContentEqualVersions),
            Rule::NamesPrevious => (FAULT, EqualVersionsEqualContent),
            Rule::CopyCarriesWrites => (CRASH, Heals),
            Rule::AnswerNamesVersion => (LATER_WRITE, InSyncHasAcknowledged),
            Rule::FreeOnNewView => (MOVE_AND_FREE, InSyncHasAcknowledged),
            Rule::AcceptedOutlivesCopy => (MOVE_AND_FORGET, InSyncHasAcknowledged),
            Rule::ProposeComparesAll | Rule::OutcomeNotRead | Rule::AnswerNamesPropose => {
                (MOVE_AND_MARK, InSyncHasAcknowledged)
            }
            Rule::TargetAcknowledges | Rule::ReplacedStaysRequired => (MOVE, InSyncHasAcknowledged),
            Rule::TargetLease => (MOVE, OneOwner),
            Rule::SwitchComparesEntry => (MOVE_AND_SWITCH, InSyncHasAcknowledged),
            Rule::RetryIsFound | Rule::IdentitiesTravel => (RETRY, AppliedOnce),
        };
        Self { bound, property }
    }
}
