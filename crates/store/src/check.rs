//! Verifying a store offline. Nothing is written; every finding is one line that says what and where.

use crate::disk::Disk;
use crate::extent::record::Record;
use crate::extent::table::Slot;
use crate::fault::StoreFault;
use crate::layout::{BLOCK, NO_UNIT};
use crate::recover::{Image, newest};
use crate::superblock::{Copy, Superblock};
use evenkeel_types::checksum::crc32c;
use evenkeel_types::geometry::{BLOCKS_PER_REGION, REGION_BYTES, REGIONS_PER_EXTENT};
use evenkeel_types::store_op::InventoryEntry;
use evenkeel_types::{AlignedBuf, ServerId};

/// Findings reported at most; the rest is counted.
const FINDINGS_MAX: usize = 10_000;

/// How much is verified.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CheckDepth {
    /// Superblock, journal and extent records.
    Metadata,
    /// Also every block of data against its checksum.
    Data,
}

/// What kind of problem was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FindingKind {
    /// The disk has no superblock, or that of another group or server.
    ForeignSuperblock,
    /// The store was written by a newer program.
    NewerFormat,
    /// One copy of the superblock is damaged; the other is intact.
    SuperblockCopyDamaged,
    /// No copy of the superblock can be used.
    SuperblockDamaged,
    /// The journal ends in an unfinished record: information, not damage.
    TornJournal,
    /// A journal record that was durable cannot be read, or makes no sense.
    CorruptJournal,
    /// An extent record cannot be read, or contradicts itself.
    BadPage,
    /// Two extents name one unit.
    UnitNamedTwice,
    /// An extent names a unit that does not exist.
    UnitOutOfRange,
    /// Blocks are present in a region without a unit.
    PresenceWithoutUnit,
    /// A block does not match its checksum.
    BadBlock,
    /// The disk is shorter than the store.
    Truncated,
    /// The disk reported an error.
    Unreadable,
}

/// One problem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What kind.
    pub kind: FindingKind,
    /// One line: what, where, the value found.
    pub line: String,
}

impl Finding {
    /// Whether it is damage, rather than information.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        self.kind != FindingKind::TornJournal
    }
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct CheckReport {
    /// The problems, in the order found; the first 10,000 of them.
    pub findings: Vec<Finding>,
    /// Problems that were left out.
    pub findings_left_out: u64,
    /// Extents with a record.
    pub extents: u64,
    /// Units that extents use.
    pub units_used: u64,
    /// Journal records that the next open would replay.
    pub records_to_replay: u64,
    /// Blocks whose checksums were verified.
    pub blocks_verified: u64,
}

impl CheckReport {
    /// Whether no damage was found.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        !self.findings.iter().any(Finding::is_damage)
    }

    fn add(&mut self, kind: FindingKind, line: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { kind, line });
        } else {
            self.findings_left_out += 1;
        }
    }

    fn add_fault(&mut self, fault: &StoreFault) {
        let kind = match fault {
            StoreFault::Disk { .. } => FindingKind::Unreadable,
            StoreFault::NotAStore { .. }
            | StoreFault::ForeignGroup { .. }
            | StoreFault::ForeignServer { .. }
            | StoreFault::OldStore { .. } => FindingKind::ForeignSuperblock,
            StoreFault::NewerFormat { .. } => FindingKind::NewerFormat,
            StoreFault::SuperblockDamaged
            | StoreFault::SuperblockInvalid { .. }
            | StoreFault::TooSmall { .. }
            | StoreFault::BadOption { .. } => FindingKind::SuperblockDamaged,
            StoreFault::Truncated { .. } => FindingKind::Truncated,
            StoreFault::JournalCorrupt { .. } | StoreFault::JournalInvalid { .. } => {
                FindingKind::CorruptJournal
            }
            StoreFault::BadPage { .. } | StoreFault::ExtentTwice { .. } => FindingKind::BadPage,
            StoreFault::UnitNamedTwice { .. } => FindingKind::UnitNamedTwice,
            StoreFault::UnitOutOfRange { .. } => FindingKind::UnitOutOfRange,
            StoreFault::PresenceWithoutUnit { .. } => FindingKind::PresenceWithoutUnit,
        };
        self.add(kind, fault.to_string());
    }
}

/// Verifies a store. `expected` names the group and server that it should belong to, if that is known.
#[must_use]
pub fn check(disk: &dyn Disk, expected: Option<(&str, ServerId)>, depth: CheckDepth) -> CheckReport {
    let mut report = CheckReport::default();
    if let Err(fault) = check_all(disk, expected, depth, &mut report) {
        report.add_fault(&fault);
    }
    report
}

