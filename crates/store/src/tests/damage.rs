//! Damage: what does not fit together is named, and refused.

use super::harness::*;
use crate::journal::entry::{Change, Entry, Section, SectionKind};
use crate::journal::record::Header;
use crate::layout::{Geometry, PAGE_BYTES, SLOT_BYTES, SUPERBLOCK_OFFSETS};
use crate::{CheckDepth, Disk, FindingKind, SimDisk, StoreFault, check, inventory};
use evenkeel_types::store_op::{StoreError, StoreOp};
use evenkeel_types::{AlignedBuf, Region, Version};
use smallvec::SmallVec;

#[test]
fn foreign_newer_and_truncated_stores_are_named() {
    let mut disk = SimDisk::new(64 * MIB, 1);
    assert!(matches!(open_fault(&disk), StoreFault::NotAStore { .. }));
    assert_eq!(kinds(&disk), [FindingKind::ForeignSuperblock]);
    disk = three_records().disk;
    let mut short = disk.clone();
    short.truncate(40 * MIB);
    assert!(matches!(open_fault(&short), StoreFault::Truncated { .. }));
    assert_eq!(kinds(&short), [FindingKind::Truncated]);
    for copy in SUPERBLOCK_OFFSETS {
        let mut block = block_at(&disk, copy);
        block[8] = 2;
        let checksum = crate::superblock::checksum_without(&block, 12);
        block[12..16].copy_from_slice(&checksum.to_le_bytes());
        put(&mut disk, copy, &block);
    }
    assert_eq!(open_fault(&disk), StoreFault::NewerFormat { found: 2, known: 1 });
    assert_eq!(kinds(&disk), [FindingKind::NewerFormat]);
    let report = check(&three_records().disk, Some(("other", SERVER)), CheckDepth::Metadata);
    assert_eq!(report.findings[0].kind, FindingKind::ForeignSuperblock);
    assert!(!report.is_sound());
}

fn geometry() -> Geometry {
    Geometry::for_disk(64 * MIB, MIB).unwrap()
}

/// A closed store with two extents: slots 0 and 1.
fn closed() -> SimDisk {
    let mut h = Harness::new(64 * MIB);
    for index in 0..2 {
        h.write(extent(index), blocks(0, 20), pattern(1 + index as u8, 20)).unwrap();
    }
    h.checkpoint();
    for index in 0..2 {
        h.write(extent(index), blocks(40, 1), pattern(1 + index as u8, 1)).unwrap();
    }
    h.close()
}

#[test]
fn a_damaged_metadata_page_is_never_replaced_by_its_predecessor() {
    for place in 0..2 {
        let mut disk = closed();
        disk.rot(geometry().page(1, place) + 3000, 4);
        assert_eq!(open_fault(&disk), StoreFault::BadPage { slot: 1 });
        assert_eq!(kinds(&disk), [FindingKind::BadPage]);
    }
}

#[test]
fn check_names_swapped_units_and_flipped_bits() {
    let disk = closed();
    assert_eq!(kinds(&disk), []);
    let report = check(&disk, None, CheckDepth::Data);
    assert_eq!((report.extents, report.units_used, report.blocks_verified), (2, 6, 42));
    assert_eq!(inventory(&disk).unwrap().len(), 2);
    let mut flipped = disk.clone();
    let place = find_block(&disk, &pattern(1, 1)).into_iter().next_back().unwrap();
    flipped.rot(place + 2000, 0);
    assert_eq!(kinds(&flipped), [FindingKind::BadBlock]);
    assert!(check(&flipped, None, CheckDepth::Metadata).is_sound());
    let mut swapped = disk.clone();
    let (first, second) = (geometry().unit_block(0, 0), geometry().unit_block(64, 0));
    let (a, b) = (block_at(&disk, first), block_at(&disk, second));
    put(&mut swapped, first, &b);
    put(&mut swapped, second, &a);
    assert_eq!(kinds(&swapped), [FindingKind::BadBlock, FindingKind::BadBlock]);
}

/// Changes the newer page of a slot and gives it a right checksum.
fn forge_page(disk: &mut SimDisk, slot: u32, change: impl Fn(&mut crate::extent::record::Record)) {
    let mut places = AlignedBuf::zeroed(SLOT_BYTES as usize);
    disk.read_at(geometry().page(slot, 0), &mut places).unwrap();
    let (Some(mut page), _) = crate::recover::newest(&places, STORE_ID, slot) else { panic!() };
    change(&mut page.record);
    let mut bytes = vec![0; PAGE_BYTES];
    crate::extent::page::encode(&page.record, STORE_ID, slot, page.generation, &mut bytes);
    let place = crate::extent::page::place_of(page.generation);
    put(disk, geometry().page(slot, place), &bytes);
}

