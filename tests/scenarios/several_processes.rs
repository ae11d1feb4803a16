//! Several processes are one group: their directory is an etcd, each answers for all, and without etcd reads and writes
//! go on.

use evenkeel_tests::{
    Blocks, Group, GroupOptions, Mover, Processes, StopAtEnd, Writer, owners, views_are_equal,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

const EXTENTS: u32 = 12;
const BLOCKS_PER_EXTENT: u64 = 1024;
const WITHIN: Duration = Duration::from_secs(60);
/// Exit codes of the program.
const FAILED: i32 = 1;
const UNREACHABLE: i32 = 4;

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < WITHIN, "{what}: not within {WITHIN:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A writer for each extent, over all portals.
fn writers(group: &Processes, iqn: &str) -> Vec<Writer> {
    let portals = group.portals();
    let mut writers: Vec<Writer> = (0..EXTENTS)
        .map(|extent| {
            let blocks = Blocks::new(u64::from(extent) * BLOCKS_PER_EXTENT, BLOCKS_PER_EXTENT as usize);
            let seed = 5 + u64::from(extent);
            Writer::new(portals.clone(), iqn, blocks, 2, seed).paced(Duration::from_millis(1))
        })
        .collect();
    for (n, writer) in writers.iter_mut().enumerate() {
        writer.fill(&portals[n % portals.len()]).expect("the volume is written");
    }
    writers
}

fn states(process: &Group) -> Vec<(String, String)> {
    let table = process.evenkeel(&["server", "list", "-o", "json"]).ok().json();
    let text = |row: &serde_json::Value, key: &str| row[key].as_str().expect("text").to_owned();
    let rows = table["servers"].as_array().expect("rows");
    rows.iter().map(|row| (text(row, "server"), text(row, "state"))).collect()
}

fn up(names: &[&str]) -> Vec<(String, String)> {
    names.iter().map(|name| ((*name).to_owned(), "up".to_owned())).collect()
}

/// Any process answers the same for the whole group.
fn each_answers_for_all(group: &Processes) {
    let mut told = BTreeSet::new();
    for process in &group.processes {
        assert_eq!(states(process), up(&["s1", "s2", "s3"]));
        for server in ["s1", "s2", "s3"] {
            let load = process.evenkeel(&["load", "--server", server, "-o", "json"]).ok().json();
            assert_eq!(load["seen_by"], server);
            let route = process.evenkeel(&["route", "v1", "--server", server, "-o", "json"]).ok().json();
            assert_eq!(route["seen_by"], server);
        }
        let unknown = process.evenkeel(&["load", "--server", "s9"]);
        unknown.refusal(FAILED, &["'s9'", "s1, s2, s3"]);
        let sessions = process.evenkeel(&["session", "list", "-o", "json"]).ok().json();
        let on: BTreeSet<&str> = sessions["sessions"]
            .as_array()
            .expect("rows")
            .iter()
            .filter_map(|row| row["server"].as_str())
            .collect();
        assert_eq!(on, BTreeSet::from(["s1", "s2", "s3"]));
        let volumes = process.evenkeel(&["volume", "list", "-o", "json"]).ok().json();
        assert_eq!(volumes["volumes"][0]["allocated_bytes"], u64::from(EXTENTS) << 22);
        let verified = process.evenkeel(&["route", "v1", "--verify", "-o", "json"]).ok().json();
        assert_eq!((&verified["extents"], &verified["records"]), (&EXTENTS.into(), &EXTENTS.into()));
        let moves = process.evenkeel(&["moves", "-o", "json"]).ok().json();
        let sent = moves["regions_sent"].as_u64().expect("a count");
        assert!(sent > 0, "{moves}");
        let first = &moves["moves"][0];
        assert!(first["regions_sent"].as_u64() > Some(0), "the leader of the move was not asked: {first}");
        told.insert((moves["completed"].as_u64(), sent));
    }
    assert_eq!(told.len(), 1, "the processes differ: {told:?}");
}

#[test]
fn three_processes_serve_as_one_group_and_go_on_while_etcd_stands_still() {
    let group = Processes::start(3, "--balance false");
    let [first, second, third] = &group.processes[..] else { panic!("three processes") };
    let iqn = second.create_volume("v1", &format!("{}MiB", EXTENTS * 4));
    // Whoever is asked next knows it.
    for process in [first, second, third] {
        assert_eq!(process.evenkeel(&["volume", "show", "v1", "-o", "json"]).ok().json()["iqn"], iqn);
    }
    let mut writers = writers(&group, &iqn);
    let homes: BTreeSet<String> = owners(first, "v1", "s1").into_iter().collect();
    assert!(!homes.is_empty());
    let (stop, stop_moving) = (AtomicBool::new(false), AtomicBool::new(false));
    let mover = Mover::new(third, "v1", 3);
    let extents: Vec<u32> = (0..EXTENTS).collect();
    let done: u64 = std::thread::scope(|scope| {
        let stop_at_end = StopAtEnd(&stop);
        let stop_moving_at_end = StopAtEnd(&stop_moving);
        for writer in &mut writers {
            scope.spawn(|| writer.run(&stop));
        }
        let moving = scope.spawn(|| mover.run(&extents, 3, None, &stop_moving));
        wait_until("every extent has moved", || mover.moved().len() == EXTENTS as usize);
        drop(stop_moving_at_end);
        moving.join().expect("the moves are sound");
        each_answers_for_all(&group);
        let done = stand_still(&group);
        // All is as it was: volumes are made and extents move.
        let _ = third.create_volume("v2", "4MiB");
        let to = if owners(first, "v1", "s1")[0] == "s1" { "s2" } else { "s1" };
        let _ = second.evenkeel(&["move", "v1", "0", "--to", to, "--wait"]).ok();
        drop(stop_at_end);
        done
    });
    let sum =
        |of: fn(&evenkeel_tests::Tally) -> u64| writers.iter().map(|writer| of(&writer.tally)).sum::<u64>();
    let (writes, reads) = (sum(|t| t.writes), sum(|t| t.reads));
    println!("{writes} writes, {reads} reads; {done} commands while etcd stood still");
    assert!(done > 100, "{done} commands while etcd stood still");
    for (extent, writer) in writers.iter_mut().enumerate() {
        let tally = &writer.tally;
        assert_eq!(tally.wrong, None, "extent {extent}");
        assert_eq!((tally.busy, tally.lost, tally.unknown), (0, 0, 0), "extent {extent}");
        for portal in group.portals() {
            assert_eq!(writer.verify(&portal).expect("all is there") as u64, BLOCKS_PER_EXTENT);
        }
    }
    views_are_equal(second, "v1", 3);
}

/// Commands that each session made so far, by its server and its handle there.
fn commands(group: &Processes) -> BTreeMap<(String, u64), u64> {
    let sessions = group.processes[0].evenkeel(&["session", "list", "-o", "json"]).ok().json();
    let rows = sessions["sessions"].as_array().expect("rows").clone();
    let of = |row: &serde_json::Value| {
        let server = row["server"].as_str().expect("a server").to_owned();
        ((server, row["tsih"].as_u64().expect("a handle")), row["commands"].as_u64().expect("a count"))
    };
    rows.iter().map(of).collect()
}

/// Has etcd stand still for some seconds, and looks at what each process says then and afterwards. Gives how many commands
/// were seen to be carried out meanwhile; sessions end and others begin, so it is some of them.
fn stand_still(group: &Processes) -> u64 {
    assert_eq!(group.warnings(), []);
    group.etcd.pause();
    wait_until("all processes notice", || group.warnings().len() == 3);
    for process in &group.processes {
        // What is known is answered, and what needs the directory is refused with a reason.
        assert_eq!(states(process), up(&["s1", "s2", "s3"]));
        let _ = process.evenkeel(&["route", "v1"]).ok();
        let _ = process.evenkeel(&["volume", "list"]).ok();
        let _ = process.evenkeel(&["wait", "--timeout", "10s"]).ok();
        for needs_it in
            [&["volume", "create", "v9", "--size", "4MiB"][..], &["moves"], &["volume", "delete", "v1"]]
        {
            process.evenkeel(needs_it).refusal(UNREACHABLE, &["the directory is not available"]);
        }
    }
    let before = commands(group);
    let mut done = 0;
    for _ in 0..3 {
        std::thread::sleep(Duration::from_secs(1));
        let more = |(session, count)| count - before.get(&session).copied().unwrap_or(0).min(count);
        done = done.max(commands(group).into_iter().map(more).sum());
    }
    group.etcd.resume();
    let is_back = |process: &Group| process.log().matches("the directory is reached again").count() == 1;
    wait_until("all processes are back", || group.processes.iter().all(is_back));
    // One line at the loss of each, and nothing else that a person would have to look at.
    let warnings = group.warnings();
    let numbers: Vec<usize> = warnings.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [1, 2, 3], "{warnings:?}");
    assert!(
        warnings.iter().all(|(_, line)| line.contains("the directory cannot be reached")),
        "{warnings:?}"
    );
    done
}

