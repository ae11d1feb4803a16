//! Several copies of each extent: what one server alone cannot lose.

use super::world::{TxnFate, World};
use crate::config::{HEARTBEAT_INTERVAL, STORE_STALL_MAX};
use crate::{EngineEvent, Event};
use evenkeel_meta::MemberState;
use evenkeel_types::geometry::{BLOCK_BYTES, REGION_BYTES};
use evenkeel_types::store_op::StoreOp;
use evenkeel_types::{ExtentId, ServerId, VolumeId};

const BLOCK: u32 = BLOCK_BYTES;

pub(super) fn state(world: &World, n: u32) -> MemberState {
    world.view().member(ServerId(n)).unwrap().record.state
}

/// Copies of an extent with equal versions, as many as there are.
fn copies(world: &World, index: u32, servers: &[u32]) -> Vec<u64> {
    let extent = world.extent(index);
    servers.iter().map(|n| world.servers[n].store.records[&extent].versions_hash()).collect()
}

pub(super) fn assert_equal_copies(world: &World, index: u32, servers: &[u32]) {
    let copies = copies(world, index, servers);
    assert!(copies.iter().all(|copy| *copy == copies[0]), "copies of extent {index}: {copies:?}");
}

#[test]
fn a_write_is_answered_when_all_replicas_have_it() {
    let mut world = World::with_replicas(3, 3);
    world.write_now(1, 0, BLOCK, 1);
    for slow in [2, 3] {
        world.hold_stores.insert(slow);
        let write = world.write(1, 0, BLOCK, 2);
        world.settle();
        assert!(world.is_open(1, write), "server {slow} has not made it durable");
        world.hold_stores.clear();
        world.settle();
        assert!(world.outcome(1, write).unwrap().is_ok());
    }
    assert_equal_copies(&world, 0, &[1, 2, 3]);
    assert_eq!(world.byte_at(3, 0, BLOCK), 2);
}

/// What a copy set aside is there, but for a store that finds its file system full: then its server has to leave, for others
/// have the write.
#[test]
fn a_replica_that_cannot_take_a_sequenced_write_says_so_and_goes() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(1, 0, BLOCK, 1);
    world.servers.get_mut(&2).unwrap().store.refuse_writes = 1;
    let write = world.write(1, 0, BLOCK, 2);
    world.settle();
    assert!(world.is_open(1, write), "one copy does not have it");
    let extent = world.extent(0);
    assert!(world.servers[&2].events.contains(&EngineEvent::CannotKeepUp { extent }));
    world.crash(2);
    world.pass_ms(4_500);
    assert!(world.outcome(1, write).unwrap().is_ok());
    assert_eq!(state(&world, 2), MemberState::Down);
    assert_eq!(world.byte_at(3, 0, BLOCK), 2);
}

#[test]
fn another_replica_takes_over_from_a_dead_owner_and_has_everything() {
    let mut world = World::with_replicas(3, 2);
    for region in 0..8 {
        world.write_now(1, region * u64::from(REGION_BYTES), BLOCK, region as u8 + 1);
    }
    world.crash(1);
    let read = world.read(3, 0, BLOCK);
    let write = world.write(3, u64::from(REGION_BYTES), BLOCK, 99);
    world.pass_ms(4_500);
    assert_eq!(world.read_byte(3, read), 1);
    assert!(world.outcome(3, write).unwrap().is_ok());
    assert_eq!(state(&world, 1), MemberState::Down);
    assert_eq!(world.owner(0), 2);
    for region in 2..8 {
        assert_eq!(world.byte_at(3, region * u64::from(REGION_BYTES), BLOCK), region as u8 + 1);
    }
}

#[test]
fn a_returned_server_gets_the_regions_that_differ_and_no_others() {
    let mut world = World::with_replicas(3, 2);
    for region in 0..32 {
        world.write_now(1, region * u64::from(REGION_BYTES), BLOCK, 1);
    }
    // An extent that nobody touches meanwhile.
    let quiet = u64::from(evenkeel_types::geometry::EXTENT_BYTES);
    world.write_now(1, quiet, BLOCK, 1);
    world.crash(2);
    world.pass_ms(4_000);
    for region in [3, 17] {
        world.write_now(1, region * u64::from(REGION_BYTES), BLOCK, 2);
    }
    let (sent, attached) = (world.sent("copy"), world.sent("attach"));
    world.start(2);
    world.pass_ms(2_000);
    assert_eq!(world.sent("copy") - sent, 2);
    assert!(world.sent("attach") > attached);
    assert_eq!(state(&world, 2), MemberState::Up);
    assert_equal_copies(&world, 0, &[1, 2]);
    let compared = world.servers[&1].events.iter().find_map(|event| match event {
        EngineEvent::Compared { regions, .. } => Some(*regions),
        _ => None,
    });
    assert_eq!(compared, Some(128));
    assert!(world.servers[&2].events.contains(&EngineEvent::Rejoined));
    // It is as good as the other from now on.
    world.crash(1);
    let read = world.read(3, 17 * u64::from(REGION_BYTES), BLOCK);
    world.pass_ms(4_500);
    assert_eq!(world.read_byte(3, read), 2);
}

