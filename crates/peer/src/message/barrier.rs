//! Barriers: a server that changed who may do what with a volume learns that nobody acts on what held before.

use evenkeel_types::VolumeId;
use serde::{Deserialize, Serialize};

/// A server has changed who may do what with a volume, and asks whether the receiver is done with what was admitted before.
/// Asked again over each new connection, and whenever another server was marked down meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Barrier {
    /// Ties the answer to it; unique among the barriers of the sender.
    pub number: u64,
    /// Which volume.
    pub volume: VolumeId,
    /// The revision of the volume's access record that made the change.
    pub revision: u64,
    /// The receiver's view must have come this far: by then it knows of every server that the sender waits for no more
    /// that it is down.
    pub view: u64,
}

/// Nothing is under way at the sender that was admitted before the change, and nothing of it will be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BarrierDone {
    /// The barrier's number.
    pub number: u64,
}
