//! What a server knows of the moves that it leads, beyond what the directory records: how far they are.

use evenkeel_engine::{EngineEvent, MoveEvent, MoveStage};
use evenkeel_meta::MoveId;
use std::collections::BTreeMap;

/// Moves that are remembered; the oldest are forgotten first.
const MOVES_KEPT_MAX: usize = 1024;

/// The moves that this server led in this life.
#[derive(Default)]
pub(crate) struct MoveLog {
    moves: BTreeMap<MoveId, MoveEvent>,
    regions_compared: u64,
}

impl MoveLog {
    /// Takes note of an event of the engine, and logs what people should know.
    pub(crate) fn note(&mut self, server: &str, event: &EngineEvent) {
        match event {
            EngineEvent::Move(step) => self.step(server, step),
            EngineEvent::MoveRefused { extent, to, why } => {
                tracing::info!(server, "move of {extent} to {to} could not begin: {why}");
            }
            EngineEvent::TookOver { extent, epoch, promised } => {
                let how = if *promised { "by promise" } else { "after the lease ran out" };
                tracing::debug!(server, "serves {extent} in epoch {epoch}, {how}");
            }
            EngineEvent::MarksDown { server: other, silence } => {
                let silence = silence.as_secs_f64();
                tracing::warn!(server, "{other} has not answered for {silence:.1} s: marks it down");
            }
            EngineEvent::Rejoined => {
                tracing::info!(server, "its copies are as good as their owners': it is up");
            }
            EngineEvent::Compared { server: other, regions, differing } => {
                self.regions_compared += regions;
                tracing::info!(
                    server,
                    "compared {regions} regions with {other}, {differing} in extents that differ"
                );
            }
            EngineEvent::FoundDown => {}
            EngineEvent::Mended { extent, region, from } => {
                tracing::warn!(server, "mended region {region} of {extent} from the copy at {from}");
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

    fn step(&mut self, server: &str, step: &MoveEvent) {
        match step.stage {
            MoveStage::Aborted => {
                tracing::info!(
                    server,
                    "move of {} to {} given up: {}",
                    step.extent,
                    step.to,
                    step.why.unwrap_or("no reason")
                );
            }
            stage => tracing::debug!(server, "move of {} to {}: {stage:?}", step.extent, step.to),
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

    /// The last step of each move.
    pub(crate) fn last_steps(&self) -> impl Iterator<Item = &MoveEvent> {
        self.moves.values()
    }
}
