//! What a load did since it was last asked.

use crate::histogram::Latencies;
use std::time::Duration;

/// Counters since the last sample.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// The time that it covers.
    pub time: Duration,
    /// From the planned time of each request to its end.
    pub latencies: Latencies,
    /// Reads that ended well.
    pub reads: u64,
    /// Writes that ended well.
    pub writes: u64,
    /// Bytes of both.
    pub bytes: u64,
    /// Requests that ended well, by the extent that they began in.
    pub per_extent: Vec<u32>,
    /// Requests that failed, and sessions that were lost.
    pub errors: u64,
    /// Requests that were answered BUSY or TASK SET FULL and made again, as a host does.
    pub retries: u64,
    /// Blocks whose content was checked.
    pub checked_blocks: u64,
    /// Blocks that held something else than they must.
    pub mismatches: u64,
    /// The first thing that went wrong, for people.
    pub first_trouble: Option<String>,
    /// How far behind its plan the load is now.
    pub behind: Duration,
    /// Requests under way now.
    pub open: usize,
    /// Whether there is nothing left to do.
    pub is_idle: bool,
}

impl Sample {
    /// An empty one for a volume of so many extents.
    pub fn new(extents: usize) -> Self {
        Self { per_extent: vec![0; extents], ..Self::default() }
    }

    /// Requests that ended well.
    pub const fn requests(&self) -> u64 {
        self.reads + self.writes
    }
}
