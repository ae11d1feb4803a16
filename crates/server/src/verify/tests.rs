use super::*;
use evenkeel_meta::change::{self, Actor, NewVolume, PrepareMove};
use evenkeel_meta::records::{AccessRecord, FORMAT_VERSION, FormatRecord, ServerCapacity, ServerRecord};
use evenkeel_meta::{Directory, KeyRange, Keyspace, MemoryDirectory, MoveId, Txn};
use evenkeel_types::{Epoch, Incarnation};

/// A directory with two servers and one volume, whose extent 0 was moved from its owner to the other server.
struct Group {
    directory: MemoryDirectory,
    keys: Keyspace,
    volume: VolumeId,
    /// Owner of all extents but the first.
    home: ServerId,
    /// Owner of the first.
    away: ServerId,
}

impl Group {
    fn view(&self) -> View {
        let snapshot = self.directory.range(&KeyRange::prefix(self.keys.prefix()), None).unwrap();
        View::from_snapshot(self.keys.clone(), &snapshot).unwrap()
    }

    fn change(&self, make: impl FnOnce(&View) -> Txn) {
        assert!(self.directory.transact(&make(&self.view())).unwrap().succeeded);
    }

    fn new() -> Self {
        let keys = Keyspace::new("lab").unwrap();
        let none = VolumeId(0);
        let (home, away) = (ServerId(1), ServerId(2));
        let mut group = Self { directory: MemoryDirectory::default(), keys, volume: none, home, away };
        let format =
            FormatRecord { version: FORMAT_VERSION, group: "lab".to_owned(), group_id: 1, generation: 0 };
        group.change(|view| change::begin_group(view, &format));
        for name in ["s1", "s2"] {
            let record = ServerRecord {
                name: name.to_owned(),
                portals: vec!["127.0.0.1:3260".to_owned()],
                peer: "127.0.0.1:7260".to_owned(),
                api: None,
                domain: name.to_owned(),
                capacity: ServerCapacity { bytes: 1 << 30, ..ServerCapacity::default() },
                store_id: 0,
            };
            group.change(|view| change::register_server(view, &record).unwrap().1);
        }
        for server in [home, away] {
            group.change(|view| change::start_server(view, server, Incarnation(1)).unwrap());
        }
        let actor = Actor { server: home, incarnation: Incarnation(1) };
        group.change(|view| {
            let new = NewVolume {
                name: "v1".to_owned(),
                size_bytes: 64 << 20,
                logical_block_bytes: 512,
                replicas: 1,
                seed: 7,
                place: view.place_for_new_volume(evenkeel_meta::Spread::Domains).unwrap(),
                access: AccessRecord::default(),
                created_unix_ms: 0,
            };
            change::create_volume(view, actor, &new).unwrap().1
        });
        group.volume = group.view().volume_named("v1").unwrap().record;
        let owner = group.view().route(group.extent(0)).unwrap().owner().unwrap();
        (group.home, group.away) = if owner == home { (home, away) } else { (away, home) };
        group.move_first();
        group
    }

    fn move_first(&self) {
        let actor = Actor { server: self.home, incarnation: Incarnation(1) };
        let extent = self.extent(0);
        self.change(|view| {
            let new = PrepareMove {
                extent,
                epoch: view.route(extent).unwrap().epoch,
                to: self.away,
                replaces: self.home,
                id: MoveId::new(self.home, Incarnation(1), 1).unwrap(),
                started_unix_ms: 0,
                reason: serde_json::Value::Null,
            };
            change::prepare_move(view, actor, &new).unwrap()
        });
        self.change(|view| {
            let epoch = view.route(extent).unwrap().epoch;
            change::propose_move(view, actor, extent, epoch, 1).unwrap()
        });
    }

    const fn extent(&self, index: u32) -> ExtentId {
        ExtentId { volume: self.volume, index }
    }

    fn copy(&self, index: u32, server: ServerId) -> InventoryEntry {
        let extent = self.extent(index);
        let accepted = self.view().route(extent).unwrap().epoch;
        InventoryEntry {
            extent,
            accepted,
            replicas: vec![server],
            has_data: true,
            units: 64,
            versions_hash: 1,
        }
    }

    /// Everything where it belongs.
    fn sound(&self) -> Inventories {
        Inventories::from([
            (self.home, vec![self.copy(1, self.home)]),
            (self.away, vec![self.copy(0, self.away)]),
        ])
    }

    fn kinds(&self, inventories: &Inventories) -> Vec<String> {
        verify(&self.view(), self.volume, inventories).into_iter().map(|finding| finding.kind).collect()
    }
}

#[test]
fn copies_where_the_directory_says_are_all_well() {
    let group = Group::new();
    assert_eq!(group.kinds(&group.sound()), [""; 0]);
}

#[test]
fn what_is_left_after_a_release_is_no_copy() {
    let group = Group::new();
    let mut inventories = group.sound();
    let left = InventoryEntry { has_data: false, units: 0, ..group.copy(0, group.home) };
    inventories.get_mut(&group.home).unwrap().push(left);
    assert_eq!(group.kinds(&inventories), [""; 0]);
}

#[test]
fn a_copy_that_no_route_names_is_an_orphan() {
    let group = Group::new();
    let mut inventories = group.sound();
    inventories.get_mut(&group.away).unwrap().push(group.copy(2, group.home));
    assert_eq!(group.kinds(&inventories), ["orphan-record", "missing-copy"]);
    let unknown = ExtentId { volume: VolumeId(99), index: 0 };
    let mut inventories = group.sound();
    inventories
        .get_mut(&group.home)
        .unwrap()
        .push(InventoryEntry { extent: unknown, ..group.copy(1, group.home) });
    assert_eq!(group.kinds(&inventories), ["orphan-record"]);
}

#[test]
fn a_moved_extent_without_a_copy_is_missing() {
    let group = Group::new();
    let inventories =
        Inventories::from([(group.home, vec![group.copy(1, group.home)]), (group.away, Vec::new())]);
    assert_eq!(group.kinds(&inventories), ["missing-copy"]);
}

#[test]
fn two_servers_that_both_served_as_owner_are_named() {
    let group = Group::new();
    let mut inventories = group.sound();
    inventories.get_mut(&group.home).unwrap().push(group.copy(0, group.home));
    assert_eq!(group.kinds(&inventories), ["orphan-record", "two-owners"]);
    // Nor does it matter that a record was made by a write, which leaves no list of replicas.
    for copies in inventories.values_mut() {
        copies.iter_mut().for_each(|copy| copy.replicas.clear());
    }
    assert_eq!(group.kinds(&inventories), ["orphan-record", "two-owners"]);
    // A copy that the other server made for a move is no claim.
    let copy = inventories.get_mut(&group.home).unwrap().last_mut().unwrap();
    copy.replicas = vec![group.away];
    assert_eq!(group.kinds(&inventories), ["orphan-record"]);
}

#[test]
fn an_accepted_epoch_above_the_directorys_is_stale() {
    let group = Group::new();
    let mut inventories = group.sound();
    inventories.get_mut(&group.away).unwrap()[0].accepted = Epoch(1 << 40);
    assert_eq!(group.kinds(&inventories), ["stale-epoch"]);
}