/// A is away, B takes a write alone and goes away: A comes back, and does not serve; only B has everything.
#[test]
fn the_last_one_up_owns_and_nobody_serves_before_it_is_back() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(3, 0, BLOCK, 1);
    world.crash(1);
    world.pass_ms(4_000);
    world.write_now(3, 0, BLOCK, 2);
    world.crash(2);
    world.pass_ms(4_000);
    assert_eq!(state(&world, 2), MemberState::Down, "a server that holds nothing of it marks it too");
    world.start(1);
    let read = world.read(3, 0, BLOCK);
    world.pass_ms(8_000);
    assert!(world.is_open(3, read), "the copy that is there misses a write");
    assert_eq!(state(&world, 1), MemberState::Syncing);
    world.start(2);
    world.pass_ms(4_000);
    let again = world.read(3, 0, BLOCK);
    world.pass_ms(100);
    assert_eq!(world.read_byte(3, again), 2);
    world.pass_ms(2_000);
    assert_eq!((state(&world, 1), state(&world, 2)), (MemberState::Up, MemberState::Up));
    assert_equal_copies(&world, 0, &[1, 2]);
}

/// A server that starts again before anybody noticed is as good as before: whatever was acknowledged is durable there.
#[test]
fn a_quick_restart_stays_up_and_gets_a_new_epoch() {
    let mut world = World::with_replicas(2, 2);
    world.write_now(1, 0, BLOCK, 1);
    let before = world.view().route(world.extent(0)).unwrap().epoch;
    world.crash(1);
    world.start(1);
    let read = world.read(2, 0, BLOCK);
    world.pass_ms(3_000);
    assert_eq!(world.read_byte(2, read), 1);
    assert!(world.view().route(world.extent(0)).unwrap().epoch > before);
    assert_eq!((state(&world, 1), state(&world, 2)), (MemberState::Up, MemberState::Up));
    assert_eq!(world.owner(0), 1);
}

/// Cut off from everybody, the owner stops answering before the other replica begins.
#[test]
fn an_owner_that_is_cut_off_stops_before_another_one_starts() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(1, 0, BLOCK, 1);
    for (a, b) in [(1, 2), (2, 1), (1, 3), (3, 1)] {
        world.hold_links.insert((a, b));
    }
    world.hold_views.insert(1);
    let mut served_by = Vec::new();
    for _ in 0..60 {
        let (old, new) = (world.read(1, 0, BLOCK), world.read(3, 0, BLOCK));
        world.pass_ms(100);
        served_by.push((!world.is_open(1, old), !world.is_open(3, new)));
    }
    assert!(served_by[0].0, "the owner has its lease");
    assert!(served_by.iter().any(|(_, new)| *new), "the other one serves at last");
    assert!(served_by.iter().all(|both| *both != (true, true)), "never both: {served_by:?}");
    let stale = world.write(1, 0, BLOCK, 66);
    world.write_now(3, 0, BLOCK, 2);
    world.hold_views.clear();
    world.hold_links.clear();
    world.settle();
    for (a, b) in [(1, 2), (1, 3)] {
        world.connect(a, b);
    }
    world.pass_ms(6_000);
    assert!(!matches!(world.outcome(1, stale), Some(Ok(_))), "it was cut off when that was asked");
    assert_eq!(world.byte_at(3, 0, BLOCK), 2);
    assert_eq!(state(&world, 1), MemberState::Up, "it came back by itself");
    assert_equal_copies(&world, 0, &[1, 2]);
}

/// The owner's disk hangs: its server goes on talking, and the others go on without it. It gave up its leases, and nobody
/// waits for them.
#[test]
fn an_owner_whose_store_hangs_is_replaced_at_once() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(1, 0, BLOCK, 1);
    world.hold_stores.insert(1);
    let write = world.write(3, 0, BLOCK, 2);
    world.pass(STORE_STALL_MAX + 3 * HEARTBEAT_INTERVAL);
    assert!(world.outcome(3, write).unwrap().is_ok());
    assert_eq!(world.owner(0), 2);
    assert_eq!(world.byte_at(3, 0, BLOCK), 2);
}

