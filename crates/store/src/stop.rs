//! Why a store stopped.

use crate::disk::DiskError;
use snafu::Snafu;

/// Why a store stopped: what failed, where and with which error. One line each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Snafu)]
pub enum StopReason {
    /// The disk reported an error where the store cannot go on without knowing what is on the disk.
    #[snafu(display("{doing}{} failed: {source}", place(*offset)))]
    Disk {
        /// What the store was doing.
        doing: &'static str,
        /// First byte on the disk; none for a flush.
        offset: Option<u64>,
        /// The disk's error.
        source: DiskError,
    },
    /// An extent record is not what was written.
    #[snafu(display("extent record {slot} at byte {offset} is damaged"))]
    DamagedRecord {
        /// Slot of the record.
        slot: u32,
        /// First byte of its page on the disk.
        offset: u64,
    },
}

fn place(offset: Option<u64>) -> String {
    offset.map_or_else(String::new, |offset| format!(" at byte {offset}"))
}
