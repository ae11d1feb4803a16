//! Bringing a server that was away up to date.

use super::replicas::{assert_equal_copies, state};
use super::world::World;
use crate::config::{ACTIVE_EXTENTS_MAX, REGION_COPIES_IN_FLIGHT_MAX};
use evenkeel_meta::MemberState;
use evenkeel_types::ServerId;
use evenkeel_types::geometry::{BLOCK_BYTES, EXTENT_BYTES, REGION_BYTES};

const BLOCK: u32 = BLOCK_BYTES;

/// Server 2, which has a copy of what server 1 owns, is back after 32 regions were written without it; the first of
/// them are on their way to it, and no answers of its come through.
fn returning() -> (World, u64) {
    let mut world = World::with_replicas(3, 2);
    world.crash(2);
    world.pass_ms(6_000);
    for region in 0..32 {
        world.write_now(1, region * u64::from(REGION_BYTES), BLOCK, 1);
    }
    let before = world.sent("copy");
    world.start(2);
    for _ in 0..100_000 {
        if world.sent("copy") > before {
            break;
        }
        if !world.step() {
            world.pass_ms(10);
        }
    }
    world.hold_links.insert((2, 1));
    (world, before)
}

/// Regions that were let go meanwhile are still on their way, and neither go twice nor make room for more.
#[test]
fn a_returned_server_that_answers_late_has_a_bounded_number_of_regions_on_their_way_each_once() {
    let (mut world, before) = returning();
    world.pass_ms(500);
    let on_their_way = world.sent("copy") - before;
    assert!((1..=REGION_COPIES_IN_FLIGHT_MAX as u64).contains(&on_their_way), "{on_their_way}");
    world.hold_links.clear();
    world.pass_ms(2_000);
    assert_eq!(state(&world, 2), MemberState::Up);
    assert_equal_copies(&world, 0, &[1, 2]);
    assert_eq!(world.sent("copy") - before, 32);
}

/// The copy that a returning server still lacks moves to another one: the owner owes it nothing there any more.
#[test]
fn a_returning_server_does_not_wait_for_a_copy_that_moved_away_meanwhile() {
    let (mut world, _) = returning();
    world.hold_links.clear();
    world.start_move_of(1, 0, 2, 3);
    let moved = [ServerId(1), ServerId(3)];
    for _ in 0..100_000 {
        // What it says about regions is late.
        while world.waiting(2, 1, "copied") > 0 {
            world.take_message(2, 1, "copied");
        }
        if world.view().route(world.extent(0)).unwrap().replicas.to_vec() == moved {
            break;
        }
        if !world.step() {
            world.pass_ms(1);
        }
    }
    assert_eq!(world.view().route(world.extent(0)).unwrap().replicas.to_vec(), moved);
    world.pass_ms(3_000);
    assert_eq!(state(&world, 2), MemberState::Up);
    assert_equal_copies(&world, 0, &[1, 3]);
}

/// An extent that nobody wrote has an entry in the directory since it was moved. A replica that was away then has no
/// record of it, which later would be an alarm.
#[test]
fn a_returning_server_gets_the_record_of_an_empty_extent_that_moved_without_it() {
    let mut world = World::with_replicas(3, 2);
    world.crash(2);
    world.pass_ms(6_000);
    world.start_move(1, 0, 3);
    world.pass_ms(1_000);
    assert_eq!(world.view().route(world.extent(0)).unwrap().replicas.to_vec(), [ServerId(3), ServerId(2)]);
    // Its owner has forgotten it since.
    world.crash(3);
    world.start(3);
    world.start(2);
    world.pass_ms(6_000);
    assert_eq!(state(&world, 2), MemberState::Up);
    world.crash(3);
    let read = world.read(1, 0, BLOCK);
    world.pass_ms(5_000);
    assert_eq!(world.read_byte(1, read), 0);
}

/// The owner of a copy that is not yet good gives it away, and says that all that it owns was compared. Neither the
/// returning server nor the new owner has heard of the move.
#[test]
fn a_returning_server_believes_no_owner_that_is_ahead_of_its_view() {
    let mut world = World::with_replicas(3, 2);
    world.start_move(1, 5, 3);
    world.settle();
    world.crash(2);
    world.pass_ms(6_000);
    for region in 0..32 {
        world.write_now(1, region * u64::from(REGION_BYTES), BLOCK, 1);
    }
    world.start(2);
    let moved = [ServerId(3), ServerId(2)];
    let mut is_ordered = false;
    for _ in 0..100_000 {
        while world.waiting(2, 1, "copied") > 0 {
            world.take_message(2, 1, "copied");
            if !is_ordered {
                is_ordered = true;
                world.hold_views.extend([2, 3]);
                world.start_move(1, 0, 3);
            }
        }
        if world.view().route(world.extent(0)).unwrap().replicas.to_vec() == moved {
            break;
        }
        if !world.step() {
            world.pass_ms(1);
        }
    }
    assert_eq!(world.view().route(world.extent(0)).unwrap().replicas.to_vec(), moved);
    world.disconnect(1, 2);
    world.connect(1, 2);
    world.pass_ms(1_000);
    assert_eq!(state(&world, 2), MemberState::Syncing);
    world.hold_views.clear();
    for _ in 0..100_000 {
        if state(&world, 2) == MemberState::Up {
            break;
        }
        if !world.step() {
            world.pass_ms(1);
        }
    }
    // At the moment when it is up it may become owner: it has everything.
    assert_eq!(state(&world, 2), MemberState::Up);
    assert_equal_copies(&world, 0, &[2, 3]);
    world.pass_ms(1_000);
    assert_eq!(world.byte_at(1, 0, BLOCK), 1);
}

