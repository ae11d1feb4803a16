use super::*;
use crate::change::{self, Actor, NewVolume};
use crate::records::{AccessRecord, ServerCapacity, ServerRecord};
use crate::{Directory, KeyRange, Keyspace, MemoryDirectory, Spread};
use MemberState::{Down, Up};

const A: ServerId = ServerId(1);
const B: ServerId = ServerId(2);
const C: ServerId = ServerId(3);
const D: ServerId = ServerId(4);

/// Server, extent, epoch, replicas, and the versions of the copy if there is one.
type Row<'a> = (ServerId, u32, u64, &'a [ServerId], Option<u64>);

/// Four servers that were up at the backup, and a volume with two copies of each of its extents.
struct Group {
    directory: MemoryDirectory,
    keys: Keyspace,
    volume: VolumeId,
}

impl Group {
    fn at_the_backup() -> Self {
        let (directory, keys) = (MemoryDirectory::default(), Keyspace::new("lab").unwrap());
        let group = Self { directory, keys, volume: VolumeId(0) };
        let format = crate::records::FormatRecord {
            version: crate::records::FORMAT_VERSION,
            group: "lab".to_owned(),
            group_id: 1,
            generation: 0,
        };
        group.must(&change::begin_group(&group.view(), &format));
        for server in [A, B, C, D] {
            let record = ServerRecord {
                name: format!("s{}", server.0),
                portals: Vec::new(),
                peer: String::new(),
                api: None,
                domain: server.to_string(),
                capacity: ServerCapacity::default(),
                store_id: 7,
            };
            let (id, txn) = change::register_server(&group.view(), &record).unwrap();
            assert_eq!(id, server);
            group.must(&txn);
            group.must(&change::start_server(&group.view(), id, Incarnation(1)).unwrap());
        }
        let new = NewVolume {
            name: "v1".to_owned(),
            size_bytes: 8 << 22,
            logical_block_bytes: 512,
            replicas: 2,
            seed: 1,
            place: group.view().place_for_new_volume(Spread::Domains).unwrap(),
            access: AccessRecord::default(),
            created_unix_ms: 0,
        };
        let by = Actor { server: A, incarnation: Incarnation(1) };
        let (volume, txn) = change::create_volume(&group.view(), by, &new).unwrap();
        group.must(&txn);
        Self { volume, ..group }
    }

    fn view(&self) -> View {
        let all = self.directory.range(&KeyRange::prefix(self.keys.prefix()), None).unwrap();
        View::from_snapshot(self.keys.clone(), &all).unwrap()
    }

    fn must(&self, txn: &Txn) -> View {
        assert!(self.directory.transact(txn).unwrap().succeeded);
        self.view()
    }

    /// The lists of these servers' stores.
    fn lists(&self, servers: &[ServerId], records: &[Row<'_>]) -> Vec<StoreList> {
        let held = |record: &Row<'_>| Held {
            extent: ExtentId { volume: self.volume, index: record.1 },
            accepted: Epoch(record.2),
            replicas: record.3.to_vec(),
            has_data: record.4.is_some(),
            bytes: 4096,
            versions: record.4.unwrap_or(0),
        };
        let of = |server: &ServerId| {
            let own = records.iter().filter(|record| record.0 == *server);
            StoreList { server: *server, extents: own.map(held).collect() }
        };
        servers.iter().map(of).collect()
    }

    fn rebuild(&self, lists: &[StoreList]) -> View {
        let carry_out = |txn: &Txn| Ok(self.must(txn));
        rebuild(self.view(), lists, |_, _| Ok(None), carry_out, RestoreError::clone).unwrap().0
    }

    fn replicas(&self, index: u32) -> Vec<ServerId> {
        self.view().route(ExtentId { volume: self.volume, index }).unwrap().replicas.to_vec()
    }

    fn owner(&self, index: u32) -> Option<ServerId> {
        self.view().route(ExtentId { volume: self.volume, index }).unwrap().owner()
    }

    fn states(&self) -> Vec<MemberState> {
        self.view().members().map(|(_, kept)| kept.record.state).collect()
    }
}

#[test]
fn the_target_of_a_move_takes_the_place_of_whoever_gave_its_copy_up() {
    let group = Group::at_the_backup();
    let lists = group.lists(
        &[A, B, C, D],
        &[
            // The owner was replaced, and the target has not served yet.
            (A, 0, 40, &[A, B], None),
            (B, 0, 40, &[A, B], Some(7)),
            (C, 0, 40, &[A, B], Some(7)),
            // The other replica was.
            (A, 1, 40, &[A, B], Some(7)),
            (B, 1, 40, &[A, B], None),
            (C, 1, 40, &[A, B], Some(7)),
            // The move is under way: the target has some of it.
            (A, 2, 40, &[A, B], Some(7)),
            (B, 2, 40, &[A, B], Some(7)),
            (C, 2, 40, &[A, B], Some(3)),
            // The target of an earlier move, which came to nothing, has not given its copy up yet.
            (A, 3, 40, &[A, B], None),
            (B, 3, 40, &[A, B], Some(7)),
            (C, 3, 39, &[A, B], Some(3)),
            (D, 3, 40, &[A, B], Some(7)),
        ],
    );
    group.rebuild(&lists);
    let routes: Vec<Vec<ServerId>> = (0..4).map(|index| group.replicas(index)).collect();
    assert_eq!(routes, [[C, B], [A, C], [A, B], [D, B]]);
    assert_eq!(group.states(), [Up; 4], "a target is not behind");
}

