//! Heartbeats, which are also the leases between owners and copies.

use evenkeel_types::ExtentId;
use serde::{Deserialize, Serialize};

/// Sent to every peer in a fixed interval. The answer, if it says so, gives the sender, for all extents that it has attached at the
/// receiver and that the answer does not except, the right to answer reads, counted from when this was sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The sender's clock when it sent this, in nanoseconds; only ever given back to it.
    pub sent_at: u64,
    /// The lowest number of a write that the sender, as a gateway, may still retry.
    pub oldest_open: u64,
    /// The sender has given up every lease that came with an answer to an earlier heartbeat, and asks for none: its store
    /// hangs or has stopped. Others are to go on without it, and need not wait for its leases to run out.
    pub gives_up: bool,
    /// The same as `oldest_open` for extents to which the sender has writes under way at the receiver, as far as it is more for them:
    /// those whose oldest write is oldest.
    pub extents: Vec<OldestOpen>,
}

/// The lowest number of a write to an extent that a gateway may still retry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OldestOpen {
    /// Which extent.
    pub extent: ExtentId,
    /// Which number.
    pub number: u64,
}

/// The answer to a [`Heartbeat`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeartbeatAck {
    /// [`Heartbeat::sent_at`] of the heartbeat that is answered.
    pub sent_at: u64,
    /// Whether the answerer gives leases. One whose store has stopped or hangs does not: others are to go on without it,
    /// though its connections live. Nor is one given to a heartbeat that asks for none.
    pub is_lease: bool,
    /// Attachments of the heartbeat's sender that the answerer has ended by accepting a higher epoch, and of which
    /// the sender has not shown to know. This answer gives no right for them.
    pub voided: Vec<Voided>,
}

/// An attachment without a lease.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Voided {
    /// Which extent.
    pub extent: ExtentId,
    /// Which attach of it.
    pub attachment: u64,
}
