use super::*;
use crate::membership;
use crate::server::fixture::join;
use evenkeel_meta::change::{self, Actor, NewVolume};
use evenkeel_meta::records::{AccessRecord, CounterName, RouteEntry};
use evenkeel_meta::{MemoryDirectory, Operation, Replicas};
use evenkeel_types::Incarnation;
use std::time::Duration;

/// A group as it was at the backup: servers s1, s2 and s3, and a volume of eight extents.
struct Group {
    directory: MemoryDirectory,
    keys: Keyspace,
    on_disk: String,
    volume: VolumeId,
}

impl Group {
    fn at_the_backup() -> Self {
        let (directory, keys) = (MemoryDirectory::default(), Keyspace::new("lab").unwrap());
        let number = membership::begin_group(&directory, &keys, "lab").unwrap();
        let _ = join(&directory, &keys, &["s1", "s2", "s3"]);
        let view = membership::read(&directory, &keys).unwrap();
        let new = NewVolume {
            name: "v1".to_owned(),
            size_bytes: 8 << 22,
            logical_block_bytes: 512,
            replicas: 1,
            seed: 1,
            place: view.place_for_new_volume(evenkeel_meta::Spread::Domains).unwrap(),
            access: AccessRecord::default(),
            created_unix_ms: 0,
        };
        let by = Actor { server: ServerId(1), incarnation: Incarnation(1) };
        let (volume, txn) = change::create_volume(&view, by, &new).unwrap();
        assert!(directory.transact(&txn).unwrap().succeeded);
        let on_disk = membership::group_on_disk("lab", number);
        Self { directory, keys, on_disk, volume }
    }

    fn view(&self) -> View {
        membership::read(&self.directory, &self.keys).unwrap()
    }

    fn extent(&self, index: u32) -> ExtentId {
        ExtentId { volume: self.volume, index }
    }

    /// Where all of the volume is by its placement.
    fn home(&self) -> u32 {
        self.view().route(self.extent(0)).unwrap().replicas[0].0
    }

    /// Two servers that have nothing of it by placement.
    fn others(&self) -> [u32; 2] {
        let home = self.home();
        let others: Vec<u32> = (1..=3).filter(|server| *server != home).collect();
        [others[0], others[1]]
    }

    /// The lists of all three stores, with these records: server, extent, epoch, replicas, and whether it has data.
    fn lists(&self, records: &[(u32, u32, u64, &[u32], bool)]) -> Vec<ExtentList> {
        let of = |server: u32| ExtentList {
            group: self.on_disk.clone(),
            server,
            store: format!("/srv/s{server}"),
            extents: records
                .iter()
                .filter(|record| record.0 == server)
                .map(|(_, extent, epoch, replicas, has_data)| ExtentOnDisk {
                    volume: self.volume.0,
                    extent: *extent,
                    epoch: format!("{epoch:016x}"),
                    replicas: replicas.to_vec(),
                    has_data: *has_data,
                    bytes: 4096,
                    versions: "5".to_owned(),
                })
                .collect(),
        };
        (1..=3).map(of).collect()
    }

    fn rebuild(
        &self,
        lists: &[ExtentList],
        without: &[String],
        dry_run: bool,
    ) -> Result<RebuiltRoutes, String> {
        let address = EtcdAddress::parse("etcd://a").unwrap();
        let tls = EtcdTls::default();
        let (adopt, allow) = (&[][..], &[][..]);
        let rebuild =
            Rebuild { address: &address, tls: &tls, group: "lab", lists, without, adopt, allow, dry_run };
        rebuild_in(&self.directory, &self.keys, &rebuild, Duration::ZERO).map_err(|e| e.to_string())
    }

    fn owner(&self, index: u32) -> u32 {
        self.view().route(self.extent(index)).unwrap().owner().unwrap().0
    }
}

