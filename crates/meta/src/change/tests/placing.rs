//! Another place for a volume, and servers that go for good.

use super::*;
use crate::place::Place;
use crate::records::RouteEntry;
use crate::view::{Holding, Loss};

impl Group {
    /// Lets the planner do what is next; whether there was something.
    fn place_on(&mut self) -> bool {
        let next = next_placing(&self.view, self.actor(1)).pop();
        next.map(|txn| self.must(txn)).is_some()
    }

    fn confirm(&mut self, server: u32) {
        self.must(confirm_place(&self.view, self.actor(server), self.volume).unwrap());
    }

    fn place(&self) -> &Place {
        &self.view.volume(self.volume).unwrap().record.place
    }

    fn is_published(&self) -> bool {
        self.view.next_place(self.volume).is_some()
    }

    fn is_in_place(&self, server: u32) -> bool {
        self.place().servers().iter().any(|placed| placed.server == ServerId(server))
    }

    fn join(&mut self, n: u32) {
        let (id, txn) = register_server(&self.view, &server_record(n)).unwrap();
        self.must(txn);
        self.start(id);
    }

    fn drain(&mut self, n: u32) {
        self.must(set_draining(&self.view, ServerId(n), true).unwrap());
    }

    fn route(&self, index: u32) -> Route {
        self.view.route(self.extent(index)).unwrap()
    }

    fn extents(&self) -> u32 {
        self.view.volume(self.volume).unwrap().record.extents()
    }
}

#[test]
fn a_published_place_changes_no_route_and_is_swapped_in_when_all_have_confirmed_it() {
    let mut group = Group::new(3, 1);
    assert!(!group.place_on(), "the place is what it should be");
    group.join(4);
    let before: Vec<Route> = (0..group.extents()).map(|index| group.route(index)).collect();
    assert!(group.place_on());
    assert!(group.is_published() && !group.is_in_place(4));
    assert_eq!(before, (0..group.extents()).map(|index| group.route(index)).collect::<Vec<_>>());
    for server in 1..=3 {
        assert!(!group.place_on(), "server {server} has not confirmed it");
        group.confirm(server);
    }
    assert!(group.place_on());
    assert!(!group.is_published() && group.is_in_place(4));
    assert!((1..=4).all(|server| group.view.placed(group.volume, ServerId(server)).is_none()));
    assert!((0..group.extents()).all(|index| group.route(index).epoch > before[index as usize].epoch));
    assert!(!group.place_on());
}

#[test]
fn extents_with_entries_of_their_own_or_of_their_run_stay_where_they_are() {
    let mut group = Group::new(2, 1);
    for n in 3..=8 {
        group.join(n);
    }
    assert!(group.place_on());
    let moved: Vec<u32> =
        (0..group.extents()).filter(|index| group.view.is_to_be_placed(group.extent(*index))).collect();
    let (first, last) = (moved[0], moved[moved.len() - 1]);
    assert!(first / 64 < last / 64, "two runs are re-routed: {moved:?}");
    let before: Vec<Route> = moved.iter().map(|index| group.route(*index)).collect();
    group.must(enter(&group.view, group.actor(2), group.volume, &[first], &[last / 64]).unwrap());
    assert!(!group.view.is_to_be_placed(group.extent(first)));
    assert!(group.view.is_to_be_placed(group.extent(first + 1)));
    // What was entered is not entered again, be it by itself or with its run.
    for extents in [vec![first], vec![last]] {
        let again = enter(&group.view, group.actor(1), group.volume, &extents, &[]).unwrap();
        assert!(!group.run(&again).succeeded);
    }
    group.confirm(1);
    group.confirm(2);
    assert!(group.place_on());
    for (index, before) in moved.iter().zip(before) {
        let (now, stays) = (group.route(*index), *index == first || index / 64 == last / 64);
        assert_eq!(now.replicas == before.replicas, stays, "extent {index}");
        assert!(now.epoch > before.epoch);
    }
}

