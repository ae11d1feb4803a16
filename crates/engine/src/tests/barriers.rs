//! What was admitted by an old record of access does nothing any more when a barrier is done.

use super::world::World;
use crate::config::{BARRIERS_MAX, HEARTBEAT_INTERVAL, LEASE_GUARD, SILENCE_MAX};
use crate::{Event, RequestId};
use evenkeel_meta::MemberState;
use evenkeel_types::{BlockError, ServerId};

const BLOCK: u32 = 4096;

#[test]
fn a_barrier_passes_when_all_views_have_the_change() {
    let mut world = World::new(3);
    world.hold_views.insert(3);
    let revision = world.change_access();
    world.begin_barrier(1, 7, revision);
    world.settle();
    assert!(!world.has_passed(1, 7), "server 3 admits by the old record");
    world.hold_views.clear();
    world.settle();
    assert!(world.has_passed(1, 7));
    assert_eq!(world.sent("barrier"), 2, "each is asked once");
}

#[test]
fn a_barrier_waits_for_the_view_of_the_server_that_began_it() {
    let mut world = World::new(2);
    world.hold_views.insert(1);
    let revision = world.change_access();
    world.begin_barrier(1, 7, revision);
    world.settle();
    assert!(!world.has_passed(1, 7));
    world.hold_views.clear();
    world.settle();
    assert!(world.has_passed(1, 7));
}

#[test]
fn a_barrier_waits_until_front_ends_have_judged_what_is_open() {
    let mut world = World::new(2);
    world.hold_admissions.insert(2);
    let revision = world.change_access();
    world.begin_barrier(1, 7, revision);
    world.settle();
    assert!(!world.has_passed(1, 7));
    world.hold_admissions.clear();
    world.admit(2);
    world.settle();
    assert!(world.has_passed(1, 7));
}

#[test]
fn nothing_is_admitted_before_front_ends_have_judged() {
    let mut world = World::new(2);
    world.write_now(1, 0, BLOCK, 1);
    world.hold_admissions.insert(1);
    world.change_access();
    world.settle();
    let (here, write) = (world.read(1, 0, BLOCK), world.write(1, 0, BLOCK, 2));
    world.settle();
    assert!(world.is_open(1, here) && world.is_open(1, write));
    assert_eq!(world.byte_at(2, 0, BLOCK), 1, "others go on");
    world.hold_admissions.clear();
    world.admit(1);
    world.settle();
    assert!(world.outcome(1, write).unwrap().is_ok());
}

/// The write is on its way from a gateway that knows nothing yet when the barrier's other servers are done.
#[test]
fn an_owner_refuses_what_was_admitted_before_a_change_that_it_knows() {
    let mut world = World::new(3);
    world.write_now(1, 0, BLOCK, 1);
    world.hold_links.insert((2, 1));
    world.hold_views.insert(2);
    let write = world.write(2, 0, BLOCK, 2);
    assert_eq!(world.waiting(2, 1, "request"), 1);
    let revision = world.change_access();
    world.begin_barrier(3, 7, revision);
    world.settle();
    world.hold_links.clear();
    world.settle();
    assert!(world.is_open(2, write));
    assert_eq!(world.byte_at(1, 0, BLOCK), 1, "nothing of it was done");
    assert!(!world.has_passed(3, 7));
    // Its front end may still send it, and does.
    world.hold_views.clear();
    world.settle();
    assert!(world.has_passed(3, 7));
    assert!(world.outcome(2, write).unwrap().is_ok());
    assert_eq!(world.byte_at(1, 0, BLOCK), 2);
}

#[test]
fn what_is_not_allowed_any_more_ends_before_the_barrier_is_done() {
    let mut world = World::new(3);
    world.write_now(1, 0, BLOCK, 1);
    world.hold_admissions.insert(2);
    world.hold_links.insert((2, 1));
    let write = world.write(2, 0, BLOCK, 2);
    let revision = world.change_access();
    world.begin_barrier(3, 7, revision);
    world.settle();
    // Its front end finds that it is not allowed, while it is still on its way.
    world.event(2, Event::Cancel { id: RequestId(write) });
    world.hold_admissions.clear();
    world.admit(2);
    world.settle();
    assert!(world.is_open(2, write), "how it ended is not known yet");
    assert!(!world.has_passed(3, 7));
    world.hold_links.clear();
    world.settle();
    assert_eq!(world.error(2, write), Some(BlockError::Aborted));
    assert!(world.has_passed(3, 7));
    assert_eq!(world.byte_at(1, 0, BLOCK), 1);
}

#[test]
fn a_barrier_waits_for_what_an_owner_has_begun() {
    let mut world = World::new(3);
    world.write_now(1, 0, BLOCK, 1);
    world.hold_stores.insert(1);
    let write = world.write(3, 0, BLOCK, 2);
    world.settle();
    assert!(world.is_open(3, write));
    // The gateway crashes: nobody there waits for the write any more, and its owner goes on with it.
    world.crash(3);
    let revision = world.change_access();
    world.begin_barrier(2, 7, revision);
    world.start(3);
    world.settle();
    assert!(!world.has_passed(2, 7));
    world.hold_stores.clear();
    world.settle();
    assert!(world.has_passed(2, 7));
}

