use super::*;
use crate::directory::{Directory, KeyRange, Watch};
use crate::ledger::HISTORY_REVISIONS_DEFAULT;
use crate::memory::MemoryDirectory;
use crate::records::{
    AccessRecord, FORMAT_VERSION, FormatRecord, Keyspace, MOVES_KEPT_PER_SERVER, MemberRecord, MoveId, Role,
    ServerCapacity, ServerRecord, encode_json,
};
use crate::route::Route;
use crate::txn::TxnOutcome;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

mod placing;

/// A directory with servers that started, one volume, and a view that follows.
struct Group {
    directory: MemoryDirectory,
    watch: Box<dyn Watch>,
    view: View,
    incarnations: BTreeMap<ServerId, Incarnation>,
    volume: VolumeId,
}

const VOLUME_BYTES: u64 = 1 << 30;

fn server_record(n: u32) -> ServerRecord {
    ServerRecord {
        name: format!("s{n}"),
        portals: vec![format!("10.0.0.{n}:3260")],
        peer: format!("10.0.0.{n}:7260"),
        api: None,
        domain: format!("m{n}"),
        capacity: ServerCapacity { bytes: 100 << 30, ..ServerCapacity::default() },
        store_id: u64::from(n),
    }
}

fn new_volume(view: &View, name: &str, replicas: u8) -> NewVolume {
    NewVolume {
        name: name.into(),
        size_bytes: VOLUME_BYTES,
        logical_block_bytes: 512,
        replicas,
        seed: 0x5eed,
        place: view.place_for_new_volume(crate::view::Spread::Domains).unwrap(),
        access: AccessRecord { any: true, ..AccessRecord::default() },
        created_unix_ms: 1,
    }
}

impl Group {
    fn new(servers: u32, replicas: u8) -> Self {
        let directory = MemoryDirectory::with_history(HISTORY_REVISIONS_DEFAULT);
        let keys = Keyspace::new("g").unwrap();
        let snapshot = directory.range(&KeyRange::prefix(keys.prefix()), None).unwrap();
        let watch = directory.watch(keys.prefix(), snapshot.revision.next()).unwrap();
        let view = View::from_snapshot(keys, &snapshot).unwrap();
        let mut group = Self { directory, watch, view, incarnations: BTreeMap::new(), volume: VolumeId(0) };
        let format = FormatRecord { version: FORMAT_VERSION, group: "g".into(), group_id: 1, generation: 0 };
        group.must(begin_group(&group.view, &format));
        for n in 1..=servers {
            let (id, txn) = register_server(&group.view, &server_record(n)).unwrap();
            group.must(txn);
            group.start(id);
        }
        let (volume, txn) =
            create_volume(&group.view, group.actor(1), &new_volume(&group.view, "v", replicas)).unwrap();
        group.must(txn);
        group.volume = volume;
        group
    }

    fn follow(&mut self) {
        while let Some(batch) = self.watch.next(Duration::ZERO).unwrap() {
            self.view.apply(&batch).unwrap();
        }
    }

    fn run(&mut self, txn: &Txn) -> TxnOutcome {
        let outcome = self.directory.transact(txn).unwrap();
        self.follow();
        outcome
    }

    #[expect(clippy::needless_pass_by_value, reason = "the transactions are made in place")]
    fn must(&mut self, txn: Txn) {
        assert!(self.run(&txn).succeeded, "{txn:?}");
    }

    fn start(&mut self, server: ServerId) {
        let incarnation = self.incarnations.entry(server).or_default();
        incarnation.0 += 1;
        let txn = start_server(&self.view, server, *incarnation).unwrap();
        self.must(txn);
    }

    fn actor(&self, server: u32) -> Actor {
        let server = ServerId(server);
        Actor { server, incarnation: self.incarnations[&server] }
    }

    fn extent(&self, index: u32) -> ExtentId {
        ExtentId { volume: self.volume, index }
    }

    fn put_member(&mut self, server: u32, change: impl FnOnce(&mut MemberRecord)) {
        let mut record = self.view.member(ServerId(server)).unwrap().record.clone();
        change(&mut record);
        let put = Operation::put(self.view.keys().member(ServerId(server)), encode_json(&record));
        self.must(Txn::default().then(put));
    }