/// Where all disks hang at once nobody is better off than the others, and when they answer again all go on as before.
#[test]
fn nobody_is_marked_where_all_disks_hang_at_once() {
    for servers in [2, 3] {
        let mut world = World::with_replicas(servers, 2);
        world.write_now(1, 0, BLOCK, 1);
        let write = world.write(1, 0, BLOCK, 2);
        for n in 1..=servers {
            world.hold_stores.insert(n);
            // Each has something to do for its neighbour, and none notices at the same time as another.
            let neighbour = n % servers + 1;
            let engine = world.servers.get_mut(&neighbour).unwrap().engine.as_mut().unwrap();
            assert!(engine.ask_inventory(ServerId(n), 1, ExtentId { volume: VolumeId(0), index: 0 }, 1));
            world.event(neighbour, Event::Timer);
            world.pass(HEARTBEAT_INTERVAL / 3);
        }
        world.pass(2 * STORE_STALL_MAX);
        assert!((1..=servers).all(|n| world.engine(n).core.gives_up));
        world.hold_stores.clear();
        world.pass_ms(8_000);
        let marks: u64 = (1..=servers).map(|n| world.engine(n).counters().marked_down).sum();
        assert_eq!(marks, 0, "of {servers}");
        assert!(world.outcome(1, write).unwrap().is_ok());
        assert_eq!(world.byte_at(2, 0, BLOCK), 2);
    }
}

/// Its disk answers again before anybody could mark it: what it said then counts no longer.
#[test]
fn a_server_whose_store_answers_again_is_as_good_as_before() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(1, 0, BLOCK, 1);
    world.hold_stores.insert(1);
    let write = world.write(3, 0, BLOCK, 2);
    world.hold_txns = true;
    world.pass(STORE_STALL_MAX + 2 * HEARTBEAT_INTERVAL);
    assert!(world.engine(2).core.peers[&ServerId(1)].gives_up);
    world.txns.clear();
    world.hold_stores.clear();
    world.pass(HEARTBEAT_INTERVAL);
    world.txns.clear();
    world.hold_txns = false;
    world.pass_ms(8_000);
    let marks: u64 = (1..=3).map(|n| world.engine(n).counters().marked_down).sum();
    assert_eq!(marks, 0);
    assert!(world.outcome(3, write).unwrap().is_ok());
}

/// The move of one of two copies; the owner stays.
#[test]
fn a_replica_that_is_not_the_owner_moves() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(1, 0, BLOCK, 1);
    world.start_move_of(1, 0, 2, 3);
    world.pass_ms(1_000);
    let route = world.view().route(world.extent(0)).unwrap();
    assert_eq!(route.replicas.to_vec(), [ServerId(1), ServerId(3)]);
    world.write_now(2, 0, BLOCK, 2);
    assert_equal_copies(&world, 0, &[1, 3]);
    assert!(!world.holds(2, 0), "the copy that was replaced is given up");
}

/// A lost copy is rebuilt elsewhere by a move that replaces a server that is down.
#[test]
fn a_copy_at_a_dead_server_is_rebuilt_at_another() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(1, 0, BLOCK, 1);
    world.crash(2);
    world.pass_ms(4_000);
    world.write_now(1, 0, BLOCK, 2);
    world.start_move_of(1, 0, 2, 3);
    world.pass_ms(1_000);
    let route = world.view().route(world.extent(0)).unwrap();
    assert_eq!(route.replicas.to_vec(), [ServerId(1), ServerId(3)]);
    world.crash(1);
    let read = world.read(3, 0, BLOCK);
    world.pass_ms(4_500);
    assert_eq!(world.read_byte(3, read), 2);
}

/// A disk that is full at one copy refuses the write before any copy has it.
#[test]
fn a_write_without_space_at_one_copy_is_applied_at_none() {
    let mut world = World::with_replicas(2, 2);
    world.write_now(1, 0, BLOCK, 1);
    world.servers.get_mut(&2).unwrap().store.no_space_to_reserve = true;
    let far = 40 * u64::from(REGION_BYTES);
    let write = world.write(1, far, BLOCK, 2);
    world.pass_ms(100);
    assert_eq!(world.error(1, write), Some(evenkeel_types::BlockError::NoSpace));
    assert_equal_copies(&world, 0, &[1, 2]);
    assert_eq!(world.byte_at(1, far, BLOCK), 0);
    // What needs no new space goes on.
    world.write_now(1, 0, BLOCK, 3);
    world.servers.get_mut(&2).unwrap().store.no_space_to_reserve = false;
    world.pass_ms(1_500);
    world.write_now(1, far, BLOCK, 4);
    assert_equal_copies(&world, 0, &[1, 2]);
}

