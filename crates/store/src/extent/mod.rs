//! Extent records: in memory, as pages on the disk, in the table of slots, and in the cache.

pub(crate) mod cache;
pub(crate) mod page;
pub(crate) mod record;
pub(crate) mod table;
