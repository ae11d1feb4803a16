//! Requests at rest: no moves, no crashes but the plain ones.

use super::world::World;
use crate::{Event, RequestId};
use evenkeel_types::geometry::EXTENT_BYTES;
use evenkeel_types::{BlockError, BlockOp, ByteRange, Bytes};
use std::time::Duration;

const EXTENT: u64 = EXTENT_BYTES as u64;

#[test]
fn what_is_written_through_one_server_is_read_through_every_other() {
    let mut world = World::new(3);
    world.write_now(1, 0, 8192, 1);
    world.write_now(2, 8192, 4096, 2);
    for server in 1..=3 {
        assert_eq!(world.byte_at(server, 0, 8192), 1);
        assert_eq!(world.byte_at(server, 8192, 4096), 2);
        assert_eq!(world.byte_at(server, 1 << 20, 4096), 0);
    }
}

#[test]
fn a_request_over_three_extents_is_split_and_joined_in_order() {
    let mut world = World::new(2);
    let start = EXTENT - 4096;
    let data: Vec<u8> = (0..EXTENT_BYTES + 8192).map(|n| (n / 4096) as u8).collect();
    let at = ByteRange::new(start, data.len() as u32);
    let id = world.request(2, BlockOp::Write { at, data: Bytes::from(data.clone()) });
    world.settle();
    assert!(world.outcome(2, id).unwrap().is_ok());
    let id = world.read(1, start, at.len);
    world.settle();
    assert_eq!(world.outcome(1, id).unwrap().clone().unwrap().into_bytes(), data);
}

#[test]
fn two_writes_into_one_block_both_last() {
    let mut world = World::new(1);
    let a = world.write(1, 0, 512, 1);
    let b = world.write(1, 512, 512, 2);
    world.settle();
    assert!(world.outcome(1, a).unwrap().is_ok() && world.outcome(1, b).unwrap().is_ok());
    assert_eq!(world.byte_at(1, 0, 512), 1);
    assert_eq!(world.byte_at(1, 512, 512), 2);
    assert_eq!(world.byte_at(1, 1024, 512), 0);
}

#[test]
fn a_read_waits_for_the_write_in_flight_in_its_range() {
    let mut world = World::new(1);
    world.write_now(1, 0, 4096, 1);
    world.hold_stores.insert(1);
    let write = world.write(1, 0, 4096, 2);
    let read = world.read(1, 0, 512);
    world.settle();
    assert_eq!(world.servers[&1].store.queue.len(), 1, "the read is not at the store yet");
    world.step_store(1);
    assert!(!world.is_open(1, write));
    world.step_store(1);
    assert_eq!(world.read_byte(1, read), 2);
}

#[test]
fn compare_and_write_is_one_step() {
    let mut world = World::new(2);
    let swap = |expected: u8, new: u8| BlockOp::CompareAndWrite {
        at: ByteRange::new(512, 512),
        expected: Bytes::from(vec![expected; 512]),
        data: Bytes::from(vec![new; 512]),
    };
    // Both expect what is there; only one can find it.
    let a = world.request(1, swap(0, 1));
    let b = world.request(2, swap(0, 2));
    world.settle();
    let outcomes = [world.outcome(1, a).unwrap().is_ok(), world.outcome(2, b).unwrap().is_ok()];
    assert_eq!(outcomes.iter().filter(|won| **won).count(), 1);
    let miscompare = [world.error(1, a), world.error(2, b)];
    assert!(miscompare.contains(&Some(BlockError::Miscompare { offset: 0 })));
    let expected = if outcomes[0] { 1 } else { 2 };
    assert_eq!(world.byte_at(1, 512, 512), expected);
    assert_eq!(world.byte_at(1, 0, 512), 0);
}

#[test]
fn zeroing_part_of_a_block_keeps_the_rest_and_gives_whole_blocks_back() {
    let mut world = World::new(1);
    world.write_now(1, 0, 4 * 4096, 7);
    let id = world.request(1, BlockOp::Zero { at: ByteRange::new(512, 2 * 4096) });
    world.settle();
    assert!(world.outcome(1, id).unwrap().is_ok());
    assert_eq!(world.byte_at(1, 0, 512), 7);
    assert_eq!(world.byte_at(1, 512, 8192), 0);
    assert_eq!(world.byte_at(1, 8704, 4096), 7);
    assert_eq!(world.servers[&1].store.records[&world.extent(0)].blocks.len(), 3);
}

#[test]
fn a_write_without_space_fails_alone_and_those_behind_it_in_its_region_succeed() {
    let mut world = World::new(1);
    world.write_now(1, 0, 4096, 1);
    world.hold_stores.insert(1);
    let ids: Vec<u64> = (0..4).map(|n| world.write(1, n * 4096, 4096, 10 + n as u8)).collect();
    world.servers.get_mut(&1).unwrap().store.refuse_writes = 1;
    world.hold_stores.clear();
    world.settle();
    assert_eq!(world.error(1, ids[0]), Some(BlockError::NoSpace));
    for (n, id) in ids.iter().enumerate().skip(1) {
        assert!(world.outcome(1, *id).unwrap().is_ok());
        assert_eq!(world.byte_at(1, n as u64 * 4096, 4096), 10 + n as u8);
    }
    assert_eq!(world.byte_at(1, 0, 4096), 1);
}

