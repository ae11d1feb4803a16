//! Where things are on the disk.
//!
//! ```text
//! 0        64 KiB    128 KiB                                             (all boundaries are multiples of 64 KiB)
//! | superblock A | superblock B | journal ring | extent record table | units ........................ |
//! ```

use crate::fault::{BadOptionSnafu, StoreFault, TooSmallSnafu};
use evenkeel_types::geometry::{BLOCK_BYTES, REGION_BYTES};
use snafu::ensure;

/// Bytes of a disk block, as `usize` for slices.
pub(crate) const BLOCK: usize = BLOCK_BYTES as usize;
/// Blocks of a unit (and of a region).
pub(crate) const UNIT_BLOCKS: u32 = REGION_BYTES / BLOCK_BYTES;
/// Stands for "no unit" in unit maps.
pub(crate) const NO_UNIT: u32 = u32::MAX;
/// Where the two copies of the superblock lie, in bytes.
pub(crate) const SUPERBLOCK_OFFSETS: [u64; 2] = [0, REGION_BYTES as u64];
/// Where the journal begins, in bytes.
pub(crate) const JOURNAL_OFFSET: u64 = 2 * REGION_BYTES as u64;
/// Generations, mounts, incarnations and sequences are below this, so that counting on from one that was read can never
/// overflow. Counting from 1 no store gets there.
pub(crate) const COUNTER_END: u64 = u64::MAX / 2;
/// Bytes of one extent record page.
pub(crate) const PAGE_BYTES: usize = 8192;
/// Bytes of a slot: two places of one page each.
pub(crate) const SLOT_BYTES: u64 = 2 * PAGE_BYTES as u64;
/// Units that share one slot at least: a store has four slots for each extent's worth of units, as extents are thin.
const UNITS_PER_SLOT: u64 = 16;
/// Slots of the smallest store.
const SLOTS_MIN: u64 = 64;
/// Units of the smallest store.
const UNITS_MIN: u64 = 64;
/// Smallest journal, in bytes: enough for tests; a real disk has [`JOURNAL_BYTES_DEFAULT`] or more.
pub const JOURNAL_BYTES_MIN: u64 = 1 << 20;
/// Largest journal, in bytes: replay reads all of it.
pub const JOURNAL_BYTES_MAX: u64 = 16 << 30;
/// Journal of a real disk, in bytes.
pub const JOURNAL_BYTES_DEFAULT: u64 = 1 << 30;

/// Positions and sizes of a store, fixed when it is formatted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Geometry {
    /// Blocks of the journal ring.
    pub(crate) journal_blocks: u32,
    /// Where the extent record table begins, in bytes.
    pub(crate) table_offset: u64,
    /// Slots in the table.
    pub(crate) slots: u32,
    /// Where the first unit begins, in bytes.
    pub(crate) units_offset: u64,
    /// Number of units.
    pub(crate) units: u32,
}

impl Geometry {
    /// The layout of a new store on a disk of `disk_bytes`.
    pub(crate) fn for_disk(disk_bytes: u64, journal_bytes: u64) -> Result<Self, StoreFault> {
        let region = u64::from(REGION_BYTES);
        let bounds_ok = (JOURNAL_BYTES_MIN..=JOURNAL_BYTES_MAX).contains(&journal_bytes);
        ensure!(
            bounds_ok && journal_bytes.is_multiple_of(region),
            BadOptionSnafu {
                option: "journal_bytes",
                value: journal_bytes,
                bounds: "between 1 MiB and 16 GiB, in steps of 64 KiB"
            }
        );
        let fixed = JOURNAL_OFFSET + journal_bytes + SLOTS_MIN * SLOT_BYTES;
        let needed = fixed + region + UNITS_MIN * (region + SLOT_BYTES);
        ensure!(disk_bytes >= needed, TooSmallSnafu { found: disk_bytes, needed });
        let left = disk_bytes - fixed - region;
        let per_group = UNITS_PER_SLOT * region + SLOT_BYTES;
        let groups =
            (left / per_group).max(UNITS_MIN / UNITS_PER_SLOT).min(u64::from(u32::MAX) / UNITS_PER_SLOT - 1);
        let slots = groups + SLOTS_MIN;
        let table_offset = JOURNAL_OFFSET + journal_bytes;
        let units_offset = (table_offset + slots * SLOT_BYTES).next_multiple_of(region);
        Ok(Self {
            journal_blocks: (journal_bytes / u64::from(BLOCK_BYTES)) as u32,
            table_offset,
            slots: slots as u32,
            units_offset,
            units: (groups * UNITS_PER_SLOT) as u32,
        })
    }

    /// Bytes of the journal.
    pub(crate) const fn journal_bytes(&self) -> u64 {
        self.journal_blocks as u64 * BLOCK_BYTES as u64
    }

    /// The first byte behind the last unit.
    pub(crate) const fn end(&self) -> u64 {
        self.units_offset + self.units as u64 * REGION_BYTES as u64
    }

    /// Where a block of the journal ring lies, in bytes.
    pub(crate) const fn journal_block(&self, position: u32) -> u64 {
        JOURNAL_OFFSET + position as u64 * BLOCK_BYTES as u64
    }

    /// Where one of the two places of a slot lies, in bytes.
    pub(crate) const fn page(&self, slot: u32, place: u8) -> u64 {
        self.table_offset + slot as u64 * SLOT_BYTES + place as u64 * PAGE_BYTES as u64
    }

    /// Where a block of a unit lies, in bytes.
    pub(crate) const fn unit_block(&self, unit: u32, block: u32) -> u64 {
        self.units_offset + (unit as u64 * UNIT_BLOCKS as u64 + block as u64) * BLOCK_BYTES as u64
    }
}
