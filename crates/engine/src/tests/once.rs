//! Each write is applied once, however often it is sent.

use super::world::World;
use crate::MoveStage;
use evenkeel_types::geometry::BLOCK_BYTES;
use evenkeel_types::{BlockOp, ByteRange, Bytes};

const BLOCK: u32 = BLOCK_BYTES;

fn swap(expected: u8, new: u8) -> BlockOp {
    BlockOp::CompareAndWrite {
        at: ByteRange::new(0, 512),
        expected: Bytes::from(vec![expected; 512]),
        data: Bytes::from(vec![new; 512]),
    }
}

/// The owner applied the write and went away before it answered; back again, it took another write on top. The retry
/// of a compare-and-write would report a miscompare for its own success.
#[test]
fn a_retry_of_an_applied_write_is_answered_with_its_result_after_a_restart() {
    let mut world = World::new(2);
    world.hold_links.insert((1, 2));
    let first = world.request(2, swap(0, 1));
    world.settle();
    assert_eq!(world.waiting(1, 2, "reply"), 1);
    world.crash(1);
    world.hold_links.clear();
    world.start(1);
    world.pass_ms(50);
    assert!(world.outcome(2, first).unwrap().is_ok());
    assert_eq!(world.engine(1).counters().duplicates, 1);
    assert_eq!(world.byte_at(1, 0, 512), 1);
}

#[test]
fn a_retry_under_way_at_the_same_time_joins_the_first() {
    let mut world = World::new(2);
    world.hold_stores.insert(1);
    let first = world.request(2, swap(0, 1));
    world.settle();
    // Describe and the read; the write stays at the store while the connection breaks and comes back.
    world.step_store(1);
    world.settle();
    world.step_store(1);
    world.settle();
    world.disconnect(1, 2);
    world.connect(1, 2);
    world.pass_ms(50);
    assert!(world.is_open(2, first));
    world.hold_stores.clear();
    world.settle();
    assert!(world.outcome(2, first).unwrap().is_ok());
    assert_eq!(world.engine(1).counters().duplicates, 1);
}

#[test]
fn a_retry_is_recognised_by_the_next_owner() {
    let mut world = World::new(3);
    world.hold_links.insert((1, 3));
    let first = world.request(3, swap(0, 1));
    world.settle();
    assert_eq!(world.waiting(1, 3, "reply"), 1);
    world.start_move(1, 0, 2);
    world.settle();
    assert_eq!(world.owner(0), 2);
    world.write_now(1, 0, 512, 9);
    world.disconnect(1, 3);
    world.hold_links.clear();
    world.settle();
    assert!(world.outcome(3, first).unwrap().is_ok());
    assert_eq!(world.byte_at(1, 0, 512), 9, "it was not applied again");
    assert_eq!(world.engine(2).counters().duplicates, 1);
}

/// The write was left to the copy of its region: the target never saw it as a write, and has to be told its identity.
#[test]
fn a_retry_of_a_write_that_went_with_its_region_is_recognised_by_the_next_owner() {
    let mut world = World::new(3);
    for region in 0..64 {
        world.write_now(1, region * 65536, BLOCK, 7);
    }
    world.start_move_at(1, 0, 2, Some(64 << 10));
    world.pass_ms(200);
    world.hold_links.insert((1, 3));
    let first = world.write(3, 60 * 65536, BLOCK, 8);
    world.settle();
    assert_eq!(world.waiting(1, 3, "reply"), 1);
    let extent = world.extent(0);
    world.event(1, crate::Event::SetMoveRate { extent, rate: None });
    world.settle();
    assert_eq!(world.owner(0), 2);
    world.write_now(1, 60 * 65536, BLOCK, 9);
    world.disconnect(1, 3);
    world.hold_links.clear();
    world.settle();
    assert!(world.outcome(3, first).unwrap().is_ok());
    assert_eq!(world.byte_at(1, 60 * 65536, BLOCK), 9, "it was not applied again");
}

