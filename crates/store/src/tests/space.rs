//! Full stores, reservations, and when units are used again.

use super::harness::*;
use evenkeel_types::store_op::{StoreError, StoreOp};
use evenkeel_types::{AlignedBuf, Bytes, Region, Regions, Version};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Writes whole extents until there is no space; gives how many fit.
fn fill(h: &mut Harness) -> u32 {
    for index in 0.. {
        match h.write(extent(index), blocks(0, 1024), pattern(index as u8, 1024)) {
            Ok(()) => {}
            Err(StoreError::NoSpace) => return index,
            Err(error) => panic!("{error:?}"),
        }
    }
    unreachable!("the store is finite")
}

#[test]
fn a_full_store_says_so_and_works_again_after_unmap() {
    let mut h = Harness::new(48 * MIB);
    let full = fill(&mut h);
    assert!(full >= 8);
    let before = h.describe(extent(full));
    assert!(before.is_none(), "a refused write leaves no record");
    assert_eq!(h.read(extent(0), blocks(0, 1024)).unwrap(), pattern(0, 1024));
    h.zero(extent(3), blocks(0, 1024)).unwrap();
    h.write(extent(full), blocks(0, 1024), pattern(99, 1024)).unwrap();
    assert!(h.store.stats().space_waits > 0, "the write waited for the checkpoint that frees the units");
    assert_eq!(h.read(extent(full), blocks(0, 1024)).unwrap(), pattern(99, 1024));
    assert_eq!(h.read(extent(3), blocks(0, 16)).unwrap(), vec![0; 16 * 4096]);
}

#[test]
fn a_full_store_overwrites_what_it_has() {
    let mut h = Harness::new(48 * MIB);
    fill(&mut h);
    let stats = h.store.stats();
    for fill in 0..stats.units - stats.units_used {
        h.write(extent(1000), blocks(fill as u16 * 16, 16), pattern(1, 16)).unwrap();
    }
    assert_eq!(h.store.stats().units_used, stats.units);
    for round in 0..3 {
        h.write(extent(2), blocks(16, 48), pattern(70 + round, 48)).unwrap();
    }
    assert_eq!(h.read(extent(2), blocks(16, 48)).unwrap(), pattern(72, 48));
    let mut h = h.crash();
    assert_eq!(h.read(extent(2), blocks(16, 48)).unwrap(), pattern(72, 48));
}

#[test]
fn a_freed_unit_is_not_used_before_a_checkpoint_retired_it() {
    let mut h = Harness::new(48 * MIB);
    let full = fill(&mut h);
    h.checkpoint();
    let checkpoints = h.store.stats().checkpoints;
    h.outcome(StoreOp::Free { extent: extent(0) }).unwrap();
    assert_eq!(h.store.stats().units_freed, 64);
    // The write waits; everything up to the superblock of a checkpoint must be durable before its data goes out.
    let op =
        h.write_op(extent(full), blocks(0, 1024), evenkeel_types::store_op::Content::Data(pattern(5, 1024)));
    let ticket = h.submit(op);
    while h.store.stats().checkpoints == checkpoints {
        let ios = h.poll();
        assert!(!ios.is_empty() && !h.answers.contains_key(&ticket));
        assert_eq!(h.store.stats().journaled_blocks, 0);
        assert_eq!(h.store.stats().regions_switched, u64::from(full) * 64);
        ios.iter().for_each(|io| h.complete(io));
    }
    h.run();
    assert!(h.answers[&ticket].is_ok());
}

#[test]
fn a_unit_is_not_used_again_while_an_old_read_is_under_way() {
    let mut h = Harness::new(48 * MIB);
    let full = fill(&mut h);
    h.checkpoint();
    let read = h.submit(StoreOp::Read { extent: extent(0), blocks: blocks(0, 16) });
    let slow = h.poll();
    assert_eq!(slow.len(), 1);
    h.outcome(StoreOp::Free { extent: extent(0) }).unwrap();
    h.checkpoint();
    assert_eq!(h.store.stats().units_freed, 64, "the read holds them back");
    let op =
        h.write_op(extent(full), blocks(0, 1024), evenkeel_types::store_op::Content::Data(pattern(5, 1024)));
    let write = h.submit(op);
    for _ in 0..20 {
        h.poll().iter().for_each(|io| h.complete(io));
    }
    assert!(!h.answers.contains_key(&write));
    h.complete(&slow[0]);
    let Some(Ok(evenkeel_types::store_op::StoreReply::Data(data))) = h.answers.remove(&read) else {
        panic!()
    };
    assert_eq!(data.into_bytes(), pattern(0, 1024).slice(..16 * 4096));
    h.run();
    assert!(h.answers[&write].is_ok());
}

