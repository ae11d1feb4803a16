//! Moves of extents.

use serde::{Deserialize, Serialize};

/// `POST /v1/moves`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MoveRequest {
    /// The volume's name.
    pub volume: String,
    /// The extent's number.
    pub extent: u32,
    /// The server to move it to.
    pub to: String,
    /// Bytes per second at most; unlimited if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
}

/// How far a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MoveState {
    /// Copying; writes go to both copies where the region is current.
    Running,
    /// The target owns the extent.
    Done,
    /// Given up; the extent stayed where it was.
    Aborted,
}

/// One move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MoveRow {
    /// Names the move for `explain`.
    pub id: u64,
    /// The volume's name.
    pub volume: String,
    /// The extent's number.
    pub extent: u32,
    /// The server it leaves.
    pub from: String,
    /// The server it goes to.
    pub to: String,
    /// How far it is.
    pub state: MoveState,
    /// Why: one line.
    pub reason: String,
    /// Why, in full: measure, threshold, candidates, predicted and measured relief.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explanation: Vec<String>,
    /// When it began.
    pub started_ms: u64,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// Regions current at the target, of 64.
    pub regions_current: u32,
    /// Regions sent so far by the process that runs now.
    pub regions_sent: u64,
}

/// `GET /v1/moves`: the newest first; and the group's counters since the process started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MovesTable {
    /// The moves.
    pub moves: Vec<MoveRow>,
    /// Writes applied to both copies.
    pub writes_mirrored: u64,
    /// Writes that waited for the region in motion.
    pub writes_waited: u64,
    /// Writes to regions that were not yet copied.
    pub writes_not_yet_copied: u64,
    /// Requests pinned before a cut-over and completed after it.
    pub pinned_over_cutover: u64,
    /// Requests answered "moved".
    pub answered_moved: u64,
    /// Regions sent.
    pub regions_sent: u64,
    /// Bytes sent for moves.
    pub bytes_sent: u64,
    /// Moves that ended with a new owner.
    pub completed: u64,
    /// Moves given up.
    pub aborted: u64,
}