fn check_all(
    disk: &dyn Disk,
    expected: Option<(&str, ServerId)>,
    depth: CheckDepth,
    report: &mut CheckReport,
) -> Result<(), StoreFault> {
    let copies = Superblock::read_copies(disk)?;
    let unusable = |copy: &Copy| !matches!(copy, Copy::Intact(_));
    let damaged: Vec<usize> = (0..copies.len()).filter(|copy| unusable(&copies[*copy])).collect();
    let (superblock, _) = Superblock::choose(copies, disk.len())?;
    for copy in damaged {
        let at = crate::layout::SUPERBLOCK_OFFSETS[copy];
        report.add(
            FindingKind::SuperblockCopyDamaged,
            format!("superblock copy at byte {at} is damaged; the next start mends it"),
        );
    }
    if let Some((group, server)) = expected {
        if superblock.group != group {
            let fault =
                StoreFault::ForeignGroup { found: superblock.group.clone(), expected: group.to_owned() };
            report.add_fault(&fault);
        }
        if superblock.server != server {
            report.add_fault(&StoreFault::ForeignServer { found: superblock.server, expected: server });
        }
    }
    let mut judge = |fault: StoreFault| {
        report.add_fault(&fault);
        Ok(())
    };
    let image = Image::load(disk, superblock, &mut judge)?;
    report.records_to_replay = image.records_replayed;
    report.units_used = u64::from(image.units.count() - image.units.free());
    report.extents = image.slots.iter().filter(|slot| slot.live).count() as u64;
    if image.torn_tail {
        let sequence = image.head.sequence;
        let line = format!("journal ends in an unfinished record {sequence}; nothing in it was acknowledged");
        report.add(FindingKind::TornJournal, line);
    }
    check_extents(&image, report);
    if depth >= CheckDepth::Data {
        check_data(disk, &image, report)?;
    }
    Ok(())
}

/// One record for each extent.
fn check_extents(image: &Image, report: &mut CheckReport) {
    let mut seen = std::collections::BTreeMap::new();
    for (number, slot) in (0u32..).zip(&image.slots) {
        if slot.live && seen.insert(slot.extent, number).is_some() {
            report.add_fault(&StoreFault::ExtentTwice { extent: slot.extent, slot: number });
        }
    }
}

/// Every present block against its checksum, except those that the journal holds, which replay verified.
fn check_data(disk: &dyn Disk, image: &Image, report: &mut CheckReport) -> Result<(), StoreFault> {
    let geometry = image.superblock.geometry;
    let mut places = AlignedBuf::zeroed(crate::layout::SLOT_BYTES as usize);
    for (number, slot) in (0u32..).zip(&image.slots) {
        if !slot.live {
            continue;
        }
        if let Some(touched) = image.touched.get(&number) {
            check_record(disk, image, number, &touched.record, report);
            continue;
        }
        let read = disk.read_at(geometry.page(number, 0), &mut places);
        read.map_err(|source| StoreFault::Disk { doing: "reading an extent record", source })?;
        if let (Some(page), _) = newest(&places, image.superblock.store_id, number) {
            check_record(disk, image, number, &page.record, report);
        }
    }
    Ok(())
}

fn check_record(disk: &dyn Disk, image: &Image, slot: u32, record: &Record, report: &mut CheckReport) {
    let geometry = image.superblock.geometry;
    let mut buf = AlignedBuf::zeroed(REGION_BYTES as usize);
    for region in 0..REGIONS_PER_EXTENT {
        let (unit, present) = (record.units[region], record.present[region]);
        if present == 0 || unit == NO_UNIT || unit >= geometry.units {
            continue;
        }
        let offset = geometry.unit_block(unit, 0);
        if let Err(error) = disk.read_at(offset, &mut buf) {
            let line = format!("extent {} region {region} (unit {unit}): {error}", record.extent);
            report.add(FindingKind::Unreadable, line);
            continue;
        }
        for (within, data) in (0..BLOCKS_PER_REGION).zip(buf.chunks_exact(BLOCK)) {
            let block = region as u16 * BLOCKS_PER_REGION + within;
            if present >> within & 1 == 0 || image.sources.contains_key(&(slot, block)) {
                continue;
            }
            report.blocks_verified += 1;
            let (found, expected) = (crc32c(data), record.crcs[block as usize]);
            if found != expected {
                let at = offset + u64::from(within) * BLOCK as u64;
                let line = format!(
                    "extent {} block {block} (unit {unit}, byte {at}) has checksum {found:08x}, expected {expected:08x}",
                    record.extent
                );
                report.add(FindingKind::BadBlock, line);
            }
        }
    }
}

/// The group and server that a store belongs to, by its superblock.
///
/// # Errors
/// When the superblock cannot be read.
pub fn belongs_to(disk: &dyn Disk) -> Result<(String, ServerId), StoreFault> {
    let (superblock, _) = Superblock::choose(Superblock::read_copies(disk)?, disk.len())?;
    Ok((superblock.group, superblock.server))
}

/// The extent records of a store, in order, read offline; problems of single records are left to [`check`].
///
/// # Errors
/// When the superblock, the table or the journal cannot be read at all.
pub fn inventory(disk: &dyn Disk) -> Result<Vec<InventoryEntry>, StoreFault> {
    let (superblock, _) = Superblock::choose(Superblock::read_copies(disk)?, disk.len())?;
    let image = Image::load(disk, superblock, &mut |_| Ok(()))?;
    let mut entries: Vec<_> = image.slots.iter().filter(|slot| slot.live).map(Slot::inventory).collect();
    entries.sort_unstable_by_key(|entry| entry.extent);
    Ok(entries)
}