#[test]
fn a_reservation_holds_what_others_ask_for() {
    let mut h = Harness::new(48 * MIB);
    h.accept(extent(500), 1, true).unwrap();
    h.outcome(StoreOp::Reserve { extent: extent(501), blocks: blocks(8, 16) }).unwrap();
    assert_eq!(h.store.stats().units_reserved, 66);
    let full = fill(&mut h);
    let index = (0..full).last().unwrap();
    while h.write(extent(600), blocks(0, 1), pattern(1, 1)).is_ok() {
        h.zero(extent(600), blocks(0, 1024)).unwrap();
        h.store.maybe_checkpoint();
        h.run();
        let mut region = 0;
        while h.write(extent(601 + index), blocks(region * 16, 1), pattern(1, 1)).is_ok() {
            region += 1;
        }
    }
    assert_eq!(h.accept(extent(502), 1, true), Err(StoreError::NoSpace));
    h.write(extent(501), blocks(8, 16), pattern(2, 16)).unwrap();
    h.write(extent(500), blocks(0, 1024), pattern(3, 1024)).unwrap();
    assert_eq!(h.store.stats().units_reserved, 0);
    // All of it stays reserved: unmapped and written again.
    h.zero(extent(500), blocks(0, 1024)).unwrap();
    assert_eq!(h.store.stats().units_reserved, 64);
    assert_eq!(h.write(extent(601), blocks(0, 1), pattern(1, 1)), Err(StoreError::NoSpace));
    h.write(extent(500), blocks(5, 900), pattern(4, 900)).unwrap();
    assert_eq!(h.read(extent(500), blocks(5, 900)).unwrap(), pattern(4, 900));
    h.accept(extent(500), 1, false).unwrap();
    assert_eq!(h.store.stats().units_reserved, 0);
}

fn unreserve(numbers: std::ops::Range<u8>, index: u32) -> StoreOp {
    let regions = numbers.filter_map(Region::new).fold(Regions::NONE, Regions::with);
    StoreOp::Unreserve { extent: extent(index), regions }
}

#[test]
fn what_was_set_aside_in_vain_is_given_back() {
    let mut h = Harness::new(48 * MIB);
    let extents = h.store.stats().extents;
    h.outcome(StoreOp::Reserve { extent: extent(1), blocks: blocks(8, 64) }).unwrap();
    assert_eq!(h.store.stats().units_reserved, 5);
    h.outcome(unreserve(1..3, 1)).unwrap();
    assert_eq!(h.store.stats().units_reserved, 3);
    // Regions that have nothing set aside, and an extent that nobody knows, have nothing to give back.
    h.outcome(unreserve(1..64, 1)).unwrap();
    assert_eq!(h.store.stats().units_reserved, 1);
    h.outcome(unreserve(0..64, 1)).unwrap();
    h.outcome(unreserve(0..64, 2)).unwrap();
    assert_eq!(h.store.stats().units_reserved, 0);
    h.checkpoint();
    assert_eq!(h.store.stats().extents, extents, "an extent with nothing takes no place in the table");
    // Behind a write that uses a part of it.
    let reserve = h.submit(StoreOp::Reserve { extent: extent(1), blocks: blocks(0, 32) });
    let content = evenkeel_types::store_op::Content::Data(pattern(1, 16));
    let op = h.write_op(extent(1), blocks(0, 16), content);
    let write = h.submit(op);
    let rest = h.submit(unreserve(0..2, 1));
    h.run();
    assert!([reserve, write, rest].iter().all(|ticket| h.answers[ticket].is_ok()));
    assert_eq!((h.store.stats().units_reserved, h.store.stats().units_used), (0, 1));
    // What a copy has for its whole extent is not for a write.
    h.accept(extent(3), 1, true).unwrap();
    h.outcome(unreserve(0..64, 3)).unwrap();
    assert_eq!(h.store.stats().units_reserved, 64);
}