    /// The move of an extent from its owner to `to`.
    fn prepare(&self, index: u32, to: u32, number: u32) -> Result<Txn, ChangeError> {
        let extent = self.extent(index);
        let route = self.view.route(extent).unwrap();
        let owner = self.actor(route.owner().unwrap().0);
        let new = PrepareMove {
            extent,
            epoch: route.epoch,
            to: ServerId(to),
            replaces: owner.server,
            id: MoveId::new(owner.server, owner.incarnation, number).unwrap(),
            started_unix_ms: 5,
            reason: json!({ "measure": "combined" }),
        };
        prepare_move(&self.view, owner, &new)
    }

    fn propose(&self, index: u32) -> Result<Txn, ChangeError> {
        let route = self.view.route(self.extent(index)).unwrap();
        let owner = self.actor(route.owner().unwrap().0);
        propose_move(&self.view, owner, self.extent(index), route.epoch, 6)
    }

    fn clear(&self, index: u32) -> Result<Txn, ChangeError> {
        let owner = self.view.route(self.extent(index)).unwrap().owner().unwrap();
        clear_intent(&self.view, self.actor(owner.0), self.extent(index), 7)
    }

    fn owner(&self, index: u32) -> u32 {
        self.view.route(self.extent(index)).unwrap().owner().unwrap().0
    }

    /// A server that holds nothing of the extent.
    fn other(&self, index: u32) -> u32 {
        let route = self.view.route(self.extent(index)).unwrap();
        self.incarnations.keys().find(|server| !route.names(**server)).unwrap().0
    }
}

#[test]
fn a_move_goes_through_intent_and_propose_and_each_raises_the_epoch() {
    let mut group = Group::new(3, 1);
    let (old, new) = (group.owner(5), group.other(5));
    let placed = group.view.route(group.extent(5)).unwrap();
    group.must(group.prepare(5, new, 1).unwrap());
    let prepared = group.view.route(group.extent(5)).unwrap();
    assert!(prepared.epoch > placed.epoch);
    assert_eq!((prepared.owner(), prepared.intent.unwrap().to), (placed.owner(), ServerId(new)));
    let id = prepared.intent.unwrap().id;
    assert_eq!(group.view.move_under_way(id).unwrap().extent, group.extent(5));
    group.must(group.propose(5).unwrap());
    let moved = group.view.route(group.extent(5)).unwrap();
    assert!(moved.epoch > prepared.epoch);
    assert_eq!((moved.owner(), moved.from, moved.intent), (Some(ServerId(new)), Some(ServerId(old)), None));
    assert!(group.view.move_under_way(id).is_none());
    assert_eq!(group.view.moves().collect::<Vec<_>>(), [id]);
    // The next move clears `from`, and may go back.
    group.must(group.prepare(5, old, 2).unwrap());
    assert_eq!(group.view.route(group.extent(5)).unwrap().from, None);
    // Neighbours stay where they were placed.
    assert_eq!(group.view.route(group.extent(6)).unwrap().replicas, placed.replicas);
}

#[test]
fn moving_a_replica_that_is_not_the_owner_leaves_no_past_owner() {
    let mut group = Group::new(3, 2);
    let route = group.view.route(group.extent(0)).unwrap();
    let (owner, second) = (route.replicas[0], route.replicas[1]);
    let to = ServerId(group.other(0));
    let new = PrepareMove {
        extent: group.extent(0),
        epoch: route.epoch,
        to,
        replaces: second,
        id: MoveId(9),
        started_unix_ms: 1,
        reason: json!(null),
    };
    group.must(prepare_move(&group.view, group.actor(owner.0), &new).unwrap());
    group.must(group.propose(0).unwrap());
    let route = group.view.route(group.extent(0)).unwrap();
    assert_eq!((&route.replicas[..], route.from), (&[owner, to][..], None));
}

/// A mark-down that overtakes a Propose changes a server's record only; the route entry looks untouched. A Propose
/// that compared nothing but the entry would hand the extent over behind the new owner's back.
#[test]
fn propose_fails_if_any_server_of_the_route_changed() {
    for change_target in [false, true] {
        let mut group = Group::new(4, 2);
        let to = group.other(0);
        group.must(group.prepare(0, to, 1).unwrap());
        let late = group.propose(0).unwrap();
        let second = group.view.route(group.extent(0)).unwrap().replicas[1].0;
        group.put_member(if change_target { to } else { second }, |record| record.draining = true);
        let outcome = group.run(&late);
        assert!(!outcome.succeeded);
        assert!(group.view.route(group.extent(0)).unwrap().intent.is_some());
        // The answer holds what the transaction compared.
        assert!(outcome.entry(&group.view.keys().member(ServerId(to))).is_some());
    }
}