#[test]
fn an_extent_is_where_the_copy_with_the_highest_epoch_says() {
    let group = Group::at_the_backup();
    let (home, [a, b]) = (group.home(), group.others());
    let lists = group.lists(&[
        // Never moved: as placement says, with and without a list.
        (home, 0, 5, &[], true),
        (home, 1, 6, &[home], true),
        // Moved once, and the copy before was given up.
        (home, 2, 20, &[home], false),
        (a, 2, 21, &[a], true),
        // Moved twice, and an older copy is not freed yet.
        (home, 3, 22, &[home], true),
        (a, 3, 30, &[a], true),
        (b, 3, 31, &[b], true),
        // Under way: owner and target accepted the same epoch, and both name the owner.
        (home, 4, 40, &[home], true),
        (a, 4, 40, &[home], true),
        // Gone to a server and back.
        (home, 5, 52, &[home], true),
        (b, 5, 51, &[b], false),
        // The target was named by the directory, and the source gave its copy up, before the target served.
        (home, 7, 70, &[home], false),
        (b, 7, 70, &[home], true),
        // Given up by everybody: nothing is known.
        (a, 6, 60, &[a], false),
    ]);
    let plan = restore::plan(&group.view(), &store_lists(&lists).unwrap()).unwrap();
    let found: Vec<(u32, Vec<u32>)> = plan
        .routes
        .iter()
        .map(|(extent, was, now)| {
            assert_eq!(was.as_ref().map(|was| was[0].0), Some(home));
            (extent.index, now.iter().map(|server| server.0).collect())
        })
        .collect();
    assert_eq!(found, [(2, vec![a]), (3, vec![b]), (7, vec![b])]);
    assert_eq!((plan.extents, plan.highest), (7, Epoch(70)));
    assert_eq!((plan.missing.len(), plan.counters.len()), (0, 0));
}

#[test]
fn what_is_written_leads_to_the_copies_in_epochs_above_all_that_were() {
    let group = Group::at_the_backup();
    let (home, [a, _]) = (group.home(), group.others());
    // One that moved back since, so that the directory has an entry that is wrong; and a high epoch.
    let entry = RouteEntry::settled(Replicas::new(&[ServerId(a)]).unwrap());
    let put = Operation::put(group.keys.route(group.extent(1)), entry.encode());
    let _ = group.directory.transact(&Txn::default().then(put)).unwrap();
    let far = Epoch::new(2, 9_000_000);
    let records: [(u32, u32, u64, &[u32], bool); 3] =
        [(home, 1, far.0, &[home], true), (a, 2, 700, &[a], true), (home, 3, 7, &[], true)];
    let lists = group.lists(&records);
    let before = group.directory.range(&evenkeel_meta::KeyRange::prefix("/"), None).unwrap();
    let shown = group.rebuild(&lists, &[], true).unwrap();
    assert_eq!((shown.written, shown.routes.len(), shown.generation), (false, 2, 0));
    let after = group.directory.range(&evenkeel_meta::KeyRange::prefix("/"), None).unwrap();
    assert_eq!(before, after, "a dry run wrote");
    let done = group.rebuild(&lists, &[], false).unwrap();
    assert_eq!((done.written, done.routes), (true, shown.routes));
    assert_eq!([1, 2, 3].map(|index| group.owner(index)), [home, a, home]);
    assert_eq!(done.generation, 3);
    let epochs = (0..8).map(|index| group.view().route(group.extent(index)).unwrap().epoch);
    assert!(epochs.into_iter().all(|epoch| epoch > far));
    // Again, there is nothing to be done, but a restore is a restore.
    let again = group.rebuild(&lists, &[], false).unwrap();
    assert_eq!((again.routes.len(), again.generation), (0, 4));
}

#[test]
fn a_volume_that_is_missing_is_told_and_its_number_is_not_given_again() {
    let group = Group::at_the_backup();
    let mut lists = group.lists(&[]);
    let record = |extent: u32| ExtentOnDisk {
        volume: 40,
        extent,
        epoch: "63".to_owned(),
        replicas: vec![2],
        has_data: true,
        bytes: 65536,
        versions: "1".to_owned(),
    };
    lists[1].extents = vec![record(0), record(9)];
    let done = group.rebuild(&lists, &[], false).unwrap();
    let [missing] = &done.missing_volumes[..] else { panic!("{done:?}") };
    assert_eq!((missing.volume, missing.extents, missing.last_extent), (40, 2, 9));
    assert_eq!((missing.bytes, &missing.servers[..]), (131_072, &["s2".to_owned()][..]));
    assert_eq!(group.view().counter(CounterName::Volume).0, 41);
    assert_eq!(done.routes.len(), 0);
}

