//! Where the extents of a volume are.

use serde::{Deserialize, Serialize};

/// `GET /v1/volumes/NAME/route?server=NAME`: the routing table of a volume as one server sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteTable {
    /// The volume's name.
    pub volume: String,
    /// The server whose view this is.
    pub seen_by: String,
    /// The directory revision that the view has reached.
    pub revision: u64,
    /// One row for each extent, in order.
    pub extents: Vec<RouteRow>,
}

/// The route of one extent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRow {
    /// The extent's number.
    pub extent: u32,
    /// Its epoch.
    pub epoch: u64,
    /// The server that orders its reads and writes.
    pub owner: String,
    /// All servers with a copy, owner first.
    pub replicas: Vec<String>,
    /// True if an entry says otherwise than the computed placement.
    pub moved: bool,
    /// The target of the move in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving_to: Option<String>,
}

/// `GET /v1/volumes/NAME/verify`, and the result of `check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Extents looked at.
    pub extents: u64,
    /// Extent records found in the stores.
    pub records: u64,
    /// Everything that is not as it should be; empty if all is well.
    pub findings: Vec<Finding>,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// `orphan-record`, `missing-copy`, `two-owners`, `stale-epoch`, `bad-data`, `bad-metadata` ...
    pub kind: String,
    /// The server whose store it concerns.
    pub server: String,
    /// What was found, where, in one line.
    pub detail: String,
}
