//! Bad blocks and diverged copies: found before somebody needs them, and mended wherever a good block is left.

use super::replicas::{assert_equal_copies, state};
use super::world::World;
use crate::{EngineEvent, Event};
use evenkeel_meta::MemberState;
use evenkeel_types::geometry::{BLOCK_BYTES, EXTENT_BYTES, REGION_BYTES};
use evenkeel_types::{BlockError, Bytes};

const BLOCK: u32 = BLOCK_BYTES;
const REGION: u64 = REGION_BYTES as u64;

impl World {
    fn damage(&mut self, n: u32, block: u16) {
        let extent = self.extent(0);
        self.servers.get_mut(&n).unwrap().store.bad.insert((extent, block));
    }

    fn is_whole(&self, n: u32) -> bool {
        self.servers[&n].store.bad.is_empty()
    }

    /// A write of a block at server 1, which owns the extent and has just sent it to its copy.
    fn write_until_sent(&mut self, offset: u64, byte: u8) -> u64 {
        let (sent, write) = (self.sent("write"), self.write(1, offset, BLOCK, byte));
        while self.sent("write") == sent {
            assert!(self.step(), "the write goes to the copy");
        }
        write
    }

    /// A write that is durable at server 1, and that server 2 never hears of.
    fn write_that_the_copy_never_gets(&mut self, offset: u64, byte: u8) -> u64 {
        let write = self.write_until_sent(offset, byte);
        while self.waiting(1, 2, "write") > 0 {
            self.take_message(1, 2, "write");
        }
        self.settle();
        write
    }

    /// Server 1 crashes before what it has just sent is durable at itself; its copy has it.
    fn crash_before_its_write(&mut self) {
        self.hold_stores.insert(1);
        self.settle();
        self.hold_stores.clear();
        self.crash(1);
    }

    /// A pass of the scrub at a server, from its beginning to its end.
    fn scrub(&mut self, n: u32) {
        let passes = self.engine(n).counters().scrub_passes;
        self.event(n, Event::StartScrub { rate: Some(64 << 20) });
        for _ in 0..100 {
            self.pass_ms(100);
            if self.engine(n).counters().scrub_passes > passes {
                return;
            }
        }
        panic!("the scrub does not end");
    }
}

#[test]
fn the_scrub_finds_and_mends_blocks_that_nobody_reads() {
    let mut world = World::with_replicas(3, 3);
    for region in [0, 5, 63] {
        world.write_now(1, region * REGION, 2 * BLOCK, 7);
    }
    world.write_now(1, u64::from(EXTENT_BYTES), BLOCK, 8);
    world.damage(1, 1);
    world.damage(2, 5 * 16);
    world.damage(3, 63 * 16 + 1);
    world.scrub(1);
    assert!([1, 2, 3].iter().all(|n| world.is_whole(*n)));
    let counters = *world.engine(1).counters();
    assert_eq!((counters.mended, counters.copies_mended, counters.unreadable), (1, 2, 0));
    assert_eq!((counters.scrubbed, counters.diverged), (4, 0));
    assert_equal_copies(&world, 0, &[1, 2, 3]);
    for region in [0, 5, 63] {
        assert_eq!(world.byte_at(1, region * REGION, 2 * BLOCK), 7);
    }
    let ended = EngineEvent::Scrubbed { regions: 4, mended: 3, unreadable: 0 };
    assert!(world.servers[&1].events.contains(&ended), "{:?}", world.servers[&1].events);
}

#[test]
fn a_copy_with_other_content_in_the_same_version_is_made_equal_again() {
    let mut world = World::with_replicas(2, 2);
    world.write_now(1, 0, 4 * BLOCK, 7);
    world.has_clashes = true;
    let extent = world.extent(0);
    let record = world.servers.get_mut(&2).unwrap().store.records.get_mut(&extent).unwrap();
    let good = record.blocks.insert(2, Bytes::from(vec![9; BLOCK as usize]));
    world.scrub(1);
    assert_eq!(world.servers[&2].store.records[&extent].blocks.get(&2), good.as_ref());
    let counters = world.engine(1).counters();
    assert_eq!((counters.diverged, counters.copies_mended), (1, 1));
}