/// The target has a write that never became durable at the owner. The owner restarts and copies its own content over
/// it. If the target went on claiming to have applied the write, its retry would be lost.
#[test]
fn a_copy_forgets_writes_that_its_owner_never_had() {
    let mut world = World::new(3);
    for region in 0..64 {
        world.write_now(1, region * 65536, 8192, 7);
    }
    world.start_move_at(1, 0, 2, Some(64 << 10));
    world.pass_ms(80);
    world.settle_until(1, MoveStage::Copying);
    let write = world.write(3, 4096, BLOCK, 8);
    world.hold_stores.insert(1);
    world.hold_links.insert((2, 1));
    // The reservation is answered; the write is at both stores, and only the target's carries it out.
    while world.sent("write") == 0 {
        if !world.step() {
            world.step_store(1);
        }
    }
    world.settle();
    let there = &world.servers[&2].store.records[&world.extent(0)];
    assert_eq!(there.identities.len(), 1);
    world.disconnect(1, 3);
    world.crash(1);
    world.hold_stores.clear();
    world.hold_links.clear();
    // The gateway cannot reach the restarted owner before the move is over.
    world.start(1);
    world.disconnect(1, 3);
    world.pass_ms(3_000);
    assert_eq!(world.owner(0), 2);
    world.pass_ms(1_000);
    assert!(world.outcome(3, write).unwrap().is_ok());
    assert_eq!(world.byte_at(2, 4096, BLOCK), 8, "the retry was applied");
}

#[test]
fn identities_are_forgotten_when_they_cannot_be_retried_any_more_and_never_before() {
    let mut world = World::new(2);
    for round in 0..200u64 {
        world.write_now(2, (round % 8) * 4096, BLOCK, round as u8);
    }
    let record = &world.servers[&1].store.records[&world.extent(0)];
    assert!(record.identities.len() <= 8, "{} identities", record.identities.len());
    // As many at once as two records could remember: they wait for each other, and all succeed.
    let ids: Vec<u64> = (0..96u64).map(|n| world.write(2, n * 4096, BLOCK, 1)).collect();
    world.pass_ms(2_000);
    assert!(ids.iter().all(|id| world.outcome(2, *id).unwrap().is_ok()));
}

/// A gateway's write waits for its turn when the gateway dies. Nobody waits for it, and its host may have gone on
/// through another gateway.
#[test]
fn what_waits_when_its_connection_ends_is_never_carried_out() {
    let mut world = World::new(3);
    world.write_now(1, 0, BLOCK, 1);
    world.hold_stores.insert(1);
    let first = world.write(2, 0, BLOCK, 2);
    world.settle();
    world.write(3, 0, BLOCK, 3);
    world.settle();
    world.crash(3);
    world.hold_stores.clear();
    world.settle();
    assert!(world.outcome(2, first).unwrap().is_ok());
    assert_eq!(world.byte_at(2, 0, BLOCK), 2);
}

/// A gateway was stopped with a write that its host has given up since. Awake again, its write is not carried out.
#[test]
fn a_gateway_that_slept_does_not_bring_an_old_write() {
    let mut world = World::new(3);
    world.prove = false;
    world.write_now(1, 0, BLOCK, 1);
    world.hold_links.insert((3, 1));
    let zombie = world.write(3, 0, BLOCK, 66);
    world.settle();
    world.write_now(2, 0, BLOCK, 66);
    world.write_now(2, 0, BLOCK, 2);
    // In time the connection lapses at both ends, and the gateway's own retry finds its proof too old.
    world.pass_ms(3_000);
    world.hold_links.clear();
    world.connect(1, 3);
    world.pass_ms(8_000);
    assert!(!matches!(world.outcome(3, zombie), Some(Ok(_))));
    assert_eq!(world.byte_at(2, 0, BLOCK), 2);
}

/// A record remembers fewer writes than a gateway may have open. Writes that came later took every place while an
/// earlier one waited, and were not forgotten as long as it was open: nothing went on.
#[test]
fn more_open_writes_than_a_record_remembers_go_on() {
    const OPEN: usize = 128;
    const ALL: u32 = 600;
    let mut world = World::new(2);
    world.hold_stores.insert(1);
    let mut open = Vec::new();
    let (mut sent, mut ended, mut quiet) = (0, 0, 0);
    while ended < ALL {
        while open.len() < OPEN && sent < ALL {
            open.push(world.write(2, u64::from(sent % 500) * u64::from(BLOCK), BLOCK, 1));
            sent += 1;
        }
        world.settle();
        // The store answers the latest first, and time passes: whoever waits gets its chance to look again.
        world.step_store(1);
        world.pass_ms(1);
        let before = open.len();
        open.retain(|id| world.is_open(2, *id));
        ended += (before - open.len()) as u32;
        quiet = if before == open.len() { quiet + 1 } else { 0 };
        assert!(quiet < 2_000, "{ended} of {ALL} writes ended, {} wait", open.len());
    }
    assert!(world.engine(1).counters().remote_operations >= u64::from(ALL));
}

