//! A volume gets another place: what was written to stays, what was not may go, and nothing is lost in between.

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

#[test]
fn what_was_written_stays_also_if_it_was_between_publication_and_swap_and_the_rest_goes() {
    let mut world = started(2, 1);
    world.write_now(1, at(0), BLOCK, 1);
    world.publish(&[2]);
    world.settle();
    // For the first time, by both portals.
    world.write_now(1, at(1), BLOCK, 2);
    world.write_now(2, at(2), BLOCK, 3);
    assert!((1..=2).all(|index| entries(&world).contains(&index)), "before anything is written");
    world.pass_ms(1_000);
    assert!(world.swap());
    world.settle();
    assert_eq!([0, 1, 2, 3].map(|index| world.owner(index)), [1, 1, 1, 2]);
    assert_eq!(entries(&world), [0, 1, 2]);
    for n in [1, 2] {
        assert_eq!([0, 1, 2, 3].map(|index| world.byte_at(n, at(index), BLOCK)), [1, 2, 3, 0]);
    }
    world.write_now(1, at(3), BLOCK, 4);
    assert!(world.holds(2, 3) && !world.holds(1, 3));
    // What was only read keeps no copy where it is not any more.
    assert!(!world.holds(1, 4));
}

/// Server 1 has confirmed, and does not know that the place was swapped in: it answers nothing of what was its own.
#[test]
fn an_owner_that_has_confirmed_answers_no_reads_of_what_it_has_not_entered() {
    for replicas in [1, 2] {
        let mut world = started(4, replicas);
        // In use, and never written to.
        assert_eq!(world.byte_at(1, at(5), BLOCK), 0);
        world.publish(&[4, 3][..usize::from(replicas)]);
        world.pass_ms(1_000);
        world.hold_views.insert(1);
        assert!(world.swap());
        world.settle();
        world.write_now(2, at(5), BLOCK, 7);
        assert_eq!(world.owner(5), 4);
        let read = world.read(1, at(5), BLOCK);
        world.settle();
        assert!(world.is_open(1, read), "{:?}", world.outcome(1, read));
        world.hold_views.clear();
        world.pass_ms(1_000);
        assert_eq!(world.read_byte(1, read), 7);
    }
}

#[test]
fn a_first_write_whose_entry_comes_after_the_swap_is_made_at_the_new_owner() {
    let mut world = started(2, 1);
    world.publish(&[2]);
    world.pass_ms(1_000);
    world.hold_txns = true;
    world.hold_views.insert(1);
    let write = world.write(1, at(3), BLOCK, 9);
    world.settle();
    assert!(world.is_open(1, write) && world.txns.iter().any(|(_, _, txn)| is_entry(txn)));
    assert!(world.swap());
    world.hold_txns = false;
    world.settle();
    assert!(world.is_open(1, write));
    world.hold_views.clear();
    world.pass_ms(1_000);
    assert!(world.outcome(1, write).unwrap().is_ok());
    assert_eq!((world.owner(3), world.byte_at(2, at(3), BLOCK)), (2, 9));
    assert!(!entries(&world).contains(&3));
}

/// Server 2 has looked through its records as a replica; then it becomes owner of what server 1 had not entered yet.
#[test]
fn with_another_owner_everything_is_looked_through_again() {
    let mut world = started(4, 2);
    world.hold_views.insert(1);
    world.publish(&[3, 4]);
    world.pass_ms(300);
    // Server 1 has not heard of it, and takes a first write.
    world.write_now(1, at(7), BLOCK, 7);
    world.crash(1);
    world.hold_views.clear();
    world.pass_ms(4_500);
    assert_eq!((state(&world, 1), world.owner(7)), (MemberState::Down, 2));
    assert!(!world.swap(), "server 1 is down");
    world.start(1);
    world.hold_views.insert(2);
    world.pass_ms(1_500);
    assert!(!world.swap(), "server 2 has not seen who owns what now");
    world.hold_views.clear();
    world.pass_ms(4_000);
    assert!(world.swap());
    world.pass_ms(1_000);
    assert_eq!(world.byte_at(3, at(7), BLOCK), 7);
    assert_eq!(entries(&world), [7]);
    assert_equal_copies(&world, 7, &[1, 2]);
}

/// The list of records may be older than a write that is on its way to the store.
#[test]
fn a_first_write_that_the_records_do_not_show_yet_keeps_the_place_from_coming() {
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
    world.pass_ms(1_000);
    assert!(world.is_open(1, write) && !world.swap());
    assert!(entries(&world).is_empty(), "there is no record that it could name");
    world.hold_stores.clear();
    world.pass_ms(1_500);
    assert!(world.outcome(1, write).unwrap().is_ok() && world.swap());
    world.pass_ms(100);
    assert_eq!((world.owner(6), world.byte_at(2, at(6), BLOCK)), (1, 6));
}