#[test]
fn whoever_has_no_copy_does_not_come_first() {
    let group = Group::at_the_backup();
    let records: [Row<'_>; 2] = [(A, 0, 40, &[A, B], None), (B, 0, 40, &[A, B], Some(7))];
    group.rebuild(&group.lists(&[A, B, C, D], &records));
    assert_eq!((group.replicas(0), group.owner(0)), (vec![B, A], Some(B)));
    assert_eq!(group.states(), [Down, Up, Up, Up]);
    // Of a store that is lost nothing is known; its server is down.
    let group = Group::at_the_backup();
    group.rebuild(&group.lists(&[B, C, D], &records));
    assert_eq!((group.replicas(0), group.owner(0)), (vec![A, B], Some(B)));
    assert_eq!(group.states(), [Down, Up, Up, Up]);
}

#[test]
fn a_server_with_a_copy_that_differs_from_its_owners_is_brought_up_to_date_first() {
    let group = Group::at_the_backup();
    let lists = group.lists(
        &[A, B, C, D],
        &[
            // B was away, or had just accepted the epoch in which it was to be brought up to date.
            (A, 0, 40, &[A, B], Some(7)),
            (B, 0, 30, &[B, A], Some(6)),
            (C, 1, 40, &[C, B], Some(7)),
            (B, 1, 40, &[C, B], Some(6)),
            (C, 2, 40, &[C, D], Some(7)),
            (D, 2, 40, &[C, D], Some(7)),
        ],
    );
    group.rebuild(&lists);
    assert_eq!(group.states(), [Up, Down, Up, Up]);
    assert_eq!((0..3).map(|index| group.owner(index)).collect::<Vec<_>>(), [Some(A), Some(C), Some(C)]);
    // Whatever happens to A: nobody else has its writes.
    let by = Actor { server: C, incarnation: Incarnation(1) };
    group.must(&change::mark_down(&group.view(), by, A).unwrap());
    group.must(&change::start_server(&group.view(), B, Incarnation(2)).unwrap());
    assert_eq!(group.owner(0), Some(A));
}

#[test]
fn of_servers_that_are_all_behind_the_owner_left_last() {
    let group = Group::at_the_backup();
    let lists = group.lists(
        &[A, B, C, D],
        &[
            (A, 0, 40, &[A, B], Some(7)),
            (B, 0, 30, &[A, B], Some(6)),
            (B, 1, 40, &[B, C], Some(7)),
            (C, 1, 30, &[B, C], Some(6)),
            (C, 2, 40, &[C, D], Some(7)),
            (D, 2, 30, &[C, D], Some(6)),
        ],
    );
    group.rebuild(&lists);
    assert_eq!(group.states(), [Up, Down, Down, Down]);
    assert_eq!((0..3).map(|index| group.owner(index)).collect::<Vec<_>>(), [Some(A), Some(B), Some(C)]);
}

#[test]
fn servers_that_are_behind_each_other_were_writing_and_are_up() {
    let group = Group::at_the_backup();
    let lists = group.lists(
        &[A, B, C, D],
        &[
            (A, 0, 40, &[A, B], Some(7)),
            (B, 0, 40, &[A, B], Some(6)),
            (B, 1, 40, &[B, A], Some(7)),
            (A, 1, 40, &[B, A], Some(6)),
            // And one that both are ahead of.
            (A, 2, 40, &[A, C], Some(7)),
            (C, 2, 30, &[A, C], Some(6)),
        ],
    );
    group.rebuild(&lists);
    assert_eq!(group.states(), [Up, Up, Down, Up]);
}

#[test]
fn a_rebuild_that_is_broken_off_anywhere_and_begun_again_comes_to_the_same() {
    let records: [Row<'_>; 4] = [
        (A, 0, 40, &[A, B], Some(7)),
        (B, 0, 30, &[A, B], Some(6)),
        (C, 1, 40, &[C, D], Some(7)),
        (D, 1, 40, &[C, D], Some(7)),
    ];
    let whole = Group::at_the_backup();
    whole.rebuild(&whole.lists(&[A, B, C, D], &records));
    for after in 0..4 {
        let group = Group::at_the_backup();
        let lists = group.lists(&[A, B, C, D], &records);
        let mut left = after;
        let carry_out = |txn: &Txn| {
            left -= 1;
            if left < 0 { Err(None) } else { Ok(group.must(txn)) }
        };
        let broken = rebuild(group.view(), &lists, |_, _| Ok(None), carry_out, |why| Some(why.clone()));
        assert!(broken.is_ok() == (after == 3) && !matches!(broken, Err(Some(_))), "{after}");
        group.rebuild(&lists);
        assert_eq!((group.states(), group.replicas(0)), (whole.states(), whole.replicas(0)));
        assert_eq!(group.replicas(1), whole.replicas(1));
    }
}

#[test]
fn an_extent_that_was_never_written_makes_nobody_behind_and_needs_no_route() {
    let group = Group::at_the_backup();
    let home = group.replicas(0);
    let (first, second) = (home[0], home[1]);
    let turned = [second, first];
    let lists = group.lists(&[A, B, C, D], &[(second, 0, 40, &turned, Some(0))]);
    group.rebuild(&lists);
    assert_eq!((group.replicas(0), group.states()), (home, vec![Up; 4]));
    // Where it was moved, a copy has to be there: one that is not is made before its server counts.
    let to = RouteEntry::settled(Replicas::new(&turned).unwrap());
    let key = group.keys.route(ExtentId { volume: group.volume, index: 0 });
    group.must(&Txn::default().then(Operation::put(key, to.encode())));
    group.rebuild(&lists);
    assert_eq!((group.replicas(0), group.owner(0)), (turned.to_vec(), Some(second)));
    assert_eq!(group.view().member(first).unwrap().record.state, Down);
}