/// Writes through server 2 to the first extent, one after the other: none waits, and hardly any is remembered.
fn many_writes_end_and_are_forgotten(world: &mut World) {
    for round in 0..200u64 {
        let write = world.write(2, round % 8 * u64::from(BLOCK), BLOCK, round as u8);
        world.settle();
        assert!(
            matches!(world.outcome(2, write), Some(Ok(_))),
            "write {round}: {:?}",
            world.outcome(2, write)
        );
    }
    let record = &world.servers[&1].store.records[&world.extent(0)];
    assert!(record.identities.len() <= 8, "{} identities", record.identities.len());
}

/// A write to an extent whose owner is away stays open for long. It is no reason to remember writes to other extents:
/// their records would be full of them, and everything more to these extents would wait.
#[test]
fn an_owner_that_is_away_slows_no_writes_to_extents_of_others() {
    let mut world = World::new(3);
    world.start_move(1, 1, 3);
    world.settle();
    assert_eq!(world.owner(1), 3);
    world.crash(3);
    let parked = world.write(2, 1 << 22, BLOCK, 1);
    many_writes_end_and_are_forgotten(&mut world);
    assert!(world.is_open(2, parked));
}

/// The same for a write that has reached its owner, whose disk is slow: it may be sent again, so its number stays.
#[test]
fn a_slow_owner_slows_no_writes_to_extents_of_others() {
    let mut world = World::new(3);
    world.start_move(1, 1, 3);
    world.settle();
    world.hold_stores.insert(3);
    let slow = world.write(2, 1 << 22, BLOCK, 1);
    many_writes_end_and_are_forgotten(&mut world);
    // Many at once, and then none: what has ended is told without another write.
    let ids: Vec<u64> = (0..96u64).map(|n| world.write(2, n * 4096, BLOCK, 1)).collect();
    world.pass_ms(2_000);
    let open = ids.iter().filter(|id| world.is_open(2, **id)).count();
    assert_eq!(open, 0, "they wait");
    assert!(world.is_open(2, slow));
    world.hold_stores.clear();
    world.settle();
    assert!(matches!(world.outcome(2, slow), Some(Ok(_))));
}

/// The owner forgets what has ended, and never what may be sent again, however many writes come after it.
#[test]
fn a_write_that_may_be_sent_again_is_remembered_whatever_else_its_extent_forgets() {
    let mut world = World::new(3);
    world.hold_links.insert((1, 2));
    let first = world.request(2, swap(0, 1));
    world.settle();
    assert_eq!(world.waiting(1, 2, "reply"), 1);
    // Later ones of the same gateway are open too.
    let later: Vec<u64> = (16..24u64).map(|n| world.write(2, n * u64::from(BLOCK), BLOCK, 5)).collect();
    world.settle();
    assert_eq!(world.waiting(1, 2, "reply"), 9);
    // Others fill the record, and their own are forgotten.
    for round in 0..200u64 {
        world.write_now(3, (1 + round % 8) * u64::from(BLOCK), BLOCK, round as u8);
    }
    world.write_now(3, 0, 512, 9);
    world.disconnect(1, 2);
    world.hold_links.clear();
    world.connect(1, 2);
    world.pass_ms(50);
    assert!(matches!(world.outcome(2, first), Some(Ok(_))), "{:?}", world.outcome(2, first));
    assert_eq!(world.byte_at(1, 0, 512), 9, "it was not applied again");
    assert!(later.iter().all(|id| matches!(world.outcome(2, *id), Some(Ok(_)))));
    assert_eq!(world.engine(1).counters().duplicates, 9);
}

/// The store stops before a write is durable. Its retry, which comes while the server still talks, is not taken for done.
#[test]
fn a_write_that_a_stopping_store_did_not_take_is_never_answered_as_done() {
    let mut world = World::new(2);
    world.write_now(2, 0, BLOCK, 1);
    world.servers.get_mut(&1).unwrap().store.stopped = true;
    let write = world.write(2, 0, BLOCK, 2);
    world.pass_ms(3_000);
    assert!(!matches!(world.outcome(2, write), Some(Ok(_))), "{:?}", world.outcome(2, write));
}
