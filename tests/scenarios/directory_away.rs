//! The directory is away while hosts read and write: they notice nothing, and when it is back everything goes on.

use evenkeel_tests::{Etcd, Group, Hosts, Processes, count_of, wait_until};
use std::time::{Duration, Instant};

const EXTENTS: u32 = 6;
/// Exit code of a command that could not reach what it needs.
const UNREACHABLE: i32 = 4;
/// What the longest request may take: there is nothing to wait for.
const PAUSE_MAX: Duration = Duration::from_secs(5);
const LOST: &str = "the directory cannot be reached";
const SILENT: &str = "has not answered for";

/// How long the directory is away: `AWAY_S` seconds.
fn away() -> Duration {
    Duration::from_secs(count_of("AWAY_S", 8))
}

/// A group on an etcd of three members, and the hosts of a volume with two copies.
fn start() -> (Processes, Hosts) {
    let group = Processes::start_on(Etcd::start(3), 3, "--balance false");
    let iqn = group.processes[0].create_replicated("v1", &format!("{}MiB", EXTENTS * 4), 2);
    let hosts = Hosts::fill(&group, &iqn, 0..EXTENTS, 4);
    (group, hosts)
}

fn owner_of(process: &Group, extent: u32) -> String {
    process.api().route("v1", "s1").expect("the route").extents[extent as usize].owner.clone()
}

/// How often the processes logged a part at WARN, each.
fn told(group: &Processes, part: &str) -> Vec<usize> {
    let warnings = group.warnings();
    let of = |number: usize| {
        warnings.iter().filter(|(process, line)| *process == number && line.contains(part)).count()
    };
    (1..=group.processes.len()).map(of).collect()
}

/// A change that is ordered meanwhile is refused in one line, or waits: it never seems done.
fn nothing_changes(group: &Processes, to: &str) {
    let process = &group.processes[0];
    for args in [&["move", "v1", "0", "--to", to][..], &["volume", "create", "v9", "--size", "4MiB"]] {
        let began = Instant::now();
        let ran = process.evenkeel(args);
        assert_eq!(ran.code, UNREACHABLE, "{ran:?}");
        assert!(ran.stderr.contains("directory") && ran.stderr.lines().count() == 1, "{ran:?}");
        println!("{args:?}: after {:.1?}: {}", began.elapsed(), ran.stderr.trim());
    }
}

/// Everything that needs the directory works again.
fn everything_goes_on(group: &Processes, volume: &str, to: &str) {
    let process = &group.processes[0];
    let make = ["volume", "create", volume, "--size", "4MiB", "-o", "json"];
    wait_until(|| format!("{volume} is made"), || process.evenkeel(&make).code == 0);
    // What was ordered while the directory was away may have waited, and is done now.
    wait_until(
        || format!("extent 0 is at {to}: {}", process.evenkeel(&["moves"]).stdout),
        || owner_of(process, 0) == to || process.api().order_move("v1", 0, to, None).is_err(),
    );
    wait_until(|| format!("extent 0 is at {to}"), || owner_of(process, 0) == to);
}

fn goes_away_and_comes_back(go: impl Fn(&mut Etcd), come: impl Fn(&mut Etcd)) {
    let (mut group, mut hosts) = start();
    let [owner, _, third] = group.placed("v1");
    let names = [owner, third].map(|place| format!("s{}", place + 1));
    for (round, to) in [(1, &names[1]), (2, &names[0])] {
        let meanwhile = hosts.while_at_work(|| {
            go(&mut group.etcd);
            let began = Instant::now();
            nothing_changes(&group, to);
            std::thread::sleep(away().saturating_sub(began.elapsed()));
            let meanwhile = began.elapsed();
            come(&mut group.etcd);
            everything_goes_on(&group, &format!("new{round}"), to);
            meanwhile
        });
        let tally = hosts.saw_no_error();
        println!(
            "away for {meanwhile:.1?}: {} writes, {} reads, 0 errors, {} sessions lost, longest {:.2?}",
            tally.writes, tally.reads, tally.lost, tally.longest
        );
        assert!(tally.lost == 0 && tally.longest < PAUSE_MAX, "{tally:?}");
        // Each process tells once that the directory is lost, and once that it is back.
        assert_eq!(told(&group, LOST), [round; 3], "{:#?}", group.warnings());
        for process in &group.processes {
            let back = || process.log().matches("the directory is reached again").count();
            wait_until(|| process.log(), || back() == round);
        }
    }
    hosts.all_is_there(&group.portals());
    group.all_are_up();
    assert_eq!(group.warnings_but(&[LOST]), []);
}

#[test]
fn a_directory_that_stands_still_is_missed_by_nobody_who_reads_and_writes() {
    goes_away_and_comes_back(|etcd| etcd.pause(), |etcd| etcd.resume());
}

#[test]
fn a_directory_that_is_killed_and_started_again_is_missed_by_nobody_who_reads_and_writes() {
    goes_away_and_comes_back(Etcd::kill_all, Etcd::start_again);
}

/// While the directory is away a server is lost too: its hosts wait until the directory can say who is to go on, and then
/// all is well.
#[test]
fn a_server_that_is_lost_while_the_directory_is_away_is_replaced_as_soon_as_it_is_back() {
    let (mut group, mut hosts) = start();
    let [owner, other, _] = group.placed("v1");
    hosts.while_at_work(|| {
        group.etcd.pause();
        std::thread::sleep(Duration::from_secs(2));
        group.processes[owner].kill();
        // The others have noticed, and can do nothing.
        std::thread::sleep(Duration::from_secs(4));
        group.etcd.resume();
        let asked = &group.processes[other];
        wait_until(
            || "another server owns all".to_owned(),
            || {
                let table = asked.api().route("v1", &format!("s{}", other + 1)).expect("the route");
                table.extents.iter().all(|row| row.owner == format!("s{}", other + 1))
            },
        );
        std::thread::sleep(Duration::from_secs(1));
        group.processes[owner].spawn();
        group.all_are_up();
    });
    let tally = hosts.saw_no_error();
    println!(
        "{} writes, {} reads, 0 errors, {} sessions lost, longest {:.2?}",
        tally.writes, tally.reads, tally.lost, tally.longest
    );
    hosts.all_is_there(&group.portals());
    let marks = told(&group, SILENT);
    assert!(marks.iter().all(|marks| *marks <= 1), "told once, not at each try: {:#?}", group.warnings());
    assert_eq!(group.warnings_but(&[LOST, SILENT]), []);
}
