//! What a front end must offer to get requests answered.

use evenkeel_types::{BlockOutcome, VolumeId};

/// A connection of an initiator, as the core sees it.
pub(crate) trait FrontEnd {
    /// A request ended. Must not call back into the core; it may wake its own task.
    fn complete(&self, task: u64, outcome: BlockOutcome);

    /// The initiator must show that it lives, or its requests cannot go on.
    fn prove(&self);
}

/// Whoever takes the requests of hosts.
pub(crate) trait Judge {
    /// Who may do what with a volume has changed in the core's view: judges its open requests by that, and cancels at the core
    /// those that are not allowed any more. Must not have the core carry anything on.
    fn judge(&self, volume: VolumeId);
}
