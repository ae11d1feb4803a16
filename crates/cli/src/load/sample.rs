//! What a load did since it was last asked.

use super::histogram::Latencies;
use std::time::Duration;

/// Counters since the last sample.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// The time that it covers.
    pub(crate) time: Duration,
    /// From the planned time of each request to its end.
    pub(crate) latencies: Latencies,
    /// Reads that ended well.
    pub(crate) reads: u64,
    /// Writes that ended well.
    pub(crate) writes: u64,
    /// Bytes of both.
    pub(crate) bytes: u64,
    /// Requests that ended well, by the extent that they began in.
    pub(crate) per_extent: Vec<u32>,
    /// Requests that failed, and sessions that were lost.
    pub(crate) errors: u64,
    /// Requests that were answered BUSY or TASK SET FULL and made again, as a host does.
    pub(crate) retries: u64,
    /// Blocks whose content was checked.
    pub(crate) checked_blocks: u64,
    /// Blocks that held something else than they must.
    pub(crate) mismatches: u64,
    /// The first thing that went wrong, for people.
    pub(crate) first_trouble: Option<String>,
    /// How far behind its plan the load is now.
    pub(crate) behind: Duration,
    /// Requests under way now.
    pub(crate) open: usize,
    /// Whether there is nothing left to do.
    pub(crate) is_idle: bool,
}

impl Sample {
    /// An empty one for a volume of so many extents.
    pub(crate) fn new(extents: usize) -> Self {
        Self { per_extent: vec![0; extents], ..Self::default() }
    }

    /// Requests that ended well.
    pub(crate) const fn requests(&self) -> u64 {
        self.reads + self.writes
    }
}
