//! What takes no space asks for none.

use super::world::World;
use evenkeel_types::geometry::{BLOCK_BYTES, EXTENT_BYTES};
use evenkeel_types::store_op::StoreOp;
use evenkeel_types::{BlockOp, ByteRange};

const BLOCK: u32 = BLOCK_BYTES;

fn zero(offset: u64, len: u64) -> BlockOp {
    BlockOp::Zero { at: ByteRange::new(offset, len as u32) }
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