/// Each copy of a region has a bad block, and not the same one.
#[test]
fn two_copies_with_different_bad_blocks_mend_each_other() {
    for scrubs in [true, false] {
        let mut world = World::with_replicas(2, 2);
        world.write_now(1, 0, 4 * BLOCK, 7);
        world.damage(1, 1);
        world.damage(2, 2);
        if scrubs {
            world.scrub(1);
            assert!(world.is_whole(1) && world.is_whole(2));
        }
        assert_eq!(world.byte_at(2, 0, 4 * BLOCK), 7);
        assert!(world.is_whole(1));
        assert_eq!(world.engine(1).counters().unreadable, 0);
    }
}

#[test]
fn what_is_good_nowhere_is_told_once_and_is_an_error_for_just_those_blocks() {
    let mut world = World::with_replicas(2, 2);
    world.write_now(1, 0, 8 * BLOCK, 7);
    for server in [1, 2] {
        world.damage(server, 2);
    }
    world.damage(1, 4);
    world.scrub(1);
    assert_eq!(world.engine(1).counters().unreadable, 1);
    let read = world.read(1, 0, 8 * BLOCK);
    world.pass_ms(100);
    assert_eq!(world.error(1, read), Some(BlockError::Medium { offset: 2 * u64::from(BLOCK) }));
    assert_eq!(world.byte_at(1, 3 * u64::from(BLOCK), 5 * BLOCK), 7, "what was good somewhere is mended");
    assert_eq!(world.engine(1).counters().unreadable, 1, "not told again");
    // Until it is written.
    world.write_now(1, 2 * u64::from(BLOCK), BLOCK, 9);
    assert_eq!(world.byte_at(1, 2 * u64::from(BLOCK), BLOCK), 9);
}

#[test]
fn an_extent_with_a_block_that_is_good_nowhere_moves_with_everything_else() {
    let mut world = World::new(2);
    world.write_now(1, 0, 8 * BLOCK, 7);
    world.damage(1, 2);
    world.start_move(1, 0, 2);
    world.pass_ms(1_000);
    assert_eq!(world.owner(0), 2);
    let read = world.read(1, 0, 8 * BLOCK);
    world.pass_ms(100);
    assert_eq!(world.error(1, read), Some(BlockError::Medium { offset: 2 * u64::from(BLOCK) }));
    assert_eq!(world.byte_at(1, 3 * u64::from(BLOCK), 5 * BLOCK), 7);
}

#[test]
fn a_bad_block_does_not_keep_a_returning_server_from_becoming_up() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(1, 0, 8 * BLOCK, 7);
    world.crash(2);
    world.pass_ms(4_000);
    world.write_now(1, 0, BLOCK, 8);
    world.damage(1, 2);
    world.start(2);
    world.pass_ms(3_000);
    assert_eq!(state(&world, 2), MemberState::Up);
    world.crash(1);
    let read = world.read(3, 2 * u64::from(BLOCK), BLOCK);
    world.pass_ms(4_500);
    assert!(matches!(world.error(3, read), Some(BlockError::Medium { .. })));
    assert_eq!(world.byte_at(3, 3 * u64::from(BLOCK), BLOCK), 7);
}

/// A write reached the copy and not the owner, which cannot read its own region when it takes over again.
#[test]
fn an_owner_that_cannot_read_its_region_takes_the_one_of_a_copy_in_sync() {
    let mut world = World::with_replicas(2, 2);
    world.write_now(1, 0, 8 * BLOCK, 7);
    let _ = world.write_until_sent(0, 8);
    world.crash_before_its_write();
    world.damage(1, 2);
    world.start(1);
    world.pass_ms(4_000);
    assert_eq!(world.owner(0), 1);
    assert_eq!(world.byte_at(2, 0, BLOCK), 8);
    assert_eq!(world.byte_at(2, 2 * u64::from(BLOCK), 6 * BLOCK), 7);
    assert!(world.is_whole(1));
    assert_equal_copies(&world, 0, &[1, 2]);
}