#[test]
fn a_process_that_is_killed_is_missed_and_comes_back_as_itself() {
    let mut group = Processes::start(3, "--balance false");
    let iqn = group.processes[0].create_volume("v1", &format!("{}MiB", EXTENTS * 4));
    // Each server has a part, so that the one that is killed is missed by somebody.
    for extent in 0..EXTENTS {
        let to = format!("s{}", extent % 3 + 1);
        if owners(&group.processes[0], "v1", "s1")[extent as usize] != to {
            let _ =
                group.processes[2].evenkeel(&["move", "v1", &extent.to_string(), "--to", &to, "--wait"]).ok();
        }
    }
    let mut writers = writers(&group, &iqn);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop_at_end = StopAtEnd(&stop);
        for writer in &mut writers {
            scope.spawn(|| writer.run(&stop));
        }
        group.processes[1].kill();
        let asked = &group.processes[0];
        // It is on record, with the reason why nothing more is known.
        let table = asked.evenkeel(&["server", "list", "-o", "json"]).ok().json();
        let row = &table["servers"][1];
        assert_eq!(row["server"], "s2");
        assert!(row["reason"].as_str().is_some_and(|why| why.contains("does not answer")), "{row}");
        let waited = asked.evenkeel(&["wait", "--timeout", "1s"]);
        let is_missed = waited.code == UNREACHABLE && waited.stderr.contains("s2");
        // Once it is marked down nobody counts on it.
        assert!(is_missed || states(asked)[1].1 == "down", "{waited:?}");
        asked.evenkeel(&["load", "--server", "s2"]).refusal(UNREACHABLE, &["does not answer"]);
        asked.evenkeel(&["route", "v1", "--verify"]).refusal(UNREACHABLE, &["does not answer"]);
        let _ = group.processes[2].evenkeel(&["volume", "list"]).ok();
        group.processes[1].spawn();
        group.processes.iter().for_each(Group::wait);
        let again = group.processes[0].evenkeel(&["server", "list", "-o", "json"]).ok().json();
        assert_eq!(again["servers"][1]["incarnation"], 2);
        drop(stop_at_end);
    });
    for (extent, writer) in writers.iter_mut().enumerate() {
        assert_eq!(writer.tally.wrong, None, "extent {extent}");
        for portal in group.portals() {
            assert_eq!(writer.verify(&portal).expect("all is there") as u64, BLOCKS_PER_EXTENT);
        }
    }
    let _ = group.processes[1].evenkeel(&["route", "v1", "--verify"]).ok();
}

