//! What takes no space asks for none, and what was set aside in vain is given back.

use super::world::World;
use crate::MoveStage;
use crate::event::{EngineEvent, Event, RequestId};
use evenkeel_types::geometry::{BLOCK_BYTES, EXTENT_BYTES, REGION_BYTES};
use evenkeel_types::store_op::StoreOp;
use evenkeel_types::{BlockError, BlockOp, ByteRange, Regions};

const REGION: u64 = REGION_BYTES as u64;
const BLOCK: u32 = BLOCK_BYTES;

fn zero(offset: u64, len: u64) -> BlockOp {
    BlockOp::Zero { at: ByteRange::new(offset, len as u32) }
}

/// A world in which the first half of the first extent was written, and is on its way to server 2: what was written is
/// there, and the rest of the move waits for its turn.
fn half_moved() -> World {
    let mut world = World::new(3);
    for region in 0..32u64 {
        world.write_now(1, region * REGION, BLOCK, region as u8 + 1);
    }
    world.start_move_at(1, 0, 2, Some(1 << 20));
    world.settle_until(1, MoveStage::Copying);
    while world.servers[&2].store.records.get(&world.extent(0)).is_none_or(|record| record.blocks.len() < 20)
    {
        world.pass_ms(1);
    }
    world
}

fn is_reserved(world: &World, n: u32) -> bool {
    world.servers[&n].store.reserved.values().any(|regions| *regions != Regions::NONE)
}

/// Each record takes a place in the store's table for ever: discarding an empty volume must not use the table up.
#[test]
fn zeroing_what_was_never_written_makes_no_record() {
    let mut world = World::new(2);
    world.write_now(1, 0, BLOCK, 7);
    world.hold_stores.insert(1);
    for gateway in 1..=2 {
        let id = world.request(gateway, zero(5 << 22, u64::from(EXTENT_BYTES)));
        loop {
            world.settle();
            let queue = &world.servers[&1].store.queue;
            assert!(!queue.iter().any(|(_, op)| matches!(op, StoreOp::Write(_))), "{queue:?}");
            if queue.is_empty() {
                break;
            }
            world.step_store(1);
        }
        assert!(matches!(world.outcome(gateway, id), Some(Ok(_))));
    }
    world.hold_stores.clear();
    assert!(!world.servers[&1].store.records.contains_key(&world.extent(5)));
    assert_eq!(world.byte_at(2, 5 << 22, BLOCK), 0);
    // What has a record is written to, with a version.
    world.write_now(1, 5 << 22, BLOCK, 3);
    let id = world.request(2, zero(5 << 22, u64::from(EXTENT_BYTES)));
    world.settle();
    assert!(matches!(world.outcome(2, id), Some(Ok(_))));
    assert_eq!(world.byte_at(1, 5 << 22, BLOCK), 0);
    assert!(world.servers[&1].store.records[&world.extent(5)].blocks.is_empty());
}

#[test]
fn zeroing_during_a_move_needs_no_space() {
    let mut world = half_moved();
    world.servers.get_mut(&1).unwrap().store.no_space_to_reserve = true;
    let before = world.sent("write");
    let id = world.request(1, zero(0, 8 * REGION));
    world.settle();
    assert!(matches!(world.outcome(1, id), Some(Ok(_))), "{:?}", world.outcome(1, id));
    assert!(world.sent("write") > before, "it went to both copies");
    // What takes space is told that there is none.
    let full = world.write(1, 0, BLOCK, 9);
    world.settle();
    assert_eq!(world.error(1, full), Some(BlockError::NoSpace));
    world.servers.get_mut(&1).unwrap().store.no_space_to_reserve = false;
    world.pass_ms(5_000);
    assert_eq!(world.owner(0), 2);
    assert_eq!(world.byte_at(1, 0, BLOCK), 0);
}

