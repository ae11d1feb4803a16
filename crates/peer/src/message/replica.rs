//! Between the owner of an extent and a server that holds, gets, or gives up a copy of it.
//!
//! Every message names the owner's epoch and the *attachment*: a number that the owner gives to each attach and never
//! uses twice in one life. A message of another attachment than the last one accepted is refused, however late it
//! comes.

use evenkeel_types::store_op::RegionImage;
use evenkeel_types::{BlockRange, Bytes, Epoch, ExtentId, Region, Regions, ServerId, Version, WriteId};
use serde::{Deserialize, Serialize};

/// An owner tells a server that it owns the extent in this epoch, and asks for its part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attach {
    /// Which extent.
    pub extent: ExtentId,
    /// The owner's epoch.
    pub epoch: Epoch,
    /// Names this attach; grows with each attach of this owner in this life.
    pub attachment: u64,
    /// What the server is to the extent.
    pub part: Part,
    /// The replicas of the route, owner first.
    pub replicas: Vec<ServerId>,
}

/// What an attached server is to the extent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Part {
    /// It gets a copy, and sets aside the space for all of it.
    Target,
    /// It was the owner before and is replaced: it only has to let go.
    Replaced,
    /// It holds a copy, in sync or syncing.
    Replica,
}

/// The server has accepted the epoch durably and ended its own reign: a promise.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attached {
    /// Which extent.
    pub extent: ExtentId,
    /// The epoch of the attach.
    pub epoch: Epoch,
    /// The attach that is answered.
    pub attachment: u64,
    /// The version of each region that its copy has, 64 of them; empty from a server that is replaced.
    pub versions: Vec<Version>,
    /// Regions to which data can be written without asking for space.
    pub space: Regions,
}

/// The server does not attach.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttachRefused {
    /// Which extent.
    pub extent: ExtentId,
    /// The attach that is answered.
    pub attachment: u64,
    /// Why.
    pub refusal: Refusal,
}

/// Why a server refuses what an owner asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Refusal {
    /// It knows a higher epoch: it accepted one, or its view gives one.
    Stale {
        /// The epoch that it knows.
        known: Epoch,
    },
    /// It is not attached (any more), or by another attach.
    NotAttached,
    /// It has no space for another copy.
    NoSpace,
    /// It takes no more copies now.
    Busy,
    /// Its store has stopped.
    Stopped,
}

/// A write for a copy: one run of neighbouring blocks whose regions are all current there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReplicaWrite {
    /// Which extent.
    pub extent: ExtentId,
    /// The owner's epoch.
    pub epoch: Epoch,
    /// The attach that made the receiver a copy.
    pub attachment: u64,
    /// Ties the answer to it; unique among the open writes of the attachment.
    pub tag: u64,
    /// Which blocks.
    pub blocks: BlockRange,
    /// True for data (the payload), false for blocks that become absent.
    pub has_data: bool,
    /// The version that the touched regions have afterwards.
    pub version: Version,
    /// The version of each touched region that this write replaces, in order.
    pub replaces: Vec<Version>,
    /// Whose write it is.
    pub identity: Option<WriteId>,
    /// Identities of this gateway below this one may be forgotten.
    pub forget_below: Option<WriteId>,
    /// The frame's payload.
    #[serde(skip)]
    pub data: Bytes,
}

/// The answer to a [`ReplicaWrite`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Written {
    /// Which extent.
    pub extent: ExtentId,
    /// The attach of the write.
    pub attachment: u64,
    /// The write's tag.
    pub tag: u64,
    /// The version that the answer is about.
    pub version: Version,
    /// How it ended.
    pub outcome: CopyOutcome,
}

/// One region for a copy, content and version together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RegionCopy {
    /// Which extent.
    pub extent: ExtentId,
    /// The owner's epoch.
    pub epoch: Epoch,
    /// The attach that made the receiver a copy.
    pub attachment: u64,
    /// Which region.
    pub region: Region,
    /// The version that the receiver's copy has now.
    pub replaces: Version,
    /// What comes. Exactly its identities are remembered for the region from then on.
    pub image: RegionImage,
}

/// The answer to a [`RegionCopy`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Copied {
    /// Which extent.
    pub extent: ExtentId,
    /// The attach of the copy.
    pub attachment: u64,
    /// Which region.
    pub region: Region,
    /// The version that the answer is about.
    pub version: Version,
    /// How it ended.
    pub outcome: CopyOutcome,
}

/// What became of a write or a region at a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CopyOutcome {
    /// It is durable there.
    Applied,
    /// A region has another version than the one to be replaced: nothing was applied.
    Mismatch {
        /// The first such region.
        region: Region,
        /// The version that it has.
        found: Version,
    },
    /// Nothing was applied.
    Refused(Refusal),
}

/// The owner wants to write to regions for which the copy may have no space.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reserve {
    /// Which extent.
    pub extent: ExtentId,
    /// The owner's epoch.
    pub epoch: Epoch,
    /// The attach that made the receiver a copy.
    pub attachment: u64,
    /// Which regions; neighbours, from the first to the last.
    pub regions: Regions,
}

/// The answer to [`Reserve`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reserved {
    /// Which extent.
    pub extent: ExtentId,
    /// The attach.
    pub attachment: u64,
    /// The regions that were asked for.
    pub regions: Regions,
    /// None if there is space for all of them.
    pub refusal: Option<Refusal>,
}

/// The owner needs the receiver's copy no longer. The copy is freed only when the receiver's view says so.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Detach {
    /// Which extent.
    pub extent: ExtentId,
    /// The attach that ends.
    pub attachment: u64,
}

/// The owner asks a copy for a region that it cannot read in its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fetch {
    /// Which extent.
    pub extent: ExtentId,
    /// The owner's epoch.
    pub epoch: Epoch,
    /// The attach that made the receiver a copy.
    pub attachment: u64,
    /// Which region.
    pub region: Region,
}

/// The answer to a [`Fetch`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fetched {
    /// Which extent.
    pub extent: ExtentId,
    /// The attach.
    pub attachment: u64,
    /// Which region.
    pub region: Region,
    /// What is there; none if the copy is not attached any more, or its store has stopped.
    pub image: Option<RegionImage>,
}

/// The owner asks what a copy has in a region, to compare it with its own: for the scrub.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Check {
    /// Which extent.
    pub extent: ExtentId,
    /// The owner's epoch.
    pub epoch: Epoch,
    /// The attach that made the receiver a copy.
    pub attachment: u64,
    /// Which region.
    pub region: Region,
}

/// The answer to a [`Check`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checked {
    /// Which extent.
    pub extent: ExtentId,
    /// The attach.
    pub attachment: u64,
    /// Which region.
    pub region: Region,
    /// What is there; none if the copy is not attached any more, or its store has stopped.
    pub found: Option<Found>,
}

/// What a copy has in a region.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Found {
    /// Its version.
    pub version: Version,
    /// Bit n is set if block n cannot be read.
    pub bad: u16,
    /// CRC-32C over what is present and its content; meaningless with bad blocks.
    pub digest: u32,
}

/// The promise of an owner to a syncing copy: all regions of these extents are current there, and from now on each write
/// goes there too. It holds until the receiver is attached anew.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Current {
    /// Extents with the attach that is meant.
    pub extents: Vec<(ExtentId, u64)>,
}

/// All extents were looked at that the sender owns and of which the receiver has a copy, or should.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Compared {
    /// The sender's view of the directory when it began to look.
    pub revision: u64,
    /// Regions that were compared.
    pub regions: u64,
    /// Regions of these that were sent, or will be.
    pub differing: u64,
}
