//! Why a store cannot be formatted or opened. One line each: what, the value found, what to do.

use crate::disk::DiskError;
use evenkeel_types::ServerId;
use snafu::Snafu;

/// Why a store cannot be formatted or opened.
#[derive(Clone, PartialEq, Eq, Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum StoreFault {
    /// The disk reported an error.
    #[snafu(display("{source} while {doing}; check the disk and its connection"))]
    Disk {
        /// What the store was doing.
        doing: &'static str,
        /// The disk's error.
        source: DiskError,
    },
    /// The disk has no superblock of a store.
    #[snafu(display("no store on this disk (first bytes {found}); format it, or give the right path"))]
    NotAStore {
        /// The first eight bytes, in hex.
        found: String,
    },
    /// Both copies of the superblock fail their checksum.
    #[snafu(display(
        "both copies of the superblock are damaged; restore the disk, or format it and let the group sync it"
    ))]
    SuperblockDamaged,
    /// The superblock is intact but its numbers contradict each other.
    #[snafu(display(
        "superblock field {field} is {value}, which is impossible; the store was written by a faulty program"
    ))]
    SuperblockInvalid {
        /// Name of the field, as in the format's description.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// The store was written by a newer program.
    #[snafu(display("store format {found} is newer than {known}, the newest known; use a newer evenkeel"))]
    NewerFormat {
        /// Version in the superblock.
        found: u32,
        /// Newest version that this program reads.
        known: u32,
    },
    /// The store belongs to another group.
    #[snafu(display(
        "store belongs to group {found:?}, expected {expected:?}; give the right disk or group"
    ))]
    ForeignGroup {
        /// Group in the superblock.
        found: String,
        /// Group that the caller expects.
        expected: String,
    },
    /// The store belongs to another server.
    #[snafu(display("store belongs to server {found}, expected {expected}; give the right disk or server"))]
    ForeignServer {
        /// Server in the superblock.
        found: ServerId,
        /// Server that the caller expects.
        expected: ServerId,
    },
    /// The server has started since with another store.
    #[snafu(display(
        "store was last at start {found}, but start {known} is on record: it is an old copy; put the present one back"
    ))]
    OldStore {
        /// Incarnation in the superblock.
        found: u64,
        /// Incarnation that the server is known to have reached.
        known: u64,
    },
    /// The disk is shorter than when it was formatted.
    #[snafu(display("disk has {found} bytes, the store needs {needed}: it was truncated; restore it"))]
    Truncated {
        /// Length now, in bytes.
        found: u64,
        /// Length that the superblock asks for, in bytes.
        needed: u64,
    },
    /// A journal record that was durable cannot be read: acknowledged writes are missing.
    #[snafu(display(
        "journal record {sequence} is damaged but was durable (up to {durable}); sync this server from its peers"
    ))]
    JournalCorrupt {
        /// First sequence that cannot be replayed.
        sequence: u64,
        /// Highest sequence known to have been durable.
        durable: u64,
    },
    /// A journal record passes its checksums and makes no sense.
    #[snafu(display(
        "journal record {sequence} is intact but names {what}; the store was written by a faulty program"
    ))]
    JournalInvalid {
        /// Sequence of the record.
        sequence: u64,
        /// What is wrong in it.
        what: &'static str,
    },
    /// An extent record cannot be read from either of its places, or the newer one may be lost.
    #[snafu(display("metadata page {slot} is damaged; sync this server from its peers"))]
    BadPage {
        /// Slot of the record.
        slot: u32,
    },
    /// Two extent records name the same unit.
    #[snafu(display(
        "unit {unit} is named by two extent records (slot {slot}); sync this server from its peers"
    ))]
    UnitNamedTwice {
        /// The unit.
        unit: u32,
        /// Slot of the second record that names it.
        slot: u32,
    },
    /// An extent record names a unit that does not exist.
    #[snafu(display(
        "metadata page {slot} names unit {unit}, beyond the store's end; sync this server from its peers"
    ))]
    UnitOutOfRange {
        /// The unit.
        unit: u32,
        /// Slot of the record.
        slot: u32,
    },
    /// An extent record says that blocks are present in a region without a unit.
    #[snafu(display(
        "extent {extent} (slot {slot}) has present blocks without a unit; sync this server from its peers"
    ))]
    PresenceWithoutUnit {
        /// Slot of the record.
        slot: u32,
        /// The extent.
        extent: evenkeel_types::ExtentId,
    },
    /// Two slots hold records of one extent.
    #[snafu(display("extent {extent} has two records (slot {slot}); sync this server from its peers"))]
    ExtentTwice {
        /// The extent.
        extent: evenkeel_types::ExtentId,
        /// Slot of the second record.
        slot: u32,
    },
    /// The disk cannot hold a store with these options.
    #[snafu(display(
        "disk has {found} bytes, a store with this journal needs at least {needed}; use a larger disk"
    ))]
    TooSmall {
        /// Length of the disk in bytes.
        found: u64,
        /// Least length in bytes.
        needed: u64,
    },
    /// An option of the format is out of its bounds.
    #[snafu(display("{option} is {value}; it must be {bounds}"))]
    BadOption {
        /// Name of the option.
        option: &'static str,
        /// The value given.
        value: u64,
        /// The bounds in words.
        bounds: &'static str,
    },
}
