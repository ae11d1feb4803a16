//! Crashes: what recovery must get right, each as one scenario.

use super::harness::*;
use crate::journal::record::Header;
use crate::layout::SUPERBLOCK_OFFSETS;
use crate::{CrashKind, DiskIo, FindingKind, IoKind, SimDisk, Store, StoreFault};
use evenkeel_types::Version;
use evenkeel_types::store_op::{Content, StoreError, StoreOp};
use smallvec::SmallVec;

#[test]
fn a_torn_tail_is_cut_not_replayed() {
    let mut h = three_records();
    let op = h.write_op(extent(0), blocks(0, 2), Content::Data(pattern(99, 2)));
    h.submit(op);
    let ios = h.poll();
    let IoKind::Write { offset, pieces, .. } = &ios[0].kind else { panic!() };
    // The header and one of the two blocks arrived.
    let mut disk = h.disk;
    put(&mut disk, *offset, &pieces[0]);
    put(&mut disk, *offset + 4096, &pieces[1][..4096]);
    assert_eq!(kinds(&disk), [FindingKind::TornJournal]);
    let mut h = Harness::open(disk).unwrap();
    assert!(h.report.torn_tail && !h.report.clean);
    assert_eq!(h.report.records_replayed, 3);
    assert_eq!(h.read(extent(0), blocks(0, 1)).unwrap(), pattern(10, 1));
    assert_eq!(h.describe(extent(0)).unwrap().versions[0], version(3));
}

#[test]
fn a_bad_record_below_a_known_durable_one_is_corruption() {
    for (damaged, at) in [(0, 200), (1, 200), (1, 4096 + 7)] {
        let mut disk = three_records().disk;
        let (offset, header) = records(&disk)[damaged];
        disk.rot(offset + at, 1);
        let (sequence, durable) = (header.sequence, header.sequence.max(2));
        assert_eq!(open_fault(&disk), StoreFault::JournalCorrupt { sequence, durable });
        let found = kinds(&disk);
        assert!(found.contains(&FindingKind::CorruptJournal) && !found.contains(&FindingKind::TornJournal));
    }
}

#[test]
fn the_superblock_knows_what_was_durable_when_it_was_written() {
    let mut h = three_records();
    // A checkpoint starts with three records behind it; a fourth is durable before its superblock is written.
    let op = h.write_op(extent(0), blocks(5, 1), Content::Data(pattern(50, 1)));
    h.store.maybe_checkpoint();
    h.submit(op);
    h.run();
    let last = *records(&h.disk).last().unwrap();
    h.disk.rot(last.0 + 300, 0);
    let StoreFault::JournalCorrupt { sequence, .. } = open_fault(&h.disk) else { panic!() };
    assert_eq!(sequence, last.1.sequence);
}

#[test]
fn a_stale_lap_behind_a_cut_is_not_replayed() {
    // One lap of records of two blocks each; the second lap ends in the middle of them.
    let mut h = Harness::new(64 * MIB);
    let mut sequence = 0;
    let mut write = |h: &mut Harness| {
        let replaces = if sequence == 0 { Version::NONE } else { version(sequence) };
        sequence += 1;
        h.outcome(block_write(extent(0), 0, sequence as u8, sequence, replaces)).unwrap();
    };
    for _ in 0..128 + 10 {
        write(&mut h);
    }
    h.run();
    let mut h = h.crash();
    assert_eq!(h.read(extent(0), blocks(0, 1)).unwrap(), pattern(138, 1));
    assert_eq!(h.describe(extent(0)).unwrap().versions[0], version(138));
    let found = records(&h.disk);
    assert!(found.iter().any(|(_, header)| header.sequence < 128), "old records are still there");
    // A record of an older mount with the very next sequence and chain is a stale one as well.
    let (store, next) = (&h.store, h.store.journal.point());
    let mut stale = Header {
        header_blocks: 0,
        entry_bytes: 0,
        payload_blocks: 0,
        entry_count: 0,
        position: next.position,
        store_id: store.superblock.store_id,
        mount: store.superblock.mount - 1,
        sequence: next.sequence,
        known_durable: next.sequence - 1,
        chain: next.chain,
    };
    let mut disk = h.disk.clone();
    let offset = store.geometry.journal_block(next.position);
    put(&mut disk, offset, &stale.encode(&[]).0);
    assert_eq!(Harness::open(disk.clone()).unwrap().report.records_replayed, 0);
    stale.mount += 1;
    put(&mut disk, offset, &stale.encode(&[]).0);
    assert_eq!(Harness::open(disk).unwrap().report.records_replayed, 1, "only the mount made the difference");
}