/// A server is gone for good: after a while its copies are at another one, and the group can lose the next.
#[test]
fn the_copies_of_a_server_that_stays_away_are_made_anew_by_themselves() {
    let mut world = World::with_replicas(4, 2);
    let extent = u64::from(evenkeel_types::geometry::EXTENT_BYTES);
    for index in 0..5u32 {
        world.write_now(3, u64::from(index) * extent, BLOCK, index as u8 + 1);
    }
    world.crash(2);
    world.pass(crate::config::REBUILD_AFTER - std::time::Duration::from_secs(30));
    assert_eq!(world.view().route(world.extent(0)).unwrap().replicas.to_vec(), [ServerId(1), ServerId(2)]);
    world.pass_ms(60_000);
    let mut homes = std::collections::BTreeSet::new();
    for index in 0..5u32 {
        let route = world.view().route(world.extent(index)).unwrap();
        assert!(!route.replicas.contains(&ServerId(2)), "extent {index}: {:?}", route.replicas);
        homes.extend(route.replicas.iter().copied());
        let servers: Vec<u32> = route.replicas.iter().map(|server| server.0).collect();
        assert_equal_copies(&world, index, &servers);
    }
    assert_eq!(homes.len(), 3, "the new copies are not all at one server");
    world.crash(1);
    world.pass_ms(5_000);
    for index in 0..5u32 {
        let read = world.read(3, u64::from(index) * extent, BLOCK);
        world.pass_ms(1_000);
        assert_eq!(world.read_byte(3, read), index as u8 + 1);
    }
}

/// While more than a third of the servers are down it is a cut, and nothing is copied.
#[test]
fn nothing_is_made_anew_while_many_servers_are_away() {
    let mut world = World::with_replicas(4, 3);
    world.write_now(1, 0, BLOCK, 1);
    world.crash(2);
    world.crash(3);
    world.pass(crate::config::REBUILD_AFTER * 2);
    assert_eq!((state(&world, 2), state(&world, 3)), (MemberState::Down, MemberState::Down));
    let replicas = world.view().route(world.extent(0)).unwrap().replicas.to_vec();
    assert_eq!(replicas, [ServerId(1), ServerId(2), ServerId(3)]);
}

/// A server that is being emptied gives its copies to others, also those that it owns.
#[test]
fn a_server_that_is_emptied_keeps_no_copy() {
    let mut world = World::with_replicas(4, 2);
    let extent = u64::from(evenkeel_types::geometry::EXTENT_BYTES);
    for index in 0..5u32 {
        world.write_now(3, u64::from(index) * extent, BLOCK, index as u8 + 1);
    }
    world.drain(1);
    world.pass_ms(30_000);
    for index in 0..5u32 {
        let route = world.view().route(world.extent(index)).unwrap();
        assert!(!route.replicas.contains(&ServerId(1)), "extent {index}: {:?}", route.replicas);
        assert!(!world.holds(1, index));
        assert_eq!(world.byte_at(4, u64::from(index) * extent, BLOCK), index as u8 + 1);
    }
}

/// A block that cannot be read at the owner is read from the other copy, and mended.
#[test]
fn a_bad_block_is_mended_from_another_copy_and_the_reader_does_not_notice() {
    let mut world = World::with_replicas(2, 2);
    world.write_now(1, 0, 4 * BLOCK, 7);
    let extent = world.extent(0);
    world.servers.get_mut(&1).unwrap().store.bad.insert((extent, 2));
    // A read, and a write of part of the block.
    let read = world.read(1, 0, 4 * BLOCK);
    let write = world.write(1, 2 * u64::from(BLOCK) + 512, 512, 9);
    world.pass_ms(100);
    assert_eq!(world.read_byte(1, read), 7);
    assert!(world.outcome(1, write).unwrap().is_ok());
    assert_eq!(world.byte_at(1, 2 * u64::from(BLOCK), 512), 7);
    assert_eq!(world.byte_at(1, 2 * u64::from(BLOCK) + 512, 512), 9);
    assert!(world.servers[&1].store.bad.is_empty());
    assert_eq!(world.engine(1).counters().mended, 1);
    assert_equal_copies(&world, 0, &[1, 2]);
}