#[test]
fn a_start_that_would_be_somebody_elses_server_is_refused_in_one_line() {
    let mut group = Processes::start(2, "--balance false");
    let directory = format!("--directory {}", group.etcd.address());
    let on_etcd = |first: u16| {
        let options = GroupOptions::servers(1).store_size("256MiB").from_server(first);
        Group::prepare(options.flag(&directory))
    };
    // A name that is another machine's.
    let taken = on_etcd(2);
    let ran = taken.start_in_vain();
    ran.refusal(FAILED, &["'s2'", "has one already", "another name"]);
    assert!(!taken.store(2).exists(), "no store was made for it");
    // A folder of another server.
    assert_eq!(group.processes[1].stop().0, 0);
    let folder = group.processes[1].data();
    let mut options = GroupOptions::servers(1).from_server(3).flag(&directory);
    options.data = Some(folder.clone());
    let other_name = Group::prepare(options).start_in_vain();
    other_name.refusal(FAILED, &["holds the servers s2 (1)", "asked for were s3 (1)"]);
    // The same folder without its directory, and a folder with one of its own with an etcd.
    let mut options = GroupOptions::servers(1).from_server(2);
    options.data = Some(folder);
    let alone = Group::prepare(options).start_in_vain();
    alone.refusal(FAILED, &["directory is elsewhere", "--directory"]);
    let mut embedded = Group::start(GroupOptions::servers(1).store_size("256MiB"));
    assert_eq!(embedded.stop().0, 0);
    let mut options = GroupOptions::servers(1).flag(&directory);
    options.data = Some(embedded.data());
    Group::prepare(options)
        .start_in_vain()
        .refusal(FAILED, &["a directory of its own", "name another folder"]);
    // An etcd that is not there, and one that is another.
    let nobody = format!("--directory etcd://127.0.0.1:{}", evenkeel_tests::free_port());
    let lost = Group::prepare(GroupOptions::servers(1).flag(&nobody)).start_in_vain();
    lost.refusal(FAILED, &["directory 'etcd://127.0.0.1:", "Connection refused"]);
    let elsewhere = evenkeel_tests::Etcd::start(1);
    let mut options =
        GroupOptions::servers(1).from_server(2).flag(&format!("--directory {}", elsewhere.address()));
    options.data = Some(group.processes[1].data());
    let strange = Group::prepare(options).start_in_vain();
    strange.refusal(FAILED, &["belong to the group 'evenkeel'", "restore the directory"]);
    assert_eq!(elsewhere.ctl(&["get", "--prefix", "/"]).ok().stdout, "", "a strange etcd was written to");
    // The refused starts changed nothing: it starts as it was.
    group.processes[1].spawn();
    group.processes.iter().for_each(Group::wait);
    assert_eq!(states(&group.processes[0]), up(&["s1", "s2"]));
}