#[test]
fn prepare_fails_if_the_volume_the_owner_or_the_target_changed() {
    let mut group = Group::new(3, 1);
    let to = group.other(0);
    let late = group.prepare(0, to, 1).unwrap();
    group.start(ServerId(to));
    assert!(!group.run(&late).succeeded);
    let late = group.prepare(0, to, 2).unwrap();
    group.start(ServerId(group.owner(0)));
    assert!(!group.run(&late).succeeded);
    let late = group.prepare(0, to, 3).unwrap();
    let delete = delete_volume(&group.view, group.actor(1), group.volume, 9).unwrap();
    group.must(delete);
    assert!(!group.run(&late).succeeded);
    assert_eq!(group.view.entries(group.volume).count(), 0);
}

#[test]
fn a_lost_propose_is_settled_by_clearing_the_intent() {
    let mut group = Group::new(3, 1);
    let to = group.other(0);
    group.must(group.prepare(0, to, 1).unwrap());
    let (propose, clear) = (group.propose(0).unwrap(), group.clear(0).unwrap());
    // The clearing comes first: the Propose can never happen.
    let outcome = group.run(&clear);
    let (keys, extent) = (group.view.keys().clone(), group.extent(0));
    assert_eq!(clear_outcome(&keys, extent, &clear, &outcome), ClearOutcome::Cleared);
    assert!(!group.run(&propose).succeeded);
    // The Propose comes first: clearing fails, and says so.
    group.must(group.prepare(0, to, 2).unwrap());
    let (propose, clear) = (group.propose(0).unwrap(), group.clear(0).unwrap());
    group.must(propose);
    let outcome = group.run(&clear);
    assert_eq!(clear_outcome(&keys, extent, &clear, &outcome), ClearOutcome::EntryChanged);
    assert_eq!(group.owner(0), to);
}

#[test]
fn a_server_that_may_not_act_learns_nothing_about_its_propose() {
    let mut group = Group::new(3, 1);
    group.must(group.prepare(0, group.other(0), 1).unwrap());
    let clear = group.clear(0).unwrap();
    group.start(ServerId(group.owner(0)));
    let outcome = group.run(&clear);
    let settled = clear_outcome(group.view.keys(), group.extent(0), &clear, &outcome);
    assert_eq!(settled, ClearOutcome::NotAllowed);
}

#[test]
fn impossible_moves_are_not_proposed_at_all() {
    let mut group = Group::new(3, 1);
    let (owner, to) = (group.owner(0), group.other(0));
    assert!(matches!(group.prepare(0, owner, 1), Err(ChangeError::BadMove { .. })));
    assert!(matches!(group.prepare(0, 77, 1), Err(ChangeError::BadMove { .. })));
    assert!(matches!(group.propose(0), Err(ChangeError::NoIntent { .. })));
    assert!(matches!(group.clear(0), Err(ChangeError::NoIntent { .. })));
    let stale = Epoch(1);
    let refused = propose_move(&group.view, group.actor(owner), group.extent(0), stale, 1);
    assert!(matches!(refused, Err(ChangeError::OtherEpoch { .. })));
    let epoch = group.view.route(group.extent(0)).unwrap().epoch;
    let refused = propose_move(&group.view, group.actor(to), group.extent(0), epoch, 1);
    assert!(matches!(refused, Err(ChangeError::NotOwner { .. })));
    group.must(set_draining(&group.view, ServerId(to), true).unwrap());
    assert!(matches!(group.prepare(0, to, 1), Err(ChangeError::BadMove { .. })));
}