/// Bad at both copies: the reader hears it, for what it asked, and everything else goes on.
#[test]
fn a_block_that_is_bad_at_all_copies_is_a_medium_error() {
    let mut world = World::with_replicas(2, 2);
    world.write_now(1, 0, 4 * BLOCK, 7);
    let extent = world.extent(0);
    for server in [1, 2] {
        world.servers.get_mut(&server).unwrap().store.bad.insert((extent, 2));
    }
    let read = world.read(2, 0, 4 * BLOCK);
    world.pass_ms(100);
    let offset = 2 * u64::from(BLOCK);
    assert_eq!(world.error(2, read), Some(evenkeel_types::BlockError::Medium { offset }));
    assert_eq!(world.byte_at(2, 0, BLOCK), 7);
    assert_eq!(world.engine(1).counters().mended, 0);
}

/// The other copy is away for a moment: the reader waits for it, or for the word that it is down.
#[test]
fn a_reader_waits_for_a_copy_that_is_away_before_it_hears_of_a_bad_block() {
    for comes_back in [true, false] {
        let mut world = World::with_replicas(3, 2);
        world.write_now(1, 0, 4 * BLOCK, 7);
        let extent = world.extent(0);
        world.servers.get_mut(&1).unwrap().store.bad.insert((extent, 2));
        world.hold_links.insert((1, 2));
        let read = world.read(1, 0, 4 * BLOCK);
        world.settle();
        assert!(world.is_open(1, read));
        world.disconnect(1, 2);
        world.hold_links.clear();
        if comes_back {
            world.connect(1, 2);
            world.pass_ms(500);
            assert_eq!(world.read_byte(1, read), 7);
        } else {
            world.crash(2);
            world.pass_ms(5_000);
            assert!(matches!(world.error(1, read), Some(evenkeel_types::BlockError::Medium { .. })));
        }
    }
}

/// A write was on its way when the connection broke: it is not answered before the copy has it after all.
#[test]
fn a_write_that_a_broken_connection_lost_waits_for_its_region_at_the_copy() {
    let mut world = World::with_replicas(2, 2);
    world.write_now(1, 0, BLOCK, 1);
    world.hold_links.insert((1, 2));
    let write = world.write(1, 0, BLOCK, 2);
    world.settle();
    world.disconnect(1, 2);
    world.hold_links.clear();
    world.connect(1, 2);
    // The copy is attached again, and its region is on its way to the store.
    while world.servers[&2].store.queue.iter().all(|(_, op)| !matches!(op, StoreOp::InstallRegion { .. })) {
        assert!(world.step(), "the region is copied");
        assert!(world.is_open(1, write), "the copy does not have it yet");
    }
    world.settle();
    assert!(world.outcome(1, write).unwrap().is_ok());
    assert_equal_copies(&world, 0, &[1, 2]);
}

/// A server's word that it is up is on its way. Until it knows what became of it, it takes part in nothing new: an owner
/// that has not seen it up would not wait for it.
#[test]
fn a_server_that_is_becoming_up_answers_no_attach() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(1, 0, BLOCK, 1);
    world.crash(2);
    world.pass_ms(4_000);
    world.fate_for = Some(|txn| format!("{txn:?}").contains("\\\"state\\\":\\\"up\\\""));
    world.fates.push_back(TxnFate::StaysUnderWay);
    world.hold_txns = false;
    world.start(2);
    world.settle();
    assert_eq!(world.under_way.len(), 1, "its word is on its way");
    world.disconnect(1, 2);
    world.connect(1, 2);
    let (attached, write) = (world.sent("attached"), world.write(1, 0, BLOCK, 2));
    world.settle();
    assert_eq!(world.sent("attached"), attached);
    assert!(world.is_open(1, write));
    assert!(world.late_txn(), "it was up all the time, for all that the others knew");
    world.pass_ms(3_000);
    assert!(world.outcome(1, write).unwrap().is_ok());
    assert_equal_copies(&world, 0, &[1, 2]);
}