#[test]
fn the_scrub_takes_no_write_that_is_under_way_for_a_difference() {
    for seed in 0..50 {
        let mut world = World::with_replicas(2, 2);
        world.randomise(seed);
        world.write_now(1, 0, BLOCK, 0);
        world.event(1, Event::StartScrub { rate: Some(1 << 40) });
        for byte in 1..20 {
            let _ = world.write(1 + u32::from(byte) % 2, 0, BLOCK, byte);
            for _ in 0..world.draw(12) {
                world.step();
            }
        }
        world.pass_ms(500);
        let counters = world.engine(1).counters();
        assert_eq!(
            (counters.diverged, counters.copies_mended, counters.scrub_passes),
            (0, 0, 1),
            "seed {seed}"
        );
        assert_equal_copies(&world, 0, &[1, 2]);
    }
}

/// It has no room for what it lacks: it stays attached, and gets everything once there is some.
#[test]
fn a_returning_server_without_space_waits_for_some_and_holds_nobody_up() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(1, 0, BLOCK, 7);
    world.crash(2);
    world.pass_ms(4_000);
    world.write_now(1, 0, BLOCK, 8);
    world.servers.get_mut(&2).unwrap().store.no_space_for_regions = true;
    world.start(2);
    world.pass_ms(3_000);
    let attached = world.sent("attach");
    for byte in 0..10 {
        world.write_now(1, 0, BLOCK, byte);
        world.pass_ms(300);
    }
    assert_eq!(world.sent("attach"), attached, "it is not attached again and again");
    assert_eq!(state(&world, 2), MemberState::Syncing);
    world.servers.get_mut(&2).unwrap().store.no_space_for_regions = false;
    world.pass_ms(3_000);
    assert_eq!(state(&world, 2), MemberState::Up);
    assert_equal_copies(&world, 0, &[1, 2]);
}

/// The copy answers the scrub before the owner has read its own region again to mend it: in no order of events may one
/// of two copies with different bad blocks be taken for the better one.
#[test]
fn in_no_order_of_events_does_a_bad_block_replace_a_good_one() {
    for seed in 0..200 {
        let mut world = World::with_replicas(2, 2);
        world.write_now(1, 0, 4 * BLOCK, 7);
        world.damage(1, 1);
        world.damage(2, 2);
        world.randomise(seed);
        world.event(1, Event::StartScrub { rate: Some(1 << 40) });
        if seed % 3 == 0 {
            let _ = world.write(1, 3 * u64::from(BLOCK), BLOCK, 7);
        }
        if seed % 4 == 0 {
            for _ in 0..world.draw(20) {
                world.step();
            }
            world.disconnect(1, 2);
            world.connect(1, 2);
        }
        world.pass_ms(3_000);
        assert_eq!(world.byte_at(2, 0, 4 * BLOCK), 7, "seed {seed}");
        assert_eq!(world.engine(1).counters().unreadable, 0, "seed {seed}");
    }
}

/// A write reached the owner and not the copy, whose blocks are all good: those of the owner are not.
#[test]
fn a_broken_connection_does_not_make_the_owners_bad_block_everybodys() {
    for epoch_grows in [false, true] {
        let mut world = World::with_replicas(3, 2);
        world.write_now(1, 0, 8 * BLOCK, 7);
        world.damage(1, 2);
        let write = world.write_that_the_copy_never_gets(4 * u64::from(BLOCK), 9);
        world.disconnect(1, 2);
        if epoch_grows {
            // Also a reader, while the copy is not attached.
            let _ = world.read(1, 2 * u64::from(BLOCK), BLOCK);
            world.start_move_of(1, 0, 2, 3);
        }
        world.connect(1, 2);
        world.pass_ms(4_000);
        assert!(world.outcome(1, write).unwrap().is_ok());
        assert!(world.is_whole(1) && world.is_whole(2));
        assert_eq!(world.byte_at(3, 0, 4 * BLOCK), 7);
        assert_eq!(world.byte_at(3, 4 * u64::from(BLOCK), BLOCK), 9);
        assert_eq!(world.engine(1).counters().unreadable, 0);
    }
}

