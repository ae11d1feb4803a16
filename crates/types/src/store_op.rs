//! What the engine asks of a server's store, and how the store answers. Values, so that the daemon and the simulator
//! connect the two in the same way and neither crate knows the other.
//!
//! Operations on one extent take effect in the order of submission. An answer to anything but a read is given only
//! after what it names is durable. Operations on different extents are independent.

use crate::geometry::BlockRange;
use crate::ids::{Epoch, ExtentId, ServerId, WriteId};
use crate::payload::Payload;
pub use crate::region_image::RegionImage;
use crate::version::{Region, Regions, Version};
use bytes::Bytes;
use smallvec::SmallVec;

/// Names an operation from its submission to its answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StoreTicket(pub u64);

/// Write identities that an extent record remembers at most. The owner answers BUSY rather than forget one whose
/// gateway may still retry it.
pub const IDENTITIES_PER_EXTENT_MAX: usize = 48;

/// An operation on one extent of a store.
#[derive(Clone, Debug)]
pub enum StoreOp {
    /// The content of whole blocks; absent blocks, and extents without a record, read as zeros. Each block read from
    /// the device is checked; the first bad one fails the read with [`StoreError::BadBlock`].
    Read {
        /// Which extent.
        extent: ExtentId,
        /// Which blocks.
        blocks: BlockRange,
    },
    /// Change whole blocks. All or nothing.
    Write(StoreWrite),
    /// One region with its version, for copying it to another server or comparing it with the copy there. Each present
    /// block is read from the device and checked; bad ones do not fail the read, the image names them.
    ReadRegion {
        /// Which extent.
        extent: ExtentId,
        /// Which region.
        region: Region,
    },
    /// Put a region there as another server has it: content, presence, version, and the identities of the writes in it,
    /// together. All or nothing.
    InstallRegion {
        /// Which extent; it must have a record.
        extent: ExtentId,
        /// Which region.
        region: Region,
        /// The version that the region must have now; else [`StoreError::VersionMismatch`] and nothing changes.
        replaces: Version,
        /// What to put there.
        image: RegionImage,
    },
    /// Remember an accepted epoch and the route served under; creates the record where there is none.
    /// Refused with [`StoreError::StaleEpoch`] if a higher one was accepted.
    Accept {
        /// Which extent.
        extent: ExtentId,
        /// The accepted epoch.
        epoch: Epoch,
        /// The replicas of the route of that epoch, owner first; kept so that routes can be rebuilt from stores.
        replicas: SmallVec<[ServerId; 3]>,
        /// Whether this server holds a copy from now on: a record that is new or was freed then becomes a copy
        /// without data (`has_data`, all versions [`Version::NONE`]). False for a server that only promises to let
        /// go of the extent: what it holds stays as it is, and what it does not hold stays away.
        live: bool,
        /// Set aside space for the whole extent, so that no later write or copy of it fails for want of it; until
        /// an `Accept` without it, or `Free`. [`StoreError::NoSpace`] if there is not enough.
        reserve_all: bool,
        /// Identities that are forgotten with it: of each gateway named, those below the number and of older
        /// incarnations.
        forget_below: Vec<WriteId>,
    },
    /// Set aside space for a write, so that it cannot fail for want of it; the next `Write` of data that covers these
    /// blocks uses it up, or `Unreserve` gives it back. A region is reserved once, whoever asked for it. In memory
    /// only.
    Reserve {
        /// Which extent.
        extent: ExtentId,
        /// Blocks that will be written.
        blocks: BlockRange,
    },
    /// Give up what `Reserve` set aside for these regions and no `Write` has used; done also if there is nothing. What
    /// an `Accept` set aside for the whole extent stays.
    Unreserve {
        /// Which extent.
        extent: ExtentId,
        /// Regions that will not be written.
        regions: Regions,
    },
    /// What the record says: accepted epoch, versions, identities. `None` without a record.
    Describe {
        /// Which extent.
        extent: ExtentId,
    },
    /// Give up the data and the space; the accepted epoch outlives them.
    Free {
        /// Which extent.
        extent: ExtentId,
    },
    /// Remove the record altogether: the volume is deleted for ever.
    Forget {
        /// Which extent.
        extent: ExtentId,
    },
    /// Extent records in order, from `from` on, `max` at most, for verification.
    List {
        /// The first extent to list.
        from: ExtentId,
        /// How many at most.
        max: u32,
    },
}

