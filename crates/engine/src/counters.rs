//! Numbers for metrics, records and tests.

/// What was done for one copy, by a move or to bring a replica up to date, or for many together.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MoveCounters {
    /// Writes that went to both copies before they were answered.
    pub writes_mirrored: u64,
    /// Writes that waited because their region was just being copied.
    pub writes_waited: u64,
    /// Writes to regions that had not been copied yet: they go with the region.
    pub writes_not_yet_copied: u64,
    /// Requests that had resolved here before the cut-over and were completed here after it.
    pub completed_after_cut_over: u64,
    /// Requests answered "moved".
    pub answered_moved: u64,
    /// Regions sent.
    pub regions_sent: u64,
    /// Regions that were equal on both sides when they were compared.
    pub regions_equal: u64,
    /// Bytes of the regions sent.
    pub bytes_sent: u64,
}

/// What an engine did since its start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Sums over all moves away from this server.
    pub moves: MoveCounters,
    /// Sums over the replicas of extents that this server owns: writes that went there, regions compared and sent.
    pub resync: MoveCounters,
    /// Moves that reached their target.
    pub moves_done: u64,
    /// Moves given up.
    pub moves_aborted: u64,
    /// Moves that were found under way, after a start or a change of owner.
    pub moves_resumed: u64,
    /// Operations executed here for this server's own front ends.
    pub local_operations: u64,
    /// Operations executed here for other gateways.
    pub remote_operations: u64,
    /// Pieces of requests passed on to other servers.
    pub forwarded: u64,
    /// Pieces of requests tried again.
    pub retried: u64,
    /// Retries that found their write applied or under way.
    pub duplicates: u64,
    /// Messages refused for a lower epoch, another attachment, or a fenced incarnation.
    pub stale_refusals: u64,
    /// Reads that waited for a lease at their end.
    pub reads_waited_for_lease: u64,
    /// Regions received.
    pub regions_received: u64,
    /// Extents taken over from another owner.
    pub takeovers: u64,
    /// Copies freed.
    pub freed: u64,
    /// Regions of this server's copies that were mended from another one.
    pub mended: u64,
    /// Regions of other servers' copies that were bad or had diverged, and were mended from this server's.
    pub copies_mended: u64,
    /// Regions in which blocks are good nowhere.
    pub unreadable: u64,
    /// Regions that the scrub has read here and compared with all copies.
    pub scrubbed: u64,
    /// Regions of copies that had the same version and other content.
    pub diverged: u64,
    /// Times that the scrub has looked at everything.
    pub scrub_passes: u64,
    /// Servers that this one marked down.
    pub marked_down: u64,
}