/// A block is read while nobody can be asked; nothing is concluded from that.
#[test]
fn a_bad_block_that_is_read_while_the_copy_is_away_is_mended_when_it_is_back() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(1, 0, 4 * BLOCK, 7);
    world.damage(1, 2);
    world.disconnect(1, 2);
    let read = world.read(1, 0, 4 * BLOCK);
    world.pass_ms(200);
    assert!(world.is_open(1, read));
    world.connect(1, 2);
    // The copy that is good is to be replaced.
    world.start_move_of(1, 0, 2, 3);
    world.pass_ms(3_000);
    assert_eq!(world.read_byte(1, read), 7);
    assert!(world.is_whole(1) && world.is_whole(3));
    assert_eq!(world.byte_at(1, 0, 4 * BLOCK), 7);
}

/// The store has no room for the mended region just now.
#[test]
fn a_region_that_cannot_be_put_in_its_place_is_tried_again() {
    let mut world = World::with_replicas(2, 2);
    world.write_now(1, 0, 4 * BLOCK, 7);
    world.damage(1, 2);
    world.servers.get_mut(&1).unwrap().store.no_space_for_regions = true;
    let read = world.read(1, 0, 4 * BLOCK);
    world.pass_ms(1_000);
    assert!(world.is_open(1, read));
    world.servers.get_mut(&1).unwrap().store.no_space_for_regions = false;
    world.pass_ms(500);
    assert_eq!(world.read_byte(1, read), 7);
    assert_eq!(world.engine(1).counters().unreadable, 0);
}

/// Whoever waits for a block to be mended here goes to the next owner with everybody else.
#[test]
fn an_owner_that_is_replaced_keeps_nobody_waiting_for_a_block() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(3, 0, 4 * BLOCK, 7);
    world.damage(1, 2);
    world.disconnect(1, 2);
    let read = world.read(3, 0, 4 * BLOCK);
    world.settle();
    assert!(world.is_open(3, read));
    // Cut off from everybody: another one takes over.
    world.disconnect(1, 3);
    world.pass_ms(9_000);
    assert_eq!(world.read_byte(3, read), 7);
}

/// The block that a write wrote is bad before the copy has it: the write itself has it.
#[test]
fn a_block_that_went_bad_under_a_write_is_taken_from_the_write() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(1, 0, 8 * BLOCK, 7);
    let write = world.write_that_the_copy_never_gets(2 * u64::from(BLOCK), 9);
    world.damage(1, 2);
    world.disconnect(1, 2);
    world.connect(1, 2);
    world.pass_ms(3_000);
    assert!(world.outcome(1, write).unwrap().is_ok());
    assert_eq!(world.byte_at(3, 2 * u64::from(BLOCK), BLOCK), 9);
    assert!(world.is_whole(1) && world.is_whole(2));
}

/// After a crash two copies differ, and each has a bad block of its own: the extent is served, with one error at most.
#[test]
fn a_region_that_is_whole_nowhere_after_a_crash_keeps_nobody_from_the_extent() {
    let mut world = World::with_replicas(2, 2);
    world.write_now(1, 0, 8 * BLOCK, 7);
    let _ = world.write_until_sent(0, 8);
    world.crash_before_its_write();
    world.damage(1, 2);
    world.damage(2, 5);
    world.start(1);
    world.pass_ms(6_000);
    assert_eq!(world.byte_at(2, 0, BLOCK), 8);
    assert_eq!(world.byte_at(2, u64::from(BLOCK), 4 * BLOCK), 7);
    assert_eq!(world.byte_at(2, 6 * u64::from(BLOCK), 2 * BLOCK), 7);
    let read = world.read(2, 5 * u64::from(BLOCK), BLOCK);
    world.pass_ms(100);
    assert!(matches!(world.error(2, read), Some(BlockError::Medium { .. })));
}
