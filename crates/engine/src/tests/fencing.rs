//! At most one server answers, and nothing old is applied.

use super::world::World;
use crate::config::{HEARTBEAT_INTERVAL, LEASE, STORE_STALL_MAX};
use crate::{EngineEvent, MoveStage};
use evenkeel_types::ServerId;
use evenkeel_types::geometry::BLOCK_BYTES;

const BLOCK: u32 = BLOCK_BYTES;

fn took_over(world: &World, n: u32) -> Option<bool> {
    world.servers[&n].events.iter().rev().find_map(|event| match event {
        EngineEvent::TookOver { promised, .. } => Some(*promised),
        _ => None,
    })
}

#[test]
fn a_new_owner_serves_nothing_before_the_old_one_promised() {
    let mut world = World::new(2);
    world.write_now(1, 0, BLOCK, 1);
    world.start_move(1, 0, 2);
    world.settle_until(1, MoveStage::Proposing);
    world.hold_links.insert((2, 1));
    world.hold_views.insert(1);
    world.settle();
    assert_eq!(world.owner(0), 2);
    let there = world.read(2, 0, BLOCK);
    world.settle();
    assert!(world.is_open(2, there), "the old owner has not let go");
    // The old owner knows nothing of it, and may still answer by its lease.
    assert_eq!(world.byte_at(1, 0, BLOCK), 1);
    world.hold_links.clear();
    world.settle();
    assert_eq!(world.read_byte(2, there), 1);
    assert_eq!(took_over(&world, 2), Some(true));
    let here = world.read(1, 0, BLOCK);
    world.settle();
    assert!(world.is_open(1, here), "it let go, and its view does not say yet who owns the extent");
    world.hold_views.clear();
    world.settle();
    assert_eq!(world.read_byte(1, here), 1);
}

#[test]
fn without_a_promise_the_new_owner_waits_until_the_lease_is_over() {
    let mut world = World::new(3);
    world.write_now(1, 0, BLOCK, 1);
    world.start_move(1, 0, 2);
    world.settle_until(1, MoveStage::Proposing);
    // From now on the two do not reach each other, and the old owner does not hear of the directory.
    world.hold_links.insert((1, 2));
    world.hold_links.insert((2, 1));
    world.hold_views.insert(1);
    world.hold_txns = true;
    world.settle();
    world.hold_txns = false;
    world.settle();
    assert_eq!(world.owner(0), 2);
    let mut served_by = Vec::new();
    for _ in 0..40 {
        let (old, new) = (world.read(1, 0, BLOCK), world.read(2, 0, BLOCK));
        world.pass_ms(100);
        served_by.push((!world.is_open(1, old), !world.is_open(2, new)));
    }
    assert!(served_by[0].0, "the old owner has its lease");
    assert!(served_by.iter().any(|(_, new)| *new), "the new owner serves at last");
    assert!(served_by.iter().all(|both| *both != (true, true)), "never both: {served_by:?}");
    assert_eq!(took_over(&world, 2), Some(false));
}

/// Whoever goes on without a server does not wait for leases that it gave up: late answers to heartbeats from before give it
/// none back.
#[test]
fn leases_that_were_given_up_do_not_come_back_with_late_answers() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(1, 0, BLOCK, 1);
    world.hold_stores.insert(1);
    let _ = world.write(1, u64::from(BLOCK), BLOCK, 7);
    world.pass(STORE_STALL_MAX - 2 * HEARTBEAT_INTERVAL);
    world.hold_links.insert((2, 1));
    world.hold_txns = true;
    world.pass(3 * HEARTBEAT_INTERVAL);
    assert!(world.engine(1).core.gives_up);
    assert!(world.waiting(2, 1, "heartbeat-ack") > 1, "an answer from before is on its way");
    // Its disk answers again, and the answers arrive.
    let read = world.read(1, 0, BLOCK);
    world.hold_stores.clear();
    world.hold_links.clear();
    world.settle();
    assert!(world.is_open(1, read), "others may be writing already");
    world.pass(2 * HEARTBEAT_INTERVAL);
    assert_eq!(world.read_byte(1, read), 1, "nobody took over, and new heartbeats give new leases");
}

/// What a later life of a server gives up are not the leases of an earlier one, which may not know yet that it has ended.
#[test]
fn a_life_gives_up_its_own_leases_only() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(1, 0, BLOCK, 1);
    let answered = |world: &World| world.engine(2).core.peers[&ServerId(1)].last_answered;
    let of_first_life = answered(&world).expect("it is the owner, and has a lease");
    world.crash(1);
    world.start(1);
    world.connect(1, 2);
    world.settle();
    assert!(answered(&world).is_some_and(|at| at >= of_first_life));
    world.hold_stores.insert(1);
    let _ = world.write(1, 0, BLOCK, 2);
    world.pass(STORE_STALL_MAX + HEARTBEAT_INTERVAL);
    assert_eq!(answered(&world), Some(of_first_life));
}