/// Runs a checkpoint and crashes after each number of its requests, in each way; `check` judges each outcome.
fn crash_at_each_request_of_a_checkpoint(disk: &SimDisk, judge: impl Fn(Harness)) {
    for kind in [CrashKind::LoseAll, CrashKind::KeepAll, CrashKind::Mix] {
        for requests in 0.. {
            let mut h = Harness::open(disk.clone()).unwrap();
            prepare(&mut h);
            h.store.maybe_checkpoint();
            let mut left = requests;
            let mut done = false;
            while !done {
                let ios: Vec<DiskIo> = h.poll();
                done = ios.is_empty();
                for io in ios {
                    if left == 0 {
                        done = true;
                        break;
                    }
                    left -= 1;
                    h.complete(&io);
                }
            }
            let finished = left > 0;
            h.disk.crash_with(kind);
            judge(Harness::open(h.disk).unwrap());
            if finished {
                break;
            }
        }
    }
}

/// Overwrites blocks of two extents that have content in place.
fn prepare(h: &mut Harness) {
    for index in 0..2 {
        for block in [1, 3, 4] {
            h.write(extent(index), blocks(block, 1), pattern(60 + block as u8, 1)).unwrap();
        }
        h.zero(extent(index), blocks(16, 16)).unwrap();
    }
    h.write(extent(2), blocks(0, 1), pattern(1, 1)).unwrap();
}

#[test]
fn an_overwrite_in_place_that_is_cut_short_leaves_no_unreadable_block() {
    let mut h = Harness::new(64 * MIB);
    for index in 0..2 {
        h.write(extent(index), blocks(0, 64), pattern(7, 64)).unwrap();
        h.write(extent(index), blocks(5, 2), pattern(8, 2)).unwrap();
    }
    h.checkpoint();
    crash_at_each_request_of_a_checkpoint(&h.disk, |mut h| {
        for index in 0..2 {
            let mut expected = pattern(7, 64).to_vec();
            expected[5 * 4096..7 * 4096].copy_from_slice(&pattern(8, 2));
            for block in [1, 3, 4] {
                expected[block * 4096..][..4096].copy_from_slice(&pattern(60 + block as u8, 1));
            }
            expected[16 * 4096..32 * 4096].fill(0);
            assert!(h.read(extent(index), blocks(0, 64)).unwrap() == expected);
        }
        assert_eq!(h.read(extent(2), blocks(0, 1)).unwrap(), pattern(1, 1));
        assert_eq!(kinds(&h.disk), []);
    });
}

#[test]
fn replay_never_writes_into_a_unit_that_another_extent_has_now() {
    let mut h = Harness::new(48 * MIB);
    // A small write into a unit that is then given up; all of it still in the journal.
    h.write(extent(0), blocks(0, 1), pattern(1, 1)).unwrap();
    h.checkpoint();
    h.write(extent(0), blocks(0, 1), pattern(2, 1)).unwrap();
    let unit_before = h.store.stats().units_used;
    h.outcome(StoreOp::Free { extent: extent(0) }).unwrap();
    let mut index = 1;
    while h.write(extent(index), blocks(0, 1024), pattern(50, 1024)).is_ok() {
        index += 1;
    }
    assert!(unit_before > 0 && h.store.stats().checkpoints > 1);
    let mut h = h.crash();
    for other in 1..index {
        assert!(h.read(extent(other), blocks(0, 1024)).unwrap() == pattern(50, 1024));
    }
    assert_eq!(h.read(extent(0), blocks(0, 1)).unwrap(), vec![0; 4096]);
}

#[test]
fn a_write_of_both_kinds_of_pieces_is_all_or_nothing() {
    // Two blocks, three whole regions, one block.
    let data = pattern(40, 51);
    let range = blocks(14, 51);
    for requests in 0.. {
        let mut h = Harness::new(64 * MIB);
        h.write(extent(0), blocks(0, 80), pattern(1, 80)).unwrap();
        let op = h.write_op(extent(0), range, Content::Data(data.clone()));
        let ticket = h.submit(op);
        let mut left = requests;
        while left > 0 {
            let ios = h.poll();
            let Some(io) = ios.first() else { break };
            h.complete(io);
            assert_eq!(ios.len(), 1);
            left -= 1;
        }
        let acknowledged = h.answers.contains_key(&ticket);
        assert_eq!(acknowledged, requests >= 2, "content, then the journal");
        let mut h = h.crash();
        let read = h.read(extent(0), blocks(0, 80)).unwrap();
        let mut expected = pattern(1, 80).to_vec();
        if acknowledged {
            expected[14 * 4096..65 * 4096].copy_from_slice(&data);
        }
        assert!(read == expected);
        assert_eq!(h.describe(extent(0)).unwrap().versions[2], version(if acknowledged { 2 } else { 1 }));
        if left > 0 {
            break;
        }
    }
}

