//! A volume gets another place: what was written to stays, what was not may go, and nothing is lost in between.

mod confirming;
mod entering;
mod leaving;
mod moving;
mod serving;

use super::replicas::{assert_equal_copies, state};
use super::world::{TxnFate, World};
use crate::MoveStage;
use evenkeel_meta::change::{
    Actor, forget_server, mark_down, next_placing, publish_place, swap_place, withdraw_place,
};
use evenkeel_meta::records::{VolumeRecord, encode_json};
use evenkeel_meta::{MemberState, Operation, Txn};
use evenkeel_types::geometry::{BLOCK_BYTES, EXTENT_BYTES};
use evenkeel_types::store_op::StoreOp;
use evenkeel_types::{BlockError, ServerId};
use std::collections::VecDeque;

const BLOCK: u32 = BLOCK_BYTES;

/// A group that has run for a while: what was promised before the start of any of its servers is over.
fn started(servers: u32, replicas: u8) -> World {
    let mut world = World::with_replicas(servers, replicas);
    world.pass_ms(3_000);
    world
}

fn at(index: u32) -> u64 {
    u64::from(index) * u64::from(EXTENT_BYTES)
}

fn entries(world: &World) -> Vec<u32> {
    world.view().entries(world.volume).map(|(index, _)| index).collect()
}

/// Transactions that give route entries and nothing else.
fn is_entry(txn: &Txn) -> bool {
    txn.success.len() == 1 && format!("{:?}", txn.success).contains("/route/")
}

/// A first write to extent 6 is on its way to the store when another place is published, and the records were looked through
/// without it.
fn with_a_write_that_the_records_do_not_show() -> (World, u64) {
    let mut world = started(2, 1);
    assert_eq!(world.byte_at(1, at(6), BLOCK), 0);
    world.hold_stores.insert(1);
    let write = world.write(1, at(6), BLOCK, 6);
    world.publish(&[2]);
    world.settle();
    let queue = &mut world.servers.get_mut(&1).unwrap().store.queue;
    let list = queue.iter().position(|(_, op)| matches!(op, StoreOp::List { .. })).unwrap();
    let list = queue.remove(list).unwrap();
    queue.push_front(list);
    world.step_store(1);
    (world, write)
}
