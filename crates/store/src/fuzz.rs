//! Entry points that take any bytes as what a disk holds: for fuzzers, and for tests that run their findings again.
//!
//! Each puts the bytes onto a copy of a small store that was in use when its server died, and then opens it, checks it
//! offline and uses it. Checksums are made to fit, unless the bytes ask for a wrong one, so that everything behind
//! them is reached. Whatever the bytes are:
//! * open gives a store or one fault of one line, and never panics or loops;
//! * the offline check agrees: a store that opens has no damaged metadata, and one that does not open has damage;
//! * a store that opened can be read and written, and after a shutdown it opens clean with the same extents.

use crate::check::{CheckDepth, FindingKind, check};
use crate::disk::{Disk, run_io};
use crate::extent::page;
use crate::format::FormatOptions;
use crate::journal::entry::{Change, Entry, Section, SectionKind};
use crate::journal::record::Header;
use crate::layout::{BLOCK, COUNTER_END, PAGE_BYTES, SUPERBLOCK_OFFSETS};
use crate::open::OpenOptions;
use crate::recover::Image;
use crate::sim_disk::SimDisk;
use crate::store::Store;
use crate::superblock::{JournalPoint, Superblock};
use crate::{codec::Decoder, superblock};
use evenkeel_types::checksum::crc32c;
use evenkeel_types::store_op::{
    Content, ExtentDescription, StoreOp, StoreOutcome, StoreReply, StoreTicket, StoreWrite,
};
use evenkeel_types::{
    AlignedBuf, BlockRange, Epoch, ExtentId, Incarnation, ServerId, Version, VolumeId, WriteId,
};
use smallvec::SmallVec;
use std::sync::LazyLock;

const GROUP: &str = "fuzz";
const SERVER: ServerId = ServerId(1);
const STORE_ID: u128 = 7;
/// Bytes of the disk: room for the smallest journal, and little more than the fewest units.
const DISK_BYTES: u64 = 8 << 20;
/// Records that one input gives at most.
const RECORDS_MAX: usize = 16;
/// Bytes of a record's entries at most: half of what a header area has room for.
const ENTRY_BYTES_MAX: usize = 32 << 10;
/// Slots whose pages an input may change.
const SLOTS: u8 = 4;
/// Extents that are read and written after an open.
const EXTENTS_USED_MAX: usize = 6;

/// A store as it is found after its server died.
struct Found {
    disk: SimDisk,
    superblock: Superblock,
    /// Behind the last record of its journal.
    head: JournalPoint,
}

static FOUND: LazyLock<Found> = LazyLock::new(found);

/// Bytes as records behind the last one of the journal. The first byte says whether they are put there as they are,
/// or as a list: for each record a byte of lies, two bytes of length, and the entries.
///
/// # Panics
/// If one of the promises of this module is broken.
pub fn fuzz_journal(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    let mut disk = FOUND.disk.clone();
    if mode & 1 == 1 {
        let room = (FOUND.superblock.geometry.journal_blocks - FOUND.head.position) as usize * BLOCK;
        let mut raw = AlignedBuf::zeroed(data.len().min(room).next_multiple_of(BLOCK));
        let len = data.len().min(raw.len());
        raw[..len].copy_from_slice(&data[..len]);
        put(&mut disk, FOUND.superblock.geometry.journal_block(FOUND.head.position), &raw);
    } else {
        write_records(&mut disk, data);
    }
    use_it(disk);
}

/// Bytes as changes of the newest superblock: an offset and a length, then what is to be there. The first byte says
/// whether its checksum is left as it was, whether the other copy gets the same, and whether the disk was cut.
///
/// # Panics
/// If one of the promises of this module is broken.
pub fn fuzz_superblock(data: &[u8]) {
    let Some((mode, mut data)) = data.split_first() else { return };
    let mut disk = FOUND.disk.clone();
    let mut block = FOUND.superblock.encode();
    while let Some(([at, len], rest)) = data.split_first_chunk::<2>() {
        let (bytes, left) = rest.split_at(usize::from(*len).min(rest.len()));
        let at = usize::from(*at);
        block[at..at + bytes.len()].copy_from_slice(bytes);
        data = left;
    }
    if mode & 1 == 0 {
        superblock::seal(&mut block);
    }
    put(&mut disk, FOUND.superblock.offset(), &block);
    if mode & 2 == 2 {
        SUPERBLOCK_OFFSETS.into_iter().for_each(|offset| put(&mut disk, offset, &block));
    }
    if mode & 4 == 4 {
        disk.truncate(DISK_BYTES / 2);
    }
    use_it(disk);
}

