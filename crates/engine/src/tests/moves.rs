//! Moves under use.

use super::world::World;
use crate::MoveStage;
use crate::config::READS_AHEAD_MAX;
use evenkeel_types::geometry::{BLOCK_BYTES, REGION_BYTES};
use evenkeel_types::store_op::{StoreOutcome, StoreReply};
use evenkeel_types::{BlockOp, ByteRange};

const REGION: u64 = REGION_BYTES as u64;
const BLOCK: u32 = BLOCK_BYTES;

/// A world in which every region of the first extent was written with its number.
fn filled(servers: u32) -> World {
    let mut world = World::new(servers);
    for region in 0..64u64 {
        world.write_now(1, region * REGION, BLOCK, region as u8 + 1);
    }
    world
}

#[test]
fn a_move_carries_everything_and_leaves_one_copy() {
    let mut world = filled(3);
    world.start_move(1, 0, 2);
    world.settle();
    assert_eq!(world.owner(0), 2);
    assert!(world.holds(2, 0) && !world.holds(1, 0));
    assert_eq!(world.stages(1).last(), Some(&MoveStage::Released));
    for region in 0..64u64 {
        for server in 1..=3 {
            assert_eq!(world.byte_at(server, region * REGION, BLOCK), region as u8 + 1);
        }
    }
    let counters = world.engine(1).counters();
    assert_eq!((counters.moves.regions_sent, counters.moves_done, counters.freed), (64, 1, 1));
}

#[test]
fn an_extent_that_was_never_written_moves_and_reads_as_zeros() {
    let mut world = World::new(2);
    world.start_move(1, 5, 2);
    world.settle();
    assert_eq!(world.owner(5), 2);
    assert_eq!(world.byte_at(1, 5 << 22, BLOCK), 0);
    world.write_now(1, 5 << 22, BLOCK, 3);
    assert_eq!(world.byte_at(2, 5 << 22, BLOCK), 3);
}

#[test]
fn an_extent_moves_there_and_back_and_on() {
    let mut world = filled(3);
    for (from, to) in [(1, 2), (2, 1), (1, 3), (3, 2), (2, 3)] {
        world.start_move(from, 0, to);
        world.settle();
        assert_eq!(world.owner(0), to, "from {from}");
        world.write_now(1, 0, BLOCK, 100 + to as u8);
        for server in 1..=3 {
            assert_eq!(world.holds(server, 0), server == to);
        }
    }
    assert_eq!(world.byte_at(1, 63 * REGION, BLOCK), 64);
}

#[test]
fn claim_13_a_write_is_mirrored_waits_or_goes_with_its_region() {
    let mut world = filled(2);
    world.hold_links.insert((1, 2));
    world.start_move(1, 0, 2);
    world.settle();
    // The attach, then the copies of the first eight regions are on their way.
    world.hold_links.clear();
    world.hold_links.insert((2, 1));
    world.settle();
    world.hold_links.clear();
    world.hold_links.insert((1, 2));
    world.settle();
    assert_eq!(world.waiting(1, 2, "copy"), 8);
    let in_motion = world.write(1, 3 * REGION, BLOCK, 201);
    let later = world.write(1, 60 * REGION, BLOCK, 202);
    world.settle();
    assert!(world.is_open(1, in_motion), "the region is held");
    assert!(!world.is_open(1, later), "a region that comes later takes writes at once");
    // Let the first copies arrive and hold the rest: region 3 is current now.
    world.hold_links.clear();
    while world.engine(1).counters().moves.regions_sent < 20 && world.is_open(1, in_motion) {
        assert!(world.step());
    }
    world.hold_links.insert((2, 1));
    let mirrored = world.write(1, 3 * REGION, BLOCK, 203);
    world.settle();
    assert!(world.is_open(1, mirrored), "not acknowledged before the copy has it");
    world.hold_links.clear();
    world.settle();
    assert_eq!(world.owner(0), 2);
    assert_eq!(world.byte_at(1, 3 * REGION, BLOCK), 203);
    assert_eq!(world.byte_at(1, 60 * REGION, BLOCK), 202);
    let counters = world.engine(1).counters().moves;
    assert!(
        counters.writes_mirrored >= 1 && counters.writes_waited == 1 && counters.writes_not_yet_copied >= 1
    );
    assert_eq!(counters.regions_sent, 64, "no region was sent twice");
}

#[test]
fn claim_09_a_request_that_resolved_before_the_cut_over_completes_after_it() {
    let mut world = filled(2);
    world.start_move(1, 0, 2);
    world.settle_until(1, MoveStage::Proposing);
    // The read is at the store when the directory decides; the copy stays until it has ended.
    world.hold_stores.insert(1);
    let read = world.read(1, 7 * REGION, BLOCK);
    world.settle();
    assert_eq!(world.owner(0), 2);
    assert!(world.is_open(1, read) && world.holds(1, 0));
    let late = world.read(1, 8 * REGION, BLOCK);
    world.settle();
    assert!(world.is_open(1, late), "the new owner waits for the promise");
    world.hold_stores.clear();
    world.settle();
    assert_eq!(world.read_byte(1, read), 8);
    assert_eq!(world.read_byte(1, late), 9);
    assert!(!world.holds(1, 0));
    assert_eq!(world.engine(1).counters().moves.completed_after_cut_over, 1);
}