/// Its first write became durable behind the list of records, and then other extents are used: if it were forgotten before
/// it has its entry, nothing would show that something was written to it.
#[test]
fn an_extent_whose_first_write_the_records_did_not_show_is_kept_in_mind_until_it_is_entered() {
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
    world.hold_stores.clear();
    world.settle();
    assert!(world.outcome(1, write).unwrap().is_ok() && !entries(&world).contains(&6));
    world.hold_txns = true;
    let reads: Vec<u64> = (10..40).map(|index| world.read(1, at(index), BLOCK)).collect();
    world.settle();
    world.hold_txns = false;
    world.pass_ms(1_000);
    assert!(reads.into_iter().all(|read| world.read_byte(1, read) == 0));
    assert!(world.swap());
    world.settle();
    assert_eq!((world.owner(6), world.byte_at(2, at(6), BLOCK)), (1, 6));
}

/// Server 1 has lost the directory and the others, knows nothing of either, and answers reads by the lease of server 2, be it
/// that server 2 remembers or that it has started anew since.
#[test]
fn no_place_is_confirmed_while_an_owner_before_may_answer_reads_by_a_lease() {
    for starts_anew in [false, true] {
        let mut world = started(4, 2);
        assert_eq!(world.byte_at(1, at(5), BLOCK), 0);
        world.hold_views.insert(1);
        world.deaf.insert(1);
        if starts_anew {
            world.crash(2);
        }
        let incarnation = world.view().member(ServerId(3)).unwrap().record.incarnation;
        let actor = Actor { server: ServerId(3), incarnation };
        world.commit(&forget_server(&world.view(), actor, ServerId(1), true).unwrap());
        if starts_anew {
            world.start(2);
        }
        world.settle();
        assert_eq!(world.byte_at(1, at(5), BLOCK), 0, "by its lease");
        let txn = publish_place(&world.view(), actor, world.volume, &world.place(&[3, 4])).unwrap();
        world.commit(&txn);
        let mut waited = 0;
        loop {
            world.pass_ms(100);
            waited += 100;
            match swap_place(&world.view(), actor, world.volume) {
                Ok(txn) => break world.commit(&txn),
                Err(_) => assert!(waited < 10_000, "the place is never confirmed"),
            }
        }
        world.settle();
        let write = world.write(3, at(5), BLOCK, 7);
        world.settle();
        assert!(matches!(world.outcome(3, write), Some(Ok(_))), "{:?}", world.outcome(3, write));
        let read = world.read(1, at(5), BLOCK);
        world.settle();
        assert!(world.is_open(1, read), "after {waited} ms it reads what was there before");
    }
}

/// Its only write was refused for want of space, so nothing was ever written to it: nobody needs its entry, and as long as it
/// is served it keeps the place from coming.
#[test]
fn an_extent_that_lost_its_first_write_again_does_not_keep_the_place_from_coming() {
    let mut world = started(2, 1);
    assert_eq!(world.byte_at(1, at(6), BLOCK), 0);
    world.servers.get_mut(&1).unwrap().store.refuse_writes = 1;
    world.hold_stores.insert(1);
    let write = world.write(1, at(6), BLOCK, 6);
    world.publish(&[2]);
    world.settle();
    world.hold_stores.clear();
    world.pass_ms(1_500);
    assert_eq!(world.error(1, write), Some(BlockError::NoSpace));
    assert!(world.swap());
    world.settle();
    assert_eq!((world.owner(6), world.byte_at(1, at(6), BLOCK)), (2, 0));
}

/// They are noted when the place is published, and then no more is looked for before some of them have their entries: they do
/// not wait for the rest of their run.
#[test]
fn more_extents_in_use_than_are_noted_at_once_do_not_keep_the_place_from_coming() {
    let mut world = started(2, 1);
    for index in 0..12 {
        world.write_now(1, at(index), BLOCK, 1);
    }
    let placing = &mut world.servers.get_mut(&1).unwrap().engine.as_mut().unwrap().placing;
    (placing.page, placing.noted_max) = (4, 4);
    world.publish(&[2]);
    world.pass_ms(2_000);
    assert!(world.swap());
    assert_eq!(entries(&world), (0..12).collect::<Vec<u32>>());
}