#[test]
fn requests_wait_for_an_owner_that_restarts() {
    let mut world = World::new(2);
    world.write_now(2, 0, 4096, 1);
    world.crash(1);
    let read = world.read(2, 0, 4096);
    let write = world.write(2, 4096, 4096, 2);
    world.pass(Duration::from_secs(5));
    assert!(world.is_open(2, read) && world.is_open(2, write));
    world.start(1);
    world.pass_ms(500);
    assert_eq!(world.read_byte(2, read), 1);
    assert!(world.outcome(2, write).unwrap().is_ok());
}

#[test]
fn patience_ends_with_busy_where_it_is_certain_and_with_unknown_where_it_is_not() {
    let mut world = World::new(2);
    world.write_now(2, 0, 4096, 1);
    world.hold_stores.insert(1);
    let sent = world.write(2, 0, 4096, 2);
    world.settle();
    world.crash(1);
    let never_sent = world.write(2, 4096, 4096, 3);
    let read = world.read(2, 0, 4096);
    world.pass(Duration::from_secs(11));
    assert_eq!(world.error(2, sent), Some(BlockError::Unknown));
    assert_eq!(world.error(2, never_sent), Some(BlockError::Busy));
    assert_eq!(world.error(2, read), Some(BlockError::Busy));
}

#[test]
fn a_deleted_volume_ends_its_requests_and_its_records() {
    let mut world = World::new(2);
    world.write_now(2, 0, 4096, 1);
    world.write_now(1, EXTENT, 4096, 1);
    world.delete_volume();
    world.settle();
    let id = world.read(2, 0, 4096);
    world.settle();
    assert_eq!(world.error(2, id), Some(BlockError::NoVolume));
    assert!(world.servers[&1].store.records.is_empty());
}

#[test]
fn a_volume_deleted_while_its_server_was_down_is_forgotten_after_its_start() {
    let mut world = World::new(2);
    world.write_now(1, 0, 4096, 1);
    world.delete_volume();
    world.crash(1);
    world.start(1);
    world.settle();
    assert!(world.servers[&1].store.records.is_empty());
}

#[test]
fn a_write_is_sequenced_only_while_its_initiator_is_known_to_live() {
    let mut world = World::new(2);
    world.prove = false;
    world.crash(1);
    let write = world.write(2, 0, 4096, 1);
    world.pass(Duration::from_secs(3));
    world.start(1);
    world.pass(Duration::from_secs(1));
    assert!(world.is_open(2, write), "the proof is too old");
    let (id, now) = (RequestId(write), world.now);
    world.event(2, Event::Proof { id, at: now - Duration::from_millis(2_001) });
    world.settle();
    assert!(world.is_open(2, write), "an answer to a question of long ago proves nothing about now");
    world.event(2, Event::Proof { id, at: now });
    world.settle();
    assert!(world.outcome(2, write).unwrap().is_ok());
}

#[test]
fn a_cancelled_request_that_was_not_sequenced_never_is() {
    let mut world = World::new(2);
    world.write_now(1, 0, 4096, 1);
    world.hold_stores.insert(1);
    let first = world.write(2, 0, 4096, 2);
    let second = world.write(2, 0, 4096, 3);
    world.settle();
    for id in [first, second] {
        world.event(2, Event::Cancel { id: RequestId(id) });
    }
    world.settle();
    assert_eq!(world.error(2, second), Some(BlockError::Aborted));
    assert!(world.is_open(2, first), "it is at the store: it ends by what becomes of it");
    world.hold_stores.clear();
    world.settle();
    assert!(world.outcome(2, first).unwrap().is_ok());
    assert_eq!(world.byte_at(1, 0, 4096), 2);
}

/// Each that ends lets the next one go on, which ends in the same way: as many as an extent may have.
/// The owner crashed when it had the write, and knows nothing of the try that waits there.
#[test]
fn how_a_write_ended_is_unknown_if_it_is_cancelled_behind_a_try_that_may_have_been_applied() {
    let mut world = World::new(2);
    world.write_now(1, 0, 4096, 1);
    world.hold_links.insert((1, 2));
    let write = world.write(2, 0, 4096, 2);
    world.settle();
    world.crash(1);
    world.hold_links.clear();
    world.start(1);
    // It is not served again before its record was looked up.
    world.hold_stores.insert(1);
    world.pass_ms(900);
    world.event(2, Event::Cancel { id: RequestId(write) });
    world.settle();
    assert_eq!(world.error(2, write), Some(BlockError::Unknown));
    world.hold_stores.clear();
    world.settle();
    assert_eq!(world.byte_at(2, 0, 4096), 2, "it was applied");
}

#[test]
fn a_thousand_stale_writes_to_one_block_end_on_a_small_stack() {
    const WRITES: usize = 1_000;
    let run = || {
        let mut world = World::new(1);
        world.prove = false;
        world.write_now(1, 0, 4096, 1);
        world.hold_stores.insert(1);
        let ids: Vec<u64> = (0..WRITES).map(|_| world.write(1, 0, 4096, 2)).collect();
        world.pass(Duration::from_secs(3));
        world.hold_stores.clear();
        world.settle();
        assert!(world.outcome(1, ids[0]).unwrap().is_ok(), "it was sequenced in time");
        assert!(ids[1..].iter().all(|id| world.is_open(1, *id)), "they wait for a proof");
        world.pass(Duration::from_secs(10));
        assert!(ids[1..].iter().all(|id| world.error(1, *id) == Some(BlockError::Busy)));
        assert_eq!(world.byte_at(1, 0, 4096), 2);
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap().join().unwrap();
}
