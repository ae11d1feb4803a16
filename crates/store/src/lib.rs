//! One disk of a server: superblock, units, extent records, journal, checksums and recovery.
//!
//! A [`Store`] keeps the replicas of extents that its server has. It is sans-IO: operations go in
//! ([`Store::submit`]), disk requests come out ([`Store::poll_io`]), their results go in ([`Store::handle_io`]) and
//! answers come out ([`Store::poll_done`]). Formatting, opening and checking happen while nothing else does, over the
//! synchronous trait [`Disk`].
//!
//! # The life of a write
//!
//! Blocks of a region go into the journal together with the entry that names them: one durable request, shared with
//! all writes that wait (group commit). They are served from memory until a checkpoint has put them into their
//! places. A whole region is written to a free unit first; the journal entry that switches the region to it carries
//! only checksums. Either way the entry carries the new version, and everything of one operation is in one record:
//! all or nothing.
//!
//! # The rules that recovery rests on
//!
//! * One journal record is in flight at a time, so every record proves its predecessors durable.
//! * Memory holds at most one record's changes that are not durable; a metadata page is written only without them.
//! * A checkpoint writes data, then pages, then the superblock, each flushed before the next begins.
//! * A unit that was given up is used again only after the checkpoint that retires every record which names it, and
//!   when no read that was under way can touch it.
//! * After a write or flush error the store stops: what the disk holds is not known any more.

mod check;
mod checkpoint;
mod codec;
mod commit;
mod disk;
mod extent;
mod fault;
mod format;
pub mod fuzz;
mod io;
mod journal;
mod layout;
mod op;
mod open;
mod read_cache;
mod recover;
mod sim_disk;
mod slab;
mod stats;
mod stop;
mod store;
mod superblock;
mod units;

pub use check::{CheckDepth, CheckReport, Finding, FindingKind, belongs_to, check, inventory};
pub use disk::{Disk, DiskError, DiskIo, IoId, IoKind, IoPieces, run_io, run_one};
pub use fault::StoreFault;
pub use format::FormatOptions;
pub use layout::{JOURNAL_BYTES_DEFAULT, JOURNAL_BYTES_MAX, JOURNAL_BYTES_MIN};
pub use open::{OpenOptions, OpenReport};
pub use sim_disk::{CrashKind, SimDisk};
pub use stats::StoreStats;
pub use stop::StopReason;
pub use store::{
    CACHE_BYTES_DEFAULT, LIST_MAX, OPERATIONS_MAX, OVERLAY_BYTES_MAX, READ_CACHE_BYTES_DEFAULT, Store,
};
pub use superblock::{FORMAT_VERSION, GROUP_NAME_BYTES_MAX};

#[cfg(test)]
mod tests;
