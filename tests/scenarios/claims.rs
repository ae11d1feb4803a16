//! What Evenkeel says of itself (`docs/claims.md`), as far as no other scenario shows it already.

use evenkeel_api::{LoadTable, MoveState};
use evenkeel_tests::{
    Blocks, Ended, Group, GroupOptions, Session, StopAtEnd, Writer, owners, views_are_equal,
};
use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(40);
const BLOCKS_PER_EXTENT: u64 = 1024;
const BLOCKS_PER_REGION: u8 = 16;
const SERVERS: [&str; 3] = ["s1", "s2", "s3"];

fn wait_until(what: &str, group: &Group, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < WITHIN, "{what}: not within {WITHIN:?}\n{}", group.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A writer to all blocks of an extent.
fn writer(portals: &[String], iqn: &str, extent: u32) -> Writer {
    let blocks = Blocks::new(u64::from(extent) * BLOCKS_PER_EXTENT, BLOCKS_PER_EXTENT as usize);
    Writer::new(portals.to_vec(), iqn, blocks, 1, u64::from(extent) + 1)
}

/// Whether two servers print the same loads, each from fresh reports; reports carry shorter numbers than their makers have.
fn are_same(one: &LoadTable, other: &LoadTable) -> bool {
    let loads = |table: &LoadTable| {
        let rows = table.servers.iter();
        rows.flat_map(|row| [row.load, row.storage_load, row.server_load]).collect::<Vec<f64>>()
    };
    let (one_loads, other_loads) = (loads(one), loads(other));
    let is_near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-5 * a.abs().max(1.0);
    let is_fresh = |table: &LoadTable| table.servers.iter().all(|row| !row.stale);
    is_fresh(one)
        && is_fresh(other)
        && one_loads.len() == other_loads.len()
        && one_loads.iter().zip(&other_loads).all(is_near)
}

#[test]
fn claim_01_a_hot_server_gives_extents_away_by_itself_and_says_why() {
    let capacity = "disk_read_iops = 3000\ndisk_write_iops = 800\nnet_mib_s = 2000\ncpu_cores = 2";
    let group = Group::start(GroupOptions::servers(3).capacity(capacity));
    // Runs are placed at random: of 16 one server may get none, of 64 hardly ever.
    let iqn = group.create_volume("v1", "16GiB");
    let before = owners(&group, "v1", "s1");
    let hot: Vec<u32> = (0..4096).filter(|extent| before[*extent as usize] == "s1").take(6).collect();
    assert_eq!(hot.len(), 6, "s1 owns a part of the volume");
    let portals: Vec<String> = (1..=3).map(|server| group.portal(server)).collect();
    let mut writers: Vec<Writer> =
        hot.iter().map(|extent| writer(&portals, &iqn, *extent).paced(Duration::from_millis(5))).collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop_at_end = StopAtEnd(&stop);
        for writer in &mut writers {
            scope.spawn(|| writer.run(&stop));
        }
        wait_until("each server prints the same loads of all, and s1 carries the most", &group, || {
            let [first, second, third] = SERVERS.map(|server| group.api().load(server));
            let load = |name: &str| {
                let row = first.servers.iter().find(|row| row.server == name);
                row.map_or(0.0, |row| row.load)
            };
            let is_hot = load("s1") > 0.3 && load("s1") > 2.0 * load("s2").max(load("s3"));
            is_hot && first.servers.len() == 3 && are_same(&first, &second) && are_same(&second, &third)
        });
        wait_until("s1 gives a hot extent away", &group, || {
            let moves = group.api().moves().moves;
            moves
                .iter()
                .any(|row| row.state == MoveState::Done && row.from == "s1" && hot.contains(&row.extent))
        });
        drop(stop_at_end);
    });
    for row in group.api().moves().moves {
        eprintln!("extent {} from {} to {}: {}", row.extent, row.from, row.to, row.reason);
        assert!(row.reason.contains("more than its share") && row.reason.contains("above the threshold"));
        assert!(row.explanation.iter().any(|line| line.starts_with("Its combined load was")), "{row:?}");
        assert!(row.explanation.iter().any(|line| line.starts_with("Expected")), "{row:?}");
    }
    for writer in &mut writers {
        assert_eq!(writer.tally.wrong, None);
        assert!(writer.verify(&portals[2]).expect("what was written is there") > 0);
    }
}

