//! Pieces of work that a monitor is told of, at the moment they arrive.

use evenkeel_types::ExtentId;
use serde::{Deserialize, Serialize};

/// Reading or writing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// A read.
    Read,
    /// A write; also UNMAP and zeroing, with the bytes that they cost (0 if only records change).
    Write,
}

/// Whether an access continues a stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// It stands alone.
    Random,
    /// It follows an access that ended where it begins, or shortly before.
    Sequential,
}

/// Which end of a copy between servers this one is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// This server reads its disk and sends.
    Out,
    /// This server receives and writes its disk.
    In,
}

/// A piece of work. It is charged when it *arrives*: what a server is asked to do is its load, not what it gets done,
/// for an overloaded server gets less done and would look cool.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Charge {
    /// A request at this server's portal: session, digests, copying, forwarding. It stays with the portal when
    /// extents move.
    FrontEnd {
        /// Bytes that go to the initiator.
        read_bytes: u32,
        /// Bytes that come from the initiator.
        write_bytes: u32,
        /// Whether data digests (RFC 7143 section 13.1) are computed over the bytes.
        digest: bool,
        /// Whether another server owns the extent, so that the bytes cross this server's network twice.
        forwarded: bool,
    },
    /// The owner's part of a request: it goes with the extent when the extent moves.
    Extent {
        /// Which extent.
        extent: ExtentId,
        /// Read or write.
        access: Access,
        /// First byte, from the extent's start.
        offset: u32,
        /// How many bytes.
        bytes: u32,
        /// Whether the request came from another server's portal, so that its bytes cross this server's network.
        remote: bool,
    },
    /// Bytes copied for a move, a resync or a rebuild. Shown, but never a reason to move anything.
    Copy {
        /// Which end this server is.
        direction: Direction,
        /// How many bytes.
        bytes: u32,
    },
}
