//! A crash of either side, or of both, at every step of a move.

use super::world::World;
use crate::config::REGION_COPIES_IN_FLIGHT_MAX;
use crate::event::Event;
use evenkeel_types::geometry::{BLOCK_BYTES, REGION_BYTES};

const REGION: u64 = REGION_BYTES as u64;
const BLOCK: u32 = BLOCK_BYTES;

/// Runs a move with writes, crashes `victims` after `steps` steps, starts them again. False if the move was over by then.
fn crash_at(steps: u32, victims: &[u32]) -> bool {
    let mut world = World::new(3);
    for region in 0..64u64 {
        world.write_now(1, region * REGION, BLOCK, 1);
    }
    world.start_move(1, 0, 2);
    let mut writes = Vec::new();
    for step in 0..steps {
        if step % 5 == 0 {
            let region = u64::from(step * 7 % 64);
            if !writes.iter().any(|(_, _, written, _)| *written == region) {
                let gateway = [1, 3][(step / 5 % 2) as usize];
                let byte = 2 + (step % 250) as u8;
                writes.push((gateway, world.write(gateway, region * REGION, BLOCK, byte), region, byte));
            }
        }
        if !world.step() {
            return false;
        }
    }
    let over = world.view().route(world.extent(0)).unwrap().owner().unwrap().0 == 2;
    let acknowledged: Vec<_> = writes
        .iter()
        .filter(|(gateway, id, ..)| matches!(world.outcome(*gateway, *id), Some(Ok(_))))
        .copied()
        .collect();
    let carried = world.servers[&2].store.records.get(&world.extent(0)).map_or(0, |record| {
        let here = &world.servers[&1].store.records[&world.extent(0)].versions;
        record.versions.iter().zip(here).filter(|(there, here)| there == here).count()
    });
    let sent_before = world.sent("copy");
    for victim in victims {
        world.crash(*victim);
    }
    world.pass_ms(50);
    for victim in victims {
        world.start(*victim);
    }
    world.pass_ms(15_000);
    let sent_after = world.sent("copy") - sent_before;
    // Regions that were at the target with their last version are not sent again, but for those that writes reached in
    // the meantime, or that were in motion.
    let open_writes = writes.len() - acknowledged.len();
    let bound = 64 - carried + REGION_COPIES_IN_FLIGHT_MAX + open_writes;
    assert!(
        sent_after <= bound as u64,
        "step {steps} {victims:?}: {sent_after} sent, at most {bound} expected"
    );
    let owner = world.owner(0);
    assert!(world.view().route(world.extent(0)).unwrap().intent.is_none(), "step {steps}: the move is over");
    for server in 1..=3 {
        assert_eq!(
            world.holds(server, 0),
            server == owner,
            "step {steps} {victims:?}: server {server}, owner {owner}"
        );
    }
    for region in 0..64u64 {
        let byte = world.byte_at(3, region * REGION, BLOCK);
        let written = writes.iter().find(|(_, _, written, _)| *written == region);
        match written {
            None => assert_eq!(byte, 1),
            Some((gateway, id, _, new)) => {
                // A write of a crashed front end has no outcome; every other one has, and what was acknowledged is there.
                let known_good = acknowledged.iter().any(|write| write.2 == region)
                    || !victims.contains(gateway) && matches!(world.outcome(*gateway, *id), Some(Ok(_)));
                assert!(
                    byte == *new || byte == 1 && !known_good,
                    "step {steps} {victims:?}: region {region} has {byte}"
                );
            }
        }
    }
    !over || steps < 50
}

fn crash_at_every_step(victims: &[u32]) {
    let mut steps = 1;
    let mut over_for = 0;
    while steps < 3_000 {
        if !crash_at(steps, victims) {
            over_for += 1;
            if over_for > 10 {
                break;
            }
        }
        // Every step near the beginning and the end matters; in the long middle each kind of step comes many times.
        steps += if (60..300).contains(&steps) { 7 } else { 3 };
    }
    assert!(steps > 100, "the move takes more than a hundred steps");
}

#[test]
fn claim_12_a_crash_of_the_source_at_any_step_is_gone_on_from() {
    crash_at_every_step(&[1]);
}

#[test]
fn claim_12_a_crash_of_the_target_at_any_step_is_gone_on_from() {
    crash_at_every_step(&[2]);
}

#[test]
fn claim_12_a_crash_of_both_at_any_step_is_gone_on_from() {
    crash_at_every_step(&[1, 2]);
}

/// The target restarts while the intent stands, and hears nothing from the owner before the move is given up: all it has
/// to go by is that the directory does not name it any more.
#[test]
fn a_target_that_restarted_gives_its_copy_up_when_the_intent_is_cleared() {
    let mut world = World::new(3);
    for region in 0..64u64 {
        world.write_now(1, region * REGION, BLOCK, 1);
    }
    world.start_move_at(1, 0, 2, Some(REGION));
    world.pass_ms(3_000);
    assert!(world.holds(2, 0), "some regions were carried");
    world.crash(2);
    world.start(2);
    world.disconnect(1, 2);
    world.pass_ms(100);
    assert!(world.holds(2, 0), "the intent names it still");
    let extent = world.extent(0);
    world.event(1, Event::AbortMove { extent });
    world.pass_ms(3_000);
    assert!(world.view().route(extent).unwrap().intent.is_none());
    assert!(!world.holds(2, 0));
}
