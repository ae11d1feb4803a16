use super::*;
use crate::directory::{Change, Directory, KeyRange, LeaseId};
use crate::memory::MemoryDirectory;
use crate::place::{Place, PlacedServer};
use crate::records::{MemberState, MoveId, MoveIntent, Replicas, encode_json};
use crate::txn::{Operation, Txn};
use evenkeel_types::{Bytes, Epoch, Incarnation};

const VOLUME: VolumeId = VolumeId(1);

fn keys() -> Keyspace {
    Keyspace::new("g").unwrap()
}

fn extent(index: u32) -> ExtentId {
    ExtentId { volume: VOLUME, index }
}

fn entry(key: Key, value: Bytes, revision: u64) -> Entry {
    let (create_revision, mod_revision) = (Revision(revision), Revision(revision));
    Entry { key, value, create_revision, mod_revision, version: 1, lease: None::<LeaseId> }
}

fn batch(revision: u64, changes: Vec<(Key, Option<Bytes>)>) -> Batch {
    let change = |(key, value): (Key, Option<Bytes>)| Change {
        entry: value.map(|value| entry(key.clone(), value, revision)),
        key,
    };
    Batch { revision: Revision(revision), changes: changes.into_iter().map(change).collect() }
}

fn member(state: MemberState) -> Bytes {
    encode_json(&MemberRecord {
        state,
        draining: false,
        incarnation: Incarnation(1),
        left: None,
        leaves: false,
        forgotten: false,
    })
}

fn volume_record(gib: u64) -> VolumeRecord {
    let placed = |n| PlacedServer { server: ServerId(n), weight: 1, domain: n };
    VolumeRecord {
        name: "v".into(),
        size_bytes: gib << 30,
        logical_block_bytes: 512,
        replicas: 1,
        seed: 7,
        place: Place::new((1..=3).map(placed).collect()).unwrap(),
        created_unix_ms: 0,
    }
}

/// Members 1 to 4 in revisions 11 to 14, a volume of 1 GiB in revision 20.
fn view() -> View {
    let mut entries: Vec<Entry> = (1..=4)
        .map(|n| entry(keys().member(ServerId(n)), member(MemberState::Up), 10 + u64::from(n)))
        .collect();
    entries.push(entry(keys().volume(VOLUME), encode_json(&volume_record(1)), 20));
    View::from_snapshot(keys(), &Snapshot { revision: Revision(30), entries }).unwrap()
}

fn settled(servers: &[u32]) -> RouteEntry {
    let servers: Vec<ServerId> = servers.iter().map(|n| ServerId(*n)).collect();
    RouteEntry::settled(Replicas::new(&servers).unwrap())
}

#[test]
fn an_epoch_follows_the_volume_the_entry_the_members_and_the_target() {
    let mut view = view();
    let placed = view.route(extent(0)).unwrap();
    assert_eq!((placed.epoch, placed.entry_revision), (Epoch(20), None));
    let owner = placed.owner().unwrap();
    view.apply(&batch(31, vec![(keys().member(owner), Some(member(MemberState::Up)))])).unwrap();
    assert_eq!(view.route(extent(0)).unwrap().epoch, Epoch(31));
    view.apply(&batch(32, vec![(keys().route(extent(0)), Some(settled(&[4]).encode()))])).unwrap();
    assert_eq!(view.route(extent(0)).unwrap().epoch, Epoch(32));
    view.apply(&batch(33, vec![(keys().volume(VOLUME), Some(encode_json(&volume_record(2))))])).unwrap();
    assert_eq!(view.route(extent(0)).unwrap().epoch, Epoch(32));
    assert_eq!(view.route(extent(511)).unwrap().epoch, Epoch(33));
    let intent = Some(MoveIntent { to: ServerId(1), replaces: ServerId(4), id: MoveId(1) });
    let moving = RouteEntry { intent, ..settled(&[4]) };
    view.apply(&batch(34, vec![(keys().route(extent(0)), Some(moving.encode()))])).unwrap();
    view.apply(&batch(35, vec![(keys().member(ServerId(1)), Some(member(MemberState::Up)))])).unwrap();
    assert_eq!(view.route(extent(0)).unwrap().epoch, Epoch(35));
    view.apply(&batch(36, vec![(keys().member(ServerId(2)), Some(member(MemberState::Up)))])).unwrap();
    assert_eq!(view.route(extent(0)).unwrap().epoch, Epoch(35));
}

