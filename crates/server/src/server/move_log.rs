//! What a server knows of the moves that it leads, beyond what the directory records: how far they are.

use evenkeel_engine::{EngineEvent, MoveEvent, MoveStage};
use evenkeel_meta::MoveId;
use evenkeel_types::{ExtentId, ServerId, Time};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Moves that are remembered; the oldest are forgotten first.
const MOVES_KEPT_MAX: usize = 1024;

/// A takeover after a pause as long as this is another one.
const BURST_ENDS_AFTER: Duration = Duration::from_secs(1);
/// Moves that could not begin, as many as are remembered for those who ordered them.
const REFUSALS_KEPT_MAX: usize = 256;

/// The moves that this server led in this life.
#[derive(Default)]
pub(crate) struct MoveLog {
    moves: BTreeMap<MoveId, MoveEvent>,
    regions_compared: u64,
    /// The latest moves that could not begin, with the reasons.
    refused: VecDeque<(ExtentId, String)>,
    /// How many there were in all.
    refusals: u64,
    /// When this server last took an extent over from one that did not promise.
    took_over_at: Option<Time>,
}

impl MoveLog {
    /// Takes note of an event of the engine, and logs what people should know, with the names of other servers.
    pub(crate) fn note(
        &mut self,
        now: Time,
        server: &str,
        name_of: &dyn Fn(ServerId) -> String,
        event: &EngineEvent,
    ) {
        match event {
            EngineEvent::Move(step) => self.step(server, name_of, step),
            EngineEvent::MoveRefused { extent, to, why } => {
                let to = name_of(*to);
                tracing::info!(server, "move of {extent} to {to} could not begin: {why}");
                self.refusals += 1;
                self.refused.push_back((*extent, why.clone()));
                if self.refused.len() > REFUSALS_KEPT_MAX {
                    self.refused.pop_front();
                }
            }
            EngineEvent::TookOver { extent, epoch, promised: true } => {
                tracing::debug!(server, "serves {extent} in epoch {epoch}, by promise");
            }
            EngineEvent::TookOver { extent, epoch, promised: false } => {
                // Whoever takes over has many extents to serve at once: the first tells when.
                let is_first = self.took_over_at.is_none_or(|at| now.since(at) > BURST_ENDS_AFTER);
                self.took_over_at = Some(now);
                if is_first {
                    tracing::info!(
                        server,
                        "serves {extent} and maybe others in epoch {epoch}, after the lease ran out"
                    );
                } else {
                    tracing::debug!(server, "serves {extent} in epoch {epoch}, after the lease ran out");
                }
            }
            EngineEvent::StopsServing { server: other, extents, lease_ended } => {
                let other = name_of(*other);
                let ago = now.since(*lease_ended).as_millis();
                tracing::info!(
                    server,
                    "stops serving {extents} extents until {other} answers or is down: its lease ended {ago} ms ago"
                );
            }
            EngineEvent::MarkedDown { server: other, silence } => {
                let (other, silence) = (name_of(*other), silence.as_secs_f64());
                tracing::warn!(server, "{other} has not answered for {silence:.1} s: marked it down");
            }
            EngineEvent::Rejoined => {
                tracing::info!(server, "its copies are as good as their owners': it is up");
            }
            EngineEvent::Compared { server: other, regions, differing } => {
                self.regions_compared += regions;
                let other = name_of(*other);
                tracing::info!(
                    server,
                    "compared {regions} regions with {other}, {differing} in extents that differ"
                );
            }
            EngineEvent::FoundDown | EngineEvent::CannotKeepUp { .. } => {}
            EngineEvent::Mended { extent, region, from } => {
                let from = name_of(*from);
                tracing::warn!(server, "mended region {region} of {extent} from the copy at {from}");
            }
            EngineEvent::CopyMended { extent, region, at, had_diverged } => {
                let at = name_of(*at);
                let what = if *had_diverged { "had diverged" } else { "had bad blocks" };
                tracing::warn!(
                    server,
                    "region {region} of {extent} {what} at {at}: mended from the copy here"
                );
            }
            EngineEvent::Unreadable { extent, region, blocks } => {
                let blocks: Vec<u16> = (0..16).filter(|block| blocks >> block & 1 == 1).collect();
                tracing::error!(
                    server,
                    "blocks {blocks:?} of region {region} of {extent} can be read at no copy: an error for hosts until \
                     they are written again"
                );
            }
            EngineEvent::Scrubbed { regions, mended, unreadable } => {
                tracing::info!(
                    server,
                    "scrub: read {regions} regions, {mended} mended, {unreadable} unreadable"
                );
            }
            EngineEvent::Freed { extent } => tracing::debug!(server, "freed its copy of {extent}"),
            EngineEvent::CopyMissing { extent } => {
                tracing::error!(
                    server,
                    "the directory says that {extent} is here, but the store has no record of it"
                );
            }
            EngineEvent::ViewGap { .. } => {}
        }
    }

    fn step(&mut self, server: &str, name_of: &dyn Fn(ServerId) -> String, step: &MoveEvent) {
        let to = || name_of(step.to);
        match step.stage {
            MoveStage::Aborted => {
                tracing::info!(
                    server,
                    "move of {} to {} given up: {}",
                    step.extent,
                    to(),
                    step.why.unwrap_or("no reason")
                );
            }
            stage => tracing::debug!(server, "move of {} to {}: {stage:?}", step.extent, to()),
        }
        self.moves.insert(step.id, step.clone());
        if self.moves.len() > MOVES_KEPT_MAX {
            self.moves.pop_first();
        }
    }

    /// Regions that were compared with copies at servers that came back.
    pub(crate) const fn regions_compared(&self) -> u64 {
        self.regions_compared
    }

    /// How many moves could not begin so far.
    pub(crate) const fn refusals(&self) -> u64 {
        self.refusals
    }

    /// Why a move of an extent could not begin, of those beyond the first so many.
    pub(crate) fn refusal_of(&self, extent: ExtentId, behind: u64) -> Option<String> {
        let later = usize::try_from(self.refusals.saturating_sub(behind)).unwrap_or(usize::MAX);
        let mut latest = self.refused.iter().rev().take(later);
        latest.find(|(refused, _)| *refused == extent).map(|(_, why)| why.clone())
    }

    /// The last step of each move.
    pub(crate) fn last_steps(&self) -> impl Iterator<Item = &MoveEvent> {
        self.moves.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_types::VolumeId;

    #[test]
    fn who_ordered_a_move_hears_of_its_own_refusal_and_of_no_earlier_one() {
        let mut log = MoveLog::default();
        let extent = |index| ExtentId { volume: VolumeId(1), index };
        let refuse = |log: &mut MoveLog, index: u32, why: &str| {
            let event =
                EngineEvent::MoveRefused { extent: extent(index), to: ServerId(2), why: why.to_owned() };
            log.note(Time(0), "s1", &|id| id.to_string(), &event);
        };
        refuse(&mut log, 7, "an earlier one");
        let before = log.refusals();
        assert_eq!(log.refusal_of(extent(7), before), None);
        refuse(&mut log, 8, "of another extent");
        assert_eq!(log.refusal_of(extent(7), before), None);
        refuse(&mut log, 7, "the directory has changed: try again");
        assert_eq!(
            log.refusal_of(extent(7), before).as_deref(),
            Some("the directory has changed: try again")
        );
        for n in 0..2 * REFUSALS_KEPT_MAX as u32 {
            refuse(&mut log, 100 + n, "of many");
        }
        assert_eq!((log.refused.len(), log.refusal_of(extent(7), before)), (REFUSALS_KEPT_MAX, None));
    }
}