/// Whoever reads through a thin volume asks for one after the other all the time.
#[test]
fn what_was_never_written_to_and_waits_for_its_entry_does_not_keep_the_place_from_coming() {
    let mut world = started(2, 1);
    world.fate_for = Some(is_entry);
    world.fates.extend([TxnFate::Unavailable; 100]);
    // It is being looked up when the records have been looked through.
    world.hold_stores.insert(1);
    world.publish(&[2]);
    world.settle();
    let read = world.read(1, at(5), BLOCK);
    world.hold_stores.clear();
    world.pass_ms(1_000);
    assert!(world.is_open(1, read) && world.fates.len() < 100);
    assert!(world.swap());
    world.settle();
    assert_eq!((world.owner(5), world.read_byte(1, read)), (2, 0));
    assert!(entries(&world).is_empty());
}

/// It was never acknowledged, as the owner's store never had it. Without an entry its copy would be one of an extent that is
/// somewhere else; if it was not freed there in time it would come to life again with a later place.
#[test]
fn a_first_write_that_only_a_copy_has_is_entered_too_and_looked_for_when_it_is_durable() {
    let mut world = started(4, 2);
    assert_eq!(world.byte_at(1, at(7), BLOCK), 0);
    world.hold_stores.extend([1, 2]);
    let _ = world.write(1, at(7), BLOCK, 7);
    world.settle();
    let is_write = |(_, op): &(_, StoreOp)| matches!(op, StoreOp::Write(_));
    while !world.servers[&2].store.queue.iter().any(is_write) {
        // Space is set aside first.
        for n in [1, 2] {
            if !world.servers[&n].store.queue.front().is_none_or(is_write) {
                world.step_store(n);
            }
        }
        world.settle();
    }
    world.crash(1);
    world.start(1);
    world.publish(&[3, 4]);
    world.settle();
    let is_list = |(_, op): &(_, StoreOp)| matches!(op, StoreOp::List { .. });
    assert!(!world.servers[&2].store.queue.iter().any(is_list), "the write is still on its way");
    world.hold_stores.clear();
    world.pass_ms(4_000);
    assert!(!world.swap() && world.hash(2, 7) != 0 && world.hash(1, 7) == 0);
    world.pass_ms(6_000);
    assert!(world.swap());
    world.pass_ms(1_000);
    assert_eq!((entries(&world), world.owner(7)), (vec![7], 1));
    let byte = world.byte_at(3, at(7), BLOCK);
    assert_equal_copies(&world, 7, &[1, 2]);
    assert_eq!(byte, 0, "the owner's copy wins");
}

#[test]
fn an_entry_is_made_only_when_there_is_a_record() {
    let mut world = started(2, 1);
    assert_eq!(world.byte_at(1, at(6), BLOCK), 0);
    world.publish(&[2]);
    world.settle();
    world.hold_stores.insert(1);
    let write = world.write(1, at(6), BLOCK, 6);
    world.pass_ms(1_000);
    assert!(world.is_open(1, write));
    assert!(entries(&world).is_empty());
    world.crash(1);
    world.hold_stores.clear();
    world.start(1);
    world.pass_ms(1_000);
    assert_eq!(world.byte_at(2, at(6), BLOCK), 0, "no medium error");
}

#[test]
fn copies_in_which_nothing_was_written_are_freed_where_the_place_has_them_no_more() {
    let mut world = started(4, 2);
    assert_eq!(world.byte_at(1, at(5), BLOCK), 0);
    assert!(world.holds(1, 5) && world.holds(2, 5));
    for n in [1, 2] {
        world.crash(n);
        world.start(n);
        world.pass_ms(3_000);
    }
    world.publish(&[4, 3]);
    world.pass_ms(1_000);
    assert!(world.swap());
    world.pass_ms(1_000);
    assert!(!world.holds(1, 5) && !world.holds(2, 5));
    assert!(entries(&world).is_empty());
}

#[test]
fn a_server_that_is_away_delays_the_swap() {
    let mut world = started(3, 1);
    world.publish(&[1, 2]);
    world.pass_ms(1_000);
    assert!(world.swap());
    world.pass_ms(100);
    world.crash(2);
    world.publish(&[3]);
    world.pass_ms(3_000);
    assert!(!world.swap());
    world.write_now(1, at(1), BLOCK, 1);
    world.start(2);
    world.pass_ms(3_000);
    assert!(world.swap());
    world.pass_ms(100);
    assert_eq!((world.byte_at(3, at(1), BLOCK), world.owner(1), world.owner(2)), (1, 1, 3));
}

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