#[test]
fn records_that_contradict_each_other_are_named() {
    let mut disk = closed();
    forge_page(&mut disk, 1, |record| record.units[0] = 0);
    assert!(matches!(open_fault(&disk), StoreFault::UnitNamedTwice { unit: 0, slot: 1 }));
    assert!(kinds(&disk).contains(&FindingKind::UnitNamedTwice));
    let mut disk = closed();
    forge_page(&mut disk, 0, |record| record.units[1] = 1_000_000);
    assert!(matches!(open_fault(&disk), StoreFault::UnitOutOfRange { unit: 1_000_000, slot: 0 }));
    assert!(kinds(&disk).contains(&FindingKind::UnitOutOfRange));
    let mut disk = closed();
    forge_page(&mut disk, 0, |record| record.present[9] = 1);
    assert!(matches!(open_fault(&disk), StoreFault::PresenceWithoutUnit { slot: 0, .. }));
    assert!(kinds(&disk).contains(&FindingKind::PresenceWithoutUnit));
    let mut disk = closed();
    forge_page(&mut disk, 1, |record| record.extent = extent(0));
    assert!(kinds(&disk).contains(&FindingKind::BadPage));
    assert!(Harness::open(disk).is_err());
}

#[test]
fn an_entry_that_makes_no_sense_is_refused_though_its_checksum_is_right() {
    let h = three_records();
    let (store, next) = (&h.store, h.store.journal.point());
    let header = Header {
        header_blocks: 0,
        entry_bytes: 0,
        payload_blocks: 0,
        entry_count: 1,
        position: next.position,
        store_id: STORE_ID,
        mount: store.superblock.mount,
        sequence: next.sequence,
        known_durable: next.sequence - 1,
        chain: next.chain,
    };
    let place = store.geometry.journal_block(next.position);
    let refused = |entry: &[u8]| {
        let mut disk = h.disk.clone();
        put(&mut disk, place, &header.encode(entry).0);
        assert!(kinds(&disk).contains(&FindingKind::CorruptJournal));
        open_fault(&disk)
    };
    let beyond = Section {
        region: Region::new(0).unwrap(),
        kind: SectionKind::Switch,
        mask: 1,
        unit: store.geometry.units,
        crcs: SmallVec::from_slice(&[0]),
    };
    let write = Change::Write {
        version: version(9),
        identity: None,
        forget_below: None,
        sections: SmallVec::from_vec(vec![beyond]),
    };
    for (slot, index, change, why) in [
        (store.geometry.slots, 0, Change::Free, "a slot beyond the table's end"),
        (0, 1, Change::Free, "a slot that another extent has"),
        (0, 0, write, "a unit beyond the store's end"),
    ] {
        let mut bytes = Vec::new();
        Entry { slot, extent: extent(index), change }.encode(&mut bytes);
        let fault = refused(&bytes);
        assert!(matches!(fault, StoreFault::JournalInvalid { what, .. } if what == why), "{fault}");
        bytes[4] = 77;
        let fault = refused(&bytes);
        assert!(matches!(fault, StoreFault::JournalInvalid { .. }), "no kind of change: {fault}");
    }
}

/// A block that cannot be read at one store cannot be read at another either that got its region, until it is written.
#[test]
fn an_image_names_its_bad_blocks_and_they_stay_bad_where_it_is_put() {
    let mut from = Harness::new(64 * MIB);
    from.write(extent(0), blocks(16, 16), pattern(3, 16)).unwrap();
    from.write(extent(0), blocks(20, 1), pattern(9, 1)).unwrap();
    from.checkpoint();
    let mut disk = from.close();
    let place = *find_block(&disk, &pattern(9, 1)).last().unwrap();
    disk.rot(place + 2000, 0);
    let mut from = Harness::open(disk).unwrap();
    let image = from.image(region(1));
    assert_eq!((image.version, image.present, image.bad), (version(2), u16::MAX, 1 << 4));
    let mut content = pattern(3, 16).to_vec();
    content[4 * 4096..5 * 4096].fill(0);
    assert!(
        image.data.clone().into_bytes()[..] == content[..],
        "good blocks as they are, zeros for the bad one"
    );

    let mut to = Harness::new(64 * MIB);
    to.accept(extent(0), 1, false).unwrap();
    let install =
        StoreOp::InstallRegion { extent: extent(0), region: region(1), replaces: Version::NONE, image };
    to.outcome(install).unwrap();
    for _ in 0..2 {
        assert_eq!(to.read(extent(0), blocks(16, 16)).unwrap_err(), StoreError::BadBlock { block: 20 });
        assert_eq!(to.read(extent(0), blocks(16, 4)).unwrap(), pattern(3, 4));
        assert_eq!(to.image(region(1)).bad, 1 << 4);
        to = to.crash();
    }
    to.write(extent(0), blocks(20, 1), pattern(4, 1)).unwrap();
    assert_eq!(to.read(extent(0), blocks(20, 1)).unwrap(), pattern(4, 1));
    assert_eq!(to.image(region(1)).bad, 0);
}