#[test]
fn a_block_in_flight_is_not_put_into_its_place_before_it_is_durable() {
    let mut h = three_records();
    h.checkpoint();
    h.write(extent(0), blocks(0, 1), pattern(20, 1)).unwrap();
    // A checkpoint begins; the same block is written again and that record stays in flight.
    h.store.maybe_checkpoint();
    let mut checkpoint: Vec<DiskIo> = Vec::new();
    while checkpoint.is_empty() {
        checkpoint = h.poll();
    }
    h.submit(block_write(
        extent(0),
        0,
        21,
        9,
        h.store.inventory().first().map_or(Version::NONE, |_| version(4)),
    ));
    let record: Vec<DiskIo> = h.poll().into_iter().filter(is_journal).collect();
    assert_eq!(record.len(), 1);
    for io in checkpoint {
        h.complete(&io);
    }
    for _ in 0..10 {
        for io in h.poll() {
            h.complete(&io);
        }
    }
    assert!(find_block(&h.disk, &pattern(21, 1)).is_empty());
    h.disk.crash_with(CrashKind::KeepAll);
    let mut h = Harness::open(h.disk).unwrap();
    assert_eq!(h.read(extent(0), blocks(0, 1)).unwrap(), pattern(20, 1));
    assert_eq!(h.describe(extent(0)).unwrap().versions[0], version(4));
}

#[test]
fn replay_skips_what_a_page_already_has() {
    let mut h = Harness::new(64 * MIB);
    let id = |number| evenkeel_types::WriteId {
        gateway: SERVER,
        incarnation: evenkeel_types::Incarnation(1),
        number,
    };
    h.accept(extent(0), 1, false).unwrap();
    h.checkpoint();
    let pages = h.store.stats().pages_written;
    for number in 1..=30 {
        let replaces = if number == 1 { Version::NONE } else { version(number - 1) };
        let StoreOp::Write(mut write) = block_write(extent(0), 0, number as u8, number, replaces) else {
            panic!()
        };
        write.identity = Some(id(number));
        h.outcome(StoreOp::Write(write)).unwrap();
    }
    // The checkpoint writes the page and dies before its superblock.
    h.store.maybe_checkpoint();
    while h.store.stats().pages_written == pages {
        h.poll().iter().for_each(|io| h.complete(io));
    }
    let page = h.poll();
    page.iter().for_each(|io| h.complete(io));
    h.disk.crash_with(CrashKind::KeepAll);
    let mut h = Harness::open(h.disk).unwrap();
    assert_eq!(h.report.records_replayed, 30);
    let identities = h.describe(extent(0)).unwrap().identities;
    assert_eq!(
        identities.iter().map(|remembered| remembered.id.number).collect::<Vec<_>>(),
        (1..=30).collect::<Vec<_>>()
    );
}

#[test]
fn the_journal_waits_for_a_slow_checkpoint_rather_than_overrun_its_tail() {
    let mut h = Harness::new(64 * MIB);
    let mut acknowledged = 0;
    let mut slow: Vec<DiskIo> = Vec::new();
    loop {
        let sequence = acknowledged + 1;
        let replaces = if sequence == 1 { Version::NONE } else { version(sequence - 1) };
        let ticket =
            h.submit(block_write(extent(0), (sequence % 16) as u16, sequence as u8, sequence, replaces));
        let (records, others): (Vec<_>, Vec<_>) = h.poll().into_iter().partition(is_journal);
        // Whatever the checkpoint wants does not come back.
        slow.extend(others);
        records.iter().for_each(|io| h.complete(io));
        if !h.answers.contains_key(&ticket) {
            break;
        }
        acknowledged = sequence;
    }
    assert!(
        !slow.is_empty() && (64..=100).contains(&acknowledged),
        "{acknowledged} records of 2 blocks, of 256"
    );
    let mut h = h.crash();
    assert_eq!(h.describe(extent(0)).unwrap().versions[0], version(acknowledged));
    for sequence in acknowledged - 15..=acknowledged {
        assert_eq!(h.read(extent(0), blocks((sequence % 16) as u16, 1)).unwrap(), pattern(sequence as u8, 1));
    }
}

