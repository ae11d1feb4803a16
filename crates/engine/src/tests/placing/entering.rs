//! Which extents and runs get route entries, and when.

use super::*;

/// It was never acknowledged, as the owner's store never had it. Without an entry its copy would be one of an extent that is
/// somewhere else; if it was not freed there in time it would come to life again with a later place.
#[test]
fn a_first_write_that_only_a_copy_has_is_entered_too_and_looked_for_when_it_is_durable() {
    let mut world = started(4, 2);
    assert_eq!(world.byte_at(1, at(7), BLOCK), 0);
    world.hold_stores.extend([1, 2]);
    let _ = world.write(1, at(7), BLOCK, 7);
    world.settle();
    let is_write = |(_, op): &(_, StoreOp)| matches!(op, StoreOp::Write(_));
    while !world.servers[&2].store.queue.iter().any(is_write) {
        // Space is set aside first.
        for n in [1, 2] {
            if !world.servers[&n].store.queue.front().is_none_or(is_write) {
                world.step_store(n);
            }
        }
        world.settle();
    }
    world.crash(1);
    world.start(1);
    world.publish(&[3, 4]);
    world.settle();
    let is_list = |(_, op): &(_, StoreOp)| matches!(op, StoreOp::List { .. });
    assert!(!world.servers[&2].store.queue.iter().any(is_list), "the write is still on its way");
    world.hold_stores.clear();
    world.pass_ms(4_000);
    assert!(!world.swap() && world.hash(2, 7) != 0 && world.hash(1, 7) == 0);
    world.pass_ms(6_000);
    assert!(world.swap());
    world.pass_ms(1_000);
    assert_eq!((entries(&world), world.owner(7)), (vec![7], 1));
    let byte = world.byte_at(3, at(7), BLOCK);
    assert_equal_copies(&world, 7, &[1, 2]);
    assert_eq!(byte, 0, "the owner's copy wins");
}

#[test]
fn an_entry_is_made_only_when_there_is_a_record() {
    let mut world = started(2, 1);
    assert_eq!(world.byte_at(1, at(6), BLOCK), 0);
    world.publish(&[2]);
    world.settle();
    world.hold_stores.insert(1);
    let write = world.write(1, at(6), BLOCK, 6);
    world.pass_ms(1_000);
    assert!(world.is_open(1, write));
    assert!(entries(&world).is_empty());
    world.crash(1);
    world.hold_stores.clear();
    world.start(1);
    world.pass_ms(1_000);
    assert_eq!(world.byte_at(2, at(6), BLOCK), 0, "no medium error");
}

#[test]
fn copies_in_which_nothing_was_written_are_freed_where_the_place_has_them_no_more() {
    let mut world = started(4, 2);
    assert_eq!(world.byte_at(1, at(5), BLOCK), 0);
    assert!(world.holds(1, 5) && world.holds(2, 5));
    for n in [1, 2] {
        world.crash(n);
        world.start(n);
        world.pass_ms(3_000);
    }
    world.publish(&[4, 3]);
    world.pass_ms(1_000);
    assert!(world.swap());
    world.pass_ms(1_000);
    assert!(!world.holds(1, 5) && !world.holds(2, 5));
    assert!(entries(&world).is_empty());
}

#[test]
fn of_a_run_that_is_written_as_a_whole_one_entry_keeps_all() {
    let mut world = started(3, 2);
    for index in 0..64 {
        world.write_now(1, at(index), BLOCK, 1);
    }
    world.publish(&[3, 2]);
    world.pass_ms(4_000);
    assert!(world.swap());
    world.settle();
    assert_eq!((entries(&world).len(), world.view().run_entries(world.volume).count()), (0, 1));
    assert!([0, 39, 63].iter().all(|index| world.owner(*index) == 1));
}

#[test]
fn of_a_run_of_which_some_extents_moved_one_entry_keeps_the_rest() {
    let mut world = started(4, 2);
    for index in 0..64 {
        world.write_now(1, at(index), BLOCK, 1);
    }
    world.start_move(1, 7, 4);
    world.pass_ms(2_000);
    assert_eq!(world.owner(7), 4);
    world.publish(&[3, 2]);
    world.pass_ms(4_000);
    assert!(world.swap());
    world.settle();
    assert_eq!((entries(&world), world.view().run_entries(world.volume).count()), (vec![7], 1));
    assert!([0, 39, 63].iter().all(|index| world.owner(*index) == 1) && world.owner(7) == 4);
}

/// An entry says that a copy is there: one that is not was lost.
#[test]
fn a_record_that_is_missing_in_a_run_with_an_entry_is_an_error_and_no_zeros() {
    let mut world = started(3, 1);
    for index in 0..64 {
        world.write_now(1, at(index), BLOCK, 1);
    }
    world.publish(&[3, 2]);
    world.pass_ms(4_000);
    assert!(world.swap());
    world.crash(1);
    let id = world.extent(9);
    assert!(world.servers.get_mut(&1).unwrap().store.records.remove(&id).is_some());
    world.start(1);
    world.pass_ms(100);
    let read = world.read(2, at(9), BLOCK);
    world.settle();
    assert_eq!(world.error(2, read), Some(BlockError::Medium { offset: at(9) }));
    assert_eq!(world.byte_at(2, at(8), BLOCK), 1);
}

/// Otherwise nothing would ever take what was not written to off a server that is emptied later.
#[test]
fn of_a_run_that_is_written_in_part_each_extent_has_an_entry_of_its_own() {
    let mut world = started(3, 2);
    for index in 0..63 {
        world.write_now(1, at(index), BLOCK, 1);
    }
    world.publish(&[3, 2]);
    world.pass_ms(4_000);
    assert!(world.swap());
    assert_eq!((entries(&world).len(), world.view().run_entries(world.volume).count()), (63, 0));
    assert_eq!(world.owner(63), 3);
}
