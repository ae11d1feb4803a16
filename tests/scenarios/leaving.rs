//! Servers that join, are emptied and removed, or are forgotten, while hosts read and write volumes that are older.

use evenkeel_tests::{Blocks, Ended, Group, GroupOptions, Processes, Session, StopAtEnd, Writer};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(60);
const EXTENT_BYTES: u64 = 4 << 20;
const BLOCKS_PER_EXTENT: u64 = 1024;
/// Runs of the volume: what is written to is in the first, the rest is placed and empty.
const RUNS: u32 = 24;
const EXTENTS_PER_RUN: u32 = 64;
/// Extents that are written to.
const WRITTEN: u32 = 6;
/// How long hosts may wait at most.
const PAUSE_MAX: Duration = Duration::from_secs(5);

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < WITHIN, "{what}: not within {WITHIN:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn rows(asked: &Group) -> Vec<serde_json::Value> {
    let table = asked.evenkeel(&["server", "list", "-o", "json"]).ok().json();
    table["servers"].as_array().expect("rows").clone()
}

/// The replicas of each extent, by name.
fn replicas(asked: &Group, volume: &str) -> Vec<Vec<String>> {
    let table = asked.evenkeel(&["route", volume, "-o", "json"]).ok().json();
    let rows = table["extents"].as_array().expect("rows").iter();
    let names = |row: &serde_json::Value| {
        let names = row["replicas"].as_array().expect("a list").iter();
        names.map(|name| name.as_str().expect("text").to_owned()).collect()
    };
    rows.map(names).collect()
}

/// How many extents name a server.
fn named(asked: &Group, volume: &str, server: &str) -> usize {
    let replicas = replicas(asked, volume);
    replicas.iter().filter(|names| names.iter().any(|name| name == server)).count()
}

/// Whether anybody connects to a port of this machine within a second: servers try it five times a second.
fn is_dialled(port: u16) -> bool {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    listener.set_nonblocking(true).expect("a listener");
    (0..20).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        listener.accept().is_ok()
    })
}

fn process(group: &Processes, number: u16, flags: &str) -> Group {
    let options = GroupOptions::servers(1).store_size("1GiB").from_server(number);
    Group::prepare(options.flag(&format!("--directory {}", group.etcd.address())).flag(flags))
}

fn writers(portals: &[String], iqn: &str) -> Vec<Writer> {
    let writer = |extent: u32| {
        // The others of the run are never written to.
        let blocks = Blocks::new(u64::from(extent) * BLOCKS_PER_EXTENT, BLOCKS_PER_EXTENT as usize);
        Writer::new(portals.to_vec(), iqn, blocks, 4, 5 + u64::from(extent)).paced(Duration::from_millis(2))
    };
    let mut writers: Vec<Writer> = (0..WRITTEN).map(writer).collect();
    for (n, writer) in writers.iter_mut().enumerate() {
        writer.fill(&portals[n % portals.len()]).expect("the volume is written");
    }
    writers
}

/// Volumes older than a server follow it when it comes, and leave another one, while they are in use.
#[test]
fn old_volumes_follow_a_server_that_joins_and_leave_one_that_is_drained_and_it_can_be_removed() {
    let mut group = Processes::start(2, "--balance false");
    let size = format!("{}MiB", RUNS * EXTENTS_PER_RUN * 4);
    let iqn = group.processes[0].create_replicated("v1", &size, 2);
    let mut writers = writers(&group.portals(), &iqn);
    let mut third = process(&group, 3, "--balance false");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop_at_end = StopAtEnd(&stop);
        for writer in &mut writers {
            scope.spawn(|| writer.run(&stop));
        }
        third.spawn();
        third.wait();
        let asked = &group.processes[1];
        wait_until("the volume is placed over the third server too", || named(asked, "v1", "s3") > 0);
        let before = replicas(asked, "v1");
        assert!(
            before[..WRITTEN as usize].iter().all(|names| !names.contains(&"s3".to_owned())),
            "{before:?}"
        );
        // Never written to before, through a server that holds none of it.
        let new = before.iter().position(|names| names.contains(&"s3".to_owned())).expect("one is there");
        let mut session = Session::open(&asked.portal(1), &iqn).expect("a login");
        session.write(new as u64 * EXTENT_BYTES, vec![7; 4096].into());
        assert!(matches!(session.wait_end(), Ok((_, Ended::Good(_)))));

        let refused = asked.evenkeel(&["server", "remove", "s1"]);
        refused.refusal(1, &["'s1'", "is not emptied", "v1 (", "server drain s1"]);
        let _ = asked.evenkeel(&["server", "drain", "s1"]).ok();
        let refused = asked.evenkeel(&["server", "drain", "s2"]);
        refused.refusal(1, &["'s2'", "too few failure domains", "v1"]);
        wait_until("the server is drained", || rows(asked)[0]["drained"] == true);
        assert_eq!(named(asked, "v1", "s1"), 0, "no route names it, of what was written and what was not");
        let row = &rows(asked)[0];
        assert_eq!((&row["routed"], &row["allocated_bytes"]), (&0.into(), &0.into()));
        let _ = asked.evenkeel(&["server", "remove", "s1"]).ok();
        drop(stop_at_end);
    });
    assert_eq!(group.processes[0].ended().0, 0, "a process without servers ends");
    let asked = &group.processes[1];
    wait_until("two servers are left", || rows(asked).len() == 2);
    asked.wait();
    let portals = [asked.portal(1), third.portal(1)];
    let mut longest = Duration::ZERO;
    for (extent, writer) in writers.iter_mut().enumerate() {
        let tally = &writer.tally;
        assert_eq!((&tally.wrong, tally.busy), (&None, 0), "extent {extent}");
        assert!(tally.writes > 0 && tally.reads > 0, "{tally:?}");
        assert!(tally.longest < PAUSE_MAX, "extent {extent}: a request took {:?}", tally.longest);
        longest = longest.max(tally.longest);
        for portal in &portals {
            assert_eq!(writer.verify(portal).expect("all is there") as u64, BLOCKS_PER_EXTENT);
        }
    }
    println!("longest wait {longest:?}");
    let _ = asked.evenkeel(&["route", "v1", "--verify"]).ok();
    let refused = group.processes[0].start_in_vain();
    refused.refusal(1, &["'s1'", "removed from the group", "cannot be used again"]);
    assert_eq!(group.warnings(), [], "nothing of this is worth a warning");
}