#[test]
fn move_records_are_bounded_and_the_oldest_go() {
    let mut group = Group::new(3, 1);
    for number in 0..MOVES_KEPT_PER_SERVER as u32 + 20 {
        let (owner, to) = (group.owner(0), group.other(0));
        let record = group.actor(owner);
        // All moves are counted to one server, so that its bound is reached.
        let route = group.view.route(group.extent(0)).unwrap();
        let new = PrepareMove {
            extent: group.extent(0),
            epoch: route.epoch,
            to: ServerId(to),
            replaces: ServerId(owner),
            id: MoveId::new(ServerId(owner), Incarnation(1), number).unwrap(),
            started_unix_ms: u64::from(number),
            reason: json!(number),
        };
        group.must(prepare_move(&group.view, record, &new).unwrap());
        group.must(group.clear(0).unwrap());
    }
    assert_eq!(group.view.moves().count(), MOVES_KEPT_PER_SERVER);
    let first = MoveId::new(ServerId(group.owner(0)), Incarnation(1), 20).unwrap();
    assert_eq!(group.view.moves().next(), Some(first));
}

#[test]
fn a_start_raises_the_incarnation_and_every_epoch_of_the_server() {
    let mut group = Group::new(3, 1);
    let before = group.view.route(group.extent(0)).unwrap();
    let owner = before.owner().unwrap();
    group.start(owner);
    let after = group.view.route(group.extent(0)).unwrap();
    assert!(after.epoch > before.epoch);
    assert_eq!(after.owner(), Some(owner));
    assert!(group.view.member(owner).unwrap().record.is_up());
    let old = group.incarnations[&owner];
    assert!(matches!(start_server(&group.view, owner, old), Err(ChangeError::OldStore { .. })));
    group.put_member(owner.0, |record| record.state = MemberState::Down);
    group.start(owner);
    assert_eq!(group.view.member(owner).unwrap().record.state, MemberState::Syncing);
}

#[test]
fn of_two_starts_of_one_server_one_fails() {
    let mut group = Group::new(2, 1);
    let first = start_server(&group.view, ServerId(1), Incarnation(5)).unwrap();
    let clone = start_server(&group.view, ServerId(1), Incarnation(6)).unwrap();
    group.must(first);
    assert!(!group.run(&clone).succeeded);
}

#[test]
fn an_old_incarnation_and_a_server_that_is_down_do_not_act() {
    let mut group = Group::new(3, 1);
    let old = group.actor(1);
    let late = set_access(&group.view, old, group.volume, &AccessRecord::default()).unwrap();
    group.start(ServerId(1));
    assert!(!group.run(&late).succeeded);
    let refused = set_access(&group.view, old, group.volume, &AccessRecord::default());
    assert!(matches!(refused, Err(ChangeError::NotPresent { .. })));
    group.put_member(1, |record| record.state = MemberState::Down);
    let refused = delete_volume(&group.view, group.actor(1), group.volume, 1);
    assert!(matches!(refused, Err(ChangeError::NotPresent { .. })));
}

#[test]
fn ids_are_never_given_twice_and_names_are_unique() {
    let mut group = Group::new(2, 1);
    let new = new_volume(&group.view, "w", 1);
    let (first, create) = create_volume(&group.view, group.actor(1), &new).unwrap();
    let other = new_volume(&group.view, "x", 1);
    let (same, race) = create_volume(&group.view, group.actor(2), &other).unwrap();
    assert_eq!(first, same);
    group.must(create);
    assert!(!group.run(&race).succeeded);
    let refused = create_volume(&group.view, group.actor(1), &new);
    assert!(matches!(refused, Err(ChangeError::VolumeNameTaken { .. })));
    group.must(delete_volume(&group.view, group.actor(1), first, 3).unwrap());
    assert_eq!(group.view.tombstone(first).unwrap().name, "w");
    assert!(group.view.route(ExtentId { volume: first, index: 0 }).is_none());
    let (second, create) = create_volume(&group.view, group.actor(1), &new).unwrap();
    assert!(second > first);
    group.must(create);
    let taken = register_server(&group.view, &server_record(1));
    assert!(matches!(taken, Err(ChangeError::ServerNameTaken { .. })));
}

#[test]
fn a_grant_raises_no_epoch() {
    let mut group = Group::new(2, 1);
    let before = group.view.route(group.extent(0)).unwrap();
    let mut access = AccessRecord::default();
    access.initiators.insert("iqn.2026-01.org.example:host".into());
    group.must(set_access(&group.view, group.actor(1), group.volume, &access).unwrap());
    assert_eq!(group.view.route(group.extent(0)).unwrap(), before);
    assert!(group.view.permits(group.volume, "iqn.2026-01.org.example:host"));
    assert!(!group.view.permits(group.volume, "iqn.2026-01.org.example:other"));
}

