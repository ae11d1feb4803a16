//! Moves decided lately: what must not be moved again yet, and load that is on its way but not in the reports.

use crate::filter::{Filtered, HalfLives, remaining};
use crate::reason::Decision;
use crate::resource::Load;
use evenkeel_types::{ExtentId, ServerId, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// Extents whose last move is remembered; when more move, the oldest is forgotten.
pub const MOVES_REMEMBERED_MAX: usize = 4096;
/// How long the last move of an extent is remembered. Longer than every cooldown.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(1800);
/// How long a move that never ended is reckoned with.
const PENDING_MAX: Duration = Duration::from_secs(120);

/// How far the clocks of two servers may be apart without a move being taken for another one.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(5);

/// How a move ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MoveOutcome {
    /// The extent is at its target.
    Completed,
    /// The extent is where it was.
    Failed,
}

/// The last move of one extent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PastMove {
    /// Where the extent was.
    pub from: ServerId,
    /// Where it went, or should have gone.
    pub to: ServerId,
    /// The utilisation that it caused at `from`.
    pub heat: Load,
    /// Bytes to copy.
    pub bytes: u32,
    /// When the move was decided.
    pub decided: Time,
    /// When and how it ended; absent while it is under way.
    pub ended: Option<(Time, MoveOutcome)>,
}

/// The last move of each extent that was moved lately.
#[derive(Clone, Debug, Default)]
pub struct MoveHistory {
    moves: BTreeMap<ExtentId, PastMove>,
}

impl MoveHistory {
    /// A history without moves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A move was decided and will be begun.
    pub fn decided(&mut self, now: Time, decision: &Decision) {
        self.begun(now, decision.extent, decision.from, decision.to, decision.heat, decision.bytes);
    }

    /// A move was begun by somebody else, a person perhaps; `heat` is the utilisation that the extent causes at `from`,
    /// zero if unknown.
    pub fn begun(
        &mut self,
        now: Time,
        extent: ExtentId,
        from: ServerId,
        to: ServerId,
        heat: Load,
        bytes: u32,
    ) {
        self.insert(now, extent, PastMove { from, to, heat, bytes, decided: now, ended: None });
    }

    /// A record of a move was read: of a decision made here, by another server, by a person, or in an earlier life.
    /// Its times are as good as the clocks of the servers agree. What is known of a later move stays.
    pub fn recorded(&mut self, now: Time, extent: ExtentId, record: PastMove) {
        if now.since(record.decided) > REMEMBERED_FOR {
            return;
        }
        match self.moves.get_mut(&extent) {
            Some(known) if known.is_recorded_as(&record) => known.ended = record.ended.or(known.ended),
            Some(known) if known.decided >= record.decided => {}
            _ => self.insert(now, extent, record),
        }
    }

    fn insert(&mut self, now: Time, extent: ExtentId, past: PastMove) {
        self.forget_old(now);
        if self.moves.len() >= MOVES_REMEMBERED_MAX && !self.moves.contains_key(&extent) {
            let oldest = self.moves.iter().min_by_key(|(_, past)| past.decided).map(|(extent, _)| *extent);
            self.moves.remove(&oldest.expect("the history is full, not empty"));
        }
        self.moves.insert(extent, past);
    }

    /// The move of an extent ended. Nothing happens if none is known.
    pub fn ended(&mut self, now: Time, extent: ExtentId, outcome: MoveOutcome) {
        if let Some(past) = self.moves.get_mut(&extent) {
            past.ended.get_or_insert((now, outcome));
        }
    }

    /// The last move of an extent, if it is remembered.
    #[must_use]
    pub fn last(&self, extent: ExtentId) -> Option<&PastMove> {
        self.moves.get(&extent)
    }

    /// Moves under way, with their extents.
    pub fn pending(&self, now: Time) -> impl Iterator<Item = (ExtentId, &PastMove)> {
        self.iter().filter(move |(_, past)| past.is_pending(now))
    }

    /// All remembered moves, with their extents.
    pub fn iter(&self) -> impl Iterator<Item = (ExtentId, &PastMove)> {
        self.moves.iter().map(|(extent, past)| (*extent, past))
    }

    fn forget_old(&mut self, now: Time) {
        self.moves.retain(|_, past| now.since(past.decided) <= REMEMBERED_FOR);
    }
}

impl PastMove {
    /// Whether this move, decided here, is the one that a record tells of. The record was begun by the clock of
    /// another server, soon after the decision.
    fn is_recorded_as(&self, record: &Self) -> bool {
        let begun_with = record.decided + CLOCKS_APART_MAX >= self.decided;
        (self.from, self.to) == (record.from, record.to) && begun_with
    }

    /// Whether the move is under way. One that did not end for minutes is not waited for.
    #[must_use]
    pub fn is_pending(&self, now: Time) -> bool {
        self.ended.is_none() && now.since(self.decided) <= PENDING_MAX
    }