/// It was waiting for an entry by an earlier place, and gets none by a later one before its copies are there.
#[test]
fn what_waited_for_an_entry_once_is_not_entered_before_its_copies_have_records() {
    let mut world = started(4, 2);
    assert_eq!(world.byte_at(1, at(4), BLOCK), 0);
    world.hold_txns = true;
    world.publish(&[1, 3]);
    world.settle();
    // The entry of another extent is under way, so that this one's waits.
    let other = world.write(1, at(6), BLOCK, 6);
    world.settle();
    let waits = world.write(1, at(4), BLOCK, 4);
    world.settle();
    let (owned, kept) = world.txns.drain(..).partition::<VecDeque<_>, _>(|(server, ..)| *server == 1);
    world.txns = kept;
    world.hold_txns = false;
    world.hold_views.insert(1);
    world.settle();
    // Server 1 confirms only when it has entered; the swap is what another planner might have decided.
    let (view, place) = (world.view(), world.place(&[1, 3]));
    let record = VolumeRecord { place, ..view.volume(world.volume).unwrap().record.clone() };
    let swap = Txn::default()
        .then(Operation::put(view.keys().volume(world.volume), encode_json(&record)))
        .then(Operation::delete(&view.keys().next_place(world.volume)));
    world.commit(&swap);
    world.publish(&[4, 3]);
    world.hold_stores.insert(3);
    world.txns.extend(owned);
    world.hold_views.clear();
    world.pass_ms(1_500);
    assert!(!entries(&world).contains(&4), "server 3 has no record");
    world.hold_stores.clear();
    world.pass_ms(9_000);
    for (id, index) in [(other, 6), (waits, 4)] {
        assert!(world.outcome(1, id).is_some());
        world.write_now(2, at(index), BLOCK, 9);
        assert_eq!(world.byte_at(1, at(index), BLOCK), 9);
    }
}

#[test]
fn with_the_directory_away_what_was_written_is_served_and_the_rest_waits() {
    let mut world = started(2, 1);
    world.write_now(1, at(0), BLOCK, 1);
    world.hold_txns = true;
    world.publish(&[2]);
    world.settle();
    world.write_now(1, at(0), BLOCK, 2);
    assert_eq!(world.byte_at(2, at(0), BLOCK), 2);
    let first = world.write(1, at(1), BLOCK, 3);
    world.settle();
    assert!(world.is_open(1, first));
    world.hold_txns = false;
    world.pass_ms(1_000);
    assert!(world.outcome(1, first).unwrap().is_ok());
}

#[test]
fn when_a_place_is_withdrawn_what_waited_goes_on() {
    let mut world = started(2, 1);
    world.hold_txns = true;
    world.publish(&[2]);
    world.settle();
    let first = world.write(1, at(1), BLOCK, 3);
    world.settle();
    assert!(world.is_open(1, first));
    let withdrawn = withdraw_place(&world.view(), world.actor().unwrap(), world.volume).unwrap();
    world.commit(&withdrawn);
    world.settle();
    assert!(world.outcome(1, first).unwrap().is_ok());
    assert_eq!(world.owner(1), 1);
}

#[test]
fn of_a_run_that_is_written_as_a_whole_one_entry_keeps_all() {
    let mut world = started(3, 2);
    for index in 0..64 {
        world.write_now(1, at(index), BLOCK, 1);
    }
    world.publish(&[3, 2]);
    world.pass_ms(4_000);
    assert!(world.swap());
    world.settle();
    assert_eq!((entries(&world).len(), world.view().run_entries(world.volume).count()), (0, 1));
    assert!([0, 39, 63].iter().all(|index| world.owner(*index) == 1));
}

#[test]
fn of_a_run_of_which_some_extents_moved_one_entry_keeps_the_rest() {
    let mut world = started(4, 2);
    for index in 0..64 {
        world.write_now(1, at(index), BLOCK, 1);
    }
    world.start_move(1, 7, 4);
    world.pass_ms(2_000);
    assert_eq!(world.owner(7), 4);
    world.publish(&[3, 2]);
    world.pass_ms(4_000);
    assert!(world.swap());
    world.settle();
    assert_eq!((entries(&world), world.view().run_entries(world.volume).count()), (vec![7], 1));
    assert!([0, 39, 63].iter().all(|index| world.owner(*index) == 1) && world.owner(7) == 4);
}