#[test]
fn a_restart_does_not_shorten_the_wait_for_a_lease() {
    let mut world = World::new(2);
    world.write_now(1, 0, BLOCK, 1);
    world.start_move(1, 0, 2);
    world.settle_until(1, MoveStage::Proposing);
    world.hold_views.insert(1);
    world.settle();
    // The target restarts at once; the old owner is cut off from it without noticing.
    world.hold_links.insert((1, 2));
    world.hold_links.insert((2, 1));
    world.crash(2);
    world.start(2);
    let read = world.read(2, 0, BLOCK);
    world.pass_ms(2_000);
    assert!(world.is_open(2, read), "a lease given before the restart may last");
    world.pass_ms(1_000);
    assert_eq!(world.read_byte(2, read), 1);
}

#[test]
fn an_owner_without_the_required_targets_lease_answers_no_read() {
    let mut world = World::new(3);
    world.write_now(1, 0, BLOCK, 1);
    world.start_move(1, 0, 2);
    world.settle_until(1, MoveStage::Proposing);
    world.hold_txns = true;
    world.hold_links.insert((2, 1));
    world.pass_ms(2_100);
    let read = world.read(1, 0, BLOCK);
    world.settle();
    assert!(world.is_open(1, read));
    world.hold_links.clear();
    world.hold_txns = false;
    // What comes after such a silence ends the connection; the next one gives the lease.
    world.settle();
    world.connect(1, 2);
    world.pass_ms(3_000);
    assert_eq!(world.read_byte(1, read), 1);
}

#[test]
fn nothing_is_acknowledged_without_a_required_target() {
    let mut world = World::new(2);
    world.write_now(1, 0, BLOCK, 1);
    world.start_move(1, 0, 2);
    world.settle_until(1, MoveStage::Proposing);
    world.hold_txns = true;
    world.disconnect(1, 2);
    let write = world.write(1, 0, BLOCK, 2);
    world.pass_ms(1_000);
    assert!(world.is_open(1, write));
    world.hold_txns = false;
    world.connect(1, 2);
    world.pass_ms(5_000);
    assert!(world.outcome(1, write).unwrap().is_ok());
    assert_eq!(world.byte_at(2, 0, BLOCK), 2);
}

/// A write to both copies is lost with its connection; the attach finds the region different, the copy carries it. When
/// the old message arrives after all, it is refused: it names another attachment, and a version that is not there.
#[test]
fn a_write_that_arrives_after_the_copy_that_carried_it_is_not_applied_again() {
    let mut world = World::new(2);
    for region in 0..64 {
        world.write_now(1, region * 65536, BLOCK, 1);
    }
    world.start_move_at(1, 0, 2, Some(100 << 10));
    world.pass_ms(60);
    world.hold_links.insert((1, 2));
    let write = world.write(1, 0, BLOCK, 2);
    world.settle();
    assert_eq!(world.waiting(1, 2, "write"), 1);
    let stale = world.take_message(1, 2, "write");
    world.disconnect(1, 2);
    world.hold_links.clear();
    world.connect(1, 2);
    world.settle();
    assert!(
        world.outcome(1, write).unwrap().is_ok(),
        "a client write never waits for a target that may be dropped"
    );
    world.pass_ms(100);
    let refusals = world.engine(2).counters().stale_refusals;
    world.event(2, crate::Event::Message { from: ServerId(1), message: stale });
    world.settle();
    assert_eq!(world.engine(2).counters().stale_refusals, refusals + 1);
    world.pass_ms(10_000);
    assert_eq!(world.owner(0), 2);
    assert_eq!(world.byte_at(1, 0, BLOCK), 2);
}

/// The target's view is older than the intent: it sees itself as neither replica nor target.
#[test]
fn a_copy_is_not_freed_on_a_view_older_than_the_epoch_accepted() {
    let mut world = World::new(2);
    world.write_now(1, 0, BLOCK, 1);
    world.hold_views.insert(2);
    world.start_move_at(1, 0, 2, Some(64 << 10));
    world.pass_ms(300);
    assert!(world.holds(2, 0));
    world.pass_ms(5_000);
    assert_eq!(world.owner(0), 2, "the copy stayed, the move went on");
    assert!(world.holds(2, 0));
    world.hold_views.clear();
    world.pass_ms(1_000);
    assert_eq!(world.byte_at(1, 0, BLOCK), 1);
}

