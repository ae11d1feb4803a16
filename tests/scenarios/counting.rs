//! COMPARE AND WRITE while the owners of what it compares with are killed: nothing is refused that should not be, and
//! nothing is done twice.

use evenkeel_tests::{Host, Kills, Processes, Steps, StopAtEnd, Way, count_of};
use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Runs of extents of a volume: enough for each server to own some.
const RUNS: u64 = 8;
const RUN_BLOCKS: u64 = 64 * 1024;
const EXTENT_BLOCKS: u64 = 1024;
/// Counts of a host; a step of each is under way.
const COUNTS: u64 = 24;
/// Hosts of each volume, in turn with both ways of counting.
const HOSTS: u64 = 4;
/// How hosts count while nothing is killed, for the machine's sake.
const PACED: Duration = Duration::from_millis(4);
/// How long they count as fast as they can before a kill, so that much is under way.
const RUSH: Duration = Duration::from_millis(400);
/// How long a killed server stays away: others have taken over by then.
const AWAY: Duration = Duration::from_secs(4);
/// Kills in which the wanted number of steps must have been caught.
const KILLS_MAX: u64 = 400;

/// What servers say of one that was killed.
const EXPECTED: [&str; 2] = ["has not answered for", "the group went on without it"];

/// The hosts of a volume with so many copies.
fn hosts(group: &Processes, replicas: u8) -> Vec<Host> {
    let volume = format!("v{replicas}");
    let iqn = group.processes[0].create_replicated(&volume, "2GiB", replicas);
    let host = |number: u64| {
        // Each count is in an extent of its own, and the counts of a host are in all runs.
        let place = |n: u64| (n % RUNS) * RUN_BLOCKS + (number * COUNTS + n) / RUNS * EXTENT_BLOCKS + 3 * n;
        let blocks: Vec<u64> = (0..COUNTS).map(place).collect();
        let way = if number.is_multiple_of(2) { Way::Marked } else { Way::ToAndFro };
        let mut host = Host::new(group.portals(), &volume, &iqn, way, &blocks);
        host.begin().expect("the first contents are written");
        host
    };
    (0..HOSTS).map(host).collect()
}

/// The extents that a server owns, as another one sees them.
fn owned(group: &Processes, owner: usize) -> BTreeSet<(String, u64)> {
    let seer = (owner + 1) % group.processes.len();
    let (owner, seen_by) = (format!("s{}", owner + 1), format!("s{}", seer + 1));
    let owned = ["v2", "v3"].into_iter().flat_map(|volume| {
        let table = group.processes[seer].api().route(volume, &seen_by).expect("the route");
        let rows = table.extents.into_iter().filter(|row| row.owner == owner);
        rows.map(|row| (volume.to_owned(), u64::from(row.extent))).collect::<Vec<_>>()
    });
    owned.collect()
}

fn sum(hosts: &[Host], of: impl Fn(&Steps) -> u64) -> u64 {
    hosts.iter().map(|host| of(&host.steps)).sum()
}

/// `STEPS` steps are under way when their owner, or the gateway that they came through, is killed.
#[test]
fn steps_that_are_tried_again_over_a_failover_are_made_once_and_never_refused() {
    let wanted = count_of("STEPS", 20);
    let mut group = Processes::start(3, "--balance false");
    let mut hosts: Vec<Host> = [2, 3].into_iter().flat_map(|replicas| hosts(&group, replicas)).collect();
    let kills = Kills::default();
    let (mut killed, mut retried, mut found_applied) = (0, 0, 0);
    loop {
        kills.pace(PACED);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let stop_at_end = StopAtEnd(&stop);
            for host in &mut hosts {
                scope.spawn(|| host.run(&kills, &stop));
            }
            let victim = killed as usize % 3;
            kills.pace(Duration::ZERO);
            std::thread::sleep(RUSH);
            let extents = owned(&group, victim);
            group.processes[victim].kill();
            kills.note(extents);
            kills.pace(PACED);
            std::thread::sleep(AWAY);
            group.processes[victim].spawn();
            group.all_are_up();
            let counters = group.counters();
            // A server begins to count anew at its start: so there were at least as many.
            retried = retried.max(counters.retried);
            found_applied = found_applied.max(counters.found_applied);
            killed += 1;
            drop(stop_at_end);
        });
        let wrong: Vec<&String> = hosts.iter().filter_map(|host| host.steps.wrong.as_ref()).collect();
        assert_eq!(wrong, [""; 0], "after {killed} kills");
        let caught = sum(&hosts, |steps| steps.over + steps.unanswered);
        if caught >= wanted {
            break;
        }
        assert!(killed < KILLS_MAX, "only {caught} steps were caught by {killed} kills");
    }
    let longest = hosts.iter().map(|host| host.steps.longest).max().unwrap_or_default();
    println!(
        "{killed} kills; {} steps made; under way at the kill of their owner and tried again inside: {}, unanswered and tried \
         again through another portal: {} ({} of them found made, {} more arrived late); 0 refused wrongly, 0 made twice; {} \
         busy, longest {longest:.2?}; at least {retried} pieces tried again by gateways, {found_applied} found applied by owners",
        sum(&hosts, |steps| steps.made),
        sum(&hosts, |steps| steps.over),
        sum(&hosts, |steps| steps.unanswered),
        sum(&hosts, |steps| steps.found_made),
        sum(&hosts, |steps| steps.late),
        sum(&hosts, |steps| steps.busy),
    );
    assert!(sum(&hosts, |steps| steps.over) > 0 && sum(&hosts, |steps| steps.unanswered) > 0);
    for portal in group.portals() {
        for host in &mut hosts {
            host.verify(&portal).expect("each count is where its host left it");
        }
    }
    assert_eq!(group.warnings_but(&EXPECTED), []);
}