/// A server does not come back. What has other copies lives on, what has none is gone, and said to be.
#[test]
fn a_forgotten_servers_last_copies_are_named_and_read_as_medium_errors_and_the_rest_lives_on() {
    let mut group = Processes::start(3, "--balance false");
    let size = format!("{}MiB", RUNS * EXTENTS_PER_RUN * 4);
    let single = group.processes[0].create_replicated("single", &size, 1);
    let double = group.processes[0].create_replicated("double", &size, 2);
    let mut writers = writers(&group.portals(), &double);
    // One extent of the single copies at each server.
    let owned: Vec<String> =
        replicas(&group.processes[0], "single").into_iter().map(|names| names[0].clone()).collect();
    let at = |server: &str| {
        owned.iter().position(|owner| owner == server).expect("24 runs are at all servers") as u64
    };
    let mut session = Session::open(&group.processes[0].portal(1), &single).expect("a login");
    for server in ["s1", "s2", "s3"] {
        session.write(at(server) * EXTENT_BYTES, vec![server.as_bytes()[1]; 4096].into());
        assert!(matches!(session.wait_end(), Ok((_, Ended::Good(_)))));
    }
    let lost = owned.iter().filter(|owner| *owner == "s3").count();
    let refused = group.processes[0].evenkeel(&["server", "forget", "s3"]);
    refused.refusal(1, &["'s3'", "runs, or did until just now"]);
    group.processes[2].kill();
    let asked = &group.processes[0];
    let refusal = |words: &[&str]| {
        let refused = asked.evenkeel(&["server", "forget", "s3"]);
        let is_it = words.iter().all(|word| refused.stderr.contains(word));
        is_it.then(|| drop(refused.refusal(1, words).to_owned())).is_some()
    };
    let words = format!("single ({lost} extents)");
    wait_until("what would be lost is named", || {
        refusal(&["'s3'", "last good copy", &words, "--accept-loss"])
    });
    let gone = asked.evenkeel(&["server", "forget", "s3", "--accept-loss", "-o", "json"]).ok().json();
    let expected = serde_json::json!([{ "volume": "single", "extents": lost, "older": 0 }]);
    assert_eq!(gone["lost"], expected);

    let read = |server: &str| {
        let mut session = Session::open(&asked.portal(1), &single).expect("a login");
        session.read(at(server) * EXTENT_BYTES, 4096);
        session.wait_end().expect("an answer").1
    };
    for server in ["s1", "s2"] {
        let ended = read(server);
        let Ended::Good(data) = ended else { panic!("{server}: {ended:?}") };
        assert!(data.iter().all(|byte| *byte == server.as_bytes()[1]));
    }
    let is_lost = || {
        let ended = read("s3");
        assert!(matches!(&ended, Ended::Failed(why) if why.contains("MediumError")), "{ended:?}");
    };
    is_lost();
    // What was lost stays lost when the volumes are placed over the others.
    wait_until("two servers have all of the other volume", || {
        let all = replicas(asked, "double");
        let two: BTreeSet<&str> = BTreeSet::from(["s1", "s2"]);
        all.iter().all(|names| names.iter().map(String::as_str).collect::<BTreeSet<_>>() == two)
    });
    is_lost();
    assert_eq!(named(asked, "single", "s3"), lost);
    for portal in [asked.portal(1), group.processes[1].portal(1)] {
        for writer in &mut writers {
            assert_eq!(writer.verify(&portal).expect("all is there") as u64, BLOCKS_PER_EXTENT);
        }
    }
    let _ = asked.evenkeel(&["route", "double", "--verify"]).ok();
    assert_eq!(rows(asked).len(), 2);
    assert!(!is_dialled(group.processes[2].peer_port(1)), "nobody looks for a server that is gone for good");
    let refused = group.processes[2].start_in_vain();
    refused.refusal(1, &["'s3'", "removed from the group", "forgotten"]);
    // The name is free for a server with another data folder.
    let mut another = process(&group, 3, "--balance false");
    another.spawn();
    another.wait();
    assert_eq!(rows(&another).len(), 3);
    let warnings = group.warnings();
    let is_expected =
        |line: &str| ["was forgotten", "marked it down", "connection"].iter().any(|part| line.contains(part));
    assert!(warnings.iter().all(|(_, line)| is_expected(line)), "{warnings:?}");
    assert!(warnings.iter().any(|(_, line)| line.contains("'s3' was forgotten")), "{warnings:?}");
}
