//! What a front end must offer to get requests answered.

use evenkeel_types::BlockOutcome;

/// A connection of an initiator, as the core sees it.
pub(crate) trait FrontEnd {
    /// A request ended. Must not call back into the core; it may wake its own task.
    fn complete(&self, task: u64, outcome: BlockOutcome);

    /// The initiator must show that it lives, or its requests cannot go on.
    fn prove(&self);
}