/// Two writes to a region wait for the space that both have; the first is given up, and the second must keep it.
#[test]
fn space_set_aside_for_a_write_that_is_given_up_is_given_back_unless_another_needs_it() {
    let mut world = half_moved();
    world.hold_stores.insert(1);
    let given_up = world.write(1, 0, BLOCK, 8);
    let other = world.write(1, u64::from(BLOCK), BLOCK, 9);
    world.event(1, Event::Cancel { id: RequestId(given_up) });
    assert_eq!(world.error(1, given_up), Some(BlockError::Aborted));
    for _ in 0..2 {
        let is_reserve = matches!(world.servers[&1].store.queue.front(), Some((_, StoreOp::Reserve { .. })));
        assert!(is_reserve, "{:?}", world.servers[&1].store.queue);
        world.step_store(1);
    }
    while !matches!(world.servers[&1].store.queue.front(), Some((_, StoreOp::Write(_)))) {
        world.step_store(1);
        world.settle();
    }
    assert!(is_reserved(&world, 1), "the second write goes to the store with its space");
    world.hold_stores.clear();
    world.settle();
    assert!(matches!(world.outcome(1, other), Some(Ok(_))));
    assert!(!is_reserved(&world, 1), "the second write has used it up");
    // One that is alone gives everything back.
    world.hold_stores.insert(1);
    let given_up = world.write(1, 0, BLOCK, 8);
    world.event(1, Event::Cancel { id: RequestId(given_up) });
    world.hold_stores.clear();
    world.settle();
    assert_eq!(world.error(1, given_up), Some(BlockError::Aborted));
    assert!(!is_reserved(&world, 1), "{:?}", world.servers[&1].store.reserved);
}

/// Eight moves that never end would be all that a server may have.
#[test]
fn a_move_whose_record_finds_no_room_is_refused_and_others_go_on() {
    let mut world = World::new(2);
    world.servers.get_mut(&1).unwrap().store.refuse_records = 1;
    world.start_move(1, 5, 2);
    world.settle();
    let refused = |event: &EngineEvent| match event {
        EngineEvent::MoveRefused { why, .. } => Some(why.clone()),
        _ => None,
    };
    let why: Vec<String> = world.servers[&1].events.iter().filter_map(refused).collect();
    assert_eq!(why, ["the store has no room for the extent's record"]);
    assert!(world.engine(1).core.moving.is_empty());
    world.start_move(1, 5, 2);
    world.settle();
    assert_eq!(world.owner(5), 2);
}

/// The store sets nothing aside for a region that has its unit. Zeroing that came second must not give that unit back
/// before the first has used it.
#[test]
fn zeroing_does_not_overtake_a_write_that_has_set_space_aside() {
    let mut world = half_moved();
    world.hold_stores.insert(1);
    let write = world.write(1, u64::from(BLOCK), BLOCK, 9);
    let zero = world.request(1, zero(0, u64::from(BLOCK)));
    let mut written = Vec::new();
    for _ in 0..1000 {
        let first = world.servers[&1].store.queue.front();
        if let Some((_, StoreOp::Write(write))) = first
            && write.blocks.first < 16
        {
            written.push(write.blocks.first);
        }
        if written.len() == 2 {
            break;
        }
        world.step_store(1);
        world.pass_ms(1);
    }
    assert_eq!(written, [1, 0]);
    world.hold_stores.clear();
    world.settle();
    assert!(matches!(world.outcome(1, write), Some(Ok(_))) && matches!(world.outcome(1, zero), Some(Ok(_))));
    assert_eq!((world.byte_at(1, 0, BLOCK), world.byte_at(1, u64::from(BLOCK), BLOCK)), (0, 9));
}

/// A move that is being prepared has no target yet, and asks the store for a record that there may be no room for.
#[test]
fn zeroing_of_what_was_never_written_waits_for_no_move() {
    let mut world = World::new(2);
    world.hold_stores.insert(1);
    world.servers.get_mut(&1).unwrap().store.refuse_records = 1;
    world.start_move(1, 5, 2);
    while !matches!(world.servers[&1].store.queue.front(), Some((_, StoreOp::Accept { .. }))) {
        world.step_store(1);
        world.settle();
    }
    let id = world.request(1, zero(5 << 22, u64::from(EXTENT_BYTES)));
    world.settle();
    assert!(matches!(world.outcome(1, id), Some(Ok(_))), "{:?}", world.outcome(1, id));
    world.hold_stores.clear();
    world.settle();
    assert!(world.engine(1).core.moving.is_empty());
    assert!(!world.servers[&1].store.records.contains_key(&world.extent(5)));
}