#[test]
fn an_extents_own_entry_comes_before_its_runs_and_a_move_takes_it_out_of_the_run() {
    let mut group = Group::new(3, 1);
    group.must(enter(&group.view, group.actor(1), group.volume, &[], &[0]).unwrap());
    let of_run = group.route(3);
    assert!(of_run.entry_revision.is_none() && of_run.run_revision.is_some());
    let to = group.other(3);
    let late = group.prepare(3, to, 1).unwrap();
    group.must(group.prepare(3, to, 2).unwrap());
    assert!(!group.run(&late).succeeded);
    group.must(group.propose(3).unwrap());
    assert_eq!((group.owner(3), group.route(4)), (to, of_run));
    assert!(group.route(3).epoch > of_run.epoch && group.route(3).run_revision.is_none());
}

#[test]
fn a_move_from_the_placement_fails_if_its_run_was_entered_meanwhile() {
    let mut group = Group::new(3, 1);
    let late = group.prepare(0, group.other(0), 1).unwrap();
    group.must(enter(&group.view, group.actor(1), group.volume, &[], &[0]).unwrap());
    assert!(!group.run(&late).succeeded);
}

#[test]
fn a_runs_entry_with_a_move_is_a_problem() {
    let mut group = Group::new(3, 1);
    group.must(group.prepare(0, group.other(0), 1).unwrap());
    let moving: RouteEntry = group.view.entry(group.extent(0)).unwrap().record;
    let put = Operation::put(group.view.keys().run(group.volume, 1), moving.encode());
    group.must(Txn::default().then(put));
    assert_eq!(group.view.problems().count(), 1);
    assert!(group.view.route(group.extent(64)).is_none());
}

/// Who owns an extent, and so who has to give it an entry, may change with any member.
#[test]
fn a_confirmation_counts_only_as_of_the_latest_change_of_a_member() {
    let mut group = Group::new(3, 2);
    group.join(4);
    assert!(group.place_on());
    for server in 1..=3 {
        group.confirm(server);
    }
    let swap = next_placing(&group.view, group.actor(1)).pop().unwrap();
    group.start(ServerId(2));
    assert!(next_placing(&group.view, group.actor(1)).is_empty());
    for server in [1, 3] {
        group.confirm(server);
        assert!(next_placing(&group.view, group.actor(1)).is_empty());
    }
    // What was decided when all had confirmed may still happen: they obey the publication whatever becomes of them.
    group.must(swap);
    assert!(group.is_in_place(4));
}

#[test]
fn a_place_is_withdrawn_and_not_published_while_a_server_of_the_present_one_is_down() {
    let mut group = Group::new(3, 2);
    group.join(4);
    assert!(group.place_on());
    (1..=3).for_each(|server| group.confirm(server));
    let swap = next_placing(&group.view, group.actor(1)).pop().unwrap();
    group.put_member(3, |record| record.state = MemberState::Down);
    assert!(group.place_on());
    assert!(!group.is_published() && !group.is_in_place(4));
    assert!(!group.run(&swap).succeeded, "of a withdrawal and a swap one happens");
    assert!(!group.place_on());
    group.start(ServerId(3));
    assert!(group.place_on());
    assert!(group.is_published());
}

/// What was never written to is not to be routed to a server that is not there, and may never be again.
#[test]
fn no_place_is_published_or_swapped_in_over_a_server_that_is_down() {
    let mut group = Group::new(2, 1);
    group.join(3);
    group.put_member(3, |record| record.state = MemberState::Down);
    assert!(!group.place_on());
    group.start(ServerId(3));
    assert!(group.place_on() && group.is_published());
    (1..=2).for_each(|server| group.confirm(server));
    group.put_member(3, |record| record.state = MemberState::Down);
    let swap = swap_place(&group.view, group.actor(1), group.volume);
    assert!(matches!(swap, Err(ChangeError::PlaceNotConfirmed { .. })));
    assert!(group.place_on());
    assert!(!group.is_published() && !group.is_in_place(3));
}

#[test]
fn a_place_that_is_not_wanted_any_more_is_withdrawn() {
    let mut group = Group::new(3, 1);
    group.drain(3);
    assert!(group.place_on());
    (1..=3).for_each(|server| group.confirm(server));
    let swap = swap_place(&group.view, group.actor(1), group.volume).unwrap();
    group.must(set_draining(&group.view, ServerId(3), false).unwrap());
    assert!(group.place_on());
    assert!(!group.is_published());
    assert!(!group.run(&swap).succeeded);
    assert!(!group.place_on());
}

