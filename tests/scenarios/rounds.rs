//! Three servers on machines of their own, three members of etcd, hosts that never pause, extents that never rest: each
//! server in turn is killed and started again, round after round.

use evenkeel_engine::config::{HEARTBEAT_INTERVAL, LEASE, LEASE_GUARD, REQUEST_PATIENCE, SILENCE_MAX};
use evenkeel_tests::{
    Blocks, Mover, Stage, StopAtEnd, Tally, Waits, Writer, comes_true, count_of, in_own_network,
};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Of each of the two volumes.
const EXTENTS: u32 = 8;
const BLOCKS_PER_EXTENT: usize = 1024;
/// Requests that each host has under way.
const DEPTH: usize = 8;
/// A host leaves a path on which nothing comes for this long, as multipath does with its defaults.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a killed server stays away: beyond its mark; until others are about to mark it; not at all.
const AWAY: [Duration; 3] = [Duration::from_secs(4), Duration::ZERO, Duration::from_millis(1900)];

/// Hosts whose oldest request is younger are served again.
const CALM: Duration = Duration::from_millis(500);
const WITHIN: Duration = Duration::from_secs(60);

/// What servers say of each other while one of them is killed, and of an etcd that is slow on a busy machine.
const EXPECTED: [&str; 3] = [
    "has not answered for",
    "the directory cannot be reached",
    // A server that started again before it was marked down, and was marked all the same.
    "the group went on without it",
];

fn host(stage: &Stage, iqn: &str, seed: u64) -> Writer {
    let blocks = Blocks::new(0, EXTENTS as usize * BLOCKS_PER_EXTENT);
    let mut host = Writer::new(stage.portals(), iqn, blocks, DEPTH, seed).with_paths(PATIENCE);
    host.fill(&stage.servers[0].portal(1)).expect("the volume is written");
    host
}

fn servers_are_killed_in_turn() {
    let mut stage = Stage::start(3, "--balance false");
    let size = format!("{}MiB", EXTENTS * 4);
    let (two, three) = (stage.create_volume("two", &size, 2), stage.create_volume("three", &size, 3));
    let mut hosts = [host(&stage, &two, 11), host(&stage, &three, 23)];
    let waits: Vec<Arc<Waits>> = hosts.iter().map(Writer::waits).collect();
    let longest = || waits.iter().map(|waits| waits.take_longest()).max().unwrap_or_default();
    let mover = Mover::among(&stage.servers, "two");
    let extents: Vec<u32> = (0..EXTENTS).collect();
    let stop = AtomicBool::new(false);
    let rounds = count_of("ROUNDS", 1);
    let mut pauses = Vec::new();
    std::thread::scope(|scope| {
        let stop_at_end = StopAtEnd(&stop);
        for host in &mut hosts {
            scope.spawn(|| host.run(&stop));
        }
        scope.spawn(|| mover.run(&extents, 2, None, &stop));
        for round in 0..rounds {
            for killed in 0..3 {
                let _ = longest();
                stage.servers[killed].kill();
                // In one round each server meets another way of being away.
                std::thread::sleep(AWAY[(round as usize + killed) % AWAY.len()]);
                stage.servers[killed].spawn();
                stage.all_are_up();
                let before = arrived(&mover);
                let is_calm = || waits.iter().all(|waits| waits.oldest() < CALM) && arrived(&mover) > before;
                assert!(
                    comes_true(WITHIN, is_calm),
                    "hosts wait, or nothing moves: {:?}",
                    mover.refused().last()
                );
                pauses.push(longest());
                println!(
                    "round {}: s{} killed, the longest wait {:.2?}",
                    round + 1,
                    killed + 1,
                    pauses[pauses.len() - 1]
                );
            }
        }
        drop(stop_at_end);
    });
    pauses.sort();
    let moves = arrived(&mover);
    println!(
        "{rounds} rounds, {} kills; defaults: a heartbeat each {HEARTBEAT_INTERVAL:?}, marked down after {SILENCE_MAX:?}, lease \
         {LEASE:?}, guard {LEASE_GUARD:?}, requests wait {REQUEST_PATIENCE:?}; pause median {:.2?}, worst {:.2?}; {moves} \
         moves arrived, {} were refused or given up",
        pauses.len(),
        pauses[pauses.len() / 2],
        pauses[pauses.len() - 1],
        mover.refused().len()
    );
    // Whoever takes over waits for longer, and each round has a server that is away until it is missed.
    assert!(pauses[pauses.len() - 1] > CALM, "no kill met the hosts");
    assert!(moves > 0, "nothing moved; refused: {:?}", mover.refused().first());
    for (volume, host) in ["two", "three"].into_iter().zip(&mut hosts) {
        let Tally { writes, reads, busy, lost, unknown, longest, wrong } = host.tally.clone();
        println!(
            "volume {volume}: {writes} writes, {reads} reads, 0 errors expected: {wrong:?}, {busy} busy; {lost} sessions lost with \
             {unknown} writes that were made again; the longest wait {longest:.2?}"
        );
        assert_eq!((wrong, busy), (None, 0), "volume {volume}");
        assert!(writes > 500 && reads > 200, "volume {volume}: {:?}", host.tally);
        for portal in stage.portals() {
            assert_eq!(host.verify(&portal).expect("all is there"), EXTENTS as usize * BLOCKS_PER_EXTENT);
        }
        let _ = stage.servers[1].evenkeel(&["route", volume, "--verify"]).ok();
    }
    assert_eq!(stage.warnings_but(&EXPECTED), [""; 0]);
}

fn arrived(mover: &Mover<'_>) -> u64 {
    mover.moved().values().sum()
}

#[test]
fn each_server_may_be_killed_in_turn_while_extents_move_and_hosts_notice_a_pause() {
    in_own_network(
        "each_server_may_be_killed_in_turn_while_extents_move_and_hosts_notice_a_pause",
        servers_are_killed_in_turn,
    );
}