#[test]
fn the_older_superblock_leads_to_the_same_state() {
    let mut h = Harness::new(64 * MIB);
    h.write(extent(0), blocks(0, 1), pattern(1, 1)).unwrap();
    h.outcome(StoreOp::Free { extent: extent(0) }).unwrap();
    h.checkpoint();
    // The unit of the first write is now another extent's.
    h.write(extent(1), blocks(0, 16), pattern(2, 16)).unwrap();
    h.disk.rot(h.store.superblock.offset() + 200, 0);
    let mut h = h.crash();
    assert!(h.report.superblock_mended);
    assert_eq!(h.report.records_replayed, 3);
    assert_eq!(h.read(extent(1), blocks(0, 16)).unwrap(), pattern(2, 16));
    assert!(!h.describe(extent(0)).unwrap().has_data);
}

#[test]
fn opening_may_crash_anywhere_and_be_done_again() {
    let mut h = Harness::new(64 * MIB);
    h.write(extent(0), blocks(0, 64), pattern(7, 64)).unwrap();
    h.checkpoint();
    prepare(&mut h);
    for writes in 0.. {
        let mut disk = h.disk.clone();
        disk.fail_after(writes);
        let opened = Store::open(&mut disk, &open_options());
        disk.crash();
        let mut again = Harness::open(disk).unwrap();
        assert_eq!(again.read(extent(0), blocks(3, 1)).unwrap(), pattern(63, 1));
        assert_eq!(again.read(extent(0), blocks(16, 16)).unwrap(), vec![0; 16 * 4096]);
        assert_eq!(again.read(extent(2), blocks(0, 1)).unwrap(), pattern(1, 1));
        if opened.is_ok() {
            break;
        }
    }
}

#[test]
fn the_incarnation_grows_with_each_start_even_after_a_copy_of_the_superblock_is_lost() {
    let h = three_records();
    let first = h.store.incarnation();
    for copy in SUPERBLOCK_OFFSETS {
        let mut disk = h.disk.clone();
        disk.rot(copy + 100, 0);
        assert_eq!(kinds(&disk), [FindingKind::SuperblockCopyDamaged]);
        let h = Harness::open(disk).unwrap();
        assert!(h.report.superblock_mended);
        assert_eq!(h.store.incarnation().0, first.0 + 1);
        assert_eq!(kinds(&h.disk), []);
    }
    let mut disk = h.disk.clone();
    SUPERBLOCK_OFFSETS.iter().for_each(|copy| disk.rot(copy + 100, 0));
    assert_eq!(open_fault(&disk), StoreFault::SuperblockDamaged);
    assert_eq!(kinds(&disk), [FindingKind::SuperblockDamaged]);
}

#[test]
fn a_read_that_meets_an_overwrite_in_place_is_repeated_not_failed() {
    let mut h = Harness::new(64 * MIB);
    h.write(extent(0), blocks(0, 4), pattern(1, 4)).unwrap();
    h.checkpoint();
    let read = h.submit(StoreOp::Read { extent: extent(0), blocks: blocks(0, 4) });
    let slow = h.poll();
    h.outcome(block_write(extent(0), 2, 9, 2, version(1))).unwrap();
    h.checkpoint();
    h.complete(&slow[0]);
    h.run();
    assert!(h.answers[&read].is_ok());
    assert_eq!((h.store.stats().reads_repeated, h.store.stats().checksum_failures), (1, 0));
}

#[test]
fn a_failed_write_is_not_applied_half_after_a_restart() {
    let mut h = three_records();
    for fail_after in 0..12 {
        let mut disk = h.disk.clone();
        let mut other = Harness::open(disk.clone()).unwrap();
        other.disk.fail_after(fail_after);
        let replaces = SmallVec::from_slice(&[version(3), Version::NONE, Version::NONE]);
        let content = Content::Data(pattern(88, 40));
        let outcome = other.outcome(write_of(extent(0), blocks(2, 40), content, version(9), replaces));
        other.store.maybe_checkpoint();
        other.run();
        disk = other.disk;
        disk.crash();
        let mut again = Harness::open(disk).unwrap();
        let applied = again.describe(extent(0)).unwrap().versions[0] == version(9);
        assert!(applied || outcome.err() == Some(StoreError::Stopped));
        let read = again.read(extent(0), blocks(2, 40)).unwrap();
        assert_eq!(read == pattern(88, 40), applied);
    }
    assert_eq!(h.read(extent(0), blocks(2, 1)).unwrap(), pattern(12, 1));
}