#[test]
fn impossible_volumes_are_refused() {
    let group = Group::new(2, 1);
    let refused = |change: &dyn Fn(&mut NewVolume)| {
        let mut new = new_volume(&group.view, "w", 1);
        change(&mut new);
        create_volume(&group.view, group.actor(1), &new).unwrap_err()
    };
    assert!(matches!(refused(&|new| new.name = "W".into()), ChangeError::BadRecord { .. }));
    assert!(matches!(refused(&|new| new.size_bytes = 0), ChangeError::BadRecord { .. }));
    assert!(matches!(refused(&|new| new.size_bytes = 513), ChangeError::BadRecord { .. }));
    assert!(matches!(refused(&|new| new.size_bytes = 65 << 40), ChangeError::BadRecord { .. }));
    assert!(matches!(refused(&|new| new.replicas = 4), ChangeError::BadRecord { .. }));
    assert!(matches!(refused(&|new| new.replicas = 3), ChangeError::TooFewDomains { .. }));
}

#[test]
fn a_role_has_one_holder_until_its_lease_ends() {
    let mut group = Group::new(2, 1);
    let lease = group.directory.grant_lease(Duration::from_secs(5)).unwrap();
    group.must(announce(&group.view, group.actor(1), lease).unwrap());
    let mine = campaign(&group.view, group.actor(1), Role::Planner, lease).unwrap();
    let theirs = campaign(&group.view, group.actor(2), Role::Planner, lease).unwrap();
    group.must(mine);
    assert!(!group.run(&theirs).succeeded);
    assert_eq!(group.view.leader(Role::Planner).unwrap().record.server, ServerId(1));
    assert!(resign(&group.view, group.actor(2), Role::Planner).is_none());
    group.directory.revoke_lease(lease).unwrap();
    group.follow();
    assert!(group.view.leader(Role::Planner).is_none() && group.view.live(ServerId(1)).is_none());
    let lease = group.directory.grant_lease(Duration::from_secs(5)).unwrap();
    group.must(campaign(&group.view, group.actor(2), Role::Planner, lease).unwrap());
    group.must(resign(&group.view, group.actor(2), Role::Planner).unwrap());
    assert!(group.view.leader(Role::Planner).is_none());
}

/// A step of a random history. Servers, extents and moves are picked by number from what there is.
#[derive(Clone, Debug)]
enum Step {
    Start(u8),
    State(u8, u8),
    Drain(u8, bool),
    Prepare(u8, u8),
    Propose(u8),
    Clear(u8),
    Late,
    Grant(bool),
    Create,
    Delete,
    Restore,
    Enter(u8, bool),
    Confirm(u8),
    Place,
    Forget(u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => any::<u8>().prop_map(Step::Start),
        2 => (any::<u8>(), 0..3u8).prop_map(|(server, state)| Step::State(server, state)),
        1 => any::<(u8, bool)>().prop_map(|(server, draining)| Step::Drain(server, draining)),
        8 => (0..6u8, any::<u8>()).prop_map(|(extent, to)| Step::Prepare(extent, to)),
        6 => (0..6u8).prop_map(Step::Propose),
        2 => (0..6u8).prop_map(Step::Clear),
        2 => Just(Step::Late),
        1 => any::<bool>().prop_map(Step::Grant),
        1 => Just(Step::Create),
        1 => Just(Step::Delete),
        1 => Just(Step::Restore),
        3 => (0..6u8, any::<bool>()).prop_map(|(extent, run)| Step::Enter(extent, run)),
        8 => any::<u8>().prop_map(Step::Confirm),
        6 => Just(Step::Place),
        1 => any::<u8>().prop_map(Step::Forget),
    ]
}

