//! Machines join a group whose directory is an etcd, are one with it, and are no longer when they are revoked.

use evenkeel_tests::{Blocks, Etcd, Group, GroupOptions, StopAtEnd, Writer, owners, run_within};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(60);
/// Exit code of the program.
const FAILED: i32 = 1;
const EXTENTS: u32 = 6;
const BLOCKS_PER_EXTENT: u64 = 1024;
const BLOCKS_EACH_TIME: u64 = 300;

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < WITHIN, "{what}: not within {WITHIN:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A process with one server on a machine of its own, as far as that goes here.
fn machine(etcd: &Etcd, number: u16) -> GroupOptions {
    let options = GroupOptions::servers(1).store_size("512MiB").from_server(number);
    options.flag("--balance false").flag(&format!("--directory {}", etcd.address()))
}

/// Lets a machine in as a server, by a token that a process of the group made.
fn join(group: &Group, with_key: &Group, name: &str, machine: &Group) {
    let token = group.evenkeel(&["group", "token", name, "-o", "json"]).ok().json();
    let token = token["token"].as_str().expect("a token");
    let (data, from) = (machine.data(), format!("127.0.0.1:{}", with_key.peer_port(1)));
    let data = data.to_str().expect("a readable path");
    let args = ["server", "join", "--data", data, "--from", &from, "--token", token];
    let _ = run_within(WITHIN, Group::program().to_str().expect("a readable path"), &args).ok();
}

fn connected(asked: &Group, server: &str) -> serde_json::Value {
    let table = asked.evenkeel(&["server", "list", "-o", "json"]).ok().json();
    let rows = table["servers"].as_array().expect("rows");
    rows.iter().find(|row| row["server"] == server).expect("a row")["connected"].clone()
}

fn write_for_a_while(writers: &mut [Writer]) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop_at_end = StopAtEnd(&stop);
        for writer in writers.iter_mut() {
            scope.spawn(|| writer.run(&stop));
        }
        std::thread::sleep(Duration::from_secs(1));
        drop(stop_at_end);
    });
    for writer in writers {
        let tally = &writer.tally;
        assert_eq!((&tally.wrong, tally.busy, tally.lost), (&None, 0, 0), "{tally:?}");
        assert!(tally.writes > 0 && tally.reads > 0, "{tally:?}");
    }
}

#[test]
fn machines_that_joined_are_one_group_a_revoked_one_is_out_and_one_that_joins_anew_is_back() {
    let etcd = Etcd::start(1);
    let first = Group::start(machine(&etcd, 1).secured());
    let mut others: Vec<Group> = Vec::new();
    for number in [2, 3] {
        let mut process = Group::prepare(machine(&etcd, number).with_secrets());
        // Any process makes tokens; only the first can use them.
        join(others.last().unwrap_or(&first), &first, &format!("s{number}"), &process);
        process.spawn();
        process.wait();
        others.push(process);
    }
    let [second, third] = &mut others[..] else { panic!("two machines have joined") };
    for process in [&first, second, third] {
        process.wait();
    }
    assert_eq!(connected(second, "s3"), serde_json::json!(["s1", "s2"]));

    let iqn = second.create_volume("v1", &format!("{}MiB", EXTENTS * 4));
    let portals =
        |processes: &[&Group]| processes.iter().map(|process| process.portal(1)).collect::<Vec<_>>();
    // Each time other blocks: those of the time before were written.
    let writers = |portals: &[String], time: u64| {
        let writer = |extent: u32| {
            let first = u64::from(extent) * BLOCKS_PER_EXTENT + time * BLOCKS_EACH_TIME;
            let blocks = Blocks::new(first, BLOCKS_EACH_TIME as usize);
            Writer::new(portals.to_vec(), &iqn, blocks, 2, 10 * time + u64::from(extent))
        };
        (0..EXTENTS).map(writer).collect::<Vec<_>>()
    };
    for extent in 0..EXTENTS {
        let to = format!("s{}", extent % 3 + 1);
        if owners(&first, "v1", "s1")[extent as usize] != to {
            let _ = third.evenkeel(&["move", "v1", &extent.to_string(), "--to", &to, "--wait"]).ok();
        }
    }
    write_for_a_while(&mut writers(&portals(&[&first, second, third]), 0));
    for extent in (0..EXTENTS).filter(|extent| extent % 3 == 2) {
        let _ = first.evenkeel(&["move", "v1", &extent.to_string(), "--to", "s1", "--wait"]).ok();
    }

    // Revoked by somebody else than the one that let it in.
    let _ = second.evenkeel(&["group", "revoke", "s3"]).ok();
    assert_eq!(third.ended().0, FAILED, "{}", third.log());
    let said = third.log();
    assert!(said.contains("ERROR") && said.contains("server 's3' stops: its certificate"), "{said}");
    for (process, other) in [(&first, "s2"), (&*second, "s1")] {
        let own = if other == "s2" { "s1" } else { "s2" };
        wait_until("the others let go", || connected(process, own) == serde_json::json!([other]));
    }
    let _ = third.start_in_vain().refusal(FAILED, &["server 's3'", "was revoked", "evenkeel server join"]);
    write_for_a_while(&mut writers(&portals(&[&first, second]), 1));

    join(second, &first, "s3", third);
    third.spawn();
    for process in [&first, second, third] {
        process.wait();
    }
    write_for_a_while(&mut writers(&portals(&[&first, second, third]), 2));
}
