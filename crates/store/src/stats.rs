//! Counters and levels of one store, for metrics.

/// Counters since the store was opened, and present levels.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct StoreStats {
    /// Units in all, of 64 KiB.
    pub units: u64,
    /// Units that extents use.
    pub units_used: u64,
    /// Units given up that become free with a checkpoint.
    pub units_freed: u64,
    /// Units promised to writes to come.
    pub units_reserved: u64,
    /// Extents with a slot.
    pub extents: u64,
    /// Journal size in bytes.
    pub journal_bytes: u64,
    /// Bytes of the journal that replay would read.
    pub journal_used_bytes: u64,
    /// Bytes of journaled blocks held in memory until they are in their places.
    pub overlay_bytes: u64,
    /// Bytes of blocks that were read lately and are kept in memory.
    pub read_cache_bytes: u64,
    /// Extent records in memory.
    pub records_cached: u64,
    /// Extent records in memory that the disk does not have yet.
    pub records_dirty: u64,
    /// Operations under way.
    pub operations: u64,
    /// Group commits written.
    pub commits: u64,
    /// Operations in all group commits together.
    pub commit_operations: u64,
    /// Operations of the largest group commit.
    pub commit_operations_max: u64,
    /// Blocks that went through the journal.
    pub journaled_blocks: u64,
    /// Regions that were written out of place.
    pub regions_switched: u64,
    /// Checkpoints completed.
    pub checkpoints: u64,
    /// Blocks that checkpoints wrote into their places.
    pub in_place_blocks: u64,
    /// Metadata pages written.
    pub pages_written: u64,
    /// Records loaded from the disk.
    pub records_loaded: u64,
    /// Blocks read from the device.
    pub blocks_read: u64,
    /// Blocks that are not in their places yet, served from memory.
    pub overlay_blocks_read: u64,
    /// Blocks that were read before, served from memory.
    pub cached_blocks_read: u64,
    /// Blocks that failed their checksum.
    pub checksum_failures: u64,
    /// Reads repeated because the block changed while it was read.
    pub reads_repeated: u64,
    /// Device reads that reported an error.
    pub read_errors: u64,
    /// Operations that waited for a checkpoint to free units.
    pub space_waits: u64,
}