/// Bytes as changes of metadata pages: slot, place, two bytes of offset and one of length, then what is to be there.
/// The first byte says whether the checksums of the changed pages are made to fit.
///
/// # Panics
/// If one of the promises of this module is broken.
pub fn fuzz_pages(data: &[u8]) {
    let Some((mode, mut data)) = data.split_first() else { return };
    let mut disk = FOUND.disk.clone();
    while let Some(([slot, place, low, high, len], rest)) = data.split_first_chunk::<5>() {
        let at = usize::from(u16::from_le_bytes([*low, *high])) % PAGE_BYTES;
        let len = usize::from(*len).min(rest.len()).min(PAGE_BYTES - at);
        let (bytes, left) = rest.split_at(len);
        data = left;
        let offset = FOUND.superblock.geometry.page(u32::from(slot % SLOTS), place % 2);
        let mut page = AlignedBuf::zeroed(PAGE_BYTES);
        disk.read_at(offset, &mut page).expect("the page is on the disk");
        page[at..at + len].copy_from_slice(bytes);
        if mode & 1 == 0 {
            page::seal(&mut page);
        }
        put(&mut disk, offset, &page);
    }
    use_it(disk);
}

fn put(disk: &mut SimDisk, offset: u64, bytes: &[u8]) {
    disk.write_at(offset, bytes).and_then(|()| disk.flush()).expect("the place is on the disk");
}

fn write_records(disk: &mut SimDisk, mut data: &[u8]) {
    let mut at = FOUND.head;
    for _ in 0..RECORDS_MAX {
        let Some(([lies, low, high], rest)) = data.split_first_chunk::<3>() else { return };
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len()).min(ENTRY_BYTES_MAX);
        let (entries, left) = rest.split_at(len);
        data = left;
        let Some(next) = write_record(disk, at, *lies, entries) else { return };
        at = next;
    }
}

/// One record whose header, checksums and place fit, except for what `lies` says.
fn write_record(disk: &mut SimDisk, at: JournalPoint, lies: u8, entries: &[u8]) -> Option<JournalPoint> {
    let lie = |bit: u32| u64::from(lies >> bit & 1);
    let (entries, payload, entry_count) = match decode_all(entries) {
        Some(list) => encode_with_payload(list),
        None => (entries.to_vec(), Vec::new(), 1),
    };
    let header = Header {
        header_blocks: 0,
        payload_blocks: (payload.len() / BLOCK) as u32 + lie(0) as u32,
        entry_count: entry_count + lie(1) as u32,
        entry_bytes: 0,
        position: at.position,
        store_id: STORE_ID,
        mount: FOUND.superblock.mount - lie(2),
        sequence: at.sequence + lie(3),
        known_durable: at.sequence - 1 + 2 * lie(4),
        chain: at.chain ^ lie(5) as u32,
    };
    let (mut area, checksum) = header.encode(&entries);
    let blocks = (area.len() + payload.len()) / BLOCK;
    if blocks as u64 + u64::from(at.position) > u64::from(FOUND.superblock.geometry.journal_blocks) {
        return None;
    }
    area[8] ^= lie(6) as u8;
    let offset = FOUND.superblock.geometry.journal_block(at.position);
    put(disk, offset, &area);
    if lie(7) == 0 {
        put(disk, offset + area.len() as u64, &AlignedBuf::copy_of(&payload));
    }
    let position = (at.position + blocks as u32) % FOUND.superblock.geometry.journal_blocks;
    Some(JournalPoint { position, sequence: at.sequence + 1, chain: checksum })
}