#[test]
fn the_owner_is_the_first_replica_that_is_up() {
    let mut view = view();
    view.apply(&batch(31, vec![(keys().route(extent(0)), Some(settled(&[3, 1, 2]).encode()))])).unwrap();
    assert_eq!(view.route(extent(0)).unwrap().owner(), Some(ServerId(3)));
    view.apply(&batch(32, vec![(keys().member(ServerId(3)), Some(member(MemberState::Syncing)))])).unwrap();
    let route = view.route(extent(0)).unwrap();
    assert_eq!(route.owner(), Some(ServerId(1)));
    assert_eq!(route.in_sync().collect::<Vec<_>>(), [ServerId(1), ServerId(2)]);
    assert_eq!(route.present().count(), 3);
}

#[test]
fn there_are_no_routes_beyond_the_end_or_without_a_volume() {
    let view = view();
    assert!(view.route(extent(255)).is_some());
    assert!(view.route(extent(256)).is_none());
    assert!(view.route(ExtentId { volume: VolumeId(2), index: 0 }).is_none());
}

#[test]
fn what_cannot_be_read_is_a_problem_and_never_taken_for_absent() {
    let mut view = view();
    let broken = |key: Key| (key, Some(Bytes::from_static(b"\x01garbage")));
    let run = Key::from(format!("{}r00000001", keys().routes(VOLUME)));
    view.apply(&batch(31, vec![broken(keys().route(extent(0))), broken(run.clone())])).unwrap();
    assert_eq!(view.problems().count(), 2);
    assert!(view.route(extent(0)).is_none());
    assert!(view.route(extent(1)).is_some());
    assert!(view.route(extent(64)).is_none() && view.route(extent(127)).is_none());
    assert!(view.route(extent(128)).is_some());
    view.apply(&batch(32, vec![(keys().route(extent(0)), Some(settled(&[2]).encode())), (run, None)]))
        .unwrap();
    assert_eq!(view.problems().count(), 0);
    assert!(view.route(extent(0)).is_some() && view.route(extent(64)).is_some());
    view.apply(&batch(33, vec![broken(keys().member(ServerId(2)))])).unwrap();
    assert!(view.route(extent(0)).is_none());
    let mut impossible = volume_record(1);
    impossible.replicas = 9;
    view.apply(&batch(34, vec![(keys().volume(VOLUME), Some(encode_json(&impossible)))])).unwrap();
    assert!(view.volume(VOLUME).is_none() && view.problems().count() == 2);
}

#[test]
fn revisions_come_in_order_or_not_at_all() {
    let mut view = view();
    let late = batch(30, vec![(keys().volume(VOLUME), None)]);
    let refused = view.apply(&late);
    assert_eq!(refused, Err(ViewError::OutOfOrder { have: Revision(30), got: Revision(30) }));
    assert!(view.volume(VOLUME).is_some());
}

#[test]
fn a_newer_format_is_refused() {
    let format = FormatRecord { version: FORMAT_VERSION + 1, group: "g".into(), group_id: 1, generation: 0 };
    let newer = batch(31, vec![(keys().format(), Some(encode_json(&format)))]);
    assert_eq!(view().apply(&newer), Err(ViewError::NewerFormat { found: FORMAT_VERSION + 1 }));
}

#[test]
fn changes_name_what_is_to_be_looked_at_again() {
    let mut view = view();
    let changes = view
        .apply(&batch(
            31,
            vec![
                (keys().member(ServerId(1)), Some(member(MemberState::Up))),
                (keys().route(extent(3)), Some(settled(&[2]).encode())),
                (keys().access(VOLUME), Some(Bytes::from_static(b"{}"))),
            ],
        ))
        .unwrap();
    let expected = Changes {
        revision: Revision(31),
        members: BTreeSet::from([ServerId(1)]),
        extents: BTreeSet::from([extent(3)]),
        access: BTreeSet::from([VOLUME]),
        ..Changes::default()
    };
    assert_eq!(changes, expected);
    let format = FormatRecord { version: FORMAT_VERSION, group: "g".into(), group_id: 1, generation: 1 };
    let changes = view.apply(&batch(32, vec![(keys().format(), Some(encode_json(&format)))])).unwrap();
    assert!(changes.all);
    assert_eq!(view.route(extent(3)).unwrap().epoch, Epoch::new(1, 31));
}

#[test]
fn keys_of_other_groups_and_unknown_keys_change_nothing() {
    let directory = MemoryDirectory::default();
    for key in ["/evenkeel/g/something/new", "/evenkeel/g2/volume/0000000000000001"] {
        directory.transact(&Txn::default().then(Operation::put(key.into(), "x"))).unwrap();
    }
    let snapshot = directory.range(&KeyRange::prefix("/evenkeel/"), None).unwrap();
    let view = View::from_snapshot(keys(), &snapshot).unwrap();
    assert_eq!((view.volumes().count(), view.problems().count()), (0, 0));
}