#[test]
fn a_target_that_goes_away_ends_the_move_and_no_write() {
    let mut world = filled(2);
    world.start_move_at(1, 0, 2, Some(64 << 10));
    world.pass_ms(100);
    assert_eq!(world.stages(1).last(), Some(&MoveStage::Copying));
    world.crash(2);
    world.write_now(1, 0, BLOCK, 99);
    world.pass_ms(11_000);
    assert_eq!(world.stages(1).last(), Some(&MoveStage::Aborted));
    assert_eq!(world.owner(0), 1);
    world.start(2);
    world.pass_ms(1000);
    assert!(!world.holds(2, 0), "the abandoned copy is freed");
    assert_eq!(world.byte_at(2, 0, BLOCK), 99);
}

#[test]
fn a_target_without_space_ends_the_move() {
    let mut world = filled(2);
    world.servers.get_mut(&2).unwrap().store.no_space_for_copies = true;
    world.start_move(1, 0, 2);
    world.settle();
    assert_eq!(world.stages(1).last(), Some(&MoveStage::Aborted));
    assert!(world.view().route(world.extent(0)).unwrap().intent.is_none());
    assert_eq!(world.byte_at(2, 0, BLOCK), 1);
}

#[test]
fn a_region_that_cannot_be_copied_in_time_lets_writes_go_on_and_ends_the_move_at_last() {
    let mut world = filled(2);
    world.start_move(1, 0, 2);
    while world.waiting(1, 2, "copy") == 0 {
        assert!(world.step());
    }
    world.hold_links.insert((2, 1));
    world.settle();
    let write = world.write(1, 0, BLOCK, 77);
    world.pass_ms(40);
    assert!(world.is_open(1, write) || world.engine(1).counters().moves.writes_waited == 0);
    world.pass_ms(20);
    assert!(!world.is_open(1, write), "a region is held for 50 ms at most");
    world.pass_ms(1_500);
    assert_eq!(world.stages(1).last(), Some(&MoveStage::Aborted));
    world.hold_links.clear();
    world.pass_ms(1000);
    assert_eq!(world.owner(0), 1);
    assert_eq!(world.byte_at(2, 0, BLOCK), 77);
    assert!(!world.holds(2, 0));
}

/// The disk of a server that gives extents away is busy: a read takes longer than writes may be held.
#[test]
fn writes_go_on_while_a_slow_disk_reads_a_region_for_its_copy() {
    let mut world = filled(2);
    world.servers.get_mut(&1).unwrap().store.slow_images = true;
    world.start_move(1, 0, 2);
    for round in 0..8u8 {
        world.pass_ms(200);
        assert_eq!(world.servers[&1].store.images.len(), 8, "round {round}");
        let region = u64::from(round) * 8 + 7;
        if round < 7 {
            let write = world.write(1, (region + 8) * REGION, BLOCK, 200 + round);
            world.settle();
            assert!(!world.is_open(1, write), "nothing is held while it is only read");
        }
        world.answer_images(1);
        world.settle();
    }
    world.settle();
    assert_eq!(world.owner(0), 2);
    assert_eq!(world.byte_at(2, 63 * REGION, BLOCK), 206);
    let counters = world.engine(1).counters().moves;
    assert_eq!((counters.regions_sent, counters.writes_waited), (64, 0));
}

#[test]
fn a_region_that_was_written_to_while_it_was_read_is_read_again() {
    let mut world = filled(2);
    world.servers.get_mut(&1).unwrap().store.slow_images = true;
    world.start_move(1, 0, 2);
    world.settle();
    for turn in 1..READS_AHEAD_MAX {
        let write = world.write(1, 0, BLOCK, 100 + turn);
        world.settle();
        assert!(!world.is_open(1, write));
        world.answer_images(1);
        world.settle();
        assert_eq!(world.engine(1).counters().moves.writes_waited, 0);
    }
    // One more in vain, and writes wait for it; not for longer than for any copy.
    world.write_now(1, 0, BLOCK, 150);
    world.answer_images(1);
    world.settle();
    let waiting = world.write(1, 0, BLOCK, 151);
    world.settle();
    assert!(world.is_open(1, waiting));
    world.pass_ms(50);
    assert!(!world.is_open(1, waiting));
    world.servers.get_mut(&1).unwrap().store.slow_images = false;
    world.answer_images(1);
    world.settle();
    assert_eq!(world.owner(0), 2);
    assert_eq!(world.byte_at(2, 0, BLOCK), 151);
    assert_eq!(world.engine(1).counters().moves.writes_waited, 1);
}