impl Group {
    /// Makes the transaction of a step, if it is possible on this view.
    fn step(&mut self, step: &Step, number: u32, late: &mut Option<Txn>) -> Option<Txn> {
        let pick = |server: u8| ServerId(u32::from(server) % 4 + 1);
        let somebody = || self.actor(1);
        Some(match step {
            Step::Start(server) => {
                let incarnation = self.view.member(pick(*server))?.record.incarnation;
                let next = Incarnation(incarnation.0 + 1);
                self.incarnations.insert(pick(*server), next);
                start_server(&self.view, pick(*server), next).ok()?
            }
            Step::State(server, state) => {
                let kept = self.view.member(pick(*server))?;
                let next = [MemberState::Up, MemberState::Syncing, MemberState::Down][usize::from(*state)];
                let mut record = MemberRecord { state: next, ..kept.record.clone() };
                if kept.record.is_up() && next != MemberState::Up {
                    record.left = Some(u64::from(number));
                }
                let key = self.view.keys().member(pick(*server));
                let compare = Compare::unchanged(key.clone(), kept.revision);
                Txn::default().when(compare).then(Operation::put(key, encode_json(&record)))
            }
            Step::Drain(server, draining) => set_draining(&self.view, pick(*server), *draining).ok()?,
            Step::Prepare(extent, to) => {
                self.view.route(self.extent(u32::from(*extent)))?.owner()?;
                self.prepare(u32::from(*extent), pick(*to).0, number).ok()?
            }
            Step::Propose(extent) => {
                self.view.route(self.extent(u32::from(*extent)))?.owner()?;
                self.propose(u32::from(*extent)).ok()?
            }
            Step::Clear(extent) => {
                self.view.route(self.extent(u32::from(*extent)))?.owner()?;
                self.clear(u32::from(*extent)).ok()?
            }
            Step::Late => late.take()?,
            Step::Grant(any) => {
                let access = AccessRecord { any: *any, ..AccessRecord::default() };
                set_access(&self.view, somebody(), self.volume, &access).ok()?
            }
            Step::Create => {
                let place = self.view.place_for_new_volume(crate::view::Spread::Domains).ok()?;
                let new = NewVolume { place, ..new_volume_with(&self.view, &format!("n{number}"))? };
                create_volume(&self.view, somebody(), &new).ok()?.1
            }
            Step::Delete => {
                let (other, _) = self.view.volumes().find(|(volume, _)| *volume != self.volume)?;
                delete_volume(&self.view, somebody(), other, 1).ok()?
            }
            Step::Restore => raise_generation(&self.view).ok()?,
            Step::Enter(extent, run) => {
                let (extents, runs) = (vec![u32::from(*extent)], vec![0]);
                let (extents, runs) = if *run { (vec![], runs) } else { (extents, vec![]) };
                enter(&self.view, somebody(), self.volume, &extents, &runs).ok()?
            }
            Step::Confirm(server) => {
                confirm_place(&self.view, self.actor(pick(*server).0), self.volume).ok()?
            }
            Step::Place => next_placing(&self.view, somebody()).pop()?,
            Step::Forget(server) => forget_server(&self.view, somebody(), pick(*server), true).ok()?,
        })
    }
}

fn new_volume_with(view: &View, name: &str) -> Option<NewVolume> {
    view.place_for_new_volume(crate::view::Spread::Domains).ok()?;
    Some(new_volume(view, name, 1))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever happens, in whatever order, also with transactions that come late: each change of a route has a higher
    /// epoch, no epoch falls, and a view that followed equals a list at the same revision.
    #[test]
    fn epochs_only_grow_and_a_view_equals_a_fresh_list(
        steps in prop::collection::vec(any_step(), 1..80), replicas in 1..=3u8,
    ) {
        let mut group = Group::new(4, replicas);
        let mut routes: BTreeMap<u32, Route> = BTreeMap::new();
        let mut late = None;
        for (number, step) in steps.iter().enumerate() {
            let Some(txn) = group.step(step, number as u32, &mut late) else { continue };
            if number % 5 == 4 && late.is_none() {
                late = Some(txn);
                continue;
            }
            group.directory.transact(&txn).unwrap();
            while let Some(batch) = group.watch.next(Duration::ZERO).unwrap() {
                group.view.apply(&batch).unwrap();
                let prefix = KeyRange::prefix(group.view.keys().prefix());
                let listed = group.directory.range(&prefix, Some(batch.revision)).unwrap();
                let fresh = View::from_snapshot(group.view.keys().clone(), &listed).unwrap();
                prop_assert_eq!(&group.view, &fresh);
                for index in 0..6 {
                    let Some(route) = group.view.route(group.extent(index)) else { continue };
                    if let Some(before) = routes.insert(index, route) {
                        prop_assert!(route.epoch >= before.epoch, "{:?} after {:?}", route, before);
                        let same = route == before;
                        prop_assert!(same || route.epoch > before.epoch, "{:?} after {:?}", route, before);
                    }
                }
            }
        }
    }
}