#[test]
fn the_bytes_of_an_earlier_user_are_never_shown() {
    let mut disk = crate::SimDisk::new(48 * MIB, 3);
    disk.fill_with_garbage();
    let options =
        crate::FormatOptions { store_id: STORE_ID, group: GROUP.into(), server: SERVER, journal_bytes: MIB };
    crate::Store::format(&mut disk, &options).unwrap();
    let mut h = Harness::open(disk).unwrap();
    h.write(extent(0), blocks(3, 1), pattern(1, 1)).unwrap();
    for _ in 0..2 {
        let mut expected = vec![0; 16 * 4096];
        expected[3 * 4096..4 * 4096].copy_from_slice(&pattern(1, 1));
        assert_eq!(h.read(extent(0), blocks(0, 16)).unwrap(), expected);
        h.checkpoint_if_any();
        h = h.crash();
    }
}

#[test]
fn every_slot_can_be_used_forgotten_and_used_again() {
    let mut h = Harness::new(48 * MIB);
    let mut index = 0;
    while h.accept(extent(index), 1, false).is_ok() {
        index += 1;
    }
    assert_eq!(h.accept(extent(index), 1, false), Err(StoreError::NoSpace));
    h.outcome(StoreOp::Forget { extent: extent(4) }).unwrap();
    h.accept(extent(index), 1, false).unwrap();
    assert!(h.describe(extent(4)).is_none());
    let mut h = h.crash();
    assert_eq!(h.report.extents, u64::from(index));
    assert!(h.describe(extent(index)).is_some() && h.describe(extent(4)).is_none());
}

#[test]
fn a_shutdown_waits_for_what_waits_for_a_slot() {
    let mut h = Harness::new(48 * MIB);
    let mut index = 0;
    while h.accept(extent(index), 1, false).is_ok() {
        index += 1;
    }
    h.submit(StoreOp::Forget { extent: extent(0) });
    h.poll().iter().for_each(|io| h.complete(io));
    let late = h.submit(accept_of(extent(index), 1, false));
    h.store.shutdown();
    h.run();
    assert!(h.answers[&late].is_ok() && h.store.is_quiescent());
    let mut h = Harness::open(h.disk).unwrap();
    assert!(h.report.clean && h.describe(extent(index)).is_some());
}

#[test]
fn a_refused_write_gives_back_the_units_it_took() {
    let mut h = Harness::new(48 * MIB);
    h.write(extent(0), blocks(0, 16), pattern(1, 16)).unwrap();
    let content = evenkeel_types::store_op::Content::Data(pattern(2, 64));
    let replaces = smallvec::SmallVec::from_slice(&[Version::NONE; 4]);
    h.outcome(write_of(extent(0), blocks(0, 64), content, version(2), replaces)).unwrap_err();
    assert_eq!(h.store.stats().units_used, 1);
}

impl Harness {
    fn checkpoint_if_any(&mut self) {
        self.store.maybe_checkpoint();
        self.run();
    }
}

/// A buffer that says when nobody has it any more.
struct Watched(AlignedBuf, Arc<AtomicBool>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.1.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_large_write_leaves_no_more_in_memory_than_its_blocks_that_wait_for_their_place() {
    let mut h = Harness::new(64 * MIB);
    let given_back = Arc::new(AtomicBool::new(false));
    let content = pattern(7, 256);
    let data = Bytes::from_owner(Watched(AlignedBuf::copy_of(&content), Arc::clone(&given_back)));
    h.write(extent(0), blocks(1, 256), data).unwrap();
    assert_eq!(
        h.store.stats().overlay_bytes,
        16 * 4096,
        "the blocks before the first and in the last region"
    );
    assert!(given_back.load(Ordering::Relaxed));
    assert_eq!(h.read(extent(0), blocks(1, 256)).unwrap(), content);
}
