//! Nobody answers what another place takes away, and what was written to stays.

use super::*;

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
