//! Making a store on a disk.

use crate::disk::Disk;
use crate::fault::{BadOptionSnafu, DiskSnafu, StoreFault};
use crate::layout::{Geometry, JOURNAL_BYTES_DEFAULT, JOURNAL_OFFSET};
use crate::store::Store;
use crate::superblock::{GROUP_NAME_BYTES_MAX, JournalPoint, Superblock};
use evenkeel_types::{AlignedBuf, Incarnation, ServerId};
use snafu::{ResultExt, ensure};

/// Bytes of zeros written at once.
const ZEROS_BYTES: u64 = 1 << 20;

/// How to format a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormatOptions {
    /// A number that no other store has and no earlier store on this disk had: random, from the caller.
    pub store_id: u128,
    /// Name of the group, at most [`GROUP_NAME_BYTES_MAX`] bytes.
    pub group: String,
    /// The server whose store it is.
    pub server: ServerId,
    /// Size of the journal in bytes, in steps of 64 KiB.
    pub journal_bytes: u64,
}

impl FormatOptions {
    /// A journal of the usual size, or of an eighth of a small disk.
    #[must_use]
    pub fn new(store_id: u128, group: impl Into<String>, server: ServerId, disk_bytes: u64) -> Self {
        let step = 64 << 10;
        let eighth = (disk_bytes / 8 / step * step).max(crate::layout::JOURNAL_BYTES_MIN);
        Self { store_id, group: group.into(), server, journal_bytes: JOURNAL_BYTES_DEFAULT.min(eighth) }
    }

    /// Bytes at the start of a disk of this length that hold everything but user data: what a sparse disk should have
    /// space for from the start, so that a lack of it later is met by user data, which can be refused.
    ///
    /// # Errors
    /// [`StoreFault::TooSmall`], [`StoreFault::BadOption`].
    pub fn metadata_bytes(&self, disk_bytes: u64) -> Result<u64, StoreFault> {
        Ok(Geometry::for_disk(disk_bytes, self.journal_bytes)?.units_offset)
    }
}

impl Store {
    /// Makes an empty store; everything that was on the disk is lost. The journal is written with zeros; extent
    /// records and units are not touched.
    ///
    /// # Errors
    /// [`StoreFault::TooSmall`], [`StoreFault::BadOption`], or the disk's error.
    pub fn format(disk: &mut dyn Disk, options: &FormatOptions) -> Result<(), StoreFault> {
        let len = options.group.len();
        let group_ok = (1..=GROUP_NAME_BYTES_MAX).contains(&len);
        let bounds = "a name of 1 to 64 bytes";
        ensure!(group_ok, BadOptionSnafu { option: "group length", value: len as u64, bounds });
        let geometry = Geometry::for_disk(disk.len(), options.journal_bytes)?;
        // The old superblocks go first: a disk whose formatting was cut short is no store.
        let doing = "formatting";
        let zeros = AlignedBuf::zeroed(ZEROS_BYTES as usize);
        disk.write_at(0, &zeros[..JOURNAL_OFFSET as usize]).context(DiskSnafu { doing })?;
        disk.flush().context(DiskSnafu { doing })?;
        let end = JOURNAL_OFFSET + geometry.journal_bytes();
        let mut at = JOURNAL_OFFSET;
        while at < end {
            let len = ZEROS_BYTES.min(end - at);
            disk.write_at(at, &zeros[..len as usize]).context(DiskSnafu { doing })?;
            at += len;
        }
        disk.flush().context(DiskSnafu { doing })?;
        let mut superblock = Superblock {
            generation: 0,
            store_id: options.store_id,
            server: options.server,
            group: options.group.clone(),
            geometry,
            slots_used: 0,
            mount: 0,
            incarnation: Incarnation(0),
            tail: JournalPoint { position: 0, sequence: 1, chain: 0 },
            known_durable: 0,
            clean: true,
        };
        for _ in 0..2 {
            superblock.generation += 1;
            superblock.write(disk)?;
        }
        Ok(())
    }
}
