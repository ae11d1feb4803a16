//! Servers are killed one after the other while hosts read and write: others go on, nothing fails, nothing is lost.

use evenkeel_tests::{Blocks, Group, Processes, StopAtEnd, Writer, count_of};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

const EXTENTS: u32 = 8;
const BLOCKS_PER_EXTENT: u64 = 1024;
const WITHIN: Duration = Duration::from_secs(60);

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < WITHIN, "{what}: not within {WITHIN:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
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
        for _ in 0..count_of("ROUNDS", 1) {
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

/// Everything that a group of three and its writers need.
struct Stage {
    group: Processes,
    writers: Vec<Writer>,
    /// Those that run at the end, from 0.
    running: Vec<usize>,
}

impl Stage {
    fn new(flags: &str) -> Self {
        let group = Processes::start(3, flags);
        let iqn = group.processes[0].create_replicated("v1", &format!("{}MiB", EXTENTS * 4), 2);
        let writers = writers(&group, &iqn, 4);
        Self { group, writers, running: vec![0, 1, 2] }
    }

    /// Does something while hosts read and write.
    fn under_load(&mut self, act: impl FnOnce(&mut Processes)) {
        let stop = AtomicBool::new(false);
        let (group, writers) = (&mut self.group, &mut self.writers);
        std::thread::scope(|scope| {
            let stop_at_end = StopAtEnd(&stop);
            for writer in writers {
                scope.spawn(|| writer.run(&stop));
            }
            act(group);
            drop(stop_at_end);
        });
    }

    /// Nothing failed, and all is there, at whatever portal one asks.
    fn judge(&mut self) {
        for (extent, writer) in self.writers.iter_mut().enumerate() {
            let tally = &writer.tally;
            assert_eq!((&tally.wrong, tally.busy), (&None, 0), "extent {extent}");
            for server in &self.running {
                let portal = self.group.processes[*server].portal(1);
                assert_eq!(writer.verify(&portal).expect("all is there") as u64, BLOCKS_PER_EXTENT);
            }
        }
    }
}

fn replicas(process: &Group) -> Vec<Vec<String>> {
    let table = process.evenkeel(&["route", "v1", "-o", "json"]).ok().json();
    let rows = table["extents"].as_array().expect("rows").iter();
    let names = |row: &serde_json::Value| {
        let names = row["replicas"].as_array().expect("a list").iter();
        names.map(|name| name.as_str().expect("text").to_owned()).collect()
    };
    rows.map(names).collect()
}

/// An owner stands still for longer than its lease lasts, others go on, and it wakes with writes in its buffers: none of
/// them lands. Each server is stopped in turn, so owners and gateways both are.
#[test]
fn a_server_that_stands_still_and_wakes_lands_nothing_stale() {
    let mut stage = Stage::new("--balance false");
    stage.under_load(|group| {
        for stopped in 0..3 {
            group.processes[stopped].pause();
            std::thread::sleep(Duration::from_secs(6));
            group.processes[stopped].resume();
            let asked = &group.processes[(stopped + 1) % 3];
            for server in ["s1", "s2", "s3"] {
                wait_until("all servers are up again", || state(asked, server) == "up");
            }
        }
    });
    for (extent, writer) in stage.writers.iter().enumerate() {
        assert_eq!(writer.tally.wrong, None, "extent {extent}");
    }
    let portals = stage.group.portals();
    for writer in &mut stage.writers {
        for portal in &portals {
            assert_eq!(writer.verify(portal).expect("all is there") as u64, BLOCKS_PER_EXTENT);
        }
    }
}

/// The processes that run the owner and the other replica of the volume's extents, and the one without a copy: all
/// extents are neighbours, and so placed together.
fn placed(group: &Processes) -> [usize; 3] {
    let replicas = replicas(&group.processes[0]);
    let number = |name: &str| name[1..].parse::<usize>().expect("s and a number") - 1;
    let (owner, other) = (number(&replicas[0][0]), number(&replicas[0][1]));
    assert!(replicas.iter().all(|names| *names == replicas[0]), "{replicas:?}");
    [owner, other, 3 - owner - other]
}

fn wait_until_empty(asked: &Group, server: usize) {
    let name = format!("s{}", server + 1);
    wait_until("no copy is there any more", || {
        replicas(asked).iter().all(|names| names.len() == 2 && !names.contains(&name))
    });
}

/// A server does not come back: its copies are made anew at the third one, and then the next may go too.
#[test]
fn the_copies_of_a_server_that_is_gone_are_made_anew() {
    let mut stage = Stage::new("--balance false --rebuild-after-s 4");
    let [owner, gone, third] = placed(&stage.group);
    stage.under_load(|group| {
        group.processes[gone].kill();
        wait_until_empty(&group.processes[owner], gone);
        group.processes[owner].kill();
        std::thread::sleep(Duration::from_secs(4));
    });
    stage.running = vec![third];
    stage.judge();
}

/// A server is emptied while hosts read and write: they notice nothing.
#[test]
fn a_server_is_emptied_under_load() {
    let mut stage = Stage::new("--balance false");
    let [owner, _, third] = placed(&stage.group);
    stage.under_load(|group| {
        let asked = &group.processes[third];
        let _ = asked.evenkeel(&["server", "drain", &format!("s{}", owner + 1)]).ok();
        wait_until_empty(asked, owner);
    });
    stage.judge();
    let asked = &stage.group.processes[third];
    asked.evenkeel(&["server", "drain", "s9"]).refusal(1, &["'s9'", "s1, s2, s3"]);
    let _ = asked.evenkeel(&["route", "v1", "--verify"]).ok();
    let table = asked.evenkeel(&["server", "list", "-o", "json"]).ok().json();
    let row = &table["servers"][owner];
    assert_eq!((&row["draining"], &row["allocated_bytes"]), (&true.into(), &0.into()));
}