/// An entry says that a copy is there: one that is not was lost.
#[test]
fn a_record_that_is_missing_in_a_run_with_an_entry_is_an_error_and_no_zeros() {
    let mut world = started(3, 1);
    for index in 0..64 {
        world.write_now(1, at(index), BLOCK, 1);
    }
    world.publish(&[3, 2]);
    world.pass_ms(4_000);
    assert!(world.swap());
    world.crash(1);
    let id = world.extent(9);
    assert!(world.servers.get_mut(&1).unwrap().store.records.remove(&id).is_some());
    world.start(1);
    world.pass_ms(100);
    let read = world.read(2, at(9), BLOCK);
    world.settle();
    assert_eq!(world.error(2, read), Some(BlockError::Medium { offset: at(9) }));
    assert_eq!(world.byte_at(2, at(8), BLOCK), 1);
}

/// Otherwise nothing would ever take what was not written to off a server that is emptied later.
#[test]
fn of_a_run_that_is_written_in_part_each_extent_has_an_entry_of_its_own() {
    let mut world = started(3, 2);
    for index in 0..63 {
        world.write_now(1, at(index), BLOCK, 1);
    }
    world.publish(&[3, 2]);
    world.pass_ms(4_000);
    assert!(world.swap());
    assert_eq!((entries(&world).len(), world.view().run_entries(world.volume).count()), (63, 0));
    assert_eq!(world.owner(63), 3);
}

/// The planner's part, with what was written and what was not, and the moves that follow.
#[test]
fn a_drained_server_ends_empty_and_can_go() {
    for replicas in [1, 2] {
        let mut world = started(4, replicas);
        for index in 0..40 {
            world.write_now(1, at(index), BLOCK, index as u8 + 1);
        }
        world.drain(1);
        let holdings = |world: &World| world.view().holdings(ServerId(1));
        for _ in 0..400 {
            if holdings(&world).is_empty() {
                break;
            }
            for txn in next_placing(&world.view(), world.actor().unwrap()) {
                world.commit(&txn);
            }
            world.pass_ms(200);
        }
        assert_eq!(holdings(&world), []);
        assert_eq!(world.view().run_entries(world.volume).count(), 0, "a run's entry would name the server");
        world.pass_ms(3_000);
        let records = &world.servers[&1].store.records;
        assert!(records.values().all(|record| !record.has_data), "{replicas} replicas: its store can go");
        let actor = Actor {
            server: ServerId(2),
            incarnation: world.view().member(ServerId(2)).unwrap().record.incarnation,
        };
        world.commit(&forget_server(&world.view(), actor, ServerId(1), true).unwrap());
        world.crash(1);
        world.pass_ms(1_000);
        for index in 0..40 {
            assert_eq!(world.byte_at(2, at(index), BLOCK), index as u8 + 1);
        }
        world.write_now(3, at(50), BLOCK, 5);
        assert!(!world.view().route(world.extent(50)).unwrap().names(ServerId(1)));
        // Nothing is looked for any more.
        world.hold_stores.extend([2, 3, 4]);
        world.pass_ms(7_000);
        let is_list = |(_, op): &(_, StoreOp)| matches!(op, StoreOp::List { .. });
        assert!((2..=4).all(|n| !world.servers[&n].store.queue.iter().any(is_list)), "{replicas} replicas");
    }
}

#[test]
fn what_had_its_only_copy_at_a_forgotten_server_is_a_medium_error_for_ever() {
    let mut world = started(3, 1);
    world.write_now(1, at(0), BLOCK, 1);
    world.crash(1);
    let actor = Actor {
        server: ServerId(2),
        incarnation: world.view().member(ServerId(2)).unwrap().record.incarnation,
    };
    let waits = world.read(2, at(0), BLOCK);
    world.commit(&mark_down(&world.view(), actor, ServerId(1)).unwrap());
    world.settle();
    assert!(world.is_open(2, waits), "it may come back");
    world.commit(&forget_server(&world.view(), actor, ServerId(1), true).unwrap());
    world.settle();
    assert_eq!(world.error(2, waits), Some(BlockError::Medium { offset: 0 }));
    let lost = |world: &mut World| {
        // Nobody knows whether anything was ever written there, so this is no zero either.
        let (read, write) = (world.read(3, at(9) + 8192, BLOCK), world.write(3, at(9), BLOCK, 1));
        world.settle();
        assert_eq!(world.error(3, read), Some(BlockError::Medium { offset: at(9) + 8192 }));
        assert_eq!(world.error(3, write), Some(BlockError::Medium { offset: at(9) }));
    };
    lost(&mut world);
    for _ in 0..20 {
        for txn in next_placing(&world.view(), actor) {
            world.commit(&txn);
        }
        world.pass_ms(200);
    }
    let view = world.view();
    let place = &view.volume(world.volume).unwrap().record.place;
    assert!(place.servers().iter().all(|placed| placed.server != ServerId(1)));
    lost(&mut world);
}