fn decode_all(bytes: &[u8]) -> Option<Vec<Entry>> {
    let (mut from, mut entries) = (Decoder(bytes), Vec::new());
    while !from.is_empty() {
        entries.push(Entry::decode(&mut from)?);
    }
    Some(entries)
}

/// The entries with checksums of the blocks that go with them, those blocks, and the number of entries.
fn encode_with_payload(mut list: Vec<Entry>) -> (Vec<u8>, Vec<u8>, u32) {
    let (mut entries, mut payload) = (Vec::new(), Vec::new());
    for entry in &mut list {
        let sections: &mut [Section] = match &mut entry.change {
            Change::Write { sections, .. } => sections,
            Change::Install { sections, .. } => sections,
            Change::Accept { .. } | Change::Free | Change::Forget => &mut [],
        };
        {
            for section in sections.iter_mut().filter(|section| section.kind == SectionKind::Blocks) {
                for crc in &mut section.crcs {
                    let block = [payload.len() as u8; BLOCK];
                    *crc = crc32c(&block);
                    payload.extend_from_slice(&block);
                }
            }
        }
        entry.encode(&mut entries);
    }
    // What cannot be in one record is none.
    let blocks_max = crate::journal::record::RECORD_PAYLOAD_BLOCKS_MAX as usize;
    if payload.len() > blocks_max * BLOCK {
        return (entries, Vec::new(), list.len() as u32);
    }
    (entries, payload, list.len() as u32)
}

/// Opens, checks and uses what is on the disk.
fn use_it(mut disk: SimDisk) {
    let report = check(&disk, Some((GROUP, SERVER)), CheckDepth::Data);
    assert!(report.findings.iter().all(|finding| !finding.line.contains('\n')), "a finding is one line");
    let damage = |kind: FindingKind| {
        // A block of data, or one copy of the superblock, is no reason to refuse a store.
        !matches!(kind, FindingKind::TornJournal | FindingKind::BadBlock | FindingKind::SuperblockCopyDamaged)
    };
    let damaged = report.findings.iter().any(|finding| damage(finding.kind));
    let (mut store, _) = match Store::open(&mut disk, &OpenOptions::new(GROUP, SERVER)) {
        Ok(opened) => {
            assert!(!damaged, "opened in spite of {:?}", report.findings);
            opened
        }
        Err(fault) => {
            assert!(!fault.to_string().contains('\n'), "a fault is one line");
            assert!(damaged, "refused for {fault}, and the check found nothing");
            return;
        }
    };
    use_extents(&mut store, &mut disk);
    store.shutdown();
    run_io(&mut store, &mut disk);
    assert!(store.is_quiescent(), "a shutdown ends");
    if has_counted_to_the_end(&store) {
        return;
    }
    let before = store.inventory();
    let (store, report) = Store::open(&mut disk, &OpenOptions::new(GROUP, SERVER))
        .expect("a store that was closed opens again");
    assert!(report.clean && report.records_replayed == 0, "a store that was closed has nothing to replay");
    assert_eq!(store.inventory(), before);
}

/// Whether a counter that was read just below its end has passed it: then the next open refuses it.
fn has_counted_to_the_end(store: &Store) -> bool {
    let superblock = &store.superblock;
    let slots = (0..store.table.len()).map(|slot| store.table.slot(slot).generation);
    let counters =
        [superblock.generation, superblock.mount, superblock.incarnation.0, superblock.tail.sequence];
    counters.into_iter().chain(slots).any(|counter| counter >= COUNTER_END)
}

fn use_extents(store: &mut Store, disk: &mut SimDisk) {
    let mut extents: Vec<ExtentId> =
        store.inventory().into_iter().map(|entry| entry.extent).take(EXTENTS_USED_MAX).collect();
    extents.push(ExtentId { volume: VolumeId(99), index: 0 });
    for extent in extents {
        let description = match run(store, disk, StoreOp::Describe { extent }) {
            Ok(StoreReply::Description(description)) => description,
            other => panic!("a description is answered with {other:?}"),
        };
        if let Some(found) = &description {
            for region in found.allocated.iter() {
                // Data, or a block that does not match its checksum.
                let _ = run(store, disk, StoreOp::ReadRegion { extent, region });
            }
        }
        let _ = run(store, disk, write(extent, description.as_ref()));
        let blocks = BlockRange::new(0, 2).expect("two blocks are within an extent");
        let _ = run(store, disk, StoreOp::Read { extent, blocks });
    }
}

