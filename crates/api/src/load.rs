//! The load of the group as one server sees it.

use serde::{Deserialize, Serialize};

/// `GET /v1/load?server=NAME`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadTable {
    /// The server whose view this is.
    pub seen_by: String,
    /// Mean of the combined load over the group, weighted by capacity.
    pub mean_load: f64,
    /// Highest combined load over the mean; 1 is perfect, absent when the group is idle.
    pub imbalance: Option<f64>,
    /// One row for each server.
    pub servers: Vec<ServerLoadRow>,
}

/// What is known of the load of one server. Utilisations are offered work per second over capacity: 1 is full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerLoadRow {
    /// Its name.
    pub server: String,
    /// Age of the report that this row shows, in milliseconds; absent if none ever came.
    pub age_ms: Option<u64>,
    /// True if the report is too old to be used.
    pub stale: bool,
    /// Storage load: disk read and write.
    pub storage_load: f64,
    /// Server load: CPU and network.
    pub server_load: f64,
    /// Both in one measure; this is what is balanced. Half of a change shows after three seconds.
    pub load: f64,
    /// The same over a longer time: half of a change shows after ten seconds.
    pub load_slow: f64,
    /// What is thought of it: `unknown` (no fresh report, or not in service), `idle`, `even`, `watched`,
    /// `disproportionate`, `urgent`, `front-end` or `swinging`.
    pub state: String,
    /// Each resource: `cpu`, `net_in`, `net_out`, `disk_read`, `disk_write`.
    pub resources: Vec<ResourceLoad>,
    /// Requests per second by pattern.
    pub random_reads: f64,
    /// Requests per second by pattern.
    pub sequential_reads: f64,
    /// Requests per second by pattern.
    pub random_writes: f64,
    /// Requests per second by pattern.
    pub sequential_writes: f64,
    /// Bytes of the store in use.
    pub allocated_bytes: u64,
    /// Bytes of the store.
    pub total_bytes: u64,
    /// Moves in progress away from the server.
    pub moves_out: u32,
    /// Moves in progress to the server.
    pub moves_in: u32,
}

/// The utilisation of one resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceLoad {
    /// Which resource.
    pub name: String,
    /// Work for sessions, digests and forwarding: stays with the portal's server.
    pub front_end: f64,
    /// Work for extents: moves with them.
    pub extents: f64,
    /// Copying for moves: passes by itself, and is no part of the load.
    pub copies: f64,
}

/// `PUT /v1/balancing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balancing {
    /// Whether the servers move extents by themselves.
    pub enabled: bool,
}
