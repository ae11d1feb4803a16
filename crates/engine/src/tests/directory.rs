//! Moves whose transactions are lost, late, or refused.

use super::world::{TxnFate, World};
use crate::MoveStage;
use evenkeel_meta::{Operation, RouteEntry, Txn};
use evenkeel_types::geometry::BLOCK_BYTES;

const BLOCK: u32 = BLOCK_BYTES;

/// Whether a transaction is a Propose: it writes a route entry with a past owner.
fn is_propose(txn: &Txn) -> bool {
    txn.success.iter().any(|operation| match operation {
        Operation::Put { value, .. } => RouteEntry::decode(value).is_ok_and(|entry| entry.from.is_some()),
        _ => false,
    })
}

fn world(fate: TxnFate) -> World {
    let mut world = World::new(2);
    world.write_now(1, 0, BLOCK, 1);
    world.fate_for = Some(is_propose);
    world.fates.push_back(fate);
    world.start_move(1, 0, 2);
    world
}

#[test]
fn a_propose_that_happened_unanswered_is_learned_from_the_view() {
    let mut world = world(TxnFate::HappensUnanswered);
    world.settle();
    assert_eq!(world.owner(0), 2);
    assert_eq!(world.stages(1).last(), Some(&MoveStage::Released));
    assert_eq!(world.byte_at(1, 0, BLOCK), 1);
}

#[test]
fn a_propose_that_happened_unanswered_is_learned_from_the_clearing_if_the_view_lags() {
    let mut world = world(TxnFate::HappensUnanswered);
    world.settle_until(1, MoveStage::Proposing);
    world.hold_views.insert(1);
    world.hold_views.insert(2);
    world.pass_ms(1_000);
    let write = world.write(1, 0, BLOCK, 2);
    world.pass_ms(1_000);
    // The target is required still, and it answers: the write is on both copies.
    assert!(world.outcome(1, write).unwrap().is_ok());
    assert!(world.stages(1).last() != Some(&MoveStage::Aborted));
    world.hold_views.clear();
    world.pass_ms(3_000);
    assert_eq!(world.owner(0), 2);
    assert_eq!(world.byte_at(1, 0, BLOCK), 2);
}

/// Reading the directory would say "not moved"; then the Propose arrives. What settles it is the clearing of the intent:
/// after that the late Propose is refused.
#[test]
fn a_propose_under_way_is_settled_by_clearing_the_intent_never_by_reading() {
    let mut world = world(TxnFate::StaysUnderWay);
    world.settle();
    world.disconnect(1, 2);
    let write = world.write(1, 0, BLOCK, 2);
    world.pass_ms(300);
    assert!(world.is_open(1, write), "while the outcome is unknown the target is required");
    world.connect(1, 2);
    world.pass_ms(2_000);
    assert_eq!(world.stages(1).last(), Some(&MoveStage::Aborted));
    assert!(world.outcome(1, write).unwrap().is_ok());
    assert!(!world.late_txn(), "the late Propose is refused");
    world.pass_ms(1_000);
    assert_eq!(world.owner(0), 1);
    assert_eq!(world.byte_at(2, 0, BLOCK), 2);
    assert!(!world.holds(2, 0));
}

/// A write is lost on its way to a required target. The target is attached again, and becomes owner before the write
/// comes a second time: it must not claim to have it.
#[test]
fn a_required_target_never_claims_a_write_that_it_does_not_have() {
    let mut world = World::new(3);
    world.write_now(1, 0, BLOCK, 1);
    world.fate_for = Some(is_propose);
    world.fates.push_back(TxnFate::StaysUnderWay);
    world.start_move(1, 0, 2);
    world.settle();
    world.hold_links.insert((1, 2));
    let write = world.write(3, 0, BLOCK, 2);
    world.settle();
    assert_eq!(world.waiting(1, 2, "write"), 1);
    world.disconnect(1, 2);
    world.hold_links.clear();
    world.connect(1, 2);
    while world.waiting(1, 2, "copy") == 0 {
        assert!(world.step(), "its region is copied, and brings its identity");
    }
    world.disconnect(1, 2);
    world.disconnect(1, 3);
    assert!(world.late_txn());
    world.pass_ms(4_000);
    assert!(world.outcome(3, write).unwrap().is_ok());
    assert_eq!(world.byte_at(2, 0, BLOCK), 2);
}

#[test]
fn a_propose_that_comes_late_but_first_wins_over_the_clearing() {
    let mut world = world(TxnFate::StaysUnderWay);
    world.settle();
    world.hold_views.insert(1);
    world.pass_ms(300);
    assert!(world.late_txn());
    world.pass_ms(1_000);
    let write = world.write(1, 0, BLOCK, 2);
    world.pass_ms(1_000);
    world.hold_views.clear();
    world.pass_ms(4_000);
    assert!(world.outcome(1, write).unwrap().is_ok());
    assert_eq!(world.owner(0), 2);
    assert_eq!(world.byte_at(2, 0, BLOCK), 2);
    assert_eq!(world.stages(1).last(), Some(&MoveStage::Released));
}

#[test]
fn a_propose_that_certainly_did_not_happen_is_made_again() {
    let mut world = world(TxnFate::Unavailable);
    world.pass_ms(1_000);
    assert_eq!(world.owner(0), 2);
    assert_eq!(world.byte_at(1, 0, BLOCK), 1);
}

#[test]
fn a_propose_is_refused_when_any_key_of_the_route_has_changed() {
    let mut world = World::new(2);
    world.write_now(1, 0, BLOCK, 1);
    world.start_move(1, 0, 2);
    world.settle_until(1, MoveStage::Proposing);
    assert_eq!(world.txns.len(), 1);
    world.hold_txns = true;
    world.crash(2);
    world.start(2);
    world.hold_txns = false;
    // The target's record has changed since; the first Propose is refused, the next one is made in the new epoch.
    world.pass_ms(2_000);
    let proposals = world.stages(1).iter().filter(|stage| **stage == MoveStage::Proposing).count();
    assert_eq!(proposals, 2);
    assert_eq!(world.owner(0), 2);
}

#[test]
fn a_prepare_whose_answer_is_lost_becomes_the_move_that_the_view_shows() {
    let mut world = World::new(2);
    world.write_now(1, 0, BLOCK, 1);
    world.fates.push_back(TxnFate::HappensUnanswered);
    world.start_move(1, 0, 2);
    world.pass_ms(1_000);
    assert_eq!(world.owner(0), 2);
}

#[test]
fn a_prepare_that_comes_very_late_is_a_move_that_is_gone_on_with() {
    let mut world = World::new(2);
    world.write_now(1, 0, BLOCK, 1);
    world.fates.push_back(TxnFate::StaysUnderWay);
    world.start_move(1, 0, 2);
    world.pass_ms(8_000);
    assert_eq!(world.stages(1).last(), Some(&MoveStage::Aborted));
    assert!(world.late_txn());
    world.pass_ms(1_000);
    assert_eq!(world.owner(0), 2);
    assert_eq!(world.byte_at(1, 0, BLOCK), 1);
}

#[test]
fn the_data_path_does_not_need_the_directory() {
    let mut world = World::new(2);
    world.hold_txns = true;
    world.hold_views.insert(1);
    world.hold_views.insert(2);
    world.write_now(2, 0, BLOCK, 1);
    world.pass_ms(20_000);
    assert_eq!(world.byte_at(1, 0, BLOCK), 1);
    assert_eq!(world.byte_at(2, 0, BLOCK), 1);
}