/// A region was held for a read, let go, and is held for the next one; then the answer to the first comes.
#[test]
fn a_late_answer_to_an_earlier_read_of_a_region_counts_for_nothing() {
    // Writes overtake the reads of the first region until one has to wait for it: the byte of that one.
    let mut byte = 100;
    let mut overtake = |world: &mut World| {
        loop {
            byte += 1;
            let write = world.write(1, 0, BLOCK, byte);
            world.settle();
            if world.is_open(1, write) {
                return byte;
            }
            world.answer_images(1);
            world.settle();
        }
    };
    let mut world = filled(2);
    world.servers.get_mut(&1).unwrap().store.slow_images = true;
    world.start_move(1, 0, 2);
    world.settle();
    let held = overtake(&mut world);
    let is_of_region = |outcome: &StoreOutcome| match outcome {
        Ok(StoreReply::Image(image)) => image.data.clone().into_bytes().first() == Some(&(held - 1)),
        _ => false,
    };
    let images = &mut world.servers.get_mut(&1).unwrap().store.images;
    let at = images.iter().position(|(_, outcome)| is_of_region(outcome)).expect("it is held and read");
    let (ticket, outcome) = images.remove(at).unwrap();
    world.pass_ms(50);
    let last = overtake(&mut world);
    world.event(1, crate::Event::Store { ticket, outcome });
    world.servers.get_mut(&1).unwrap().store.slow_images = false;
    world.answer_images(1);
    world.settle();
    assert_eq!(world.stages(1).last(), Some(&MoveStage::Released));
    assert_eq!(world.byte_at(1, 0, BLOCK), last);
}

#[test]
fn the_rate_slows_a_move_down() {
    let mut world = World::new(2);
    for region in 0..64u64 {
        world.write_now(1, region * REGION, REGION_BYTES, 5);
    }
    world.start_move_at(1, 0, 2, Some(1 << 20));
    world.pass_ms(2000);
    let sent = world.engine(1).counters().moves.bytes_sent.max(world.sent("copy") * REGION);
    assert!((1 << 20..=3 << 20).contains(&sent), "{sent} bytes in two seconds at 1 MiB/s");
    world.pass_ms(3000);
    assert_eq!(world.owner(0), 2);
}

#[test]
fn a_move_is_given_up_on_request_before_the_directory_decides() {
    let mut world = filled(2);
    world.start_move_at(1, 0, 2, Some(64 << 10));
    world.pass_ms(200);
    let extent = world.extent(0);
    world.event(1, crate::Event::AbortMove { extent });
    world.settle();
    assert_eq!(world.stages(1).last(), Some(&MoveStage::Aborted));
    assert!(!world.holds(2, 0));
    world.start_move(1, 0, 2);
    world.settle();
    assert_eq!(world.owner(0), 2);
}

#[test]
fn zeroing_reaches_both_copies() {
    let mut world = filled(2);
    world.start_move_at(1, 0, 2, Some(640 << 10));
    world.pass_ms(100);
    let id = world.request(1, BlockOp::Zero { at: ByteRange::new(0, 64 * REGION_BYTES) });
    world.settle();
    assert!(world.outcome(1, id).is_some());
    world.pass_ms(2000);
    assert_eq!(world.owner(0), 2);
    assert_eq!(world.byte_at(1, 0, 64 * REGION_BYTES), 0);
}

#[test]
fn more_moves_than_may_be_under_way_wait_for_their_turn() {
    let mut world = World::new(3);
    for index in 0..20u32 {
        world.write_now(1, u64::from(index) << 22, BLOCK, index as u8);
    }
    for index in 0..20u32 {
        world.start_move(1, index, 2 + index % 2);
    }
    world.pass_ms(3000);
    for index in 0..20u32 {
        assert_eq!(world.owner(index), 2 + index % 2);
        assert_eq!(world.byte_at(3, u64::from(index) << 22, BLOCK), index as u8);
    }
}

/// The target's disk hangs without an error while its server goes on answering: the move ends, and no write with it.
#[test]
fn a_target_whose_disk_hangs_before_it_is_required_ends_the_move_and_delays_a_write_only() {
    let mut world = filled(2);
    world.start_move_at(1, 0, 2, Some(1 << 20));
    while world.sent("copied") == 0 {
        if !world.step() {
            world.pass_ms(1);
        }
    }
    world.pass_ms(50);
    world.hold_stores.insert(2);
    let before = world.sent("write");
    let write = world.write(1, 0, BLOCK, 99);
    world.settle();
    assert!(world.sent("write") > before, "the region is current at the target");
    assert!(world.is_open(1, write));
    world.pass_ms(2_500);
    assert!(matches!(world.outcome(1, write), Some(Ok(_))), "{:?}", world.outcome(1, write));
    assert_eq!(world.stages(1).last(), Some(&MoveStage::Aborted));
    assert_eq!((world.owner(0), world.byte_at(2, 0, BLOCK)), (1, 99));
}
