//! The planner tells an owner to move an extent.

use evenkeel_types::{Bytes, ExtentId, ServerId};
use serde::{Deserialize, Serialize};

/// Longest reason of a move in bytes.
pub const REASON_BYTES_MAX: usize = 8 << 10;

/// Asks the owner of an extent to move it. The owner does so if it may; nothing depends on it: an order that is lost
/// or comes to the wrong server only leaves the extent where it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MoveOrder {
    /// Which extent.
    pub extent: ExtentId,
    /// To which server.
    pub to: ServerId,
    /// Why: JSON, the frame's payload.
    #[serde(skip)]
    pub reason: Bytes,
}
