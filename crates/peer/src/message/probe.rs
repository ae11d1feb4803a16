//! Whether somebody else is silent too.

use evenkeel_types::ServerId;
use serde::{Deserialize, Serialize};

/// Does the receiver reach this server? Asked before a server is marked down.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Probe {
    /// Ties the answer to the question.
    pub number: u64,
    /// The server that does not answer the sender.
    pub server: ServerId,
}

/// The answer to a [`Probe`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Probed {
    /// The question.
    pub number: u64,
    /// The server that was asked about.
    pub server: ServerId,
    /// Whether it answered the receiver a moment ago.
    pub reached: bool,
}
