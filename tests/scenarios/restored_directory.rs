//! The directory was restored from a backup: nobody serves by it before the routes are rebuilt from the stores, and then
//! nothing is lost.

use evenkeel_tests::{
    Blocks, Group, Hosts, Processes, Ran, Writer, count_of, owners, run_within, wait_until,
};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

const EXTENTS: u32 = 9;
const BLOCKS_PER_EXTENT: u64 = 1024;
/// Exit code of the program.
const FAILED: i32 = 1;

fn writer(group: &Processes, iqn: &str) -> Writer {
    let blocks = Blocks::new(0, EXTENTS as usize * BLOCKS_PER_EXTENT as usize);
    Writer::new(group.portals(), iqn, blocks, 4, 11)
}

fn doctor(args: &[&str]) -> Ran {
    let program = Group::program();
    let args: Vec<&str> = ["doctor"].into_iter().chain(args.iter().copied()).collect();
    run_within(Duration::from_secs(60), program.to_str().expect("a readable path"), &args)
}

/// The list of what each process's stores hold, in a file.
fn lists(group: &Processes) -> Vec<PathBuf> {
    let list = |process: &Group| {
        let data = process.data();
        let listed =
            doctor(&["extents", "--data", data.to_str().expect("a readable path"), "-o", "json"]).ok();
        let file = process.folder().join("extents.json");
        std::fs::write(&file, listed.stdout).expect("the list can be written");
        file
    };
    group.processes.iter().map(list).collect()
}

#[test]
fn routes_are_rebuilt_from_the_stores_after_the_directory_was_restored() {
    let mut group = Processes::start(3, "--balance false");
    let iqn = group.processes[0].create_volume("v1", &format!("{}MiB", EXTENTS * 4));
    let mut writer = writer(&group, &iqn);
    writer.fill(&group.portals()[0]).expect("the volume is written");
    let backup = group.processes[0].folder().join("backup.db");
    group.etcd.back_up(&backup);
    let at_the_backup = owners(&group.processes[0], "v1", "s1");
    // Since the backup all extents have moved, some more than once, and there is another volume.
    for pass in 0..2 {
        for extent in 0..EXTENTS {
            let to = format!("s{}", (extent + pass) % 3 + 1);
            if owners(&group.processes[0], "v1", "s1")[extent as usize] != to {
                let moved = ["move", "v1", &extent.to_string(), "--to", &to, "--wait"];
                let _ = group.processes[extent as usize % 3].evenkeel(&moved).ok();
            }
        }
    }
    let before = owners(&group.processes[0], "v1", "s1");
    assert!(before.iter().collect::<BTreeSet<_>>().len() == 3 && before != at_the_backup, "{before:?}");
    let late = group.processes[1].create_volume("late", "8MiB");
    let mut late_writer = Writer::new(group.portals(), &late, Blocks::new(0, 1500), 4, 12);
    late_writer.fill(&group.portals()[1]).expect("the late volume is written");
    for process in &mut group.processes {
        assert_eq!(process.stop().0, 0);
    }
    group.etcd.kill(0);
    group.etcd.restore(&backup);
    // Nobody serves by the old routes.
    for process in &group.processes {
        process.start_in_vain().refusal(FAILED, &["restored from a backup", "evenkeel doctor"]);
    }
    let files = lists(&group);
    let directory = group.etcd.address();
    let mut args = vec!["rebuild-routes", "--directory", &directory, "-o", "json"];
    args.extend(files[..2].iter().map(|file| file.to_str().expect("a readable path")));
    doctor(&args).refusal(FAILED, &["'s3'", "--without s3"]);
    args.push(files[2].to_str().expect("a readable path"));
    let shown = doctor(&[&args[..], &["--dry-run"]].concat()).ok().json();
    let differ = (0..EXTENTS as usize).filter(|extent| before[*extent] != at_the_backup[*extent]).count();
    assert_eq!(shown["routes"].as_array().map(Vec::len), Some(differ), "{shown}");
    assert_eq!((&shown["written"], &shown["generation"]), (&false.into(), &0.into()));
    let done = doctor(&args).ok().json();
    assert_eq!((&done["routes"], &done["written"]), (&shown["routes"], &true.into()));
    assert_eq!(done["generation"], 1);
    // What the directory does not know any more is named.
    let missing = &done["missing_volumes"];
    assert_eq!(missing.as_array().map(Vec::len), Some(1), "{done}");
    assert_eq!((&missing[0]["volume"], &missing[0]["extents"]), (&2.into(), &2.into()));
    group.processes.iter_mut().for_each(Group::spawn);
    group.processes.iter().for_each(Group::wait);
    assert_eq!(owners(&group.processes[2], "v1", "s2"), before);
    for portal in group.portals() {
        let read = writer.verify(&portal).expect("nothing is lost");
        assert_eq!(read as u64, u64::from(EXTENTS) * BLOCKS_PER_EXTENT);
    }
    let verified = group.processes[1].evenkeel(&["route", "v1", "--verify", "-o", "json"]);
    // The volume that is not known is still in the stores: nobody frees what nobody gave up.
    let orphans = verified.json()["findings"].as_array().expect("findings").clone();
    assert!(orphans.iter().all(|finding| finding["kind"] == "orphan-record"), "{verified:?}");
    assert_eq!(orphans.len(), 2, "{verified:?}");
    // The group goes on: extents move, and a new volume gets a number of its own.
    let to = if before[0] == "s1" { "s2" } else { "s1" };
    let _ = group.processes[2].evenkeel(&["move", "v1", "0", "--to", to, "--wait"]).ok();
    let made = group.processes[0].evenkeel(&["volume", "create", "v2", "--size", "4MiB", "-o", "json"]).ok();
    assert_eq!(made.json()["id"], 3);
}

