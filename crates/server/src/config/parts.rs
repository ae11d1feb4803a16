//! Parts of the configuration that all servers of a process share.

use crate::error::{ServeError, error};
use evenkeel_api::parse_size;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Connections between servers. Where the group has an authority (`evenkeel group init`), both ends always show
/// certificates, and nothing is carried out that was changed on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerConfig {
    /// How what they say travels.
    #[serde(default)]
    pub data: PeerData,
}

/// How what servers say to each other travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerData {
    /// Encrypted, if one of the two ends wants it so.
    #[default]
    Encrypted,
    /// Not encrypted, for a network of the storage's own, but protected against changes.
    Plain,
}

/// What TLS with an etcd takes: files in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryTls {
    /// Certificate of the authority that signed etcd's certificates.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// This process's certificate, where etcd asks for one.
    #[serde(default)]
    pub cert: Option<PathBuf>,
    /// The key that belongs to it.
    #[serde(default)]
    pub key: Option<PathBuf>,
}

/// How disks are driven.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskConfig {
    /// Which engine; `auto` takes the best that works here.
    #[serde(default)]
    pub engine: DiskEngine,
    /// Whether to go around the page cache; absent: where the file system can.
    #[serde(default)]
    pub direct: Option<bool>,
    /// Whether a store that is made in a file takes all its space at once; else it is sparse, and a full file system
    /// refuses writes or stops the server.
    #[serde(default)]
    pub preallocate: bool,
    /// Memory of each server for blocks that were read lately, for example `256MiB`; absent: 32 MiB. Where the disk is
    /// read through the page cache, or is memory, there is none.
    #[serde(default)]
    pub read_cache: Option<String>,
}

/// How reads and writes reach a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskEngine {
    /// `inline` on memory file systems, else a ring with threads for durable writes where the kernel allows it, else
    /// `threads`.
    #[default]
    Auto,
    /// An io_uring of the server's own.
    Uring,
    /// A pool of threads with pread and pwrite.
    Threads,
    /// pread and pwrite at once: only right where they never block.
    Inline,
}

/// Balancing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BalanceConfig {
    /// Whether servers move extents by themselves.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Weight of the storage load (disk) in the combined measure; 0 ignores it.
    #[serde(default = "one")]
    pub storage_weight: f64,
    /// Weight of the server load (CPU, network) in the combined measure; 0 ignores it.
    #[serde(default = "one")]
    pub server_weight: f64,
    /// How long a server may be away, in seconds, before its copies are made anew at others.
    #[serde(default = "rebuild_after")]
    pub rebuild_after_s: u64,
}

impl Default for BalanceConfig {
    fn default() -> Self {
        Self { enabled: true, storage_weight: 1.0, server_weight: 1.0, rebuild_after_s: rebuild_after() }
    }
}

/// How everything is read and compared before somebody needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScrubConfig {
    /// Bytes of its own copies that each server reads in a second, for example `4MiB`; the copies at others are read as
    /// fast. `0` for no scrub.
    #[serde(default = "scrub_rate")]
    pub rate: String,
    /// Hours between two passes over everything.
    #[serde(default = "scrub_every")]
    pub every_h: u32,
}

impl Default for ScrubConfig {
    fn default() -> Self {
        Self { rate: scrub_rate(), every_h: scrub_every() }
    }
}

impl ScrubConfig {
    /// Bytes per second.
    ///
    /// # Errors
    /// The rate is no size.
    pub fn rate_bytes(&self) -> Result<u64, ServeError> {
        parse_size(&self.rate).map_err(|e| error(format!("scrub rate: {e}")))
    }
}

fn scrub_rate() -> String {
    "4MiB".to_owned()
}

const fn scrub_every() -> u32 {
    168
}

const fn rebuild_after() -> u64 {
    evenkeel_engine::config::REBUILD_AFTER.as_secs()
}

const fn yes() -> bool {
    true
}

const fn one() -> f64 {
    1.0
}
