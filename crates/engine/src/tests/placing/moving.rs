//! Another place beside moves.

use super::*;

#[test]
fn a_swap_between_propose_and_its_outcome_changes_nothing_about_the_move() {
    for unanswered in [false, true] {
        let mut world = started(3, 1);
        world.write_now(1, at(0), BLOCK, 1);
        world.start_move(1, 0, 3);
        world.settle_until(1, MoveStage::Copying);
        world.publish(&[2]);
        world.pass_ms(200);
        world.hold_txns = true;
        world.settle();
        // Confirmed before the Propose is decided, which waits meanwhile.
        world.hold_txns = false;
        if unanswered {
            world.fate_for = Some(|txn| format!("{txn:?}").contains("/route/"));
            world.fates.push_back(TxnFate::StaysUnderWay);
        }
        world.pass_ms(1_000);
        assert!(world.swap());
        while !world.under_way.is_empty() {
            world.late_txn();
        }
        world.pass_ms(4_000);
        let owner = world.owner(0);
        assert!([1, 3].contains(&owner), "{owner}");
        assert!(unanswered || owner == 3);
        assert_eq!(world.byte_at(2, at(0), BLOCK), 1);
        assert_eq!(world.owner(1), 2);
    }
}

/// The intent of a move would make an entry that says where the extent was before.
#[test]
fn an_intent_that_arrives_after_the_swap_is_refused() {
    let mut world = started(3, 1);
    assert_eq!(world.byte_at(1, at(4), BLOCK), 0);
    world.fates.push_back(TxnFate::StaysUnderWay);
    world.start_move(1, 4, 3);
    world.settle();
    world.publish(&[2]);
    world.pass_ms(1_000);
    assert!(world.swap());
    world.pass_ms(100);
    world.write_now(2, at(4), BLOCK, 4);
    assert!(!world.late_txn());
    world.pass_ms(6_000);
    assert_eq!((world.owner(4), world.byte_at(1, at(4), BLOCK)), (2, 4));
    assert!(!world.holds(1, 4) && !world.holds(3, 4));
}

#[test]
fn a_move_whose_intent_got_lost_keeps_nobody_from_the_extent_for_long() {
    let mut world = started(3, 1);
    assert_eq!(world.byte_at(1, at(4), BLOCK), 0);
    world.fates.push_back(TxnFate::StaysUnderWay);
    world.start_move(1, 4, 3);
    world.settle();
    world.publish(&[2]);
    let write = world.write(1, at(4), BLOCK, 4);
    world.pass_ms(8_000);
    assert!(matches!(world.outcome(1, write), Some(Ok(_))), "{:?}", world.outcome(1, write));
    assert!(!world.late_txn());
    assert_eq!((world.owner(4), world.byte_at(2, at(4), BLOCK)), (1, 4));
}

/// What wakes the extent meanwhile, an attach that is to be tried again, takes the place of the wake by which a lost intent is
/// given up; and no entry is asked for before that.
#[test]
fn a_lost_intent_is_given_up_also_if_the_extent_was_woken_for_something_else_before() {
    for is_slow in [false, true] {
        let mut world = started(3, 2);
        world.write_now(1, at(4), BLOCK, 4);
        world.fates.push_back(TxnFate::StaysUnderWay);
        world.start_move(1, 4, 3);
        world.settle();
        world.publish(&[2, 3]);
        // Server 2 starts anew; server 1 attaches it once more before it has seen that, in the epoch before.
        world.hold_views.insert(1);
        world.crash(2);
        world.start(2);
        let refused = world.sent("attach-refused");
        world.settle();
        assert!(world.sent("attach-refused") > refused, "the attach is to be tried again");
        if is_slow {
            // The wake for that comes while the copies are gathered.
            world.hold_stores.insert(2);
        }
        world.hold_views.clear();
        let write = world.write(1, at(4), BLOCK, 5);
        world.pass_ms(1_000);
        world.hold_stores.clear();
        world.pass_ms(8_000);
        assert!(matches!(world.outcome(1, write), Some(Ok(_))), "{:?}", world.outcome(1, write));
        assert!(entries(&world).contains(&4) && !world.late_txn());
        assert_eq!((world.owner(4), world.byte_at(2, at(4), BLOCK)), (1, 5));
    }
}