/// A change of whole blocks of one extent.
#[derive(Clone, Debug)]
pub struct StoreWrite {
    /// Which extent; without a record one is created.
    pub extent: ExtentId,
    /// Which blocks.
    pub blocks: BlockRange,
    /// The new content.
    pub content: Content,
    /// The version that every touched region has afterwards. Its epoch is accepted by this write; refused with
    /// [`StoreError::StaleEpoch`] if a higher one was accepted.
    pub version: Version,
    /// The version that each touched region must have now, in order of the regions; else
    /// [`StoreError::VersionMismatch`] and nothing changes.
    pub replaces: SmallVec<[Version; 2]>,
    /// Whose write it is; remembered in the record, for the regions that it touches.
    pub identity: Option<WriteId>,
    /// For each gateway named: its identities below the number (or of older incarnations) may be forgotten now.
    pub forget_below: Option<WriteId>,
}

/// New content of whole blocks.
#[derive(Clone, Debug)]
pub enum Content {
    /// These bytes, as long as the blocks. In memory at a multiple of 4096 where possible (else the store copies).
    Data(Bytes),
    /// Absent: the blocks read as zeros and take no space.
    Absent,
}

impl Content {
    /// Whether the blocks become absent.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// A write that was applied and may be retried by its gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RememberedWrite {
    /// Whose write.
    pub id: WriteId,
    /// The regions whose content has it. A copy that is brought up to date region by region has a write over several
    /// regions in some of them before it has it in all.
    pub regions: Regions,
}

/// What an extent record says.
#[derive(Clone, Debug)]
pub struct ExtentDescription {
    /// The highest epoch accepted.
    pub accepted: Epoch,
    /// The replicas of the route last served under.
    pub replicas: SmallVec<[ServerId; 3]>,
    /// False for what is left after `Free`: the accepted epoch only.
    pub has_data: bool,
    /// Version of each region, 64 of them.
    pub versions: Box<[Version]>,
    /// Regions with at least one present block.
    pub allocated: Regions,
    /// Writes that gateways may still retry, oldest first.
    pub identities: Vec<RememberedWrite>,
}

/// A line of a store's inventory.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct InventoryEntry {
    /// Which extent.
    pub extent: ExtentId,
    /// The highest epoch accepted.
    pub accepted: Epoch,
    /// The replicas of the route last served under.
    pub replicas: Vec<ServerId>,
    /// False for what is left after `Free`.
    pub has_data: bool,
    /// Units that the extent takes.
    pub units: u32,
    /// A hash over the versions of all regions: equal for equal copies.
    pub versions_hash: u64,
}

/// How an operation ended.
pub type StoreOutcome = Result<StoreReply, StoreError>;

/// The answer to an operation that succeeded.
#[derive(Clone, Debug)]
pub enum StoreReply {
    /// To a read.
    Data(Payload),
    /// To `ReadRegion`.
    Image(RegionImage),
    /// To `Describe`; `None` without a record.
    Description(Option<ExtentDescription>),
    /// To `List`.
    Inventory(Vec<InventoryEntry>),
    /// To everything else.
    Done,
}

/// Why an operation failed. Unless it says otherwise, nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// No free unit or no free record left.
    NoSpace,
    /// A block's content does not match its checksum.
    BadBlock {
        /// Block within the extent.
        block: u16,
    },
    /// A region has another version than the operation replaces.
    VersionMismatch {
        /// The first such region.
        region: Region,
        /// The version that it has.
        found: Version,
    },
    /// A higher epoch was accepted.
    StaleEpoch {
        /// The accepted one.
        accepted: Epoch,
    },
    /// The operation needs a record, and there is none.
    NoRecord,
    /// The record has no room for another write identity.
    IdentitiesFull,
    /// The store stopped after an I/O error or damage; it answers nothing but this until it is opened again.
    Stopped,
}