#[test]
fn claim_08_every_server_knows_where_an_extent_went_and_the_stores_agree() {
    let group = Group::start(GroupOptions::servers(3).flag("--balance false"));
    let iqn = group.create_volume("v1", "32MiB");
    let portals: Vec<String> = (1..=3).map(|server| group.portal(server)).collect();
    let mut writers: Vec<Writer> = (0..8).map(|extent| writer(&portals, &iqn, extent)).collect();
    writers.iter_mut().for_each(|writer| writer.fill(&portals[0]).expect("the volume is written"));
    let mut ids = BTreeSet::new();
    let first_owner = owners(&group, "v1", "s1")[0].clone();
    for extent in 0..8u32 {
        let row = |server: &str| {
            let table = group.api().route("v1", server).expect("the route");
            table.extents[extent as usize].clone()
        };
        let old = row("s1");
        let to = SERVERS.into_iter().find(|server| *server != old.owner).expect("another server");
        assert!(ids.insert(group.api().begin_move("v1", extent, to, None).id));
        wait_until("every server knows the new owner", &group, || {
            SERVERS.into_iter().all(|server| {
                let new = row(server);
                new.owner == to && new.replicas == [to] && new.epoch > old.epoch && new.moving_to.is_none()
            })
        });
        let verified = group.evenkeel(&["route", "v1", "--verify", "-o", "json"]);
        assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
        let report = verified.json();
        assert_eq!(
            (&report["extents"], &report["records"]),
            (&8.into(), &8.into()),
            "one copy of each: {report}"
        );
    }
    // A move that looks like an earlier one is another one, and is answered with its own number.
    let second_owner = owners(&group, "v1", "s1")[0].clone();
    for to in [&first_owner, &second_owner] {
        assert!(ids.insert(group.api().begin_move("v1", 0, to, None).id));
        wait_until("the extent is there", &group, || owners(&group, "v1", "s1")[0] == *to);
    }
    views_are_equal(&group, "v1", 3);
    for (writer, portal) in writers.iter_mut().zip(portals.iter().cycle()) {
        writer.verify(portal).expect("what was written is there");
    }
}

#[test]
fn claim_11_a_write_is_acknowledged_when_both_copies_have_it_and_not_before() {
    let group = Group::start(GroupOptions::servers(2).flag("--balance false").relayed());
    let iqn = group.create_volume("v1", "4MiB");
    let owner = owners(&group, "v1", "s1")[0].clone();
    let (at_owner, at_target, to) = if owner == "s1" {
        (group.portal(1), group.portal(2), "s2")
    } else {
        (group.portal(2), group.portal(1), "s1")
    };
    // Three regions have data, the rest is equal from the start. At this rate two seconds lie between their copies, and
    // the target is held between two of them: a region in motion would end the move.
    let blocks = Blocks::new(0, 3 * usize::from(BLOCKS_PER_REGION));
    let mut content = Writer::new(vec![at_owner.clone()], &iqn, blocks, 1, 1);
    content.fill(&at_owner).expect("three regions are written");
    let id = group.api().begin_move("v1", 0, to, Some(32 << 10)).id;
    let row = || group.api().moves().moves.into_iter().find(|row| row.id == id).expect("the move is known");
    wait_until("two regions have been sent and answered", &group, || {
        row().regions_sent == 2 && row().regions_current >= 63
    });
    let mirrored = group.api().moves().writes_mirrored;
    let mut session = Session::open(&at_owner, &iqn).expect("a session");
    let data = vec![0xa5u8; 4096];
    group.relays().hold(true);
    let began = Instant::now();
    let write = session.write(0, data.clone().into());
    let ended = session.wait_end_within(Duration::from_millis(400)).expect("the session lives");
    group.relays().hold(false);
    assert!(ended.is_none(), "acknowledged although the target cannot have it: {ended:?}, {:?}", row());
    let (id_ended, ended) = session.wait_end().expect("the session lives");
    assert_eq!(id_ended, write);
    assert!(matches!(ended, Ended::Good(_)), "{ended:?}");
    eprintln!(
        "the write was acknowledged after {:.0?}, the target having been held for 400 ms",
        began.elapsed()
    );
    wait_until("the move has arrived", &group, || owners(&group, "v1", "s1")[0] == to);
    assert!(group.api().moves().writes_mirrored > mirrored, "the write went to both copies");
    let mut there = Session::open(&at_target, &iqn).expect("a session");
    there.read(0, 4096);
    let (_, ended) = there.wait_end().expect("the session lives");
    assert!(matches!(&ended, Ended::Good(read) if read[..] == data[..]), "the new owner has the write");
}
