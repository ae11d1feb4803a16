//! `server/<server>`: how to reach a server and what it can do. No route depends on it.

use serde::{Deserialize, Serialize};

/// Addresses, failure domain and capacity of one server.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ServerRecord {
    /// Its name, unique in the group.
    pub name: String,
    /// iSCSI portals, `address:port`.
    pub portals: Vec<String>,
    /// Where other servers reach it, `address:port`.
    pub peer: String,
    /// Where people and programs reach its admin API, if anywhere: `http://address:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Servers of one failure domain fail together; the machine, unless configured otherwise.
    pub domain: String,
    /// What it can do.
    pub capacity: ServerCapacity,
    /// Drawn by the data folder where it lives, so that another folder's server of the same name is not taken for it; 0
    /// where the directory lives in the same folder.
    #[serde(with = "super::hex_u64")]
    pub store_id: u64,
}

/// What a server can do, declared or probed.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ServerCapacity {
    /// Space of its store, in bytes.
    pub bytes: u64,
    /// Random reads of 4 KiB per second.
    pub disk_read_iops: f64,
    /// Durable random writes of 4 KiB per second.
    pub disk_write_iops: f64,
    /// Network throughput in each direction, in MiB per second.
    pub net_mib_s: f64,
    /// Processor time, in cores.
    pub cpu_cores: f64,
}