/// Each of these moves names the returning server. What was compared already is not compared again.
#[test]
fn moves_of_its_copies_do_not_begin_the_comparison_with_a_returning_server_anew() {
    let (mut world, _) = returning();
    world.hold_links.clear();
    let compared = world.sent("inventory");
    let moved = [ServerId(3), ServerId(2)];
    for index in 1..9 {
        world.start_move(1, index, 3);
        for _ in 0..100_000 {
            // It never has everything: what it says about regions does not come.
            while world.waiting(2, 1, "copied") > 0 {
                world.take_message(2, 1, "copied");
            }
            if world.view().route(world.extent(index)).unwrap().replicas.to_vec() == moved {
                break;
            }
            if !world.step() {
                world.pass_ms(1);
            }
        }
        assert_eq!(world.view().route(world.extent(index)).unwrap().replicas.to_vec(), moved);
    }
    assert_eq!(state(&world, 2), MemberState::Syncing);
    assert_eq!(world.sent("inventory"), compared, "no page was asked for again");
    world.disconnect(1, 2);
    world.connect(1, 2);
    world.pass_ms(3_000);
    assert_eq!(state(&world, 2), MemberState::Up);
    assert_equal_copies(&world, 0, &[1, 2]);
}

#[test]
fn copies_that_nobody_uses_take_no_memory_and_are_freed_when_they_have_moved() {
    let mut world = World::with_replicas(3, 2);
    for index in 0..64u64 {
        world.write_now(1, index * u64::from(EXTENT_BYTES), BLOCK, index as u8);
    }
    for n in [1, 2] {
        let kept = world.engine(n).extents.len();
        assert!(kept <= ACTIVE_EXTENTS_MAX + 1, "server {n} keeps {kept} extents in memory");
    }
    let forgotten = (0..64).find(|index| !world.engine(2).extents.contains_key(&world.extent(*index)));
    let index = forgotten.expect("most are forgotten");
    assert!(world.holds(2, index));
    world.start_move_of(1, index, 2, 3);
    world.pass_ms(1_000);
    assert!(!world.holds(2, index) && world.holds(3, index));
    assert_eq!(world.byte_at(2, u64::from(index) * u64::from(EXTENT_BYTES), BLOCK), index as u8);
}

/// The copies are there after a start, and nothing is kept in memory of them before somebody uses them.
#[test]
fn a_start_reads_no_copy_into_memory_that_may_stay() {
    let mut world = World::with_replicas(2, 2);
    for index in 0..64u64 {
        world.write_now(1, index * u64::from(EXTENT_BYTES), BLOCK, 1);
    }
    world.crash(2);
    world.start(2);
    world.settle();
    let kept = world.engine(2).extents.len();
    assert!(kept <= ACTIVE_EXTENTS_MAX, "{kept} extents: more than its owner uses");
}

/// What this server has given up is not owned again by a view that is behind, also if nothing is kept of it in memory.
#[test]
fn an_extent_that_was_given_up_is_not_owned_again_by_an_old_view() {
    let mut world = World::new(3);
    world.write_now(1, 0, BLOCK, 1);
    world.start_move(1, 0, 2);
    while world.view().route(world.extent(0)).unwrap().owner() != Some(ServerId(2)) {
        assert!(world.step(), "the extent moves");
    }
    // It learns how the move ended, and neither sees it nor is asked for its promise.
    world.hold_views.insert(1);
    world.disconnect(1, 2);
    world.pass_ms(4_000);
    // The new owner serves; this server's view still says that it is the owner.
    world.write_now(2, 0, BLOCK, 2);
    for index in 1..60 {
        world.write_now(1, index * u64::from(EXTENT_BYTES), BLOCK, 1);
    }
    let read = world.read(1, 0, BLOCK);
    world.settle();
    assert!(world.is_open(1, read), "it waits for its view");
    world.hold_views.clear();
    world.connect(1, 2);
    world.pass_ms(1_000);
    assert_eq!(world.read_byte(1, read), 2);
}