    /// The share of the extent's heat that a report made at `reported` still shows at the source and not yet at the
    /// target, on both filters: all of it until the move ends, half of it a half-life later.
    #[must_use]
    pub(crate) fn unreported(&self, now: Time, reported: Time, half_lives: &HalfLives) -> Filtered<f64> {
        match self.ended {
            None if self.is_pending(now) => Filtered { fast: 1.0, slow: 1.0 },
            Some((at, MoveOutcome::Completed)) => {
                let since = reported.since(at);
                Filtered { fast: remaining(since, half_lives.fast), slow: remaining(since, half_lives.slow) }
            }
            _ => Filtered { fast: 0.0, slow: 0.0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_types::VolumeId;

    fn extent(index: u32) -> ExtentId {
        ExtentId { volume: VolumeId(1), index }
    }

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000_000)
    }

    fn begin(history: &mut MoveHistory, now: Time, index: u32) {
        history.begun(now, extent(index), ServerId(1), ServerId(2), Load::ZERO, 0);
    }

    #[test]
    fn the_history_is_bounded_and_forgets_the_oldest_first() {
        let mut history = MoveHistory::new();
        for index in 0..=MOVES_REMEMBERED_MAX as u32 {
            begin(&mut history, Time(u64::from(index)), index);
        }
        assert_eq!(history.iter().count(), MOVES_REMEMBERED_MAX);
        assert!(history.last(extent(0)).is_none() && history.last(extent(1)).is_some());
    }

    #[test]
    fn a_move_that_never_ends_is_not_waited_for() {
        let mut history = MoveHistory::new();
        begin(&mut history, at(0), 1);
        assert_eq!(history.pending(at(100)).count(), 1);
        assert_eq!(history.pending(at(121)).count(), 0);
        assert_eq!(
            history.last(extent(1)).unwrap().unreported(at(121), at(121), &HalfLives::default()).fast,
            0.0
        );
    }

    #[test]
    fn reports_catch_up_with_a_completed_move_at_the_pace_of_their_filters() {
        let mut history = MoveHistory::new();
        begin(&mut history, at(0), 1);
        history.ended(at(4), extent(1), MoveOutcome::Completed);
        let past = *history.last(extent(1)).unwrap();
        let half_lives = HalfLives::default();
        assert_eq!(past.unreported(at(5), at(3), &half_lives).fast, 1.0);
        assert!((past.unreported(at(8), at(7), &half_lives).fast - 0.5).abs() < 1e-12);
        assert!((past.unreported(at(14), at(14), &half_lives).slow - 0.5).abs() < 1e-12);
    }

    fn record(from: u32, to: u32, decided: u64, ended: Option<(u64, MoveOutcome)>) -> PastMove {
        let ended = ended.map(|(second, outcome)| (at(second), outcome));
        let (from, to) = (ServerId(from), ServerId(to));
        PastMove { from, to, heat: Load::ZERO, bytes: 0, decided: at(decided), ended }
    }

    #[test]
    fn records_rebuild_what_a_new_planner_never_decided() {
        let mut history = MoveHistory::new();
        history.recorded(at(2000), extent(1), record(1, 2, 1900, Some((1903, MoveOutcome::Completed))));
        history.recorded(at(2000), extent(2), record(1, 2, 1990, None));
        history.recorded(at(2000), extent(3), record(1, 2, 100, Some((110, MoveOutcome::Completed))));
        assert_eq!(history.last(extent(1)).unwrap().ended, Some((at(1903), MoveOutcome::Completed)));
        assert!(history.last(extent(2)).unwrap().is_pending(at(2000)));
        assert!(history.last(extent(3)).is_none(), "older than everything that matters");
    }

    #[test]
    fn a_record_ends_the_move_that_was_decided_here_and_corrects_a_wrong_end() {
        let mut history = MoveHistory::new();
        history.begun(at(100), extent(1), ServerId(1), ServerId(2), Load([0.5; 5]), 7);
        // The record's clock is a little behind.
        history.recorded(at(104), extent(1), record(1, 2, 97, None));
        assert!(history.last(extent(1)).unwrap().is_pending(at(104)));
        history.ended(at(106), extent(1), MoveOutcome::Failed);
        history.recorded(at(109), extent(1), record(1, 2, 97, Some((108, MoveOutcome::Completed))));
        let past = history.last(extent(1)).unwrap();
        assert_eq!(past.ended, Some((at(108), MoveOutcome::Completed)));
        assert_eq!((past.heat, past.bytes), (Load([0.5; 5]), 7));
    }

    #[test]
    fn a_record_of_an_earlier_move_does_not_displace_a_later_one() {
        let mut history = MoveHistory::new();
        history.begun(at(900), extent(1), ServerId(2), ServerId(3), Load::ZERO, 0);
        history.recorded(at(901), extent(1), record(1, 2, 200, Some((203, MoveOutcome::Completed))));
        history.recorded(at(901), extent(1), record(2, 3, 200, Some((203, MoveOutcome::Failed))));
        assert!(history.last(extent(1)).unwrap().is_pending(at(901)));
        history.recorded(at(905), extent(1), record(3, 1, 904, None));
        assert_eq!(history.last(extent(1)).unwrap().to, ServerId(1));
    }

    #[test]
    fn a_failed_move_leaves_the_load_where_it_was() {
        let mut history = MoveHistory::new();
        begin(&mut history, at(0), 1);
        history.ended(at(1), extent(1), MoveOutcome::Failed);
        assert_eq!(
            history.last(extent(1)).unwrap().unreported(at(1), at(1), &HalfLives::default()).fast,
            0.0
        );
    }
}
