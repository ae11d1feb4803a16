//! What the connections between servers must not do: bring old messages, hide the time that they took, pile up.

use super::replicas::state;
use super::world::World;
use crate::config::{FORWARDED_BYTES_MAX, LINK_CUT_PATIENCE};
use crate::{Event, RequestId};
use evenkeel_meta::change::{Actor, announce, register_server};
use evenkeel_meta::records::ServerRecord;
use evenkeel_meta::{Directory, MemberState};
use evenkeel_peer::Message;
use evenkeel_types::geometry::EXTENT_BYTES;
use evenkeel_types::{BlockOp, ByteRange, Bytes, Incarnation, ServerId};
use std::time::Duration;

const BLOCK: u32 = 4096;
const MIB: u32 = 1 << 20;

#[test]
fn nothing_is_carried_out_that_comes_on_a_connection_that_has_lapsed() {
    let mut world = World::new(2);
    world.write_now(1, 0, BLOCK, 1);
    world.hold_links.insert((2, 1));
    let read = world.read(2, 0, BLOCK);
    assert_eq!(world.waiting(2, 1, "request"), 1);
    // Both stood still: nobody looked at the silence before the message came.
    world.now = world.now + Duration::from_millis(2_001);
    world.hold_links.clear();
    world.settle();
    assert_eq!(world.sent("reply"), 0, "the request was carried out");
    assert!(world.is_open(2, read));
    assert_eq!(world.engine(1).peers().count(), 0, "the connection is given up");
    world.connect(1, 2);
    world.pass_ms(500);
    assert_eq!(world.read_byte(2, read), 1);
}

/// The proof was old already when the request was queued, and the rest of its time went by on the way.
#[test]
fn the_time_on_the_way_counts_for_the_age_of_a_proof() {
    let mut world = World::new(3);
    world.prove = false;
    world.write_now(1, 0, BLOCK, 1);
    world.hold_links.insert((2, 1));
    let id = RequestId(77_777);
    let op = BlockOp::Write { at: ByteRange::new(0, BLOCK), data: Bytes::from(vec![66; BLOCK as usize]) };
    let (volume, proof_at) = (world.volume, world.now - Duration::from_millis(1_000));
    world.event(2, Event::Request { id, volume, op, proof_at, digest: false });
    assert_eq!(world.waiting(2, 1, "request"), 1);
    world.pass_ms(1_500);
    // Its host has sent it through another gateway, and another write after it.
    world.write_now(3, 0, BLOCK, 66);
    world.write_now(3, 0, BLOCK, 2);
    world.hold_links.clear();
    world.pass_ms(500);
    assert_eq!(world.byte_at(1, 0, BLOCK), 2, "the first write came after the last");
    assert!(world.is_open(2, id.0));
    let at = world.now;
    world.event(2, Event::Proof { id, at });
    world.settle();
    assert!(world.outcome(2, id.0).unwrap().is_ok(), "a new proof has it carried out");
}

#[test]
fn a_life_of_a_gateway_uses_no_request_number_of_another() {
    let mut world = World::new(2);
    let mut numbers = Vec::new();
    for _ in 0..2 {
        world.hold_links.insert((2, 1));
        world.read(2, 0, BLOCK);
        let Message::Request(request) = world.take_message(2, 1, "request") else { unreachable!() };
        numbers.push(request.number);
        world.crash(2);
        world.hold_links.clear();
        world.settle();
        world.start(2);
        world.settle();
    }
    assert_ne!(numbers[0], numbers[1]);
}

#[test]
fn a_gateway_has_only_so_many_bytes_under_way_at_an_owner_and_all_get_their_turn() {
    const READS: u64 = 200;
    let mut world = World::new(2);
    world.write_now(1, 0, BLOCK, 1);
    world.hold_stores.insert(1);
    // With it the large ones leave room that is too small for another of them.
    let mut reads = vec![world.read(2, 0, BLOCK)];
    for n in 1..READS {
        reads.push(world.read(2, n % 60 * u64::from(EXTENT_BYTES), MIB));
    }
    // It would fit, but others came first.
    let small = world.read(2, 0, BLOCK);
    world.settle();
    assert_eq!(world.sent("request") * u64::from(MIB), FORWARDED_BYTES_MAX);
    assert_eq!(world.engine(2).counters().retried, 0, "to wait for room is no try");
    let mut at_once = 0;
    while reads.iter().any(|id| world.is_open(2, *id)) {
        let waits = world.sent("request") - world.sent("reply");
        at_once = at_once.max(waits);
        assert!(world.is_open(2, small) || world.sent("request") == READS + 1);
        world.step_store(1);
        world.settle();
    }
    assert_eq!(at_once * u64::from(MIB), FORWARDED_BYTES_MAX);
    world.hold_stores.clear();
    world.settle();
    assert_eq!(world.read_byte(2, small), 1);
    assert!(reads.iter().all(|id| world.outcome(2, *id).unwrap().is_ok()));
}

#[test]
fn what_waits_for_room_at_an_owner_outlives_its_connection() {
    let mut world = World::new(2);
    world.hold_stores.insert(1);
    let writes: Vec<u64> = (0..60).map(|n| world.write(2, n * u64::from(EXTENT_BYTES), MIB, 9)).collect();
    world.settle();
    assert!(world.sent("request") < 60);
    world.disconnect(1, 2);
    world.settle();
    world.connect(1, 2);
    world.hold_stores.clear();
    world.pass_ms(3_000);
    assert!(writes.iter().all(|id| world.outcome(2, *id).is_some_and(Result::is_ok)));
    assert_eq!(world.byte_at(1, 59 * u64::from(EXTENT_BYTES), MIB), 9);
}

/// A server that was let in and has not started yet is down in the directory, and nobody marked it: those that are cut off
/// from each other soon after that are not kept waiting as by a second mark.
#[test]
fn a_server_that_was_just_let_in_delays_no_mark() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(1, 0, BLOCK, 1);
    let by = Actor { server: ServerId(2), incarnation: Incarnation(world.servers[&2].incarnation) };
    let lease = world.directory.grant_lease(Duration::from_secs(60)).unwrap();
    world.commit(&announce(&world.view(), by, lease).unwrap());
    let fourth = ServerRecord {
        name: "s4".into(),
        store_id: 4,
        ..world.view().server(ServerId(3)).unwrap().record.clone()
    };
    let (_, txn) = register_server(&world.view(), &fourth).unwrap();
    world.commit(&txn);
    world.pass_ms(500);
    world.hold_links.extend([(1, 2), (2, 1)]);
    let marked_after = LINK_CUT_PATIENCE.as_millis() as u64 + 1_500;
    world.pass_ms(marked_after);
    assert_ne!(state(&world, 2), MemberState::Up, "it was marked down; it may be on its way back");
}
