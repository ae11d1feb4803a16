//! The scrub: everything is read and compared before somebody needs it.

use serde::{Deserialize, Serialize};

/// `GET /v1/scrub`, and the answer to `PUT /v1/scrub`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubTable {
    /// One row for each server that answers.
    pub servers: Vec<ScrubRow>,
}

/// The scrub of what one server owns. Counted since its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubRow {
    /// The server's name.
    pub server: String,
    /// Bytes of its own copies per second that it reads; 0 for none.
    pub rate: u64,
    /// Whether a pass over everything is under way.
    pub running: bool,
    /// Passes that ended.
    pub passes: u64,
    /// Regions of 64 KiB that were read here and compared with all copies.
    pub regions: u64,
    /// Regions of its own copies with bad blocks that were mended from others, be it by the scrub or when they were read.
    pub mended: u64,
    /// Regions of other servers' copies that were mended from its own.
    pub copies_mended: u64,
    /// Those of them that could be read, and had other content in the same version.
    pub diverged: u64,
    /// Regions with blocks that are good at no copy.
    pub unreadable: u64,
}

/// `PUT /v1/scrub`: a pass begins now at all servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartScrub {
    /// Bytes per second from now on, until the servers start anew; absent: as before.
    #[serde(default)]
    pub rate: Option<u64>,
}
