//! The owner of extents is cut off from everybody: it stops serving before the next owner starts, by the times in their
//! logs, and nobody who asks either of them reads anything wrong.

use evenkeel_tests::{Place, Register, Stage, StopAtEnd, comes_true, count_of, in_own_network};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const EXTENTS: u64 = 4;
const EXTENT_BYTES: u64 = 4 << 20;
const WITHIN: Duration = Duration::from_secs(60);
/// How often a server starts anew by itself before it waits for a person.
const STARTS_ANEW_MAX: u32 = 3;
/// How long hosts are watched after the next owner has begun to serve.
const WATCHED: Duration = Duration::from_millis(500);

const EXPECTED: [&str; 4] = [
    "has not answered for",
    "the directory cannot be reached",
    "the group went on without it",
    "cannot start anew yet",
];

/// The time of a line, in seconds since 1970.
fn time_of(line: &str) -> f64 {
    let text = line.split_whitespace().next().expect("a line begins with its time");
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().expect("digits");
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    // Days since 1970, of years that begin in March: the leap day is the last.
    let (years, months) = (year - i64::from(month <= 2), (month + 9) % 12);
    let days = 365 * years + years / 4 - years / 100 + years / 400 + (153 * months + 2) / 5 + day - 719_469;
    let seconds = days * 86_400 + number(11..13) * 3600 + number(14..16) * 60;
    seconds as f64 + text[17..].trim_end_matches('Z').parse::<f64>().expect("seconds")
}

/// When a server said that it stopped serving, in what it logged from there on: the end of its lease.
fn stopped_at(log: &str) -> Option<f64> {
    let line = log.lines().find(|line| line.contains("stops serving"))?;
    let ago = line.split("ended ").nth(1)?.split(" ms ago").next()?;
    Some(time_of(line) - ago.parse::<f64>().expect("a number of milliseconds") / 1000.0)
}

/// When a server said that it serves what another one owned.
fn served_at(log: &str) -> Option<f64> {
    log.lines().find(|line| line.contains("after the lease ran out")).map(time_of)
}

fn owner(stage: &Stage) -> usize {
    let table = stage.servers[0].api().route("v1", "s1").expect("the route");
    table.extents[0].owner[1..].parse::<usize>().expect("servers are named s1, s2, ...") - 1
}

fn owners_are_cut_off() {
    let mut stage = Stage::start(3, "--balance false");
    let iqn = stage.create_volume("v1", &format!("{}MiB", EXTENTS * 4), 2);
    let registers: Vec<Register> =
        (0..EXTENTS).map(|extent| Register::new(&iqn, extent * EXTENT_BYTES)).collect();
    let portals = stage.portals();
    let stop = AtomicBool::new(false);
    let mut gaps = Vec::new();
    let mut starts = vec![0; stage.servers.len()];
    std::thread::scope(|scope| {
        let stop_at_end = StopAtEnd(&stop);
        for (n, register) in registers.iter().enumerate() {
            let mut portals = portals.clone();
            portals.rotate_left(n % 3);
            for portal in portals.clone() {
                let stop = &stop;
                scope.spawn(move || register.read(&portal, stop));
            }
            let stop = &stop;
            scope.spawn(move || register.write(&portals, stop));
        }
        let is_written =
            || registers.iter().all(|register| register.known() > 0 || register.wrong().is_some());
        assert!(comes_true(WITHIN, is_written), "hosts cannot write");
        for round in 0..count_of("ROUNDS", 2) {
            let cut = owner(&stage);
            let logged: Vec<usize> = stage.servers.iter().map(|server| server.log().len()).collect();
            let log = |n: usize| stage.servers[n].log().split_off(logged[n]);
            // In every other round its hosts still reach it.
            let reached = round % 2 == 1;
            let others = stage.all_but(Place::Server(cut));
            let others: Vec<Place> =
                others.into_iter().filter(|place| !reached || *place != Place::Hosts).collect();
            stage.cut(Place::Server(cut), &others);
            let mut served = None;
            let serves = comes_true(WITHIN, || {
                served = (0..3).filter(|n| *n != cut).find_map(|n| served_at(&log(n)));
                served.is_some() && stopped_at(&log(cut)).is_some()
            });
            assert!(serves, "s{} has no successor, or does not say that it stopped:\n{}", cut + 1, log(cut));
            std::thread::sleep(WATCHED);
            stage.heal();
            let (stopped, served) = (stopped_at(&log(cut)).expect("seen"), served.expect("seen"));
            gaps.push(served - stopped);
            println!(
                "round {}: s{} cut off{}: it stopped serving {:.3} s before the next owner served",
                round + 1,
                cut + 1,
                if reached { ", but not from hosts" } else { "" },
                served - stopped
            );
            assert!(served > stopped, "two owners at once");
            let found = || log(cut).contains("the group went on without it");
            assert!(comes_true(WITHIN, found), "s{} did not find itself down", cut + 1);
            starts[cut] += 1;
            if starts[cut] == STARTS_ANEW_MAX {
                starts[cut] = 0;
                stage.servers[cut].kill();
                stage.servers[cut].spawn();
            }
            stage.all_are_up();
            let owns_again =
                || owner(&stage) == cut && registers.iter().all(|register| register.wrong().is_none());
            assert!(comes_true(WITHIN, owns_again), "s{} does not own again", cut + 1);
        }
        drop(stop_at_end);
    });
    gaps.sort_by(f64::total_cmp);
    println!(
        "{} partitions: between the old owner's last lease and the new owner's first answer at least {:.3} s, median {:.3} s",
        gaps.len(),
        gaps[0],
        gaps[gaps.len() / 2]
    );
    for (extent, register) in registers.iter().enumerate() {
        println!(
            "extent {extent}: {} writes, reads {:?}, {} busy",
            register.known(),
            register.reads(),
            register.busy()
        );
        assert_eq!(register.wrong(), None, "extent {extent}");
        assert_eq!(register.reads().len(), 3, "every portal answered some");
    }
    let _ = stage.servers[0].evenkeel(&["route", "v1", "--verify"]).ok();
    assert_eq!(stage.warnings_but(&EXPECTED), [""; 0]);
}

#[test]
fn an_owner_that_is_cut_off_stops_before_the_next_one_starts() {
    in_own_network("an_owner_that_is_cut_off_stops_before_the_next_one_starts", owners_are_cut_off);
}