/// The owner is gone that would know of it, and the copy may still take it.
#[test]
fn a_barrier_waits_for_what_a_copy_applies_of_an_owner_that_is_gone() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(1, 0, BLOCK, 1);
    let (owner, copy) = (world.owner(0), 3 - world.owner(0));
    world.hold_stores.insert(copy);
    let _ = world.write(owner, 0, BLOCK, 2);
    world.settle();
    assert!(world.sent("write") > 1, "it is at the copy");
    world.crash(owner);
    let revision = world.change_access();
    world.begin_barrier(3, 7, revision);
    world.start(owner);
    world.settle();
    assert!(!world.has_passed(3, 7));
    world.hold_stores.clear();
    world.settle();
    assert!(world.has_passed(3, 7));
}

/// Behind a range that is locked, nothing of the write has begun: it does not hold the barrier up, but goes back to its gateway.
#[test]
fn what_has_not_begun_goes_back_to_be_admitted_anew() {
    let mut world = World::new(3);
    world.write_now(1, 0, BLOCK, 1);
    world.hold_stores.insert(1);
    let first = world.write(1, 0, BLOCK, 2);
    let second = world.write(2, 0, BLOCK, 3);
    world.settle();
    world.hold_admissions.insert(2);
    world.change_access();
    world.settle();
    world.hold_stores.clear();
    world.settle();
    assert!(world.outcome(1, first).unwrap().is_ok());
    assert!(world.is_open(2, second), "its front end has yet to judge it");
    assert_eq!(world.byte_at(1, 0, BLOCK), 2);
    world.hold_admissions.clear();
    world.admit(2);
    world.settle();
    assert!(world.outcome(2, second).unwrap().is_ok());
    assert_eq!(world.byte_at(1, 0, BLOCK), 3);
}

/// A server that was marked down may have leases, and its owner's messages may still be on their way to copies.
#[test]
fn a_server_that_is_down_is_waited_for_until_its_leases_are_over() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(1, 0, BLOCK, 1);
    world.pass(HEARTBEAT_INTERVAL);
    world.crash(1);
    let revision = world.change_access();
    world.begin_barrier(2, 7, revision);
    let crashed = world.now;
    world.settle();
    assert!(!world.has_passed(2, 7), "it is not known yet that server 1 is gone");
    let step = HEARTBEAT_INTERVAL / 4;
    while world.view().member(ServerId(1)).unwrap().record.state != MemberState::Down {
        world.pass(step);
        assert!(world.now.since(crashed) < 3 * SILENCE_MAX, "it is marked down");
        assert!(!world.has_passed(2, 7));
    }
    while !world.has_passed(2, 7) {
        world.pass(step);
        assert!(world.now.since(crashed) < 4 * LEASE_GUARD, "the barrier does not wait for ever");
    }
    assert!(world.now.since(crashed) + 2 * HEARTBEAT_INTERVAL >= LEASE_GUARD, "a lease may have lasted");
}

/// Server 2 was done before it knew that server 1 is down: it may have applied something of it since.
#[test]
fn an_answer_counts_only_from_a_view_that_knows_who_is_down() {
    let mut world = World::with_replicas(3, 2);
    world.write_now(1, 0, BLOCK, 1);
    world.hold_views.insert(1);
    world.hold_links.insert((1, 3));
    let revision = world.change_access();
    world.begin_barrier(3, 7, revision);
    world.settle();
    assert_eq!(world.sent("barrier-done"), 1, "server 2 is done");
    world.crash(1);
    world.hold_views.insert(2);
    for _ in 0..40 {
        world.pass(HEARTBEAT_INTERVAL);
    }
    assert_eq!(world.view().member(ServerId(1)).unwrap().record.state, MemberState::Down);
    assert!(!world.has_passed(3, 7), "server 2 still takes server 1 for one of the group");
    world.hold_views.clear();
    world.pass(LEASE_GUARD);
    assert!(world.has_passed(3, 7));
}

#[test]
fn a_lost_question_is_asked_again_over_the_next_connection() {
    let mut world = World::new(2);
    world.hold_links.insert((1, 2));
    let revision = world.change_access();
    world.begin_barrier(1, 7, revision);
    world.settle();
    assert_eq!(world.waiting(1, 2, "barrier"), 1);
    world.disconnect(1, 2);
    world.hold_links.clear();
    world.connect(1, 2);
    world.settle();
    assert!(world.has_passed(1, 7));
}

#[test]
fn a_list_of_the_directory_shows_changes_too() {
    let mut world = World::new(2);
    world.write_now(1, 0, BLOCK, 1);
    world.hold_views.insert(2);
    world.hold_admissions.insert(2);
    let revision = world.change_access();
    world.begin_barrier(1, 7, revision);
    world.list_again(2);
    world.settle();
    assert!(!world.has_passed(1, 7), "its front ends have judged nothing");
    let read = world.read(2, 0, BLOCK);
    world.settle();
    assert!(world.is_open(2, read));
    world.hold_admissions.clear();
    world.admit(2);
    world.settle();
    assert_eq!(world.read_byte(2, read), 1);
    assert!(world.has_passed(1, 7));
}

#[test]
fn more_barriers_than_may_be_open_are_refused_at_once() {
    let mut world = World::new(2);
    world.hold_views.insert(2);
    let revision = world.change_access();
    for id in 0..=BARRIERS_MAX as u64 {
        world.begin_barrier(1, id, revision);
    }
    assert_eq!(world.servers[&1].barriers, [(BARRIERS_MAX as u64, false)].into());
    world.hold_views.clear();
    world.settle();
    assert!((0..BARRIERS_MAX as u64).all(|id| world.has_passed(1, id)));
}
