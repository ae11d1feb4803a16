//! What a front end asks of the engine. Free of SCSI: NBD and NVMe/TCP can stand beside iSCSI.

use crate::geometry::ByteRange;
use crate::payload::Payload;
use bytes::Bytes;

/// An operation on a volume. Ranges are in bytes from the volume's start, on sector boundaries, within its size (the
/// front end has checked), and not empty.
#[derive(Clone, Debug)]
pub enum BlockOp {
    /// Read a range.
    Read {
        /// What to read.
        at: ByteRange,
    },
    /// Write a range. Answered when durable.
    Write {
        /// Where to write.
        at: ByteRange,
        /// As long as the range. Aligned in memory like the range is in its volume wherever possible: then nothing
        /// is copied on the way to the disk.
        data: Bytes,
    },
    /// Make a range read as zeros and give its space back (UNMAP, WRITE SAME of zeros). Answered when durable.
    Zero {
        /// What to clear.
        at: ByteRange,
    },
    /// Compare, and write only if equal, as one atomic step; within one block of 4 KiB. Answered when durable.
    CompareAndWrite {
        /// Where.
        at: ByteRange,
        /// What must be there.
        expected: Bytes,
        /// What to put there.
        data: Bytes,
    },
    /// Make everything durable that was answered. Always already true; answered in order of arrival.
    Flush,
}

impl BlockOp {
    /// The range that the operation touches.
    #[must_use]
    pub const fn range(&self) -> Option<ByteRange> {
        match self {
            Self::Read { at }
            | Self::Write { at, .. }
            | Self::Zero { at }
            | Self::CompareAndWrite { at, .. } => Some(*at),
            Self::Flush => None,
        }
    }

    /// Whether it changes the volume.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        matches!(self, Self::Write { .. } | Self::Zero { .. } | Self::CompareAndWrite { .. })
    }
}

/// How an operation ended: the data of a read (empty for others), or why not.
pub type BlockOutcome = Result<Payload, BlockError>;

/// Why an operation failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockError {
    /// COMPARE AND WRITE found something else; the first differing byte, counted from the range's start.
    Miscompare {
        /// Offset of the first byte that differs.
        offset: u32,
    },
    /// Data is damaged and no good copy exists; the first damaged block starts at this byte of the volume.
    Medium {
        /// Offset in the volume, in bytes.
        offset: u64,
    },
    /// No space left for a write; nothing of this extent's part was applied.
    NoSpace,
    /// Not served now, and certain not to have been and not to be applied: try again.
    Busy,
    /// The outcome of a write is unknown and the time for retries is over: the session must be dropped.
    Unknown,
    /// The volume does not exist (any more).
    NoVolume,
    /// Cancelled by its front end before it was sequenced.
    Aborted,
}
