//! A gateway's requests to the owner of an extent, and the answers.

use evenkeel_types::{ByteRange, Bytes, Epoch, ExtentId, Payload, WriteId};
use serde::{Deserialize, Serialize};

/// A piece of a host's request, within one extent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Ties the reply to it; unique among the open requests of the sender.
    pub number: u64,
    /// Which extent.
    pub extent: ExtentId,
    /// The epoch by which the gateway chose this server. The owner decides by its own.
    pub epoch: Epoch,
    /// What to do.
    pub op: PieceOp,
    /// Names the write for good, across retries; none for a read.
    pub identity: Option<WriteId>,
    /// The lowest number of a write to this extent that the gateway may still retry: the extent's identities below may be
    /// forgotten. At most that of the write itself.
    pub oldest_open: u64,
    /// The lowest number of a write to any extent that the gateway may still retry.
    pub oldest_of_all: u64,
    /// How many servers have passed the request on; nobody passes on one that was passed on.
    pub hops: u8,
    /// How long ago, in milliseconds, the initiator's connection was last known to live.
    pub proof_age_ms: u32,
    /// The revision of the volume's access record by which the gateway admitted the host's request.
    pub admitted: u64,
}

/// What to do within an extent. Ranges are in bytes from the extent's start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum PieceOp {
    /// Read a range.
    Read {
        /// What.
        at: ByteRange,
    },
    /// Write a range.
    Write {
        /// Where.
        at: ByteRange,
        /// As long as the range; the frame's payload.
        #[serde(skip)]
        data: Bytes,
    },
    /// Make whole blocks read as zeros and give their space back.
    Zero {
        /// What; on block boundaries.
        at: ByteRange,
    },
    /// Compare, and write only if equal, within one block.
    CompareAndWrite {
        /// Where.
        at: ByteRange,
        /// What must be there; the first half of the frame's payload.
        #[serde(skip)]
        expected: Bytes,
        /// What to put there; the second half.
        #[serde(skip)]
        data: Bytes,
    },
}

impl PieceOp {
    /// The range that it touches, in bytes from the extent's start.
    #[must_use]
    pub const fn range(&self) -> ByteRange {
        match self {
            Self::Read { at }
            | Self::Write { at, .. }
            | Self::Zero { at }
            | Self::CompareAndWrite { at, .. } => *at,
        }
    }

    /// Whether it changes the extent.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        !matches!(self, Self::Read { .. })
    }

    /// Bytes of data that travel with it or with its answer.
    #[must_use]
    pub const fn data_len(&self) -> u32 {
        match self {
            Self::Read { at } | Self::Write { at, .. } => at.len,
            Self::Zero { .. } => 0,
            Self::CompareAndWrite { at, .. } => at.len.saturating_mul(2),
        }
    }

    /// Whether range and data agree and lie within an extent.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let at = self.range();
        at.is_valid_in_extent()
            && match self {
                Self::Read { .. } => true,
                Self::Write { data, .. } => data.len() == at.len as usize,
                Self::Zero { .. } => at.is_block_aligned(),
                Self::CompareAndWrite { expected, data, .. } => {
                    at.touched_blocks().count == 1
                        && expected.len() == at.len as usize
                        && data.len() == at.len as usize
                }
            }
    }
}

/// The answer to a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reply {
    /// The request's number.
    pub number: u64,
    /// How it ended.
    pub outcome: ReplyOutcome,
}

/// How a request ended at the server that it was sent to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ReplyOutcome {
    /// Done; a write is durable wherever it has to be.
    Done {
        /// What was read, the frame's payload; empty for writes.
        #[serde(skip)]
        data: Payload,
    },
    /// Not served here: by the sender's view of this epoch, another server owns the extent, or will. A write may have
    /// been applied; its identity tells.
    Moved {
        /// The epoch that says so.
        epoch: Epoch,
    },
    /// Not sequenced, and will not be: try again.
    Busy,
    /// Not sequenced, and will not be: the proof that the initiator's connection lives is too old.
    ProofTooOld,
    /// Cancelled before it was sequenced.
    Cancelled,
    /// The outcome of the write is unknown and will stay so.
    Unknown,
    /// Compare-and-write found something else.
    Miscompare {
        /// First differing byte, from the range's start.
        offset: u32,
    },
    /// Damaged data without another copy.
    Medium {
        /// First damaged byte, from the extent's start.
        offset: u32,
    },
    /// No space left; nothing was applied.
    NoSpace,
    /// The volume does not exist (any more).
    NoVolume,
    /// Not sequenced, and will not be: the gateway admitted it before a change of who may do what with the volume. It has to be
    /// admitted anew.
    Readmit {
        /// The revision of the volume's access record that made the change.
        revision: u64,
    },
}
