//! Servers are killed one after the other while hosts read and write: others go on, nothing fails, nothing is lost.

use evenkeel_tests::{Blocks, Group, Processes, StopAtEnd, Writer};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

const EXTENTS: u32 = 8;
const BLOCKS_PER_EXTENT: u64 = 1024;
const WITHIN: Duration = Duration::from_secs(60);
/// How long hosts may wait at most while another server takes over.
const PAUSE_MAX: Duration = Duration::from_secs(5);

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < WITHIN, "{what}: not within {WITHIN:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Rounds in which each server is killed once; more if the environment says so.
fn rounds(default: u32) -> u32 {
    std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn state(process: &Group, server: &str) -> String {
    let table = process.evenkeel(&["server", "list", "-o", "json"]).ok().json();
    let rows = table["servers"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["server"] == server).expect("a row for each server");
    row["state"].as_str().expect("text").to_owned()
}

fn writers(group: &Processes, iqn: &str, depth: usize) -> Vec<Writer> {
    let portals = group.portals();
    let mut writers: Vec<Writer> = (0..EXTENTS)
        .map(|extent| {
            let blocks = Blocks::new(u64::from(extent) * BLOCKS_PER_EXTENT, BLOCKS_PER_EXTENT as usize);
            Writer::new(portals.clone(), iqn, blocks, depth, 5 + u64::from(extent))
                .paced(Duration::from_millis(2))
        })
        .collect();
    for (n, writer) in writers.iter_mut().enumerate() {
        writer.fill(&portals[n % portals.len()]).expect("the volume is written");
    }
    writers
}

/// Each server is killed and started again; hosts with paths to all of them wait for a moment and see no error.
fn each_server_is_killed(replicas: u8) {
    let mut group = Processes::start(3, "--balance false");
    let iqn = group.processes[0].create_replicated("v1", &format!("{}MiB", EXTENTS * 4), replicas);
    let mut writers = writers(&group, &iqn, 8);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop_at_end = StopAtEnd(&stop);
        for writer in &mut writers {
            scope.spawn(|| writer.run(&stop));
        }
        for _ in 0..rounds(1) {
            for killed in 0..3 {
                group.processes[killed].kill();
                std::thread::sleep(Duration::from_secs(5));
                group.processes[killed].spawn();
                group.processes.iter().for_each(Group::wait);
                for server in ["s1", "s2", "s3"] {
                    let asked = &group.processes[(killed + 1) % 3];
                    wait_until("all servers are up again", || state(asked, server) == "up");
                }
            }
        }
        drop(stop_at_end);
    });
    let mut longest: Vec<Duration> = writers.iter().map(|writer| writer.tally.longest).collect();
    longest.sort();
    let sum =
        |of: fn(&evenkeel_tests::Tally) -> u64| writers.iter().map(|writer| of(&writer.tally)).sum::<u64>();
    println!(
        "{} writes, {} reads, {} sessions lost; longest waits {longest:?}",
        sum(|tally| tally.writes),
        sum(|tally| tally.reads),
        sum(|tally| tally.lost)
    );
    assert!(sum(|tally| tally.writes) > 500 && sum(|tally| tally.reads) > 200);
    for (extent, writer) in writers.iter_mut().enumerate() {
        let tally = &writer.tally;
        assert_eq!((&tally.wrong, tally.busy), (&None, 0), "extent {extent}");
        assert!(tally.longest < PAUSE_MAX, "extent {extent}: a request took {:?}", tally.longest);
        for portal in group.portals() {
            assert_eq!(writer.verify(&portal).expect("all is there") as u64, BLOCKS_PER_EXTENT);
        }
    }
    let _ = group.processes[1].evenkeel(&["route", "v1", "--verify"]).ok();
}

#[test]
fn with_two_copies_each_server_may_be_killed_and_nothing_fails() {
    each_server_is_killed(2);
}

#[test]
fn with_three_copies_each_server_may_be_killed_and_nothing_fails() {
    each_server_is_killed(3);
}