/// The target finishes copying, restarts and reads the directory just before Propose is taken: it finds a copy that
/// only the intent protects.
#[test]
fn absence_is_no_evidence_for_a_target_that_restarts() {
    let mut world = World::new(2);
    world.write_now(1, 0, BLOCK, 1);
    world.start_move(1, 0, 2);
    world.settle_until(1, MoveStage::Proposing);
    world.hold_txns = true;
    world.crash(2);
    world.start(2);
    world.settle();
    assert!(world.holds(2, 0));
    world.hold_txns = false;
    world.pass_ms(6_000);
    assert_eq!(world.byte_at(2, 0, BLOCK), 1);
    assert_eq!(world.holds(1, 0), world.owner(0) == 1);
    assert_eq!(world.holds(2, 0), world.owner(0) == 2);
}

/// The successor attaches the old owner and is cut off from it before the promise. The old owner's view still calls it
/// owner, and its new reign would not know that the target is required.
#[test]
fn an_owner_that_began_to_let_go_does_not_reign_again_by_its_old_view() {
    let mut world = World::new(2);
    world.write_now(1, 0, BLOCK, 1);
    world.start_move(1, 0, 2);
    world.settle_until(1, MoveStage::Proposing);
    world.hold_views.insert(1);
    world.hold_stores.insert(1);
    let pinned = world.read(1, 0, BLOCK);
    world.settle();
    assert_eq!(world.owner(0), 2);
    world.disconnect(1, 2);
    world.hold_stores.clear();
    world.pass_ms(3_000);
    world.write_now(2, 0, BLOCK, 2);
    let later = world.read(1, 0, BLOCK);
    world.pass_ms(500);
    assert!(world.is_open(1, pinned) && world.is_open(1, later));
    world.hold_views.clear();
    world.connect(1, 2);
    world.pass_ms(1_000);
    assert_eq!(world.read_byte(1, later), 2);
}

#[test]
fn an_attach_below_the_epoch_that_the_own_view_gives_is_refused() {
    let mut world = World::new(2);
    world.write_now(1, 0, BLOCK, 1);
    let epoch = world.view().route(world.extent(0)).unwrap().epoch;
    for (epoch, refused) in [(evenkeel_types::Epoch(epoch.0 - 1), 1), (evenkeel_types::Epoch(epoch.0 + 1), 1)]
    {
        let attach = evenkeel_peer::Attach {
            extent: world.extent(0),
            epoch,
            attachment: epoch.0,
            part: evenkeel_peer::Part::Target,
            replicas: vec![ServerId(1)],
        };
        let message = evenkeel_peer::Message::Attach(attach);
        world.event(2, crate::Event::Message { from: ServerId(1), message });
        world.settle();
        assert_eq!(world.sent("attach-refused"), refused);
        // One above it is of an owner that is ahead of this server's view.
        assert_eq!(world.holds(2, 0), world.sent("attached") == 1);
    }
    assert_eq!(world.sent("attached"), 1);
}

#[test]
fn a_missing_copy_is_a_medium_error_and_never_zeros() {
    let mut world = World::new(2);
    world.write_now(1, 0, BLOCK, 1);
    world.start_move(1, 0, 2);
    world.settle();
    let extent = world.extent(0);
    world.crash(2);
    world.servers.get_mut(&2).unwrap().store.records.remove(&extent);
    world.start(2);
    let read = world.read(1, 0, BLOCK);
    world.pass_ms(3_000);
    assert_eq!(world.error(1, read), Some(evenkeel_types::BlockError::Medium { offset: 0 }));
    assert!(world.servers[&2].events.contains(&EngineEvent::CopyMissing { extent }));
}

#[test]
fn an_owner_that_is_cut_off_tells_when_the_lease_ended_without_which_it_serves_nothing() {
    let mut world = World::with_replicas(2, 2);
    world.write_now(1, 0, BLOCK, 1);
    world.pass_ms(1_000);
    let cut_at = world.now;
    world.hold_links.extend([(1, 2), (2, 1)]);
    let until_a_lease_ends = LEASE.as_millis() as u64 + 100;
    world.pass_ms(until_a_lease_ends);
    let stops = |n: u32| {
        world.servers[&n].events.iter().find_map(|event| match event {
            EngineEvent::StopsServing { server, extents, lease_ended } => {
                Some((*server, *extents, *lease_ended))
            }
            _ => None,
        })
    };
    let (server, extents, lease_ended) = stops(1).expect("it says so");
    assert_eq!((server, extents), (ServerId(2), 1));
    assert!(lease_ended <= cut_at + LEASE, "the last lease is of the time before the cut");
    assert!(lease_ended + HEARTBEAT_INTERVAL >= cut_at + LEASE, "one was given with each heartbeat");
    assert_eq!(stops(2), None, "server 2 owns nothing");
}