/// A write that an owner might send next.
fn write(extent: ExtentId, found: Option<&ExtentDescription>) -> StoreOp {
    let old = found.map_or(Version::NONE, |found| found.versions[0]);
    let epoch = found.map_or(Epoch(1), |found| found.accepted);
    StoreOp::Write(StoreWrite {
        extent,
        blocks: BlockRange::new(1, 1).expect("a block is within an extent"),
        content: Content::Data(AlignedBuf::copy_of(&[0x5a; BLOCK]).freeze()),
        version: Version { epoch, sequence: old.sequence.wrapping_add(1) },
        replaces: SmallVec::from_slice(&[old]),
        identity: None,
        forget_below: None,
    })
}

fn run(store: &mut Store, disk: &mut SimDisk, op: StoreOp) -> StoreOutcome {
    store.submit(StoreTicket(1), op);
    run_io(store, disk);
    let (_, outcome) = store.poll_done().expect("every operation is answered");
    outcome
}

/// A store with records in pages, others in the journal only, and whole regions out of place.
fn found() -> Found {
    let mut disk = SimDisk::new(DISK_BYTES, 1);
    let journal_bytes = crate::layout::JOURNAL_BYTES_MIN;
    let format = FormatOptions { store_id: STORE_ID, group: GROUP.to_owned(), server: SERVER, journal_bytes };
    Store::format(&mut disk, &format).expect("the disk is large enough");
    for life in 1..=2 {
        let (mut store, _) =
            Store::open(&mut disk, &OpenOptions::new(GROUP, SERVER)).expect("an intact store opens");
        for index in 0..3 {
            let extent = ExtentId { volume: VolumeId(1), index: index * life };
            let accept = StoreOp::Accept {
                extent,
                epoch: Epoch(1),
                replicas: SmallVec::from_slice(&[SERVER]),
                live: true,
                reserve_all: index == 2 && life == 1,
                forget_below: Vec::new(),
            };
            run(&mut store, &mut disk, accept).expect("an epoch is accepted");
            fill(&mut store, &mut disk, extent, life);
        }
        if life == 1 {
            store.shutdown();
            run_io(&mut store, &mut disk);
        }
    }
    let superblock = Superblock::read_copies(&disk)
        .and_then(|copies| Superblock::choose(copies, disk.len()))
        .expect("an intact store has a superblock")
        .0;
    let head = Image::load(&disk, superblock.clone(), &mut Err).expect("an intact store is read").head;
    Found { disk, superblock, head }
}

/// One block of the first region, and all of the second.
fn fill(store: &mut Store, disk: &mut SimDisk, extent: ExtentId, life: u32) {
    for (first, count) in [(3, 1), (16, 16)] {
        let blocks = BlockRange::new(first, count).expect("blocks of an extent");
        let old = match run(store, disk, StoreOp::Describe { extent }) {
            Ok(StoreReply::Description(Some(found))) => found.versions[usize::from(first / 16)],
            other => panic!("a description is answered with {other:?}"),
        };
        let version = Version { epoch: Epoch(1), sequence: old.sequence + 1 };
        let data = AlignedBuf::copy_of(&vec![life as u8; usize::from(count) * BLOCK]).freeze();
        let number = u64::from(first) + u64::from(life);
        let write = StoreWrite {
            extent,
            blocks,
            content: Content::Data(data),
            version,
            replaces: SmallVec::from_slice(&[old]),
            identity: Some(WriteId { gateway: SERVER, incarnation: Incarnation(1), number }),
            forget_below: None,
        };
        run(store, disk, StoreOp::Write(write)).expect("a write to an intact store");
    }
}
