//! What a server's confirmation of another place waits for, and what it does not wait for.

use super::*;

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
    let (mut world, write) = with_a_write_that_the_records_do_not_show();
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
    let (mut world, write) = with_a_write_that_the_records_do_not_show();
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
