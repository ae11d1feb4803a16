//! Copies are made anew beside hosts' requests, and those hardly feel it.

use super::world::World;
use crate::config::{
    FOREGROUND_SAMPLES_MIN, FOREGROUND_WINDOW, HEARTBEAT_INTERVAL, REBUILD_AFTER, REBUILD_MOVE_COST,
    REBUILD_RATE_START, REBUILD_REST, REBUILDS_MAX, SILENCE_MAX,
};
use crate::{EngineEvent, MoveStage};
use evenkeel_types::geometry::{BLOCK_BYTES, EXTENT_BYTES, REGION_BYTES};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Hosts' requests at the first server have just taken that long.
fn note(world: &mut World, took: Duration) {
    let engine = world.servers.get_mut(&1).unwrap().engine.as_mut().unwrap();
    (0..=FOREGROUND_SAMPLES_MIN).for_each(|_| engine.core.foreground.note(took));
}

/// The rates of moves under way at the first server.
fn rates(world: &World) -> Vec<u64> {
    let extents = world.engine(1).extents.values();
    extents.filter_map(|extent| extent.reign.as_ref()?.mover.as_ref()?.rate).collect()
}

/// The rate of the first move that empties a server, where hosts' requests take 1 ms before and so long meanwhile.
fn rates_beside(meanwhile: Duration) -> Vec<u64> {
    let mut world = World::with_replicas(3, 2);
    for at in (0..2 * u64::from(EXTENT_BYTES)).step_by(REGION_BYTES as usize) {
        world.write_now(1, at, BLOCK_BYTES, 1);
    }
    for _ in 0..20 {
        note(&mut world, MS);
        world.pass(FOREGROUND_WINDOW);
    }
    world.drain(1);
    while rates(&world).is_empty() {
        world.pass_ms(1);
    }
    // The moves stand still for a while, but not so long that the others are given up.
    world.hold_links.extend([(1, 2), (1, 3)]);
    note(&mut world, meanwhile);
    world.pass(FOREGROUND_WINDOW + FOREGROUND_WINDOW / 2);
    let rates = rates(&world);
    world.hold_links.clear();
    world.pass_ms(5_000);
    assert!((0..2).all(|index| world.owner(index) != 1), "it is emptied all the same");
    rates
}

#[test]
fn a_server_is_emptied_slower_where_hosts_feel_it() {
    let each = REBUILD_RATE_START / REBUILDS_MAX as u64;
    assert_eq!(rates_beside(MS), [each * 3 / 2]);
    assert_eq!(rates_beside(3 * MS), [each * 2 / 3]);
}

#[test]
fn what_requests_take_is_noted_at_the_owner_however_they_came() {
    let mut world = World::with_replicas(2, 2);
    world.write_now(1, 0, BLOCK_BYTES, 1);
    world.write_now(2, 0, BLOCK_BYTES, 2);
    assert_eq!(world.byte_at(2, 0, BLOCK_BYTES), 2);
    let seen = |n| world.engine(n).core.foreground.seen();
    assert_eq!((seen(1), seen(2)), (3, 0));
}

/// Extents in the order in which their moves began at the first server.
fn begun(world: &World) -> Vec<u32> {
    let begun = world.servers[&1].events.iter().filter_map(|event| match event {
        EngineEvent::Move(event) if event.stage == MoveStage::Preparing => Some(event.extent.index),
        _ => None,
    });
    begun.collect()
}

#[test]
fn the_hottest_extents_are_made_anew_first() {
    let mut world = World::with_replicas(3, 2);
    for index in 0..8 {
        world.write_now(1, index * u64::from(EXTENT_BYTES), BLOCK_BYTES, 1);
    }
    let hot = [world.extent(6), world.extent(3), world.extent(7)];
    world.servers.get_mut(&1).unwrap().engine.as_mut().unwrap().set_hot(hot);
    world.drain(1);
    world.pass_ms(10_000);
    assert_eq!(begun(&world)[..3], [6, 3, 7]);
    assert!((0..8).all(|index| world.owner(index) != 1));
}

/// However little there is to be copied.
#[test]
fn a_move_is_followed_by_the_next_as_soon_as_the_rate_allows() {
    let mut world = World::with_replicas(3, 2);
    for index in 0..12 {
        world.write_now(1, index * u64::from(EXTENT_BYTES), BLOCK_BYTES, 1);
    }
    world.drain(1);
    while begun(&world).is_empty() {
        world.pass_ms(1);
    }
    let each = Duration::from_micros(REBUILD_MOVE_COST * 1_000_000 / REBUILD_RATE_START);
    assert!(each < HEARTBEAT_INTERVAL, "or heartbeats alone would do");
    for count in 1..=3 {
        assert_eq!(begun(&world).len(), count);
        world.pass(each);
    }
    world.pass_ms(10_000);
    assert!((0..12).all(|index| world.owner(index) != 1));
}

/// Where all that are left have a copy already, there is nowhere to make one anew.
#[test]
fn records_are_not_looked_through_over_and_over_where_no_server_can_take_a_copy() {
    let mut world = World::with_replicas(3, 3);
    world.write_now(1, 0, BLOCK_BYTES, 1);
    world.crash(3);
    world.pass(REBUILD_AFTER + SILENCE_MAX + REBUILD_REST);
    let looks = world.servers[&1].store.lists;
    world.pass(10 * REBUILD_REST);
    let looks = world.servers[&1].store.lists - looks;
    assert!((5..=12).contains(&looks), "{looks} looks in ten rests");
}