#[test]
fn lists_that_are_not_all_of_this_groups_are_refused() {
    let group = Group::at_the_backup();
    let all = group.lists(&[]);
    let refused =
        |lists: &[ExtentList], without: &[String]| group.rebuild(lists, without, false).unwrap_err();
    let line = refused(&all[..2], &[]);
    assert!(line.contains("'s3'") && line.contains("--without s3"), "{line}");
    assert!(refused(&[&all[..], &all[..1]].concat(), &[]).contains("2 lists"));
    assert!(refused(&all, &["s9".to_owned()]).contains("'s9'"));
    let mut foreign = all.clone();
    foreign[0].group = "lab#0000000000000001".to_owned();
    assert!(refused(&foreign, &[]).contains("/srv/s1"));
    let mut stranger = group.lists(&[(1, 0, 9, &[77], true)]);
    assert!(refused(&stranger, &[]).contains("does not know"));
    stranger[0].extents[0].epoch = "many".to_owned();
    assert!(refused(&stranger, &[]).contains("'many'"));
    assert_eq!(group.view().generation(), 0, "a refused list changed something");
    let done = group.rebuild(&all[..2], &["s3".to_owned()], false);
    assert_eq!(done.unwrap().generation, 1);
}

#[test]
fn nothing_is_rebuilt_under_a_server_that_runs() {
    let group = Group::at_the_backup();
    let lease = group.directory.grant_lease(Duration::from_secs(5)).unwrap();
    let by = Actor { server: ServerId(2), incarnation: Incarnation(1) };
    let txn = change::announce(&group.view(), by, lease).unwrap();
    let _ = group.directory.transact(&txn).unwrap();
    let line = group.rebuild(&group.lists(&[]), &[], false).unwrap_err();
    assert!(line.contains("'s2' runs"), "{line}");
    assert_eq!(group.view().generation(), 0);
}

/// The servers confirmed before the backup what was so then. By what they confirmed, a place would come that re-routes what was
/// written since.
#[test]
fn a_place_that_was_to_come_at_the_backup_is_withdrawn_with_all_confirmations() {
    let group = Group::at_the_backup();
    let by = Actor { server: ServerId(group.others()[0]), incarnation: Incarnation(1) };
    let must = |txn: &Txn| assert!(group.directory.transact(txn).unwrap().succeeded);
    must(&change::set_draining(&group.view(), ServerId(group.home()), true).unwrap());
    change::next_placing(&group.view(), by).iter().for_each(must);
    for server in 1..=3 {
        let by = Actor { server: ServerId(server), ..by };
        must(&change::confirm_place(&group.view(), by, group.volume).unwrap());
    }
    let swap = change::swap_place(&group.view(), by, group.volume).unwrap();
    let home = group.home();
    let done = group.rebuild(&group.lists(&[(home, 3, 7, &[], true)]), &[], false).unwrap();
    assert_eq!((done.routes.len(), group.owner(3)), (0, home));
    let view = group.view();
    assert!(view.next_place(group.volume).is_none());
    assert!((1..=3).all(|server| view.placed(group.volume, ServerId(server)).is_none()));
    assert!(!group.directory.transact(&swap).unwrap().succeeded);
}

/// Whoever accepted a loss goes on with what was left, also after a restore.
#[test]
fn a_copy_of_a_server_that_is_gone_for_good_says_nothing() {
    let group = Group::at_the_backup();
    let (home, [a, b]) = (group.home(), group.others());
    let by = Actor { server: ServerId(a), incarnation: Incarnation(1) };
    let forget = change::forget_server(&group.view(), by, ServerId(b), true).unwrap();
    assert!(group.directory.transact(&forget).unwrap().succeeded);
    let lists = group.lists(&[(home, 0, 5, &[home], true), (b, 0, 9, &[b], true)]);
    let plan = restore::plan(&group.view(), &store_lists(&lists).unwrap()).unwrap();
    assert_eq!((plan.routes.len(), plan.extents, plan.highest), (0, 1, Epoch(9)));
}