#[test]
fn a_place_with_too_few_domains_for_the_copies_is_not_wanted() {
    let mut group = Group::new(3, 3);
    group.drain(2);
    assert!(!group.place_on());
}

#[test]
fn a_server_goes_when_it_is_empty_or_down_and_never_starts_again() {
    let mut group = Group::new(3, 1);
    let gone = ServerId(3);
    let lease = group.directory.grant_lease(Duration::from_secs(5)).unwrap();
    group.must(announce(&group.view, group.actor(3), lease).unwrap());
    assert!(matches!(
        forget_server(&group.view, group.actor(1), gone, true),
        Err(ChangeError::NotDown { .. })
    ));
    group.drain(3);
    let refused = forget_server(&group.view, group.actor(1), gone, true);
    assert!(matches!(refused, Err(ChangeError::NotDown { .. })), "extents may still come to it");
    assert!(group.place_on());
    (1..=3).for_each(|server| group.confirm(server));
    assert!(group.place_on());
    assert_eq!(group.view.holdings(gone), []);
    let late = create_volume(&group.view, group.actor(1), &new_volume(&group.view, "w", 1)).unwrap().1;
    group.must(forget_server(&group.view, group.actor(1), gone, true).unwrap());
    assert!(!group.run(&late).succeeded, "a volume may have been placed over it");
    assert!(group.view.members().all(|(server, _)| server != gone) && group.view.is_forgotten(gone));
    assert!(group.view.server_named("s3").is_none());
    let next = Incarnation(group.incarnations[&gone].0 + 1);
    assert!(matches!(start_server(&group.view, gone, next), Err(ChangeError::Forgotten { .. })));
    // Its name is free, its number is not.
    let (id, txn) = register_server(&group.view, &server_record(3)).unwrap();
    group.must(txn);
    assert_eq!(id, ServerId(4));
    assert_eq!(group.view.server_named("s3"), Some(id));
    assert_eq!(group.view.forgotten_servers().map(|(server, _)| server).collect::<Vec<_>>(), [gone]);
}

#[test]
fn a_server_that_gives_no_hint_of_life_can_be_forgotten_unless_it_comes_back_just_then() {
    let mut group = Group::new(3, 1);
    let late = forget_server(&group.view, group.actor(1), ServerId(3), true).unwrap();
    let lease = group.directory.grant_lease(Duration::from_secs(5)).unwrap();
    group.must(announce(&group.view, group.actor(3), lease).unwrap());
    assert!(!group.run(&late).succeeded);
}

/// What was believed to be good elsewhere has to be so still.
#[test]
fn a_silent_server_is_not_forgotten_if_a_good_copy_beside_it_went_just_then() {
    let mut group = Group::new(3, 2);
    let index =
        (0..group.extents()).find(|index| group.route(*index).replicas.contains(&ServerId(3))).unwrap();
    let other = group.route(index).replicas.iter().find(|server| server.0 != 3).unwrap().0;
    let by = group.actor(if other == 1 { 2 } else { 1 });
    assert_eq!(group.view.losses(ServerId(3)), []);
    // One that has other copies is marked down soon; until then it may be the last that is good.
    let early = forget_server(&group.view, by, ServerId(3), false);
    assert!(matches!(early, Err(ChangeError::NotDown { .. })));
    let late = forget_server(&group.view, by, ServerId(3), true).unwrap();
    group.put_member(other, |record| (record.state, record.leaves) = (MemberState::Down, true));
    assert_ne!(group.view.losses(ServerId(3)), []);
    assert!(!group.run(&late).succeeded, "more would be lost than was known");
}

/// The volume would be placed over a server that is empty by the view of whoever removes it.
#[test]
fn no_volume_is_placed_over_a_server_by_whoever_has_not_seen_it_draining() {
    let mut group = Group::new(3, 1);
    let late = create_volume(&group.view, group.actor(1), &new_volume(&group.view, "w", 1)).unwrap().1;
    group.drain(3);
    assert!(!group.run(&late).succeeded);
}