/// With two copies of everything: since the backup, `BACKUP_AGE_S` seconds ago, copies have moved, there is a new volume, and
/// one server went and is behind. The directory of the backup knows nothing of it, and would count its copies.
#[test]
fn with_two_copies_the_last_owners_copy_counts_and_new_volumes_are_adopted() {
    const TWICE: u32 = 4;
    let mut group = Processes::start(3, "--balance false");
    let size = format!("{}MiB", TWICE * 4);
    let iqn = group.processes[0].create_replicated("v1", &size, 2);
    let mut hosts = Hosts::fill(&group, &iqn, 0..TWICE, 4);
    let backup = group.processes[0].folder().join("backup.db");
    group.etcd.back_up(&backup);
    let [owner, other, third] = group.placed("v1");
    let names = [owner, other, third].map(|at| format!("s{}", at + 1));
    // Extent 0 goes to the third server, and comes to be owned there.
    let asked = &group.processes[other];
    let move_away = ["move", "v1", "0", "--to", &names[2], "--wait"];
    let _ = hosts.while_at_work(|| asked.evenkeel(&move_away).ok());
    let late = asked.create_replicated("late", &size, 2);
    let mut late_hosts = Hosts::fill(&group, &late, 0..TWICE, 4);
    // The first of all the other extents' copies goes, and what is written from then on is at the second one only.
    group.processes[owner].kill();
    let behind = &names[0];
    let age = Duration::from_secs(count_of("BACKUP_AGE_S", 3));
    let asked = &group.processes[other];
    hosts.while_at_work(|| {
        late_hosts.while_at_work(|| {
            wait_until(
                || format!("{behind} is marked down"),
                || owners(asked, "v1", &names[1])[1] == names[1],
            );
            std::thread::sleep(age);
        });
    });
    let before = [hosts.saw_no_error().writes, late_hosts.saw_no_error().writes];
    for at in [other, third] {
        assert_eq!(group.processes[at].stop().0, 0);
    }
    group.etcd.kill(0);
    group.etcd.restore(&backup);
    let files = lists(&group);
    let directory = group.etcd.address();
    let mut args = vec!["rebuild-routes", "--directory", &directory, "-o", "json"];
    args.extend(files.iter().map(|file| file.to_str().expect("a readable path")));
    let shown = doctor(&[&args[..], &["--dry-run"]].concat()).ok().json();
    let missing = &shown["missing_volumes"];
    assert_eq!((&missing[0]["volume"], &missing[0]["extents"]), (&2.into(), &TWICE.into()), "{shown}");
    doctor(&[&args[..], &["--adopt", "7=late"]].concat()).refusal(FAILED, &["volume 7", "are 2"]);
    doctor(&[&args[..], &["--adopt", "2=v1"]].concat()).refusal(FAILED, &["'v1'", "of this name"]);
    let done = doctor(&[&args[..], &["--adopt", "2=late", "--allow", "any"]].concat()).ok().json();
    assert_eq!(done["adopted_volumes"][0]["name"], "late", "{done}");
    assert_eq!(
        (&done["generation"], &done["missing_volumes"]),
        (&1.into(), &serde_json::json!([])),
        "{done}"
    );
    group.processes.iter_mut().for_each(Group::spawn);
    group.all_are_up();
    hosts.all_is_there(&group.portals());
    late_hosts.all_is_there(&group.portals());
    let now = owners(&group.processes[0], "v1", "s1");
    println!("{before:?} writes were acknowledged, all are there; owners {now:?}, at the backup {behind}");
    assert_eq!((&now[0], &now[1]), (&names[2], &names[1]));
    hosts.while_at_work(|| late_hosts.while_at_work(|| std::thread::sleep(Duration::from_secs(1))));
    let _ = (hosts.saw_no_error(), late_hosts.saw_no_error());
    for volume in ["v1", "late"] {
        let verify = || group.processes[1].evenkeel(&["route", volume, "--verify"]);
        wait_until(|| format!("{:?}", verify()), || verify().code == 0);
    }
}