/// Being marked down again is not leaving: the one that left `up` last stays the one that has everything.
#[test]
fn who_is_marked_down_while_syncing_does_not_become_the_last_one_up() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(3, 0, BLOCK, 1);
    world.crash(2);
    world.pass_ms(4_000);
    world.write_now(3, 0, BLOCK, 2);
    world.crash(1);
    world.pass_ms(4_000);
    world.start(2);
    world.pass_ms(1_000);
    world.crash(2);
    world.pass_ms(8_000);
    assert_eq!(state(&world, 2), MemberState::Down);
    world.start(2);
    let read = world.read(3, 0, BLOCK);
    world.pass_ms(8_000);
    assert!(!matches!(world.outcome(3, read), Some(Ok(_))), "the copy that is there misses a write");
    world.start(1);
    world.pass_ms(4_000);
    let read = world.read(3, 0, BLOCK);
    world.pass_ms(100);
    assert_eq!(world.read_byte(3, read), 2);
}

/// Only the link between two of three is cut: a third one reaches both, so neither is marked at once. In the end the
/// server with the higher number goes.
#[test]
fn a_cut_between_two_of_three_takes_the_higher_number_and_not_at_once() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(1, 0, BLOCK, 1);
    world.hold_links.insert((1, 2));
    world.hold_links.insert((2, 1));
    world.pass_ms(3_400);
    assert_eq!((state(&world, 1), state(&world, 2)), (MemberState::Up, MemberState::Up));
    world.pass_ms(3_000);
    assert_eq!(state(&world, 1), MemberState::Up);
    assert_ne!(state(&world, 2), MemberState::Up);
}

/// An owner has seen more than the server that comes back: what it looked at says nothing of an extent that has another
/// owner by then, one that has promised nothing.
#[test]
fn what_an_owner_compared_by_a_later_view_counts_only_once_that_view_is_here() {
    let mut world = World::with_replicas(3, 3);
    world.write_now(1, 0, BLOCK, 1);
    for server in [1, 2] {
        world.crash(server);
        world.pass_ms(4_000);
    }
    world.write_now(3, 0, BLOCK, 2);
    world.hold_txns = true;
    world.start(2);
    world.settle();
    assert_eq!(world.txns.len(), 1, "its word that it is up is on its way");
    world.hold_links.insert((3, 1));
    world.start(1);
    world.settle();
    world.hold_views.insert(1);
    world.hold_txns = false;
    world.settle();
    assert_eq!((state(&world, 1), state(&world, 2)), (MemberState::Syncing, MemberState::Up));
    world.hold_links.clear();
    world.settle();
    assert_eq!(state(&world, 1), MemberState::Syncing);
    world.hold_views.clear();
    world.pass_ms(4_000);
    let read = world.read(3, 0, BLOCK);
    world.pass_ms(100);
    assert_eq!(world.read_byte(3, read), 2);
    assert_eq!(state(&world, 1), MemberState::Up);
    assert_equal_copies(&world, 0, &[1, 2, 3]);
}

/// A write over two regions reached the copy in one of them only, by the region's copy; then the owner died. Its retry is
/// not taken for done.
#[test]
fn a_write_that_a_copy_has_in_part_is_done_in_the_other_part_only() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(3, 0, 2 * REGION_BYTES, 1);
    world.hold_links.insert((1, 2));
    let write = world.write(3, 0, 2 * REGION_BYTES, 2);
    world.settle();
    world.disconnect(1, 2);
    world.hold_links.clear();
    world.connect(1, 2);
    while world.waiting(1, 2, "copy") == 0 {
        assert!(world.step(), "the regions are copied");
    }
    world.hold_links.insert((1, 2));
    world.settle();
    assert_eq!(world.waiting(1, 2, "copy"), 2);
    let first = world.take_message(1, 2, "copy");
    world.event(2, Event::Message { from: ServerId(1), message: first });
    world.settle();
    world.crash(1);
    world.hold_links.clear();
    world.pass_ms(6_000);
    assert!(world.outcome(3, write).unwrap().is_ok());
    assert_eq!(world.byte_at(3, 0, 2 * REGION_BYTES), 2);
}

/// The volume goes while its extents are compared: the server that came back is up all the same.
#[test]
fn a_volume_that_is_deleted_meanwhile_keeps_nobody_from_coming_back() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(1, 0, BLOCK, 1);
    world.crash(2);
    world.pass_ms(4_000);
    world.write_now(1, 0, BLOCK, 2);
    let attached = world.sent("attach");
    world.start(2);
    while world.sent("attach") == attached {
        assert!(world.step(), "the extent differs, and its copy is attached");
    }
    world.hold_stores.insert(2);
    world.settle();
    world.delete_volume();
    world.settle();
    world.hold_stores.clear();
    world.pass_ms(3_000);
    assert_eq!(state(&world, 2), MemberState::Up);
}