/// Otherwise the target, of which the directory goes on to say that it gets a copy, could never go.
#[test]
fn the_move_of_an_extent_that_is_lost_is_ended_for_its_target_to_be_free() {
    let mut group = Group::new(4, 1);
    let lost = group.owner(0);
    let lives = (0..group.extents()).find(|index| group.owner(*index) != lost).unwrap();
    let to = (1..=4).find(|server| *server != lost && *server != group.owner(lives)).unwrap();
    group.must(group.prepare(0, to, 1).unwrap());
    group.must(group.prepare(lives, to, 2).unwrap());
    let by = group.actor(to);
    assert!(end_lost_moves(&group.view, by, 1).is_empty(), "their owners go on with them");
    group.must(forget_server(&group.view, by, ServerId(lost), true).unwrap());
    let ends = end_lost_moves(&group.view, by, 1);
    assert_eq!(ends.len(), 1);
    ends.into_iter().for_each(|txn| group.must(txn));
    assert!(group.route(0).is_lost && !group.route(0).names(ServerId(to)));
    assert!(group.route(lives).intent.is_some());
    assert!(end_lost_moves(&group.view, by, 1).is_empty());
}

#[test]
fn what_would_be_lost_with_a_server_is_counted_by_volume() {
    let mut group = Group::new(3, 1);
    let extents = u64::from(group.extents());
    let held = |group: &Group, n| {
        let of = |holding: &Holding| (holding.extents, holding.kept);
        group.view.holdings(ServerId(n)).first().map(of).unwrap()
    };
    let sum: u64 = (1..=3).map(|n| held(&group, n).0).sum();
    assert_eq!(sum, extents);
    let only = (1..=3).find(|n| held(&group, *n).0 > 0).unwrap();
    let lost = held(&group, only).0;
    let volume = group.volume;
    assert_eq!(group.view.losses(ServerId(only)), [Loss { volume, lost, older: 0 }]);
    group.put_member(only, |record| record.state = MemberState::Down);
    let by = group.actor(if only == 1 { 2 } else { 1 });
    group.must(forget_server(&group.view, by, ServerId(only), true).unwrap());
    let index = (0..group.extents()).find(|index| group.route(*index).is_lost).unwrap();
    assert_eq!((group.route(index).owner(), held(&group, only)), (None, (lost, 0)));
    // The runs that are lost get entries that say so, before the volume is placed over the others.
    let next = |group: &mut Group| {
        let next = next_placing(&group.view, by);
        let is_any = !next.is_empty();
        next.into_iter().for_each(|txn| group.must(txn));
        is_any
    };
    assert!(next(&mut group));
    for other in (1..=3).filter(|n| *n != only) {
        group.confirm(other);
    }
    let still_lost = |group: &Group| (0..group.extents()).filter(|index| group.route(*index).is_lost).count();
    while next(&mut group) {}
    assert!(!group.is_in_place(only) && !group.is_published());
    assert_eq!(still_lost(&group) as u64, lost);
    assert_eq!(group.view.losses(ServerId(only)), []);
}

#[test]
fn with_two_copies_the_older_one_counts_when_the_better_is_gone_for_good() {
    let mut group = Group::new(2, 2);
    let route = group.route(0);
    let (first, last) = (route.replicas[0].0, route.replicas[1].0);
    assert_eq!(group.view.losses(ServerId(last)), []);
    group.put_member(first, |record| (record.state, record.left) = (MemberState::Down, Some(1)));
    let losses = group.view.losses(ServerId(last));
    let older = u64::from(group.extents());
    assert_eq!(losses, [Loss { volume: group.volume, lost: 0, older }]);
    assert_eq!(group.view.losses(ServerId(first)), []);
    group.put_member(last, |record| (record.state, record.left) = (MemberState::Down, Some(2)));
    group.start(ServerId(first));
    assert_eq!(group.owner(0), last);
    group.must(forget_server(&group.view, group.actor(first), ServerId(last), true).unwrap());
    assert_eq!(group.owner(0), first);
}
