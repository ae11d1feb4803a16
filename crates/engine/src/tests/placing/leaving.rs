//! Servers that are emptied, and servers that are forgotten.

use super::*;

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
